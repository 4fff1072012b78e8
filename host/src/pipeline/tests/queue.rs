//! What a processor defers is settled with its batch, and done once when it is due.

use super::bench::{Bench, Run, until};
use super::processors::{Counter, description, id, index};
use crate::checkpoint::{CheckpointStore as _, Parked};
use crate::model::{Clock, Document, FailureKind, Item, Outcome, PartFailure, RetryHelps};
use crate::processor::native::NativeProcessor;

/// Defers the part `search` of what comes from the feed, and does it with `work` when it comes again.
fn later(work: impl Fn(&Item) -> Outcome + Send + Sync + 'static) -> NativeProcessor {
    NativeProcessor::each(description(), move |item| {
        if item.change.attempts > 0 {
            return Ok(work(item));
        }
        let deferral = PartFailure {
            part: Some("search".to_owned()),
            kind: FailureKind::Deferred,
            message: "deferred".to_owned(),
            retry: RetryHelps::Perhaps,
        };
        Ok(Outcome::Done { writes: Vec::new(), failures: vec![deferral] })
    })
}

impl Bench {
    async fn queued(&self) -> Vec<Parked> {
        self.checkpoints.queued(&self.pillow, Clock::System.now(), 100).await.unwrap()
    }

    /// A run of the queue, as the heartbeat begins it.
    async fn run_queue(&self, run: &Run) {
        let before = run.snapshot().counts.retried;
        let entries = self.queued().await;
        let count = entries.len() as u64;
        run.retries.send(entries).await.unwrap();
        until(|| run.snapshot().counts.retried == before + count).await;
    }
}

#[tokio::test(start_paused = true)]
async fn many_changes_of_a_document_are_one_entry_and_done_once_with_its_latest_content() {
    let bench = Bench::new(1, 1);
    let done = Counter::default();
    let counting = done.clone();
    let mut run = bench.run(&later(move |item| {
        counting.add();
        index(item)
    }));
    for content in [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#] {
        bench.publish("a", content);
        run.caught_up().await;
    }
    assert_eq!((bench.queued().await.len(), bench.indexed().len(), done.get()), (1, 0, 0));
    assert_eq!((bench.parked().await.len(), run.snapshot().counts.parked), (0, 0));
    assert_eq!(bench.at().await, [Some(3)]);
    bench.run_queue(&run).await;
    assert_eq!((bench.indexed()["a"].as_str(), done.get()), ("3", 1));
    assert!(bench.queued().await.is_empty());
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_in_the_queue_stays_there_and_halts_nothing_until_it_failed_twenty_times() {
    let mut bench = Bench::new(1, 10);
    bench.tuning.failures = crate::pipeline::FailureLimit { share: 0.1, window: 2, minimum: 1 };
    // One fails in its part, one as a whole.
    let mut run = bench.run(&later(|item| {
        let part = (id(item) == "a").then(|| "search".to_owned());
        let failure =
            PartFailure { part, kind: FailureKind::Guest, message: "no date".to_owned(), retry: RetryHelps::No };
        match failure.part {
            Some(_) => Outcome::Done { writes: Vec::new(), failures: vec![failure] },
            None => Outcome::Failed(failure),
        }
    }));
    bench.publish("a", "{}");
    bench.publish("b", "{}");
    run.caught_up().await;
    for attempts in 0..20 {
        let entries = bench.queued().await;
        assert_eq!(entries.iter().map(|entry| entry.attempts).collect::<Vec<_>>(), [attempts, attempts]);
        assert!(entries.iter().all(|entry| entry.failure.id.part.as_deref() == Some("search")));
        assert_eq!(bench.parked().await, Vec::<String>::new());
        bench.run_queue(&run).await;
    }
    assert_eq!(bench.parked().await, ["a: no date", "b: no date"]);
    assert!(bench.queued().await.is_empty());
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_document_that_is_gone_when_it_is_due_leaves_the_queue() {
    let bench = Bench::new(1, 10);
    let mut run = bench.run(&later(|item| {
        assert_eq!(item.document, Document::Deleted);
        index(item)
    }));
    bench.publish("a", "{}");
    run.caught_up().await;
    bench.documents.delete(crate::model::DocumentKey::new("s", "a"));
    bench.run_queue(&run).await;
    assert!(bench.queued().await.is_empty() && bench.parked().await.is_empty());
    run.stopped().await;
}

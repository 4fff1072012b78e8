//! What every checkpoint store must do with a pillow's queue.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use pillowtop::checkpoint::{MOST_ATTEMPTS, Parked, ParkedFilter, Queue, QueueLength, Settlement};
use pillowtop::model::{Failure, FailureId, FailureKind, PillowName};

use crate::bench::{Bench, START, acquire, failure, parked, pillow, resolved, row, settlement, time};

const DELAY: Duration = Duration::from_secs(60);

fn deferral(id: &str, part: &str) -> Failure {
    Failure { kind: FailureKind::Deferred, ..failure(id, Some(part), "deferred") }
}

fn queue(taken: &[(&FailureId, u32)]) -> Queue {
    Queue { delay: DELAY, taken: taken.iter().map(|(id, attempts)| (FailureId::clone(id), *attempts)).collect() }
}

async fn due(bench: &Bench, at: &str) -> Vec<Parked> {
    bench.store.queued(&pillow(), time(at), 100).await.unwrap()
}

async fn length(bench: &Bench) -> QueueLength {
    bench.store.queue_lengths().await.unwrap().remove(&pillow()).unwrap_or_default()
}

pub(crate) async fn a_deferral_waits_in_the_queue_and_is_no_failure(bench: Bench) {
    let epoch = acquire(&bench).await;
    let defer = |at: &str| Settlement {
        parked: vec![deferral("a", "visits"), failure("b", None, "x")],
        queue: queue(&[]),
        time: time(at),
        ..settlement(epoch)
    };
    bench.store.settle(&defer(START)).await.unwrap();
    let found = parked(&bench).await;
    assert_eq!(found.iter().map(|parked| &*parked.failure.id.document.id).collect::<Vec<_>>(), ["b"]);
    assert_eq!(bench.store.count_parked().await.unwrap(), HashMap::from([(pillow(), 1)]));
    // Nor does anybody retry or drop it with the failures.
    assert_eq!(bench.store.mark_due(&ParkedFilter::default()).await.unwrap(), 1);
    assert_eq!(bench.store.drop_parked(&ParkedFilter::default()).await.unwrap(), 1);
    assert_eq!(length(&bench).await, QueueLength { entries: 1, oldest: Some(time(START)) });
    assert!(due(&bench, START).await.is_empty());
    let [entry] = due(&bench, "2026-02-03T10:01:00Z").await.try_into().unwrap();
    assert_eq!((&entry.failure, entry.attempts), (&deferral("a", "visits"), 0));
    assert_eq!(entry.due_at, Some(time("2026-02-03T10:01:00Z")));
    assert!(bench.store.queued(&PillowName::new("other"), time("2026-02-04T10:00:00Z"), 9).await.unwrap().is_empty());

    // By the end of all time everything is due, also what waits for ever, and no more is read than was asked for.
    let forever = Queue { delay: Duration::MAX, ..Queue::default() };
    let never = Settlement { parked: vec![deferral("z", "visits")], queue: forever, ..settlement(epoch) };
    bench.store.settle(&never).await.unwrap();
    let listed = async |limit| {
        let entries = bench.store.queued(&pillow(), Timestamp::MAX, limit).await.unwrap();
        entries.iter().map(|entry| entry.failure.id.document.id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!((listed(9).await, listed(1).await), (vec!["a".to_owned(), "z".to_owned()], vec!["a".to_owned()]));
    bench.store.settle(&Settlement { resolved: vec![resolved("z", &[])], ..settlement(epoch) }).await.unwrap();

    // However often it changes meanwhile, it is one entry, and due when the first change is.
    bench.store.settle(&defer("2026-02-03T10:00:30Z")).await.unwrap();
    assert_eq!(length(&bench).await, QueueLength { entries: 1, oldest: Some(time(START)) });
    assert_eq!(due(&bench, "2026-02-03T10:01:00Z").await.len(), 1);

    // A run of the queue that succeeds removes it, but no part that is deferred anew.
    let both = Settlement { parked: vec![deferral("a", "births")], queue: queue(&[]), ..settlement(epoch) };
    bench.store.settle(&both).await.unwrap();
    let done = Settlement { resolved: vec![resolved("a", &["births"])], ..settlement(epoch) };
    bench.store.settle(&done).await.unwrap();
    let left = due(&bench, "2026-02-04T10:00:00Z").await;
    assert_eq!(left.iter().map(|entry| entry.failure.id.part.as_deref()).collect::<Vec<_>>(), [Some("births")]);
}

pub(crate) async fn all_that_waits_of_a_document_is_taken_up_together(bench: Bench) {
    let epoch = acquire(&bench).await;
    let defer = |parts: &[(&str, &str)], at: &str| Settlement {
        parked: parts.iter().map(|(id, part)| deferral(id, part)).collect(),
        queue: queue(&[]),
        time: time(at),
        ..settlement(epoch)
    };
    bench.store.settle(&defer(&[("a", "visits"), ("b", "visits")], START)).await.unwrap();
    bench.store.settle(&defer(&[("c", "visits"), ("a", "births")], "2026-02-03T10:00:30Z")).await.unwrap();
    let taken = async |at: &str, limit: u32| {
        let entries = bench.store.queued(&pillow(), time(at), limit).await.unwrap();
        let of =
            |entry: &Parked| format!("{}/{}", entry.failure.id.document.id, entry.failure.id.part.as_deref().unwrap());
        entries.iter().map(of).collect::<Vec<_>>()
    };
    // Also what is due later, or beyond the limit: else it would be parked when it fails with the rest.
    assert_eq!(taken("2026-02-03T10:01:00Z", 9).await, ["a/visits", "b/visits", "a/births"]);
    assert_eq!(taken("2026-02-03T10:01:00Z", 1).await, ["a/visits", "a/births"]);
    assert_eq!(taken("2026-02-03T10:02:00Z", 2).await, ["a/visits", "b/visits", "a/births"]);
    // What is parked of the document is not.
    let parked = Settlement { parked: vec![failure("a", Some("deaths"), "x")], ..settlement(epoch) };
    bench.store.settle(&parked).await.unwrap();
    assert_eq!(taken("2026-02-03T10:01:00Z", 1).await, ["a/visits", "a/births"]);
}

pub(crate) async fn what_fails_in_the_queue_waits_again_until_it_failed_too_often(bench: Bench) {
    let epoch = acquire(&bench).await;
    let first = deferral("a", "visits");
    let defer = Settlement { parked: vec![first.clone()], queue: queue(&[]), ..settlement(epoch) };
    bench.store.settle(&defer).await.unwrap();
    let fail = |before: u32, at: &str| Settlement {
        parked: vec![failure("a", Some("visits"), "no date")],
        queue: queue(&[(&first.id, before)]),
        time: time(at),
        ..settlement(epoch)
    };
    bench.store.settle(&fail(0, "2026-02-03T10:01:00Z")).await.unwrap();
    assert!(parked(&bench).await.is_empty());
    assert!(due(&bench, "2026-02-03T10:01:59Z").await.is_empty());
    let [entry] = due(&bench, "2026-02-03T10:02:00Z").await.try_into().unwrap();
    assert_eq!((entry.attempts, entry.failure.message.as_str(), entry.first_at), (1, "no date", time(START)));

    // A new version of the document begins anew.
    bench.store.settle(&Settlement { time: time("2026-02-03T10:01:30Z"), ..defer.clone() }).await.unwrap();
    let [entry] = due(&bench, "2026-02-03T10:02:30Z").await.try_into().unwrap();
    assert_eq!((entry.attempts, entry.first_at), (0, time(START)));

    for before in 0..MOST_ATTEMPTS {
        assert!(parked(&bench).await.is_empty(), "after {before}");
        bench.store.settle(&fail(before, START)).await.unwrap();
    }
    assert_eq!(length(&bench).await, QueueLength::default());
    let [entry] = parked(&bench).await.try_into().unwrap();
    assert_eq!((entry.attempts, entry.due_at, entry.failure.message.as_str()), (MOST_ATTEMPTS, None, "no date"));

    // What is parked is deferred by the next change, and a success ends both.
    bench.store.settle(&defer).await.unwrap();
    assert_eq!((parked(&bench).await.len(), length(&bench).await.entries), (0, 1));
    let done = Settlement { resolved: vec![resolved("a", &[])], ..settlement(epoch) };
    bench.store.settle(&done).await.unwrap();
    assert_eq!((parked(&bench).await.len(), length(&bench).await.entries), (0, 0));
}

pub(crate) async fn rows_that_the_database_refuses_in_the_queue_halt_nothing(bench: Bench) {
    let epoch = acquire(&bench).await;
    let rows: Vec<_> = ["a", "b", "c"].map(|id| row(id, None)).to_vec();
    let ids: Vec<FailureId> = rows.iter().map(id_of).collect();
    let taken: Vec<(&FailureId, u32)> = ids.iter().map(|id| (id, 3)).collect();
    let run = Settlement { rows, queue: queue(&taken), most_rejected: 0, ..settlement(epoch) };
    assert_eq!(bench.store.settle(&run).await.unwrap().rejected.len(), 3);
    assert!(parked(&bench).await.is_empty());
    let waiting = due(&bench, "2026-02-03T10:01:00Z").await;
    assert!(waiting.iter().all(|entry| entry.attempts == 4 && entry.failure.kind == FailureKind::Rejected));
    assert_eq!(waiting.len(), 3);
}

fn id_of(row: &pillowtop::model::RowWrite) -> FailureId {
    let (processor, part) = (Some(row.processor.clone()), row.table.part.clone());
    FailureId { processor, part, document: row.document.clone() }
}

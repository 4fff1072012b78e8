//! An outage holds its pillow: nothing is parked, nothing is lost, and it goes on by itself.

use std::sync::Arc;

use async_trait::async_trait;

use super::bench::{Bench, settle_down};
use super::processors::{description, failed, index, indexer, trap};
use crate::documents::DocumentStore;
use crate::model::{Change, Document, DocumentKey, Outage, Outcome, Want};
use crate::pipeline::{End, State};
use crate::processor::native::NativeProcessor;
use crate::sink::Sink;
use crate::sink::memory::MemorySink;

/// What can be down, by the words in the reason of the wait.
async fn check(what: &str, processor: &NativeProcessor, fail: impl Fn(&Bench, usize)) {
    let bench = Bench::new(2, 1);
    let mut run = bench.run(processor);
    run.caught_up().await;
    assert_eq!(run.snapshot().state, State::Running);
    fail(&bench, usize::MAX);
    for at in 0..6 {
        bench.publish_to(at % 2, &at.to_string(), r#"{"n":1}"#);
    }
    run.waits_for(what).await;
    // It tries again and again; a paused clock makes hours of it.
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    run.waits_for(what).await;
    assert_eq!(bench.at().await, [None, None], "{what}");
    assert_eq!(bench.parked().await, Vec::<String>::new(), "{what}");
    assert!(!run.snapshot().caught_up);
    fail(&bench, 0);
    run.caught_up().await;
    assert_eq!(run.snapshot().state, State::Running, "{what}");
    assert_eq!(bench.indexed().len(), 6, "{what}");
    assert_eq!(bench.at().await, [Some(3), Some(3)], "{what}");
    assert_eq!(bench.parked().await, Vec::<String>::new(), "{what}");
    run.stopped().await;
}

fn want() -> Want {
    Want { lookup: Arc::from("l"), key: Arc::from("case") }
}

#[tokio::test(start_paused = true)]
async fn a_document_store_that_is_down_holds_the_pillow() {
    check("document store: the document store in memory", &indexer(), |bench, count| bench.documents.fail(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_takes_nothing_holds_the_pillow() {
    check("told to fail: write", &indexer(), |bench, count| bench.sink.fail_writes(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_makes_nothing_durable_holds_the_pillow() {
    check("told to fail: flush", &indexer(), |bench, count| bench.sink.fail_flushes(count)).await;
}

#[tokio::test(start_paused = true)]
async fn checkpoints_that_cannot_be_settled_hold_the_pillow() {
    check("checkpoint database: ", &indexer(), |bench, count| bench.checkpoints.fail_settles(count)).await;
}

#[tokio::test(start_paused = true)]
async fn versions_that_cannot_be_drawn_hold_the_pillow() {
    check("checkpoint database: ", &indexer(), |bench, count| bench.checkpoints.fail_draws(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_look_ups_need_holds_the_pillow() {
    let processor = NativeProcessor::each(description(), |item| {
        Ok(if item.found.is_empty() { Outcome::Need(vec![want()]) } else { index(item) })
    });
    check("could not look documents up", &processor, |bench, count| bench.looked_up.fail(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_look_up_from_within_a_call_that_fails_holds_the_pillow_whatever_the_call_makes_of_it() {
    let traps = NativeProcessor::new(description(), |call, lookups| match lookups.fetch(&[want()]) {
        Ok(_) => Ok(call.items.iter().map(index).collect()),
        Err(reason) => Err(trap(&reason)),
    });
    check("could not look documents up", &traps, |bench, count| bench.looked_up.fail(count)).await;
    let blames = NativeProcessor::new(description(), |call, lookups| match lookups.fetch(&[want()]) {
        Ok(_) => Ok(call.items.iter().map(index).collect()),
        Err(reason) => Ok(call.items.iter().map(|_| failed(&reason)).collect()),
    });
    check("could not look documents up", &blames, |bench, count| bench.looked_up.fail(count)).await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_whose_server_is_silent_is_named_and_one_late_answer_is_not() {
    let bench = Bench::new(1, 10);
    let mut run = bench.run(&indexer());
    bench.publish("a", "{}");
    run.caught_up().await;
    bench.log.silence(true);
    bench.publish("b", "{}");
    run.waits_for("feed: it does not say within 1s where its partitions end").await;
    assert_eq!(bench.at().await, [Some(1)]);
    bench.log.silence(false);
    run.caught_up().await;
    assert_eq!((run.snapshot().state, bench.at().await), (State::Running, vec![Some(2)]));
    // Less than the time between two questions.
    bench.log.silence(true);
    tokio::time::sleep(std::time::Duration::from_millis(400)).await;
    bench.log.silence(false);
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(run.snapshot().state, State::Running);
    run.stopped().await;
}

/// Does not answer as long as its gate is shut.
struct Frozen(tokio::sync::watch::Receiver<bool>);

#[async_trait]
impl DocumentStore for Frozen {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let answers = || vec![Document::Present("{}".into()); changes.len()];
        self.0.clone().wait_for(|open| *open).await.map(|_| answers()).map_err(|error| Outage::new("frozen", error))
    }
}

#[tokio::test(start_paused = true)]
async fn what_does_not_answer_is_named_long_before_it_is_given_up() {
    let mut bench = Bench::new(1, 10);
    let gate = tokio::sync::watch::Sender::new(false);
    bench.store = Arc::new(Frozen(gate.subscribe()));
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    bench.change(0, "a");
    run.waits_for("document store: no answer for 5s").await;
    gate.send_replace(true);
    run.caught_up().await;
    assert_eq!((run.snapshot().state, bench.at().await), (State::Running, vec![Some(1)]));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_back_does_not_hide_what_is_still_away() {
    let bench = Bench::new(2, 1);
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    bench.sink.fail_writes(usize::MAX);
    bench.publish_to(0, "a", "{}");
    run.waits_for("sink: ").await;
    bench.documents.fail(3);
    bench.publish_to(1, "b", "{}");
    run.waits_for("document store: ").await;
    // The documents come in the end; the batch waits behind the one before it.
    run.waits_for("sink: ").await;
    tokio::time::sleep(std::time::Duration::from_secs(10)).await;
    let State::Waiting { reason } = run.snapshot().state else { panic!("{:?}", run.snapshot().state) };
    assert!(reason.starts_with("sink: ") && !reason.contains("document store"), "{reason}");
    bench.sink.fail_writes(0);
    run.caught_up().await;
    assert_eq!(run.snapshot().state, State::Running);
    run.stopped().await;
}

/// Forgets to answer for the last change.
struct Forgetful(super::processors::Counter);

#[async_trait]
impl DocumentStore for Forgetful {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let answers = if self.0.add() < 3 { changes.len() - 1 } else { changes.len() };
        Ok(vec![Document::Present("{}".into()); answers])
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_answers_for_fewer_documents_loses_none() {
    let mut bench = Bench::new(1, 10);
    bench.store = Arc::new(Forgetful(super::processors::Counter::default()));
    bench.change(0, "a");
    bench.change(0, "b");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!(bench.indexed().into_keys().collect::<Vec<_>>(), ["a", "b"]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_sink_that_took_its_writes_is_not_given_them_again_while_another_is_down() {
    let bench = Bench::new(1, 10);
    let down = MemorySink::recording();
    let sink: Arc<dyn Sink> = Arc::new(down.clone());
    let other = bench.generation_into(1, &[("other", &indexer())], &sink);
    let mut both = Arc::into_inner(bench.generation(1, &[("p", &indexer())])).unwrap();
    both.stages.extend(Arc::into_inner(other).unwrap().stages);
    down.fail_writes(5);
    bench.publish("a", "{}");
    let mut run = bench.run_generation(Arc::new(both));
    run.caught_up().await;
    assert_eq!((bench.sink.calls(), down.calls()), ((1, 1), (6, 1)));
    assert_eq!((bench.sink.recorded().len(), down.recorded().len()), (1, 1));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_settle_that_committed_without_an_answer_is_begun_again_from_the_checkpoint() {
    let bench = Bench::new(1, 10);
    bench.checkpoints.lose_answers(1);
    bench.documents.put(DocumentKey::new("s", "a"), r#"{"n":1}"#);
    bench.change(0, "a");
    let mut run = bench.run(&indexer());
    let end = run.ended().await;
    assert!(matches!(&end, End::Failed(reason) if reason.contains("may have committed")), "{end:?}");
    bench.publish("b", "{}");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    settle_down().await;
    assert_eq!(bench.at().await, [Some(2)]);
    assert_eq!(bench.indexed().len(), 2);
    run.stopped().await;
}

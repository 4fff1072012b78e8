//! Whatever the order in which writes arrive, an index ends with the newest content.

use std::sync::Arc;

use bytes::Bytes;

use super::bench::{Bench, partition, settle_down, until};
use super::processors::{Counter, Gate, description, failed, id, index, indexer, indexer_after};
use crate::checkpoint::CheckpointStore;
use crate::documents::inline::InlineDocuments;
use crate::model::{Change, Checkpoint, Clock, Collapse, Position};
use crate::processor::native::NativeProcessor;

/// Publishes a change that carries its document.
fn publish_inline(bench: &Bench, id: &str, content: &'static str) {
    let message = format!(r#"{{"document_id":"{id}","data_source_name":"s"}}"#);
    let change = Change::decode(message.as_bytes(), Position::number(0)).unwrap();
    bench.log.push_change(&partition(0), Change { inline: Some(Bytes::from_static(content.as_bytes())), ..change });
}

fn inline() -> Bench {
    let mut bench = Bench::new(1, 1);
    bench.store = Arc::new(InlineDocuments);
    bench.tuning.collapse = Collapse::None;
    bench
}

#[tokio::test(start_paused = true)]
async fn versions_grow_in_the_order_in_which_batches_close() {
    let bench = Bench::new(1, 1);
    bench.documents.delay(std::time::Duration::from_millis(30));
    (0..12).for_each(|at| bench.publish(&at.to_string(), "{}"));
    // Draws that fail now and then do not let a later batch pass.
    bench.checkpoints.fail_draws(2);
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    let versions: Vec<u64> = bench.sink.recorded().iter().map(|write| write.version.0).collect();
    assert_eq!(versions.len(), 12);
    assert!(versions.is_sorted_by(|one, other| one < other), "{versions:?}");
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_rewind_rewrites_what_was_fetched() {
    let bench = Bench::new(1, 1);
    bench.publish("a", r#"{"n":1}"#);
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    run.stopped().await;
    bench.documents.put(crate::model::DocumentKey::new("s", "a"), r#"{"n":2}"#);
    rewind(&bench).await;
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!(bench.indexed()["a"], "2");
    run.stopped().await;
}

async fn rewind(bench: &Bench) {
    let incarnation = bench.checkpoints.committed()[0].progress[0].incarnation.clone();
    let start = Checkpoint { incarnation, position: Position::number(0) };
    bench
        .checkpoints
        .set(&bench.pillow, &partition(0), &start, "operator", "again", Clock::System.now())
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_paused_former_owner_does_not_cover_newer_inline_content() {
    let former = inline();
    let next = former.as_another_host();
    let gate = Gate::default();
    let held = gate.clone();
    let mut paused = former.run(&indexer_after(move |_| {
        held.pass();
    }));
    paused.caught_up().await;
    // A drawn number would be drawn only after the next owner's, as a process that was paused does.
    former.checkpoints.fail_draws(usize::MAX);
    publish_inline(&former, "a", r#"{"n":1}"#);
    until(|| gate.came() == 1).await;
    let mut run = next.run(&indexer());
    publish_inline(&former, "a", r#"{"n":2}"#);
    run.caught_up().await;
    assert_eq!(next.indexed()["a"], "2");
    former.checkpoints.fail_draws(0);
    let written = next.sink.recorded().len();
    gate.open();
    assert!(paused.lost().await.contains("owned by a later epoch"));
    assert!(next.sink.recorded().len() > written, "the former owner did write");
    assert_eq!(next.indexed()["a"], "2");
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_an_older_inline_change_does_not_cover_a_newer_one() {
    let bench = inline();
    let (gate, attempts) = (Gate::default(), Counter::default());
    let held = gate.clone();
    let processor = NativeProcessor::each(description(), move |item| {
        if item.change.position.as_number() == 0 && attempts.add() == 1 {
            return Ok(failed("not yet"));
        }
        if item.change.position.as_number() == 1 {
            held.pass();
        }
        Ok(index(item))
    });
    publish_inline(&bench, "a", r#"{"n":1}"#);
    let mut run = bench.run(&processor);
    run.caught_up().await;
    let parked = bench.parked_entries().await;
    publish_inline(&bench, "a", r#"{"n":2}"#);
    until(|| gate.came() == 1).await;
    run.retries.send(parked).await.unwrap();
    settle_down().await;
    gate.open();
    until(|| run.snapshot().counts.retried == 1).await;
    assert_eq!(bench.sink.recorded().len(), 2, "the retry did write");
    assert_eq!(bench.indexed()["a"], "2");
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_rewind_and_a_new_log_rewrite_inline_content() {
    let bench = inline();
    publish_inline(&bench, "a", r#"{"n":1}"#);
    publish_inline(&bench, "b", r#"{"n":1}"#);
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    run.stopped().await;
    rewind(&bench).await;
    let mut run = bench.run(&NativeProcessor::each(description(), |item| Ok(super::processors::index_number(item, 2))));
    run.caught_up().await;
    assert_eq!(bench.indexed().into_values().collect::<Vec<_>>(), ["2", "2"]);
    run.stopped().await;
    // Another log of the same name, whose places begin again.
    bench.log.reset();
    publish_inline(&bench, "b", r#"{"n":3}"#);
    let start = Checkpoint { incarnation: "memory-2".into(), position: Position::number(0) };
    let now = Clock::System.now();
    bench.checkpoints.set(&bench.pillow, &partition(0), &start, "operator", "new log", now).await.unwrap();
    let mut run = bench.run(&indexer_after(|item| assert_eq!(id(item), "b")));
    run.caught_up().await;
    assert_eq!(bench.indexed()["b"], "3");
    run.stopped().await;
}

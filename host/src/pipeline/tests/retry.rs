//! A retry runs only what failed, on the document as it is now, through the same settle; and one owner settles.

use super::bench::{Bench, partition, settle_down, until};
use super::processors::{Counter, Gate, Journal, description, index, indexer, indexer_after};
use crate::checkpoint::CheckpointStore;
use crate::model::{Document, DocumentKey, Outcome};
use crate::processor::native::NativeProcessor;

/// Indexes, and counts its calls.
fn counting(calls: &Counter) -> NativeProcessor {
    let counted = calls.clone();
    NativeProcessor::new(description(), move |call, _| {
        counted.add();
        Ok(call.items.iter().map(index).collect())
    })
}

#[tokio::test(start_paused = true)]
async fn a_retry_runs_only_the_processor_that_failed_on_the_document_as_it_is_now() {
    let bench = Bench::new(1, 10);
    let (calls, other_calls) = (Counter::default(), Counter::default());
    let skips = other_calls.clone();
    let other = NativeProcessor::each(description(), move |_| {
        skips.add();
        Ok(Outcome::Skip(String::new()))
    });
    bench.change(0, "a");
    let mut run = bench.run_generation(bench.generation(1, &[("p", &counting(&calls)), ("other", &other)]));
    run.caught_up().await;
    assert_eq!(bench.parked().await, ["a: there is no document"]);
    bench.documents.put(DocumentKey::new("s", "a"), r#"{"n":7}"#);
    run.retries.send(bench.parked_entries().await).await.unwrap();
    until(|| run.snapshot().counts.retried == 1).await;
    assert_eq!(bench.indexed()["a"], "7");
    assert_eq!(bench.parked().await, Vec::<String>::new());
    assert_eq!((calls.get(), other_calls.get()), (2, 1));
    assert_eq!(bench.documents.fetches().len(), 2);
    let retried = bench.checkpoints.committed().pop().unwrap();
    assert!(retried.progress.is_empty(), "a retry moves no progress");
    assert_eq!(retried.owned.len(), 1, "and is settled under the owner's epoch");
    assert_eq!((bench.at().await, run.snapshot().counts.settled), (vec![Some(1)], 1));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_fails_again_counts_up() {
    let bench = Bench::new(1, 10);
    bench.change(0, "a");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    run.retries.send(bench.parked_entries().await).await.unwrap();
    until(|| run.snapshot().counts.retried == 1).await;
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!((parked.attempts, parked.due), (2, false));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_for_a_processor_that_is_gone_gets_an_answer() {
    let bench = Bench::new(1, 10);
    bench.change(0, "a");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    run.generations.send_replace(bench.generation(2, &[("renamed", &indexer())]));
    run.retries.send(bench.parked_entries().await).await.unwrap();
    until(|| run.snapshot().counts.retried == 1).await;
    assert_eq!(bench.parked().await, ["a: the pillow has no processor p any more"]);
    assert_eq!(bench.parked_entries().await[0].attempts, 2);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_former_owner_is_refused() {
    let bench = Bench::new(1, 10);
    bench.change(0, "a");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    bench.documents.put(DocumentKey::new("s", "a"), "{}");
    bench.checkpoints.acquire(&bench.pillow, &partition(0)).await.unwrap();
    let before = bench.checkpoints.committed().len();
    run.retries.send(bench.parked_entries().await).await.unwrap();
    assert!(run.lost().await.contains("owned by a later epoch"));
    assert_eq!(bench.checkpoints.committed().len(), before);
    assert_eq!(bench.parked().await, ["a: there is no document"]);
}

#[tokio::test(start_paused = true)]
async fn a_retry_beside_a_newer_change_of_the_document_ends_with_the_newer_content() {
    let bench = Bench::new(1, 10);
    let (gate, seen) = (Gate::default(), Journal::default());
    let (held, journal) = (gate.clone(), seen.clone());
    bench.change(0, "a");
    let mut run = bench.run(&indexer_after(move |item| {
        if let Document::Present(document) = &item.document {
            journal.note(std::str::from_utf8(document).unwrap());
            if item.change.position.as_number() == 1 {
                held.pass();
            }
        }
    }));
    run.caught_up().await;
    let parked = bench.parked_entries().await;
    // The newer change is in flight with what it fetched; the retry fetches what came after it.
    bench.publish("a", r#"{"n":1}"#);
    until(|| seen.lines().len() == 1).await;
    bench.documents.put(DocumentKey::new("s", "a"), r#"{"n":2}"#);
    run.retries.send(parked).await.unwrap();
    until(|| seen.lines().len() == 2).await;
    settle_down().await;
    assert!(bench.indexed().is_empty(), "the retry waits for what closed before it");
    gate.open();
    until(|| run.snapshot().counts.retried == 1).await;
    assert_eq!(seen.lines(), [r#"{"n":1}"#, r#"{"n":2}"#]);
    assert_eq!(bench.indexed()["a"], "2");
    assert_eq!(bench.parked().await, Vec::<String>::new());
    assert_eq!(bench.at().await, [Some(2)]);
    run.stopped().await;
}

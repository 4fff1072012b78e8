//! Progress moves only with what was written, skipped or parked, in one settle; processors and parts fail apart.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::bench::{Bench, settle_down, until};
use super::processors::{Counter, Gate, description, failed, failure, id, index, indexer, indexer_after, trap};
use crate::model::{
    Collapse, Column, ColumnKind, Description, FailureKind, Index, Outage, Outcome, PartFailure, Publish, RetryHelps,
    RowOp, Table, Value, Write,
};
use crate::processor::native::NativeProcessor;
use crate::sink::memory::MemorySink;
use crate::sink::{PrepareError, Rejected, Sink, Versioned};

#[tokio::test(start_paused = true)]
async fn progress_moves_only_with_what_is_written_skipped_or_parked() {
    let bench = Bench::new(1, 10);
    let processor = NativeProcessor::each(description(), |item| {
        Ok(match id(item) {
            "skip" => Outcome::Skip("not mine".to_owned()),
            "fail" => failed("I cannot"),
            _ => index(item),
        })
    });
    ["write", "skip", "fail"].iter().for_each(|id| bench.publish(id, r#"{"n":1}"#));
    bench.log.push(&super::bench::partition(0), "no change at all");
    let mut run = bench.run(&processor);
    run.caught_up().await;
    let [settlement] = bench.checkpoints.committed().try_into().unwrap();
    assert_eq!(settlement.progress[0].next.as_number(), 4);
    assert_eq!(settlement.parked.len(), 2, "failures are parked in the settle that moves past them");
    assert_eq!(settlement.owned.len(), 1);
    assert_eq!(bench.indexed().into_keys().collect::<Vec<_>>(), ["write"]);
    let counts = run.snapshot().counts;
    assert_eq!((counts.read, counts.settled, counts.fetched), (4, 4, 3));
    assert_eq!((counts.written, counts.skipped, counts.parked), (1, 1, 2));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn messages_and_keys_go_to_their_own_sinks_before_progress_moves() {
    let bench = Bench::new(1, 10);
    let described = Description { topics: vec!["t".to_owned()], caches: vec!["c".to_owned()], ..description() };
    let processor = NativeProcessor::each(described, |item| {
        let publish = Publish { topic: "t".into(), key: None, value: Some("1".into()) };
        let keys = vec![format!("doc:{}", id(item))];
        let mut outcome = index(item);
        if let Outcome::Done { writes, .. } = &mut outcome {
            writes.extend([Write::Publish(publish), Write::Invalidate { cache: "c".into(), keys }]);
        }
        Ok(outcome)
    });
    let (topics, caches) = (MemorySink::default(), MemorySink::default());
    let mut generation = bench.generation(1, &[("p", &processor)]);
    let stage = &mut Arc::get_mut(&mut generation).unwrap().stages[0];
    stage.topics = Some(Arc::new(topics.clone()));
    stage.caches = Some(Arc::new(caches.clone()));
    caches.fail_writes(1);
    bench.publish("a", r#"{"n":1}"#);
    let mut run = bench.run_generation(generation);
    run.caught_up().await;
    assert_eq!(bench.indexed().len(), 1);
    assert_eq!((topics.published().len(), topics.invalidated().len()), (1, 0));
    assert_eq!((caches.published().len(), caches.invalidated()), (0, vec![("c".to_owned(), "doc:a".to_owned())]));
    assert_eq!(caches.calls().0, 2, "an outage of the cache was waited out");
    assert_eq!(bench.at().await, [Some(1)]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_parked_with_its_bytes_and_place() {
    let bench = Bench::new(1, 10);
    bench.publish("a", "{}");
    bench.log.push(&super::bench::partition(0), [0xff, 0x00]);
    bench.publish("b", "{}");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!(parked.failure.bytes.as_deref(), Some([0xff, 0x00].as_slice()));
    assert_eq!(parked.failure.kind, FailureKind::InvalidInput);
    assert_eq!((parked.failure.id.processor, parked.failure.id.document.id.as_ref()), (None, "t:0:1"));
    assert_eq!(bench.indexed().len(), 2);
    assert_eq!(bench.at().await, [Some(3)]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_processor_neither_stops_nor_repeats_another_and_documents_are_fetched_once() {
    let bench = Bench::new(1, 10);
    let calls = Counter::default();
    let counted = calls.clone();
    let good = NativeProcessor::new(description(), move |call, _| {
        counted.add();
        Ok(call.items.iter().map(index).collect())
    });
    let bad = NativeProcessor::new(description(), |_, _| Err(trap("divide by zero")));
    ["a", "b", "c"].iter().for_each(|id| bench.publish(id, "{}"));
    let mut run = bench.run_generation(bench.generation(1, &[("bad", &bad), ("good", &good)]));
    run.caught_up().await;
    assert_eq!(calls.get(), 1);
    assert_eq!(bench.sink.recorded().len(), 3);
    assert_eq!(bench.documents.fetches().iter().map(Vec::len).collect::<Vec<_>>(), [3]);
    let parked = bench.parked_entries().await;
    assert_eq!(parked.len(), 3);
    assert!(parked.iter().all(|entry| entry.failure.id.processor.as_ref().unwrap().as_str() == "bad"));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_failing_part_does_not_stop_the_others_of_its_change() {
    let bench = Bench::new(1, 10);
    let processor = NativeProcessor::each(description(), |item| {
        let Outcome::Done { writes, .. } = index(item) else { return Ok(failed("no document")) };
        let part = PartFailure { part: Some("visits".to_owned()), ..failure("no date") };
        Ok(Outcome::Done { writes, failures: vec![part] })
    });
    bench.publish("a", r#"{"n":1}"#);
    let mut run = bench.run(&processor);
    run.caught_up().await;
    assert_eq!(bench.indexed()["a"], "1");
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!(parked.failure.id.part.as_deref(), Some("visits"));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_refuses_is_parked_under_its_part_and_the_rest_goes_on() {
    let bench = Bench::new(1, 10);
    bench.sink.reject("bad", "the mapping says no", RetryHelps::Perhaps);
    bench.publish("bad", "{}");
    bench.publish("good", "{}");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!((parked.failure.kind, parked.failure.retry), (FailureKind::Rejected, RetryHelps::Perhaps));
    assert_eq!(parked.failure.id.part.as_deref(), Some("search"));
    assert_eq!(parked.failure.message, "the mapping says no");
    assert_eq!((run.snapshot().counts.written, run.snapshot().counts.parked), (1, 1));
    assert_eq!(bench.at().await, [Some(2)]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_later_success_resolves_what_was_parked() {
    let bench = Bench::new(1, 10);
    bench.change(0, "a");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!(bench.parked().await, ["a: there is no document"]);
    bench.publish("a", "{}");
    run.caught_up().await;
    assert_eq!(bench.at().await, [Some(2)]);
    assert_eq!(bench.parked().await, Vec::<String>::new());
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn changes_of_one_document_collapse_unless_every_change_counts() {
    for (collapse, processed) in [(Collapse::ByDocument, vec!["b", "a"]), (Collapse::None, vec!["a", "a", "b", "a"])] {
        let mut bench = Bench::new(1, 10);
        bench.tuning.collapse = collapse;
        ["a", "a", "b", "a"].iter().for_each(|id| bench.publish(id, "{}"));
        let mut run = bench.run(&indexer());
        run.caught_up().await;
        let written: Vec<String> = bench.sink.recorded().iter().map(|write| write.document.id.to_string()).collect();
        assert_eq!(written, processed);
        let counts = run.snapshot().counts;
        assert_eq!((counts.read, counts.settled, counts.collapsed), (4, 4, 4 - processed.len() as u64));
        assert_eq!(bench.at().await, [Some(4)]);
        run.stopped().await;
    }
}

/// A sink whose tables live beside the checkpoint.
pub(super) struct Beside;

#[async_trait]
impl Sink for Beside {
    async fn prepare(&self, _: &[Table], _: &[Index]) -> Result<(), PrepareError> {
        Ok(())
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        panic!("rows travel in the settle: {writes:?}")
    }

    async fn flush(&self) -> Result<(), Outage> {
        Ok(())
    }

    fn rows_settle(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn rows_beside_the_checkpoint_commit_with_the_progress_and_a_refused_one_is_parked_there() {
    let bench = Bench::new(1, 10);
    let column = |name: &str, kind| Column { name: name.to_owned(), kind, nullable: false };
    let visits = Table {
        name: "visits".to_owned(),
        part: Some("visits".to_owned()),
        columns: vec![column("doc", ColumnKind::Text), column("n", ColumnKind::Integer)],
        key: vec!["doc".to_owned()],
        document_column: Some("doc".to_owned()),
        indexes: Vec::new(),
        ..Table::default()
    };
    let description = Description { tables: vec![visits], ..Description::default() };
    let processor = NativeProcessor::each(description, |item| {
        let number = if id(item) == "bad" { Value::Null } else { Value::Integer(1) };
        let op = RowOp::Replace(vec![vec![Value::Text(id(item).to_owned()), number]]);
        Ok(Outcome::Done { writes: vec![Write::Rows { table: "visits".into(), op }], failures: Vec::new() })
    });
    ["a", "bad", "b"].iter().for_each(|id| bench.publish(id, "{}"));
    let sink: Arc<dyn Sink> = Arc::new(Beside);
    let mut run = bench.run_generation(bench.generation_into(1, &[("p", &processor)], &sink));
    run.caught_up().await;
    let [settlement] = bench.checkpoints.committed().try_into().unwrap();
    assert_eq!((settlement.rows.len(), settlement.progress.len()), (3, 1));
    assert_eq!(bench.checkpoints.store.rows().len(), 2);
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!((parked.failure.kind, parked.failure.id.document.id.as_ref()), (FailureKind::Rejected, "bad"));
    assert_eq!((run.snapshot().counts.written, run.snapshot().counts.parked), (2, 1));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_later_batch_of_the_same_settle_did_is_not_parked_and_a_second_failure_is_parked_once() {
    let bench = Bench::new(1, 2);
    let (gate, begun) = (Gate::default(), Counter::default());
    let (held, counted) = (gate.clone(), begun.clone());
    let processor = NativeProcessor::new(description(), move |call, _| {
        let first = call.items[0].change.position.as_number() == 0;
        counted.add();
        if first {
            held.pass();
        }
        let answer = |item| if first || id(item) == "b" { failed("no") } else { index(item) };
        Ok(call.items.iter().map(answer).collect())
    });
    // Three threads are left for five batches; when the last one began, the one after the held one is done.
    ["a", "b", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].iter().for_each(|id| bench.publish(id, "{}"));
    let mut run = bench.run(&processor);
    until(|| begun.get() == 6).await;
    settle_down().await;
    assert_eq!(bench.at().await, [None]);
    gate.open();
    run.caught_up().await;
    let settlement = bench.checkpoints.committed().swap_remove(0);
    assert!(settlement.progress.len() >= 2, "they settled together");
    let parked: Vec<&str> = settlement.parked.iter().map(|failure| &*failure.id.document.id).collect();
    assert_eq!(parked, ["b"]);
    assert_eq!(settlement.parked[0].position.as_number(), 3, "the newer change is the one to try again");
    assert_eq!(bench.parked().await, ["b: no"]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn few_changes_settle_with_those_that_are_still_processed() {
    let mut bench = Bench::new(2, 10);
    bench.tuning.gathering = Duration::from_secs(3600);
    let gate = Gate::default();
    let mut run = bench.run(&one_held(&gate));
    bench.publish_to(0, "quick", "{}");
    bench.publish_to(1, "held", "{}");
    until(|| gate.came() == 1 && run.snapshot().counts.read == 2).await;
    settle_down().await;
    assert_eq!(run.snapshot().counts.settles, 0);
    gate.open();
    until(|| run.snapshot().counts.settled == 2).await;
    assert_eq!(run.snapshot().counts.settles, 1);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn changes_that_take_long_hold_up_nobody() {
    let bench = Bench::new(2, 10);
    let gate = Gate::default();
    let mut run = bench.run(&one_held(&gate));
    bench.publish_to(0, "quick", "{}");
    bench.publish_to(1, "held", "{}");
    until(|| gate.came() == 1 && run.snapshot().counts.settled == 1).await;
    gate.open();
    until(|| run.snapshot().counts.settled == 2).await;
    run.stopped().await;
}

/// Processes at once, but for the document `held`.
fn one_held(gate: &Gate) -> NativeProcessor {
    let gate = gate.clone();
    indexer_after(move |item| {
        if id(item) == "held" {
            gate.pass();
        }
    })
}

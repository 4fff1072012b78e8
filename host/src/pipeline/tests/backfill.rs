//! A backfill brings every document through the same settle, beside the feed, and never older content over newer.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use tokio::sync::watch;

use super::bench::{Bench, Run, TOPIC, partition, settle_down, until};
use super::processors::{Counter, Gate, description, id, indexer, indexer_after};
use super::settle::Beside;
use crate::checkpoint::CheckpointStore;
use crate::documents::inline::InlineDocuments;
use crate::model::{
    Column, ColumnKind, Description, Document, DocumentKey, Outcome, ProcessorName, RowOp, RowWrite, Table, Value,
    Write,
};
use crate::pipeline::{End, Generation};
use crate::processor::native::NativeProcessor;
use crate::replay::{Order, Progressing, Reading, Report};
use crate::sink::Sink;

fn order(number: i64) -> Arc<Order> {
    Arc::new(Order {
        number,
        processor: None,
        parts: None,
        rate: None,
        reading: Reading::Feed,
        report: watch::Sender::new(Report::default()),
    })
}

/// Documents of the topic's own source, which no change was published for.
fn store(bench: &Bench, ids: impl IntoIterator<Item = usize>) {
    for number in ids {
        bench.documents.put(DocumentKey::new(TOPIC, format!("d{number:03}")), format!(r#"{{"n":{number}}}"#));
    }
}

/// Stores a document of the topic's own source, and publishes its change.
fn publish(bench: &Bench, number: u32, id: &str, content: &str) {
    bench.documents.put(DocumentKey::new(TOPIC, id), content.to_owned());
    bench.log.push(&partition(number), format!(r#"{{"document_id":"{id}","data_source_name":"{TOPIC}"}}"#));
}

async fn comes_to(order: &Order, state: &Progressing) {
    until(|| order.report.borrow().state == *state).await;
}

/// Writes one row for each document: its number.
fn rows(before: impl Fn(u64) + Send + Sync + 'static) -> NativeProcessor {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind, nullable: true };
    let table = Table {
        name: "numbers".to_owned(),
        part: None,
        columns: vec![column("id", ColumnKind::Text), column("n", ColumnKind::Integer)],
        key: vec!["id".to_owned()],
        document_column: Some("id".to_owned()),
        indexes: Vec::new(),
        ..Table::default()
    };
    let description = Description { tables: vec![table], ..Description::default() };
    NativeProcessor::each(description, move |item| {
        let Document::Present(document) = &item.document else { return Ok(Outcome::Skip(String::new())) };
        let number = serde_json::from_slice::<serde_json::Value>(document).unwrap()["n"].as_u64().unwrap();
        before(number);
        let row = vec![Value::Text(id(item).into()), Value::Integer(number.cast_signed())];
        let write = Write::Rows { table: "numbers".into(), op: RowOp::Replace(vec![row]) };
        Ok(Outcome::Done { writes: vec![write], failures: Vec::new() })
    })
}

/// The same, and waits at the document of number 1.
fn rows_held(gate: &Gate) -> NativeProcessor {
    let gate = gate.clone();
    rows(move |number| {
        if number == 1 {
            gate.pass();
        }
    })
}

/// What the table holds after all settles. Rows that travel in the settle have no versions: the last one stays.
fn numbers(bench: &Bench) -> BTreeMap<String, i64> {
    let number = |write: RowWrite| match write.op {
        RowOp::Replace(rows) => match rows[0].as_slice() {
            [Value::Text(id), Value::Integer(number)] => (id.clone(), *number),
            row => panic!("{row:?}"),
        },
        op => panic!("{op:?}"),
    };
    bench.checkpoints.store.rows().into_iter().map(number).collect()
}

#[tokio::test(start_paused = true)]
async fn every_document_of_the_store_is_brought_through_the_processors() {
    let bench = Bench::new(2, 10);
    store(&bench, 0..25);
    bench.documents.put(DocumentKey::new("another source", "x"), r#"{"n":1}"#);
    let order = order(1);
    let mut run = bench.run_with(bench.generation(1, &[("p", &indexer())]), &order);
    comes_to(&order, &Progressing::Done).await;
    assert_eq!(bench.indexed().len(), 25);
    let report = order.report.borrow().clone();
    assert_eq!((report.done, report.total), (26, Some(26)));
    // The checkpoints of the feed stand where they stood.
    assert_eq!(bench.at().await, [Some(26), None, None]);
    assert_eq!(run.snapshot().counts.settled, 0);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn rows_that_a_change_settled_meanwhile_are_not_overwritten_with_what_the_backfill_fetched_before() {
    let bench = Bench::new(2, 10);
    store(&bench, 1..4);
    let gate = Gate::default();
    // The backfill has fetched the documents, and is held while it works on the first of them.
    let processor = rows_held(&gate);
    let order = order(1);
    let mut run = bench.run_with(beside(&bench, &processor), &order);
    until(|| gate.came() == 1).await;
    publish(&bench, 1, "d002", r#"{"n":200}"#);
    until(|| run.snapshot().counts.settled == 1).await;
    assert_eq!(numbers(&bench), BTreeMap::from([("d002".to_owned(), 200)]));
    gate.open();
    comes_to(&order, &Progressing::Done).await;
    let expected = [("d001", 1), ("d002", 200), ("d003", 3)].map(|(id, number)| (id.to_owned(), number));
    assert_eq!(numbers(&bench), BTreeMap::from(expected));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_closed_before_the_backfill_may_settle_after_it_and_the_newest_content_stays() {
    let bench = Bench::new(1, 10);
    let gate = Gate::default();
    let processor = rows_held(&gate);
    publish(&bench, 0, "d001", r#"{"n":1}"#);
    let mut run = bench.run_generation(beside(&bench, &processor));
    until(|| gate.came() == 1).await;
    // It changes while the change's batch is held with the old content; the backfill reads the new one first.
    bench.documents.put(DocumentKey::new(TOPIC, "d001"), r#"{"n":2}"#);
    let order = order(1);
    run.orders.send_replace(Some(Arc::clone(&order)));
    comes_to(&order, &Progressing::Done).await;
    assert_eq!(numbers(&bench)["d001"], 2);
    publish(&bench, 0, "d001", r#"{"n":2}"#);
    gate.open();
    run.caught_up().await;
    assert_eq!(numbers(&bench)["d001"], 2);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_backfill_goes_on_where_it_was_after_a_restart() {
    let bench = Bench::new(1, 5);
    store(&bench, 0..40);
    let (calls, gate) = (Counter::default(), Gate::default());
    let (count, held) = (calls.clone(), gate.clone());
    let first = order(1);
    let processor = indexer_after(move |item| {
        count.add();
        if id(item) == "d012" {
            held.pass();
        }
    });
    let mut run = bench.run_with(bench.generation(1, &[("p", &processor)]), &first);
    until(|| first.report.borrow().done == 10).await;
    run.stop.cancel();
    gate.open();
    assert!(matches!(run.ended().await, End::Stopped));
    let (before, called) = (bench.indexed().len(), calls.get());
    assert!((10..=20).contains(&before), "{before}");
    let again = order(1);
    let mut run = bench.run_with(bench.generation(1, &[("p", &processor)]), &again);
    comes_to(&again, &Progressing::Done).await;
    assert_eq!((bench.indexed().len(), again.report.borrow().done), (40, 40));
    assert_eq!(calls.get() - called, 40 - before, "what was settled is not done again");
    // Another backfill begins at the beginning.
    let another = order(2);
    run.orders.send_replace(Some(Arc::clone(&another)));
    comes_to(&another, &Progressing::Done).await;
    assert_eq!(calls.get() - called, 80 - before);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_backfill_of_one_processor_runs_no_other() {
    let bench = Bench::new(1, 10);
    store(&bench, 0..3);
    let calls = Counter::default();
    let count = calls.clone();
    let other = NativeProcessor::each(description(), move |_| {
        count.add();
        Ok(Outcome::Skip(String::new()))
    });
    let order = Arc::new(Order {
        number: 1,
        processor: Some(ProcessorName::new("p")),
        parts: None,
        rate: NonZeroU32::new(2),
        reading: Reading::Nothing,
        report: watch::Sender::default(),
    });
    let generation = bench.generation(1, &[("p", &indexer()), ("other", &other)]);
    let mut run = bench.run_with(generation, &order);
    // Nor does a pause hold what the pillow runs for alone.
    run.paused.send_replace(true);
    comes_to(&order, &Progressing::Done).await;
    assert_eq!((bench.indexed().len(), calls.get()), (3, 0));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_the_backfill_with_the_feed() {
    let bench = Bench::new(1, 1);
    store(&bench, 0..3);
    let order = order(1);
    let mut run = bench.run_generation(bench.generation(1, &[("p", &indexer())]));
    run.paused.send_replace(true);
    settle_down().await;
    run.orders.send_replace(Some(Arc::clone(&order)));
    until(|| order.report.borrow().total == Some(3)).await;
    settle_down().await;
    assert_eq!(bench.indexed().len(), 0);
    run.paused.send_replace(false);
    comes_to(&order, &Progressing::Done).await;
    assert_eq!(bench.indexed().len(), 3);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_parked_where_a_retry_finds_it() {
    let bench = Bench::new(2, 10);
    bench.documents.put(DocumentKey::new(TOPIC, "a"), "not json");
    let order = order(1);
    let tries = Counter::default();
    let counted = tries.clone();
    let processor = NativeProcessor::each(description(), move |item| match counted.add() {
        1 => Ok(super::processors::failed("not today")),
        _ => Ok(super::processors::index_number(item, 5)),
    });
    let mut run = bench.run_with(bench.generation(1, &[("p", &processor)]), &order);
    comes_to(&order, &Progressing::Done).await;
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!(parked.failure.partition, partition(0));
    run.retries.send(vec![parked]).await.unwrap();
    until(|| run.snapshot().counts.retried == 1).await;
    assert_eq!(bench.indexed()["a"], "5");
    assert_eq!(bench.parked().await, Vec::<String>::new());
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_host_that_lost_a_partition_settles_no_more_of_a_backfill() {
    let bench = Bench::new(2, 10);
    store(&bench, 0..3);
    let gate = Gate::default();
    let held = gate.clone();
    let processor = indexer_after(move |_| {
        held.pass();
    });
    let first = order(1);
    let mut run = bench.run_with(bench.generation(1, &[("p", &processor)]), &first);
    until(|| gate.came() == 1).await;
    // Another host takes one partition of the feed, not the backfill's own lane.
    bench.checkpoints.acquire(&bench.pillow, &partition(1)).await.unwrap();
    gate.open();
    until(|| matches!(first.report.borrow().state, Progressing::Failed(_))).await;
    let Progressing::Failed(reason) = first.report.borrow().state.clone() else { panic!("it goes on") };
    assert!(reason.starts_with("partition t:1 went to another host"), "{reason}");
    assert!(bench.indexed().len() <= 3);
    // Nothing of it is committed, and the partition that is left goes on.
    bench.publish_to(0, "a", r#"{"n":1}"#);
    run.caught_up().await;
    let moved = bench.checkpoints.committed().into_iter().flat_map(|settlement| settlement.progress);
    let lanes: Vec<_> = moved.map(|progress| progress.partition).collect();
    assert!(lanes.iter().all(|lane| *lane == partition(0)), "{lanes:?}");
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_backfill_is_refused_while_a_partition_belongs_to_another_host() {
    let bench = Bench::new(1, 10);
    bench.checkpoints.acquire(&bench.pillow, &partition(1)).await.unwrap();
    let order = order(1);
    let mut run = bench.run_with(bench.generation(1, &[("p", &indexer())]), &order);
    until(|| order.report.borrow().state != Progressing::Under).await;
    let Progressing::Failed(reason) = order.report.borrow().state.clone() else { panic!("it goes on") };
    assert!(reason.starts_with("partition t:1 belongs to another host"), "{reason}");
    // The feed goes on.
    bench.publish("a", r#"{"n":1}"#);
    run.caught_up().await;
    assert_eq!(bench.indexed().len(), 1);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_cannot_list_says_so() {
    let mut bench = Bench::new(1, 10);
    bench.store = Arc::new(InlineDocuments);
    let order = order(1);
    let mut run = bench.run_with(bench.generation(1, &[("p", &indexer())]), &order);
    until(|| order.report.borrow().state != Progressing::Under).await;
    let Progressing::Failed(reason) = order.report.borrow().state.clone() else { panic!("it goes on") };
    assert!(reason.contains("read the feed again instead"), "{reason}");
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_order_that_is_taken_back_ends_the_backfill() {
    let bench = Bench::new(1, 10);
    store(&bench, 0..100);
    let order = Arc::new(Order { rate: NonZeroU32::new(1), ..Arc::into_inner(order(1)).unwrap() });
    let mut run = bench.run_with(bench.generation(1, &[("p", &indexer())]), &order);
    until(|| order.report.borrow().done == 2).await;
    run.orders.send_replace(None);
    run.caught_up().await;
    let done = bench.indexed().len();
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(bench.indexed().len(), done);
    run.stopped().await;
}

/// A processor whose rows travel in the settle.
fn beside(bench: &Bench, processor: &NativeProcessor) -> Arc<Generation> {
    let sink: Arc<dyn Sink> = Arc::new(Beside);
    bench.generation_into(1, &[("p", processor)], &sink)
}

impl Bench {
    /// Runs with a backfill to do.
    fn run_with(&self, generation: Arc<Generation>, order: &Arc<Order>) -> Run {
        let run = self.run_generation(generation);
        run.orders.send_replace(Some(Arc::clone(order)));
        run
    }
}

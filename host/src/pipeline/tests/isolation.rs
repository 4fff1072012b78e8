//! A change that crashes its processor is found by halves, in fresh instances, and costs nobody else anything.

use std::collections::HashMap;
use std::sync::Arc;

use super::bench::Bench;
use super::processors::{Counter, description, id, index, trap};
use crate::model::{Change, Document, FailureKind, Item, Outcome, Position, ProcessorName};
use crate::pipeline::isolate::{self, Answer};
use crate::pipeline::{LookupStores, Stage};
use crate::processor::native::NativeProcessor;
use crate::processor::{Call, Fault, FaultKind};

#[tokio::test(start_paused = true)]
async fn a_poison_change_is_parked_with_its_last_log_line_and_the_others_are_written_once() {
    let bench = Bench::new(1, 100);
    let calls = Counter::default();
    let counted = calls.clone();
    let processor = NativeProcessor::new(description(), move |call, _| {
        counted.add();
        match call.items.iter().any(|item| id(item) == "11") {
            true => Err(trap("divide by zero")),
            false => Ok(call.items.iter().map(index).collect()),
        }
    });
    (0..16).for_each(|at| bench.publish(&at.to_string(), "{}"));
    let mut run = bench.run(&processor);
    run.caught_up().await;
    assert!(calls.get() <= 2 * 4 + 1, "{} calls", calls.get());
    assert_eq!(processor.started(), 6, "one instance, and a fresh one after each of five faults");
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!(parked.failure.id.document.id.as_ref(), "11");
    assert_eq!(parked.failure.kind, FailureKind::Trap);
    assert_eq!(parked.failure.last_log.as_deref(), Some("about to divide by zero"));
    let written: Vec<String> = bench.sink.recorded().iter().map(|write| write.document.id.to_string()).collect();
    let others: Vec<String> = (0..16).filter(|at| *at != 11).map(|at| at.to_string()).collect();
    assert_eq!(written, others);
    assert_eq!(bench.at().await, [Some(16)]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_fit_and_a_limit_are_faults_too() {
    let bench = Bench::new(1, 100);
    let processor = NativeProcessor::new(description(), |call, _| {
        if call.items.iter().any(|item| id(item) == "slow") {
            return Err(Fault { kind: FaultKind::Limit, message: "too slow".to_owned(), last_log: None });
        }
        if call.items.iter().any(|item| id(item) == "short") {
            return Ok(Vec::new());
        }
        Ok(call.items.iter().map(index).collect())
    });
    ["a", "slow", "b", "short", "c"].iter().for_each(|id| bench.publish(id, "{}"));
    let mut run = bench.run(&processor);
    run.caught_up().await;
    assert_eq!(bench.indexed().into_keys().collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(bench.parked().await, ["slow: too slow", "short: processor gave 0 outcomes for 1 changes"]);
    let kinds: Vec<FailureKind> = bench.parked_entries().await.iter().map(|entry| entry.failure.kind).collect();
    assert_eq!(kinds, [FailureKind::Limit, FailureKind::Trap]);
    run.stopped().await;
}

fn item(at: usize) -> Item {
    let message = format!(r#"{{"document_id":"{at}","data_source_name":"s"}}"#);
    let change = Change::decode(message.as_bytes(), Position::number(at as u64)).unwrap();
    Item { change: Arc::new(change), document: Document::Missing, found: Vec::new() }
}

/// The answers about `count` changes of which `poison` crash, as text, and the number of calls.
fn isolate(count: usize, poison: &[usize]) -> (Vec<String>, usize) {
    let calls = Counter::default();
    let (counted, names) = (calls.clone(), poison.iter().map(usize::to_string).collect::<Vec<_>>());
    let processor = NativeProcessor::new(description(), move |call, _| {
        counted.add();
        match call.items.iter().any(|item| names.iter().any(|name| name == id(item))) {
            true => Err(trap("crash")),
            false => Ok(call.items.iter().map(|item| Outcome::Skip(id(item).to_owned())).collect()),
        }
    });
    let lookups = Arc::new(LookupStores::new(HashMap::new()));
    let stage = Stage::new(ProcessorName::new("p"), Arc::new(processor), lookups, None, None, 1);
    let items: Vec<Item> = (0..count).map(item).collect();
    let answers = isolate::run(&stage, 0, Call { topic: "t", time: jiff::Timestamp::UNIX_EPOCH, items: &items });
    let text = |answer| match answer {
        Answer::Outcome(Outcome::Skip(id)) => id,
        Answer::Fault(..) => "poison".to_owned(),
        Answer::Outcome(other) => panic!("{other:?}"),
    };
    (answers.unwrap().into_iter().map(text).collect(), calls.get())
}

fn expected(count: usize, poison: &[usize]) -> Vec<String> {
    (0..count).map(|at| if poison.contains(&at) { "poison".to_owned() } else { at.to_string() }).collect()
}

#[tokio::test]
async fn one_poison_change_among_n_takes_at_most_two_calls_for_each_halving_and_one() {
    for count in 1..=33_usize {
        for guilty in 0..count {
            let (answers, calls) = isolate(count, &[guilty]);
            assert_eq!(answers, expected(count, &[guilty]));
            let halvings = count.next_power_of_two().ilog2() as usize;
            assert!(calls <= 2 * halvings + 1, "{calls} calls for {guilty} among {count}");
        }
    }
}

#[tokio::test]
async fn several_poison_changes_are_each_found() {
    for poison in [vec![0, 1], vec![0, 15], vec![3, 4, 9], (0..16).collect()] {
        assert_eq!(isolate(16, &poison).0, expected(16, &poison));
    }
    assert_eq!(isolate(0, &[]), (Vec::new(), 0));
}

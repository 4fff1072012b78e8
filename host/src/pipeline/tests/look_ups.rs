//! What a processor asks for is fetched at once for all changes of a round, and not without end.

use std::sync::Arc;

use super::bench::Bench;
use super::processors::{description, id, index};
use crate::model::{DocumentKey, FailureKind, Outcome, Want};
use crate::processor::native::NativeProcessor;

fn want(key: &str) -> Want {
    Want { lookup: Arc::from("l"), key: Arc::from(key) }
}

#[tokio::test(start_paused = true)]
async fn a_round_of_look_ups_is_one_fetch_of_each_key_once() {
    let bench = Bench::new(1, 10);
    bench.looked_up.put(DocumentKey::new("l", "case"), "found");
    let processor = NativeProcessor::each(description(), |item| {
        if id(item) == "d" {
            return Ok(index(item));
        }
        let keys = if id(item) == "c" { ["case", "nobody"] } else { ["case", "case"] };
        Ok(match item.found.len() {
            0 => Outcome::Need(keys.iter().map(|key| want(key)).collect()),
            2 => {
                let found: Vec<usize> = item.found.iter().map(|found| found.documents.len()).collect();
                assert_eq!(found, if id(item) == "c" { [1, 0] } else { [1, 1] });
                assert_eq!(item.found[0].documents[0].as_ref(), b"found");
                index(item)
            }
            other => panic!("{other} answers"),
        })
    });
    ["a", "b", "c", "d"].iter().for_each(|id| bench.publish(id, "{}"));
    let mut run = bench.run(&processor);
    run.caught_up().await;
    assert_eq!(bench.looked_up.fetches(), [[DocumentKey::new("l", "case"), DocumentKey::new("l", "nobody")]]);
    assert_eq!(bench.sink.recorded().len(), 4);
    assert_eq!(bench.parked().await, Vec::<String>::new());
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_change_that_asks_an_eleventh_time_fails_alone() {
    let bench = Bench::new(1, 10);
    let processor = NativeProcessor::each(description(), |item| {
        let rounds = if id(item) == "endless" { usize::MAX } else { 10 };
        Ok(match item.found.len() < rounds {
            true => Outcome::Need(vec![want(&item.found.len().to_string())]),
            false => index(item),
        })
    });
    bench.publish("endless", "{}");
    bench.publish("patient", "{}");
    let mut run = bench.run(&processor);
    run.caught_up().await;
    assert_eq!(bench.looked_up.fetches().len(), 10);
    let [parked] = bench.parked_entries().await.try_into().unwrap();
    assert_eq!((parked.failure.id.document.id.as_ref(), parked.failure.kind), ("endless", FailureKind::Limit));
    assert_eq!(parked.failure.message, "asked for more look-ups after 10 rounds of them: l 10");
    assert_eq!(bench.indexed().into_keys().collect::<Vec<_>>(), ["patient"]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_look_up_from_within_a_call_is_answered() {
    let bench = Bench::new(1, 10);
    bench.looked_up.put(DocumentKey::new("l", "case"), "found");
    let processor = NativeProcessor::new(description(), |call, lookups| {
        let found = lookups.fetch(&[want("case"), want("nobody")]).unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0]);
        let unknown = Want { lookup: Arc::from("unknown"), key: Arc::from("case") };
        assert_eq!(lookups.fetch(&[unknown]).unwrap_err(), "look-up `unknown` is not granted");
        Ok(call.items.iter().map(index).collect())
    });
    bench.publish("a", "{}");
    let mut run = bench.run(&processor);
    run.caught_up().await;
    assert_eq!(bench.indexed().len(), 1);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_batch_found_is_known_to_later_rounds_and_to_other_processors() {
    let bench = Bench::new(1, 10);
    bench.looked_up.put(DocumentKey::new("l", "case"), "found");
    // The first asks for the case at once, the second when it has something else.
    let at_once = NativeProcessor::each(description(), |item| {
        Ok(if item.found.is_empty() { Outcome::Need(vec![want("case")]) } else { index(item) })
    });
    let later = NativeProcessor::each(description(), |item| {
        Ok(match item.found.len() {
            0 => Outcome::Need(vec![want("other")]),
            1 => Outcome::Need(vec![want("case")]),
            _ => {
                assert_eq!(item.found[1].documents, ["found"]);
                index(item)
            }
        })
    });
    for id in ["1", "2", "3"] {
        bench.publish(id, "{}");
    }
    let mut run = bench.run_generation(bench.generation(1, &[("a", &at_once), ("b", &later), ("c", &at_once)]));
    run.caught_up().await;
    assert_eq!(bench.looked_up.fetches(), [[DocumentKey::new("l", "case")], [DocumentKey::new("l", "other")]]);
    // The next batch does not rely on what was found before it.
    bench.publish("1", "{}");
    run.caught_up().await;
    assert_eq!(bench.looked_up.fetches().len(), 4);
    assert_eq!(bench.parked().await, Vec::<String>::new());
    run.stopped().await;
}

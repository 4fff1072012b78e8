//! A swap has one boundary per partition, and the old processors go when their last batch settled.

use std::sync::{Arc, Weak};

use super::bench::{Bench, partition, settle_down, until};
use super::processors::{Counter, Gate, description, id, index_number, indexer};
use crate::pipeline::{Generation, State};
use crate::processor::native::NativeProcessor;

/// Indexes its number, after `before` let it go on; what it holds is dropped with its last instance.
fn numbered(number: u64, before: impl Fn(&str) + Send + Sync + 'static) -> NativeProcessor {
    NativeProcessor::each(description(), move |item| {
        before(id(item));
        Ok(index_number(item, number))
    })
}

#[tokio::test(start_paused = true)]
async fn a_swap_has_one_boundary_in_each_partition_although_batches_finish_out_of_order() {
    let bench = Bench::new(3, 1);
    let (gate, done) = (Gate::default(), Counter::default());
    let (held, counted) = (gate.clone(), done.clone());
    let old = numbered(1, move |id| {
        if id.starts_with("first") {
            held.pass();
        }
    });
    let new = numbered(2, move |_| {
        counted.add();
    });
    for lane in 0..3 {
        bench.publish_to(lane, &format!("first{lane}"), "{}");
        bench.publish_to(lane, &format!("second{lane}"), "{}");
    }
    let mut run = bench.run_generation(bench.generation(1, &[("p", &old)]));
    until(|| run.snapshot().counts.read == 6).await;
    run.generations.send_replace(bench.generation(2, &[("p", &new)]));
    settle_down().await;
    bench.publish_to(0, "third0", "{}");
    bench.publish_to(2, "third2", "{}");
    // The new generation is done while the old one is still at its first batches.
    until(|| done.get() == 2).await;
    assert_eq!(bench.at().await, [None; 3]);
    gate.open();
    run.caught_up().await;
    let by: Vec<(String, String)> = bench.indexed().into_iter().collect();
    for (document, generation) in &by {
        assert_eq!(generation, if document.starts_with("third") { "2" } else { "1" }, "{by:?}");
    }
    assert_eq!(bench.checkpoints.moves(&partition(0)).concat(), [(0, 1), (1, 2), (2, 3)]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn under_load_the_processors_never_go_back() {
    let mut bench = Bench::new(3, 2);
    bench.tuning.in_flight = 6;
    let mut run = bench.run_generation(bench.generation(1, &[("p", &numbered(1, |_| {}))]));
    for number in 2..12 {
        for at in 0..30 {
            bench.publish_to(at % 3, &format!("{number}-{at}"), "{}");
        }
        until(|| run.snapshot().counts.settled > (number - 2) * 30).await;
        run.generations.send_replace(bench.generation(number, &[("p", &numbered(number, |_| {}))]));
    }
    run.caught_up().await;
    let mut last = [0; 3];
    for write in bench.sink.recorded() {
        let (_, at) = write.document.id.split_once('-').unwrap();
        let lane = at.parse::<usize>().unwrap() % 3;
        let crate::model::Write::Index(target) = &write.write else { panic!("{write:?}") };
        let document: serde_json::Value = serde_json::from_slice(&target.document).unwrap();
        let generation = document["n"].as_u64().unwrap();
        assert!(generation >= last[lane], "partition {lane} went back from {} to {generation}", last[lane]);
        last[lane] = generation;
    }
    assert_eq!(run.snapshot().counts.settled, 300);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_old_generation_goes_with_its_instances_when_its_last_batch_settled() {
    let bench = Bench::new(1, 1);
    let gate = Gate::default();
    let instances = Arc::new(());
    let alive = Arc::downgrade(&instances);
    let held = gate.clone();
    let old = numbered(1, move |_| {
        let _kept = &instances;
        held.pass();
    });
    let generation = bench.generation(1, &[("p", &old)]);
    drop(old);
    let pinned: Weak<Generation> = Arc::downgrade(&generation);
    bench.publish("a", "{}");
    let mut run = bench.run_generation(generation);
    until(|| gate.came() == 1).await;
    run.generations.send_replace(bench.generation(2, &[("p", &numbered(2, |_| {}))]));
    bench.publish("b", "{}");
    settle_down().await;
    assert!(pinned.upgrade().is_some(), "a batch is pinned to it");
    gate.open();
    run.caught_up().await;
    assert!(pinned.upgrade().is_none());
    assert!(alive.upgrade().is_none(), "its instances went with it");
    assert_eq!((bench.indexed()["a"].as_str(), bench.indexed()["b"].as_str()), ("1", "2"));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_pillow_lets_the_old_generation_go_at_once() {
    let bench = Bench::new(1, 1);
    let generation = bench.generation(1, &[("p", &indexer())]);
    let pinned = Arc::downgrade(&generation);
    bench.publish("a", "{}");
    let mut run = bench.run_generation(generation);
    run.caught_up().await;
    run.generations.send_replace(bench.generation(2, &[("p", &indexer())]));
    assert!(pinned.upgrade().is_none());
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_swap_while_a_sink_is_down_waits_for_nothing() {
    let mut bench = Bench::new(1, 1);
    bench.tuning.in_flight = 2;
    bench.sink.fail_writes(usize::MAX);
    (0..4).for_each(|at| bench.publish(&at.to_string(), "{}"));
    let generation = bench.generation(1, &[("p", &numbered(1, |_| {}))]);
    let pinned = Arc::downgrade(&generation);
    let mut run = bench.run_generation(generation);
    run.waits_for("sink").await;
    until(|| run.snapshot().counts.read == 2).await;
    run.generations.send_replace(bench.generation(2, &[("p", &numbered(2, |_| {}))]));
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert!(pinned.upgrade().is_some());
    bench.sink.fail_writes(0);
    run.caught_up().await;
    assert_eq!(run.snapshot().state, State::Running);
    assert_eq!(bench.indexed().into_values().collect::<Vec<_>>(), ["1", "1", "2", "2"]);
    assert!(pinned.upgrade().is_none());
    run.stopped().await;
}

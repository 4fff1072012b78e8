//! Queues are bounded: the feed is not read beyond the bound, and bounds never lock each other up.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::bench::{Bench, settle_down, until};
use super::processors::{Counter, Gate, indexer, indexer_after};
use crate::model::PillowName;

#[tokio::test(start_paused = true)]
async fn no_more_batches_are_read_than_may_be_in_flight() {
    let mut bench = Bench::new(1, 2);
    bench.tuning.in_flight = 3;
    let gate = Gate::default();
    let held = gate.clone();
    (0..20).for_each(|at| bench.publish(&at.to_string(), "{}"));
    let mut run = bench.run(&indexer_after(move |_| held.pass()));
    until(|| run.snapshot().counts.read == 6).await;
    settle_down().await;
    assert_eq!(run.snapshot().counts.read, 6, "three batches of two");
    gate.open();
    run.caught_up().await;
    assert_eq!(run.snapshot().counts.settled, 20);
    run.stopped().await;
}

// In real time: under a paused clock the question would run out of it while a processor takes a breath.
#[tokio::test]
async fn changes_do_not_wait_for_an_answer_where_the_partitions_end() {
    let bench = Bench::new(1, 2);
    bench.log.withhold_ends();
    let mut run = bench.run(&indexer());
    until(|| bench.log.open_questions() == 1).await;
    bench.publish("a", "{}");
    run.caught_up().await;
    assert_eq!((run.snapshot().counts.settled, bench.log.open_questions()), (1, 1));
    run.stopped().await;
    assert_eq!(bench.log.open_questions(), 0, "nobody waits for it any more");
}

#[tokio::test(start_paused = true)]
async fn batches_that_wait_for_their_settle_count_as_in_flight() {
    let mut bench = Bench::new(1, 1);
    bench.tuning.in_flight = 3;
    bench.sink.fail_writes(usize::MAX);
    (0..20).for_each(|at| bench.publish(&at.to_string(), "{}"));
    let mut run = bench.run(&indexer());
    run.waits_for("sink").await;
    until(|| run.snapshot().counts.read == 3).await;
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!(run.snapshot().counts.read, 3);
    bench.sink.fail_writes(0);
    run.caught_up().await;
    assert_eq!(run.snapshot().counts.settled, 20);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn the_bound_of_the_process_holds_for_all_pillows_beside_one_batch_of_each() {
    let mut one = Bench::new(2, 1);
    one.in_flight = Arc::new(Semaphore::new(1));
    let mut other = Bench::new(2, 1);
    (other.in_flight, other.workers) = (Arc::clone(&one.in_flight), one.workers.clone());
    other.pillow = PillowName::new("other");
    let (active, most) = (Counter::default(), Counter::default());
    let (now, peak) = (active.clone(), most.clone());
    let processor = indexer_after(move |_| {
        if now.add() > peak.get() {
            peak.add();
        }
        std::thread::yield_now();
        now.remove();
    });
    for at in 0..40 {
        one.publish_to(at % 2, &at.to_string(), "{}");
        other.publish_to(at % 2, &at.to_string(), "{}");
    }
    let (mut first, mut second) = (one.run(&processor), other.run(&processor));
    first.caught_up().await;
    second.caught_up().await;
    assert!((1..=3).contains(&most.get()), "{} batches at once", most.get());
    assert_eq!((one.indexed().len(), other.indexed().len()), (40, 40));
    assert_eq!(one.in_flight.available_permits(), 1, "every permit came back");
    first.stopped().await;
    second.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn few_permits_and_many_lanes_do_not_lock_each_other_up() {
    for permits in [0, 1, 2] {
        let mut bench = Bench::new(5, 1);
        bench.in_flight = Arc::new(Semaphore::new(permits));
        bench.tuning.in_flight = 16;
        (0..60).for_each(|at| bench.publish_to(at % 5, &at.to_string(), "{}"));
        let mut run = bench.run(&indexer());
        run.caught_up().await;
        assert_eq!(bench.at().await, [Some(12); 5]);
        run.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_pillow_that_waits_holds_no_other() {
    let mut held = Bench::new(1, 1);
    held.in_flight = Arc::new(Semaphore::new(2));
    let mut free = Bench::new(1, 1);
    free.in_flight = Arc::clone(&held.in_flight);
    held.documents.fail(usize::MAX);
    (0..9).for_each(|at| held.publish(&at.to_string(), "{}"));
    let mut waiting = held.run(&indexer());
    waiting.waits_for("document store").await;
    until(|| held.in_flight.available_permits() == 0).await;
    (0..9).for_each(|at| free.publish(&at.to_string(), "{}"));
    let mut running = free.run(&indexer());
    running.caught_up().await;
    assert_eq!(free.at().await, [Some(9)]);
    assert_eq!(held.at().await, [None]);
    running.stopped().await;
    waiting.stopped().await;
}

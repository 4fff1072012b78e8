//! Batches of a lane finish in any order and settle in the order in which they closed; what follows each other settles
//! together; progress is the feed's.

use super::bench::{Bench, partition, settle_down, until};
use super::processors::{Gate, Journal, id, indexer, indexer_after};

#[tokio::test(start_paused = true)]
async fn batches_of_one_lane_finish_out_of_order_and_settle_in_order() {
    let bench = Bench::new(1, 1);
    let (gate, finished) = (Gate::default(), Journal::default());
    let (held, journal) = (gate.clone(), finished.clone());
    let processor = indexer_after(move |item| {
        if id(item) == "a" {
            held.pass();
        }
        journal.note(id(item));
    });
    ["a", "b", "c"].iter().for_each(|id| bench.publish(id, "{}"));
    let mut run = bench.run(&processor);
    until(|| finished.lines().len() == 2).await;
    settle_down().await;
    assert_eq!(bench.at().await, [None], "nothing settles before its predecessor");
    assert!(bench.indexed().is_empty(), "nothing is written before its predecessor");
    gate.open();
    run.caught_up().await;
    assert_eq!(finished.lines().last().map(String::as_str), Some("a"));
    assert_eq!(bench.checkpoints.moves(&partition(0)).concat(), [(0, 1), (1, 2), (2, 3)]);
    let written: Vec<String> = bench.sink.recorded().iter().map(|write| write.document.id.to_string()).collect();
    assert_eq!(written, ["a", "b", "c"]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn consecutive_finished_batches_settle_together() {
    let bench = Bench::new(1, 1);
    let (gate, begun) = (Gate::default(), Journal::default());
    let (held, journal) = (gate.clone(), begun.clone());
    let processor = indexer_after(move |item| {
        journal.note(id(item));
        if id(item) == "a" {
            held.pass();
        }
    });
    ["a", "b", "c", "d", "e", "f", "g", "h"].iter().for_each(|id| bench.publish(id, "{}"));
    let mut run = bench.run(&processor);
    // Three threads do seven batches: when the last one began, at least four are done.
    until(|| begun.lines().len() == 8).await;
    settle_down().await;
    gate.open();
    run.caught_up().await;
    let moves = bench.checkpoints.moves(&partition(0));
    assert!(moves[0].len() >= 4, "{moves:?}");
    assert_eq!(moves.concat(), (0..8).map(|at| (at, at + 1)).collect::<Vec<_>>());
    assert_eq!(run.snapshot().counts.batches, 8);
    assert_eq!(run.snapshot().counts.settles, moves.len() as u64);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_held_holds_no_other_lane() {
    let bench = Bench::new(2, 1);
    let gate = Gate::default();
    let held = gate.clone();
    let processor = indexer_after(move |item| {
        if id(item) == "a" {
            held.pass();
        }
    });
    bench.publish_to(0, "a", "{}");
    bench.publish_to(1, "b", "{}");
    bench.publish_to(1, "c", "{}");
    let mut run = bench.run(&processor);
    until(|| bench.indexed().len() == 2).await;
    until(|| bench.checkpoints.moves(&partition(1)).concat() == [(0, 1), (1, 2)]).await;
    assert_eq!(bench.checkpoints.moves(&partition(0)), Vec::<Vec<(u64, u64)>>::new());
    gate.open();
    run.caught_up().await;
    assert_eq!(bench.at().await, [Some(1), Some(2)]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_feed_skips_moves_progress_too() {
    let bench = Bench::new(1, 10);
    bench.publish("a", "{}");
    bench.log.skip(&partition(0), 5);
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!(bench.at().await, [Some(6)]);
    bench.log.skip(&partition(0), 2);
    run.caught_up().await;
    until(|| bench.checkpoints.moves(&partition(0)).concat() == [(0, 6), (6, 8)]).await;
    run.stopped().await;
}

//! Beginning, pausing and ending a run loses nothing.

use super::bench::{Bench, partition, settle_down, until, within};
use super::processors::{Gate, id, indexer, indexer_after};
use crate::feed::{self, Start};
use crate::model::Outage;
use crate::pipeline::{End, State};

#[tokio::test(start_paused = true)]
async fn a_stop_settles_what_is_in_hand_and_reads_no_more() {
    let mut bench = Bench::new(1, 1);
    bench.tuning.in_flight = 3;
    let gate = Gate::default();
    let held = gate.clone();
    (0..10).for_each(|at| bench.publish(&at.to_string(), "{}"));
    let mut run = bench.run(&indexer_after(move |_| {
        held.pass();
    }));
    until(|| gate.came() == 3).await;
    run.stop.cancel();
    settle_down().await;
    gate.open();
    run.stopped().await;
    assert_eq!(bench.at().await, [Some(3)]);
    assert_eq!(bench.indexed().len(), 3);
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!((bench.at().await, bench.sink.recorded().len()), (vec![Some(10)], 10));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_during_the_stop_ends_it_and_loses_nothing() {
    let outages: [fn(&Bench, usize); 4] = [
        |bench, count| bench.documents.fail(count),
        |bench, count| bench.sink.fail_flushes(count),
        |bench, count| bench.checkpoints.fail_settles(count),
        |bench, count| bench.checkpoints.fail_draws(count),
    ];
    for fail in outages {
        let bench = Bench::new(2, 1);
        let gate = Gate::default();
        let held = gate.clone();
        bench.publish("settled", "{}");
        let mut run = bench.run(&indexer_after(move |item| {
            if id(item) == "held" {
                held.pass();
            }
        }));
        run.caught_up().await;
        bench.publish("held", "{}");
        until(|| gate.came() == 1).await;
        fail(&bench, usize::MAX);
        (0..5).for_each(|at| bench.publish_to(at % 2, &at.to_string(), "{}"));
        until(|| run.snapshot().counts.read == 7).await;
        run.stop.cancel();
        gate.open();
        run.stopped().await;
        fail(&bench, 0);
        let mut run = bench.run(&indexer());
        run.caught_up().await;
        assert_eq!(bench.at().await, [Some(5), Some(2)]);
        assert_eq!(bench.indexed().len(), 7);
        assert_eq!(bench.parked().await, Vec::<String>::new());
        run.stopped().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_follows_an_abandoned_settle_is_abandoned_too() {
    let bench = Bench::new(1, 1);
    let gate = Gate::default();
    let held = gate.clone();
    bench.sink.fail_writes(usize::MAX);
    bench.publish("first", "{}");
    let mut run = bench.run(&indexer_after(move |item| {
        if id(item) == "second" {
            held.pass();
        }
    }));
    run.waits_for("sink").await;
    bench.publish("second", "{}");
    until(|| gate.came() == 1).await;
    run.stop.cancel();
    // The first is given up while the sink is down; the second finishes when the sink is back.
    settle_down().await;
    bench.sink.fail_writes(0);
    gate.open();
    run.stopped().await;
    assert_eq!(bench.at().await, [None]);
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!((bench.at().await, bench.indexed().len()), (vec![Some(2)], 2));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_feed_error_ends_the_run_after_what_is_in_hand_is_settled() {
    let bench = Bench::new(1, 1);
    let gate = Gate::default();
    let held = gate.clone();
    bench.publish("a", "{}");
    let mut run = bench.run(&indexer_after(move |_| {
        held.pass();
    }));
    until(|| gate.came() == 1).await;
    bench.log.fail(feed::Error::Outage(Outage { operation: "the broker is down".to_owned(), source: None }));
    settle_down().await;
    gate.open();
    let end = run.ended().await;
    assert!(matches!(end, End::Feed(feed::Error::Outage(_))), "{end:?}");
    assert_eq!(bench.at().await, [Some(1)]);
}

#[tokio::test(start_paused = true)]
async fn a_feed_error_while_a_store_is_down_ends_the_run_too() {
    let bench = Bench::new(1, 1);
    bench.documents.fail(usize::MAX);
    bench.publish("a", "{}");
    let mut run = bench.run(&indexer());
    run.waits_for("document store").await;
    bench.log.fail(feed::Error::Refused("the topic is gone".to_owned()));
    let end = run.ended().await;
    assert!(matches!(end, End::Feed(feed::Error::Refused(_))), "{end:?}");
    assert_eq!((bench.at().await, bench.parked().await.len()), (vec![None], 0));
}

#[tokio::test(start_paused = true)]
async fn a_paused_pillow_reads_nothing_and_goes_on_when_it_is_resumed() {
    let bench = Bench::new(1, 1);
    bench.publish("a", "{}");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    run.paused.send_replace(true);
    until(|| run.snapshot().state == State::Paused).await;
    bench.publish("b", "{}");
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    assert_eq!((run.snapshot().counts.read, bench.at().await), (1, vec![Some(1)]));
    run.paused.send_replace(false);
    until(|| run.snapshot().counts.settled == 2).await;
    assert_eq!(run.snapshot().state, State::Running);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_pillow_is_caught_up_when_all_is_settled_and_not_before() {
    let bench = Bench::new(2, 1);
    let gate = Gate::default();
    let held = gate.clone();
    let mut run = bench.run(&indexer_after(move |_| held.pass()));
    run.caught_up().await;
    let mut caught_up = run.status.caught_up();
    bench.publish_to(1, "a", "{}");
    within(caught_up.wait_for(|caught_up| !*caught_up)).await.unwrap();
    settle_down().await;
    assert!(!run.snapshot().caught_up, "a change is in flight");
    gate.open();
    within(caught_up.wait_for(|caught_up| *caught_up)).await.unwrap();
    assert_eq!(bench.at().await, [None, Some(1)]);
    let lane = &run.snapshot().lanes["t:1"];
    assert_eq!((lane.settled.as_deref(), lane.in_flight), (Some("1"), 0));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn the_latest_start_is_kept_before_the_first_change() {
    let mut bench = Bench::new(2, 10);
    bench.start = Start::Latest;
    bench.publish("old", "{}");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!(bench.at().await, [Some(1), Some(0)]);
    run.stopped().await;
    // What comes while nobody runs is not skipped.
    bench.publish("new", "{}");
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!(bench.indexed().into_keys().collect::<Vec<_>>(), ["new"]);
    assert_eq!(bench.checkpoints.moves(&partition(0)).concat(), [(1, 1), (1, 2)]);
    run.stopped().await;
}

//! Partitions come and go while a pillow runs, and each of their changes is settled once, by whoever owns it.

use std::collections::BTreeMap;

use serde_json::json;

use super::bench::{Bench, Run, partition, settle_down, until, within};
use super::processors::{Gate, id, indexer, indexer_after, trap};
use crate::checkpoint::{CheckpointStore as _, Heartbeat};
use crate::feed::Event;
use crate::model::{Clock, Partition};
use crate::pipeline::ownership::HAND_OVER_LIMIT;
use crate::pipeline::{End, State};
use crate::processor::native::NativeProcessor;

/// A bench whose host reads what a test gives it.
fn member(partitions: u32, batch: usize) -> Bench {
    let mut bench = Bench::new(partitions, batch);
    bench.log = bench.log.member();
    bench
}

/// Another member of the same group.
fn another(bench: &Bench) -> Bench {
    let mut other = bench.as_another_host();
    other.log = bench.log.member();
    other
}

fn numbered(numbers: &[u32]) -> Vec<Partition> {
    numbers.iter().map(|number| partition(*number)).collect()
}

fn give(bench: &Bench, numbers: &[u32]) {
    bench.log.tell(Event::Assigned(numbered(numbers)));
}

/// A processor that waits at `held` documents.
fn holding(gate: &Gate, held: &'static str) -> NativeProcessor {
    let gate = gate.clone();
    indexer_after(move |item| {
        if id(item).starts_with(held) {
            gate.pass();
        }
    })
}

/// Takes partitions away, and waits until they are given back.
async fn revoke(bench: &Bench, numbers: &[u32]) {
    bench.log.tell(Event::Revoked(numbered(numbers)));
    until(|| bench.log.released() == numbered(numbers)).await;
}

/// Runs on a host that is given these partitions, until it caught up.
async fn taken_over(bench: &Bench, numbers: &[u32]) -> Run {
    let run = bench.run(&indexer());
    give(bench, numbers);
    run.caught_up().await;
    run
}

fn lanes(run: &Run) -> Vec<String> {
    run.snapshot().lanes.into_keys().collect()
}

/// How often each document was committed, by all the given hosts.
fn committed(benches: &[&Bench]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for settlement in benches.iter().flat_map(|bench| bench.checkpoints.committed()) {
        for resolved in &settlement.resolved {
            *counts.entry(resolved.document.id.to_string()).or_default() += 1;
        }
    }
    counts
}

#[tokio::test(start_paused = true)]
async fn a_member_reads_what_it_is_given_from_the_checkpoints_and_waits_for_more() {
    let bench = member(2, 1);
    (0..4).for_each(|at| bench.publish_to(at % 2, &at.to_string(), "{}"));
    let mut run = bench.run(&indexer());
    give(&bench, &[0]);
    until(|| run.snapshot().counts.settled == 2).await;
    assert_eq!(lanes(&run), ["t:0"]);
    assert_eq!(bench.at().await, [Some(2)]);
    give(&bench, &[1]);
    until(|| run.snapshot().counts.settled == 4).await;
    run.stopped().await;

    let next = another(&bench);
    let mut run = taken_over(&next, &[0, 1]).await;
    assert_eq!((run.snapshot().counts.read, next.at().await), (0, vec![Some(2), Some(2)]));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_of_a_revoked_partition_settles_before_it_is_given_back() {
    let bench = member(2, 1);
    let gate = Gate::default();
    let mut run = bench.run(&holding(&gate, "held"));
    give(&bench, &[0, 1]);
    bench.publish_to(0, "held", "{}");
    bench.publish_to(0, "behind it", "{}");
    until(|| gate.came() == 1 && run.snapshot().counts.read == 2).await;
    bench.log.tell(Event::Revoked(numbered(&[0, 1])));
    until(|| bench.log.released() == numbered(&[1])).await;
    // Nothing more of it is read meanwhile.
    bench.publish_to(0, "after", "{}");
    settle_down().await;
    gate.open();
    until(|| bench.log.released() == numbered(&[1, 0])).await;
    assert_eq!((bench.at().await[0], lanes(&run)), (Some(2), Vec::<String>::new()));

    let next = another(&bench);
    let mut next_run = taken_over(&next, &[0, 1]).await;
    assert_eq!(next.at().await[0], Some(3));
    assert!(committed(&[&bench, &next]).values().all(|count| *count == 1));
    run.stopped().await;
    next_run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_revoked_partition_that_does_not_settle_in_time_is_given_back_and_settles_nothing_any_more() {
    let bench = member(1, 1);
    let gate = Gate::default();
    let mut run = bench.run(&holding(&gate, "held"));
    give(&bench, &[0]);
    bench.publish("held", "{}");
    until(|| gate.came() == 1).await;
    let before = tokio::time::Instant::now();
    revoke(&bench, &[0]).await;
    assert!(before.elapsed() >= HAND_OVER_LIMIT);

    let next = another(&bench);
    let mut next_run = taken_over(&next, &[0]).await;
    gate.open();
    settle_down().await;
    run.stopped().await;
    assert!(bench.checkpoints.committed().is_empty());
    assert_eq!(committed(&[&bench, &next]), BTreeMap::from([("held".to_owned(), 1)]));
    next_run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_of_a_lost_partition_is_settled_and_the_others_go_on() {
    let bench = member(2, 1);
    let gate = Gate::default();
    let mut run = bench.run(&holding(&gate, "held"));
    give(&bench, &[0, 1]);
    bench.publish_to(0, "held", "{}");
    until(|| gate.came() == 1).await;
    bench.log.tell(Event::Lost(numbered(&[0])));
    until(|| bench.log.released() == numbered(&[0])).await;
    gate.open();
    bench.publish_to(1, "other", "{}");
    until(|| run.snapshot().counts.settled == 1).await;
    assert_eq!((bench.at().await, lanes(&run)), (vec![None, Some(1)], vec!["t:1".to_owned()]));
    // It may come back, and goes on where it was settled.
    give(&bench, &[0]);
    run.caught_up().await;
    assert_eq!(bench.at().await, [Some(1), Some(1)]);
    assert!(committed(&[&bench]).values().all(|count| *count == 1));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_retry_of_a_partition_that_went_is_left_to_its_owner() {
    let bench = member(1, 1);
    bench.publish("a", "{}");
    let fails = NativeProcessor::each(super::processors::description(), |_| Err(trap("fail")));
    let mut run = bench.run(&fails);
    give(&bench, &[0]);
    run.caught_up().await;
    let parked = bench.parked_entries().await;
    assert_eq!(parked.len(), 1);
    let settles = bench.checkpoints.committed().len();
    revoke(&bench, &[0]).await;
    run.retries.send(parked.clone()).await.unwrap();
    settle_down().await;
    assert_eq!(bench.checkpoints.committed().len(), settles);

    let next = another(&bench);
    let mut next_run = taken_over(&next, &[0]).await;
    next_run.retries.send(parked).await.unwrap();
    until(|| next_run.snapshot().counts.retried == 1).await;
    assert_eq!(next.parked().await, Vec::<String>::new());
    run.stopped().await;
    next_run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_pillow_gives_its_partitions_back_all_the_same() {
    let bench = member(1, 1);
    let mut run = bench.run(&indexer());
    give(&bench, &[0]);
    run.caught_up().await;
    run.paused.send_replace(true);
    until(|| run.snapshot().state == State::Paused).await;
    revoke(&bench, &[0]).await;
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_partitions_are_taken_over_is_waited_out() {
    let bench = member(1, 1);
    bench.checkpoints.fail_acquires(3);
    bench.publish("a", "{}");
    let mut run = bench.run(&indexer());
    give(&bench, &[0]);
    run.caught_up().await;
    assert_eq!(bench.at().await, [Some(1)]);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_defect_while_partitions_are_taken_over_ends_the_run() {
    let bench = member(1, 1);
    bench.checkpoints.die_in_acquire();
    let mut run = bench.run(&indexer());
    give(&bench, &[0]);
    let end = run.ended().await;
    assert!(matches!(&end, End::Failed(reason) if reason.contains("panicked")), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn another_owner_of_one_partition_stops_that_lane_alone_until_it_is_gone() {
    let bench = Bench::new(2, 1);
    let gate = Gate::default();
    let mut run = bench.run(&holding(&gate, "1-"));
    (0..6).for_each(|at| bench.publish_to(at % 2, &format!("{}-{at}", at % 2), "{}"));
    until(|| gate.came() > 0 && run.snapshot().counts.read == 6).await;
    bench.checkpoints.acquire(&bench.pillow, &partition(1)).await.unwrap();
    // The other owner says each second that it is there.
    let says = |at| Heartbeat {
        pillow: bench.pillow.clone(),
        host: "other".to_owned(),
        at,
        status: json!({ "state": "running", "lanes": { "t:1": {} } }),
    };
    let now = Clock::System.now();
    bench.checkpoints.beat(&[says(now)]).await.unwrap();
    gate.open();
    until(|| lanes(&run) == ["t:0"]).await;
    bench.publish_to(0, "0-more", "{}");
    until(|| run.snapshot().counts.settled == 4).await;
    assert_eq!(bench.at().await, [Some(4), None]);
    assert!(bench.checkpoints.moves(&partition(1)).is_empty());
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    assert_eq!(lanes(&run), ["t:0"]);

    bench.checkpoints.leave("other").await.unwrap();
    within(async {
        while bench.at().await != [Some(4), Some(3)] {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    })
    .await;
    assert_eq!(lanes(&run), ["t:0", "t:1"]);
    assert!(committed(&[&bench]).values().all(|count| *count == 1));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_partitions_all_have_another_owner_is_lost_and_commits_nothing() {
    let bench = Bench::new(1, 1);
    let gate = Gate::default();
    let mut run = bench.run(&holding(&gate, ""));
    bench.publish("a", "{}");
    until(|| gate.came() == 1).await;
    bench.checkpoints.acquire(&bench.pillow, &partition(0)).await.unwrap();
    gate.open();
    let reason = run.lost().await;
    assert!(reason.starts_with("t:0 is owned by a later epoch"), "{reason}");
    assert!(bench.checkpoints.committed().is_empty());
    // The next owner does all of it.
    let mut run = bench.run(&indexer());
    run.caught_up().await;
    assert_eq!((bench.at().await, bench.indexed().len()), (vec![Some(1)], 1));
    run.stopped().await;
}

//! Too many failures stop the pillow before they are parked.

use super::bench::{Bench, settle_down, until};
use super::processors::{Gate, description, failed, id, index};
use crate::model::Outcome;
use crate::pipeline::{End, FailureLimit};
use crate::processor::native::NativeProcessor;

fn halting(batch: usize) -> Bench {
    let mut bench = Bench::new(1, batch);
    bench.tuning.failures = FailureLimit { share: 0.2, window: 100, minimum: 10 };
    // One batch at a time, so that the test knows what settles together.
    bench.tuning.in_flight = 1;
    bench
}

fn fails_by_name() -> NativeProcessor {
    NativeProcessor::each(description(), |item| {
        Ok(match id(item).split_once('-') {
            Some(("type", number)) => failed(&format!("no such type {number}")),
            Some(("date", _)) => failed("bad date"),
            Some(("size", _)) => failed("too large"),
            Some(("rare", _)) => failed("rare"),
            _ => index(item),
        })
    })
}

#[tokio::test(start_paused = true)]
async fn too_many_failures_halt_with_three_causes_and_settle_nothing_beyond() {
    let bench = halting(20);
    (0..20).for_each(|at| bench.publish(&format!("good{at}"), "{}"));
    let bad = ["type-1", "type-2", "type-3", "date-1", "date-2", "size-1", "size-2", "rare-1"];
    bad.iter().for_each(|id| bench.publish(id, "{}"));
    (0..12).for_each(|at| bench.publish(&format!("better{at}"), "{}"));
    (0..20).for_each(|at| bench.publish(&format!("best{at}"), "{}"));
    let mut run = bench.run(&fails_by_name());
    // A fifth is not too many: thirteen of sixty-five.
    (0..5).for_each(|at| bench.publish(&format!("date-x{at}"), "{}"));
    run.caught_up().await;
    assert_eq!(bench.at().await, [Some(65)]);
    assert_eq!(bench.parked().await.len(), 13);
    (0..10).for_each(|at| bench.publish(&format!("type-y{at}"), "{}"));
    let End::Halted(causes) = run.ended().await else { panic!("it halts") };
    let causes: Vec<String> = causes.iter().map(ToString::to_string).collect();
    assert_eq!(causes, ["13 × p: guest: no such type …", "7 × p: guest: bad date", "2 × p: guest: too large"]);
    assert_eq!(bench.at().await, [Some(65)]);
    assert_eq!(bench.parked().await.len(), 13);
}

#[tokio::test(start_paused = true)]
async fn changes_that_collapse_do_not_hide_failures() {
    let bench = halting(1000);
    for _ in 0..50 {
        (0..10).for_each(|at| bench.publish(&format!("date-{at}"), "{}"));
    }
    let mut run = bench.run(&fails_by_name());
    assert!(matches!(run.ended().await, End::Halted(_)));
    assert_eq!(bench.at().await, [None]);
}

#[tokio::test(start_paused = true)]
async fn failures_of_several_processors_for_one_change_are_one_failed_change() {
    let bench = halting(20);
    (0..17).for_each(|at| bench.publish(&format!("good{at}"), "{}"));
    (0..3).for_each(|at| bench.publish(&format!("date-{at}"), "{}"));
    let processor = fails_by_name();
    let mut run = bench.run_generation(bench.generation(1, &[("p", &processor), ("q", &processor)]));
    run.caught_up().await;
    assert_eq!(bench.parked().await.len(), 6);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn retries_that_fail_again_do_not_halt() {
    let bench = halting(20);
    (0..30).for_each(|at| bench.publish(&format!("good{at}"), "{}"));
    (0..4).for_each(|at| bench.publish(&format!("date-{at}"), "{}"));
    let mut run = bench.run(&fails_by_name());
    run.caught_up().await;
    for round in 2..12 {
        run.retries.send(bench.parked_entries().await).await.unwrap();
        until(|| run.snapshot().counts.retried == (round - 1) * 4).await;
        bench.publish(&format!("more{round}"), "{}");
        run.caught_up().await;
    }
    assert_eq!(bench.parked_entries().await[0].attempts, 11);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn retries_that_fail_in_the_settle_of_other_changes_do_not_halt_either() {
    let mut bench = halting(20);
    bench.tuning.in_flight = 8;
    let gate = Gate::default();
    let held = gate.clone();
    let processor = NativeProcessor::each(description(), move |item| {
        if id(item) == "held" {
            held.pass();
        }
        Ok(if id(item).starts_with("bad") { failed("bad") } else { index(item) })
    });
    (0..30).for_each(|at| bench.publish(&format!("good{at}"), "{}"));
    (0..4).for_each(|at| bench.publish(&format!("bad{at}"), "{}"));
    let mut run = bench.run(&processor);
    run.caught_up().await;
    bench.publish("held", "{}");
    until(|| gate.came() == 1).await;
    // The retries are done, and wait for the settle of the change that closed before them.
    for _ in 0..4 {
        run.retries.send(bench.parked_entries().await).await.unwrap();
    }
    until(|| bench.documents.fetches().len() == 7).await;
    settle_down().await;
    gate.open();
    until(|| run.snapshot().counts.retried == 16).await;
    run.caught_up().await;
    assert_eq!(bench.parked_entries().await.len(), 4);
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_sink_refuses_counts_as_failed() {
    let bench = halting(20);
    let refuses = NativeProcessor::each(description(), |item| {
        let Outcome::Done { mut writes, failures } = index(item) else { return Ok(failed("no document")) };
        if let crate::model::Write::Index(write) = &mut writes[0] {
            write.document = "no object".into();
        }
        Ok(Outcome::Done { writes, failures })
    });
    (0..20).for_each(|at| bench.publish(&at.to_string(), "{}"));
    let mut run = bench.run(&refuses);
    let End::Halted(causes) = run.ended().await else { panic!("it halts") };
    assert_eq!(causes[0].count, 20);
    assert_eq!((bench.at().await, bench.parked().await.len()), (vec![None], 0));
}

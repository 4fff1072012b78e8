//! What operators see of calls and sinks is what happened.

use std::sync::Arc;
use std::time::Duration;

use super::bench::{Bench, Run};
use super::processors::{description, id, index, indexer, trap};
use crate::metrics::{Metrics, SinkMetrics};
use crate::model::ProcessorName;
use crate::pipeline::{Generation, StageCounts};
use crate::processor::native::NativeProcessor;

/// A run of one processor that counts.
fn run(bench: &Bench, processor: &NativeProcessor) -> (Run, StageCounts) {
    let metrics = Metrics::new();
    let counts = StageCounts {
        calls: metrics.calls(&bench.pillow, &ProcessorName::new("p")),
        tables: SinkMetrics::default(),
        indices: metrics.sink(&bench.pillow, "i"),
        ..StageCounts::default()
    };
    let Generation { number, stages } = Arc::into_inner(bench.generation(1, &[("p", processor)])).unwrap();
    let stages = stages.into_iter().map(|stage| stage.counted(counts.clone())).collect();
    (bench.run_generation(Arc::new(Generation { number, stages })), counts)
}

#[tokio::test(start_paused = true)]
async fn calls_and_faults_are_counted_with_those_that_search_for_the_guilty_change() {
    let bench = Bench::new(1, 100);
    let processor =
        NativeProcessor::new(description(), |call, _| match call.items.iter().any(|item| id(item) == "11") {
            true => Err(trap("divide by zero")),
            false => Ok(call.items.iter().map(index).collect()),
        });
    (0..16).for_each(|at| bench.publish(&at.to_string(), "{}"));
    let (mut run, counts) = run(&bench, &processor);
    run.caught_up().await;
    // 16, 8, 4, 2 and 1 changes with the guilty one; 8, 4, 2 and 1 without.
    assert_eq!((counts.calls.calls.get(), counts.calls.traps.get()), (9, 5));
    assert_eq!(counts.calls.batch_exceptions.get(), 4, "the last fault was of one change alone");
    assert_eq!((counts.calls.limits.get(), counts.calls.bad_answers.get()), (0, 0));
    assert!(counts.calls.cpu.get() > 0.0);
    assert_eq!((counts.indices.taken.get(), counts.indices.rejected.get()), (15, 0));
    run.stopped().await;
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_sink_does_not_answer_is_counted() {
    let bench = Bench::new(1, 100);
    let (mut run, counts) = run(&bench, &indexer());
    run.caught_up().await;
    assert_eq!(counts.indices.outage.get().to_bits(), 0.0_f64.to_bits());
    bench.sink.fail_writes(usize::MAX);
    bench.publish("a", "{}");
    run.waits_for("told to fail: write").await;
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(counts.indices.taken.get(), 0);
    bench.sink.fail_writes(0);
    run.caught_up().await;
    let waited = counts.indices.outage.get();
    assert!((590.0..610.0).contains(&waited), "{waited}");
    assert_eq!(counts.indices.taken.get(), 1);
    run.stopped().await;
}

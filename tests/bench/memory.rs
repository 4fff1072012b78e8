//! Change log → es-indexer → sink, wholly in memory: what the engine itself costs, and where it goes.

use std::sync::Arc;

use async_trait::async_trait;
use pillowtop::model::{Description, Index, Outage, Outcome, Table};
use pillowtop::pipeline::Workers;
use pillowtop::processor::Processor;
use pillowtop::processor::native::NativeProcessor;
use pillowtop::sink::memory::MemorySink;
use pillowtop::sink::{PrepareError, Rejected, Sink, Versioned};
use serde_json::json;
use tokio::sync::watch;

use super::built;
use super::case::{self, Input};
use super::measure::{Cost, Variant, Whose, interleaved, timed};
use super::report::{Goal, Report, Unit};

/// How often each case changes: a run takes about two seconds of CPU.
const TIMES: usize = 5;

/// Takes everything and keeps nothing.
struct Nowhere;

#[async_trait]
impl Sink for Nowhere {
    async fn prepare(&self, _tables: &[Table], _indices: &[Index]) -> Result<(), PrepareError> {
        Ok(())
    }

    async fn write(&self, _writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        Ok(Vec::new())
    }

    async fn flush(&self) -> Result<(), Outage> {
        Ok(())
    }
}

pub(crate) fn measure(report: &mut Report) {
    let input = Input::new(TIMES);
    let indexer = case::indexer();
    let expected = case::expected(&indexer);
    let skips = NativeProcessor::each(Description::default(), |_| Ok(Outcome::Skip(String::new())));
    let skips: Arc<dyn Processor> = Arc::new(skips);
    let nothing: Arc<dyn Processor> = built::processor(&built::module("bench_guest"), &json!({ "work": "nothing" }));
    let variants = vec![
        Variant::new("es-indexer → memory sink", || {
            let sink = MemorySink::default();
            let cost = run(&input, &indexer, Some(Arc::new(sink.clone())), case::CASES * TIMES);
            assert_eq!(sink.documents("cases"), expected, "the sink holds what es-indexer makes of each case");
            cost
        }),
        Variant::new("es-indexer → nowhere", || run(&input, &indexer, Some(Arc::new(Nowhere)), case::CASES * TIMES)),
        Variant::new("no-op processor", || run(&input, &nothing, None, 0)),
        Variant::new("native no-op", || run(&input, &skips, None, 0)),
    ];
    let (measured, control) = interleaved(variants);
    report.costs("1 KB cases, all in memory", &measured, &control);
    let rate = |at: usize| 1e9 / f64::max(measured[at].cpu_ns(), 1.0);
    report.row(
        "es-indexer → memory sink, per core",
        Unit::PerCoreSecond,
        Some(rate(0)),
        Some(1e9 / measured[0].wall_ns()),
        Some(Goal::AtLeast(60_000.0)),
    );
}

/// One run over the whole log; `written` is how many writes it must have made.
fn run(input: &Input, processor: &Arc<dyn Processor>, sink: Option<Arc<dyn Sink>>, written: usize) -> Cost {
    let runtime = case::runtime();
    let workers = Workers::start(2).unwrap();
    let _entered = runtime.enter();
    let generation = case::generation(1, Arc::clone(processor), sink, workers.count());
    let pillow = case::case_pillow(input, workers);
    let (_keep, generations) = watch::channel(generation);
    timed(Whose::Process, || {
        let counts = runtime.block_on(case::run(pillow, generations));
        assert_eq!((counts.settled, counts.collapsed), (input.changes as u64, 0), "every change is settled once");
        assert_eq!(counts.written, written as u64);
        input.changes
    })
}

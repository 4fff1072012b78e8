//! How long no processor runs when the processors of a busy pillow are swapped.
//!
//! One worker thread, so that its calls are a line in time. The pause of a swap is what lies between the end of a call and
//! the start of the next one when that is the first of a new generation; the start of the new instance is in it. The
//! same between all other calls is the control: what it is anyway.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use pillowtop::model::{Description, Digest, Outcome};
use pillowtop::pipeline::Workers;
use pillowtop::processor::{Call, Fault, Instance, Lookups, Processor, StartError};
use pillowtop::sink::memory::MemorySink;
use rustix::time::ClockId;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use super::case::{self, Input};
use super::measure::{now, quantile};
use super::report::{Goal, Report, Unit};

/// How often each case changes: the load lasts for some seconds.
const TIMES: usize = 10;
/// Between two swaps.
const EVERY: Duration = Duration::from_millis(10);
/// Fewer swaps than this would make no p99.
const LEAST_SWAPS: usize = 100;

/// Calls in the order in which they were made: the generation, the start and the end.
type Calls = Arc<Mutex<Vec<(u64, Duration, Duration)>>>;

/// A processor that notes when it is called.
struct Noting {
    generation: u64,
    inner: Arc<dyn Processor>,
    calls: Calls,
}

struct NotingInstance {
    generation: u64,
    inner: Box<dyn Instance>,
    calls: Calls,
}

impl Processor for Noting {
    fn description(&self) -> &Description {
        self.inner.description()
    }

    fn digest(&self) -> Digest {
        self.inner.digest()
    }

    fn start(&self, lookups: Arc<dyn Lookups>) -> Result<Box<dyn Instance>, StartError> {
        let inner = self.inner.start(lookups)?;
        Ok(Box::new(NotingInstance { generation: self.generation, inner, calls: Arc::clone(&self.calls) }))
    }
}

impl Instance for NotingInstance {
    fn process(&mut self, call: &Call<'_>) -> Result<Vec<Outcome>, Fault> {
        let start = now(ClockId::Monotonic);
        let answered = self.inner.process(call);
        self.calls.lock().unwrap().push((self.generation, start, now(ClockId::Monotonic)));
        answered
    }

    fn is_spent(&self) -> bool {
        self.inner.is_spent()
    }
}

pub(crate) fn measure(report: &mut Report) {
    let input = Input::new(TIMES);
    let expected = case::expected(&case::indexer());
    // Twice, as the control.
    for control in ["", " (again)"] {
        let sink = MemorySink::default();
        let (swaps, others) = run(&input, &sink);
        assert_eq!(sink.documents("cases"), expected, "swaps change nothing of what is written");
        assert!(swaps.len() >= LEAST_SWAPS, "only {} swaps", swaps.len());
        for (what, gaps) in [("swap pause", &swaps), ("between other calls", &others)] {
            for (name, share) in [("p50", 0.5), ("p99", 0.99)] {
                let goal = (what == "swap pause" && name == "p99").then_some(Goal::AtMost(5.0));
                let what = format!("{what}{control}, {name} of {}", gaps.len());
                report.row(&what, Unit::Milliseconds, None, Some(quantile(gaps.iter().copied(), share)), goal);
            }
        }
    }
}

/// The gaps in milliseconds before the first calls of generations, and before all other calls.
fn run(input: &Input, sink: &MemorySink) -> (Vec<f64>, Vec<f64>) {
    let runtime = case::runtime();
    let _entered = runtime.enter();
    let workers = Workers::start(1).unwrap();
    let calls = Calls::default();
    let generation = {
        let (calls, sink) = (Arc::clone(&calls), sink.clone());
        move |number| {
            let noting = Noting { generation: number, inner: case::indexer(), calls: Arc::clone(&calls) };
            case::generation(number, Arc::new(noting), Some(Arc::new(sink.clone())), 1)
        }
    };
    let (generations, receiver) = watch::channel(generation(1));
    let pillow = case::case_pillow(input, workers);
    let counts = runtime.block_on(async {
        let swapping = async {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            for number in 2.. {
                ticks.tick().await;
                // As the host does it: loaded beside the running one, off the pipeline.
                let make = generation.clone();
                let entered = tokio::runtime::Handle::current();
                let made = tokio::task::spawn_blocking(move || {
                    let _entered = entered.enter();
                    make(number)
                });
                generations.send_replace(made.await.unwrap());
            }
        };
        tokio::select! {
            counts = case::run(pillow, receiver) => counts,
            () = swapping => unreachable!("swaps go on"),
        }
    });
    assert_eq!((counts.settled, counts.written), (input.changes as u64, input.changes as u64));
    gaps(&calls.lock().unwrap())
}

/// Batches are carried side by side, so some of the old generation may still be called after the first of the new one.
fn gaps(calls: &[(u64, Duration, Duration)]) -> (Vec<f64>, Vec<f64>) {
    let (mut swaps, mut others) = (Vec::new(), Vec::new());
    let mut newest = calls[0].0;
    for pair in calls.windows(2) {
        let [(_, _, end), (generation, start, _)] = pair else { unreachable!("windows of two") };
        let gap = start.saturating_sub(*end).as_secs_f64() * 1e3;
        if *generation > newest { &mut swaps } else { &mut others }.push(gap);
        newest = newest.max(*generation);
    }
    (swaps, others)
}

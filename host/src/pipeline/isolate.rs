//! Finds the change that crashes a processor: by halves, until it stands alone.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::metrics::CallMetrics;
use crate::model::{FailureKind, Item, Outcome, PartFailure, RetryHelps};
use crate::processor::{Call, Fault, FaultKind};

use super::generation::{Running, Stage};
use super::process::Hindrance;

/// What came of one item.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    /// The processor answered.
    Outcome(Outcome),
    /// It crashed on this change; with the last line that it logged.
    Fault(PartFailure, Option<String>),
}

/// Runs `stage` over the call's items on this worker's instance. A fault costs only the change that causes it: the
/// items are split by halves and tried again, each time in a fresh instance, so one guilty change among n takes at
/// most 2·⌈log₂ n⌉ + 1 calls.
///
/// # Errors
/// When no instance starts, or a store that the processor asks is down; nothing is known about the items then.
pub(super) fn run(stage: &Stage, worker: usize, call: Call<'_>) -> Result<Vec<Answer>, Hindrance> {
    let mut answers = Vec::with_capacity(call.items.len());
    let mut kept: Option<Running> = None;
    // A stack of halves, the first on top: answers come in the order of the items.
    let mut open: Vec<&[Item]> = vec![call.items];
    while let Some(items) = open.pop() {
        if items.is_empty() {
            continue;
        }
        let mut running = match kept.take() {
            Some(running) => running,
            None => stage.take_instance(worker).map_err(Hindrance::Processor)?,
        };
        let began = cpu_time();
        let answered = running.instance.process(&Call { items, ..call });
        count(&stage.counts.calls, cpu_time().saturating_sub(began), answered.as_ref().err(), items.len());
        // What came of a store that is down is nobody's failure, a fault as little as an answer that blames the
        // document: the batch is held, not parked.
        if let Some(outage) = running.lookups.take_outage() {
            return Err(Hindrance::Lookup(outage));
        }
        match answered {
            Ok(outcomes) => {
                answers.extend(outcomes.into_iter().map(Answer::Outcome));
                if !running.instance.is_spent() {
                    kept = Some(running);
                }
            }
            Err(fault) if items.len() == 1 => answers.push(poison(fault)),
            Err(_) => {
                let (first, second) = items.split_at(items.len() / 2);
                open.push(second);
                open.push(first);
            }
        }
    }
    if let Some(running) = kept {
        stage.give_back(worker, running);
    }
    Ok(answers)
}

/// Counts a call over so many items.
fn count(calls: &CallMetrics, took: Duration, fault: Option<&Fault>, items: usize) {
    calls.calls.inc();
    calls.cpu.inc_by(took.as_secs_f64());
    let Some(fault) = fault else { return };
    match fault.kind {
        FaultKind::Trap => calls.traps.inc(),
        FaultKind::Limit => calls.limits.inc(),
        FaultKind::BadAnswer => calls.bad_answers.inc(),
    };
    if items > 1 {
        calls.batch_exceptions.inc();
    }
}

/// What the calling thread has spent; calls run on threads of their own.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

fn poison(fault: Fault) -> Answer {
    let (kind, retry) = match fault.kind {
        FaultKind::Trap | FaultKind::BadAnswer => (FailureKind::Trap, RetryHelps::No),
        // The machine may have been the reason.
        FaultKind::Limit => (FailureKind::Limit, RetryHelps::Perhaps),
    };
    Answer::Fault(PartFailure { part: None, kind, message: fault.message, retry }, fault.last_log)
}

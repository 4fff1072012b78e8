//! One running instance: its store, its calls under their limits, and its end after a fault.

use std::sync::Arc;

use wasmtime::{Store, UpdateDeadline};

use super::bindings::pillowtop::processor::types;
use super::bindings::{Processor as Guest, ProcessorPre};
use super::convert::{Declared, description, outcome, problem, with_batch};
use super::fault::fault;
use super::imports::State;
use super::limits::{Deadline, Exceeded, Limits};
use super::log::{Names, cut};
use crate::model::{Change, Description, Outcome, Problem};
use crate::processor::{Call, Fault, FaultKind, Instance, Lookups, StartError};

/// Problems of a configuration that are kept, and the bytes of each.
const PROBLEMS: usize = 100;
const PROBLEM_BYTES: usize = 1000;

/// What all instances of a processor share.
pub(super) struct Template {
    pub(super) code: ProcessorPre<State>,
    pub(super) names: Names,
    pub(super) limits: Limits,
    pub(super) lookups: Arc<[Arc<str>]>,
    pub(super) config: Vec<u8>,
}

/// A configured instance that is not bound to a worker yet.
pub(super) struct Configured {
    pub(super) description: Description,
    store: Store<State>,
    guest: Guest,
}

/// An instance for one worker thread.
pub(super) struct WasmInstance {
    store: Store<State>,
    guest: Guest,
    template: Arc<Template>,
    declared: Arc<Declared>,
    ended: bool,
}

impl Template {
    /// Makes an instance and configures it.
    pub(super) fn configure(&self) -> Result<Configured, StartError> {
        let state = State::new(self.names.clone(), &self.limits, Arc::clone(&self.lookups));
        let mut store = Store::new(self.code.engine(), state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_callback(|store| {
            store.data().deadline.check()?;
            Ok(UpdateDeadline::Continue(1))
        });
        // The runtime stops what is far beyond the limit before it is copied; the limit itself is held by the checks.
        store.set_hostcall_fuel(self.limits.output_bytes.saturating_mul(2));
        begin(&mut store, &self.limits, std::iter::empty());
        let lookups: Vec<String> = self.lookups.iter().map(ToString::to_string).collect();
        let granted: Vec<&str> = self.lookups.iter().map(AsRef::as_ref).collect();
        let configured = self.code.instantiate(&mut store).and_then(|guest| {
            let answer = guest.pillowtop_processor_guest().call_configure(&mut store, &self.config, &granted)?;
            Ok((guest, answer))
        });
        let last_log = store.data_mut().log.end();
        let (guest, answer) = configured.map_err(|error| {
            let Fault { message, last_log, .. } = fault(&error, last_log);
            let said = last_log.map(|line| format!(" (its last line: {line})")).unwrap_or_default();
            StartError::Start(message + &said)
        })?;
        let given = answer.map_err(|problems| StartError::Configuration(in_lines(problems)))?;
        let description = description(given, &lookups).map_err(|wrong| StartError::Configuration(bounded(wrong)))?;
        Ok(Configured { description, store, guest })
    }
}

impl Configured {
    /// Binds the instance to a worker's look-ups.
    pub(super) fn into_instance(
        mut self,
        template: Arc<Template>,
        declared: Arc<Declared>,
        lookups: Arc<dyn Lookups>,
    ) -> WasmInstance {
        self.store.data_mut().lookups = Some(lookups);
        WasmInstance { store: self.store, guest: self.guest, template, declared, ended: false }
    }
}

impl WasmInstance {
    fn call(&mut self, call: &Call<'_>) -> Result<Vec<Outcome>, Fault> {
        let limits = &self.template.limits;
        begin(&mut self.store, limits, call.items.iter().map(|item| Arc::clone(&item.change)));
        let guest = self.guest.pillowtop_processor_guest();
        let answered = with_batch(call, |batch| guest.call_process(&mut self.store, batch));
        let last_log = self.store.data_mut().log.end();
        let given = match answered {
            Ok(given) => given,
            Err(error) => return Err(fault(&error, last_log)),
        };
        let (asked, found) = (call.items.len(), given.len());
        if found != asked {
            let message = format!("processor gave {found} outcomes for {asked} changes");
            return Err(Fault { kind: FaultKind::BadAnswer, message, last_log });
        }
        let mut total = 0_usize;
        let mut outcomes = Vec::with_capacity(found);
        for (given, item) in given.into_iter().zip(call.items) {
            let (outcome, size) = outcome(given, item, &self.declared, limits);
            outcomes.push(outcome);
            total += size;
        }
        if total > limits.output_bytes {
            return Err(fault(&Exceeded::Output(limits.output_bytes).into(), last_log));
        }
        Ok(outcomes)
    }
}

impl Instance for WasmInstance {
    fn process(&mut self, call: &Call<'_>) -> Result<Vec<Outcome>, Fault> {
        if self.ended {
            let message = "this instance ended with a fault before".to_owned();
            return Err(Fault { kind: FaultKind::Trap, message, last_log: None });
        }
        self.call(call).inspect_err(|_| self.ended = true)
    }

    fn is_spent(&self) -> bool {
        self.ended || self.store.data().memory.used() > self.template.limits.memory_mark_bytes
    }

    fn memory_bytes(&self) -> usize {
        self.store.data().memory.used()
    }
}

/// Gives the next call its time and its log.
fn begin(store: &mut Store<State>, limits: &Limits, changes: impl Iterator<Item = Arc<Change>>) {
    store.data_mut().log.begin(changes);
    store.data_mut().deadline = Deadline::start(limits);
    store.set_epoch_deadline(1);
}

fn in_lines(problems: Vec<types::Problem>) -> Vec<String> {
    let line = |problem: Problem| match (problem.path.as_str(), problem.part) {
        ("", None) => problem.message,
        ("", Some(part)) => format!("{part}: {}", problem.message),
        (path, None) => format!("{path}: {}", problem.message),
        (path, Some(part)) => format!("{path} ({part}): {}", problem.message),
    };
    if problems.is_empty() {
        return vec!["it does not say why".to_owned()];
    }
    bounded(problems.into_iter().map(|given| line(problem(given))).collect())
}

/// As much of a guest's complaints as anybody reads.
fn bounded(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(PROBLEMS);
    lines.truncate(PROBLEMS);
    for line in &mut lines {
        line.truncate(cut(line, PROBLEM_BYTES).len());
    }
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_are_bounded() {
        let lines = bounded(vec!["é".repeat(PROBLEM_BYTES); PROBLEMS + 2]);
        assert_eq!((lines.len(), lines[0].len()), (PROBLEMS + 1, PROBLEM_BYTES));
        assert_eq!(lines[PROBLEMS], "and 2 more");
        assert_eq!(in_lines(Vec::new()), ["it does not say why"]);
    }
}

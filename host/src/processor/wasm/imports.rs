//! What a guest can call: the log and the look-ups, each only when it is granted.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use super::bindings::pillowtop::processor::types::{Answer, Level};
use super::bindings::pillowtop::processor::{log, lookup, types};
use super::engine::Engine;
use super::grants::Grants;
use super::limits::{Deadline, Limits, Memory};
use super::log::{Log, Names};
use crate::model::Want;
use crate::processor::Lookups;

/// What belongs to one instance on the host's side.
pub(super) struct State {
    pub(super) log: Log,
    pub(super) memory: Memory,
    pub(super) deadline: Deadline,
    /// None while the instance is configured: a configuration must not depend on what a store holds just then.
    pub(super) lookups: Option<Arc<dyn Lookups>>,
    granted: Arc<[Arc<str>]>,
}

/// A look-up that cannot be answered; it ends the call.
#[derive(Debug, thiserror::Error)]
pub(super) enum LookupError {
    #[error("look-ups cannot be asked while the processor is configured")]
    Configuring,
    #[error("look-up `{0}` is not granted in the manifest")]
    NotGranted(String),
    #[error("look-up `{name}` was not answered: {reason}")]
    Failed { name: Arc<str>, reason: String },
    #[error("look-up `{name}` gave {found} answers to {asked} keys")]
    Count { name: Arc<str>, asked: usize, found: usize },
}

impl State {
    pub(super) fn new(names: Names, limits: &Limits, granted: Arc<[Arc<str>]>) -> Self {
        Self {
            log: Log::new(names, limits),
            memory: Memory::new(limits),
            deadline: Deadline::start(limits),
            lookups: None,
            granted,
        }
    }

    fn look_up(&self, name: &str, keys: Vec<String>) -> Result<Vec<Answer>, LookupError> {
        let Some(lookups) = &self.lookups else { return Err(LookupError::Configuring) };
        let Some(name) = self.granted.iter().find(|granted| granted.as_ref() == name) else {
            return Err(LookupError::NotGranted(name.to_owned()));
        };
        let wants: Vec<Want> =
            keys.into_iter().map(|key| Want { lookup: Arc::clone(name), key: Arc::from(key) }).collect();
        let name = Arc::clone(name);
        let answers = match lookups.fetch(&wants) {
            Ok(answers) => answers,
            Err(reason) => return Err(LookupError::Failed { name, reason }),
        };
        if answers.len() != wants.len() {
            return Err(LookupError::Count { name, asked: wants.len(), found: answers.len() });
        }
        let answer =
            |documents: Vec<bytes::Bytes>| Answer { documents: documents.into_iter().map(Vec::from).collect() };
        Ok(answers.into_iter().map(answer).collect())
    }
}

/// Gives what is granted, and the contract's types, which anybody may name.
pub(super) fn link(engine: &Engine, granted: &Grants) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine.runtime());
    types::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    if granted.log {
        log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    if !granted.lookups.is_empty() {
        lookup::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
    }
    Ok(linker)
}

impl types::Host for State {}

impl log::Host for State {
    fn write(&mut self, level: Level, change: Option<u32>, message: String) -> wasmtime::Result<()> {
        self.log.line(level, change, &message);
        Ok(())
    }
}

impl lookup::Host for State {
    fn fetch(&mut self, name: String, keys: Vec<String>) -> wasmtime::Result<Vec<Answer>> {
        Ok(self.look_up(&name, keys)?)
    }
}

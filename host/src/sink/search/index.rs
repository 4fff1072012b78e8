//! One index: does to its documents what is decided, and keeps what is not committed yet.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tantivy::TantivyError;
use tokio::time::Instant;

use super::extract::{Extracted, extract, learn};
use super::live::{Live, Want};
use super::storage::{Definition, IndexName};
use crate::model::{Clock, Outage, Write, WriteVersion};
use crate::sink::decide::{Decision, Known, decide, parse};

/// The most bytes of an id, as Elasticsearch has it.
const LONGEST_ID: usize = 512;

/// How much may wait for a commit; beyond, a write commits by itself.
const MOST_PENDING: usize = 32 << 20;

/// An index, open or closed.
pub(super) struct SearchIndex {
    name: IndexName,
    folder: PathBuf,
    clock: Clock,
    /// Writes taken so far. Grows under the lock of `state`.
    taken: AtomicU64,
    state: Mutex<State>,
}

struct State {
    definition: Definition,
    /// Whether the definition on disk is this one.
    saved: bool,
    /// The writer; opened by the first write and closed when there is nothing to do.
    live: Option<Live>,
    /// What was taken since the last commit: the truth for these ids, also when the writer is lost.
    pending: HashMap<Arc<str>, Known>,
    pending_bytes: usize,
    /// How many of the taken writes are durable.
    durable: u64,
    used: Instant,
}

impl SearchIndex {
    /// An index as it is defined on disk, or else as it is about to be.
    pub(super) fn new(
        name: IndexName,
        folder: PathBuf,
        clock: Clock,
        on_disk: Option<Definition>,
        declared: &Definition,
    ) -> Self {
        let state = State {
            saved: on_disk.is_some(),
            definition: on_disk.unwrap_or_else(|| declared.clone()),
            live: None,
            pending: HashMap::new(),
            pending_bytes: 0,
            durable: 0,
            used: Instant::now(),
        };
        Self { name, folder, clock, taken: AtomicU64::new(0), state: Mutex::new(state) }
    }

    /// Whether `declared` can be made of this index.
    ///
    /// # Errors
    /// One line for each thing that cannot.
    pub(super) fn check(&self, declared: &Definition) -> Result<(), Vec<String>> {
        self.extended(&self.state().definition, declared).map(|_| ())
    }

    /// Makes this index what is declared, on disk too.
    ///
    /// # Errors
    /// An outage; or, inside, what [`check`](Self::check) would refuse by now.
    pub(super) fn adopt(&self, declared: &Definition) -> Result<Result<(), Vec<String>>, Outage> {
        let mut state = self.state();
        let extended = match self.extended(&state.definition, declared) {
            Ok(extended) => extended,
            Err(problems) => return Ok(Err(problems)),
        };
        if state.definition != extended || !state.saved {
            state.definition = extended;
            state.saved = false;
            // The writer's lock is what keeps two processes from changing one definition.
            self.with_live(&mut state, |_| Ok(()))?;
            self.save(&mut state)?;
        }
        Ok(Ok(()))
    }

    /// Takes writes of this index in order; the answer names those that are refused, and why.
    pub(super) fn write<'a>(
        &self,
        writes: impl Iterator<Item = (usize, WriteVersion, &'a Write)>,
    ) -> Result<Vec<(usize, String)>, Outage> {
        let mut state = self.state();
        let mut refused = Vec::new();
        for (at, version, write) in writes {
            if let Err(reason) = self.take(&mut state, version, write)? {
                refused.push((at, format!("index {}: {reason}", self.name.as_str())));
            }
        }
        if state.pending_bytes > MOST_PENDING {
            self.commit(&mut state)?;
        }
        Ok(refused)
    }

    /// Whether there is something that a flush would make durable.
    pub(super) fn is_dirty(&self) -> bool {
        let taken = self.taken.load(Ordering::Acquire);
        self.state.try_lock().map_or(true, |state| state.durable < taken)
    }

    /// Makes every write that was taken before durable. Callers that wait for the same commit share it.
    pub(super) fn flush(&self) -> Result<(), Outage> {
        let taken = self.taken.load(Ordering::Acquire);
        let mut state = self.state();
        if state.durable >= taken {
            return Ok(());
        }
        self.commit(&mut state)
    }

    /// Closes the writer when nothing was written for a while.
    pub(super) fn close_if_idle(&self, idle: Duration) -> Result<(), Outage> {
        let mut state = self.state();
        if state.used.elapsed() < idle || !state.pending.is_empty() || !state.saved {
            return Ok(());
        }
        match state.live.take() {
            Some(live) => live.close().map_err(|error| self.outage(error)),
            None => Ok(()),
        }
    }

    /// What an error of the writer does.
    #[cfg(test)]
    pub(super) fn lose_writer(&self) {
        self.state().live = None;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Whoever panicked left `pending` and the writer apart at worst: the next one starts with a new writer.
        self.state.lock().unwrap_or_else(|poisoned: PoisonError<MutexGuard<'_, State>>| {
            self.state.clear_poison();
            let mut state = poisoned.into_inner();
            state.live = None;
            state
        })
    }

    fn extended(&self, known: &Definition, declared: &Definition) -> Result<Definition, Vec<String>> {
        let named = |problem| format!("index {}: {problem}", self.name.as_str());
        known.extended(declared).map_err(|problems| problems.into_iter().map(named).collect())
    }

    fn outage(&self, error: TantivyError) -> Outage {
        let operation = match &error {
            TantivyError::LockFailure(..) => {
                format!("index {} in {} is being written by another process", self.name.as_str(), self.folder.display())
            }
            _ => format!("could not write index {} in {}", self.name.as_str(), self.folder.display()),
        };
        Outage::new(operation, error)
    }

    /// Opens the writer if need be and does something with it. After an error it is closed: tantivy's writer does not
    /// survive one, and what was given to it since the last commit is given again to the next.
    fn with_live<T>(
        &self,
        state: &mut State,
        action: impl FnOnce(&mut Live) -> tantivy::Result<T>,
    ) -> Result<T, Outage> {
        state.used = Instant::now();
        let mut live = match state.live.take() {
            Some(live) => live,
            None => self.open(state)?,
        };
        let outcome = action(&mut live).map_err(|error| self.outage(error))?;
        state.live = Some(live);
        Ok(outcome)
    }

    fn open(&self, state: &mut State) -> Result<Live, Outage> {
        let now = self.clock.now();
        let live = Live::open(&self.folder, now).map_err(|error| self.outage(error))?;
        let described = || format!("could not read the definition of index {}", self.name.as_str());
        let on_disk = Definition::load(&self.folder).map_err(|error| Outage::new(described(), error))?;
        // Another process may have had the lock before, and extended it.
        if let Some(on_disk) = on_disk.filter(|on_disk| *on_disk != state.definition) {
            let extended = on_disk.extended(&state.definition);
            state.definition = extended.map_err(|problems| Outage::new(described(), problems.join("; ")))?;
            state.saved = false;
        }
        for (id, known) in &state.pending {
            let fed = match &known.source {
                None => live.bury(id, known.version, now),
                Some(source) => match searchable(&state.definition, source) {
                    Ok(values) => live.put(id, known.version, source, values),
                    Err(reason) => {
                        return Err(Outage::new(
                            format!("document {id} of index {} no longer fits", self.name.as_str()),
                            reason,
                        ));
                    }
                },
            };
            fed.map_err(|error| self.outage(error))?;
        }
        Ok(live)
    }

    fn save(&self, state: &mut State) -> Result<(), Outage> {
        if !state.saved {
            let saved = state.definition.save(&self.folder);
            saved.map_err(|error| {
                Outage::new(format!("could not save the definition of index {}", self.name.as_str()), error)
            })?;
            state.saved = true;
        }
        Ok(())
    }

    fn commit(&self, state: &mut State) -> Result<(), Outage> {
        let now = self.clock.now();
        // Opening may find a definition to save, and the definition goes first: a reader must know what it finds.
        self.with_live(state, |_| Ok(()))?;
        self.save(state)?;
        self.with_live(state, |live| live.commit(now))?;
        state.pending.clear();
        state.pending_bytes = 0;
        state.durable = self.taken.load(Ordering::Acquire);
        Ok(())
    }

    fn take(&self, state: &mut State, version: WriteVersion, write: &Write) -> Result<Result<(), String>, Outage> {
        let (id, want) = match write {
            Write::Index(target) if state.definition.owners.is_empty() => (&target.id, Want::Version),
            Write::Index(target) | Write::Merge { target, .. } => (&target.id, Want::Source),
            Write::Delete { id, .. } => (id, Want::Version),
            Write::Rows { .. } | Write::Publish(_) | Write::Invalidate { .. } => {
                return Ok(Err("a search index takes documents only".to_owned()));
            }
        };
        if id.is_empty() || id.len() > LONGEST_ID {
            return Ok(Err(format!("an id has 1 to {LONGEST_ID} bytes, and this one {}", id.len())));
        }
        let known = match state.pending.get(id) {
            Some(known) => Some(known.clone()),
            None => self.with_live(state, |live| live.find(id, want))?,
        };
        match decide(&state.definition.owners, known, version, write) {
            Err(reason) => return Ok(Err(reason)),
            Ok(Decision::Nothing) => return Ok(Ok(())),
            Ok(Decision::Put(version, source, document)) => {
                let learned = match learn(&state.definition.mapping, &document) {
                    Ok(learned) => learned,
                    Err(reason) => return Ok(Err(reason)),
                };
                let values = match extract(&learned, &document) {
                    Ok(values) => values,
                    Err(reason) => return Ok(Err(reason)),
                };
                if let std::borrow::Cow::Owned(learned) = learned {
                    state.definition.mapping = learned;
                    state.saved = false;
                }
                // Open first: opening feeds what is pending, and this one is fed below.
                self.with_live(state, |_| Ok(()))?;
                remember(state, id, Known { version, source: Some(source.clone()) });
                self.with_live(state, |live| live.put(id, version, &source, values))?;
            }
            Ok(Decision::Bury(version)) => {
                self.with_live(state, |_| Ok(()))?;
                remember(state, id, Known { version, source: None });
                let now = self.clock.now();
                self.with_live(state, |live| live.bury(id, version, now))?;
            }
        }
        self.taken.fetch_add(1, Ordering::AcqRel);
        Ok(Ok(()))
    }
}

fn remember(state: &mut State, id: &Arc<str>, known: Known) {
    const OVERHEAD: usize = 128;
    state.pending_bytes += id.len() + known.source.as_ref().map_or(0, Bytes::len) + OVERHEAD;
    state.pending.insert(Arc::clone(id), known);
}

fn searchable(definition: &Definition, source: &[u8]) -> Result<Extracted, String> {
    extract(&definition.mapping, &parse(source)?)
}

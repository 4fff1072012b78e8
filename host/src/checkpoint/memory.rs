//! Checkpoints without a database, for tests and for pillows that may forget: the same contract, gone with the process.
//!
//! Rows go nowhere, but are checked against their tables as a database would, counted, and kept to be looked at.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use jiff::Timestamp;

use super::queue::{self, Entry, QueueLength};
use super::rules::{self, HOURS_KEPT, Held, MINUTES_KEPT, minute};
use super::{
    Acquired, CheckpointStore, Heartbeat, Move, Parked, ParkedFilter, SetError, SettleError, Settled, Settlement,
    StoredCheckpoint,
};
use crate::model::{
    Checkpoint, Clock, Epoch, Failure, Outage, Partition, PillowName, ProcessorName, RowOp, RowWrite, WriteVersion,
};
use crate::sql::rows;

/// A checkpoint store in memory. Cheap to clone; all clones are the same store.
#[derive(Debug, Clone)]
pub struct MemoryStore {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    partitions: BTreeMap<(PillowName, Partition), Stored>,
    history: Vec<Remembered>,
    parked: Vec<Parked>,
    last_number: i64,
    /// With the causes of a halt; none where an operator paused it.
    paused: BTreeMap<PillowName, Vec<String>>,
    heartbeats: BTreeMap<(PillowName, String), Heartbeat>,
    rows: Vec<RowWrite>,
}

#[derive(Debug)]
struct Stored {
    held: Held,
    moved_at: Option<Timestamp>,
}

#[derive(Debug)]
struct Remembered {
    pillow: PillowName,
    made: Move,
    /// For the engine's own moves.
    minute: Option<i64>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new(clock: Clock) -> Self {
        Self { state: Arc::default() }.reopened(clock)
    }

    /// The same store, as another host would open it.
    #[must_use]
    pub fn reopened(&self, clock: Clock) -> Self {
        let now = u64::try_from(clock.now().as_microsecond()).unwrap_or(0);
        let mut state = self.state();
        state.version = state.version.max(now);
        drop(state);
        self.clone()
    }

    /// All rows that were settled, in order.
    pub fn rows(&self) -> Vec<RowWrite> {
        self.state().rows.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No method leaves the state half changed when it panics, since it changes it last.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn acquire(&mut self, pillow: &PillowName, partition: &Partition) -> &mut Stored {
        let unowned = || Stored { held: Held { epoch: Epoch(0), checkpoint: None }, moved_at: None };
        let stored = self.partitions.entry((pillow.clone(), partition.clone())).or_insert_with(unowned);
        stored.held.epoch.0 += 1;
        stored
    }

    fn remember(&mut self, pillow: &PillowName, made: Move, minute: Option<i64>) {
        let partition = made.partition.clone();
        let same = |other: &Remembered| other.pillow == *pillow && other.made.partition == partition;
        if let Some(now) = minute {
            self.history.retain(|other| !(same(other) && other.minute == minute));
            let hours: BTreeMap<i64, i64> =
                self.history.iter().filter(|other| same(other)).filter_map(|other| other.minute).fold(
                    BTreeMap::new(),
                    |mut hours, minute| {
                        let last = hours.entry(minute / 60).or_insert(minute);
                        *last = minute.max(*last);
                        hours
                    },
                );
            self.history.retain(|other| {
                let Some(minute) = other.minute.filter(|_| same(other)) else {
                    return true;
                };
                let last_of_hour = hours.get(&(minute / 60)) == Some(&minute);
                minute >= now - MINUTES_KEPT || (minute >= now - HOURS_KEPT && last_of_hour)
            });
        }
        self.history.push(Remembered { pillow: pillow.clone(), made, minute });
    }

    fn park(&mut self, pillow: &PillowName, Entry { failure, waits }: &Entry<'_>, at: Timestamp) {
        let due_at = waits.map(|waits| waits.due_at);
        let there = self.parked.iter_mut().find(|parked| parked.pillow == *pillow && parked.failure.id == failure.id);
        match there {
            Some(parked) => {
                parked.failure = Failure::clone(failure);
                if due_at.is_some() && parked.due_at.is_none() {
                    parked.first_at = at;
                }
                let fresh = waits.is_some_and(|waits| waits.attempts == 0) && parked.attempts == 0;
                parked.due_at = if fresh { parked.due_at.or(due_at) } else { due_at };
                parked.attempts = waits.map_or(parked.attempts + 1, |waits| waits.attempts);
                parked.last_at = at;
                parked.due = false;
            }
            None => {
                self.last_number += 1;
                self.parked.push(Parked {
                    number: self.last_number,
                    pillow: pillow.clone(),
                    failure: Failure::clone(failure),
                    attempts: waits.map_or(1, |waits| waits.attempts),
                    first_at: at,
                    last_at: at,
                    due: false,
                    due_at,
                });
            }
        }
    }

    fn matching(&self, filter: &ParkedFilter) -> Vec<i64> {
        let limit = if filter.limit == 0 { usize::MAX } else { usize::try_from(filter.limit).unwrap_or(usize::MAX) };
        let matches = |parked: &&Parked| {
            let id = &parked.failure.id;
            filter.pillow.as_ref().is_none_or(|pillow| parked.pillow == *pillow)
                && filter
                    .processor
                    .as_ref()
                    .is_none_or(|processor| id.processor.as_ref().map_or("", ProcessorName::as_str) == processor)
                && filter.document_id.as_ref().is_none_or(|document| *id.document.id == **document)
                && filter.number.is_none_or(|number| parked.number == number)
                && (!filter.due || parked.due)
                && parked.due_at.is_none()
        };
        self.parked.iter().filter(matches).take(limit).map(|parked| parked.number).collect()
    }
}

#[async_trait]
impl CheckpointStore for MemoryStore {
    async fn acquire(&self, pillow: &PillowName, partition: &Partition) -> Result<Acquired, Outage> {
        let mut state = self.state();
        let held = &state.acquire(pillow, partition).held;
        Ok(Acquired { epoch: held.epoch, checkpoint: held.checkpoint.clone() })
    }

    async fn draw_version(&self) -> Result<WriteVersion, Outage> {
        let mut state = self.state();
        state.version += 1;
        Ok(WriteVersion(state.version))
    }

    async fn settle(&self, settlement: &Settlement) -> Result<Settled, SettleError> {
        let mut state = self.state();
        let (pillow, at) = (&settlement.pillow, settlement.time);
        let held = |partition: &Partition| {
            let stored = state.partitions.get(&(pillow.clone(), partition.clone()))?;
            Some((partition.clone(), stored.held.clone()))
        };
        let held: HashMap<_, _> = settlement.owned.iter().filter_map(|(partition, _)| held(partition)).collect();
        let moves = rules::moves(settlement, held)?;
        let refused = rows::refusals(&settlement.rows);
        let rejected = rules::rejections(settlement, &refused)?;

        // Nothing fails from here on.
        for (partition, checkpoint) in moves {
            if let Some(stored) = state.partitions.get_mut(&(pillow.clone(), partition.clone())) {
                stored.held.checkpoint = Some(checkpoint.clone());
                stored.moved_at = Some(at);
            }
            let made = Move { partition, checkpoint, who: "engine".to_owned(), why: "settle".to_owned(), at };
            state.remember(pillow, made, Some(minute(at)));
        }
        for resolution in rules::resolutions(settlement, &rejected) {
            state.parked.retain(|parked| {
                let id = &parked.failure.id;
                let part = id.part.clone().unwrap_or_default();
                parked.pillow != *pillow
                    || id.processor.as_ref().map(ProcessorName::as_str) != Some(&resolution.processor)
                    || id.document != resolution.document
                    || resolution.parts_kept.contains(&part)
            });
        }
        for entry in &queue::entries(settlement, &rejected) {
            state.park(pillow, entry, at);
        }
        let is_refused = |write: &RowWrite| {
            let same = |other: &RowWrite| write.document == other.document && write.table.name == other.table.name;
            refused.iter().any(|refused| same(&settlement.rows[refused.at]))
        };
        let written: Vec<RowWrite> = settlement.rows.iter().filter(|write| !is_refused(write)).cloned().collect();
        let rows = written.iter().map(count).sum();
        state.rows.extend(written);
        Ok(Settled { rows, rejected })
    }

    async fn checkpoints(&self, pillow: Option<&PillowName>) -> Result<Vec<StoredCheckpoint>, Outage> {
        let state = self.state();
        let of_pillow = state.partitions.iter().filter(|((name, _), _)| pillow.is_none_or(|pillow| pillow == name));
        let stored = of_pillow.map(|((name, partition), stored)| StoredCheckpoint {
            pillow: name.clone(),
            partition: partition.clone(),
            checkpoint: stored.held.checkpoint.clone(),
            epoch: stored.held.epoch,
            moved_at: stored.moved_at,
        });
        Ok(stored.collect())
    }

    async fn set(
        &self,
        pillow: &PillowName,
        partition: &Partition,
        checkpoint: &Checkpoint,
        who: &str,
        why: &str,
        at: Timestamp,
    ) -> Result<(), SetError> {
        let mut state = self.state();
        let runs = |beat: &&Heartbeat| beat.pillow == *pillow && super::is_fresh(beat.at, at);
        if let Some(beat) = state.heartbeats.values().find(runs) {
            return Err(SetError::Running { pillow: pillow.clone(), host: beat.host.clone() });
        }
        let stored = state.acquire(pillow, partition);
        stored.held.checkpoint = Some(checkpoint.clone());
        stored.moved_at = Some(at);
        let (partition, checkpoint) = (partition.clone(), checkpoint.clone());
        let made = Move { partition, checkpoint, who: who.to_owned(), why: why.to_owned(), at };
        state.remember(pillow, made, None);
        Ok(())
    }

    async fn history(&self, pillow: &PillowName, limit: u32) -> Result<Vec<Move>, Outage> {
        let state = self.state();
        let moves = state.history.iter().rev().filter(|remembered| remembered.pillow == *pillow);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(moves.take(limit).map(|remembered| remembered.made.clone()).collect())
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<Parked>, Outage> {
        let state = self.state();
        let numbers = state.matching(filter);
        Ok(state.parked.iter().filter(|parked| numbers.contains(&parked.number)).cloned().collect())
    }

    async fn queued(&self, pillow: &PillowName, now: Timestamp, limit: u32) -> Result<Vec<Parked>, Outage> {
        let state = self.state();
        let is_due = |parked: &&Parked| parked.pillow == *pillow && parked.due_at.is_some_and(|due_at| due_at <= now);
        let mut due: Vec<Parked> = state.parked.iter().filter(is_due).cloned().collect();
        due.sort_by_key(|parked| (parked.due_at, parked.number));
        due.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let documents: HashSet<_> =
            due.iter().map(|parked| (&parked.failure.id.processor, &parked.failure.id.document)).collect();
        let is_of_them = |parked: &&Parked| {
            let id = &parked.failure.id;
            parked.pillow == *pillow && parked.due_at.is_some() && documents.contains(&(&id.processor, &id.document))
        };
        let mut waiting: Vec<Parked> = state.parked.iter().filter(is_of_them).cloned().collect();
        waiting.sort_by_key(|parked| (parked.due_at, parked.number));
        Ok(waiting)
    }

    async fn queue_lengths(&self) -> Result<HashMap<PillowName, QueueLength>, Outage> {
        let mut lengths: HashMap<PillowName, QueueLength> = HashMap::new();
        for parked in self.state().parked.iter().filter(|parked| parked.due_at.is_some()) {
            let length = lengths.entry(parked.pillow.clone()).or_default();
            length.entries += 1;
            let oldest = length.oldest.unwrap_or(parked.first_at);
            length.oldest = Some(oldest.min(parked.first_at));
        }
        Ok(lengths)
    }

    async fn mark_due(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        let mut state = self.state();
        let numbers = state.matching(filter);
        let mut marked = 0;
        for parked in &mut state.parked {
            if parked.failure.change.is_some() && numbers.contains(&parked.number) {
                parked.due = true;
                marked += 1;
            }
        }
        Ok(marked)
    }

    async fn drop_parked(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        let mut state = self.state();
        let numbers = state.matching(filter);
        state.parked.retain(|parked| !numbers.contains(&parked.number));
        Ok(numbers.len() as u64)
    }

    async fn is_paused(&self, pillow: &PillowName) -> Result<bool, Outage> {
        Ok(self.state().paused.contains_key(pillow))
    }

    async fn set_paused(&self, pillow: &PillowName, paused: bool) -> Result<(), Outage> {
        let mut state = self.state();
        match paused {
            true => {
                state.paused.entry(pillow.clone()).or_default();
            }
            false => {
                state.paused.remove(pillow);
            }
        }
        Ok(())
    }

    async fn halt(&self, pillow: &PillowName, causes: &[String]) -> Result<(), Outage> {
        self.state().paused.insert(pillow.clone(), causes.to_vec());
        Ok(())
    }

    async fn halted(&self, pillow: &PillowName) -> Result<Vec<String>, Outage> {
        Ok(self.state().paused.get(pillow).cloned().unwrap_or_default())
    }

    async fn beat(&self, heartbeats: &[Heartbeat]) -> Result<(), Outage> {
        let mut state = self.state();
        for heartbeat in heartbeats {
            state.heartbeats.insert((heartbeat.pillow.clone(), heartbeat.host.clone()), heartbeat.clone());
        }
        Ok(())
    }

    async fn leave(&self, host: &str) -> Result<(), Outage> {
        self.state().heartbeats.retain(|(_, other), _| other != host);
        Ok(())
    }

    async fn heartbeats(&self) -> Result<Vec<Heartbeat>, Outage> {
        Ok(self.state().heartbeats.values().cloned().collect())
    }
}

/// Rows that a database would have written.
fn count(write: &RowWrite) -> u64 {
    match &write.op {
        RowOp::Replace(rows) => rows.len() as u64,
        RowOp::Delete => 0,
        RowOp::Upsert { .. } => 1,
    }
}

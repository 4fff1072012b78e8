//! A checkpoint store in memory that can be down, and that remembers what it committed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use jiff::Timestamp;

use crate::checkpoint::memory::MemoryStore;
use crate::checkpoint::{
    Acquired, CheckpointStore, Heartbeat, Move, Parked, ParkedFilter, QueueLength, SetError, SettleError, Settled,
    Settlement, StoredCheckpoint,
};
use crate::model::{Checkpoint, Clock, Outage, Partition, PillowName, WriteVersion};

/// Clones share the store and its trouble.
#[derive(Clone)]
pub(super) struct Checkpoints {
    pub(super) store: MemoryStore,
    trouble: Arc<Mutex<Trouble>>,
}

#[derive(Default)]
struct Trouble {
    acquires: usize,
    deadly_acquires: usize,
    draws: usize,
    settles: usize,
    answers: usize,
    committed: Vec<Settlement>,
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self { store: MemoryStore::new(Clock::System), trouble: Arc::default() }
    }
}

impl Checkpoints {
    /// The same store as another host sees it: with trouble of its own.
    pub(super) fn of_another_host(&self) -> Self {
        Self { store: self.store.clone(), trouble: Arc::default() }
    }

    /// Has the next `count` acquisitions fail; 0 ends it.
    pub(super) fn fail_acquires(&self, count: usize) {
        self.trouble().acquires = count;
    }

    /// Has the next acquisition die of a defect.
    pub(super) fn die_in_acquire(&self) {
        self.trouble().deadly_acquires = 1;
    }

    /// Has the next `count` draws fail; 0 ends it.
    pub(super) fn fail_draws(&self, count: usize) {
        self.trouble().draws = count;
    }

    /// Has the next `count` settles fail; 0 ends it.
    pub(super) fn fail_settles(&self, count: usize) {
        self.trouble().settles = count;
    }

    /// Has the next `count` settles commit, and their answers get lost.
    pub(super) fn lose_answers(&self, count: usize) {
        self.trouble().answers = count;
    }

    /// What was committed, in order.
    pub(super) fn committed(&self) -> Vec<Settlement> {
        self.trouble().committed.clone()
    }

    /// The progress of a partition in the order in which it was committed, settle by settle.
    pub(super) fn moves(&self, partition: &Partition) -> Vec<Vec<(u64, u64)>> {
        let of_settle = |settlement: &Settlement| {
            let moved = settlement.progress.iter().filter(|progress| progress.partition == *partition);
            moved.map(|progress| (progress.from.as_number(), progress.next.as_number())).collect()
        };
        self.committed().iter().map(of_settle).filter(|moves: &Vec<_>| !moves.is_empty()).collect()
    }

    fn trouble(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap()
    }
}

fn down() -> Outage {
    Outage { operation: "the checkpoints in memory were told to fail".to_owned(), source: None }
}

/// Whether it strikes once more.
fn strikes(count: &mut usize) -> bool {
    let strikes = *count > 0;
    *count = count.saturating_sub(1);
    strikes
}

#[async_trait]
impl CheckpointStore for Checkpoints {
    async fn acquire(&self, pillow: &PillowName, partition: &Partition) -> Result<Acquired, Outage> {
        if strikes(&mut self.trouble().acquires) {
            return Err(down());
        }
        assert!(!strikes(&mut self.trouble().deadly_acquires), "a defect");
        self.store.acquire(pillow, partition).await
    }

    async fn draw_version(&self) -> Result<WriteVersion, Outage> {
        if strikes(&mut self.trouble().draws) {
            return Err(down());
        }
        self.store.draw_version().await
    }

    async fn settle(&self, settlement: &Settlement) -> Result<Settled, SettleError> {
        if strikes(&mut self.trouble().settles) {
            return Err(SettleError::Outage(down()));
        }
        let settled = self.store.settle(settlement).await?;
        let mut trouble = self.trouble();
        trouble.committed.push(settlement.clone());
        match strikes(&mut trouble.answers) {
            true => Err(SettleError::Outage(down())),
            false => Ok(settled),
        }
    }

    async fn checkpoints(&self, pillow: Option<&PillowName>) -> Result<Vec<StoredCheckpoint>, Outage> {
        self.store.checkpoints(pillow).await
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
        self.store.set(pillow, partition, checkpoint, who, why, at).await
    }

    async fn history(&self, pillow: &PillowName, limit: u32) -> Result<Vec<Move>, Outage> {
        self.store.history(pillow, limit).await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<Parked>, Outage> {
        self.store.parked(filter).await
    }

    async fn queued(&self, pillow: &PillowName, now: Timestamp, limit: u32) -> Result<Vec<Parked>, Outage> {
        self.store.queued(pillow, now, limit).await
    }

    async fn queue_lengths(&self) -> Result<HashMap<PillowName, QueueLength>, Outage> {
        self.store.queue_lengths().await
    }

    async fn mark_due(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        self.store.mark_due(filter).await
    }

    async fn drop_parked(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        self.store.drop_parked(filter).await
    }

    async fn is_paused(&self, pillow: &PillowName) -> Result<bool, Outage> {
        self.store.is_paused(pillow).await
    }

    async fn set_paused(&self, pillow: &PillowName, paused: bool) -> Result<(), Outage> {
        self.store.set_paused(pillow, paused).await
    }

    async fn halt(&self, pillow: &PillowName, causes: &[String]) -> Result<(), Outage> {
        self.store.halt(pillow, causes).await
    }

    async fn halted(&self, pillow: &PillowName) -> Result<Vec<String>, Outage> {
        self.store.halted(pillow).await
    }

    async fn beat(&self, heartbeats: &[Heartbeat]) -> Result<(), Outage> {
        self.store.beat(heartbeats).await
    }

    async fn leave(&self, host: &str) -> Result<(), Outage> {
        self.store.leave(host).await
    }

    async fn heartbeats(&self) -> Result<Vec<Heartbeat>, Outage> {
        self.store.heartbeats().await
    }
}

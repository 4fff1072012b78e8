//! Checkpoint stores: how far each pillow is, what it parked, who owns which partition.
//!
//! Promise: [`CheckpointStore::settle`] is the only thing that commits. Progress, parked failures, resolved failures
//! and the rows of tables that live in the same database move together or not at all, and only for the owner whose
//! epoch is the latest.
//!
//! Deliberately absent: offset arithmetic. A store compares positions and keeps them; feeds make them.

mod columns;
pub mod memory;
pub mod postgres;
mod queue;
mod rules;
pub mod sqlite;
mod stored;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;

use crate::model::{
    Change, Checkpoint, DocumentKey, Epoch, Failure, Outage, Partition, PillowName, Progress, Resolved, Rewind,
    RowWrite, WriteVersion,
};

pub use queue::{MOST_ATTEMPTS, Queue, QueueLength};

/// What one transaction commits.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// Whose.
    pub pillow: PillowName,
    /// The partitions that take part, with the epoch under which they are owned; checked in every settle, also where
    /// no progress moves.
    pub owned: Vec<(Partition, Epoch)>,
    /// Progress of consecutive batches, in order; none for retries.
    pub progress: Vec<Progress>,
    /// Failures to park, and deferrals, which go into the queue. One that also stands in `resolved` is parked.
    pub parked: Vec<Failure>,
    /// Documents that succeeded.
    pub resolved: Vec<Resolved>,
    /// Rows for tables in the same database, in order. A document whose rows the database refuses is parked in the
    /// same transaction (`FailureKind::Rejected`, part = the table's part) and the others are written.
    pub rows: Vec<RowWrite>,
    /// The changes that the rows come of, for failures that the database finds; every document of `rows` is among them.
    pub changes: Vec<(Partition, Arc<Change>)>,
    /// How many documents may be refused by the database before the whole settlement is rolled back.
    pub most_rejected: usize,
    /// The code that ran, by processor, for failures that the database finds.
    pub digests: Vec<(crate::model::ProcessorName, crate::model::Digest)>,
    /// What concerns the queue of deferred documents.
    pub queue: Queue,
    /// The time to write beside it.
    pub time: Timestamp,
}

/// What a settle did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Rows written or removed.
    pub rows: u64,
    /// Failures that the database found and that were parked.
    pub rejected: Vec<Failure>,
}

/// Why a settle did not commit; nothing of it did.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// Another owner has taken the partition: stop, and write nothing more for it.
    #[error("{partition} is owned by a later epoch than {epoch:?}")]
    Fenced {
        /// Which partition.
        partition: Partition,
        /// The epoch that is over.
        epoch: Epoch,
    },
    /// The progress does not follow the checkpoint.
    #[error("progress does not follow the checkpoint")]
    Rewind(#[source] Rewind),
    /// More documents were refused than `most_rejected`.
    #[error("the database refused {} documents", .0.len())]
    TooManyRejected(Vec<Failure>),
    /// A refused row is of a document that is not among the settlement's changes, so that it cannot be parked.
    #[error("a refused row of {0} belongs to no change of the settlement")]
    UnknownDocument(DocumentKey),
    /// The database does not answer: try again.
    #[error("could not settle")]
    Outage(#[source] Outage),
}

/// A partition that was acquired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acquired {
    /// The new epoch; every older one is fenced off from now on.
    pub epoch: Epoch,
    /// Where to go on; none for a partition that was never settled.
    pub checkpoint: Option<Checkpoint>,
}

/// A checkpoint as operators see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCheckpoint {
    /// Whose.
    pub pillow: PillowName,
    /// Which partition.
    pub partition: Partition,
    /// How far; none while it was acquired and nothing settled.
    pub checkpoint: Option<Checkpoint>,
    /// The latest epoch.
    pub epoch: Epoch,
    /// When it last moved.
    pub moved_at: Option<Timestamp>,
}

/// One move in the history of a checkpoint. Kept: every operator's move, and of the engine's own the latest of each
/// minute for a day and of each hour for 30 days (older ones are pruned as new ones are written).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// Which partition.
    pub partition: Partition,
    /// Where it stood afterwards.
    pub checkpoint: Checkpoint,
    /// Who moved it: `engine`, or the operator's name.
    pub who: String,
    /// Why: `settle`, or the operator's words.
    pub why: String,
    /// When.
    pub at: Timestamp,
}

/// A parked failure as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Its number, for commands.
    pub number: i64,
    /// Whose.
    pub pillow: PillowName,
    /// What and why.
    pub failure: Failure,
    /// How often it failed.
    pub attempts: u32,
    /// When it failed first.
    pub first_at: Timestamp,
    /// When it failed last.
    pub last_at: Timestamp,
    /// Whether a retry was asked for.
    pub due: bool,
    /// When it is tried, if it is not parked but stands in the queue.
    pub due_at: Option<Timestamp>,
}

/// Which parked failures; absent conditions match all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ParkedFilter {
    /// Of this pillow.
    pub pillow: Option<PillowName>,
    /// Of this processor.
    pub processor: Option<String>,
    /// Of this document id.
    pub document_id: Option<String>,
    /// With this number.
    pub number: Option<i64>,
    /// Only those a retry was asked for.
    pub due: bool,
    /// At most so many, the oldest first; 0 is no bound.
    pub limit: u32,
}

/// What a host says of a pillow, for `status` in another process.
#[derive(Debug, Clone, PartialEq)]
pub struct Heartbeat {
    /// Whose.
    pub pillow: PillowName,
    /// Which host process.
    pub host: String,
    /// When.
    pub at: Timestamp,
    /// The status as a JSON object.
    pub status: serde_json::Value,
}

/// What went wrong with an operator's change of a checkpoint.
#[derive(Debug, thiserror::Error)]
pub enum SetError {
    /// A running host owns the pillow.
    #[error("pillow {pillow} is running on {host}: stop it first")]
    Running {
        /// Whose.
        pillow: PillowName,
        /// Where it runs.
        host: String,
    },
    /// The database does not answer.
    #[error("could not set the checkpoint")]
    Outage(#[source] Outage),
}

/// A heartbeat older than this means that the host is gone. Hosts write one a second.
pub const HEARTBEAT_LIFETIME: Duration = Duration::from_secs(5);

/// Keeps checkpoints, parked failures, versions and heartbeats. Every method may be called concurrently.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// Takes a partition over: bumps its epoch and says where to go on.
    async fn acquire(&self, pillow: &PillowName, partition: &Partition) -> Result<Acquired, Outage>;

    /// A number greater than every one drawn before, by any host of this database.
    async fn draw_version(&self) -> Result<WriteVersion, Outage>;

    /// Commits a settlement, whole or not at all.
    async fn settle(&self, settlement: &Settlement) -> Result<Settled, SettleError>;

    /// All checkpoints, or those of one pillow, by pillow and partition.
    async fn checkpoints(&self, pillow: Option<&PillowName>) -> Result<Vec<StoredCheckpoint>, Outage>;

    /// Puts a checkpoint somewhere else (also back), bumps its epoch and keeps the move in the history.
    ///
    /// # Errors
    /// Refused while a host runs the pillow.
    async fn set(
        &self,
        pillow: &PillowName,
        partition: &Partition,
        checkpoint: &Checkpoint,
        who: &str,
        why: &str,
        at: Timestamp,
    ) -> Result<(), SetError>;

    /// The moves of a pillow's checkpoints, the latest first, at most `limit`.
    async fn history(&self, pillow: &PillowName, limit: u32) -> Result<Vec<Move>, Outage>;

    /// Parked failures.
    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<Parked>, Outage>;

    /// How many failures are parked, for each pillow that has any.
    async fn count_parked(&self) -> Result<HashMap<PillowName, u64>, Outage> {
        let mut counts = HashMap::new();
        for entry in self.parked(&ParkedFilter::default()).await? {
            *counts.entry(entry.pillow).or_default() += 1;
        }
        Ok(counts)
    }

    /// What is due by `now` in the queue of a pillow, what is due longest first, at most `limit`. By `Timestamp::MAX`
    /// all is. The other entries of those documents come along, beyond the limit too: who does a document again does all
    /// that waits of it, and what fails then must be known to have waited.
    async fn queued(&self, pillow: &PillowName, now: Timestamp, limit: u32) -> Result<Vec<Parked>, Outage>;

    /// How much waits in the queue of each pillow that has any.
    async fn queue_lengths(&self) -> Result<HashMap<PillowName, QueueLength>, Outage>;

    /// Asks for a retry of the matching failures; says how many. Those that could not be decoded cannot be retried.
    async fn mark_due(&self, filter: &ParkedFilter) -> Result<u64, Outage>;

    /// Drops the matching failures for good; says how many.
    async fn drop_parked(&self, filter: &ParkedFilter) -> Result<u64, Outage>;

    /// Whether the pillow is paused: by an operator, or because it halted.
    async fn is_paused(&self, pillow: &PillowName) -> Result<bool, Outage>;

    /// Pauses or resumes a pillow, for every host.
    async fn set_paused(&self, pillow: &PillowName, paused: bool) -> Result<(), Outage>;

    /// Pauses a pillow that halted, and keeps why until it is resumed: a process that comes back does not try it again.
    async fn halt(&self, pillow: &PillowName, causes: &[String]) -> Result<(), Outage>;

    /// Why the pillow halted; nothing where it did not, or was resumed since.
    async fn halted(&self, pillow: &PillowName) -> Result<Vec<String>, Outage>;

    /// Writes heartbeats, one per (pillow, host).
    async fn beat(&self, heartbeats: &[Heartbeat]) -> Result<(), Outage>;

    /// Removes the heartbeats of a host that stops in order.
    async fn leave(&self, host: &str) -> Result<(), Outage>;

    /// All heartbeats, also old ones.
    async fn heartbeats(&self) -> Result<Vec<Heartbeat>, Outage>;
}

/// Whether a heartbeat says that its host still runs. One from the future counts: clocks of hosts differ.
fn is_fresh(beat: Timestamp, now: Timestamp) -> bool {
    now.duration_since(beat) < jiff::SignedDuration::try_from(HEARTBEAT_LIFETIME).unwrap_or(jiff::SignedDuration::MAX)
}

#[cfg(test)]
mod tests;

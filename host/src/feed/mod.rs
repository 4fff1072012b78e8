//! Change feeds: where changes come from, partition by partition, in order.
//!
//! A feed hands out *reads*: consecutive entries of one partition with the progress that settling them makes. The
//! pipeline never computes a position; it carries the progress of a read to the settle. A read closes as soon as the
//! feed has nothing more at hand, or at the limits, so a lone change is never held back for company.
//!
//! Deliberately absent: commits. A feed never tells its server how far it is; our checkpoints do.

pub mod changelog;
pub mod couch;
pub mod kafka;
pub mod memory;

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Checkpoint, Entry, Outage, Partition, Position, Progress};

/// Where a pillow begins a partition that it has no checkpoint for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// With the oldest entry that is still there.
    #[default]
    Earliest,
    /// With what comes after now. A feed says at once where that is, by a read without entries, so that a restart before
    /// the first change skips nothing.
    Latest,
}

/// How much one read may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Entries.
    pub count: NonZeroUsize,
    /// Bytes; a single larger entry is read alone.
    pub bytes: NonZeroUsize,
}

/// Consecutive entries of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// What settling them makes.
    pub progress: Progress,
    /// The entries in order; none when only control records or a gap were skipped.
    pub entries: Vec<Entry>,
}

/// What a feed has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Something to process.
    Read(Read),
    /// Every partition was read to its end; said once until there is more.
    AtEnd,
}

/// The end of a partition, for lag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct End {
    /// Which partition.
    pub partition: Partition,
    /// The position after its last entry.
    pub position: Position,
    /// How many entries lie between the given place and the end, where the feed can say it.
    pub lag: Option<u64>,
}

/// A partition where reading begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct From {
    /// Which partition.
    pub partition: Partition,
    /// Where; none: by the pillow's [`Start`].
    pub checkpoint: Option<Checkpoint>,
}

/// What a feed cannot go on with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server does not answer; waiting may help. A feed that can wait by itself does so and never says this.
    #[error("feed is unavailable")]
    Outage(#[source] Outage),
    /// The checkpoint's entry is gone: the log was cut off before it was read.
    #[error("First available topic offset for {partition} is {available} but needed {needed}.")]
    Unavailable {
        /// Which partition.
        partition: Partition,
        /// The oldest entry there is.
        available: Position,
        /// The one that the checkpoint wants.
        needed: Position,
    },
    /// The log is another one than the checkpoint's, or ends before it.
    #[error("{partition}: {what}")]
    Incarnation {
        /// Which partition.
        partition: Partition,
        /// What was found, what was expected, and the command that resolves it.
        what: String,
    },
    /// The settings or the manifest name something that is not there.
    #[error("{0}")]
    Refused(String),
}

/// A feed of one pillow. It is opened, asked for its partitions, started once, then read until it is dropped.
#[async_trait]
pub trait Feed: Send {
    /// The partitions that this host reads, in order.
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error>;

    /// Begins to read, each partition where it is told. Called once.
    ///
    /// # Errors
    /// When a checkpoint's entry is gone, or belongs to another log.
    async fn start(&mut self, from: Vec<From>) -> Result<(), Error>;

    /// Waits for the next event. Cancel-safe: an event is handed out or kept, never lost.
    async fn next(&mut self, limits: Limits) -> Result<Event, Error>;

    /// The ends of the partitions now, with the lag from each given position.
    async fn ends(&mut self, at: &[(Partition, Position)]) -> Result<Vec<End>, Error>;
}

/// Opens a feed for a pillow; asked again when the feed has to start over.
#[async_trait]
pub trait Source: Send + Sync {
    /// Opens a feed over `topics`.
    async fn open(&self, topics: &[Arc<str>], start: Start) -> Result<Box<dyn Feed>, Error>;
}

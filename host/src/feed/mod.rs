//! Change feeds: where changes come from, partition by partition, in order.
//!
//! A feed hands out *reads*: consecutive entries of one partition with the progress that settling them makes. The
//! pipeline never computes a position; it carries the progress of a read to the settle. A read closes as soon as the
//! feed has nothing more at hand, or at the limits, so a lone change is never held back for company.
//!
//! Which partitions are this host's may change while a feed is read: it says so by events, and the pipeline answers.
//! Feeds whose partitions are fixed need nothing of that; [`Shared`] gives each host its share of them.
//!
//! Deliberately absent: commits. A feed never tells its server how far it is; our checkpoints do.

pub mod changelog;
pub mod couch;
pub mod kafka;
pub mod memory;
mod share;

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

pub use self::share::{Share, Shared};
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
    /// With the first entry that was published at this time or later; where there is none, as [`Start::Latest`]. Only
    /// for feeds that keep times: Kafka.
    At(Timestamp),
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
    /// These partitions are this host's from now on: [`Feed::add`] begins to read them.
    Assigned(Vec<Partition>),
    /// Another host is to have these partitions. Nothing of them is handed out any more; what is in hand may be settled
    /// first, and [`Feed::release`] lets the other host begin.
    Revoked(Vec<Partition>),
    /// These partitions are gone, and another host may have begun with them: nothing of them may be settled.
    Lost(Vec<Partition>),
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

/// The answer to [`Feed::ends`], which is waited for beside the feed.
pub type Ends = BoxFuture<'static, Result<Vec<End>, Error>>;

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
    /// The partitions that this host reads to begin with, in order. None where a group decides: they come as
    /// [`Event::Assigned`].
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error>;

    /// Begins to read, each partition where it is told. Called once.
    ///
    /// # Errors
    /// When a checkpoint's entry is gone, or belongs to another log.
    async fn start(&mut self, from: Vec<From>) -> Result<(), Error>;

    /// Waits for the next event. Cancel-safe: an event is handed out or kept, never lost.
    async fn next(&mut self, limits: Limits) -> Result<Event, Error>;

    /// Waits for an event that concerns who owns a partition, and reads nothing: for a pillow that has no room or is
    /// paused, and must not hold up the others of its group. Cancel-safe, as [`Self::next`].
    async fn attend(&mut self) -> Result<Event, Error> {
        std::future::pending().await
    }

    /// Begins to read further partitions: those of an [`Event::Assigned`], and those that were released and are this
    /// host's again. What cannot be begun is said by [`Self::next`].
    ///
    /// # Errors
    /// A feed that cannot do it asks to be opened again.
    fn add(&mut self, _from: Vec<From>) -> Result<(), Error> {
        let operation = "the feed has to be opened again for further partitions".to_owned();
        Err(Error::Outage(Outage { operation, source: None }))
    }

    /// Reads no more of these partitions, and gives those back that were revoked. Whoever calls this passes over what
    /// a feed that cannot do it still hands out.
    fn release(&mut self, _partitions: &[Partition]) {}

    /// Asks for the ends of the partitions now, with the lag from each given position. The feed is read while the
    /// answer is waited for, so that the question never delays a change; dropping the answer is fine.
    fn ends(&mut self, at: &[(Partition, Position)]) -> Ends;

    /// Why nothing can come now, where the feed knows: it waits for its server by itself.
    fn trouble(&self) -> Option<String> {
        None
    }
}

/// Opens a feed for a pillow; asked again when the feed has to start over.
#[async_trait]
pub trait Source: Send + Sync {
    /// Opens a feed over `topics`.
    async fn open(&self, topics: &[Arc<str>], start: Start) -> Result<Box<dyn Feed>, Error>;
}

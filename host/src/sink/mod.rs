//! Sinks: where writes go. They are handed writes in the order of the lane, and the same writes again after a crash.
//!
//! A sink accepts writes, then is flushed: only after [`Sink::flush_writes`] returned may progress be settled. A write that
//! the sink refuses is that document's failure; a sink that does not answer is an outage, and its pillow waits.
//!
//! Tables beside the checkpoint are not written here: their rows travel in the settle, and the sink only prepares the
//! tables (see [`Sink::rows_settle`]).

mod decide;
pub mod elasticsearch;
pub mod kafka;
pub mod memory;
pub mod redis;
pub mod search;
pub mod sql;

use std::sync::Arc;

use async_trait::async_trait;

pub use crate::sql::rebuild::{Owner, Rebuild, Rebuilds, State as RebuildState, shape};
pub use crate::sql::schema::{Differing, Standing};

use crate::model::{DocumentKey, Index, Outage, ProcessorName, Table, Write, WriteVersion};

/// A write on its way to a sink.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned {
    /// The processor that asked for it.
    pub processor: ProcessorName,
    /// The document that it is about.
    pub document: DocumentKey,
    /// Orders it among the writes of the same target.
    pub version: WriteVersion,
    /// The write.
    pub write: Write,
    /// Of rows, the table as the processor that asked for them declares it.
    pub table: Option<Arc<Table>>,
}

/// A write that the sink refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejected {
    /// Which of the given writes.
    pub at: usize,
    /// Why.
    pub reason: String,
    /// Whether a later retry can help.
    pub retry: crate::model::RetryHelps,
}

/// Why a sink is not ready for a description.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// What is there cannot be extended to what is declared; one line for each difference. Nothing was changed.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// The sink does not answer.
    #[error("sink is unavailable")]
    Outage(#[source] Outage),
}

/// A place that takes writes. Every method may be called concurrently; several pillows may share a sink.
#[async_trait]
pub trait Sink: Send + Sync {
    /// Makes what is declared: creates what is absent, extends what can be extended without loss. Called before the
    /// first write of a generation. Refuses before it changes anything.
    async fn prepare(&self, tables: &[Table], indices: &[Index]) -> Result<(), PrepareError>;

    /// Makes the tables of `owner` as [`Sink::prepare`] does. One that cannot be extended is rebuilt or kept where its
    /// declaration says so; the answer names those.
    async fn prepare_tables(&self, _owner: &Owner, tables: &[Table]) -> Result<Vec<Differing>, PrepareError> {
        self.prepare(tables, &[]).await.map(|()| Vec::new())
    }

    /// Takes writes, in order. The answer names those that were refused; the others are taken.
    ///
    /// # Errors
    /// An outage: some of the writes may have been taken, and all of them will be given again.
    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage>;

    /// Makes every write that was taken before durable.
    async fn flush(&self) -> Result<(), Outage>;

    /// Makes at least these writes, taken before, durable. A sink whose targets can fail one by one flushes only theirs,
    /// so that one pillow's broken index holds no other pillow.
    async fn flush_writes(&self, _writes: &[Versioned]) -> Result<(), Outage> {
        self.flush().await
    }

    /// Whether rows for this sink are committed by the settle, because its tables live beside the checkpoint.
    fn rows_settle(&self) -> bool {
        false
    }

    /// The rebuilds of its tables; none for a sink that rebuilds none.
    fn rebuilds(&self) -> Option<Rebuilds> {
        None
    }
}

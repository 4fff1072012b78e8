//! Processors: pure functions from changes with documents to outcomes; WASM components, or native ones for tests.
//!
//! A [`Processor`] is code that was loaded and configured; an [`Instance`] of it is what a worker thread calls. Calls
//! are synchronous and happen on the pipeline's worker threads. After a fault an instance is not used again.

pub mod native;
pub mod wasm;

use std::sync::Arc;

use jiff::Timestamp;

use crate::model::{Description, Digest, Item, Outcome, Want};

/// Loaded and configured code.
pub trait Processor: Send + Sync {
    /// What it reads and writes.
    fn description(&self) -> &Description;

    /// Which code it is.
    fn digest(&self) -> Digest;

    /// A fresh instance.
    ///
    /// # Errors
    /// When the code does not start or refuses its configuration.
    fn start(&self, lookups: Arc<dyn Lookups>) -> Result<Box<dyn Instance>, StartError>;
}

/// A running copy of a processor, used by one thread.
pub trait Instance: Send {
    /// One outcome for each item, in order; checked: as many as items, and no write beyond the description.
    ///
    /// # Errors
    /// When the code crashed, took too much, or answered what it may not. The instance is spent then.
    fn process(&mut self, call: &Call<'_>) -> Result<Vec<Outcome>, Fault>;

    /// Whether it should be replaced before its next call, because it holds more memory than the mark.
    fn is_spent(&self) -> bool;

    /// Bytes of memory that are its own; none for code of the host.
    fn memory_bytes(&self) -> usize {
        0
    }
}

/// One call of a processor.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The topic that the changes come from.
    pub topic: &'a str,
    /// When the batch closed.
    pub time: Timestamp,
    /// The changes with their documents.
    pub items: &'a [Item],
}

/// Answers look-ups from within a call, for processors that could not say beforehand what they need.
pub trait Lookups: Send + Sync {
    /// What was found for each want, in order. Blocks; called from a worker thread only.
    ///
    /// # Errors
    /// When the look-up is not granted or its store gives no answer within its bound.
    fn fetch(&self, wants: &[Want]) -> Result<Vec<Vec<bytes::Bytes>>, String>;
}

/// A processor that cannot be loaded or started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The file cannot be read, or is no module that this host can run.
    #[error("{0}")]
    Module(String),
    /// The code crashed or took too long while it started.
    #[error("processor did not start: {0}")]
    Start(String),
    /// The code refuses its configuration; one line per problem.
    #[error("processor refuses its configuration: {}", .0.join("; "))]
    Configuration(Vec<String>),
}

/// A call that did not come to an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// What kind.
    pub kind: FaultKind,
    /// What happened.
    pub message: String,
    /// The last line that the code logged in this call.
    pub last_log: Option<String>,
}

/// The kinds of faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// It crashed.
    Trap,
    /// It took more time, memory or output than it may.
    Limit,
    /// It answered what the contract does not allow.
    BadAnswer,
}

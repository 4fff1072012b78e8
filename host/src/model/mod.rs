//! The vocabulary: changes, documents, batches, progress, outcomes, writes, failures.
//!
//! Plain values. No I/O, no async, no adapter's types. Every other room speaks in these words.

mod batch;
mod change;
mod clock;
mod describe;
mod document;
mod error;
mod failure;
mod names;
mod progress;
mod write;

pub use batch::{Batch, Collapse, Origin, Outcome, Want, collapse};
pub use change::{Beside, Change, DecodeError, Entry, Texts, Undecodable};
pub use clock::{Clock, timestamp_text};
pub use describe::{Column, ColumnKind, Description, Index, Problem, Table, TableChange, TableIndex};
pub use document::{Document, Found, Item, is_stale};
pub use error::{Outage, chain};
pub use failure::{Failure, FailureId, FailureKind, PartFailure, Resolved, RetryHelps};
pub use names::{Digest, DocumentKey, Epoch, Era, Partition, PillowName, ProcessorName, WriteVersion};
pub use progress::{Checkpoint, Position, Progress, Rewind};
pub use write::{Condition, IfAbsent, IndexWrite, ListEdit, Publish, Row, RowOp, RowWrite, Value, Write};

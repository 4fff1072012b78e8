//! The embedded search index: a folder of indices that one process writes and any process searches.
//!
//! It promises what Elasticsearch does for a pillow, on one machine and without a server: mappings that say what is
//! searchable, documents that are replaced, merged and deleted by id, versions that keep older writes from going over
//! newer ones, and a commit that is durable when a flush returns. After a crash the last flush is there, and the same
//! writes again end in the same state.
//!
//! - A deletion leaves a tombstone with its version, in the same commit, which is dropped after seven days.
//! - A merge sees what was written and is not committed yet.
//! - A document that does not fit the mapping is refused alone, as Elasticsearch would refuse it.
//! - A property that is added later is searchable in the documents that are written from then on.
//! - Only one process writes an index at a time; the lock goes when nothing was written for half a minute.
//!
//! Deliberately absent: aliases, analysers other than the default (words between blanks, in lower case), nested
//! queries (nested objects are searched flat), sorting, aggregations.

mod disk;
mod extract;
mod grow;
mod index;
mod live;
mod mapping;
pub mod merge;
mod parse;
mod query;
mod read;
mod sink;
mod storage;
mod values;

pub use mapping::Mapping;
pub use read::{Hit, Hits, ReadError, count, get, list_indices, search};
pub use sink::SearchSink;
pub(in crate::sink) use storage::IndexName;

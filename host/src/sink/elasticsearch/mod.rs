//! Elasticsearch 7 to 9 and OpenSearch 1 to 3: documents through `_bulk`, each with a version.
//!
//! It promises that older content never goes over newer, whoever sends it and when; that a write is on the server's
//! disk when [`write`](crate::sink::Sink::write) returned, so that a flush has nothing left to do; that a document which
//! the server refuses is refused alone; and that a server which cannot write now is an outage that says of which kind.
//!
//! - **Whole documents** carry their version as `external_gte`, deletions too: an equal or newer write is done, an older
//!   one is passed over. The server remembers the version of a deletion for `index.gc_deletes`, in memory.
//! - **Merges and shared indices** are read, changed here and written back on the condition that nobody wrote in between
//!   (`if_seq_no` in shared indices), else read again. A shared document holds its version in itself, and a deleted one
//!   stays as a tombstone, which is dropped after seven days.
//! - An index that is not there is made as `NAME-000001` with the alias `NAME`, and written through the alias, so that a
//!   server never makes an index by itself out of a document. An index or alias that is there is used as it is.
//!
//! Deliberately absent: templates, index life cycles, ingest pipelines, rollover. They are the server's.

mod bulk;
mod http;
mod identity;
mod items;
mod mapping;
mod merge;
mod outage;
mod prepare;
mod query;
mod send;
mod server;
mod settings;
mod sink;
mod tombstones;

pub use query::search;
pub use settings::{Credentials, Refresh, Settings};
pub use sink::ElasticsearchSink;

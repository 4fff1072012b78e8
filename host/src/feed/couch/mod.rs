//! CouchDB's changes feeds: each topic is a database with one partition.
//!
//! A reader per database follows `_changes`: it catches up page by page, then stays connected and hands on what comes.
//! It begins again by itself, at the sequence that it handed out last, whenever the connection or the server goes away.
//!
//! Sequences are opaque: numbers, texts such as `42-g1AAAA…`, or lists in old clusters. A position keeps the whole
//! sequence to resume with; its order is the number at the sequence's beginning, kept from falling where a cluster
//! answers with sequences that do.
//!
//! A database is known by an identity of our own, kept in a document that is neither replicated nor in the changes
//! (`_local/pillowtop`), so that a database that was deleted and made again is recognised. Where we may not write, the
//! server's own identity has to do, and only a sequence beyond the end gives such a database away.
//!
//! Deliberately absent: documents. Changes are stubs, and the store fetches what they point at, unless `include-docs`
//! has them travel along.

mod feed;
mod identity;
mod reader;
mod rows;
mod source;

pub use source::{CouchSource, Mode, Settings};

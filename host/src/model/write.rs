//! Writes as values: everything that a processor can ask of a sink.

use std::sync::Arc;

use bytes::Bytes;

use super::{DocumentKey, ProcessorName, Table};

/// One write. Names of indices, tables, topics and caches are as the processor's description declares them.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Create or replace a document of an index.
    Index(IndexWrite),
    /// Merge fields into a document of an index.
    Merge {
        /// Which document, and the fields as a JSON object.
        target: IndexWrite,
        /// List values to add and remove.
        lists: Vec<ListEdit>,
        /// What to do when the index has no such document.
        if_absent: IfAbsent,
    },
    /// Remove a document from an index; an absent one is fine.
    Delete {
        /// The index.
        index: Arc<str>,
        /// The id in it.
        id: Arc<str>,
    },
    /// Rows of a table.
    Rows {
        /// The table.
        table: Arc<str>,
        /// What happens to them.
        op: RowOp,
    },
    /// A message to a topic.
    Publish(Publish),
    /// Keys to drop from a cache.
    Invalidate {
        /// The cache.
        cache: Arc<str>,
        /// The keys.
        keys: Vec<String>,
    },
}

/// A document for an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexWrite {
    /// The index.
    pub index: Arc<str>,
    /// The id in the index.
    pub id: Arc<str>,
    /// The JSON object: the whole document, or the fields to merge.
    pub document: Bytes,
}

/// What a merge does when the document is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfAbsent {
    /// Nothing.
    Ignore,
    /// Index the fields as a new document.
    Create,
}

/// Values to add to and remove from a list in an indexed document; each value is JSON text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListEdit {
    /// Field names from the root to the list.
    pub path: Vec<String>,
    /// Values to append unless the list has them.
    pub add: Vec<Bytes>,
    /// Values to take out wherever they stand.
    pub remove: Vec<Bytes>,
}

/// A message for a topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publish {
    /// The topic.
    pub topic: Arc<str>,
    /// The key, which chooses the partition.
    pub key: Option<Bytes>,
    /// The value; none is a tombstone.
    pub value: Option<Bytes>,
}

/// What happens to rows of a table.
#[derive(Debug, Clone, PartialEq)]
pub enum RowOp {
    /// These are now all rows of the document in the table.
    Replace(Vec<Row>),
    /// The document has no rows in the table any more.
    Delete,
    /// One row by its key.
    Upsert {
        /// The row.
        row: Row,
        /// When an existing row is overwritten.
        when: Condition,
    },
}

/// Values in the order of the table's columns.
pub type Row = Vec<Value>;

/// When an upsert overwrites an existing row; a row that does not exist is always inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// When the new value of this column is greater.
    Newer(String),
    /// When the new value of `column` is more than `seconds` later, or is not earlier and one of `or_differs` differs.
    Interval {
        /// A timestamp column.
        column: String,
        /// The least distance in seconds.
        seconds: u32,
        /// Columns whose difference is reason enough.
        or_differs: Vec<String>,
    },
}

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A double.
    Double(f64),
    /// Decimal text.
    Decimal(String),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// `YYYY-MM-DD`.
    Date(String),
    /// RFC 3339.
    Timestamp(String),
    /// JSON text.
    Json(String),
}

/// A row operation on its way to a database: what a settle carries for tables that live beside the checkpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct RowWrite {
    /// The processor that asked for it.
    pub processor: ProcessorName,
    /// The document that it is about.
    pub document: DocumentKey,
    /// The table, as declared and as it exists.
    pub table: Arc<Table>,
    /// What happens.
    pub op: RowOp,
}

//! Writes: everything that a processor can ask of a sink. Names are those that its description declares.

use serde::Serialize;

use crate::bindings::pillowtop::processor::types as raw;
use crate::value::raw_row;
use crate::{Error, Row, Rows};

/// One write.
#[derive(Debug)]
pub struct Write(raw::Write);

/// Creates or replaces a document of an index.
#[derive(Debug)]
pub struct IndexWrite(raw::IndexWrite);

/// Merges fields into a document of an index: objects are merged, arrays replaced, nulls stored.
#[derive(Debug)]
pub struct MergeWrite(raw::MergeWrite);

/// Removes a document from an index; an absent one is fine.
#[derive(Debug)]
pub struct DeleteWrite(raw::DeleteWrite);

/// When an upsert overwrites the row that is there; a row that is not there is always inserted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    Always,
    /// When the new value of this column is greater.
    Newer(String),
    /// When the new value of `column` is more than `seconds` later, or is not earlier and a column of `or_differs`
    /// differs.
    Interval {
        /// A timestamp column.
        column: String,
        /// The distance in seconds that must be exceeded.
        seconds: u32,
        /// Columns whose difference is reason enough.
        or_differs: Vec<String>,
    },
}

impl Write {
    /// Puts `document` into `index`, under the change's id unless [`IndexWrite::id`] names another.
    ///
    /// # Errors
    /// When `document` cannot be written as JSON.
    pub fn index(index: impl Into<String>, document: &impl Serialize) -> Result<IndexWrite, Error> {
        Ok(Self::index_json(index, serde_json::to_vec(document)?))
    }

    /// Puts a document that is JSON text already into `index`.
    pub fn index_json(index: impl Into<String>, document: Vec<u8>) -> IndexWrite {
        IndexWrite(raw::IndexWrite { index: index.into(), id: None, document })
    }

    /// Merges `fields`, which have to be written as a JSON object, into the document with the change's id, or with that
    /// of [`MergeWrite::id`].
    ///
    /// # Errors
    /// When `fields` cannot be written as JSON.
    pub fn merge(index: impl Into<String>, fields: &impl Serialize) -> Result<MergeWrite, Error> {
        Ok(MergeWrite(raw::MergeWrite {
            index: index.into(),
            id: None,
            fields: serde_json::to_vec(fields)?,
            lists: Vec::new(),
            if_absent: raw::IfAbsent::Ignore,
        }))
    }

    /// Removes the document with the change's id, or with that of [`DeleteWrite::id`], from `index`.
    pub fn delete(index: impl Into<String>) -> DeleteWrite {
        DeleteWrite(raw::DeleteWrite { index: index.into(), id: None })
    }

    /// `rows` are now all rows of the changed document in `table`; none removes them.
    pub fn replace_rows(table: impl Into<String>, rows: impl IntoIterator<Item = Row>) -> Self {
        Self::replace_block(table, rows.into_iter().collect())
    }

    /// As [`Self::replace_rows`], with rows that are written already.
    pub fn replace_block(table: impl Into<String>, rows: Rows) -> Self {
        Self(raw::Write::ReplaceBlock(raw::ReplaceBlockWrite { table: table.into(), rows: rows.into_bytes() }))
    }

    /// The changed document has no rows in `table` any more.
    pub fn delete_rows(table: impl Into<String>) -> Self {
        Self(raw::Write::DeleteRows(raw::DeleteRowsWrite { table: table.into() }))
    }

    /// Inserts `row` into `table`, or updates the one with the same key when the condition holds.
    pub fn upsert_row(table: impl Into<String>, row: Row, when: Condition) -> Self {
        let when = match when {
            Condition::Always => raw::Condition::Always,
            Condition::Newer(column) => raw::Condition::Newer(column),
            Condition::Interval { column, seconds, or_differs } => {
                raw::Condition::Interval(raw::IntervalCondition { column, seconds, or_differs })
            }
        };
        Self(raw::Write::UpsertRow(raw::UpsertRowWrite { table: table.into(), row: raw_row(row), when }))
    }

    /// Publishes a message; the key chooses the partition, no value is a tombstone.
    pub fn publish(topic: impl Into<String>, key: Option<Vec<u8>>, value: Option<Vec<u8>>) -> Self {
        Self(raw::Write::Publish(raw::PublishWrite { topic: topic.into(), key, value }))
    }

    /// Drops keys from a cache.
    pub fn invalidate<K: Into<String>>(cache: impl Into<String>, keys: impl IntoIterator<Item = K>) -> Self {
        let keys = keys.into_iter().map(Into::into).collect();
        Self(raw::Write::Invalidate(raw::InvalidateWrite { cache: cache.into(), keys }))
    }

    pub(crate) fn into_raw(self) -> raw::Write {
        self.0
    }
}

impl IndexWrite {
    /// The document's id in the index, instead of the change's.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Some(id.into());
        self
    }
}

impl MergeWrite {
    /// The document's id in the index, instead of the change's.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Some(id.into());
        self
    }

    /// Indexes the fields as a new document when there is none; the default is to do nothing then.
    #[must_use]
    pub fn create_if_absent(mut self) -> Self {
        self.0.if_absent = raw::IfAbsent::Create;
        self
    }

    /// Adds values to, and removes values from, the list at `path` (field names from the root). A value that the list
    /// has is not added again; one is removed wherever it stands.
    ///
    /// # Errors
    /// When a value cannot be written as JSON.
    pub fn edit_list<V: Serialize>(mut self, path: &[&str], add: &[V], remove: &[V]) -> Result<Self, Error> {
        let path = path.iter().copied().map(str::to_owned).collect();
        self.0.lists.push(raw::ListEdit { path, add: json_values(add)?, remove: json_values(remove)? });
        Ok(self)
    }
}

impl DeleteWrite {
    /// The document's id in the index, instead of the change's.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.0.id = Some(id.into());
        self
    }
}

impl From<IndexWrite> for Write {
    fn from(write: IndexWrite) -> Self {
        Self(raw::Write::Index(write.0))
    }
}

impl From<MergeWrite> for Write {
    fn from(write: MergeWrite) -> Self {
        Self(raw::Write::Merge(write.0))
    }
}

impl From<DeleteWrite> for Write {
    fn from(write: DeleteWrite) -> Self {
        Self(raw::Write::Delete(write.0))
    }
}

fn json_values<V: Serialize>(values: &[V]) -> Result<Vec<Vec<u8>>, Error> {
    Ok(values.iter().map(serde_json::to_vec).collect::<Result<_, _>>()?)
}

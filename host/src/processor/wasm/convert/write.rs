//! One write: its target is declared, its content is what the target takes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;

use super::Refusal;
use super::block::Block;
use super::json::{json, json_object};
use super::row::row;
use crate::model::{Condition, Description, IfAbsent, IndexWrite, ListEdit, Publish, Row, RowOp, Table, Value, Write};
use crate::processor::wasm::bindings::pillowtop::processor::types as contract;
use crate::processor::wasm::limits::Limits;

/// Elasticsearch 7 to 9 and OpenSearch take ids up to this many bytes.
const ID_BYTES: usize = 512;

/// Why a write to anything that the description does not name is refused.
pub(super) const UNDECLARED: &str = "the description declares no such name";

/// What a description declares, for looking up: a write's target becomes the one shared name of it.
#[derive(Debug)]
pub(crate) struct Declared {
    tables: HashMap<String, DeclaredTable>,
    indices: HashMap<String, DeclaredIndex>,
    topics: HashSet<Arc<str>>,
    caches: HashSet<Arc<str>>,
    pub(super) lookups: HashSet<Arc<str>>,
    pub(super) parts: HashSet<String>,
}

#[derive(Debug)]
pub(super) struct DeclaredTable {
    name: Arc<str>,
    pub(super) table: Table,
    /// Where the columns of the key stand, and the one with the id of the document.
    pub(super) key: Vec<usize>,
    document_column: Option<usize>,
}

#[derive(Debug)]
struct DeclaredIndex {
    name: Arc<str>,
    part: Option<String>,
    owned_fields: HashSet<String>,
}

/// Where a write goes.
pub(super) struct Target<'a> {
    pub(super) name: &'a str,
    pub(super) part: Option<&'a str>,
}

/// A write that is fit for a sink.
pub(super) struct Checked {
    pub(super) write: Write,
    /// Of the write, in bytes.
    pub(super) size: usize,
    /// How many it counts for: one, or its rows.
    pub(super) count: usize,
}

impl Declared {
    pub(crate) fn new(description: &Description) -> Self {
        let shared = |names: &[String]| names.iter().map(|name| Arc::from(name.as_str())).collect();
        let table = |table: &Table| (table.name.clone(), DeclaredTable::new(table.clone()));
        let indices = description.indices.iter().map(|index| {
            let declared = DeclaredIndex {
                name: Arc::from(index.name.as_str()),
                part: index.part.clone(),
                owned_fields: index.owned_fields.iter().cloned().collect(),
            };
            (index.name.clone(), declared)
        });
        Self {
            tables: description.tables.iter().map(table).collect(),
            indices: indices.collect(),
            topics: shared(&description.topics),
            caches: shared(&description.caches),
            lookups: shared(&description.lookups),
            parts: description.parts.iter().cloned().collect(),
        }
    }

    /// The part that a write to this target belongs to.
    pub(super) fn part_of(&self, write: &Write) -> Option<&str> {
        match write {
            Write::Index(target) | Write::Merge { target, .. } => self.part_of_index(&target.index),
            Write::Delete { index, .. } => self.part_of_index(index),
            Write::Rows { table, .. } => self.part_of_table(table),
            Write::Publish(_) | Write::Invalidate { .. } => None,
        }
    }

    /// The declared target of a write.
    pub(super) fn target(&self, given: &contract::Write) -> Option<Target<'_>> {
        let table = |name: &str| {
            self.tables.get(name).map(|table| Target { name: &table.name, part: table.table.part.as_deref() })
        };
        let index =
            |name: &str| self.indices.get(name).map(|index| Target { name: &index.name, part: index.part.as_deref() });
        match given {
            contract::Write::Index(write) => index(&write.index),
            contract::Write::Merge(write) => index(&write.index),
            contract::Write::Delete(write) => index(&write.index),
            contract::Write::ReplaceRows(write) => table(&write.table),
            contract::Write::ReplaceBlock(write) => table(&write.table),
            contract::Write::DeleteRows(write) => table(&write.table),
            contract::Write::UpsertRow(write) => table(&write.table),
            contract::Write::Publish(write) => {
                self.topics.get(write.topic.as_str()).map(|name| Target { name, part: None })
            }
            contract::Write::Invalidate(write) => {
                self.caches.get(write.cache.as_str()).map(|name| Target { name, part: None })
            }
        }
    }

    /// Checks a write for the document `id`.
    pub(super) fn write(&self, given: contract::Write, id: &Arc<str>, limits: &Limits) -> Result<Checked, Refusal> {
        let (write, size, count) = self.convert(given, id)?;
        if size > limits.write_bytes {
            return Err(Refusal::too_much(format!("it has {size} bytes, and {} is the limit", limits.write_bytes)));
        }
        Ok(Checked { write, size, count })
    }

    fn convert(&self, given: contract::Write, id: &Arc<str>) -> Result<(Write, usize, usize), Refusal> {
        match given {
            contract::Write::Index(write) => {
                let (target, size) = self.document(&write.index, write.id, write.document, id)?;
                Ok((Write::Index(target), size, 1))
            }
            contract::Write::Merge(write) => self.merge(write, id),
            contract::Write::Delete(write) => {
                let index = Arc::clone(&self.index(&write.index)?.name);
                let id = id_in_index(write.id, id)?;
                let size = id.len();
                Ok((Write::Delete { index, id }, size, 1))
            }
            contract::Write::ReplaceRows(write) => {
                let mut rows = write.rows.into_iter();
                self.replace_rows(&write.table, id, |table| rows.next().map(|given| given_row(given, table)))
            }
            contract::Write::ReplaceBlock(write) => {
                let mut block = Block::new(&write.rows);
                self.replace_rows(&write.table, id, |table| block.row(table))
            }
            contract::Write::DeleteRows(write) => {
                let table = self.table(&write.table)?;
                table.document_column()?;
                Ok((Write::Rows { table: Arc::clone(&table.name), op: RowOp::Delete }, 0, 1))
            }
            contract::Write::UpsertRow(write) => self.upsert_row(write),
            contract::Write::Publish(write) => {
                let topic = named(&self.topics, &write.topic)?;
                let (key, value) = (write.key.map(Bytes::from), write.value.map(Bytes::from));
                let size = key.as_ref().map_or(0, Bytes::len) + value.as_ref().map_or(0, Bytes::len);
                Ok((Write::Publish(Publish { topic, key, value }), size, 1))
            }
            contract::Write::Invalidate(write) => {
                let cache = named(&self.caches, &write.cache)?;
                let (size, count) = (write.keys.iter().map(String::len).sum(), write.keys.len());
                Ok((Write::Invalidate { cache, keys: write.keys }, size, count.max(1)))
            }
        }
    }

    fn merge(&self, given: contract::MergeWrite, id: &Arc<str>) -> Result<(Write, usize, usize), Refusal> {
        let (target, mut size) = self.document(&given.index, given.id, given.fields, id)?;
        let index = self.index(&given.index)?;
        let mut lists = Vec::with_capacity(given.lists.len());
        for edit in given.lists {
            let Some(field) = edit.path.first() else {
                return Err(Refusal::wrong("a list edit has no path"));
            };
            index.allow(field).map_err(Refusal::wrong)?;
            size += edit.path.iter().map(String::len).sum::<usize>();
            for value in edit.add.iter().chain(&edit.remove) {
                size += value.len();
                json(value).map_err(|reason| Refusal::wrong(format!("a value for list `{field}` is {reason}")))?;
            }
            let shared = |values: Vec<Vec<u8>>| values.into_iter().map(Bytes::from).collect();
            lists.push(ListEdit { path: edit.path, add: shared(edit.add), remove: shared(edit.remove) });
        }
        let if_absent = match given.if_absent {
            contract::IfAbsent::Ignore => IfAbsent::Ignore,
            contract::IfAbsent::Create => IfAbsent::Create,
        };
        let count = lists.len().max(1);
        Ok((Write::Merge { target, lists, if_absent }, size, count))
    }

    fn document(
        &self,
        index: &str,
        id: Option<String>,
        document: Vec<u8>,
        change: &Arc<str>,
    ) -> Result<(IndexWrite, usize), Refusal> {
        let index = self.index(index)?;
        let id = id_in_index(id, change)?;
        let checked = json_object(&document, &|field| index.allow(field));
        checked.map_err(|reason| Refusal::wrong(format!("its document is {reason}")))?;
        let size = id.len() + document.len();
        Ok((IndexWrite { index: Arc::clone(&index.name), id, document: document.into() }, size))
    }

    fn replace_rows(
        &self,
        table: &str,
        id: &Arc<str>,
        mut next: impl FnMut(&DeclaredTable) -> Option<Result<(Row, usize), String>>,
    ) -> Result<(Write, usize, usize), Refusal> {
        let table = self.table(table)?;
        let at = table.document_column()?;
        let mut size = 0;
        let mut rows: Vec<Row> = Vec::new();
        while let Some(row) = next(table) {
            let wrong = |reason: String| Refusal::wrong(format!("row {}: {reason}", rows.len() + 1));
            let (row, bytes) = row.map_err(wrong)?;
            // Rows are found again by this column; one under another id would never be replaced.
            if !matches!(&row[at], Value::Text(text) if text.as_str() == id.as_ref()) {
                let column = &table.table.columns[at].name;
                return Err(wrong(format!("column `{column}` does not hold the id of the document")));
            }
            size += bytes;
            rows.push(row);
        }
        let count = rows.len().max(1);
        Ok((Write::Rows { table: Arc::clone(&table.name), op: RowOp::Replace(rows) }, size, count))
    }

    fn upsert_row(&self, given: contract::UpsertRowWrite) -> Result<(Write, usize, usize), Refusal> {
        let declared = self.table(&given.table)?;
        let table = &declared.table;
        if table.key.is_empty() {
            return Err(Refusal::wrong("the table has no key to find the row by"));
        }
        let (row, size) = given_row(given.row, declared).map_err(Refusal::wrong)?;
        let when = match given.when {
            contract::Condition::Always => Condition::Always,
            contract::Condition::Newer(column) => {
                has_column(table, &column)?;
                Condition::Newer(column)
            }
            contract::Condition::Interval(contract::IntervalCondition { column, seconds, or_differs }) => {
                std::iter::once(&column).chain(&or_differs).try_for_each(|column| has_column(table, column))?;
                Condition::Interval { column, seconds, or_differs }
            }
        };
        Ok((Write::Rows { table: Arc::clone(&declared.name), op: RowOp::Upsert { row, when } }, size, 1))
    }

    fn table(&self, name: &str) -> Result<&DeclaredTable, Refusal> {
        self.tables.get(name).ok_or_else(|| Refusal::wrong(UNDECLARED))
    }

    fn index(&self, name: &str) -> Result<&DeclaredIndex, Refusal> {
        self.indices.get(name).ok_or_else(|| Refusal::wrong(UNDECLARED))
    }

    fn part_of_table(&self, name: &str) -> Option<&str> {
        self.tables.get(name)?.table.part.as_deref()
    }

    fn part_of_index(&self, name: &str) -> Option<&str> {
        self.indices.get(name)?.part.as_deref()
    }
}

impl DeclaredTable {
    pub(super) fn new(table: Table) -> Self {
        // That they are columns was checked with the description.
        let key = table.key.iter().filter_map(|column| table.column(column)).collect();
        let document_column = table.document_column.as_ref().and_then(|column| table.column(column));
        Self { name: Arc::from(table.name.as_str()), key, document_column, table }
    }

    fn document_column(&self) -> Result<usize, Refusal> {
        self.document_column.ok_or_else(|| Refusal::wrong("the table has no document column to find the rows by"))
    }
}

impl DeclaredIndex {
    /// Whether this processor may write the field: in a shared index only what it owns.
    fn allow(&self, field: &str) -> Result<(), String> {
        if self.owned_fields.is_empty() || self.owned_fields.contains(field) {
            return Ok(());
        }
        Err(format!("field `{}` is not among the owned fields of this shared index", super::super::log::cut(field, 80)))
    }
}

/// The kind of a write and the name of its target, for messages.
pub(super) fn title(given: &contract::Write) -> (&'static str, &str) {
    match given {
        contract::Write::Index(write) => ("index into", &write.index),
        contract::Write::Merge(write) => ("merge into", &write.index),
        contract::Write::Delete(write) => ("delete from", &write.index),
        contract::Write::ReplaceRows(write) => ("replace-rows of", &write.table),
        contract::Write::ReplaceBlock(write) => ("replace-block of", &write.table),
        contract::Write::DeleteRows(write) => ("delete-rows of", &write.table),
        contract::Write::UpsertRow(write) => ("upsert-row into", &write.table),
        contract::Write::Publish(write) => ("publish to", &write.topic),
        contract::Write::Invalidate(write) => ("invalidate of", &write.cache),
    }
}

fn named(names: &HashSet<Arc<str>>, name: &str) -> Result<Arc<str>, Refusal> {
    names.get(name).cloned().ok_or_else(|| Refusal::wrong(UNDECLARED))
}

fn id_in_index(given: Option<String>, change: &Arc<str>) -> Result<Arc<str>, Refusal> {
    let id = given.map_or_else(|| Arc::clone(change), Arc::from);
    if id.is_empty() || id.len() > ID_BYTES {
        return Err(Refusal::wrong(format!("its id has {} bytes, and indices take 1 to {ID_BYTES}", id.len())));
    }
    Ok(id)
}

fn given_row(given: contract::Row, table: &DeclaredTable) -> Result<(Row, usize), String> {
    let count = given.values.len();
    let mut values = given.values.into_iter();
    // Whether they are as many as columns is the first that is looked at.
    row(count, || Ok(values.next().unwrap_or(contract::Value::Null)), table)
}

fn has_column(table: &Table, column: &str) -> Result<(), Refusal> {
    match table.column(column) {
        Some(_) => Ok(()),
        None => Err(Refusal::wrong(format!("its condition names column `{column}`, which the table does not have"))),
    }
}

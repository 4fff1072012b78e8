//! What writes lead to: documents by index and id, rows by table and key.
//!
//! Every target remembers the version of its last write, deletions included, and ignores older ones. A merge is
//! compared with the merges of the same processor and with the last whole write: processors that share an index own
//! different fields, and the order between two of them means nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::{Map, Value as Json};

use crate::model::{
    Condition, IfAbsent, IndexWrite, ListEdit, ProcessorName, Publish, Row, RowOp, Table, Value, Write, WriteVersion,
};

use super::Versioned;

#[derive(Debug, Default)]
pub(super) struct State {
    indexed: BTreeMap<(Arc<str>, Arc<str>), Indexed>,
    tables: BTreeMap<String, Rows>,
    pub(super) published: Vec<Publish>,
    pub(super) invalidated: Vec<(String, String)>,
}

/// What stands under an id of an index; no document after a deletion.
#[derive(Debug, Default)]
struct Indexed {
    document: Option<Bytes>,
    whole: Option<WriteVersion>,
    merged: HashMap<ProcessorName, WriteVersion>,
}

#[derive(Debug)]
struct Rows {
    table: Table,
    /// By the text of the key's values.
    rows: BTreeMap<String, Row>,
    /// The keys that may hold rows of a document.
    keys: HashMap<String, Vec<String>>,
    replaced: HashMap<Arc<str>, WriteVersion>,
    upserted: HashMap<String, WriteVersion>,
}

impl State {
    /// What keeps a table from being what is declared now; columns may only be added.
    pub(super) fn difference(&self, declared: &Table) -> Option<String> {
        let known = &self.tables.get(&declared.name)?.table;
        let same_start = declared.columns.starts_with(&known.columns) && declared.key == known.key;
        (!same_start).then(|| format!("table {} has other columns or another key than declared", declared.name))
    }

    pub(super) fn declare(&mut self, table: &Table) {
        let fresh = || Rows {
            table: table.clone(),
            rows: BTreeMap::new(),
            keys: HashMap::new(),
            replaced: HashMap::new(),
            upserted: HashMap::new(),
        };
        let rows = self.tables.entry(table.name.clone()).or_insert_with(fresh);
        rows.table = table.clone();
        rows.rows.values_mut().for_each(|row| row.resize(table.columns.len(), Value::Null));
    }

    pub(super) fn documents(&self, index: &str) -> BTreeMap<String, Json> {
        let of_index = self.indexed.iter().filter(|((candidate, _), _)| candidate.as_ref() == index);
        let present = of_index.filter_map(|((_, id), indexed)| {
            let document = serde_json::from_slice(indexed.document.as_ref()?).ok()?;
            Some((id.to_string(), document))
        });
        present.collect()
    }

    pub(super) fn rows(&self, table: &str) -> Vec<Row> {
        self.tables.get(table).map(|rows| rows.rows.values().cloned().collect()).unwrap_or_default()
    }

    /// Why rows cannot be taken.
    pub(super) fn row_problem(&self, table: &str, op: &RowOp) -> Option<String> {
        let Some(known) = self.tables.get(table) else {
            return Some(format!("there is no table {table}"));
        };
        let rows: &[Row] = match op {
            RowOp::Replace(rows) => rows,
            RowOp::Upsert { row, .. } => std::slice::from_ref(row),
            RowOp::Delete => &[],
        };
        let columns = known.table.columns.len();
        rows.iter().find_map(|row| {
            if row.len() != columns {
                return Some(format!("table {table} has {columns} columns, but the row {}", row.len()));
            }
            let absent = |(column, value): &(&crate::model::Column, &Value)| !column.nullable && **value == Value::Null;
            let (column, _) = known.table.columns.iter().zip(row).find(absent)?;
            Some(format!("column {} of table {table} may not be null", column.name))
        })
    }

    /// Applies a write for which there is no problem.
    pub(super) fn apply(&mut self, write: Versioned) {
        let Versioned { processor, document, version, write, .. } = write;
        match write {
            Write::Index(IndexWrite { index, id, document }) => {
                self.indexed.entry((index, id)).or_default().replace(Some(document), version);
            }
            Write::Delete { index, id } => self.indexed.entry((index, id)).or_default().replace(None, version),
            Write::Merge { target, lists, if_absent } => {
                let indexed = self.indexed.entry((target.index, target.id)).or_default();
                indexed.merge(&target.document, &lists, if_absent, processor, version);
            }
            Write::Rows { table, op } => {
                if let Some(rows) = self.tables.get_mut(table.as_ref()) {
                    rows.apply(op, &document.id, version);
                }
            }
            Write::Publish(publish) => self.published.push(publish),
            Write::Invalidate { cache, keys } => {
                self.invalidated.extend(keys.into_iter().map(|key| (cache.to_string(), key)));
            }
        }
    }
}

impl Indexed {
    fn replace(&mut self, document: Option<Bytes>, version: WriteVersion) {
        if self.whole.is_some_and(|whole| version < whole) {
            return;
        }
        self.whole = Some(version);
        self.document = document;
    }

    fn merge(
        &mut self,
        fields: &[u8],
        lists: &[ListEdit],
        if_absent: IfAbsent,
        processor: ProcessorName,
        version: WriteVersion,
    ) {
        let last = self.merged.get(&processor).copied().max(self.whole);
        if last.is_some_and(|last| version < last) {
            return;
        }
        let mut document = match (&self.document, if_absent) {
            (Some(document), _) => serde_json::from_slice(document).unwrap_or(Json::Null),
            (None, IfAbsent::Create) => Json::Object(Map::new()),
            (None, IfAbsent::Ignore) => return,
        };
        merge_into(&mut document, serde_json::from_slice(fields).unwrap_or(Json::Null));
        lists.iter().for_each(|edit| edit_list(&mut document, edit));
        self.merged.insert(processor, version);
        self.document = Some(Bytes::from(document.to_string()));
    }
}

impl Rows {
    fn apply(&mut self, op: RowOp, document_id: &Arc<str>, version: WriteVersion) {
        match op {
            RowOp::Replace(rows) => self.replace(rows, document_id, version),
            RowOp::Delete => self.replace(Vec::new(), document_id, version),
            RowOp::Upsert { row, when } => self.upsert(row, &when, version),
        }
    }

    fn replace(&mut self, rows: Vec<Row>, document_id: &Arc<str>, version: WriteVersion) {
        let last = self.replaced.entry(Arc::clone(document_id)).or_insert(version);
        if version < *last {
            return;
        }
        *last = version;
        for key in self.keys.remove(document_id.as_ref()).unwrap_or_default() {
            if self.rows.get(&key).and_then(|row| self.document_of(row)) == Some(document_id.as_ref()) {
                self.rows.remove(&key);
            }
        }
        for row in rows {
            self.insert(self.key_of(&row), row);
        }
    }

    fn upsert(&mut self, row: Row, when: &Condition, version: WriteVersion) {
        let key = self.key_of(&row);
        let last = self.upserted.entry(key.clone()).or_insert(version);
        if version < *last {
            return;
        }
        *last = version;
        if self.rows.get(&key).is_none_or(|stored| self.holds(when, stored, &row)) {
            self.insert(key, row);
        }
    }

    fn insert(&mut self, key: String, row: Row) {
        let listed = self.rows.get(&key).and_then(|row| self.document_of(row));
        if let Some(document) = self.document_of(&row).filter(|document| listed != Some(*document)) {
            self.keys.entry(document.to_owned()).or_default().push(key.clone());
        }
        self.rows.insert(key, row);
    }

    fn document_of<'a>(&self, row: &'a Row) -> Option<&'a str> {
        let column = self.table.column(self.table.document_column.as_deref()?)?;
        match &row[column] {
            Value::Text(id) => Some(id),
            _ => None,
        }
    }

    fn key_of(&self, row: &Row) -> String {
        let values: Vec<Option<&Value>> =
            self.table.key.iter().map(|column| self.table.column(column).map(|at| &row[at])).collect();
        format!("{values:?}")
    }

    fn holds(&self, when: &Condition, stored: &Row, new: &Row) -> bool {
        let pair = |column: &str| self.table.column(column).map(|at| (&stored[at], &new[at]));
        match when {
            Condition::Always => true,
            Condition::Newer(column) => pair(column).is_some_and(|(stored, new)| is_greater(new, stored)),
            Condition::Interval { column, seconds, or_differs } => {
                let Some((stored, new)) = pair(column) else { return false };
                let Some(distance) = seconds_between(stored, new) else { return is_greater(new, stored) };
                let differs = or_differs.iter().any(|column| pair(column).is_some_and(|(stored, new)| stored != new));
                distance > f64::from(*seconds) || (distance >= 0.0 && differs)
            }
        }
    }
}

/// Why bytes cannot be a document of an index.
pub(super) fn document_problem(document: &[u8]) -> Option<String> {
    match serde_json::from_slice::<&serde_json::value::RawValue>(document) {
        Ok(raw) if raw.get().starts_with('{') => None,
        Ok(_) => Some("the document is no JSON object".to_owned()),
        Err(error) => Some(format!("the document is no JSON: {error}")),
    }
}

/// Objects are merged, everything else is replaced; nulls are stored.
fn merge_into(target: &mut Json, fields: Json) {
    match (target, fields) {
        (Json::Object(target), Json::Object(fields)) => {
            for (name, value) in fields {
                merge_into(target.entry(name).or_insert(Json::Null), value);
            }
        }
        (target, fields) => *target = fields,
    }
}

fn edit_list(document: &mut Json, edit: &ListEdit) {
    let mut target = document;
    for name in &edit.path {
        if !target.is_object() {
            *target = Json::Object(Map::new());
        }
        let Json::Object(object) = target else { return };
        target = object.entry(name.clone()).or_insert(Json::Null);
    }
    let mut list = match target.take() {
        Json::Array(list) => list,
        Json::Null => Vec::new(),
        // A single value is a list of one, as in Elasticsearch.
        single => vec![single],
    };
    let parsed = |values: &[Bytes]| -> Vec<Json> {
        values.iter().filter_map(|value| serde_json::from_slice(value).ok()).collect()
    };
    let remove = parsed(&edit.remove);
    list.retain(|value| !remove.contains(value));
    for value in parsed(&edit.add) {
        if !list.contains(&value) {
            list.push(value);
        }
    }
    *target = Json::Array(list);
}

/// Whether `new` is greater than `stored` as a database orders them; anything is greater than null.
fn is_greater(new: &Value, stored: &Value) -> bool {
    if let Some(distance) = seconds_between(stored, new) {
        return distance > 0.0;
    }
    match (new, stored) {
        (Value::Null, _) => false,
        (_, Value::Null) => true,
        (Value::Boolean(new), Value::Boolean(stored)) => new > stored,
        (Value::Integer(new), Value::Integer(stored)) => new > stored,
        (Value::Double(new), Value::Double(stored)) => new > stored,
        (Value::Decimal(new), Value::Decimal(stored)) => {
            matches!((new.parse::<f64>(), stored.parse::<f64>()), (Ok(new), Ok(stored)) if new > stored)
        }
        (Value::Text(new), Value::Text(stored)) | (Value::Date(new), Value::Date(stored)) => new > stored,
        (Value::Bytes(new), Value::Bytes(stored)) => new > stored,
        _ => false,
    }
}

fn seconds_between(stored: &Value, new: &Value) -> Option<f64> {
    let (Value::Timestamp(stored), Value::Timestamp(new)) = (stored, new) else { return None };
    let (stored, new): (Timestamp, Timestamp) = (stored.parse().ok()?, new.parse().ok()?);
    Some(new.duration_since(stored).as_secs_f64())
}

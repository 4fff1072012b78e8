//! Descriptions and outcomes as JSON; refuses what the host would refuse.

use serde_json::{Map, Value, json};

use super::block;
use crate::bindings::pillowtop::processor::types as raw;

/// A description.
pub(super) fn description(description: &raw::Description) -> Value {
    let problem =
        |problem: &raw::Problem| json!({"path": problem.path, "part": problem.part, "message": problem.message});
    json!({
        "tables": description.tables.iter().map(table).collect::<Vec<_>>(),
        "indices": description.indices.iter().map(index).collect::<Vec<_>>(),
        "topics": description.topics,
        "caches": description.caches,
        "lookups": description.lookups,
        "parts": description.parts,
        "problems": description.problems.iter().map(problem).collect::<Vec<_>>(),
    })
}

/// An outcome for the change of document `id`.
pub(super) fn outcome(description: &raw::Description, id: &str, outcome: &raw::Outcome) -> Value {
    match outcome {
        raw::Outcome::Skip(reason) => json!({"skip": reason}),
        raw::Outcome::Need(wants) => {
            let want = |want: &raw::Want| {
                assert!(description.lookups.contains(&want.lookup), "look-up {} is not declared", want.lookup);
                json!({"lookup": want.lookup, "key": want.key})
            };
            json!({"need": wants.iter().map(want).collect::<Vec<_>>()})
        }
        raw::Outcome::Failed(failed) => json!({"failed": failure(failed)}),
        raw::Outcome::Done(done) => {
            let writes: Vec<Value> = done.writes.iter().map(|one| write(description, id, one)).collect();
            let failures: Vec<Value> = done.failures.iter().map(|failed| part_failure(description, failed)).collect();
            if failures.is_empty() {
                json!({"writes": writes})
            } else {
                json!({"writes": writes, "failures": failures})
            }
        }
    }
}

fn table(table: &raw::Table) -> Value {
    let column =
        |column: &raw::Column| json!({"name": column.name, "kind": kind(column.kind), "nullable": column.nullable});
    let index = |index: &raw::TableIndex| {
        let mut shown = json!({"columns": index.columns, "unique": index.unique});
        if let Some(name) = &index.name {
            shown["name"] = json!(name);
        }
        shown
    };
    let mut shown = json!({
        "name": table.name,
        "part": table.part,
        "columns": table.columns.iter().map(column).collect::<Vec<_>>(),
        "key": table.key,
        "document_column": table.document_column,
        "indexes": table.indexes.iter().map(index).collect::<Vec<_>>(),
    });
    // What most tables have is not worth a line.
    match table.on_change {
        raw::TableChange::Refuse => {}
        raw::TableChange::Rebuild => shown["on_change"] = json!("rebuild"),
        raw::TableChange::Keep => shown["on_change"] = json!("keep"),
    }
    if !table.engines.is_empty() {
        shown["engines"] = json!(table.engines);
    }
    shown
}

fn kind(kind: raw::ColumnKind) -> &'static str {
    match kind {
        raw::ColumnKind::Boolean => "boolean",
        raw::ColumnKind::Integer => "integer",
        raw::ColumnKind::Double => "double",
        raw::ColumnKind::Decimal => "decimal",
        raw::ColumnKind::Text => "text",
        raw::ColumnKind::Bytes => "bytes",
        raw::ColumnKind::Date => "date",
        raw::ColumnKind::Timestamp => "timestamp",
        raw::ColumnKind::Json => "json",
        raw::ColumnKind::Integer16 => "integer16",
        raw::ColumnKind::Integer32 => "integer32",
        raw::ColumnKind::SizedDecimal(_) => "sized-decimal",
        raw::ColumnKind::LocalTimestamp => "local-timestamp",
        raw::ColumnKind::TextList => "text-list",
    }
}

fn index(index: &raw::Index) -> Value {
    json!({
        "name": index.name,
        "part": index.part,
        "mapping": parse(&index.mapping),
        "owned_fields": index.owned_fields,
    })
}

fn failure(failure: &raw::Failure) -> Value {
    let kind = match failure.kind {
        raw::FailureKind::InvalidInput => "invalid-input",
        raw::FailureKind::DocumentMissing => "document-missing",
        raw::FailureKind::Other => "other",
        raw::FailureKind::Deferred => "deferred",
    };
    json!({"kind": kind, "message": failure.message, "retry_can_help": failure.retry_can_help})
}

fn part_failure(description: &raw::Description, failed: &raw::PartFailure) -> Value {
    assert!(description.parts.contains(&failed.part), "part {} is not declared", failed.part);
    let mut value = failure(&failed.failure);
    value["part"] = json!(failed.part);
    value
}

fn write(description: &raw::Description, id: &str, write: &raw::Write) -> Value {
    let declared_index = |name: &String| {
        assert!(description.indices.iter().any(|index| index.name == *name), "index {name} is not declared");
    };
    match write {
        raw::Write::Index(write) => {
            declared_index(&write.index);
            json!({"index": {
                "index": write.index, "id": write.id.as_deref().unwrap_or(id), "document": parse(&write.document),
            }})
        }
        raw::Write::Merge(write) => {
            declared_index(&write.index);
            let if_absent = match write.if_absent {
                raw::IfAbsent::Ignore => "ignore",
                raw::IfAbsent::Create => "create",
            };
            json!({"merge": {
                "index": write.index,
                "id": write.id.as_deref().unwrap_or(id),
                "fields": parse(&write.fields),
                "lists": write.lists.iter().map(list_edit).collect::<Vec<_>>(),
                "if_absent": if_absent,
            }})
        }
        raw::Write::Delete(write) => {
            declared_index(&write.index);
            json!({"delete": {"index": write.index, "id": write.id.as_deref().unwrap_or(id)}})
        }
        raw::Write::ReplaceRows(write) => replace_rows(description, &write.table, &write.rows),
        raw::Write::ReplaceBlock(write) => replace_rows(description, &write.table, &block::rows(&write.rows)),
        raw::Write::DeleteRows(write) => {
            with_document_column(description, &write.table);
            json!({"delete_rows": {"table": write.table}})
        }
        raw::Write::UpsertRow(write) => {
            let table = declared_table(description, &write.table);
            json!({"upsert_row": {"table": write.table, "row": row(table, &write.row), "when": condition(&write.when)}})
        }
        raw::Write::Publish(write) => {
            assert!(description.topics.contains(&write.topic), "topic {} is not declared", write.topic);
            let text =
                |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            json!({"publish": {"topic": write.topic, "key": text(&write.key), "value": text(&write.value)}})
        }
        raw::Write::Invalidate(write) => {
            assert!(description.caches.contains(&write.cache), "cache {} is not declared", write.cache);
            json!({"invalidate": {"cache": write.cache, "keys": write.keys}})
        }
    }
}

fn replace_rows(description: &raw::Description, table: &str, rows: &[raw::Row]) -> Value {
    let declared = with_document_column(description, table);
    json!({"replace_rows": {
        "table": table, "rows": rows.iter().map(|one| row(declared, one)).collect::<Vec<_>>(),
    }})
}

fn list_edit(edit: &raw::ListEdit) -> Value {
    let values = |values: &[Vec<u8>]| values.iter().map(|value| parse(value)).collect::<Vec<_>>();
    json!({"path": edit.path, "add": values(&edit.add), "remove": values(&edit.remove)})
}

fn condition(condition: &raw::Condition) -> Value {
    match condition {
        raw::Condition::Always => json!("always"),
        raw::Condition::Newer(column) => json!({"newer": column}),
        raw::Condition::Interval(interval) => json!({"interval": {
            "column": interval.column, "seconds": interval.seconds, "or_differs": interval.or_differs,
        }}),
    }
}

fn declared_table<'a>(description: &'a raw::Description, name: &str) -> &'a raw::Table {
    let table = description.tables.iter().find(|table| table.name == name);
    assert!(table.is_some(), "table {name} is not declared");
    table.expect("asserted above")
}

fn with_document_column<'a>(description: &'a raw::Description, name: &str) -> &'a raw::Table {
    let table = declared_table(description, name);
    assert!(table.document_column.is_some(), "table {name} has no document column to replace or delete rows by");
    table
}

fn row(table: &raw::Table, row: &raw::Row) -> Value {
    let (columns, values) = (table.columns.len(), row.values.len());
    assert_eq!(columns, values, "table {} has {columns} columns, but a row has {values} values", table.name);
    let mut object = Map::new();
    for (column, value) in table.columns.iter().zip(&row.values) {
        let nullable = column.nullable || !matches!(value, raw::Value::Null);
        assert!(nullable, "column {}.{} may not be null", table.name, column.name);
        object.insert(column.name.clone(), self::value(value));
    }
    Value::Object(object)
}

fn value(value: &raw::Value) -> Value {
    match value {
        raw::Value::Null => Value::Null,
        raw::Value::Boolean(value) => json!(value),
        raw::Value::Integer(value) => json!(value),
        raw::Value::Double(value) => json!(value),
        raw::Value::Bytes(bytes) => json!(bytes),
        raw::Value::Json(bytes) => parse(bytes),
        raw::Value::Decimal(text) | raw::Value::Text(text) | raw::Value::Date(text) | raw::Value::Timestamp(text) => {
            json!(text)
        }
    }
}

fn parse(bytes: &[u8]) -> Value {
    let parsed = serde_json::from_slice(bytes);
    assert!(parsed.is_ok(), "not JSON: {}", String::from_utf8_lossy(bytes));
    parsed.unwrap_or(Value::Null)
}

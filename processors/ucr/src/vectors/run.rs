//! Computes what a vector asks for, in the form of its expectation.
//!
//! As when rows are built, a document has no more than what is read of it.

use super::typed::decoded;
use super::world::Related;
use crate::compiler::Compiler;
use crate::error::Problem;
use crate::indicator::Column;
use crate::named::Names;
use crate::names::{column_name, column_type, table_name};
use crate::reads::Item;
use crate::value::{Dict, Moment, Reads, Text, Value};
use crate::{Context, DataSource, EvalError, Limits, Outcome};

/// All vectors were made at this instant.
fn frozen_now() -> Moment {
    Moment::naive(jiff::civil::date(2021, 6, 15).at(12, 34, 56, 789_012_000))
}

/// Null for a kind that is not known.
pub(super) fn run(vector: &Value<'_>) -> Value<'static> {
    match vector.property("kind").and_then(Value::as_str) {
        Some("expression" | "filter" | "indicator") => applied(vector),
        Some("datasource") => data_source(vector),
        Some("naming") => naming(vector),
        _ => Value::Null,
    }
}

/// An object.
fn object<'a>(entries: impl IntoIterator<Item = (&'static str, Value<'a>)>) -> Value<'a> {
    Value::dict(entries.into_iter().map(|(key, value)| (Text::from(key), value)).collect())
}

fn config_error(problems: &[Problem]) -> Value<'static> {
    let messages: Vec<String> = problems.iter().map(ToString::to_string).collect();
    error("build", messages.join("; "))
}

fn eval_error(error_value: &EvalError) -> Value<'static> {
    error("eval", error_value.to_string())
}

fn error(phase: &'static str, message: String) -> Value<'static> {
    object([("error", object([("phase", Value::text(phase)), ("message", Value::text(message))]))])
}

fn applied(vector: &Value<'_>) -> Value<'static> {
    let part = |key: &str| vector.property(key).map(decoded).unwrap_or_default();
    let spec = part("spec");
    let mut problems = Vec::new();
    let (expressions, filters) = (part("named_expressions"), part("named_filters"));
    let names = Names::compile(expressions.as_dict(), filters.as_dict(), &mut problems);
    let mut compiler = Compiler::new(Some(&names.expressions), Some(&names.filters));
    let is_root = vector.property("root_doc").and_then(Value::as_str) == Some("$doc");
    let (item, what) = (if is_root { Item::Document } else { Item::Derived }, vector.property("kind"));
    let mut reads = Reads::default();
    reads.add(&["domain"]);
    match what.and_then(Value::as_str) {
        Some("expression") => {
            Compiler::new(Some(&names.expressions), Some(&names.filters))
                .expression(&spec)
                .note_reads(item, &mut reads);
        }
        Some("filter") => {
            Compiler::new(Some(&names.expressions), Some(&names.filters)).filter(&spec).note_reads(item, &mut reads);
        }
        _ => {
            let indicator = Compiler::new(Some(&names.expressions), Some(&names.filters)).indicator(&spec);
            indicator.iter().for_each(|indicator| indicator.note_reads(item, &mut reads));
        }
    }
    let document = part("doc");
    let root = reads.of(&if is_root { document.clone() } else { part("root_doc") });
    let document = if is_root { root.clone() } else { document };
    let related = part("related_docs");
    let has_context = !matches!(vector.property("has_context"), Some(Value::Bool(false)));
    let limits = Limits::default();
    let context = Context {
        root: has_context.then_some(&root),
        iteration: has_context.then(|| vector.property("iteration").and_then(Value::as_index).unwrap_or(0)),
        now: frozen_now(),
        world: &Related(&related),
        named: &names,
        limits: &limits,
    };
    let result = match vector.property("kind").and_then(Value::as_str) {
        Some("expression") => {
            let expression = compiler.expression(&spec);
            problems.append(&mut compiler.problems);
            if !problems.is_empty() {
                return config_error(&problems);
            }
            expression.evaluate(&document, &context).map(|value| object([("value", value)]))
        }
        Some("filter") => {
            let filter = compiler.filter(&spec);
            problems.append(&mut compiler.problems);
            if !problems.is_empty() {
                return config_error(&problems);
            }
            filter.holds(&document, &context).map(|result| object([("value", Value::Bool(result))]))
        }
        _ => {
            let indicator = compiler.indicator(&spec);
            problems.append(&mut compiler.problems);
            let Some(indicator) = indicator.filter(|_| problems.is_empty()) else { return config_error(&problems) };
            let mut row = Vec::new();
            indicator.fill(&document, &context, &mut row).map(|()| {
                let columns = indicator.columns.iter().zip(row);
                object([("columns", Value::list(columns.map(|(of, value)| column(of, Some(value))).collect()))])
            })
        }
    };
    result.map_or_else(|error| eval_error(&error), Value::into_owned)
}

fn column<'a>(column: &Column, value: Option<Value<'a>>) -> Value<'a> {
    let described = [
        ("id", Value::text(column.id.clone())),
        ("database_column_name", Value::text(column.name.clone())),
        ("datatype", Value::text(column.datatype.name())),
        ("is_nullable", Value::Bool(column.is_nullable)),
        ("is_primary_key", Value::Bool(column.is_primary_key)),
        ("create_index", Value::Bool(column.create_index)),
    ];
    object(described.into_iter().chain(value.map(|value| ("value", value))))
}

fn naming(vector: &Value<'_>) -> Value<'static> {
    let text = |key| vector.property("spec").and_then(|spec| spec.property(key)).and_then(Value::as_str);
    match (text("domain"), text("table_id"), text("column_id")) {
        (Some(domain), Some(table_id), _) => object([("table_name", Value::text(table_name(domain, table_id)))]),
        (_, _, Some(column_id)) => object([("database_column_name", Value::text(column_name(column_id)))]),
        _ => Value::Null,
    }
}

fn data_source(vector: &Value<'_>) -> Value<'static> {
    let Some(spec) = vector.property("spec") else { return Value::Null };
    let source = match DataSource::compile(&decoded(spec)) {
        Ok(source) => source,
        Err(error) => return config_error(&error.problems),
    };
    let names = |names: &[String]| Value::list(names.iter().cloned().map(Value::text).collect());
    let mut result = vec![
        ("validate_error", Value::Null),
        ("columns", Value::list(source.columns.iter().map(|of| column(of, None)).collect())),
        ("table_name", Value::text(source.table_name.clone())),
        ("primary_key", names(&source.primary_key)),
        ("ddl", definition(&source, &names)),
    ];
    let related = vector.property("related_docs").map(decoded).unwrap_or_default();
    let reads = source.reads();
    match vector.property("docs").and_then(Value::as_list) {
        Some(documents) => {
            let each = |document| object(processed(&source, &reads.of(&decoded(document)), &related)).into_owned();
            result.push(("docs", Value::list(documents.iter().map(each).collect())));
        }
        None => {
            let document = reads.of(&vector.property("doc").map(decoded).unwrap_or_default());
            result.extend(
                processed(&source, &document, &related).into_iter().map(|(key, value)| (key, value.into_owned())),
            );
        }
    }
    object(result)
}

fn definition<'a>(source: &DataSource, names: &impl Fn(&[String]) -> Value<'a>) -> Value<'a> {
    let column = |column: &Column| {
        object([
            ("name", Value::text(column.name.clone())),
            ("type", Value::text(column_type(column.datatype))),
            ("nullable", Value::Bool(column.is_nullable && !source.primary_key.contains(&column.name))),
            ("primary_key", Value::Bool(source.primary_key.contains(&column.name))),
        ])
    };
    let indexes = source.indexes.iter().map(|index| {
        object([
            ("name", Value::text(index.name.clone())),
            ("columns", names(&index.columns)),
            ("unique", Value::Bool(false)),
        ])
    });
    object([
        ("columns", Value::list(source.columns.iter().map(column).collect())),
        ("indexes", Value::list(indexes.collect())),
        ("primary_key", names(&source.primary_key)),
    ])
}

fn processed<'a>(source: &DataSource, document: &Value<'a>, related: &Value<'a>) -> Vec<(&'static str, Value<'a>)> {
    let world = Related(related);
    let mut result = Vec::new();
    let phase = |phase| object([("phase", Value::text(phase))]);
    match source.filter(document, frozen_now(), &world) {
        Ok(taken) => {
            result.push(("filter", Value::Bool(taken)));
            result.push(("deleted_filter", Value::Bool(source.is_deletion(document))));
        }
        Err(_) => result.push(("filter_error", phase("filter"))),
    }
    match source.validate_and_process(document, frozen_now(), &world) {
        Ok(Outcome::NotTaken) => result.push(("rows", Value::list(Vec::new()))),
        Ok(Outcome::Invalid(failed)) => {
            result.push(("rows", Value::list(Vec::new())));
            let failed = failed.into_iter().map(|failed| {
                let (name, text) = (Value::text(failed.name), Value::text(failed.error_message));
                object([("validation_name", name), ("validation_text", text)])
            });
            result.push(("invalid_data", Value::list(failed.collect())));
        }
        Ok(Outcome::Rows(rows)) => {
            let row = |row: Vec<Value<'a>>| {
                let named = source.columns.iter().zip(row);
                Value::dict(named.map(|(of, value)| (Text::from(of.id.clone()), value)).collect::<Dict<'a>>())
            };
            result.push(("rows", Value::list(rows.into_iter().map(row).collect())));
        }
        Err(_) => result.push(("rows_error", phase("eval"))),
    }
    result
}

//! `ucr rows`: the rows that documents give in data sources, or why they give none.

use anyhow::Context as _;
use jiff::tz::Offset;
use serde_json::{Map, Value as Json, json};
use ucr::value::{Moment, Value, parse};
use ucr::vectors::Related;
use ucr::{DataSource, Outcome as Rows, World};

use crate::model::Clock;

use super::super::args::{Arguments, UcrRows};
use super::super::output::{say, say_line};
use super::super::{Outcome, table};
use super::files;

pub(crate) fn run(arguments: &Arguments, wanted: &UcrRows) -> anyhow::Result<Outcome> {
    let Some(sources) = files::sources(&wanted.config)? else { return Ok(Outcome::WrongInput) };
    let text = files::read(&wanted.document)?;
    let documents = files::documents(&text).map_err(|problem| files::wrong(&wanted.document, &problem))?;
    let related = files::related(wanted.related.as_deref(), &sources)?;
    let related = parse(&related).context("the related documents are no JSON")?;
    let now = Moment::naive(Offset::UTC.to_datetime(Clock::System.now()));
    for document in &documents {
        for source in &sources {
            let answer = answer(source, document, now, &Related(&related));
            if arguments.json { say_line(&answer.json(source, document)) } else { answer.print(source, document) }
        }
    }
    Ok(Outcome::Done)
}

enum Answer {
    Rows(Vec<Vec<Json>>),
    /// No rows, and why.
    None(Vec<(String, String)>),
    Failed(String),
}

fn answer<'a>(source: &DataSource, document: &Value<'a>, now: Moment, world: &dyn World<'a>) -> Answer {
    match source.process(document, now, world) {
        Ok(Rows::Rows(rows)) if rows.is_empty() => {
            Answer::None(vec![("base_item_expression".to_owned(), "there are no items".to_owned())])
        }
        Ok(Rows::Rows(rows)) => Answer::Rows(rows.iter().map(|row| row.iter().map(json_of).collect()).collect()),
        Ok(Rows::Invalid(failed)) => {
            let why = |failed: ucr::FailedValidation| (format!("validations.{}", failed.name), failed.error_message);
            Answer::None(failed.into_iter().map(why).collect())
        }
        Ok(Rows::NotTaken) => match source.refusals(document, now, world) {
            Ok(refusals) => Answer::None(refusals.into_iter().map(|why| (why.path, why.reason)).collect()),
            Err(error) => Answer::Failed(error.to_string()),
        },
        Err(error) => Answer::Failed(error.to_string()),
    }
}

impl Answer {
    fn json(self, source: &DataSource, document: &Value<'_>) -> String {
        let mut line = json!({ "document": id(document), "table": source.table_name });
        match self {
            Self::Rows(rows) => {
                let named = |row: Vec<Json>| {
                    let columns = source.columns.iter().map(|column| column.id.clone());
                    Json::Object(columns.zip(row).collect::<Map<String, Json>>())
                };
                line["rows"] = rows.into_iter().map(named).collect();
            }
            Self::None(reasons) => {
                line["rows"] = json!([]);
                let why = |(path, reason)| json!({ "path": path, "reason": reason });
                line["because"] = reasons.into_iter().map(why).collect();
            }
            Self::Failed(error) => line["error"] = Json::String(error),
        }
        line.to_string()
    }

    fn print(self, source: &DataSource, document: &Value<'_>) {
        let (id, name) = (id(document), &source.table_name);
        match self {
            Self::Rows(rows) => {
                let headings: Vec<&str> = source.columns.iter().map(|column| column.id.as_str()).collect();
                let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(cell).collect()).collect();
                say_line(&format!("{id} in {name}: {}", counted(rows.len())));
                say(&table::render(&headings, &rows));
            }
            Self::None(reasons) => {
                say_line(&format!("{id} in {name}: no rows"));
                reasons.iter().for_each(|(path, reason)| say_line(&format!("  {path}: {reason}")));
            }
            Self::Failed(error) => say_line(&format!("{id} in {name}: fails: {error}")),
        }
    }
}

fn counted(rows: usize) -> String {
    if rows == 1 { "1 row".to_owned() } else { format!("{rows} rows") }
}

fn id(document: &Value<'_>) -> String {
    document.property("_id").and_then(Value::as_str).unwrap_or("a document without `_id`").to_owned()
}

fn cell(value: &Json) -> String {
    match value {
        Json::Null => "NULL".to_owned(),
        Json::String(text) => text.replace('\n', "\\n"),
        other => other.to_string(),
    }
}

fn json_of(value: &Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => json!(flag),
        Value::Int(integer) => json!(integer),
        Value::Float(float) => json!(float),
        Value::List(elements) => elements.iter().map(json_of).collect(),
        other => Json::String(other.to_string()),
    }
}

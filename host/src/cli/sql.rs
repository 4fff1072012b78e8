//! `sql`: asks the tables of a SQL sink, also while the engine runs. It can change nothing.

use serde_json::{Map, Value as Json, json};

use crate::control;
use crate::model::Value;
use crate::sql::ask;

use super::args::{Arguments, Sql};
use super::output::{say, say_line};
use super::{Outcome, check, table};

pub(crate) async fn run(arguments: &Arguments, wanted: &Sql) -> anyhow::Result<Outcome> {
    let loaded = control::load_files(&arguments.settings, &arguments.pipelines)?;
    let Some(settings) = &loaded.settings else {
        check::print(arguments, &loaded)?;
        return Ok(Outcome::WrongInput);
    };
    let url = control::tables_url(settings, wanted.sink.as_deref()).map_err(anyhow::Error::msg)?;
    let answer = ask(url.reveal(), &wanted.statement, wanted.limit).await?;
    if arguments.json {
        let mut rows = Vec::with_capacity(answer.rows.len());
        for row in &answer.rows {
            let object: Map<String, Json> = answer.columns.iter().cloned().zip(row.iter().map(to_json)).collect();
            anyhow::ensure!(object.len() == row.len(), "two columns have the same name: name them apart with `as`");
            rows.push(Json::Object(object));
        }
        say_line(&json!(rows).to_string());
    } else {
        let headings: Vec<&str> = answer.columns.iter().map(String::as_str).collect();
        let rows: Vec<Vec<String>> = answer.rows.iter().map(|row| row.iter().map(to_cell).collect()).collect();
        match rows.is_empty() {
            true => say_line("no rows"),
            false => say(&table::render(&headings, &rows)),
        }
    }
    if answer.more {
        eprintln!("there are more rows: --limit {} was reached", wanted.limit);
    }
    Ok(Outcome::Done)
}

fn to_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(truth) => json!(truth),
        Value::Integer(number) => json!(number),
        Value::Double(number) => json!(number),
        Value::Bytes(bytes) => json!(hexadecimal(bytes)),
        Value::Decimal(text) | Value::Text(text) | Value::Date(text) | Value::Timestamp(text) | Value::Json(text) => {
            json!(text)
        }
    }
}

/// A cell is one line, whatever the text is.
fn to_cell(value: &Value) -> String {
    match to_json(value) {
        Json::Null => "NULL".to_owned(),
        Json::String(text) => {
            let mut cell = String::with_capacity(text.len());
            for sign in text.chars() {
                match sign.is_control() {
                    true => cell.extend(sign.escape_default()),
                    false => cell.push(sign),
                }
            }
            cell
        }
        other => other.to_string(),
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_one_line() {
        let values = [Value::Null, Value::Integer(-7), Value::Text("é\n\"b\"\t".into()), Value::Bytes(vec![0, 255])];
        assert_eq!(values.map(|value| to_cell(&value)), ["NULL", "-7", "é\\n\"b\"\\t", "00ff"]);
    }
}

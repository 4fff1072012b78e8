//! The native program, and answers in a form in which both can be compared.

use std::cell::RefCell;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use pillowtop::model::{self, ColumnKind, Item, Outcome, PartFailure, RowOp, Table, Write, timestamp_text};
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use super::super::built;
use super::super::measure::Cost;
use super::work::content;

/// `native-rows` with configuration and documents.
pub(crate) struct Program {
    child: Child,
    requests: Option<RefCell<ChildStdin>>,
    answers: RefCell<BufReader<ChildStdout>>,
    /// What it reads, as it starts.
    _input: NamedTempFile,
}

impl Program {
    pub(crate) fn start(config: &Value, items: &[Item]) -> Self {
        let mut input = NamedTempFile::new().unwrap();
        writeln!(input, "{config}").unwrap();
        for item in items {
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let found = item.found.iter().map(|found| {
                let documents: Vec<String> = found.documents.iter().map(|document| text(document)).collect();
                json!({ "lookup": *found.lookup, "key": *found.key, "documents": documents })
            });
            let change = &item.change;
            let line = json!({
                "id": *change.key.id, "source": *change.key.source, "document_type": change.document_type.as_deref(),
                "document_subtype": change.document_subtype.as_deref(), "domain": change.domain.as_deref(),
                "document": text(content(item)), "found": found.collect::<Vec<_>>(),
            });
            writeln!(input, "{line}").unwrap();
        }
        let mut command = Command::new(built::native("native-rows"));
        let mut child = command.arg(input.path()).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let requests = child.stdin.take().map(RefCell::new);
        let answers = RefCell::new(BufReader::new(child.stdout.take().unwrap()));
        Self { child, requests, answers, _input: input }
    }

    /// All documents so often; counted by documents.
    pub(crate) fn run(&self, batch: usize, repeats: usize) -> Cost {
        let line = self.ask(&format!("{batch} {repeats}"));
        let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [cpu, wall, units] = numbers[..] else { panic!("the program answered {line:?}") };
        Cost {
            cpu: Duration::from_nanos(cpu),
            wall: Duration::from_nanos(wall),
            units: usize::try_from(units).unwrap(),
        }
    }

    /// What it writes for each document, with times in one form.
    pub(crate) fn answers(&self, tables: &[Table]) -> Vec<Value> {
        let mut answers: Vec<Value> = serde_json::from_str(&self.ask("answers")).unwrap();
        for answer in &mut answers {
            if let Some(failures) = answer["failures"].as_array_mut() {
                failures.iter_mut().for_each(|failure| {
                    *failure = json!({ "part": failure["part"], "message": failure["message"] });
                });
            } else {
                answer["failures"] = json!([]);
            }
            for write in answer["writes"].as_array_mut().unwrap() {
                let (kind, write) = write.as_object_mut().unwrap().iter_mut().next().unwrap();
                let table = tables.iter().find(|table| write["table"] == table.name).unwrap();
                match kind.as_str() {
                    "replace_rows" => {
                        let rows = write["rows"].as_array_mut().unwrap();
                        rows.iter_mut().for_each(|row| with_times(row, table));
                    }
                    "upsert_row" => {
                        with_times(&mut write["row"], table);
                        write.as_object_mut().unwrap().remove("when");
                    }
                    _ => {}
                }
            }
        }
        answers
    }

    fn ask(&self, request: &str) -> String {
        let mut requests = self.requests.as_ref().unwrap().borrow_mut();
        writeln!(requests, "{request}").unwrap();
        requests.flush().unwrap();
        let mut line = String::new();
        self.answers.borrow_mut().read_line(&mut line).unwrap();
        line
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.requests.take());
        assert!(self.child.wait().unwrap().success(), "the native program failed");
    }
}

fn with_times(row: &mut Value, table: &Table) {
    for column in table.columns.iter().filter(|column| column.kind == ColumnKind::Timestamp) {
        if let Some(text) = row[&column.name].as_str() {
            row[&column.name] = timestamp_text(text.parse::<Timestamp>().unwrap()).into();
        }
    }
}

/// What the host got from WASM, as the SDK's tests write it.
pub(crate) fn answer(outcome: &Outcome, tables: &[Table]) -> Value {
    let Outcome::Done { writes, failures } = outcome else { panic!("not done: {outcome:?}") };
    let failure = |failure: &PartFailure| json!({ "part": failure.part, "message": failure.message });
    let failures: Vec<Value> = failures.iter().map(failure).collect();
    let write = |write: &Write| {
        let Write::Rows { table, op } = write else { panic!("no rows: {write:?}") };
        let columns = tables.iter().find(|known| known.name == **table).unwrap();
        let row = |values: &model::Row| -> Value {
            let named = columns.columns.iter().zip(values).map(|(column, value)| (column.name.clone(), cell(value)));
            Value::Object(named.collect::<Map<_, _>>())
        };
        match op {
            RowOp::Replace(rows) => {
                json!({ "replace_rows": { "table": **table, "rows": rows.iter().map(row).collect::<Vec<_>>() } })
            }
            RowOp::Delete => json!({ "delete_rows": { "table": **table } }),
            RowOp::Upsert { row: values, .. } => json!({ "upsert_row": { "table": **table, "row": row(values) } }),
        }
    };
    json!({ "writes": writes.iter().map(write).collect::<Vec<_>>(), "failures": failures })
}

fn cell(value: &model::Value) -> Value {
    match value {
        model::Value::Null => Value::Null,
        model::Value::Boolean(flag) => json!(flag),
        model::Value::Integer(integer) => json!(integer),
        model::Value::Double(double) => json!(double),
        model::Value::Bytes(bytes) => json!(bytes),
        model::Value::Json(text) => serde_json::from_str(text).unwrap(),
        model::Value::Decimal(text)
        | model::Value::Text(text)
        | model::Value::Date(text)
        | model::Value::Timestamp(text) => {
            json!(text)
        }
    }
}

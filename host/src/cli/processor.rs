//! `processor inspect|run`: what a module is, and what it answers, without a pipeline.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value as Json, json};

use crate::model::{
    Change, Clock, Condition, Document, DocumentKey, Item, Outcome as Answer, PillowName, Position, ProcessorName,
    RowOp, Value, Write,
};
use crate::pipeline::LookupStores;
use crate::processor::wasm::{self, Kind};
use crate::processor::{Call, Processor as _};

use super::Outcome;
use super::args::{Arguments, ProcessorCommand};
use super::output::say_line;

pub(crate) async fn run(arguments: &Arguments, command: &ProcessorCommand) -> anyhow::Result<Outcome> {
    match command {
        ProcessorCommand::Inspect { file } => inspect(arguments, file),
        ProcessorCommand::Run { file, input, config, topic } => {
            let (file, input) = (file.clone(), input.clone());
            let (config, topic) = (config.clone(), topic.clone());
            let lookups = Arc::new(LookupStores::new(HashMap::new()));
            // Compiling and running block.
            tokio::task::spawn_blocking(move || try_out(&file, &input, config, &topic, lookups)).await?
        }
    }
}

fn inspect(arguments: &Arguments, file: &Path) -> anyhow::Result<Outcome> {
    let found = wasm::inspect(file)?;
    let kind = match found.kind {
        Kind::Component => "component",
        Kind::Module { typed: true } => "core module with the SDK's types",
        Kind::Module { typed: false } => "core module without the SDK's types",
    };
    let imports: Vec<String> = found
        .imports
        .iter()
        .map(|import| match &import.item {
            Some(item) => format!("{} {item}", import.interface),
            None => import.interface.clone(),
        })
        .collect();
    if arguments.json {
        say_line(&format!(
            "{}",
            json!({
                "kind": kind, "size": found.size, "digest": found.digest.to_string(), "contract": found.contract,
                "imports": imports, "exports": found.exports,
            })
        ));
        return Ok(Outcome::Done);
    }
    say_line(&format!("kind      {kind}"));
    say_line(&format!("contract  {}", found.contract.as_deref().unwrap_or("none: it is no processor")));
    say_line(&format!("size      {} bytes", found.size));
    say_line(&format!("digest    {}", found.digest));
    imports.iter().for_each(|import| say_line(&format!("imports   {import}")));
    found.exports.iter().for_each(|export| say_line(&format!("exports   {export}")));
    Ok(Outcome::Done)
}

fn try_out(
    file: &Path,
    input: &Path,
    config: String,
    topic: &str,
    lookups: Arc<LookupStores>,
) -> anyhow::Result<Outcome> {
    let text = std::fs::read_to_string(input).with_context(|| format!("could not read {}", input.display()))?;
    let mut items = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        items.push(item(line, topic, at).with_context(|| format!("{}:{}", input.display(), at + 1))?);
    }
    let engine = wasm::Engine::new()?;
    let source = wasm::Source {
        path: file,
        bytes: None,
        names: wasm::Names { pillow: PillowName::new("try"), processor: ProcessorName::new("try") },
        grants: wasm::Grants { log: true, lookups: Vec::new() },
        config: config.into_bytes(),
        limits: wasm::Limits::default(),
    };
    let processor = wasm::load(&engine, source, None)?;
    let mut instance = processor.start(lookups.for_instance())?;
    let answers = instance.process(&Call { topic, time: Clock::System.now(), items: &items })?;
    for (item, answer) in items.iter().zip(answers) {
        say_line(&format!("{}", json!({ "id": item.change.key.id.as_ref(), "outcome": answer_json(&answer) })));
    }
    Ok(Outcome::Done)
}

/// A line of input is a document; what a change would say of it is taken from its usual fields.
fn item(line: &str, topic: &str, at: usize) -> anyhow::Result<Item> {
    let document: Json = serde_json::from_str(line).context("it is no JSON")?;
    let text = |key: &str| document.get(key).and_then(Json::as_str).map(Arc::<str>::from);
    let id = text("_id").or_else(|| text("id")).unwrap_or_else(|| Arc::from(format!("line-{}", at + 1)));
    let change = Change {
        key: DocumentKey { source: Arc::from(topic), id },
        position: Position::number(at as u64),
        document_type: text("doc_type"),
        document_subtype: text("xmlns").or_else(|| text("type")),
        domain: text("domain"),
        revision: text("_rev").as_deref().map(Box::from),
        associated_id: None,
        deleted: text("doc_type").is_some_and(|kind| kind.ends_with("-Deleted")),
        attempts: 0,
        published_at: None,
        inline: None,
    };
    let document = Document::Present(Bytes::copy_from_slice(line.as_bytes()));
    Ok(Item { change: Arc::new(change), document, found: Vec::new() })
}

fn answer_json(answer: &Answer) -> Json {
    match answer {
        Answer::Skip(reason) => json!({ "skip": reason }),
        Answer::Failed(failure) => json!({ "failed": failure.message, "kind": failure.kind.as_str() }),
        Answer::Need(wants) => {
            json!({ "need": wants.iter().map(|want| json!([want.lookup, want.key])).collect::<Vec<_>>() })
        }
        Answer::Done { writes, failures } => json!({
            "writes": writes.iter().map(write_json).collect::<Vec<_>>(),
            "failures": failures
                .iter()
                .map(|failure| json!({ "part": failure.part, "failed": failure.message }))
                .collect::<Vec<_>>(),
        }),
    }
}

fn write_json(write: &Write) -> Json {
    // What was promised to be JSON was checked when the processor answered.
    let parsed = |bytes: &Bytes| serde_json::from_slice::<Json>(bytes).unwrap_or(Json::Null);
    match write {
        Write::Index(target) => {
            json!({ "index": target.index, "id": target.id, "document": parsed(&target.document) })
        }
        Write::Merge { target, lists, if_absent } => json!({
            "merge": target.index, "id": target.id, "fields": parsed(&target.document),
            "lists": lists.iter().map(|edit| json!({ "path": edit.path,
                "add": edit.add.iter().map(parsed).collect::<Vec<_>>(),
                "remove": edit.remove.iter().map(parsed).collect::<Vec<_>>() })).collect::<Vec<_>>(),
            "if_absent": format!("{if_absent:?}").to_lowercase(),
        }),
        Write::Delete { index, id } => json!({ "delete": index, "id": id }),
        Write::Rows { table, op: RowOp::Delete } => json!({ "delete-rows": table }),
        Write::Rows { table, op: RowOp::Replace(rows) } => {
            let rows: Vec<Json> = rows.iter().map(|row| row.iter().map(value_json).collect()).collect();
            json!({ "replace-rows": table, "rows": rows })
        }
        Write::Rows { table, op: RowOp::Upsert { row, when } } => {
            let row: Json = row.iter().map(value_json).collect();
            let when = match when {
                Condition::Always => json!("always"),
                Condition::Newer(column) => json!({ "newer": column }),
                Condition::Interval { column, seconds, or_differs } => {
                    json!({ "interval": { "column": column, "seconds": seconds, "or-differs": or_differs } })
                }
            };
            json!({ "upsert-row": table, "row": row, "when": when })
        }
        Write::Publish(publish) => {
            let text = |bytes: &Option<Bytes>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
            json!({ "publish": publish.topic, "key": text(&publish.key), "value": text(&publish.value) })
        }
        Write::Invalidate { cache, keys } => json!({ "invalidate": cache, "keys": keys }),
    }
}

fn value_json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Boolean(value) => json!(value),
        Value::Integer(value) => json!(value),
        Value::Double(value) => json!(value),
        Value::Decimal(text) | Value::Text(text) | Value::Date(text) | Value::Timestamp(text) => json!(text),
        Value::Json(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        Value::Bytes(bytes) => json!(String::from_utf8_lossy(bytes)),
    }
}

//! The sink for search servers, on real ones: what the version of a write is for, what happens to indices that are
//! there, and what an operator reads when the server cannot write. What a server does only by chance is played by a
//! stand-in.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: helpers outside of test functions are not exempt")]

mod indices;
mod stand_in;
mod trouble;
mod versions;

#[path = "../support/searching.rs"]
mod searching;
#[path = "../support/service.rs"]
mod service;

use pillowtop::model::{DocumentKey, IfAbsent, Index, IndexWrite, ProcessorName, Write, WriteVersion};
use pillowtop::sink::{Sink, Versioned};
use serde_json::{Value, json};

const CASES: &str = "cases";

fn mapping() -> Value {
    json!({"dynamic": false, "properties": {"name": {"type": "keyword"}, "age": {"type": "long"}}})
}

fn declared(mapping: &Value, owned: &[&str]) -> Index {
    let owned_fields = owned.iter().map(|field| (*field).to_owned()).collect();
    Index { name: CASES.to_owned(), part: None, mapping: mapping.to_string().into(), owned_fields }
}

fn versioned(version: u64, id: &str, write: Write) -> Versioned {
    let (processor, document) = (ProcessorName::new("indexer"), DocumentKey::new("case", id));
    Versioned { processor, document, version: WriteVersion(version), write, table: None }
}

fn target(id: &str, document: &Value) -> IndexWrite {
    IndexWrite { index: CASES.into(), id: id.into(), document: document.to_string().into() }
}

fn index(version: u64, id: &str, document: &Value) -> Versioned {
    versioned(version, id, Write::Index(target(id, document)))
}

fn delete(version: u64, id: &str) -> Versioned {
    versioned(version, id, Write::Delete { index: CASES.into(), id: id.into() })
}

fn merge(version: u64, id: &str, fields: &Value) -> Versioned {
    versioned(version, id, Write::Merge { target: target(id, fields), lists: vec![], if_absent: IfAbsent::Create })
}

/// Writes what nothing is wrong with.
async fn write(sink: &dyn Sink, writes: &[Versioned]) {
    assert_eq!(sink.write(writes).await.unwrap(), []);
    sink.flush_writes(writes).await.unwrap();
}

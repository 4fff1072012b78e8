//! What hostile, broken and foreign modules meet, and what sound ones are given and answer.

mod built;
mod by_hand;
mod wat;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::{Grants, Limits, Names, Source};
use crate::model::{Change, Document, Item, Outcome, PillowName, Position, ProcessorName, Want};
use crate::processor::{Call, Fault, Instance, Lookups};

/// Answers every key with itself, or not at all.
struct Echo(Result<(), &'static str>);

impl Lookups for Echo {
    fn fetch(&self, wants: &[Want]) -> Result<Vec<Vec<Bytes>>, String> {
        self.0.map_err(str::to_owned)?;
        Ok(wants.iter().map(|want| vec![Bytes::copy_from_slice(want.key.as_bytes())]).collect())
    }
}

fn all() -> Grants {
    Grants { log: true, lookups: vec!["echo".into()] }
}

fn source<'a>(bytes: &'a [u8], grants: Grants, limits: Limits) -> Source<'a> {
    let names = Names { pillow: PillowName::new("forms"), processor: ProcessorName::new("hostile") };
    Source { path: Path::new("guest.wasm"), bytes: Some(bytes), names, grants, config: b"{}".to_vec(), limits }
}

fn items(count: usize) -> Vec<Item> {
    let item = |number: usize| {
        let message = format!(r#"{{"document_id":"doc-{number}","data_source_name":"forms"}}"#);
        let change = Arc::new(Change::decode(message.as_bytes(), Position::number(0)).unwrap());
        Item { change, document: Document::Present(Bytes::from_static(b"{}")), found: Vec::new() }
    };
    (0..count).map(item).collect()
}

fn process(instance: &mut dyn Instance, count: usize) -> Result<Vec<Outcome>, Fault> {
    let items = items(count);
    instance.process(&Call { topic: "form", time: "2026-02-03T10:00:00Z".parse().unwrap(), items: &items })
}

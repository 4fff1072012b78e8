//! Data sources and documents, loaded into WASM and into the native program.

use std::cell::OnceCell;
use std::sync::Arc;

use bytes::Bytes;
use pillowtop::model::{Change, Document, Found, Item, Outcome, Position, RowOp, Want, Write};
use pillowtop::processor::wasm::WasmProcessor;
use pillowtop::processor::{Instance, Processor as _};
use serde_json::{Value, json};

use super::super::built;
use super::super::measure::{Cost, Whose, timed};
use super::super::processors::{NoLookups, call};
use super::native::{self, Program};

/// Everything that a data source may look up.
const LOOKUPS: [&str; 9] = [
    "documents",
    "case-forms",
    "subcases",
    "case-sharing-groups",
    "reporting-groups",
    "locations",
    "ledgers",
    "products",
    "users",
];
pub(crate) const SOURCE: &str = "form-sql";
/// Rounds of look-ups of one document, at most.
const MOST_ROUNDS: usize = 20;

pub(crate) struct Work {
    config: Value,
    pub(crate) processor: Arc<WasmProcessor>,
    /// With the answers to all that they ask for.
    items: Vec<Item>,
    /// Documents in data sources that they have rows in, and these rows.
    pairs: usize,
    pub(crate) rows: usize,
    /// Documents in data sources that fail whatever the document: one of the real ones does.
    failing: usize,
    bytes: usize,
    native: OnceCell<Program>,
}

impl Work {
    pub(crate) fn new(sources: &[Value], documents: &[Value]) -> Self {
        let config = json!({ "data-sources": sources });
        let processor = built::processor_with(&built::module("ucr_row_builder"), &config, &LOOKUPS);
        assert_eq!(processor.description().problems, [], "every data source is right");
        let mut items: Vec<Item> = documents.iter().map(item).collect();
        let mut instance = processor.start(Arc::new(NoLookups)).unwrap();
        let types = ancestor_types(&config);
        let outcomes = answered(instance.as_mut(), &mut items, &types);
        let (mut pairs, mut rows, mut failing) = (0, 0, 0);
        for outcome in &outcomes {
            let Outcome::Done { writes, failures } = outcome else { panic!("not done: {outcome:?}") };
            failing += failures.len();
            for write in writes {
                let Write::Rows { op, .. } = write else { panic!("no rows: {write:?}") };
                match op {
                    RowOp::Replace(made) => (pairs, rows) = (pairs + 1, rows + made.len()),
                    // A validation that failed: the data source was asked, and has no rows of it.
                    RowOp::Upsert { .. } => pairs += 1,
                    RowOp::Delete => {}
                }
            }
        }
        assert!(rows > 0 && failing * 10 < pairs, "the documents have rows: {rows}, and {failing} fail");
        let bytes = items.iter().map(|item| content(item).len()).sum();
        Self { config, processor, items, pairs, rows, failing, bytes, native: OnceCell::new() }
    }

    /// What there is to do, in numbers.
    pub(crate) fn said(&self) -> String {
        let looked_up = self.items.iter().filter(|item| !item.found.is_empty()).count();
        let found: usize = self.items.iter().map(|item| item.found.len()).sum();
        format!(
            "{} documents of {} bytes on average, each in {:.1} data sources, {} rows; {looked_up} of them look up {found} documents; {} fail",
            self.items.len(),
            self.bytes / self.items.len(),
            self.pairs as f64 / self.items.len() as f64,
            self.rows,
            self.failing,
        )
    }

    pub(crate) fn documents(&self) -> usize {
        self.items.len()
    }

    pub(crate) fn items(&self) -> &[Item] {
        &self.items
    }

    /// That WASM and native code write the same.
    pub(crate) fn check(&self) {
        let mut instance = self.instance();
        let tables = &self.processor.description().tables;
        let outcomes = call(instance.as_mut(), &self.items);
        let wasm: Vec<Value> = outcomes.iter().map(|outcome| native::answer(outcome, tables)).collect();
        let native = self.program().answers(tables);
        assert_eq!(wasm.len(), native.len());
        for ((wasm, native), item) in wasm.iter().zip(&native).zip(&self.items) {
            assert_eq!(wasm, native, "WASM and native code write the same for {:?}", content(item));
        }
    }

    pub(crate) fn instance(&self) -> Box<dyn Instance> {
        self.processor.start(Arc::new(NoLookups)).unwrap()
    }

    /// All documents once; how many.
    pub(crate) fn call_all(&self, instance: &mut dyn Instance, batch: usize) -> usize {
        self.items.chunks(batch).map(|items| call(instance, items).len()).sum()
    }

    /// Runs through WASM.
    pub(crate) fn repeated(&self, batch: usize, repeats: usize) -> impl FnMut() -> Cost {
        let mut instance = self.instance();
        move || {
            timed(Whose::Thread, || {
                let answered: usize = (0..repeats).map(|_| self.call_all(instance.as_mut(), batch)).sum();
                assert_eq!(answered, self.items.len() * repeats, "one outcome for each change");
                self.pairs * repeats
            })
        }
    }

    /// The same where each document is answered with what it needs first, and called again with that.
    pub(crate) fn asking(&self) -> impl FnMut(usize, usize) -> Cost {
        let mut instance = self.instance();
        let without: Vec<Item> = self.items.iter().map(|item| Item { found: Vec::new(), ..item.clone() }).collect();
        move |batch, repeats| {
            timed(Whose::Thread, || {
                for _ in 0..repeats {
                    for (first, second) in without.chunks(batch).zip(self.items.chunks(batch)) {
                        let outcomes = call(instance.as_mut(), first);
                        let asks = |outcome: &Outcome| matches!(outcome, Outcome::Need(_));
                        let again = outcomes.iter().zip(second).filter(|(outcome, _)| asks(outcome));
                        let again: Vec<Item> = again.map(|(_, item)| item.clone()).collect();
                        if !again.is_empty() {
                            call(instance.as_mut(), &again);
                        }
                    }
                }
                self.pairs * repeats
            })
        }
    }

    /// The same natively.
    pub(crate) fn native(&self, batch: usize, repeats: usize) -> Cost {
        let cost = self.program().run(batch, repeats);
        assert_eq!(cost.units, self.items.len() * repeats, "one outcome for each change");
        Cost { units: self.pairs * repeats, ..cost }
    }

    fn program(&self) -> &Program {
        self.native.get_or_init(|| Program::start(&self.config, &self.items))
    }
}

/// Calls until nothing is asked for any more, and leaves the answers with the items.
fn answered(instance: &mut dyn Instance, items: &mut [Item], types: &[String]) -> Vec<Outcome> {
    for _ in 0..MOST_ROUNDS {
        let outcomes = call(instance, items);
        let mut asked = false;
        for (outcome, item) in outcomes.iter().zip(&mut *items) {
            if let Outcome::Need(wants) = outcome {
                asked = true;
                let domain = item.change.domain.as_deref();
                item.found.extend(wants.iter().map(|want| found(want, domain, types)));
            }
        }
        if !asked {
            return outcomes;
        }
    }
    panic!("a document asks for ever more");
}

/// A document of the domain with a few properties; a location is below others, one of each type that is asked for.
fn found(want: &Want, domain: Option<&str>, types: &[String]) -> Found {
    let id = want.key.rsplit_once('/').map_or(&*want.key, |(_, id)| id);
    let level = id.rsplit_once("-in-").map_or(0, |(_, level)| level.parse().unwrap());
    let parent = (level < types.len()).then(|| format!("site-in-{}", level + 1));
    let document = json!({
        "_id": id, "domain": domain, "doc_type": "CommCareCase", "name": format!("name of {id}"),
        "location_type": level.checked_sub(1).and_then(|at| types.get(at)), "parent_location_id": parent,
        "site_code": id, "owner_id": "owner", "user_id": "user", "type": "person", "dob": "2001-05-06", "sex": "female",
        "indices": [{ "identifier": "parent", "referenced_id": "another", "referenced_type": "household" }],
    });
    let documents = vec![Bytes::from(document.to_string())];
    Found { lookup: Arc::clone(&want.lookup), key: Arc::clone(&want.key), documents }
}

/// The location types that expressions look for above a location.
fn ancestor_types(config: &Value) -> Vec<String> {
    fn collect(value: &Value, types: &mut Vec<String>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| collect(value, types)),
            Value::Object(fields) => {
                let wanted = &value["location_type"];
                if let Some(name) = wanted.as_str().or_else(|| wanted["constant"].as_str()) {
                    types.push(name.to_owned());
                }
                fields.values().for_each(|value| collect(value, types));
            }
            _ => {}
        }
    }
    let mut types = Vec::new();
    collect(config, &mut types);
    types.sort();
    types.dedup();
    types
}

/// A document with the change that announces it.
fn item(document: &Value) -> Item {
    let subtype = if document["doc_type"] == "CommCareCase" { &document["type"] } else { &document["xmlns"] };
    let message = json!({
        "document_id": document["_id"], "data_source_type": "sql", "data_source_name": SOURCE,
        "document_type": document["doc_type"], "document_subtype": subtype, "domain": document["domain"],
        "is_deletion": false, "publish_timestamp": "2026-02-03T10:00:00.123456Z",
    });
    let change = Change::decode(message.to_string().as_bytes(), Position::number(0)).unwrap();
    Item { change: Arc::new(change), document: Document::Present(document.to_string().into()), found: Vec::new() }
}

pub(crate) fn content(item: &Item) -> &Bytes {
    let Document::Present(document) = &item.document else { panic!("the document is there: {item:?}") };
    document
}

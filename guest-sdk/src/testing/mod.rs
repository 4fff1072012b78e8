//! Runs a processor natively on JSON fixtures, through the same code that answers the host, and shows what it answers
//! as JSON that is easy to compare. `docs/writing-a-processor.md` has an example.
//!
//! The shapes of an answer: `{"skip": reason}`, `{"writes": [...]}` (with `"failures": [...]` when parts failed),
//! `{"need": [{"lookup", "key"}]}`, `{"failed": {"kind", "message", "retry_can_help"}}`. A write is an object with one
//! field, named as the [`crate::Write`] function that made it; rows are objects by column, documents are JSON.

mod block;
mod json;

use std::cell::RefCell;
use std::collections::HashMap;

use serde_json::Value;

use crate::bindings::pillowtop::processor::types as raw;
use crate::log::Level;
use crate::{Config, Problem, Processor, runtime};

/// What the stores would answer, by look-up and key.
type Answers = HashMap<(String, String), Vec<Vec<u8>>>;

thread_local! {
    static LINES: RefCell<Vec<Line>> = const { RefCell::new(Vec::new()) };
    static ANSWERS: RefCell<Answers> = RefCell::new(Answers::new());
}

/// Rounds of look-ups that the host answers.
const MOST_ROUNDS: usize = 10;

/// A configured processor.
#[derive(Debug)]
pub struct Harness<P> {
    processor: P,
    description: raw::Description,
    answers: Answers,
    time: String,
}

/// A change with its document, as the host would hand it over.
#[derive(Debug, Clone)]
pub struct Fixture {
    id: String,
    source: String,
    document_type: Option<String>,
    document_subtype: Option<String>,
    domain: Option<String>,
    revision: Option<String>,
    associated_id: Option<String>,
    deleted: bool,
    attempts: u32,
    published_ms: Option<f64>,
    document: Document,
    found: Vec<raw::Found>,
}

#[derive(Debug, Clone)]
enum Document {
    Present(Vec<u8>),
    Deleted,
    Missing,
    Stale,
}

/// Changes that are processed again and again: what a benchmark repeats.
#[derive(Debug)]
pub struct Prepared {
    symbols: Vec<String>,
    changes: Vec<raw::Change>,
}

/// A line that the processor logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How important it is.
    pub level: Level,
    /// The change that was being processed.
    pub change: Option<u32>,
    /// The text.
    pub message: String,
}

impl<P: Processor> Harness<P> {
    /// Configures the processor.
    ///
    /// # Errors
    /// What the processor finds wrong.
    pub fn configure(config: Value) -> Result<Self, Vec<Problem>> {
        Self::start(Config::new(config.to_string().as_bytes(), None))
    }

    /// The same where only these look-ups are granted; otherwise all are.
    ///
    /// # Errors
    /// What the processor finds wrong.
    pub fn configure_granted(config: Value, lookups: &[&str]) -> Result<Self, Vec<Problem>> {
        let lookups: Vec<String> = lookups.iter().map(ToString::to_string).collect();
        Self::start(Config::new(config.to_string().as_bytes(), Some(&lookups)))
    }

    fn start(config: Config<'_>) -> Result<Self, Vec<Problem>> {
        let configured = runtime::configure(config);
        let (processor, description) =
            configured.map_err(|problems| problems.into_iter().map(Problem::from_raw).collect::<Vec<_>>())?;
        Ok(Self { processor, description, answers: Answers::new(), time: "2026-01-02T03:04:05.000000Z".to_owned() })
    }

    /// When batches close, as RFC 3339 in UTC; one fixed time unless set.
    #[must_use]
    pub fn at(mut self, time: &str) -> Self {
        time.clone_into(&mut self.time);
        self
    }

    /// What `lookup` finds for `key`. Look-ups that nobody answered here find nothing when they are fetched, and are
    /// left as `need` when they are asked for.
    pub fn answer(&mut self, lookup: &str, key: &str, documents: impl IntoIterator<Item = Value>) {
        let documents = documents.into_iter().map(|document| document.to_string().into_bytes()).collect();
        self.answers.insert((lookup.to_owned(), key.to_owned()), documents);
    }

    /// What the processor says that it reads and writes.
    pub fn description(&self) -> Value {
        json::description(&self.description)
    }

    /// The processor itself.
    pub fn processor(&self) -> &P {
        &self.processor
    }

    /// Processes one change.
    ///
    /// # Panics
    /// As [`Harness::process`].
    pub fn process_one(&mut self, fixture: Fixture) -> Value {
        self.process([fixture]).pop().unwrap_or(Value::Null)
    }

    /// Processes a batch; one answer per fixture, in order. Changes that ask for look-ups are processed again with what
    /// [`Harness::answer`] holds, as the host would.
    ///
    /// # Panics
    /// When the processor writes what its description does not name, rows that do not fit their table, or documents
    /// that are no JSON: the host refuses such answers.
    pub fn process(&mut self, fixtures: impl IntoIterator<Item = Fixture>) -> Vec<Value> {
        let Prepared { symbols, mut changes } = Prepared::new(fixtures);
        let mut outcomes = self.call(symbols.clone(), changes.clone());
        for _ in 0..MOST_ROUNDS {
            let (again, with): (Vec<usize>, Vec<raw::Change>) = outcomes
                .iter()
                .enumerate()
                .filter_map(|(at, outcome)| Some((at, self.fill(&changes[at], outcome)?)))
                .unzip();
            if again.is_empty() {
                break;
            }
            for ((at, change), outcome) in again.into_iter().zip(with.clone()).zip(self.call(symbols.clone(), with)) {
                (changes[at], outcomes[at]) = (change, outcome);
            }
        }
        let show =
            |(change, outcome): (&raw::Change, &raw::Outcome)| json::outcome(&self.description, &change.id, outcome);
        changes.iter().zip(&outcomes).map(show).collect()
    }

    /// Calls the processor as the host would, with a copy of what was prepared; how many changes it answered. The answers
    /// are dropped unseen.
    pub fn repeat(&mut self, prepared: &Prepared) -> usize {
        self.call(prepared.symbols.clone(), prepared.changes.clone()).len()
    }

    /// What was logged on this thread since the last call of this function.
    pub fn take_log(&mut self) -> Vec<Line> {
        LINES.take()
    }

    fn call(&mut self, symbols: Vec<String>, changes: Vec<raw::Change>) -> Vec<raw::Outcome> {
        ANSWERS.set(std::mem::take(&mut self.answers));
        let batch = raw::Batch { topic: "test".to_owned(), time: self.time.clone(), symbols, changes };
        let outcomes = runtime::process(&mut self.processor, batch);
        self.answers = ANSWERS.take();
        outcomes
    }

    /// The change with all that `outcome` asks for; none when it asks for nothing, or for what is not here.
    fn fill(&self, change: &raw::Change, outcome: &raw::Outcome) -> Option<raw::Change> {
        let raw::Outcome::Need(wants) = outcome else {
            return None;
        };
        let find = |want: &raw::Want| {
            let documents = self.answers.get(&(want.lookup.clone(), want.key.clone()))?.clone();
            Some(raw::Found { lookup: want.lookup.clone(), key: want.key.clone(), documents })
        };
        let mut found = change.found.clone();
        found.extend(wants.iter().map(find).collect::<Option<Vec<_>>>()?);
        Some(raw::Change { found, ..change.clone() })
    }
}

impl Prepared {
    /// Makes a batch.
    pub fn new(fixtures: impl IntoIterator<Item = Fixture>) -> Self {
        let mut symbols = Vec::new();
        let changes = fixtures.into_iter().map(|fixture| fixture.into_raw(&mut symbols)).collect();
        Self { symbols, changes }
    }
}

impl Fixture {
    /// A document. Type, subtype and domain are taken from its `doc_type`, `xmlns` or `type`, and `domain`, where it
    /// has them.
    pub fn present(id: &str, document: Value) -> Self {
        let text = |field: &str| document.get(field).and_then(Value::as_str).map(str::to_owned);
        Self {
            document_type: text("doc_type"),
            document_subtype: text("xmlns").or_else(|| text("type")),
            domain: text("domain"),
            ..Self::new(id, Document::Present(document.to_string().into_bytes()))
        }
    }

    /// A document of these bytes, which need not be JSON.
    pub fn bytes(id: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self::new(id, Document::Present(bytes.into()))
    }

    /// A document that was deleted, as the change and its store say.
    pub fn deleted(id: &str) -> Self {
        Self { deleted: true, ..Self::new(id, Document::Deleted) }
    }

    /// A document that its store has never heard of.
    pub fn missing(id: &str) -> Self {
        Self::new(id, Document::Missing)
    }

    /// A document whose store is behind the change.
    pub fn stale(id: &str) -> Self {
        Self::new(id, Document::Stale)
    }

    fn new(id: &str, document: Document) -> Self {
        Self {
            id: id.to_owned(),
            source: "test".to_owned(),
            document_type: None,
            document_subtype: None,
            domain: None,
            revision: None,
            associated_id: None,
            deleted: false,
            attempts: 0,
            published_ms: None,
            document,
            found: Vec::new(),
        }
    }

    /// The source's name; `test` unless set.
    #[must_use]
    pub fn source(self, source: &str) -> Self {
        Self { source: source.to_owned(), ..self }
    }

    /// The document's type.
    #[must_use]
    pub fn document_type(self, document_type: &str) -> Self {
        Self { document_type: Some(document_type.to_owned()), ..self }
    }

    /// The document's subtype.
    #[must_use]
    pub fn document_subtype(self, document_subtype: &str) -> Self {
        Self { document_subtype: Some(document_subtype.to_owned()), ..self }
    }

    /// The document's domain.
    #[must_use]
    pub fn domain(self, domain: &str) -> Self {
        Self { domain: Some(domain.to_owned()), ..self }
    }

    /// The announced revision.
    #[must_use]
    pub fn revision(self, revision: &str) -> Self {
        Self { revision: Some(revision.to_owned()), ..self }
    }

    /// The form that changed a case.
    #[must_use]
    pub fn associated_id(self, associated_id: &str) -> Self {
        Self { associated_id: Some(associated_id.to_owned()), ..self }
    }

    /// Says that the change is a deletion, whatever its store has.
    #[must_use]
    pub fn marked_deleted(self) -> Self {
        Self { deleted: true, ..self }
    }

    /// Failed attempts so far.
    #[must_use]
    pub fn attempts(self, attempts: u32) -> Self {
        Self { attempts, ..self }
    }

    /// When it was published, in milliseconds since the Unix epoch.
    #[must_use]
    pub fn published_ms(self, published_ms: f64) -> Self {
        Self { published_ms: Some(published_ms), ..self }
    }

    /// The answer to a look-up that was asked for before.
    #[must_use]
    pub fn found(mut self, lookup: &str, key: &str, documents: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let documents = documents.into_iter().collect();
        self.found.push(raw::Found { lookup: lookup.to_owned(), key: key.to_owned(), documents });
        self
    }

    fn into_raw(self, symbols: &mut Vec<String>) -> raw::Change {
        let mut intern = |text: String| {
            let at = symbols.iter().position(|symbol| *symbol == text).unwrap_or_else(|| {
                symbols.push(text);
                symbols.len() - 1
            });
            u32::try_from(at).expect("fixtures are few")
        };
        raw::Change {
            source: intern(self.source),
            document_type: self.document_type.map(&mut intern),
            document_subtype: self.document_subtype.map(&mut intern),
            domain: self.domain.map(&mut intern),
            id: self.id,
            revision: self.revision,
            associated_id: self.associated_id,
            deleted: self.deleted,
            attempts: self.attempts,
            published_ms: self.published_ms,
            document: match self.document {
                Document::Present(bytes) => raw::Document::Present(bytes),
                Document::Deleted => raw::Document::Deleted,
                Document::Missing => raw::Document::Missing,
                Document::Stale => raw::Document::Stale,
            },
            found: self.found,
        }
    }
}

/// Keeps a line that the processor logs.
pub(crate) fn record(level: Level, change: Option<u32>, message: &str) {
    LINES.with_borrow_mut(|lines| lines.push(Line { level, change, message: message.to_owned() }));
}

/// Answers a look-up from within a call.
pub(crate) fn answer(lookup: &str, keys: &[&str]) -> Vec<Vec<Vec<u8>>> {
    ANSWERS.with_borrow(|answers| {
        let find = |key: &&str| answers.get(&(lookup.to_owned(), (*key).to_owned())).cloned().unwrap_or_default();
        keys.iter().map(find).collect()
    })
}

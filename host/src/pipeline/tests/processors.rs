//! Processors for the tests, and gates that hold their threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use bytes::Bytes;

use super::bench::PATIENCE;
use crate::model::{
    Description, Document, FailureKind, Index, IndexWrite, Item, Outcome, PartFailure, RetryHelps, Write,
};
use crate::processor::native::NativeProcessor;
use crate::processor::{Fault, FaultKind};

/// Holds threads until it is opened, and counts those that came. Clones are the same gate.
#[derive(Clone, Default)]
pub(super) struct Gate {
    inner: Arc<(Mutex<bool>, Condvar)>,
    came: Counter,
}

impl Gate {
    pub(super) fn open(&self) {
        *self.inner.0.lock().unwrap() = true;
        self.inner.1.notify_all();
    }

    pub(super) fn came(&self) -> usize {
        self.came.get()
    }

    pub(super) fn pass(&self) {
        self.came.add();
        let opened = self.inner.1.wait_timeout_while(self.inner.0.lock().unwrap(), PATIENCE, |open| !*open).unwrap();
        assert!(!opened.1.timed_out(), "the gate was not opened");
    }
}

/// What processors saw, in order. Clones are the same journal.
#[derive(Clone, Default)]
pub(super) struct Journal {
    lines: Arc<Mutex<Vec<String>>>,
}

impl Journal {
    pub(super) fn note(&self, line: impl Into<String>) {
        self.lines.lock().unwrap().push(line.into());
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

/// How often something happened. Clones count together.
#[derive(Clone, Default)]
pub(super) struct Counter {
    count: Arc<AtomicUsize>,
}

impl Counter {
    pub(super) fn add(&self) -> usize {
        self.count.fetch_add(1, Ordering::SeqCst) + 1
    }

    pub(super) fn remove(&self) {
        self.count.fetch_sub(1, Ordering::SeqCst);
    }

    pub(super) fn get(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }
}

/// One index, called `i`, whose part is `search`.
pub(super) fn description() -> Description {
    let index = Index {
        name: "i".to_owned(),
        part: Some("search".to_owned()),
        mapping: Bytes::from_static(b"{}"),
        owned_fields: Vec::new(),
    };
    Description { indices: vec![index], lookups: vec!["l".to_owned()], ..Description::default() }
}

pub(super) fn id(item: &Item) -> &str {
    &item.change.key.id
}

/// Indexes the document as it is, under its id.
pub(super) fn index(item: &Item) -> Outcome {
    let (index, id) = (Arc::from("i"), Arc::clone(&item.change.key.id));
    let write = match &item.document {
        Document::Present(document) => Write::Index(IndexWrite { index, id, document: document.clone() }),
        Document::Deleted => Write::Delete { index, id },
        Document::Missing | Document::Stale => return failed("there is no document"),
    };
    Outcome::Done { writes: vec![write], failures: Vec::new() }
}

/// Indexes an object of this number.
pub(super) fn index_number(item: &Item, number: u64) -> Outcome {
    let (index, id) = (Arc::from("i"), Arc::clone(&item.change.key.id));
    let document = Bytes::from(format!(r#"{{"n":{number}}}"#));
    Outcome::Done { writes: vec![Write::Index(IndexWrite { index, id, document })], failures: Vec::new() }
}

pub(super) fn failure(message: &str) -> PartFailure {
    PartFailure { part: None, kind: FailureKind::Guest, message: message.to_owned(), retry: RetryHelps::No }
}

pub(super) fn failed(message: &str) -> Outcome {
    Outcome::Failed(failure(message))
}

pub(super) fn trap(message: &str) -> Fault {
    let last_log = Some(format!("about to {message}"));
    Fault { kind: FaultKind::Trap, message: message.to_owned(), last_log }
}

/// Indexes every document.
pub(super) fn indexer() -> NativeProcessor {
    NativeProcessor::each(description(), |item| Ok(index(item)))
}

/// Indexes every document, after `before` let it go on.
pub(super) fn indexer_after(before: impl Fn(&Item) + Send + Sync + 'static) -> NativeProcessor {
    NativeProcessor::each(description(), move |item| {
        before(item);
        Ok(index(item))
    })
}

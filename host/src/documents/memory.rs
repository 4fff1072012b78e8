//! A document store in memory, with injected outages and delays, for tests of what fetches documents.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{Change, Document, DocumentKey, Outage, is_stale};

use super::{DocumentStore, ListError, Listed, ListedDocument};

/// A store in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemoryDocuments {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    documents: BTreeMap<(Arc<str>, Arc<str>), Stored>,
    outages: usize,
    delay: Duration,
    fetches: Vec<Vec<DocumentKey>>,
}

#[derive(Debug)]
enum Stored {
    Present { revision: Option<String>, bytes: Bytes },
    Deleted,
}

impl MemoryDocuments {
    /// Stores a document, in place of the one before.
    pub fn put(&self, key: DocumentKey, bytes: impl Into<Bytes>) {
        self.lock().documents.insert(parts(key), Stored::Present { revision: None, bytes: bytes.into() });
    }

    /// Stores a document with its revision.
    pub fn put_revision(&self, key: DocumentKey, revision: &str, bytes: impl Into<Bytes>) {
        let stored = Stored::Present { revision: Some(revision.to_owned()), bytes: bytes.into() };
        self.lock().documents.insert(parts(key), stored);
    }

    /// Deletes a document; the store remembers that it was there.
    pub fn delete(&self, key: DocumentKey) {
        self.lock().documents.insert(parts(key), Stored::Deleted);
    }

    /// Forgets a document.
    pub fn forget(&self, key: &DocumentKey) {
        self.lock().documents.remove(&parts(key.clone()));
    }

    /// Has the next `count` fetches end in an outage; 0 ends the outage at once.
    pub fn fail(&self, count: usize) {
        self.lock().outages = count;
    }

    /// Has every fetch from now on take so long, in tokio's time.
    pub fn delay(&self, delay: Duration) {
        self.lock().delay = delay;
    }

    /// What each fetch so far asked for, failed ones included.
    pub fn fetches(&self) -> Vec<Vec<DocumentKey>> {
        self.lock().fetches.clone()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl DocumentStore for MemoryDocuments {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let delay = self.lock().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut state = self.lock();
        state.fetches.push(changes.iter().map(|change| change.key.clone()).collect());
        if state.outages > 0 {
            state.outages -= 1;
            return Err(Outage { operation: "the document store in memory was told to fail".to_owned(), source: None });
        }
        Ok(changes.iter().map(|change| state.find(change)).collect())
    }

    async fn list(&self, after: Option<&str>, most: NonZeroUsize) -> Result<Listed, ListError> {
        let after: Option<(Arc<str>, Arc<str>)> = after
            .map(|after| after.split_once('\0').ok_or_else(|| ListError::Unable(format!("no place is called {after}"))))
            .transpose()?
            .map(|(source, id)| (Arc::from(source), Arc::from(id)));
        let state = self.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let present = state.documents.range((from, Bound::Unbounded));
        let present = present.filter(|(_, stored)| matches!(stored, Stored::Present { .. })).take(most.get());
        let mut listed = Listed::default();
        for ((source, id), _) in present {
            listed.next = Some(Arc::from(format!("{source}\0{id}")));
            listed.documents.push(ListedDocument { source: Some(Arc::clone(source)), id: Arc::clone(id) });
        }
        Ok(listed)
    }

    async fn count(&self) -> Result<u64, ListError> {
        let state = self.lock();
        Ok(state.documents.values().filter(|stored| matches!(stored, Stored::Present { .. })).count() as u64)
    }
}

/// A key that can be ordered.
fn parts(key: DocumentKey) -> (Arc<str>, Arc<str>) {
    (key.source, key.id)
}

impl State {
    fn find(&self, change: &Change) -> Document {
        match self.documents.get(&parts(change.key.clone())) {
            Some(Stored::Present { revision, .. }) if is_stale(change.revision.as_deref(), revision.as_deref()) => {
                Document::Stale
            }
            Some(Stored::Present { bytes, .. }) => Document::Present(bytes.clone()),
            Some(Stored::Deleted) => Document::Deleted,
            None if change.deleted => Document::Deleted,
            None => Document::Missing,
        }
    }
}

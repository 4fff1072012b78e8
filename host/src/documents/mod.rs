//! Document stores: where the documents behind the changes are.
//!
//! One bulk fetch per batch and store. Present, deleted, missing and stale are answers; that a store cannot answer is
//! an outage, and the batch waits. A store that can also says which documents it holds, page by page, for a backfill.
//!
//! Every store answers look-ups too, by key; those made for nothing else may find several documents for one key.

pub mod by_type;
pub mod couch;
pub mod couch_view;
pub mod http;
pub mod http_lookup;
pub mod inline;
pub mod memory;
pub mod sql;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{Change, Document, DocumentKey, Outage, Position};

/// Ids in one query or request; more of them are asked for in several. Bounds how long one statement holds its snapshot.
const CHUNK: usize = 500;

/// A page of what a store holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listed {
    /// The documents, each once over all pages; none after the last.
    pub documents: Vec<ListedDocument>,
    /// Where the next page begins: a text of the store's own, which may be kept and given to it later.
    pub next: Option<Arc<str>>,
}

/// A document that a store holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedDocument {
    /// The name of its source, where the store knows it.
    pub source: Option<Arc<str>>,
    /// Its id.
    pub id: Arc<str>,
}

/// What changed in a store after a mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// The documents as they are now, in the order of their changes; none of one that is gone.
    pub documents: Vec<(Arc<str>, Option<Bytes>)>,
    /// Marks the place behind them.
    pub mark: Arc<str>,
    /// Whether there are more.
    pub more: bool,
}

/// Why a store does not say what it holds.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It never will; what would have to be different.
    #[error("{0}")]
    Unable(String),
    /// It cannot answer now.
    #[error("could not list the documents")]
    Outage(#[source] Outage),
}

/// What was found for the keys of a look-up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LookedUp {
    /// The documents of each key, in the order of the keys; those of one key in the store's order.
    pub documents: Vec<Vec<Bytes>>,
    /// How often a server or database was asked for it.
    pub queries: u64,
}

/// Fetches documents.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// The documents of `changes`, in their order. A change may stand for a key without message (a look-up).
    ///
    /// # Errors
    /// When the store cannot answer now; nothing is known about any of the documents then.
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage>;

    /// What is found under `keys`, each of which is given once, for the look-up of this name. Unless a store says
    /// otherwise, a key is the id of a document.
    ///
    /// # Errors
    /// When the store cannot answer now; nothing is known about any of the keys then.
    async fn look_up(&self, lookup: &Arc<str>, keys: &[Arc<str>]) -> Result<LookedUp, Outage> {
        let stub = |id: &Arc<str>| {
            let key = DocumentKey { source: Arc::clone(lookup), id: Arc::clone(id) };
            Arc::new(Change::of(key, Position::number(0)))
        };
        let stubs: Vec<Arc<Change>> = keys.iter().map(stub).collect();
        let found = |document| match document {
            Document::Present(bytes) => vec![bytes],
            Document::Deleted | Document::Missing | Document::Stale => Vec::new(),
        };
        let documents = self.fetch(&stubs).await?.into_iter().map(found).collect();
        Ok(LookedUp { documents, queries: self.requests(keys.len()) })
    }

    /// How often [`DocumentStore::fetch`] asks a server or database for so many documents.
    fn requests(&self, count: usize) -> u64 {
        count.div_ceil(CHUNK) as u64
    }

    /// What it holds after `after`, in an order that does not change, at most `most`. What is stored or removed while
    /// the pages are read may be among them or not: its change is in the feed.
    ///
    /// # Errors
    /// When the store cannot list its documents, or cannot answer now.
    async fn list(&self, after: Option<&str>, most: NonZeroUsize) -> Result<Listed, ListError> {
        let _ = (after, most);
        Err(ListError::Unable("this kind of document store cannot list what it holds".to_owned()))
    }

    /// About how many documents [`DocumentStore::list`] lists in all.
    ///
    /// # Errors
    /// As there.
    async fn count(&self) -> Result<u64, ListError> {
        Err(ListError::Unable("this kind of document store cannot list what it holds".to_owned()))
    }

    /// A mark of the present: what is stored later is among what [`DocumentStore::changed`] tells after it. None where
    /// the store cannot tell what changes in it.
    ///
    /// # Errors
    /// As for [`DocumentStore::list`].
    async fn mark(&self) -> Result<Option<Arc<str>>, ListError> {
        Ok(None)
    }

    /// What changed after a mark, at most about `most`.
    ///
    /// # Errors
    /// When the store cannot tell, or cannot answer now.
    async fn changed(&self, mark: &str, most: NonZeroUsize) -> Result<Changed, ListError> {
        let _ = (mark, most);
        Err(ListError::Unable("this kind of document store cannot tell what changes in it".to_owned()))
    }

    /// Whether a document is as old as its change, because it travels in it. What comes of it is then ordered by the
    /// change's place in the log, not by when it was fetched.
    fn versions_by_position(&self) -> bool {
        false
    }
}

/// A server that answers look-ups only, with a request for many keys.
#[async_trait]
trait ByKeys: Send + Sync {
    /// The documents of each key that has any.
    ///
    /// # Errors
    /// When the server cannot answer now.
    async fn ask(&self, lookup: &str, keys: &[&str]) -> Result<HashMap<String, Vec<Bytes>>, Outage>;
}

#[async_trait]
impl<T: ByKeys> DocumentStore for T {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        first_of_each(self, changes).await
    }

    async fn look_up(&self, lookup: &Arc<str>, keys: &[Arc<str>]) -> Result<LookedUp, Outage> {
        let mut looked_up = LookedUp::default();
        for chunk in keys.chunks(CHUNK) {
            let chunk: Vec<&str> = chunk.iter().map(AsRef::as_ref).collect();
            let found = self.ask(lookup, &chunk).await?;
            looked_up.queries += 1;
            looked_up.documents.extend(chunk.iter().map(|key| found.get(*key).cloned().unwrap_or_default()));
        }
        Ok(looked_up)
    }
}

/// What a store that only answers look-ups gives for changes: the first document of each id.
async fn first_of_each(store: &dyn DocumentStore, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
    let Some(first) = changes.first() else { return Ok(Vec::new()) };
    let keys: Vec<Arc<str>> = changes.iter().map(|change| Arc::clone(&change.key.id)).collect();
    let found = store.look_up(&first.key.source, &keys).await?;
    let document = |mut documents: Vec<Bytes>| match documents.is_empty() {
        true => Document::Missing,
        false => Document::Present(documents.swap_remove(0)),
    };
    Ok(found.documents.into_iter().map(document).collect())
}

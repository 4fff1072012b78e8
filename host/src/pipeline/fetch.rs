//! Gets the documents of a batch: one bulk fetch per store.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::try_join_all;

use crate::documents::DocumentStore;
use crate::model::{Change, Document, Outage};

/// Where a pillow's documents are.
#[derive(Clone)]
pub struct Fetcher {
    /// The store for every source that has none of its own.
    pub default: Arc<dyn DocumentStore>,
    /// Stores by the source that a change names.
    pub by_source: HashMap<Arc<str>, Arc<dyn DocumentStore>>,
}

impl Fetcher {
    /// The documents of `changes`, in their order.
    ///
    /// # Errors
    /// When a store cannot answer now.
    pub async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        if changes.is_empty() {
            return Ok(Vec::new());
        }
        if self.by_source.is_empty() {
            return ask(&*self.default, changes).await;
        }
        // The groups, by the store's address: several sources may share one store.
        let mut groups: Vec<(&Arc<dyn DocumentStore>, Vec<usize>)> = Vec::new();
        for (at, change) in changes.iter().enumerate() {
            let store = self.store(change);
            match groups.iter_mut().find(|(known, _)| Arc::ptr_eq(known, store)) {
                Some((_, places)) => places.push(at),
                None => groups.push((store, vec![at])),
            }
        }
        let fetches = groups.into_iter().map(|(store, places)| async move {
            let wanted: Vec<Arc<Change>> = places.iter().map(|at| Arc::clone(&changes[*at])).collect();
            let found = ask(&**store, &wanted).await?;
            Ok::<_, Outage>(places.into_iter().zip(found))
        });
        let mut documents = vec![Document::Missing; changes.len()];
        for (at, document) in try_join_all(fetches).await?.into_iter().flatten() {
            documents[at] = document;
        }
        Ok(documents)
    }

    /// Whether the document of `change` travels in it, so that its writes are ordered by its place in the log.
    pub(super) fn versions_by_position(&self, change: &Change) -> bool {
        self.store(change).versions_by_position()
    }

    /// Whether the documents of any change may travel in it.
    pub(super) fn has_versions_by_position(&self) -> bool {
        self.default.versions_by_position() || self.by_source.values().any(|store| store.versions_by_position())
    }

    fn store(&self, change: &Change) -> &Arc<dyn DocumentStore> {
        self.by_source.get(&change.key.source).unwrap_or(&self.default)
    }
}

/// One fetch. An answer that does not fit the question is held like an outage: whoever took it would lose changes.
async fn ask(store: &dyn DocumentStore, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
    let found = store.fetch(changes).await?;
    if found.len() == changes.len() {
        return Ok(found);
    }
    let (asked, found) = (changes.len(), found.len());
    Err(Outage { operation: format!("a document store gave {found} documents for {asked} changes"), source: None })
}

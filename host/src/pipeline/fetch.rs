//! Gets the documents of a batch: one bulk fetch per store, and the answers to look-ups.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::documents::DocumentStore;
use crate::model::{Change, Document, DocumentKey, Outage, Position, Want, chain};
use crate::processor::Lookups;

/// How long a look-up made from within a call may take; the processor's thread is blocked meanwhile.
const LOOKUP_LIMIT: Duration = Duration::from_secs(10);

/// Where a pillow's documents are.
#[derive(Clone)]
pub struct Fetcher {
    /// The store for every source that has none of its own.
    pub default: Arc<dyn DocumentStore>,
    /// Stores by the source that a change names.
    pub by_source: HashMap<Arc<str>, Arc<dyn DocumentStore>>,
}

/// The look-ups granted to a processor, by the name that it uses.
pub struct LookupStores {
    stores: HashMap<Arc<str>, Arc<dyn DocumentStore>>,
    runtime: Handle,
}

/// The look-ups of one instance: what it meets in a call is not mixed up with what another thread meets.
pub struct InstanceLookups {
    stores: Arc<LookupStores>,
    /// The outage that a look-up from within a call ran into. Whatever the call answers, it was not the processor's.
    outage: Mutex<Option<Outage>>,
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

impl LookupStores {
    /// Look-ups that are answered by these stores. Must be made within a tokio runtime.
    pub fn new(stores: HashMap<Arc<str>, Arc<dyn DocumentStore>>) -> Self {
        Self { stores, runtime: Handle::current() }
    }

    /// The same look-ups for one instance.
    pub fn for_instance(self: &Arc<Self>) -> Arc<InstanceLookups> {
        Arc::new(InstanceLookups { stores: Arc::clone(self), outage: Mutex::new(None) })
    }

    /// What was found for each want, in order; one fetch per look-up, each key once.
    ///
    /// # Errors
    /// When a store cannot answer now. A look-up that is not granted finds nothing: the engine has checked before
    /// that every want names a declared one.
    pub async fn find(&self, wants: &[Want]) -> Result<Vec<Vec<Bytes>>, Outage> {
        let mut by_lookup: HashMap<&Arc<str>, Vec<&Want>> = HashMap::new();
        for want in wants {
            by_lookup.entry(&want.lookup).or_default().push(want);
        }
        let mut found: HashMap<&Want, Vec<Bytes>> = HashMap::new();
        for (lookup, mut wanted) in by_lookup {
            wanted.sort_by(|one, other| one.key.cmp(&other.key));
            wanted.dedup();
            let Some(store) = self.stores.get(lookup) else { continue };
            let stubs: Vec<Arc<Change>> = wanted.iter().map(|want| Arc::new(stub(want))).collect();
            for (want, document) in wanted.into_iter().zip(ask(&**store, &stubs).await?) {
                if let Document::Present(bytes) = document {
                    found.insert(want, vec![bytes]);
                }
            }
        }
        Ok(wants.iter().map(|want| found.get(want).cloned().unwrap_or_default()).collect())
    }
}

impl InstanceLookups {
    /// The outage since this was last asked, if any.
    pub(super) fn take_outage(&self) -> Option<Outage> {
        self.outage.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Lookups for InstanceLookups {
    fn fetch(&self, wants: &[Want]) -> Result<Vec<Vec<Bytes>>, String> {
        let LookupStores { stores, runtime } = &*self.stores;
        if let Some(want) = wants.iter().find(|want| !stores.contains_key(&want.lookup)) {
            return Err(format!("look-up `{}` is not granted", want.lookup));
        }
        let outage = match runtime.block_on(async { timeout(LOOKUP_LIMIT, self.stores.find(wants)).await }) {
            Ok(Ok(found)) => return Ok(found),
            Ok(Err(outage)) => outage,
            Err(_) => Outage { operation: format!("a look-up took longer than {LOOKUP_LIMIT:?}"), source: None },
        };
        let reason = chain(&outage);
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = Some(outage);
        Err(reason)
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

/// A look-up asks a document store for an id, as a change would.
fn stub(want: &Want) -> Change {
    Change::of(DocumentKey { source: Arc::clone(&want.lookup), id: Arc::clone(&want.key) }, Position::number(0))
}

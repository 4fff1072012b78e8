//! Answers look-ups: one query per look-up for the whole batch, each key once, whoever asks for it again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::documents::DocumentStore;
use crate::metrics::CallMetrics;
use crate::model::{Outage, Want, chain};
use crate::processor::Lookups;

/// How long a look-up made from within a call may take; the processor's thread is blocked meanwhile.
const LIMIT: Duration = Duration::from_secs(10);

/// The look-ups granted to a processor, by the name that it uses.
pub struct LookupStores {
    stores: HashMap<Arc<str>, Arc<dyn DocumentStore>>,
    runtime: Handle,
}

/// The look-ups of one instance: what it meets in a call is not mixed up with what another thread meets.
pub struct InstanceLookups {
    stores: Arc<LookupStores>,
    counts: CallMetrics,
    /// The outage that a look-up from within a call ran into. Whatever the call answers, it was not the processor's.
    outage: Mutex<Option<Outage>>,
}

/// What was found for a batch so far. Two rounds, two data sources and two processors that ask one store for the same key
/// see the same answer, and cost one query.
#[derive(Debug, Default)]
pub struct Memo {
    /// By the store's address, which stays what it is as long as the batch's generation is there.
    found: HashMap<usize, HashMap<Arc<str>, Vec<Bytes>>>,
}

impl LookupStores {
    /// Look-ups that are answered by these stores. Must be made within a tokio runtime.
    pub fn new(stores: HashMap<Arc<str>, Arc<dyn DocumentStore>>) -> Self {
        Self { stores, runtime: Handle::current() }
    }

    /// The same look-ups for one instance.
    pub fn for_instance(self: &Arc<Self>) -> Arc<InstanceLookups> {
        self.counted(CallMetrics::default())
    }

    /// The same for one instance whose look-ups are counted there.
    pub(super) fn counted(self: &Arc<Self>, counts: CallMetrics) -> Arc<InstanceLookups> {
        Arc::new(InstanceLookups { stores: Arc::clone(self), counts, outage: Mutex::new(None) })
    }

    /// What was found for each want, in order: one query per look-up, for the keys that `memo` does not know yet.
    ///
    /// # Errors
    /// When a store cannot answer now. A look-up that is not granted finds nothing: the engine has checked before
    /// that every want names a declared one.
    pub async fn find(&self, wants: &[Want], memo: &mut Memo, counts: &CallMetrics) -> Result<Vec<Vec<Bytes>>, Outage> {
        // In the order of their names, so that what is asked does not depend on chance.
        let mut unknown: BTreeMap<&Arc<str>, BTreeSet<&Arc<str>>> = BTreeMap::new();
        for want in wants {
            if let Some(store) = self.stores.get(&want.lookup)
                && !memo.knows(store, &want.key)
            {
                unknown.entry(&want.lookup).or_default().insert(&want.key);
            }
        }
        let asked = unknown.into_iter().filter_map(|(lookup, keys)| {
            let store = self.stores.get(lookup)?;
            let keys: Vec<Arc<str>> = keys.into_iter().cloned().collect();
            Some(async move {
                let looked_up = store.look_up(lookup, &keys).await?;
                if looked_up.documents.len() == keys.len() {
                    return Ok((store, keys, looked_up));
                }
                // Held like an outage: whoever took it would take one document for another.
                let (keys, found) = (keys.len(), looked_up.documents.len());
                let operation = format!("look-up {lookup} gave {found} answers to {keys} keys");
                Err(Outage { operation, source: None })
            })
        });
        for (store, keys, looked_up) in try_join_all(asked).await? {
            counts.lookup_queries.inc_by(looked_up.queries);
            counts.lookup_keys.inc_by(keys.len() as u64);
            let known = memo.found.entry(address(store)).or_default();
            known.extend(keys.into_iter().zip(looked_up.documents));
        }
        let found = |want: &Want| {
            let known = memo.found.get(&address(self.stores.get(&want.lookup)?))?;
            known.get(&want.key).cloned()
        };
        Ok(wants.iter().map(|want| found(want).unwrap_or_default()).collect())
    }
}

impl Memo {
    fn knows(&self, store: &Arc<dyn DocumentStore>, key: &str) -> bool {
        self.found.get(&address(store)).is_some_and(|known| known.contains_key(key))
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
        let mut memo = Memo::default();
        let outage =
            match runtime.block_on(async { timeout(LIMIT, self.stores.find(wants, &mut memo, &self.counts)).await }) {
                Ok(Ok(found)) => return Ok(found),
                Ok(Err(outage)) => outage,
                Err(_) => Outage { operation: format!("a look-up took longer than {LIMIT:?}"), source: None },
            };
        let reason = chain(&outage);
        *self.outage.lock().unwrap_or_else(PoisonError::into_inner) = Some(outage);
        Err(reason)
    }
}

fn address(store: &Arc<dyn DocumentStore>) -> usize {
    Arc::as_ptr(store).cast::<()>() as usize
}

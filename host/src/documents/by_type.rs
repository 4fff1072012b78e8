//! Documents of several stores under keys `TYPE/ID`, by their type: what an expression names that says of which type the
//! related document is.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::try_join_all;

use super::{DocumentStore, LookedUp, first_of_each};
use crate::model::{Change, Document, Outage};

/// One store for each type.
pub struct ByType {
    types: BTreeMap<Arc<str>, Arc<dyn DocumentStore>>,
    /// For every other type; none: there are no documents of other types.
    other: Option<Arc<dyn DocumentStore>>,
}

impl ByType {
    /// These stores, and `other` for types that are not among them.
    pub fn new(types: BTreeMap<Arc<str>, Arc<dyn DocumentStore>>, other: Option<Arc<dyn DocumentStore>>) -> Self {
        Self { types, other }
    }
}

#[async_trait]
impl DocumentStore for ByType {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        first_of_each(self, changes).await
    }

    /// One query for each store, also where it has several of the types.
    async fn look_up(&self, lookup: &Arc<str>, keys: &[Arc<str>]) -> Result<LookedUp, Outage> {
        let mut groups: Vec<(&Arc<dyn DocumentStore>, Vec<Arc<str>>, Vec<usize>)> = Vec::new();
        for (at, key) in keys.iter().enumerate() {
            let Some((kind, id)) = key.split_once('/') else { continue };
            let Some(store) = self.types.get(kind).or(self.other.as_ref()) else { continue };
            let group = match groups.iter().position(|(known, ..)| Arc::ptr_eq(known, store)) {
                Some(known) => known,
                None => {
                    groups.push((store, Vec::new(), Vec::new()));
                    groups.len() - 1
                }
            };
            groups[group].1.push(Arc::from(id));
            groups[group].2.push(at);
        }
        let asked = groups.into_iter().map(|(store, ids, places)| async move {
            // Two types may share a store: an id is asked for once all the same.
            let mut unique = ids.clone();
            unique.sort();
            unique.dedup();
            let found = store.look_up(lookup, &unique).await?;
            let of = |id: &Arc<str>| unique.binary_search(id).ok().and_then(|at| found.documents.get(at)).cloned();
            let documents: Vec<_> = ids.iter().map(|id| of(id).unwrap_or_default()).collect();
            Ok::<_, Outage>((places, documents, found.queries))
        });
        let mut looked_up = LookedUp { documents: vec![Vec::new(); keys.len()], queries: 0 };
        for (places, documents, queries) in try_join_all(asked).await? {
            looked_up.queries += queries;
            for (at, documents) in places.into_iter().zip(documents) {
                looked_up.documents[at] = documents;
            }
        }
        Ok(looked_up)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::documents::memory::MemoryDocuments;
    use crate::model::DocumentKey;

    #[tokio::test]
    async fn each_type_has_its_store_and_each_store_is_asked_once() {
        let (cases, forms) = (MemoryDocuments::default(), MemoryDocuments::default());
        let key = |id: &str| DocumentKey::new("documents", id);
        cases.put(key("a"), "case a");
        cases.put(key("l"), "location l");
        forms.put(key("a"), "form a");
        let (cases, forms): (Arc<dyn DocumentStore>, Arc<dyn DocumentStore>) = (Arc::new(cases), Arc::new(forms));
        let types = [("Case", &cases), ("Location", &cases), ("Form", &forms)];
        let types = types.into_iter().map(|(kind, store)| (Arc::from(kind), Arc::clone(store))).collect();
        let store = ByType::new(types, None);
        let keys: Vec<Arc<str>> =
            ["Case/a", "Form/a", "Location/l", "Form/b", "User/a", "a", "Location/a"].map(Arc::from).to_vec();
        let found = store.look_up(&"documents".into(), &keys).await.unwrap();
        let texts: Vec<Vec<&[u8]>> =
            found.documents.iter().map(|documents| documents.iter().map(Bytes::as_ref).collect()).collect();
        let none = Vec::new;
        let expected: [Vec<&[u8]>; 7] =
            [vec![b"case a"], vec![b"form a"], vec![b"location l"], none(), none(), none(), vec![b"case a"]];
        assert_eq!((texts.as_slice(), found.queries), (&expected[..], 2));
    }
}

//! A document as a processor finds it, and when a store's answer is older than the change.

use std::sync::Arc;

use bytes::Bytes;

use super::Change;

/// What the store said about a document. That the store could not answer is an [`super::Outage`], never one of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Document {
    /// Its bytes.
    Present(Bytes),
    /// The store knows that it was deleted.
    Deleted,
    /// The store has never heard of it.
    Missing,
    /// The store has an older revision than the change announces.
    Stale,
}

/// The answer to one key of one look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The look-up, by the name that the processor uses.
    pub lookup: Arc<str>,
    /// The key that was asked for.
    pub key: Arc<str>,
    /// What was found, in the order of the store.
    pub documents: Vec<Bytes>,
}

/// A change with its document: what a processor is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// The change.
    pub change: Arc<Change>,
    /// The document; fetched once, whatever the number of processors.
    pub document: Document,
    /// Answers to the look-ups that a processor asked for in its first answer.
    pub found: Vec<Found>,
}

/// Whether a document of revision `stored` is older than the `announced` one. Equal is not, and a newer document than
/// the change is fine. Revisions are `<generation>-<hash>`, as CouchDB writes them; an announced revision that differs
/// and cannot be read counts as newer, because nothing proves the opposite.
pub fn is_stale(announced: Option<&str>, stored: Option<&str>) -> bool {
    let (Some(announced), Some(stored)) = (announced, stored) else {
        return false;
    };
    if announced == stored {
        return false;
    }
    match (generation(announced), generation(stored)) {
        (Some(announced), Some(stored)) => stored < announced,
        _ => true,
    }
}

fn generation(revision: &str) -> Option<u64> {
    revision.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_is_stale_when_its_generation_is_lower() {
        // Acceptance case 33: the stored document is `3-me`.
        for (announced, stale) in [("mismatched", true), ("4-me", true), ("3-me", false), ("2-me", false)] {
            assert_eq!(is_stale(Some(announced), Some("3-me")), stale, "{announced}");
        }
        assert!(!is_stale(None, Some("3-me")));
        assert!(!is_stale(Some("3-me"), None));
    }
}

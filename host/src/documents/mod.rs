//! Document stores: where the documents behind the changes are.
//!
//! One bulk fetch per batch and store. Present, deleted, missing and stale are answers; that a store cannot answer is
//! an outage, and the batch waits.

pub mod couch;
pub mod http;
pub mod inline;
pub mod memory;
pub mod sql;

use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Change, Document, Outage};

/// Fetches documents.
#[async_trait]
pub trait DocumentStore: Send + Sync {
    /// The documents of `changes`, in their order. A change may stand for a key without message (a look-up).
    ///
    /// # Errors
    /// When the store cannot answer now; nothing is known about any of the documents then.
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage>;

    /// Whether a document is as old as its change, because it travels in it. What comes of it is then ordered by the
    /// change's place in the log, not by when it was fetched.
    fn versions_by_position(&self) -> bool {
        false
    }
}

//! Documents that travel in the change itself: there is nothing to ask and nothing that can be unavailable.

use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;

use crate::model::{Change, Document, Outage};

use super::{DocumentStore, ListError, Listed};

/// Answers with what the changes carry. A deletion may carry the document's last state; then that is the answer, and
/// the change says that it is deleted.
#[derive(Debug, Clone, Copy, Default)]
pub struct InlineDocuments;

#[async_trait]
impl DocumentStore for InlineDocuments {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let document = |change: &Arc<Change>| match &change.inline {
            Some(bytes) => Document::Present(bytes.clone()),
            None if change.deleted => Document::Deleted,
            None => Document::Missing,
        };
        Ok(changes.iter().map(document).collect())
    }

    async fn list(&self, _after: Option<&str>, _most: NonZeroUsize) -> Result<Listed, ListError> {
        Err(unable())
    }

    async fn count(&self) -> Result<u64, ListError> {
        Err(unable())
    }

    fn versions_by_position(&self) -> bool {
        true
    }
}

fn unable() -> ListError {
    ListError::Unable("documents that travel in their changes are in no store: read the feed again instead".to_owned())
}

//! Documents in CouchDB, many in one request.
//!
//! `_all_docs` tells a document that was deleted from one that never was. The database is the one of the settings, or the
//! one that the change names as its source.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::http::{self, Server};
use crate::model::{Change, Document, Outage, is_stale};

use super::{CHUNK, Changed, DocumentStore, ListError, Listed, ListedDocument};

/// How long the server may be silent while it collects documents.
const SILENCE: Duration = Duration::from_secs(60);

/// A store over one server.
#[derive(Debug)]
pub struct CouchDocuments {
    server: Server,
    database: Option<Arc<str>>,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    key: String,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    value: Option<Value>,
    #[serde(borrow, default)]
    doc: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Ids {
    rows: Vec<Id>,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Info {
    doc_count: u64,
}

#[derive(Deserialize)]
struct Present {
    update_seq: Box<RawValue>,
}

#[derive(Deserialize)]
struct Changes {
    results: Vec<ChangedRow>,
    last_seq: Box<RawValue>,
}

#[derive(Deserialize)]
struct ChangedRow {
    id: String,
    #[serde(default)]
    deleted: bool,
    #[serde(default)]
    doc: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Value {
    rev: String,
    #[serde(default)]
    deleted: bool,
}

/// What the server has under an id.
enum Stored {
    Present { revision: String, document: Bytes },
    Deleted,
}

impl CouchDocuments {
    /// A store over the server at `url`; without a `database`, each change's source names it.
    ///
    /// # Errors
    /// When the address cannot be one of a server.
    pub fn new(url: &str, database: Option<Arc<str>>) -> Result<Self, Outage> {
        Ok(Self { server: Server::new(url, SILENCE)?, database })
    }

    /// The database that can be listed.
    fn listed(&self) -> Result<&Arc<str>, ListError> {
        self.database.as_ref().ok_or_else(|| {
            ListError::Unable("to list its documents, the store needs `database` in the settings".to_owned())
        })
    }

    /// Where a database is, for messages.
    fn place(&self, database: &str) -> String {
        format!("{}/{database}", self.server.place())
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        database: &str,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, Outage> {
        let place = self.place(database);
        let answer = http::ask(self.server.request(Method::GET, path, query), &place).await?;
        http::read(&answer, &place)
    }

    async fn fetch_chunk(&self, database: &str, ids: &[&str]) -> Result<HashMap<String, Stored>, Outage> {
        let place = self.place(database);
        let request = self.server.request(Method::POST, &[database, "_all_docs"], &[("include_docs", "true")]);
        // That there is no such database is an outage too: nothing is known about any document then.
        let answer = http::ask(http::with_json(request, &serde_json::json!({ "keys": ids })), &place).await?;
        let answer: Answer<'_> = http::read(&answer, &place)?;
        let mut found = HashMap::with_capacity(answer.rows.len());
        for row in answer.rows {
            match (row.value, row.doc, row.error.as_deref()) {
                (Some(Value { deleted: true, .. }), ..) => {
                    found.insert(row.key, Stored::Deleted);
                }
                (Some(Value { rev: revision, .. }), Some(document), _) => {
                    let document = Bytes::copy_from_slice(document.get().as_bytes());
                    found.insert(row.key, Stored::Present { revision, document });
                }
                (None, _, Some("not_found")) => {}
                (_, _, error) => {
                    let what = error.unwrap_or("no document");
                    let operation = format!("{place} answers {what} for {}", row.key);
                    return Err(Outage { operation, source: None });
                }
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl DocumentStore for CouchDocuments {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let mut documents: Vec<Option<Document>> = vec![None; changes.len()];
        let mut by_database: HashMap<&str, Vec<usize>> = HashMap::new();
        for (at, change) in changes.iter().enumerate() {
            let database = self.database.as_deref().unwrap_or(&change.key.source);
            by_database.entry(database).or_default().push(at);
        }
        for (database, places) in by_database {
            for chunk in places.chunks(CHUNK) {
                let ids: Vec<&str> = chunk.iter().map(|at| changes[*at].key.id.as_ref()).collect();
                let found = self.fetch_chunk(database, &ids).await?;
                for at in chunk {
                    let change = &changes[*at];
                    documents[*at] = Some(answer(change, found.get(change.key.id.as_ref())));
                }
            }
        }
        Ok(documents.into_iter().map(|document| document.unwrap_or(Document::Missing)).collect())
    }

    async fn list(&self, after: Option<&str>, most: NonZeroUsize) -> Result<Listed, ListError> {
        let database = self.listed()?;
        // The place itself is asked for too, since it may have gone, and left out.
        let limit = (most.get() + 1).to_string();
        let start = after.map(|after| serde_json::Value::from(after).to_string());
        let mut query = vec![("limit", limit.as_str())];
        query.extend(start.as_deref().map(|start| ("startkey", start)));
        let page: Ids = self.ask(database, &[database, "_all_docs"], &query).await.map_err(ListError::Outage)?;
        let is_full = page.rows.len() > most.get();
        let rows = page.rows.into_iter().map(|row| row.id).filter(|id| Some(id.as_str()) != after).take(most.get());
        let ids: Vec<Arc<str>> = rows.map(Arc::from).collect();
        let next = ids.last().filter(|_| is_full).cloned();
        // The designs of views and filters are nobody's documents.
        let ids = ids.into_iter().filter(|id| !id.starts_with("_design/"));
        let documents = ids.map(|id| ListedDocument { source: Some(Arc::clone(database)), id }).collect();
        Ok(Listed { documents, next })
    }

    async fn count(&self) -> Result<u64, ListError> {
        let database = self.listed()?;
        let info: Info = self.ask(database, &[database], &[]).await.map_err(ListError::Outage)?;
        Ok(info.doc_count)
    }

    async fn mark(&self) -> Result<Option<Arc<str>>, ListError> {
        let database = self.listed()?;
        let present: Present = self.ask(database, &[database], &[]).await.map_err(ListError::Outage)?;
        Ok(Some(sequence(&present.update_seq)))
    }

    async fn changed(&self, mark: &str, most: NonZeroUsize) -> Result<Changed, ListError> {
        let database = self.listed()?;
        let limit = most.to_string();
        let query = [("since", mark), ("limit", limit.as_str()), ("include_docs", "true")];
        let page: Changes = self.ask(database, &[database, "_changes"], &query).await.map_err(ListError::Outage)?;
        let more = page.results.len() >= most.get();
        let content = |row: ChangedRow| {
            let document = row.doc.filter(|_| !row.deleted).map(|document| Bytes::from(document.get().to_owned()));
            (Arc::from(row.id), document)
        };
        let rows = page.results.into_iter().filter(|row| !row.id.starts_with("_design/"));
        Ok(Changed { documents: rows.map(content).collect(), mark: sequence(&page.last_seq), more })
    }
}

/// A sequence is a number on old servers and a text on newer ones; either is handed back as it came.
fn sequence(raw: &RawValue) -> Arc<str> {
    match serde_json::from_str::<String>(raw.get()) {
        Ok(text) => Arc::from(text),
        Err(_number) => Arc::from(raw.get()),
    }
}

fn answer(change: &Change, stored: Option<&Stored>) -> Document {
    match stored {
        Some(Stored::Present { revision, .. }) if is_stale(change.revision.as_deref(), Some(revision)) => {
            Document::Stale
        }
        Some(Stored::Present { document, .. }) => Document::Present(document.clone()),
        Some(Stored::Deleted) => Document::Deleted,
        None if change.deleted => Document::Deleted,
        None => Document::Missing,
    }
}

//! CouchDB and an HTTP interface as subjects of the contract of document stores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use bytes::Bytes;
use pillowtop::documents::DocumentStore;
use pillowtop::documents::couch::CouchDocuments;
use pillowtop::documents::http::HttpDocuments;
use pillowtop::model::{Change, Document, Outage};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::couchdb::Couch;
use super::{SOURCE, Subject};

/// CouchDB keeps objects alone, and adds fields of its own: what the cases store stands as a text inside of one.
pub(crate) struct Boxed {
    couch: Couch,
    store: CouchDocuments,
}

pub(crate) async fn couchdb() -> Boxed {
    let couch = Couch::new().await;
    let store = CouchDocuments::new(&couch.server, Some(couch.database.as_str().into())).unwrap();
    Boxed { couch, store }
}

#[async_trait]
impl Subject for Boxed {
    async fn put(&self, id: &str, revision: Option<&str>, document: &str) {
        self.couch.put(id, revision, json!({ "text": document })).await;
    }

    async fn delete(&self, id: &str) {
        self.couch.delete(id).await;
    }

    fn store(&self) -> &dyn DocumentStore {
        self
    }

    /// No id may be empty there; tests/couchdb.rs lists others.
    fn lists(&self) -> bool {
        false
    }
}

#[async_trait]
impl DocumentStore for Boxed {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let unboxed = |document: Document| match document {
            Document::Present(bytes) => {
                let document: Value = serde_json::from_slice(&bytes).unwrap();
                Document::Present(Bytes::from(document["text"].as_str().unwrap().to_owned()))
            }
            other => other,
        };
        Ok(self.store.fetch(changes).await?.into_iter().map(unboxed).collect())
    }
}

type Stored = Arc<Mutex<HashMap<String, Option<(String, Option<String>)>>>>;

/// A small interface that lets nobody in without the word.
pub(crate) struct Interface {
    stored: Stored,
    template: String,
    store: HttpDocuments,
    _server: JoinSet<()>,
}

pub(crate) async fn http() -> Interface {
    let stored = Stored::default();
    let router = Router::new().route("/{source}/documents/{id}", get(answer)).with_state(Arc::clone(&stored));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let template = format!("http://{}/{{source}}/documents/{{id}}", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    let store = HttpDocuments::new(&template, Some("Bearer word".to_owned()), 16).unwrap();
    Interface { stored, template, store, _server: server }
}

async fn answer(
    State(stored): State<Stored>,
    Path((source, id)): Path<(String, String)>,
    headers: HeaderMap,
) -> (StatusCode, HeaderMap, String) {
    let mut answered = HeaderMap::new();
    if headers.get("authorization").is_none_or(|word| word != "Bearer word") {
        return (StatusCode::UNAUTHORIZED, answered, String::new());
    }
    assert_eq!(source, SOURCE);
    match stored.lock().unwrap().get(&id) {
        None => (StatusCode::NOT_FOUND, answered, String::new()),
        Some(None) => (StatusCode::GONE, answered, String::new()),
        Some(Some((document, revision))) => {
            if let Some(revision) = revision {
                answered.insert("etag", format!("\"{revision}\"").parse().unwrap());
            }
            (StatusCode::OK, answered, document.clone())
        }
    }
}

#[async_trait]
impl Subject for Interface {
    async fn put(&self, id: &str, revision: Option<&str>, document: &str) {
        let document = (document.to_owned(), revision.map(str::to_owned));
        self.stored.lock().unwrap().insert(id.to_owned(), Some(document));
    }

    async fn delete(&self, id: &str) {
        self.stored.lock().unwrap().insert(id.to_owned(), None);
    }

    fn store(&self) -> &dyn DocumentStore {
        &self.store
    }

    fn lists(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_server_that_lets_us_not_in_is_an_outage_and_no_answer() {
    let interface = http().await;
    interface.put("a", None, "{}").await;
    let stranger = HttpDocuments::new(&interface.template, None, 1).unwrap();
    let outage = stranger.fetch(&[interface.change("a", "")]).await.unwrap_err();
    assert_eq!(outage.to_string(), "the store answers 401 Unauthorized for document form-sql/a");
}

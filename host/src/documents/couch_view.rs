//! Look-ups in CouchDB: a view asked for many keys in one request.
//!
//! A view's rows may be several for one key, and come in its order. The answer is the document that a row is of, or the
//! value that the view emits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CHUNK, DocumentStore, LookedUp, first_of_each};
use crate::http::Server;
use crate::model::{Change, Document, Outage};

/// How long the server may be silent: it brings the view up to date before it answers.
const SILENCE: Duration = Duration::from_secs(60);

/// A look-up over a view.
#[derive(Debug)]
pub struct CouchView {
    server: Server,
    view: View,
}

/// Which view, and what of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    /// The database.
    pub database: Arc<str>,
    /// The name of the design document, without `_design/`.
    pub design: String,
    /// The view's name in it.
    pub name: String,
    /// Whether the document of each row is the answer, rather than its value.
    pub include_docs: bool,
}

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    rows: Vec<Row<'a>>,
}

#[derive(Deserialize)]
struct Row<'a> {
    key: serde_json::Value,
    #[serde(borrow, default)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    doc: Option<&'a RawValue>,
}

impl CouchView {
    /// A look-up over `view` of the server at `url`.
    ///
    /// # Errors
    /// When the address cannot be one of a server.
    pub fn new(url: &str, view: View) -> Result<Self, Outage> {
        Ok(Self { server: Server::new(url, SILENCE)?, view })
    }

    async fn ask(&self, keys: &[&str]) -> Result<HashMap<String, Vec<Bytes>>, Outage> {
        let View { database, design, name, include_docs } = &self.view;
        let place = format!("view {design}/{name} of {}/{database}", self.server.place());
        let failed = |error: reqwest::Error| Outage::new(format!("{place} does not answer"), error);
        let path = [database.as_ref(), "_design", design, "_view", name];
        let include = if *include_docs { "true" } else { "false" };
        let query = [("reduce", "false"), ("include_docs", include)];
        let body = serde_json::json!({ "keys": keys }).to_string();
        let request = self.server.request(Method::POST, &path, &query).header("content-type", "application/json");
        let answer = request.body(body).send().await.map_err(failed)?;
        let status = answer.status();
        if status != StatusCode::OK {
            return Err(Outage { operation: format!("{place} answers {status}"), source: None });
        }
        let text = answer.bytes().await.map_err(failed)?;
        let answer: Answer<'_> =
            serde_json::from_slice(&text).map_err(|error| Outage::new(format!("could not read {place}"), error))?;
        let mut found: HashMap<String, Vec<Bytes>> = HashMap::with_capacity(keys.len());
        for row in answer.rows {
            let document = if *include_docs { row.doc } else { row.value };
            // A document that was deleted meanwhile is null.
            let document = document.map(RawValue::get).filter(|text| *text != "null");
            if let (Some(document), serde_json::Value::String(key)) = (document, row.key) {
                found.entry(key).or_default().push(Bytes::copy_from_slice(document.as_bytes()));
            }
        }
        Ok(found)
    }
}

#[async_trait]
impl DocumentStore for CouchView {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        first_of_each(self, changes).await
    }

    async fn look_up(&self, _lookup: &Arc<str>, keys: &[Arc<str>]) -> Result<LookedUp, Outage> {
        let mut looked_up = LookedUp::default();
        for chunk in keys.chunks(CHUNK) {
            let chunk: Vec<&str> = chunk.iter().map(AsRef::as_ref).collect();
            let found = self.ask(&chunk).await?;
            looked_up.queries += 1;
            looked_up.documents.extend(chunk.iter().map(|key| found.get(*key).cloned().unwrap_or_default()));
        }
        Ok(looked_up)
    }
}

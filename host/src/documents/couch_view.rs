//! Look-ups in CouchDB: a view asked for many keys in one request.
//!
//! A view's rows may be several for one key, and come in its order. The answer is the document that a row is of, or the
//! value that the view emits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::ByKeys;
use crate::http::{self, Server};
use crate::model::Outage;

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
}

#[async_trait]
impl ByKeys for CouchView {
    async fn ask(&self, _lookup: &str, keys: &[&str]) -> Result<HashMap<String, Vec<Bytes>>, Outage> {
        let View { database, design, name, include_docs } = &self.view;
        let place = format!("view {design}/{name} of {}/{database}", self.server.place());
        let path = [database.as_ref(), "_design", design, "_view", name];
        let include = if *include_docs { "true" } else { "false" };
        let query = [("reduce", "false"), ("include_docs", include)];
        let request = self.server.request(Method::POST, &path, &query);
        let answer = http::ask(http::with_json(request, &serde_json::json!({ "keys": keys })), &place).await?;
        let answer: Answer<'_> = http::read(&answer, &place)?;
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

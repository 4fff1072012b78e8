//! Look-ups behind an HTTP interface: many keys in one request.
//!
//! `POST` with `{"keys": ["a", "b"]}` is answered by an object with a list of documents for each key, `{"a": [{…}, {…}]}`; a
//! key without documents may be left out. Any status but 200 is an outage.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::header::AUTHORIZATION;
use reqwest::{Client, StatusCode};
use serde_json::value::RawValue;

use super::{CHUNK, DocumentStore, LookedUp, first_of_each};
use crate::model::{Change, Document, Outage};

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A look-up behind an address.
#[derive(Debug)]
pub struct HttpLookup {
    client: Client,
    url: String,
    authorization: Option<String>,
}

impl HttpLookup {
    /// A look-up at `url`, asked with the header `Authorization` where it is given.
    ///
    /// # Errors
    /// When HTTP cannot be set up.
    pub fn new(url: &str, authorization: Option<String>) -> Result<Self, Outage> {
        let client = Client::builder().timeout(LIMIT).build();
        let client = client.map_err(|error| Outage::new("could not set up HTTP", error))?;
        Ok(Self { client, url: url.to_owned(), authorization })
    }

    async fn ask(&self, lookup: &str, keys: &[&str]) -> Result<HashMap<String, Vec<Bytes>>, Outage> {
        // The address may hold a secret: messages name the look-up.
        let failed = |error: reqwest::Error| {
            Outage::new(format!("the server of look-up {lookup} does not answer"), error.without_url())
        };
        let body = serde_json::json!({ "keys": keys }).to_string();
        let mut request = self.client.post(&self.url).header("content-type", "application/json").body(body);
        if let Some(authorization) = &self.authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let answer = request.send().await.map_err(failed)?;
        let status = answer.status();
        if status != StatusCode::OK {
            let operation = format!("the server of look-up {lookup} answers {status}");
            return Err(Outage { operation, source: None });
        }
        let text = answer.bytes().await.map_err(failed)?;
        let answer: HashMap<String, Vec<Box<RawValue>>> = serde_json::from_slice(&text)
            .map_err(|error| Outage::new(format!("could not read the answer of look-up {lookup}"), error))?;
        let bytes = |documents: Vec<Box<RawValue>>| {
            documents.iter().map(|document| Bytes::copy_from_slice(document.get().as_bytes())).collect()
        };
        Ok(answer.into_iter().map(|(key, documents)| (key, bytes(documents))).collect())
    }
}

#[async_trait]
impl DocumentStore for HttpLookup {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        first_of_each(self, changes).await
    }

    async fn look_up(&self, lookup: &Arc<str>, keys: &[Arc<str>]) -> Result<LookedUp, Outage> {
        let mut looked_up = LookedUp::default();
        for chunk in keys.chunks(CHUNK) {
            let chunk: Vec<&str> = chunk.iter().map(AsRef::as_ref).collect();
            let found = self.ask(lookup, &chunk).await?;
            looked_up.queries += 1;
            looked_up.documents.extend(chunk.iter().map(|key| found.get(*key).cloned().unwrap_or_default()));
        }
        Ok(looked_up)
    }
}

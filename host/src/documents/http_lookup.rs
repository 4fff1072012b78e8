//! Look-ups behind an HTTP interface: many keys in one request.
//!
//! `POST` with `{"keys": ["a", "b"]}` is answered by an object with a list of documents for each key, `{"a": [{…}, {…}]}`; a
//! key without documents may be left out. Any status but 200 is an outage.

use std::collections::HashMap;

use async_trait::async_trait;
use bytes::Bytes;
use reqwest::Method;
use serde_json::value::RawValue;

use super::ByKeys;
use super::http::Caller;
use crate::http;
use crate::model::Outage;

/// A look-up behind an address.
#[derive(Debug)]
pub struct HttpLookup {
    caller: Caller,
    url: String,
}

impl HttpLookup {
    /// A look-up at `url`, asked with the header `Authorization` where it is given.
    ///
    /// # Errors
    /// When HTTP cannot be set up.
    pub fn new(url: &str, authorization: Option<String>) -> Result<Self, Outage> {
        Ok(Self { caller: Caller::new(authorization)?, url: url.to_owned() })
    }
}

#[async_trait]
impl ByKeys for HttpLookup {
    async fn ask(&self, lookup: &str, keys: &[&str]) -> Result<HashMap<String, Vec<Bytes>>, Outage> {
        let server = format!("the server of look-up {lookup}");
        let request = self.caller.request(Method::POST, &self.url);
        let answer = http::ask(http::with_json(request, &serde_json::json!({ "keys": keys })), &server).await?;
        let answer: HashMap<String, Vec<Box<RawValue>>> = http::read(&answer, &server)?;
        let bytes = |documents: Vec<Box<RawValue>>| {
            documents.iter().map(|document| Bytes::copy_from_slice(document.get().as_bytes())).collect()
        };
        Ok(answer.into_iter().map(|(key, documents)| (key, bytes(documents))).collect())
    }
}

//! Documents behind an HTTP interface, one request for each, several at once.
//!
//! 200 is a document, 404 one that is missing, 410 one that was deleted. Anything else is an outage: rights, limits and
//! broken servers say nothing about a document. The revision, where the server has one, is in `ETag`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, ETAG};
use reqwest::{Client, IntoUrl, Method, RequestBuilder, StatusCode, Url};

use crate::model::{Change, Document, Outage, is_stale};

use super::DocumentStore;

/// Where the id goes, and where the source.
const ID: &str = "{id}";
const SOURCE: &str = "{source}";

/// All but what is never a sign of an address's own (RFC 3986, section 2.3).
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How long an answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A store behind an address.
#[derive(Debug)]
pub struct HttpDocuments {
    caller: Caller,
    template: String,
    at_once: usize,
}

/// Asks interfaces with the header `Authorization`, where one is given.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    authorization: Option<String>,
}

impl Caller {
    /// # Errors
    /// When HTTP cannot be set up.
    pub(super) fn new(authorization: Option<String>) -> Result<Self, Outage> {
        let client = Client::builder().timeout(LIMIT).build();
        let client = client.map_err(|error| Outage::new("could not set up HTTP", error))?;
        Ok(Self { client, authorization })
    }

    pub(super) fn request(&self, method: Method, url: impl IntoUrl) -> RequestBuilder {
        let request = self.client.request(method, url);
        match &self.authorization {
            Some(authorization) => request.header(AUTHORIZATION, authorization),
            None => request,
        }
    }
}

impl HttpDocuments {
    /// A store at `template`, an address with `{id}` and perhaps `{source}` in it, which asks `at_once` documents
    /// at most at a time, with the header `Authorization` where it is given.
    ///
    /// # Errors
    /// When HTTP cannot be set up.
    pub fn new(template: &str, authorization: Option<String>, at_once: usize) -> Result<Self, Outage> {
        Ok(Self { caller: Caller::new(authorization)?, template: template.to_owned(), at_once: at_once.max(1) })
    }

    async fn fetch_one(&self, change: &Change) -> Result<Document, Outage> {
        // As a segment of a path these are a way up, also when they are escaped: no address can ask for them.
        if matches!(change.key.id.as_ref(), "." | "..") {
            return Ok(if change.deleted { Document::Deleted } else { Document::Missing });
        }
        let address = self.template.replace(SOURCE, &escaped(&change.key.source)).replace(ID, &escaped(&change.key.id));
        let url =
            Url::parse(&address).map_err(|error| Outage::new("the address of a document cannot be read", error))?;
        let failed = |error: reqwest::Error| Outage::new(format!("could not fetch document {}", change.key), error);
        let answer = self.caller.request(Method::GET, url).send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND if change.deleted => return Ok(Document::Deleted),
            StatusCode::NOT_FOUND => return Ok(Document::Missing),
            StatusCode::GONE => return Ok(Document::Deleted),
            status => {
                let operation = format!("the store answers {status} for document {}", change.key);
                return Err(Outage { operation, source: None });
            }
        }
        let tag = answer.headers().get(ETAG).and_then(|tag| tag.to_str().ok());
        let revision = tag.map(|tag| tag.trim_start_matches("W/").trim_matches('"').to_owned());
        let document: Bytes = answer.bytes().await.map_err(failed)?;
        let stale = is_stale(change.revision.as_deref(), revision.as_deref());
        Ok(if stale { Document::Stale } else { Document::Present(document) })
    }
}

#[async_trait]
impl DocumentStore for HttpDocuments {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        // Collected first: the compiler cannot follow the lifetimes of a closure in the stream.
        let requests: Vec<_> = changes.iter().map(|change| self.fetch_one(change)).collect();
        stream::iter(requests).buffered(self.at_once).try_collect().await
    }

    fn requests(&self, count: usize) -> u64 {
        count as u64
    }
}

/// Any text as one segment of a path.
fn escaped(text: &str) -> String {
    utf8_percent_encode(text, ESCAPED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stays_one_segment() {
        for (text, expected) in
            [("a-1_b.c~", "a-1_b.c~"), ("a/b?c#d", "a%2Fb%3Fc%23d"), ("ü {id}", "%C3%BC%20%7Bid%7D")]
        {
            assert_eq!(escaped(text), expected);
        }
    }
}

//! One request to the server and its answer: addresses, credentials, compression, time limits.

use std::fmt;
use std::io::Write as _;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use reqwest::header::{AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue};
use reqwest::{Certificate, Client, Method, redirect};
use serde_json::Value;
use std::time::Duration;

use super::settings::{Credentials, Settings};
use crate::model::Outage;

/// Below this size compressing costs more than it saves.
const WORTH_COMPRESSING: usize = 1024;

/// How long a node may take to accept a connection, before the next one is tried.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long an index may take to be made or changed: servers themselves wait for half a minute for that.
const PUT_TIMEOUT: Duration = Duration::from_secs(40);

/// Speaks to the nodes of one server.
pub(super) struct Http {
    client: Client,
    /// Without a slash at the end.
    urls: Vec<String>,
    /// The node that answered last.
    current: AtomicUsize,
    authorization: Option<Authorization>,
    gzip: bool,
    timeout: Duration,
}

/// What of a request says who asks.
enum Authorization {
    Basic { username: String, password: String },
    ApiKey(HeaderValue),
}

/// What a request is made of.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Nothing.
    None,
    /// One JSON value.
    Json(Value),
    /// JSON values, each on its line.
    Lines(Bytes),
}

/// The server's answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) body: Bytes,
}

impl Http {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub(super) fn new(settings: &Settings) -> Result<Self, Outage> {
        // No proxy: a server of documents stands beside its clients. No redirect: it could lead credentials astray.
        let mut client = Client::builder()
            .timeout(settings.timeout)
            .connect_timeout(settings.timeout.min(CONNECT_TIMEOUT))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .tcp_nodelay(true);
        if let Some(file) = &settings.ca_file {
            let outage = |source: Box<dyn std::error::Error + Send + Sync>| {
                Outage::new(format!("could not read the certificates in {}", file.display()), source)
            };
            let text = std::fs::read(file).map_err(|error| outage(error.into()))?;
            let certificates = Certificate::from_pem_bundle(&text).map_err(|error| outage(error.into()))?;
            client = certificates.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
        }
        let client =
            client.build().map_err(|error| Outage::new("could not prepare connections to the search server", error))?;
        let authorization = match settings.credentials.clone() {
            Some(Credentials::Basic { username, password }) => Some(Authorization::Basic { username, password }),
            Some(Credentials::ApiKey(key)) => Some(Authorization::ApiKey(key_header(&key)?)),
            None => None,
        };
        let urls = settings.urls.iter().map(|url| url.trim_end_matches('/').to_owned()).collect();
        Ok(Self {
            client,
            urls,
            current: AtomicUsize::new(0),
            authorization,
            gzip: settings.gzip,
            timeout: settings.timeout,
        })
    }

    /// Asks. Any answer of the server is one, whatever its status.
    ///
    /// # Errors
    /// When no node answers in time.
    pub(super) async fn send(&self, method: Method, path: &str, content: Content) -> Result<Answer, Outage> {
        let (kind, body) = match content {
            Content::None => (None, None),
            Content::Json(value) => (Some("application/json"), Some(Bytes::from(value.to_string()))),
            Content::Lines(lines) => (Some("application/x-ndjson"), Some(lines)),
        };
        let compress = self.gzip && body.as_ref().is_some_and(|body| body.len() >= WORTH_COMPRESSING);
        let body = match body {
            Some(body) if compress => Some(compressed(body).await?),
            body => body,
        };
        let first = self.current.load(Ordering::Relaxed);
        let mut last = None;
        for turn in 0..self.urls.len() {
            let node = (first + turn) % self.urls.len();
            let url = &self.urls[node];
            let mut request = self.client.request(method.clone(), format!("{url}{path}"));
            if method == Method::PUT {
                request = request.timeout(self.timeout.max(PUT_TIMEOUT));
            }
            request = match &self.authorization {
                Some(Authorization::Basic { username, password }) => request.basic_auth(username, Some(password)),
                Some(Authorization::ApiKey(header)) => request.header(AUTHORIZATION, header),
                None => request,
            };
            if let (Some(kind), Some(body)) = (kind, &body) {
                request = request.header(CONTENT_TYPE, kind).body(body.clone());
                if compress {
                    request = request.header(CONTENT_ENCODING, "gzip");
                }
            }
            match read(request).await {
                Ok(answer) => {
                    self.current.store(node, Ordering::Relaxed);
                    return Ok(answer);
                }
                Err(error) => {
                    let what = if error.is_timeout() { "does not answer in time" } else { "does not answer" };
                    // The address stands in the sentence already.
                    last = Some(Outage::new(format!("search server {url} {what}"), error.without_url()));
                }
            }
        }
        Err(last.unwrap_or_else(|| Outage { operation: "no search server is named".to_owned(), source: None }))
    }

    /// The node that answered last, for messages.
    pub(super) fn place(&self) -> &str {
        let current = self.current.load(Ordering::Relaxed);
        self.urls.get(current).map_or("", String::as_str)
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let response = request.send().await?;
    let status = response.status().as_u16();
    Ok(Answer { status, body: response.bytes().await? })
}

fn key_header(key: &str) -> Result<HeaderValue, Outage> {
    // The error could quote the secret, so it goes no further.
    let mut header = HeaderValue::from_str(&format!("ApiKey {key}")).map_err(|_quoting| Outage {
        operation: "the credentials of the search server hold a sign that none may hold".to_owned(),
        source: None,
    })?;
    header.set_sensitive(true);
    Ok(header)
}

/// Compressing some megabytes takes longer than a task may hold its thread.
async fn compressed(body: Bytes) -> Result<Bytes, Outage> {
    let work = move || {
        let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::fast());
        encoder.write_all(&body)?;
        encoder.finish()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(bytes)) => Ok(Bytes::from(bytes)),
        Ok(Err(error)) => Err(Outage::new("could not compress a request", error)),
        Err(error) => Err(Outage::new("could not compress a request", error)),
    }
}

impl Answer {
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as JSON; null when it is none.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The `type` of the server's error; empty when it names none.
    pub(super) fn error_type(&self) -> String {
        let json = self.json();
        json.pointer("/error/type").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

impl fmt::Display for Answer {
    /// The status, and what the server says about it.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const LONGEST: usize = 400;
        let json = self.json();
        let said = json.pointer("/error/reason").or_else(|| json.get("error")).and_then(Value::as_str);
        let said = said.map_or_else(|| String::from_utf8_lossy(&self.body).into_owned(), str::to_owned);
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect();
        write!(formatter, "HTTP {}: {}", self.status, if said.is_empty() { "no text" } else { &said })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_said_in_the_server_s_words_or_else_as_it_came() {
        let said = |status, body: &'static str| Answer { status, body: Bytes::from(body) }.to_string();
        assert_eq!(said(400, r#"{"error": {"type": "t", "reason": "no such\nthing"}}"#), "HTTP 400: no such thing");
        assert_eq!(said(405, r#"{"error": "Incorrect HTTP method"}"#), "HTTP 405: Incorrect HTTP method");
        assert_eq!(said(502, "<html>"), "HTTP 502: <html>");
        assert_eq!(said(503, ""), "HTTP 503: no text");
    }
}

//! Servers that speak HTTP: what the adapters to them share.
//!
//! An address may hold a user and a password; they go into the header of each request and into no message.
//!
//! Deliberately absent: trying again. Whoever asks knows whether it may.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use crate::model::Outage;

/// How long a server may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A server, or a part of it below a path. Cheap to clone; all clones share the connections.
#[derive(Debug, Clone)]
pub struct Server {
    client: Client,
    base: Url,
    place: Arc<str>,
}

impl Server {
    /// A server at `address`, with `silence` as the longest time between two bytes of an answer; nothing is asked of it yet.
    ///
    /// # Errors
    /// When the address is none of HTTP, or TLS cannot be set up.
    pub fn new(address: &str, silence: Duration) -> Result<Self, Outage> {
        let client = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(silence)
            .build()
            .map_err(|error| Outage::new("could not set up HTTP", error))?;
        // The parser's words would repeat no secret, but the address might be one whole secret.
        let base = Url::parse(address).map_err(|error| Outage::new("the address of a server cannot be read", error))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(Outage {
                operation: "the address of a server does not begin with http: or https:".to_owned(),
                source: None,
            });
        }
        let mut shown = base.clone();
        if shown.set_username("").is_err() || shown.set_password(None).is_err() {
            return Err(Outage { operation: "the address of a server names no host".to_owned(), source: None });
        }
        let place = Arc::from(shown.as_str().trim_end_matches('/'));
        Ok(Self { client, base, place })
    }

    /// Where it is, for messages.
    pub fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// A request for what lies below the address at these path segments, each of which may hold any text.
    pub fn request(&self, method: Method, segments: &[&str], query: &[(&str, &str)]) -> RequestBuilder {
        let mut url = self.base.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        // The client takes user and password out of the address and makes a header of them.
        self.client.request(method, url)
    }
}

/// The request with `body` in it.
pub fn with_json(request: RequestBuilder, body: &serde_json::Value) -> RequestBuilder {
    request.header(CONTENT_TYPE, "application/json").body(body.to_string())
}

/// What the server answers to `request`. Messages call it `server`: the address of a request may hold a secret.
///
/// # Errors
/// When it does not answer, or answers with any status but 200.
pub async fn ask(request: RequestBuilder, server: &str) -> Result<Bytes, Outage> {
    let lost = |error: reqwest::Error| Outage::new(format!("{server} does not answer"), error.without_url());
    let answer = request.send().await.map_err(lost)?;
    match answer.status() {
        StatusCode::OK => answer.bytes().await.map_err(lost),
        status => Err(Outage { operation: format!("{server} answers {status}"), source: None }),
    }
}

/// Reads the answer of `server`, which is JSON.
///
/// # Errors
/// When it is something else.
pub fn read<'a, T: Deserialize<'a>>(answer: &'a [u8], server: &str) -> Result<T, Outage> {
    let odd = |error| Outage::new(format!("could not read the answer of {server}"), error);
    serde_json::from_slice(answer).map_err(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(address: &str) -> Server {
        Server::new(address, Duration::from_secs(1)).unwrap()
    }

    #[test]
    fn user_and_password_go_into_the_header_and_nowhere_else() {
        let server = server("http://user:p%40ss%2fword@localhost:5984/prefix/");
        assert_eq!(server.place().as_ref(), "http://localhost:5984/prefix");
        let request = server.request(Method::GET, &["a/b", "ü"], &[("key", "x&y")]).build().unwrap();
        assert_eq!(request.url().as_str(), "http://localhost:5984/prefix/a%2Fb/%C3%BC?key=x%26y");
        // `user:p@ss/word`.
        assert_eq!(request.headers()["authorization"], "Basic dXNlcjpwQHNzL3dvcmQ=");
        assert!(!format!("{:?}", server.place()).contains("p@ss"));
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        for address in ["ftp://localhost", "localhost:5984", "", "mailto:a@b"] {
            assert!(Server::new(address, Duration::from_secs(1)).is_err(), "{address}");
        }
    }
}

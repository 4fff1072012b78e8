//! Which server it is, from what it says.

use reqwest::Method;
use serde::Deserialize;
use serde_json::Value;
use std::fmt;

use super::http::{Answer, Content, Http};
use super::outage;
use crate::model::Outage;

/// A server that the sink speaks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) distribution: Distribution,
    pub(super) major: u32,
    pub(super) minor: u32,
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distribution {
    Elasticsearch,
    OpenSearch,
}

/// Why there is no server to speak to.
#[derive(Debug)]
pub(super) enum Unknown {
    Outage(Outage),
    /// It is one that the sink does not know.
    Unsupported(String),
}

#[derive(Deserialize)]
struct Root {
    version: Version,
}

#[derive(Deserialize)]
struct Version {
    number: String,
    distribution: Option<String>,
}

impl Server {
    /// Asks the server.
    pub(super) async fn ask(http: &Http) -> Result<Self, Unknown> {
        let answer = http.send(Method::GET, "/", Content::None).await.map_err(Unknown::Outage)?;
        if answer.is_success() {
            return Self::from_root(&answer).map_err(|problem| unsupported(http, problem));
        }
        if outage::is_busy(answer.status) || answer.status == 401 {
            return Err(Unknown::Outage(outage::of_answer(http, "could not ask for its version", &answer)));
        }
        // Some builds lack the front page, and some users may not see it; nodes say the same.
        let path = "/_nodes/_local?filter_path=nodes.*.version";
        let nodes = http.send(Method::GET, path, Content::None).await.map_err(Unknown::Outage)?;
        if nodes.is_success() {
            return Self::from_nodes(&nodes).map_err(|problem| unsupported(http, problem));
        }
        Err(Unknown::Outage(outage::of_answer(http, "could not ask for its version", &nodes)))
    }

    /// Whether a write can demand that its target is an alias.
    pub(super) fn knows_require_alias(self) -> bool {
        match self.distribution {
            Distribution::OpenSearch => true,
            Distribution::Elasticsearch => (self.major, self.minor) >= (7, 10),
        }
    }

    fn from_root(answer: &Answer) -> Result<Self, String> {
        let root: Root = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("it does not say that it is a search server: {error}"))?;
        let distribution = match root.version.distribution.as_deref() {
            Some("opensearch") => Some(Distribution::OpenSearch),
            Some(_) => None,
            None => Some(Distribution::Elasticsearch),
        };
        Self::new(distribution, &root.version.number)
    }

    /// Nodes do not say whose they are; the supported versions do not overlap.
    fn from_nodes(answer: &Answer) -> Result<Self, String> {
        let json = answer.json();
        let node = json.get("nodes").and_then(Value::as_object).and_then(|nodes| nodes.values().next());
        let number = node.and_then(|node| node.get("version")).and_then(Value::as_str);
        let number = number.ok_or("it does not say that it is a search server")?;
        let early = numbers(number).is_some_and(|(major, _)| major <= 3);
        Self::new(Some(if early { Distribution::OpenSearch } else { Distribution::Elasticsearch }), number)
    }

    fn new(distribution: Option<Distribution>, number: &str) -> Result<Self, String> {
        let supported = match (distribution, numbers(number)) {
            (Some(Distribution::Elasticsearch), Some((major @ 7..=9, minor))) => Some((major, minor)),
            (Some(Distribution::OpenSearch), Some((major @ 1..=3, minor))) => Some((major, minor)),
            _ => None,
        };
        match (distribution, supported) {
            (Some(distribution), Some((major, minor))) => Ok(Self { distribution, major, minor }),
            (distribution, _) => {
                let name = distribution.map_or("a server of another kind, version".to_owned(), |d| d.to_string());
                Err(format!("it is {name} {number}; supported are Elasticsearch 7 to 9 and OpenSearch 1 to 3"))
            }
        }
    }
}

fn unsupported(http: &Http, problem: String) -> Unknown {
    Unknown::Unsupported(format!("search server {}: {problem}", http.place()))
}

/// The first two numbers of a version.
fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(['.', '-']);
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next()?.parse().ok()?))
}

impl fmt::Display for Distribution {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Elasticsearch => "Elasticsearch",
            Self::OpenSearch => "OpenSearch",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use serde_json::json;

    fn answer(json: &Value) -> Answer {
        Answer { status: 200, body: Bytes::from(json.to_string()) }
    }

    fn root(version: Value) -> Result<(Distribution, u32, u32), String> {
        let server = Server::from_root(&answer(&json!({"tagline": "x", "version": version})));
        server.map(|server| (server.distribution, server.major, server.minor))
    }

    #[test]
    fn a_server_is_known_by_what_it_says() {
        use Distribution::{Elasticsearch, OpenSearch};
        assert_eq!(root(json!({"number": "7.17.28", "build_flavor": "oss"})), Ok((Elasticsearch, 7, 17)));
        assert_eq!(root(json!({"number": "9.0.0-beta1"})), Ok((Elasticsearch, 9, 0)));
        assert_eq!(root(json!({"number": "2.19.1", "distribution": "opensearch"})), Ok((OpenSearch, 2, 19)));
        let nodes = |version| Server::from_nodes(&answer(&json!({"nodes": {"x": {"version": version}}})));
        assert_eq!(nodes("8.17.3").unwrap().distribution, Elasticsearch);
        assert_eq!(nodes("3.0.0").unwrap().distribution, OpenSearch);
    }

    #[test]
    fn another_server_is_named_and_refused() {
        let refused = "it is Elasticsearch 6.8.23; supported are Elasticsearch 7 to 9 and OpenSearch 1 to 3";
        assert_eq!(root(json!({"number": "6.8.23"})), Err(refused.to_owned()));
        assert!(root(json!({"number": "4.0.0", "distribution": "opensearch"})).is_err());
        assert!(root(json!({"number": "2.0.0", "distribution": "other"})).unwrap_err().contains("another kind"));
        assert!(Server::from_root(&answer(&json!({"hello": 1}))).is_err());
    }

    #[test]
    fn only_later_servers_know_require_alias() {
        let known = |distribution, major, minor| Server { distribution, major, minor }.knows_require_alias();
        assert!(!known(Distribution::Elasticsearch, 7, 9));
        assert!(known(Distribution::Elasticsearch, 7, 10));
        assert!(known(Distribution::OpenSearch, 1, 0));
    }
}

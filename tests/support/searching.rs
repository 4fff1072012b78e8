//! Real search servers for tests, and a sink on one with indices of its own.
#![allow(dead_code, reason = "each suite that includes this file uses a part of it")]

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use pillowtop::model::{Index, Outage, Table, Write};
use pillowtop::sink::elasticsearch::{ElasticsearchSink, Settings};
use pillowtop::sink::{PrepareError, Rejected, Sink, Versioned};
use reqwest::Method;
use serde_json::{Value, json};

use super::service::Service;

/// The OpenSearch that all tests of this process share, or the one that `PILLOWTOP_TEST_OPENSEARCH` names.
pub(crate) fn opensearch() -> &'static str {
    static SHARED: OnceLock<Service> = OnceLock::new();
    &SHARED.get_or_init(|| Service::shared("opensearch")).address
}

/// The Elasticsearch that all tests of this process share, or the one that `PILLOWTOP_TEST_ELASTICSEARCH` names.
pub(crate) fn elasticsearch() -> &'static str {
    static SHARED: OnceLock<Service> = OnceLock::new();
    &SHARED.get_or_init(|| Service::shared("elasticsearch")).address
}

/// A server, asked without the sink.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Server {
    pub(crate) url: &'static str,
}

impl Server {
    /// Settings of a sink on it.
    pub(crate) fn settings(self) -> Settings {
        let mut settings = Settings::new(self.url);
        // Elasticsearch's distribution for tests has no tokenizers but its own.
        settings.index_settings.insert("analysis".to_owned(), json!({}));
        settings.index_settings.insert("number_of_replicas".to_owned(), json!(0));
        settings
    }

    /// Asks, and gives the status and the answer.
    pub(crate) async fn ask(self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", self.url));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
    }

    /// The same; it must be done.
    pub(crate) async fn done(self, method: &str, path: &str, body: Option<Value>) -> Value {
        let (status, answer) = self.ask(method, path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {answer}");
        answer
    }

    /// A document without what is the sink's own; none for a tombstone.
    pub(crate) async fn get(self, index: &str, id: &str) -> Option<Value> {
        let (_, answer) = self.ask("GET", &format!("/{index}/_doc/{id}"), None).await;
        if answer["found"] != true {
            return None;
        }
        let mut document = answer["_source"].clone();
        let own = document.as_object_mut().unwrap().remove("pillowtop");
        own.is_none_or(|own| own.get("deleted_at").is_none()).then_some(document)
    }

    /// How many documents there are, without tombstones.
    pub(crate) async fn count(self, index: &str) -> usize {
        self.done("POST", &format!("/{index}/_refresh"), None).await;
        let query = json!({"query": {"bool": {"must_not": {"exists": {"field": "pillowtop.deleted_at"}}}}});
        let answer = self.done("POST", &format!("/{index}/_count"), Some(query)).await;
        usize::try_from(answer["count"].as_u64().unwrap()).unwrap()
    }
}

/// A word that no other test uses, and no other run on the same server.
pub(crate) fn unique() -> String {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros();
    format!("t{now:x}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A sink whose indices have names of their own, so that tests may share a server.
pub(crate) struct Apart {
    pub(crate) server: Server,
    pub(crate) prefix: String,
    sink: ElasticsearchSink,
}

impl Apart {
    pub(crate) fn new(server: Server) -> Self {
        Self::with(server, server.settings(), unique())
    }

    pub(crate) fn with(server: Server, settings: Settings, prefix: String) -> Self {
        Self { server, prefix, sink: ElasticsearchSink::new(settings).unwrap() }
    }

    /// The index's name on the server.
    pub(crate) fn named(&self, index: &str) -> String {
        format!("{}-{index}", self.prefix)
    }

    pub(crate) async fn get(&self, index: &str, id: &str) -> Option<Value> {
        self.server.get(&self.named(index), id).await
    }

    pub(crate) async fn count(&self, index: &str) -> usize {
        self.server.count(&self.named(index)).await
    }

    fn renamed(&self, versioned: &Versioned) -> Versioned {
        let mut versioned = versioned.clone();
        match &mut versioned.write {
            Write::Index(target) | Write::Merge { target, .. } => target.index = self.named(&target.index).into(),
            Write::Delete { index, .. } => *index = self.named(index).into(),
            Write::Rows { .. } | Write::Publish(_) | Write::Invalidate { .. } => {}
        }
        versioned
    }
}

#[async_trait]
impl Sink for Apart {
    async fn prepare(&self, tables: &[Table], indices: &[Index]) -> Result<(), PrepareError> {
        let renamed = indices.iter().map(|index| Index { name: self.named(&index.name), ..index.clone() });
        self.sink.prepare(tables, &renamed.collect::<Vec<_>>()).await
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let renamed: Vec<Versioned> = writes.iter().map(|write| self.renamed(write)).collect();
        self.sink.write(&renamed).await
    }

    async fn flush(&self) -> Result<(), Outage> {
        self.sink.flush().await
    }
}

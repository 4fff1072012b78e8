//! Databases of a server that speaks CouchDB's protocol.
#![allow(dead_code, reason = "each suite that includes this file uses a part of it")]

use std::sync::OnceLock;

use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use super::service::Service;

/// A database of one's own; it stays when the test ends, on a server that ends soon after.
#[derive(Clone)]
pub(crate) struct Couch {
    /// The server.
    pub(crate) server: String,
    /// The database's name.
    pub(crate) database: String,
    client: Client,
}

impl Couch {
    /// A new database on the server that all tests of this process share, or that `PILLOWTOP_TEST_COUCHDB` names.
    pub(crate) async fn new() -> Self {
        static SHARED: OnceLock<Service> = OnceLock::new();
        // Starting a server blocks.
        let start = || SHARED.get_or_init(|| Service::shared("couchdb"));
        let service = tokio::task::spawn_blocking(start).await.expect("a server");
        Self::on(&service.address).await
    }

    /// A new database on the server at `address`.
    pub(crate) async fn on(address: &str) -> Self {
        let couch = Self {
            server: address.to_owned(),
            database: format!("t{}", uuid::Uuid::new_v4().simple()),
            // The server closes connections that rest, perhaps when one is taken up again.
            client: Client::builder().pool_max_idle_per_host(0).build().unwrap(),
        };
        couch.create().await;
        couch
    }

    /// The database of this name on the same server, whether it is there or not.
    pub(crate) fn beside(&self, database: &str) -> Self {
        Self { database: database.to_owned(), ..self.clone() }
    }

    pub(crate) async fn create(&self) {
        let (status, answer) = self.ask(Method::PUT, "", None).await;
        assert_eq!(status, StatusCode::CREATED, "{answer}");
    }

    pub(crate) async fn drop_database(&self) {
        let (status, answer) = self.ask(Method::DELETE, "", None).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
    }

    pub(crate) async fn drop_if_there(&self) {
        let (status, answer) = self.ask(Method::DELETE, "", None).await;
        assert!(matches!(status, StatusCode::OK | StatusCode::NOT_FOUND), "{answer}");
    }

    /// Writes a document as the next revision of what is there, or with a given revision.
    pub(crate) async fn put(&self, id: &str, revision: Option<&str>, mut document: Value) {
        document["_id"] = json!(id);
        let (status, answer) = match revision {
            Some(revision) => {
                document["_rev"] = json!(revision);
                let body = json!({ "new_edits": false, "docs": [document] });
                self.ask(Method::POST, "/_bulk_docs", Some(body)).await
            }
            None => {
                if let Some(current) = self.revision(id).await {
                    document["_rev"] = json!(current);
                }
                self.ask(Method::POST, "", Some(document)).await
            }
        };
        assert!(status.is_success(), "{id}: {status} {answer}");
    }

    /// Deletes a document.
    pub(crate) async fn delete(&self, id: &str) {
        self.put(id, None, json!({ "_deleted": true })).await;
    }

    async fn revision(&self, id: &str) -> Option<String> {
        let (_, answer) = self.ask(Method::POST, "/_all_docs", Some(json!({ "keys": [id] }))).await;
        let value = &answer["rows"][0]["value"];
        (value["deleted"] != true).then(|| value["rev"].as_str().map(str::to_owned)).flatten()
    }

    /// One request below the database.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (StatusCode, Value) {
        let mut request = self.client.request(method, format!("{}/{}{path}", self.server, self.database));
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = request.send().await.expect("the server answers");
        let status = answer.status();
        (status, serde_json::from_slice(&answer.bytes().await.expect("an answer")).unwrap_or(Value::Null))
    }
}

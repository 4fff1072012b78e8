//! CouchDB as a subject of the contract of feeds: a database for each topic, with the one partition that databases have.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use pillowtop::feed::Source;
use pillowtop::feed::couch::{CouchSource, Mode, Settings};
use serde_json::json;
use tokio::sync::{Mutex, MutexGuard};

use super::couchdb::Couch;
use super::{OTHER, Subject, TOPIC};

/// The cases all call their databases the same, so they take turns on the server; each begins with new ones.
static TURN: Mutex<()> = Mutex::const_new(());

/// The databases, for as long as a case lasts.
pub(crate) struct Databases {
    topics: [Couch; 2],
    _turn: MutexGuard<'static, ()>,
}

pub(crate) async fn databases() -> Databases {
    let turn = TURN.lock().await;
    let any = Couch::new().await;
    let topics = [TOPIC, OTHER].map(|topic| any.beside(topic));
    for topic in &topics {
        topic.drop_if_there().await;
        topic.create().await;
    }
    Databases { topics, _turn: turn }
}

#[async_trait]
impl Subject for Databases {
    async fn append(&self, topic: &str, _partition: u32, names: &[&str]) {
        let couch = self.topics.iter().find(|couch| couch.database == topic).unwrap();
        for name in names {
            couch.put(name, None, json!({})).await;
        }
    }

    async fn append_garbage(&self, _topic: &str, _partition: u32) {
        panic!("what a server of documents says is never garbage")
    }

    async fn keep_last(&self, _topic: &str, _partition: u32, _count: usize) {
        panic!("a database forgets no change")
    }

    async fn make_again(&self) {
        for topic in &self.topics {
            topic.drop_database().await;
            topic.create().await;
        }
    }

    fn source(&self) -> Arc<dyn Source> {
        let source = CouchSource::new(Settings {
            url: self.topics[0].server.clone(),
            mode: Mode::Continuous,
            heartbeat: Duration::from_secs(1),
            filter: None,
            parameters: Vec::new(),
            include_docs: false,
        });
        Arc::new(source.unwrap())
    }
}

//! Search servers as subjects of the contract of sinks.

use async_trait::async_trait;
use pillowtop::sink::Sink;
use serde_json::Value;

use super::Adapter;
use super::searching::{Apart, Server, elasticsearch, opensearch};

pub(crate) struct OpenSearch(Apart);
pub(crate) struct Elasticsearch(Apart);

macro_rules! adapter {
    ($name:ident, $url:expr) => {
        #[async_trait]
        impl Adapter for $name {
            fn empty() -> Self {
                Self(Apart::new(Server { url: $url }))
            }

            fn sink(&self) -> &dyn Sink {
                &self.0
            }

            async fn get(&self, index: &str, id: &str) -> Option<Value> {
                self.0.get(index, id).await
            }

            async fn count(&self, index: &str) -> usize {
                self.0.count(index).await
            }

            fn after_a_crash(self) -> Option<Self> {
                let Apart { server, prefix, .. } = self.0;
                Some(Self(Apart::with(server, server.settings(), prefix)))
            }
        }
    };
}

adapter!(OpenSearch, opensearch());
adapter!(Elasticsearch, elasticsearch());

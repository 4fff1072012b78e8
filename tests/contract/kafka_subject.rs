//! Kafka as a subject of the contract of feeds.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use pillowtop::feed::Source;
use pillowtop::feed::kafka::KafkaSource;
use tokio::sync::{Mutex, MutexGuard};

use super::broker::Broker;
use super::{OTHER, PARTITIONS, Subject, TOPIC};

/// The cases all call their topics the same, so they take turns on the broker; each begins with new topics.
static TURN: Mutex<()> = Mutex::const_new(());

/// A broker's topics, for as long as a case lasts.
pub(crate) struct Kafka {
    broker: &'static Broker,
    _turn: MutexGuard<'static, ()>,
}

pub(crate) async fn kafka() -> Kafka {
    let turn = TURN.lock().await;
    let kafka = Kafka { broker: Broker::shared(), _turn: turn };
    kafka.make_again().await;
    kafka
}

#[async_trait]
impl Subject for Kafka {
    async fn append(&self, topic: &str, partition: u32, names: &[&str]) {
        let message = |name| format!(r#"{{"document_id":"{name}","data_source_name":"{topic}"}}"#);
        let messages: Vec<String> = names.iter().map(message).collect();
        self.broker.publish(topic, i32::try_from(partition).unwrap(), messages.iter().map(String::as_str));
    }

    async fn append_garbage(&self, topic: &str, partition: u32) {
        self.broker.publish(topic, i32::try_from(partition).unwrap(), ["garbage"]);
    }

    async fn keep_last(&self, topic: &str, partition: u32, count: usize) {
        let partition = i32::try_from(partition).unwrap();
        let before = self.broker.end_of(topic, partition) - i64::try_from(count).unwrap();
        self.broker.delete_before(topic, partition, before).await;
    }

    async fn make_again(&self) {
        for topic in [TOPIC, OTHER] {
            self.broker.delete_topic_if_there(topic).await;
            self.broker.create_topic(topic, i32::try_from(PARTITIONS).unwrap()).await;
        }
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(KafkaSource::new(self.broker.address.clone(), BTreeMap::new()))
    }
}

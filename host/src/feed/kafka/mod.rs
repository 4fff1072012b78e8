//! Apache Kafka: the topics of a manifest, every partition assigned statically, read from our checkpoints.
//!
//! Promise: per partition all committed messages in order, none twice and none left out without a word. Positions are
//! offsets of the next message; control records, aborted transactions and compacted tails move them too. A topic that
//! was made again is told by its id. A cluster that is away is waited for, and its coming back goes on where reading
//! was; the state is logged when it changes.
//!
//! Deliberately absent: consumer groups and commits. librdkafka wants the name of a group (`pillowtop`, which the
//! option `group.id` changes), but the group is never joined. Partitions that are added to a topic are found by
//! [`Feed::ends`]; the feed then asks to be opened again.
//!
//! There is no thread of ours. librdkafka's threads fetch ahead into one bounded queue per partition, and `next` takes
//! from them without waiting; a thread in between would only copy, and cost every idle pillow its stack.

mod client;
mod decode;
mod describe;
mod feed;
mod lane;
mod place;
mod queue;
mod settings;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use self::client::{Client, Watch};
use self::feed::KafkaFeed;
use self::settings::{Purpose, config, refused};
use super::{Error, Feed, Source, Start};
use crate::model::Outage;

/// A Kafka cluster.
#[derive(Clone)]
pub struct KafkaSource {
    /// Addresses to begin with: `host:port`, comma-separated.
    pub brokers: String,
    /// Settings of librdkafka, passed on as they are.
    pub options: BTreeMap<String, String>,
}

impl fmt::Debug for KafkaSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The values may be secrets.
        let names: Vec<&String> = self.options.keys().collect();
        formatter.debug_struct("KafkaSource").field("brokers", &self.brokers).field("options", &names).finish()
    }
}

#[async_trait]
impl Source for KafkaSource {
    async fn open(&self, topics: &[Arc<str>], start: Start) -> Result<Box<dyn Feed>, Error> {
        Ok(Box::new(KafkaFeed::open(self, topics, start).await?))
    }
}

impl KafkaSource {
    /// A new client; off the async threads, because certificates are read and threads started.
    async fn connect(&self, purpose: Purpose) -> Result<Arc<Client>, Error> {
        let config = config(&self.brokers, &self.options, purpose)?;
        let watch = Watch::new(&self.brokers);
        let created = tokio::task::spawn_blocking(move || config.create_with_context::<_, Client>(watch)).await;
        match created {
            Ok(Ok(client)) => Ok(Arc::new(client)),
            Ok(Err(error)) => Err(refused(&error)),
            Err(error) => Err(Error::Outage(Outage::new("could not start a kafka client", error))),
        }
    }
}

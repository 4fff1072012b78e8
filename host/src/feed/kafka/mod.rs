//! Apache Kafka: the topics of a manifest, shared by hosts in fixed shares or by a group, read from our checkpoints.
//!
//! Promise: per partition all committed messages in order, none twice and none left out without a word. Positions are
//! offsets of the next message; control records, aborted transactions and compacted tails move them too. A topic that
//! was made again is told by its id. A cluster that is away is waited for, and its coming back goes on where reading
//! was; the state is logged when it changes.
//!
//! Topics and partitions that appear later are read too: where shares are fixed they are found by [`Feed::ends`] and
//! all is dealt out anew; a group notices them itself.
//!
//! Deliberately absent: commits. A group says who reads a partition, never from where. librdkafka wants the name of a
//! group in any case (`pillowtop`, which the option `group.id` changes); where shares are fixed it is never joined.
//!
//! There is no thread of ours. librdkafka's threads fetch ahead into one bounded queue per partition, and `next` takes
//! from them without waiting; a thread in between would only copy, and cost every idle pillow its stack.

mod assignment;
mod client;
mod decode;
mod describe;
mod feed;
mod lane;
mod place;
mod queue;
mod settings;
mod topics;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;

pub use self::assignment::Assignment;
use self::client::{Client, Consumer, Watch};
use self::feed::KafkaFeed;
use self::settings::{Purpose, config, refused};
use super::{Error, Feed, Share, Source, Start};
use crate::model::Outage;

/// A Kafka cluster.
#[derive(Clone)]
pub struct KafkaSource {
    /// Addresses to begin with: `host:port`, comma-separated.
    pub brokers: String,
    /// Settings of librdkafka, passed on as they are.
    pub options: BTreeMap<String, String>,
    /// How hosts share the partitions.
    pub assignment: Assignment,
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
    /// A cluster of which this host reads everything.
    pub fn new(brokers: impl Into<String>, options: BTreeMap<String, String>) -> Self {
        Self { brokers: brokers.into(), options, assignment: Assignment::Static(Share::WHOLE) }
    }

    /// A new client; off the async threads, because certificates are read and threads started.
    async fn connect(&self, purpose: Purpose<'_>) -> Result<Arc<Client>, Error> {
        let config = config(&self.brokers, &self.options, purpose)?;
        let watch = Watch::new(&self.brokers);
        let create = move || {
            let mut consumer = config.create_with_context::<_, Consumer>(watch)?;
            let wake = Arc::clone(consumer.context().wake());
            consumer.set_nonempty_callback(move || wake.notify_one());
            Ok(consumer)
        };
        let created = tokio::task::spawn_blocking(create).await;
        match created {
            Ok(Ok(consumer)) => Ok(Arc::new(Client::new(consumer))),
            Ok(Err(error)) => Err(refused(&error)),
            Err(error) => Err(Error::Outage(Outage::new("could not start a kafka client", error))),
        }
    }
}

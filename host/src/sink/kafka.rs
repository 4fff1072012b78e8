//! Apache Kafka as a sink: what processors publish, each message acknowledged by all in-sync replicas before its change
//! settles.
//!
//! Promise: messages of one key stay in order (the producer is idempotent), and none is lost. After a crash, and after an
//! outage, messages may come again: at least once. What is wrong with a message is its document's failure; a cluster
//! that does not answer is an outage.

use std::collections::BTreeMap;
use std::error::Error as _;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{DeliveryFuture, FutureProducer, FutureRecord};
use rdkafka::{ClientContext, Statistics};
use tokio::time::sleep;

use super::{PrepareError, Rejected, Sink, Versioned};
use crate::model::{Index, Outage, Publish, RetryHelps, Table, Write};

/// How long a message may be on its way before that is an outage. librdkafka tries again within it.
const DELIVERY_LIMIT_MS: &str = "10000";
/// How long a topic that nobody knows may be in the making.
const NEW_TOPIC_LIMIT_MS: &str = "3000";
/// How long the producer's queue is left alone when it is full.
const FULL_PAUSE: Duration = Duration::from_millis(5);

/// Options on which the promise stands, and why a user may not set them.
const OURS: [(&str, &str); 6] = [
    ("bootstrap.servers", "give the addresses as `brokers`"),
    ("metadata.broker.list", "give the addresses as `brokers`"),
    ("enable.idempotence", "messages of one key stay in order"),
    ("acks", "all in-sync replicas acknowledge a message before its change settles"),
    ("request.required.acks", "all in-sync replicas acknowledge a message before its change settles"),
    ("transactional.id", "messages are not sent in transactions"),
];

/// An option that librdkafka does not know or take, or that is ours.
#[derive(Debug, thiserror::Error)]
#[error("kafka option {option}: {why}")]
pub struct InvalidOption {
    /// Which.
    option: String,
    why: String,
}

/// The sink. Its producer is made when it is first needed, and anew after an error that it does not survive.
pub struct KafkaSink {
    brokers: String,
    config: ClientConfig,
    producer: Mutex<Option<Producer>>,
}

type Producer = Arc<FutureProducer<Log>>;

/// What librdkafka has to say.
#[derive(Clone)]
struct Log;

impl ClientContext for Log {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", facility, message);
    }

    fn stats(&self, _statistics: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, reason);
    }
}

impl fmt::Debug for KafkaSink {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options may hold secrets.
        formatter.debug_struct("KafkaSink").field("brokers", &self.brokers).finish_non_exhaustive()
    }
}

impl KafkaSink {
    /// A sink over the cluster at `brokers` (`host:port`, comma-separated), with further settings of librdkafka; nothing
    /// is asked of it yet.
    ///
    /// # Errors
    /// A wrong option, by name; its value is not repeated.
    pub fn new(brokers: impl Into<String>, options: &BTreeMap<String, String>) -> Result<Self, InvalidOption> {
        let brokers = brokers.into();
        let mut config = ClientConfig::new();
        config.set("client.id", "pillowtop");
        config.set("message.timeout.ms", DELIVERY_LIMIT_MS);
        config.set("topic.metadata.propagation.max.ms", NEW_TOPIC_LIMIT_MS);
        config.set("socket.keepalive.enable", "true");
        config.set("reconnect.backoff.max.ms", "1000");
        // As the clients of other languages choose a partition for a key.
        config.set("partitioner", "murmur2_random");
        for (name, value) in options {
            if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == name) {
                return Err(InvalidOption { option: name.clone(), why: format!("it cannot be set: {why}") });
            }
            config.set(name, value);
        }
        config.set("bootstrap.servers", &brokers);
        config.set("enable.idempotence", "true");
        config.set_log_level(RDKafkaLogLevel::Info);
        match config.create_native_config() {
            Ok(_) => Ok(Self { brokers, config, producer: Mutex::new(None) }),
            Err(KafkaError::ClientConfig(_, why, option, _)) => Err(InvalidOption { option, why }),
            Err(error) => Err(InvalidOption { option: "of the sink".to_owned(), why: error.to_string() }),
        }
    }

    fn producer(&self) -> Result<Producer, Outage> {
        let mut kept = self.producer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(producer) = &*kept {
            return Ok(Arc::clone(producer));
        }
        let made = FutureProducer::from_config_and_context(&self.config, Log);
        let producer = Arc::new(made.map_err(|error| self.outage(&error))?);
        *kept = Some(Arc::clone(&producer));
        Ok(producer)
    }

    /// Makes an outage of what is no message's fault. A producer that does not survive it goes.
    fn outage(&self, error: &KafkaError) -> Outage {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.producer.lock().unwrap_or_else(PoisonError::into_inner).take();
        }
        Outage::new(format!("could not publish at kafka brokers {}", self.brokers), describe(error))
    }

    /// Hands one message to the producer; waits while that has no room. Its future is the acknowledgement.
    async fn send(&self, producer: &Producer, publish: &Publish) -> Result<DeliveryFuture, KafkaError> {
        let mut record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&publish.topic);
        record.key = publish.key.as_deref();
        record.payload = publish.value.as_deref();
        loop {
            match producer.send_result(record) {
                Ok(delivery) => return Ok(delivery),
                Err((error, refused)) if error.rdkafka_error_code() == Some(RDKafkaErrorCode::QueueFull) => {
                    record = refused;
                    sleep(FULL_PAUSE).await;
                }
                Err((error, _)) => return Err(error),
            }
        }
    }
}

#[async_trait]
impl Sink for KafkaSink {
    async fn prepare(&self, tables: &[Table], indices: &[Index]) -> Result<(), PrepareError> {
        let tables = tables.iter().map(|table| format!("table {} cannot be in Kafka", table.name));
        let indices = indices.iter().map(|index| format!("index {} cannot be in Kafka", index.name));
        let refused: Vec<String> = tables.chain(indices).collect();
        if refused.is_empty() { Ok(()) } else { Err(PrepareError::Refused(refused)) }
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let producer = self.producer()?;
        let mut rejected = Vec::new();
        let mut deliveries = Vec::with_capacity(writes.len());
        for (at, versioned) in writes.iter().enumerate() {
            let Write::Publish(publish) = &versioned.write else {
                let reason = "Kafka takes nothing but messages".to_owned();
                rejected.push(Rejected { at, reason, retry: RetryHelps::No });
                continue;
            };
            match self.send(&producer, publish).await {
                Ok(delivery) => deliveries.push(async move { (at, &publish.topic, delivery.await) }),
                Err(error) => rejected.push(self.judge(at, &publish.topic, &error)?),
            }
        }
        for (at, topic, delivered) in join_all(deliveries).await {
            match delivered {
                Ok(Ok(_)) => {}
                Ok(Err((error, _))) => rejected.push(self.judge(at, topic, &error)?),
                // The producer went with the message.
                Err(_) => return Err(self.outage(&KafkaError::Canceled)),
            }
        }
        rejected.sort_by_key(|rejected| rejected.at);
        Ok(rejected)
    }

    async fn flush(&self) -> Result<(), Outage> {
        // All was acknowledged when it was written.
        Ok(())
    }
}

impl KafkaSink {
    /// What is wrong with the message of this write.
    ///
    /// # Errors
    /// An outage, where it is not the message.
    fn judge(&self, at: usize, topic: &str, error: &KafkaError) -> Result<Rejected, Outage> {
        let retry = error.rdkafka_error_code().and_then(verdict).ok_or_else(|| self.outage(error))?;
        Ok(Rejected { at, reason: format!("kafka topic {topic}: {}", describe(error)), retry })
    }
}

/// For what is wrong with a message or its topic, whether a retry can help; none where it is the cluster.
fn verdict(code: RDKafkaErrorCode) -> Option<RetryHelps> {
    match code {
        RDKafkaErrorCode::MessageSizeTooLarge
        | RDKafkaErrorCode::InvalidMessageSize
        | RDKafkaErrorCode::MessageBatchTooLarge
        | RDKafkaErrorCode::InvalidMessage
        | RDKafkaErrorCode::InvalidRecord
        | RDKafkaErrorCode::InvalidTimestamp
        | RDKafkaErrorCode::InvalidTopic => Some(RetryHelps::No),
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition
        | RDKafkaErrorCode::TopicAuthorizationFailed
        | RDKafkaErrorCode::PolicyViolation => Some(RetryHelps::Perhaps),
        _ => None,
    }
}

/// What librdkafka says of a code, without the words of the crate around it.
fn describe(error: &KafkaError) -> String {
    match error.source() {
        Some(source) => source.to_string(),
        None => error.rdkafka_error_code().map_or_else(|| error.to_string(), |code| code.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<KafkaSink, String> {
        let options = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        KafkaSink::new("127.0.0.1:1", &options).map_err(|error| error.to_string())
    }

    #[test]
    fn security_and_any_other_setting_of_librdkafka_pass_through() {
        for (name, value) in [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("compression.type", "zstd"),
            ("partitioner", "consistent"),
            ("message.max.bytes", "2000000"),
        ] {
            assert_eq!(check(name, value).unwrap().config.get(name), Some(value));
        }
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name_and_the_promise_cannot_be_set_away() {
        assert!(
            check("lingr.ms", "1").unwrap_err().starts_with("kafka option lingr.ms: No such configuration property")
        );
        for (name, _) in OURS {
            let refused = check(name, "1").unwrap_err();
            assert!(refused.starts_with(&format!("kafka option {name}: it cannot be set: ")), "{refused}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_message_is_told_from_a_cluster_that_does_not_answer() {
        let verdicts = [
            (RDKafkaErrorCode::MessageSizeTooLarge, Some(RetryHelps::No)),
            (RDKafkaErrorCode::UnknownTopicOrPartition, Some(RetryHelps::Perhaps)),
            (RDKafkaErrorCode::TopicAuthorizationFailed, Some(RetryHelps::Perhaps)),
            (RDKafkaErrorCode::MessageTimedOut, None),
            (RDKafkaErrorCode::AllBrokersDown, None),
            (RDKafkaErrorCode::NotEnoughReplicas, None),
            (RDKafkaErrorCode::ClusterAuthorizationFailed, None),
            (RDKafkaErrorCode::Fatal, None),
        ];
        for (code, expected) in verdicts {
            assert_eq!(verdict(code), expected, "{code}");
        }
    }
}

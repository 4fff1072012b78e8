//! A real Apache Kafka for tests, through `tests/services/kafka`: started when it is first needed, and ended when this
//! process ends, however it does. Other suites include this file with `#[path]`.
#![allow(dead_code, reason = "each suite that includes this file uses a part of it")]

use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message as _};

use super::service::Service;

/// How long the broker may take for anything asked of it here.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

/// A broker.
pub(crate) struct Broker {
    /// `host:port`.
    pub(crate) address: String,
    service: Service,
}

impl Broker {
    /// The broker that all tests of this process share, or the one that `PILLOWTOP_TEST_KAFKA` names.
    pub(crate) fn shared() -> &'static Self {
        static SHARED: OnceLock<Broker> = OnceLock::new();
        SHARED.get_or_init(|| Self::of(Service::shared("kafka")))
    }

    /// A broker of one's own, which can be stopped.
    pub(crate) fn own() -> Self {
        Self::of(Service::own("kafka"))
    }

    /// Three brokers of one cluster; the first one is its controller as well.
    pub(crate) fn cluster() -> [Self; 3] {
        let first = Self::own();
        let join = first.service.folder().to_str().expect("a path of text").to_owned();
        let joined = |node| {
            Self::of(Service::own_with("kafka", &[("PILLOWTOP_KAFKA_JOIN", &join), ("PILLOWTOP_KAFKA_NODE", node)]))
        };
        let (second, third) = (joined("2"), joined("3"));
        [first, second, third]
    }

    /// Makes a topic with one partition whose replicas are on these nodes; the first one leads as long as it is there.
    /// Waits until they are all part of the cluster.
    pub(crate) async fn create_topic_on(&self, name: &str, nodes: &[i32]) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        let replicas = [nodes];
        let topic = NewTopic::new(name, 1, TopicReplication::Variable(&replicas)).set("min.insync.replicas", "1");
        while let Err(error) = &self.admin().create_topics([&topic], &options()).await.unwrap()[0] {
            assert!(tokio::time::Instant::now() < deadline, "{error:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn of(service: Service) -> Self {
        Self { address: service.address.clone(), service }
    }

    /// Stops the broker as a crash would; its data stay.
    pub(crate) fn kill(&self) {
        self.service.kill();
    }

    /// Starts it again, where it was.
    pub(crate) fn start_again(&self) {
        self.service.start_again();
    }

    /// Freezes it: connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        self.service.pause();
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.service.resume();
    }

    /// Makes a topic.
    pub(crate) async fn create_topic(&self, name: &str, partitions: i32) {
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        self.admin().create_topics([&topic], &options()).await.unwrap()[0].as_ref().unwrap();
    }

    /// Makes a topic with one partition and settings of its own.
    pub(crate) async fn create_topic_with(&self, name: &str, settings: &[(&str, &str)]) {
        let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
        let topic = settings.iter().fold(topic, |topic, (key, value)| topic.set(key, value));
        self.admin().create_topics([&topic], &options()).await.unwrap()[0].as_ref().unwrap();
    }

    /// Waits until these nodes have all of a topic's first partition.
    pub(crate) async fn in_sync(&self, topic: &str, nodes: &[i32]) {
        let deadline = tokio::time::Instant::now() + LIMIT;
        loop {
            let metadata = self.producer().client().fetch_metadata(Some(topic), LIMIT).unwrap();
            let found = metadata.topics()[0].partitions()[0].isr().to_vec();
            if nodes.iter().all(|node| found.contains(node)) {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{topic}: in sync are {found:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Deletes a topic.
    pub(crate) async fn delete_topic(&self, name: &str) {
        self.admin().delete_topics(&[name], &options()).await.unwrap()[0].as_ref().unwrap();
    }

    /// Deletes a topic that may not exist.
    pub(crate) async fn delete_topic_if_there(&self, name: &str) {
        let deleted = self.admin().delete_topics(&[name], &options()).await.unwrap().remove(0);
        assert!(matches!(deleted, Ok(_) | Err((_, RDKafkaErrorCode::UnknownTopicOrPartition))), "{name}: {deleted:?}");
    }

    /// The state of a group of consumers and how many members it has.
    pub(crate) fn group(&self, group: &str) -> (String, usize) {
        let groups = self.producer().client().fetch_group_list(Some(group), LIMIT).unwrap();
        groups.groups().first().map_or_else(Default::default, |group| (group.state().to_owned(), group.members().len()))
    }

    /// The offset after the last message of a partition.
    pub(crate) fn end_of(&self, topic: &str, partition: i32) -> i64 {
        self.producer().client().fetch_watermarks(topic, partition, LIMIT).unwrap().1
    }

    /// Gives a topic more partitions.
    pub(crate) async fn grow_topic(&self, name: &str, partitions: usize) {
        let grown = NewPartitions::new(name, partitions);
        self.admin().create_partitions([&grown], &options()).await.unwrap()[0].as_ref().unwrap();
    }

    /// Cuts off what stands before `offset`, as retention would.
    pub(crate) async fn delete_before(&self, topic: &str, partition: i32, offset: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
        self.admin().delete_records(&list, &options()).await.unwrap();
    }

    /// A producer.
    pub(crate) fn producer(&self) -> BaseProducer {
        self.config().create().unwrap()
    }

    /// A producer for transactions.
    pub(crate) fn transactions(&self, id: &str) -> BaseProducer {
        let producer: BaseProducer = self.config().set("transactional.id", id).create().unwrap();
        producer.init_transactions(LIMIT).unwrap();
        producer
    }

    /// Publishes values to a partition, in order, and waits until the broker has them.
    pub(crate) fn publish<'a>(&self, topic: &str, partition: i32, values: impl IntoIterator<Item = &'a str>) {
        let producer = self.producer();
        for value in values {
            send(&producer, topic, partition, value);
        }
        producer.flush(LIMIT).unwrap();
    }

    /// All messages of a topic's partition that are there now, as `key=value`, `-` for what a message has not.
    pub(crate) fn messages(&self, topic: &str, partition: i32) -> Vec<String> {
        let mut config = self.config();
        config.set("group.id", "reader").set("enable.auto.commit", "false").set("enable.partition.eof", "true");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
        consumer.assign(&list).unwrap();
        let text = |bytes: Option<&[u8]>| {
            bytes.map_or_else(|| "-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let mut found = Vec::new();
        while let Some(Ok(message)) = consumer.poll(LIMIT) {
            found.push(format!("{}={}", text(message.key()), text(message.payload())));
        }
        found
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        self.config().create().unwrap()
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }
}

/// Hands one value to a producer, without a key; waits for nothing.
pub(crate) fn send(producer: &BaseProducer, topic: &str, partition: i32, value: &str) {
    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition).payload(value.as_bytes());
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

fn options() -> AdminOptions {
    AdminOptions::new().operation_timeout(Some(LIMIT)).request_timeout(Some(LIMIT))
}

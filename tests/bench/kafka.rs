//! Kafka → drop: what a change of a 1 KB stub costs this process, librdkafka's threads included.
//!
//! Beside the feed alone and a whole pillow whose processor skips everything stands librdkafka with nothing around it,
//! which no feed on it can beat. The broker is another process; its CPU time does not count, but on two cores it takes
//! away wall time.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use pillowtop::documents::inline::InlineDocuments;
use pillowtop::feed::kafka::KafkaSource;
use pillowtop::feed::{Event, From, Limits, Source as _, Start};
use pillowtop::model::{Description, Entry, Outcome};
use pillowtop::pipeline::Workers;
use pillowtop::processor::Processor;
use pillowtop::processor::native::NativeProcessor;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use tokio::sync::watch;

use super::broker::{Broker, LIMIT};
use super::case;
use super::measure::{Measured, Variant, Whose, interleaved, timed};
use super::report::{Goal, Report, Unit};

const TOPIC: &str = "bench-form-sql";
const PARTITIONS: i32 = 4;
const CHANGES: usize = 300_000;
const GOAL: Goal = Goal::AtLeast(200_000.0);

pub(crate) fn measure(report: &mut Report) {
    let broker = Broker::shared();
    let runtime = case::runtime();
    runtime.block_on(broker.create_topic(TOPIC, PARTITIONS));
    let bytes = publish(broker);

    let feed = || timed(Whose::Process, || runtime.block_on(read_with_feed(broker)));
    let pillow = || timed(Whose::Process, || runtime.block_on(read_with_pillow(broker)));
    let alone = || timed(Whose::Process, || read_with_librdkafka(broker, bytes));
    let variants =
        vec![Variant::new("feed", feed), Variant::new("pillow that skips", pillow), Variant::new("librdkafka", alone)];
    let (measured, control) = interleaved(variants);
    report.costs("Kafka → drop, 1 KB stubs", &measured, &control);
    let mut rate = |what: &str, measured: &Measured| {
        let (cpu, wall) = (Some(1e9 / measured.cpu_ns()), Some(1e9 / measured.wall_ns()));
        report.row(&format!("Kafka → drop, {what}, per core"), Unit::PerCoreSecond, cpu, wall, Some(GOAL));
    };
    rate("feed", &measured[0]);
    rate("pillow that skips", &measured[1]);
}

/// Publishes stubs with every field, spread over the partitions; how many bytes they have.
fn publish(broker: &Broker) -> usize {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("linger.ms", "20")
        .set("queue.buffering.max.kbytes", "262144")
        .create()
        .unwrap();
    let mut bytes = 0;
    for at in 0..CHANGES {
        let stub = stub(at);
        bytes += stub.len();
        let partition = i32::try_from(at).unwrap() % PARTITIONS;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(TOPIC).partition(partition).payload(&stub);
        while let Err((error, refused)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(_)), "{error}");
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
    }
    producer.flush(LIMIT).unwrap();
    bytes
}

fn stub(at: usize) -> Vec<u8> {
    let stub = json!({
        "document_id": format!("{at:032x}"), "document_rev": null, "data_source_type": "sql",
        "data_source_name": "form-sql", "document_type": "XFormInstance",
        "document_subtype": "http://openrosa.example/visit", "domain": format!("clinic-{}", at % 50),
        "is_deletion": false, "publish_timestamp": "2026-02-03T10:00:00.123456Z", "attempts": 0,
        "original_publication_datetime": "2026-02-03T10:00:00.123456Z", "associated_document_id": null,
        "filler": "x".repeat(580),
    });
    serde_json::to_vec(&stub).unwrap()
}

fn source(broker: &Broker) -> KafkaSource {
    KafkaSource::new(broker.address.clone(), BTreeMap::new())
}

/// Adds up the numbers in the ids: the sum tells whether every change came once.
async fn read_with_feed(broker: &Broker) -> usize {
    let mut feed = source(broker).open(&[Arc::from(TOPIC)], Start::Earliest).await.unwrap();
    let from = |partition| From { partition, checkpoint: None };
    let partitions = feed.partitions().await.unwrap();
    feed.start(partitions.into_iter().map(from).collect()).await.unwrap();
    let limits = Limits { count: NonZeroUsize::new(256).unwrap(), bytes: NonZeroUsize::new(512 << 10).unwrap() };
    let (mut read, mut sum) = (0, 0);
    while let Event::Read(one) = feed.next(limits).await.unwrap() {
        read += one.entries.len();
        for entry in &one.entries {
            let Entry::Change(change) = entry else { panic!("not understood: {entry:?}") };
            sum += usize::from_str_radix(&change.key.id, 16).unwrap();
        }
    }
    assert_eq!((read, sum), (CHANGES, CHANGES * (CHANGES - 1) / 2), "every change is read once");
    read
}

async fn read_with_pillow(broker: &Broker) -> usize {
    let skips = NativeProcessor::each(Description::default(), |_| Ok(Outcome::Skip(String::new())));
    let skips: Arc<dyn Processor> = Arc::new(skips);
    let workers = Workers::start(2).unwrap();
    let generation = case::generation(1, skips, None, workers.count());
    let pillow = case::pillow(Arc::new(source(broker)), TOPIC, Arc::new(InlineDocuments), workers);
    let (_keep, generations) = watch::channel(generation);
    let counts = case::run(pillow, generations).await;
    let all = CHANGES as u64;
    assert_eq!((counts.read, counts.settled, counts.skipped, counts.collapsed), (all, all, all, 0));
    CHANGES
}

fn read_with_librdkafka(broker: &Broker, bytes: usize) -> usize {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .create()
        .unwrap();
    let mut assignment = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        assignment.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&assignment).unwrap();
    let (mut read, mut length, mut ended) = (0, 0, 0);
    while ended < PARTITIONS {
        match consumer.poll(LIMIT).unwrap() {
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            message => {
                length += message.unwrap().payload_len();
                read += 1;
            }
        }
    }
    assert_eq!((read, length), (CHANGES, bytes), "every message is read once");
    read
}

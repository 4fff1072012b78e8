//! Kafka → drop: what a change of a 1 KB stub costs this process, librdkafka's threads included.
//!
//! Beside the feed alone and a whole pillow whose processor skips everything stands librdkafka with nothing around it,
//! which no feed on it can beat. The broker is another process; its CPU time does not count, but on two cores it takes
//! away wall time.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

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
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::json;
use tokio::sync::watch;

use super::broker::{Broker, LIMIT};
use super::measure::{Measured, Variant, Whose, interleaved, share, timed};
use super::report::{Goal, Report, Unit};
use super::{built, case, input};

const TOPIC: &str = "bench-form-sql";
const PARTITIONS: i32 = 4;
const GOAL: Goal = Goal::AtLeast(200_000.0);

/// How many there are to read.
fn changes() -> usize {
    share(300_000)
}

pub(crate) fn measure(report: &mut Report) {
    let broker = Broker::shared();
    let runtime = case::runtime();
    runtime.block_on(broker.create_topic(TOPIC, PARTITIONS));
    let bytes = input::send(broker, TOPIC, PARTITIONS, (0..changes()).map(input::stub));

    let feed = || timed(Whose::Process, || runtime.block_on(read_with_feed(broker)));
    let skips = NativeProcessor::each(Description::default(), |_| Ok(Outcome::Skip(String::new())));
    let skips: Arc<dyn Processor> = Arc::new(skips);
    let pillow = || timed(Whose::Process, || runtime.block_on(read_with_pillow(broker, Arc::clone(&skips))));
    let no_op = built::processor(&built::module("bench_guest"), &json!({ "work": "nothing" }));
    let wasm = || timed(Whose::Process, || runtime.block_on(read_with_pillow(broker, no_op.clone())));
    let alone = || timed(Whose::Process, || read_with_librdkafka(broker, bytes));
    let variants = vec![
        Variant::new("feed", feed),
        Variant::new("pillow that skips", pillow),
        Variant::new("pillow, no-op in WASM", wasm),
        Variant::new("librdkafka", alone),
    ];
    let (measured, control) = interleaved(variants);
    report.costs("Kafka → drop, 1 KB stubs", &measured, &control);
    let mut cost = |what: &str, measured: &Measured, most: f64| {
        let (cpu, wall) = (Some(measured.cpu_ns()), Some(measured.wall_ns()));
        report.row(&format!("Kafka → drop, 1 KB, {what}"), Unit::Nanoseconds, cpu, wall, Some(Goal::AtMost(most)));
    };
    cost("read raw and dropped: librdkafka alone", &measured[3], 1_500.0);
    cost("decoded, not processed: feed", &measured[0], 1_500.0);
    cost("decoded, collapsed, through a no-op in WASM", &measured[2], 3_000.0);
    let mut rate = |what: &str, measured: &Measured| {
        let (cpu, wall) = (Some(1e9 / measured.cpu_ns()), Some(1e9 / measured.wall_ns()));
        report.row(&format!("Kafka → drop, {what}, per core"), Unit::PerCoreSecond, cpu, wall, Some(GOAL));
    };
    rate("feed", &measured[0]);
    rate("pillow that skips", &measured[1]);
    rate("pillow, no-op in WASM", &measured[2]);
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
    assert_eq!((read, sum), (changes(), changes() * (changes() - 1) / 2), "every change is read once");
    read
}

async fn read_with_pillow(broker: &Broker, processor: Arc<dyn Processor>) -> usize {
    let workers = Workers::start(2).unwrap();
    let generation = case::generation(1, processor, None, workers.count());
    let pillow = case::pillow(Arc::new(source(broker)), TOPIC, Arc::new(InlineDocuments), workers);
    let (_keep, generations) = watch::channel(generation);
    let counts = case::run(pillow, generations).await;
    let all = changes() as u64;
    assert_eq!((counts.read, counts.settled, counts.skipped, counts.collapsed), (all, all, all, 0));
    changes()
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
    assert_eq!((read, length), (changes(), bytes), "every message is read once");
    read
}

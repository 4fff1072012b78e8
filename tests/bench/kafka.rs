//! Kafka → drop: how much CPU one change of a 1 KB stub costs this process, librdkafka's threads included.
//!
//! `BENCH_CHANGES` says how many (default 500000), `BENCH_ROUNDS` how often. Each round reads the same topic twice with
//! the feed (the second is the A/A control) and once with nothing but librdkafka, which no feed on it can beat.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and stops when something is wrong")]

#[path = "../kafka/broker.rs"]
mod broker;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use pillowtop::feed::kafka::KafkaSource;
use pillowtop::feed::{Event, From, Limits, Source as _, Start};
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use broker::{Broker, LIMIT};

const TOPIC: &str = "bench-form-sql";
const PARTITIONS: i32 = 4;

fn main() {
    let changes = number("BENCH_CHANGES", 500_000);
    let rounds = number("BENCH_ROUNDS", 3);
    let broker = Broker::shared();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(broker.create_topic(TOPIC, PARTITIONS));
    publish(broker, changes);

    let mut measured = Vec::new();
    println!("{:<18} {:>12} {:>12} {:>14} {:>14}", "what", "changes/s", "wall ns", "CPU ns/change", "per core/s");
    for _ in 0..rounds {
        for what in ["feed", "feed (again)", "librdkafka alone"] {
            let cpu = now(ClockId::ProcessCPUTime);
            let wall = now(ClockId::Monotonic);
            let read = match what {
                "librdkafka alone" => read_with_librdkafka(broker),
                _ => runtime.block_on(read_with_feed(broker)),
            };
            assert_eq!(read, changes, "every change is read once");
            let each = |since: Duration, clock| (now(clock) - since).as_secs_f64() * 1e9 / changes as f64;
            let (wall, cpu) = (each(wall, ClockId::Monotonic), each(cpu, ClockId::ProcessCPUTime));
            println!("{what:<18} {:>12.0} {wall:>12.0} {cpu:>14.0} {:>14.0}", 1e9 / wall, 1e9 / cpu);
            measured.push(json!({ "what": what, "changes": changes, "wall_ns": wall, "cpu_ns": cpu }));
        }
    }
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench");
    std::fs::create_dir_all(folder).unwrap();
    std::fs::write(format!("{folder}/kafka.json"), serde_json::to_vec_pretty(&measured).unwrap()).unwrap();
}

/// Stubs of 1 KB with every field, spread over the partitions.
fn publish(broker: &Broker, changes: usize) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("linger.ms", "20")
        .set("queue.buffering.max.kbytes", "262144")
        .create()
        .unwrap();
    for at in 0..changes {
        let stub = stub(at);
        let partition = i32::try_from(at).unwrap_or_default() % PARTITIONS;
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(TOPIC).partition(partition).payload(&stub);
        while let Err((KafkaError::MessageProduction(_), refused)) = producer.send(record) {
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
    }
    producer.flush(LIMIT).unwrap();
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

async fn read_with_feed(broker: &Broker) -> usize {
    let source = KafkaSource { brokers: broker.address.clone(), options: BTreeMap::new() };
    let mut feed = source.open(&[Arc::from(TOPIC)], Start::Earliest).await.unwrap();
    let from = |partition| From { partition, checkpoint: None };
    let partitions = feed.partitions().await.unwrap();
    feed.start(partitions.into_iter().map(from).collect()).await.unwrap();
    let limits = Limits { count: NonZeroUsize::new(500).unwrap(), bytes: NonZeroUsize::new(1 << 20).unwrap() };
    let mut read = 0;
    while let Event::Read(one) = feed.next(limits).await.unwrap() {
        read += one.entries.len();
    }
    read
}

fn read_with_librdkafka(broker: &Broker) -> usize {
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
    let (mut read, mut ended) = (0, 0);
    while ended < PARTITIONS {
        match consumer.poll(LIMIT).unwrap() {
            Err(KafkaError::PartitionEOF(_)) => ended += 1,
            message => read += usize::from(message.is_ok()),
        }
    }
    read
}

fn now(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
}

fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

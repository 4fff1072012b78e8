//! Kafka → PostgreSQL and Kafka → search server: what a change of 1 KB costs this process when real servers take it.
//!
//! The document travels in the message, and a native processor makes one write of it, so that feed, engine and sink are
//! what is measured. Each run has a database or an index of its own, whose content is checked afterwards. The servers
//! are other processes; on few cores they set the rate.

use std::sync::Arc;

use bytes::Bytes;
use pillowtop::checkpoint::postgres::PostgresStore;
use pillowtop::documents::inline::InlineDocuments;
use pillowtop::feed::kafka::KafkaSource;
use pillowtop::model::{
    Clock, Column, ColumnKind, Condition, Description, Document, Index, IndexWrite, Item, Outcome, RowOp, Table, Value,
    Write,
};
use pillowtop::pipeline::{Generation, LookupStores, Stage, Workers};
use pillowtop::processor::Processor;
use pillowtop::processor::native::NativeProcessor;
use pillowtop::sink::Sink;
use pillowtop::sink::elasticsearch::{ElasticsearchSink, Settings};
use pillowtop::sink::sql::SqlSink;
use pillowtop::sql::Database;
use serde::Deserialize;
use serde_json::json;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::broker::Broker;
use super::measure::{Cost, Measured, Variant, Whose, interleaved, share, timed};
use super::report::{Goal, Report, Unit};
use super::service::Service;
use super::{case, input, outcome, postgres};

const TOPIC: &str = "bench-inline";
const PARTITIONS: i32 = 4;
const TABLE: &str = "bench_rows";

/// What the table has of a document.
#[derive(Deserialize)]
struct Visit<'a> {
    name: &'a str,
    domain: &'a str,
    owner: &'a str,
    kind: &'a str,
    village: &'a str,
    number: i64,
    weight: f64,
    closed: bool,
    opened_on: &'a str,
}

/// How many there are to read.
fn changes() -> usize {
    share(100_000)
}

pub(crate) fn measure(report: &mut Report) {
    let broker = Broker::shared();
    let database = postgres::server();
    let search = Service::shared("opensearch");
    let runtime = case::runtime();
    runtime.block_on(broker.create_topic(TOPIC, PARTITIONS));
    input::publish(broker, TOPIC, PARTITIONS, changes());

    let mut runs = 0;
    let variants = vec![
        Variant::new("PostgreSQL, upsert of 10 columns", || to_postgres(&runtime, broker, database)),
        Variant::new("OpenSearch, index by id", || {
            runs += 1;
            to_search(&runtime, broker, &search, &format!("bench-{}-{runs}", std::process::id()))
        }),
    ];
    let (measured, control) = interleaved(variants);
    report.costs("Kafka → server, 1 KB documents", &measured, &control);
    let mut goal = |what: &str, measured: &Measured, most: f64| {
        let (cpu, wall) = (Some(measured.cpu_ns()), Some(measured.wall_ns()));
        report.row(what, Unit::Nanoseconds, cpu, wall, Some(Goal::AtMost(most)));
    };
    goal("Kafka → PostgreSQL, of this process", &measured[0], 5_000.0);
    goal("Kafka → OpenSearch, of this process", &measured[1], 8_000.0);
}

fn to_postgres(runtime: &Runtime, broker: &Broker, server: &Service) -> Cost {
    let (url, database, store) = runtime.block_on(async {
        let url = postgres::create_in(&server.address).await;
        let database = Database::open(&url).await.unwrap();
        let store = PostgresStore::open(database.postgres().unwrap().clone(), Clock::System).await.unwrap();
        (url, database, store)
    });
    let _entered = runtime.enter();
    let sink: Arc<dyn Sink> = Arc::new(SqlSink::new(database.clone(), true));
    runtime.block_on(sink.prepare(&[table()], &[])).unwrap();
    let rows: Arc<dyn Processor> =
        Arc::new(NativeProcessor::each(Description { tables: vec![table()], ..Description::default() }, |item| {
            Ok(done(row(item)))
        }));
    let mut pillow = pillow(broker);
    pillow.checkpoints = Arc::new(store);
    let generation = generation(rows, Some(sink), None, pillow.workers.count());
    let cost = run(runtime, pillow, generation);
    runtime.block_on(outcome::rows(&url, TABLE, changes()));
    cost
}

fn to_search(runtime: &Runtime, broker: &Broker, server: &Service, name: &str) -> Cost {
    let _entered = runtime.enter();
    let sink = ElasticsearchSink::new(Settings::new(&server.address)).unwrap();
    let sink: Arc<dyn Sink> = Arc::new(sink);
    let mapping =
        json!({ "dynamic": false, "properties": { "name": { "type": "text" }, "number": { "type": "long" } } });
    let index =
        Index { name: name.to_owned(), part: None, mapping: mapping.to_string().into(), owned_fields: Vec::new() };
    runtime.block_on(sink.prepare(&[], std::slice::from_ref(&index))).unwrap();
    let target: Arc<str> = Arc::from(name);
    let indexer: Arc<dyn Processor> =
        Arc::new(NativeProcessor::each(Description { indices: vec![index], ..Description::default() }, move |item| {
            Ok(done(Write::Index(IndexWrite {
                index: Arc::clone(&target),
                id: Arc::clone(&item.change.key.id),
                document: content(item).clone(),
            })))
        }));
    let pillow = pillow(broker);
    let generation = generation(indexer, None, Some(sink), pillow.workers.count());
    let cost = run(runtime, pillow, generation);
    runtime.block_on(outcome::index(&server.address, name, changes()));
    cost
}

fn pillow(broker: &Broker) -> pillowtop::pipeline::Pillow {
    let source = KafkaSource::new(broker.address.clone(), std::collections::BTreeMap::new());
    let mut pillow = case::pillow(Arc::new(source), TOPIC, Arc::new(InlineDocuments), Workers::start(2).unwrap());
    pillow.clock = Clock::System;
    pillow
}

fn generation(
    processor: Arc<dyn Processor>,
    tables: Option<Arc<dyn Sink>>,
    indices: Option<Arc<dyn Sink>>,
    workers: usize,
) -> Arc<Generation> {
    let lookups = Arc::new(LookupStores::new(std::collections::HashMap::new()));
    let name = pillowtop::model::ProcessorName::new("bench");
    Arc::new(Generation { number: 1, stages: vec![Stage::new(name, processor, lookups, tables, indices, workers)] })
}

fn run(runtime: &Runtime, pillow: pillowtop::pipeline::Pillow, generation: Arc<Generation>) -> Cost {
    let (_keep, generations) = watch::channel(generation);
    timed(Whose::Process, || {
        let counts = runtime.block_on(case::run(pillow, generations));
        assert_eq!((counts.read, counts.parked), (changes() as u64, 0));
        changes()
    })
}

fn content(item: &Item) -> &Bytes {
    let Document::Present(document) = &item.document else { panic!("the document is in the message: {item:?}") };
    document
}

fn row(item: &Item) -> Write {
    let visit: Visit<'_> = serde_json::from_slice(content(item)).unwrap();
    let text = |text: &str| Value::Text(text.to_owned());
    let row = vec![
        text(&item.change.key.id),
        text(visit.name),
        text(visit.domain),
        text(visit.owner),
        text(visit.kind),
        text(visit.village),
        Value::Integer(visit.number),
        Value::Double(visit.weight),
        Value::Boolean(visit.closed),
        Value::Timestamp(visit.opened_on.to_owned()),
    ];
    Write::Rows { table: TABLE.into(), op: RowOp::Upsert { row, when: Condition::Always } }
}

fn done(write: Write) -> Outcome {
    Outcome::Done { writes: vec![write], failures: Vec::new() }
}

fn table() -> Table {
    let column = |name: &str, kind| Column { name: name.to_owned(), kind, nullable: name != "id" };
    Table {
        name: TABLE.to_owned(),
        part: None,
        columns: vec![
            column("id", ColumnKind::Text),
            column("name", ColumnKind::Text),
            column("domain", ColumnKind::Text),
            column("owner", ColumnKind::Text),
            column("kind", ColumnKind::Text),
            column("village", ColumnKind::Text),
            column("number", ColumnKind::Integer),
            column("weight", ColumnKind::Double),
            column("closed", ColumnKind::Boolean),
            column("opened_on", ColumnKind::Timestamp),
        ],
        key: vec!["id".to_owned()],
        document_column: None,
        indexes: Vec::new(),
        ..Table::default()
    }
}

//! Kafka → filter and rename in WASM → drop: what a document of 1 KB costs that is read, thought about and written anew.
//!
//! A third of the documents is left out; of the others two fields get other names, and three go. The sink drops what it
//! is given and counts it. The first run is not measured: there every document is compared with what the same work makes
//! natively.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bench_guest::Work;
use pillowtop::documents::inline::InlineDocuments;
use pillowtop::feed::kafka::KafkaSource;
use pillowtop::model::{Index, IndexWrite, Outage, ProcessorName, Table, Write};
use pillowtop::pipeline::{Generation, LookupStores, Stage, Workers};
use pillowtop::processor::Processor;
use pillowtop::sink::{PrepareError, Rejected, Sink, Versioned};
use serde_json::json;
use tokio::sync::watch;

use super::broker::Broker;
use super::measure::{Cost, Variant, Whose, interleaved, peak, reset_peak, share, timed};
use super::report::{Goal, Report, Unit};
use super::{built, case, input};

const TOPIC: &str = "bench-rename";
const PARTITIONS: i32 = 4;

/// Counts what it drops.
#[derive(Default)]
struct Dropped {
    documents: AtomicUsize,
    bytes: AtomicUsize,
    /// The documents that are awaited, by id; none where nobody looks.
    awaited: Option<Mutex<HashMap<String, Vec<u8>>>>,
}

/// How many there are to read.
fn changes() -> usize {
    share(200_000)
}

pub(crate) fn measure(report: &mut Report) {
    let broker = Broker::shared();
    let runtime = case::runtime();
    runtime.block_on(broker.create_topic(TOPIC, PARTITIONS));
    input::publish(broker, TOPIC, PARTITIONS, changes());
    let rename = built::processor(&built::module("bench_guest"), &json!({ "work": "rename" }));

    let awaited: HashMap<String, Vec<u8>> = (0..changes())
        .filter_map(|number| {
            let document = serde_json::to_vec(&input::document(number)).unwrap();
            Some((format!("{number:032x}"), Work::Rename.run(&document).unwrap()?))
        })
        .collect();
    let expected = (awaited.len(), awaited.values().map(Vec::len).sum());
    let run = |dropped: Dropped| -> Cost {
        let dropped = Arc::new(dropped);
        let (processor, sink) = (rename.clone(), dropped.clone());
        let cost = timed(Whose::Process, || runtime.block_on(read(broker, processor, sink)));
        let found = (dropped.documents.load(Ordering::Relaxed), dropped.bytes.load(Ordering::Relaxed));
        assert_eq!(found, expected, "documents that were written, and their bytes");
        let missing = dropped.awaited.as_ref().map_or(0, |awaited| awaited.lock().unwrap().len());
        assert_eq!(missing, 0, "every document was written once");
        cost
    };
    run(Dropped { awaited: Some(Mutex::new(awaited)), ..Dropped::default() });
    reset_peak();
    let variants = vec![Variant::new("filter and rename in WASM", || run(Dropped::default()))];
    let (measured, control) = interleaved(variants);
    report.costs("Kafka → filter, rename → drop, 1 KB documents", &measured, &control);
    let (cpu, wall) = (measured[0].cpu_ns(), measured[0].wall_ns());
    let what = "Kafka → filter, rename in WASM → drop";
    report.row(what, Unit::Nanoseconds, Some(cpu), Some(wall), Some(Goal::AtMost(5_000.0)));
    report.row(&format!("{what}, rate"), Unit::PerCoreSecond, Some(1e9 / cpu), Some(1e9 / wall), None);
    report.row(&format!("{what}, peak"), Unit::Megabytes, peak(std::process::id()), None, None);
}

async fn read(broker: &Broker, processor: Arc<dyn Processor>, sink: Arc<dyn Sink>) -> usize {
    let source = KafkaSource::new(broker.address.clone(), BTreeMap::new());
    let workers = Workers::start(2).unwrap();
    let lookups = Arc::new(LookupStores::new(HashMap::new()));
    let stage = Stage::new(ProcessorName::new("bench"), processor, lookups, None, Some(sink), workers.count());
    let generation = Arc::new(Generation { number: 1, stages: vec![stage] });
    let pillow = case::pillow(Arc::new(source), TOPIC, Arc::new(InlineDocuments), workers);
    let (_keep, generations) = watch::channel(generation);
    let counts = case::run(pillow, generations).await;
    let (all, closed) = (changes() as u64, changes().div_ceil(3) as u64);
    assert_eq!((counts.read, counts.collapsed, counts.skipped), (all, 0, closed));
    changes()
}

#[async_trait]
impl Sink for Dropped {
    async fn prepare(&self, _tables: &[Table], _indices: &[Index]) -> Result<(), PrepareError> {
        Ok(())
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let mut bytes = 0;
        for write in writes {
            let Write::Index(IndexWrite { id, document, .. }) = &write.write else { panic!("{write:?}") };
            bytes += document.len();
            if let Some(awaited) = &self.awaited {
                let expected = awaited.lock().unwrap().remove(id.as_ref());
                assert_eq!(expected.as_deref(), Some(document.as_ref()), "document {id}");
            }
        }
        self.documents.fetch_add(writes.len(), Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Vec::new())
    }

    async fn flush(&self) -> Result<(), Outage> {
        Ok(())
    }
}

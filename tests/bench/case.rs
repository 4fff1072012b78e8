//! A pillow of es-indexer over cases of 1 KB, wholly in memory: what several figures run.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;

use jiff::Timestamp;
use pillowtop::checkpoint::memory::MemoryStore;
use pillowtop::documents::DocumentStore;
use pillowtop::documents::memory::MemoryDocuments;
use pillowtop::feed::memory::MemoryLog;
use pillowtop::feed::{Limits, Source, Start};
use pillowtop::metrics::Metrics;
use pillowtop::model::{Clock, Collapse, Document, DocumentKey, Item, Partition, PillowName, ProcessorName};
use pillowtop::pipeline::{
    Counts, End, FailureLimit, Fetcher, Generation, LookupStores, Pillow, Runner, Stage, Status, Tuning, Workers,
};
use pillowtop::processor::Processor;
use pillowtop::sink::Sink;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;

use bench_guest::documents;

use super::built;
use super::processors::{NoLookups, call, change, written};

/// Different cases; more than a batch holds, so that nothing collapses.
pub(crate) const CASES: usize = 20_000;
const TOPIC: &str = "case-sql";
const PARTITIONS: u32 = 4;
const DOMAINS: usize = 50;

/// Cases, and a log that announces them.
pub(crate) struct Input {
    pub(crate) log: MemoryLog,
    pub(crate) store: MemoryDocuments,
    pub(crate) changes: usize,
}

impl Input {
    /// Each case announced `times` times, in the same order.
    pub(crate) fn new(times: usize) -> Self {
        let (log, store) = (MemoryLog::new(&[TOPIC], PARTITIONS), MemoryDocuments::default());
        for number in 0..CASES {
            store.put(DocumentKey::new(TOPIC, documents::id(number)), documents::case(number));
        }
        let changes: Vec<_> = (0..CASES).map(|number| change(number, DOMAINS, TOPIC)).collect();
        for _ in 0..times {
            for (number, change) in changes.iter().enumerate() {
                let partition = Partition::new(TOPIC, u32::try_from(number).unwrap() % PARTITIONS);
                log.push_change(&partition, change.clone());
            }
        }
        Self { log, store, changes: CASES * times }
    }
}

/// The host's own kind of runtime.
pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
}

/// es-indexer for cases.
pub(crate) fn indexer() -> Arc<dyn Processor> {
    built::processor(&built::module("es_indexer"), &json!({ "profile": "case", "index": "cases" }))
}

/// What es-indexer makes of every case, by id: called without the pipeline.
pub(crate) fn expected(processor: &Arc<dyn Processor>) -> BTreeMap<String, Value> {
    let item = |number| Item {
        change: Arc::new(change(number, DOMAINS, TOPIC)),
        document: Document::Present(documents::case(number).into()),
        found: Vec::new(),
    };
    let items: Vec<Item> = (0..CASES).map(item).collect();
    let mut instance = processor.start(Arc::new(NoLookups)).unwrap();
    let mut outcomes = Vec::with_capacity(CASES);
    for items in items.chunks(500) {
        outcomes.extend(call(instance.as_mut(), items));
    }
    let document = |(item, outcome): (&Item, _)| {
        (item.change.key.id.to_string(), serde_json::from_slice(written(outcome)).unwrap())
    };
    items.iter().zip(&outcomes).map(document).collect()
}

/// A generation of one processor.
pub(crate) fn generation(
    number: u64,
    processor: Arc<dyn Processor>,
    sink: Option<Arc<dyn Sink>>,
    workers: usize,
) -> Arc<Generation> {
    let lookups = Arc::new(LookupStores::new(HashMap::new()));
    let stage = Stage::new(ProcessorName::new("bench"), processor, lookups, None, sink, workers);
    Arc::new(Generation { number, stages: vec![stage] })
}

/// A pillow over `source`, with the host's defaults and a clock that stands where [`call`] has it.
pub(crate) fn pillow(
    source: Arc<dyn Source>,
    topic: &str,
    documents: Arc<dyn DocumentStore>,
    workers: Workers,
) -> Pillow {
    let clock = Clock::Fixed(Timestamp::UNIX_EPOCH);
    let limits = Limits { count: NonZeroUsize::new(256).unwrap(), bytes: NonZeroUsize::new(512 << 10).unwrap() };
    Pillow {
        name: PillowName::new("bench"),
        source,
        topics: vec![Arc::from(topic)],
        start: Start::Earliest,
        fetcher: Fetcher { default: documents, by_source: HashMap::new() },
        checkpoints: Arc::new(MemoryStore::new(clock)),
        workers,
        tuning: Tuning {
            limits,
            in_flight: 8,
            collapse: Collapse::ByDocument,
            failures: FailureLimit { share: 0.5, window: 1000, minimum: 100 },
            queue_delay: std::time::Duration::from_secs(30),
            gathering: Tuning::GATHERING,
        },
        in_flight: Arc::new(Semaphore::new(64)),
        clock,
        status: Arc::new(Status::new(clock.now(), PillowName::new("bench"), Arc::new(Metrics::new()))),
    }
}

/// The pillow over the cases.
pub(crate) fn case_pillow(input: &Input, workers: Workers) -> Pillow {
    pillow(Arc::new(input.log.clone()), TOPIC, Arc::new(input.store.clone()), workers)
}

/// Runs a pillow until it has caught up; what it counted. Nothing may have failed.
pub(crate) async fn run(pillow: Pillow, generations: watch::Receiver<Arc<Generation>>) -> Counts {
    let status = Arc::clone(&pillow.status);
    let (_paused, paused) = watch::channel(false);
    let (_retries, retries) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let mut caught_up = status.caught_up();
    let running = Runner::new(pillow, generations, paused, retries).run(stop.clone());
    let (end, ()) = tokio::join!(running, async {
        caught_up.wait_for(|caught_up| *caught_up).await.unwrap();
        stop.cancel();
    });
    assert!(matches!(end, End::Stopped), "{end:?}");
    let counts = status.snapshot().counts;
    assert_eq!((counts.parked, counts.settled), (0, counts.read), "everything is settled and nothing parked");
    counts
}

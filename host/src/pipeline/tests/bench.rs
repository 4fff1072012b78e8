//! A pillow over adapters in memory, and a run of it.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc as std_mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::checkpoints::Checkpoints;
use crate::checkpoint::{CheckpointStore, Parked, ParkedFilter};
use crate::documents::DocumentStore;
use crate::documents::memory::MemoryDocuments;
use crate::feed::memory::MemoryLog;
use crate::feed::{Limits, Start};
use crate::metrics::Metrics;
use crate::model::{Clock, Collapse, DocumentKey, Partition, PillowName, ProcessorName, chain};
use crate::pipeline::{
    End, FailureLimit, Fetcher, Generation, LookupStores, Pillow, Runner, Snapshot, Stage, State, Status, Tuning,
    Workers,
};
use crate::processor::native::NativeProcessor;
use crate::replay::Order;
use crate::sink::Sink;
use crate::sink::memory::MemorySink;

/// The bound of every wait, in real time.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) const TOPIC: &str = "t";
const WORKERS: usize = 4;

/// Everything around a pillow. The runs of one bench follow each other, or contend, as hosts do.
pub(super) struct Bench {
    pub(super) log: MemoryLog,
    pub(super) documents: MemoryDocuments,
    /// Where the documents of changes are; these `documents`, unless a test says otherwise.
    pub(super) store: Arc<dyn DocumentStore>,
    /// What answers the look-up `l`.
    pub(super) looked_up: MemoryDocuments,
    pub(super) sink: MemorySink,
    /// The sink as generations share it.
    shared_sink: Arc<dyn Sink>,
    pub(super) checkpoints: Checkpoints,
    pub(super) workers: Workers,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) tuning: Tuning,
    pub(super) start: Start,
    pub(super) pillow: PillowName,
}

/// A pillow that runs.
pub(super) struct Run {
    pub(super) status: Arc<Status>,
    pub(super) generations: watch::Sender<Arc<Generation>>,
    pub(super) paused: watch::Sender<bool>,
    pub(super) retries: mpsc::Sender<Vec<Parked>>,
    pub(super) orders: watch::Sender<Option<Arc<Order>>>,
    pub(super) stop: CancellationToken,
    task: JoinSet<End>,
}

impl Bench {
    /// A bench with so many partitions, whose batches hold so many changes.
    pub(super) fn new(partitions: u32, batch: usize) -> Self {
        let limits = Limits { count: NonZeroUsize::new(batch).unwrap(), bytes: NonZeroUsize::new(1 << 20).unwrap() };
        let documents = MemoryDocuments::default();
        let sink = MemorySink::recording();
        Self {
            log: MemoryLog::new(&[TOPIC], partitions),
            store: Arc::new(documents.clone()),
            documents,
            looked_up: MemoryDocuments::default(),
            shared_sink: Arc::new(sink.clone()),
            sink,
            checkpoints: Checkpoints::default(),
            workers: Workers::start(WORKERS).unwrap(),
            in_flight: Arc::new(Semaphore::new(64)),
            tuning: Tuning {
                limits,
                in_flight: 8,
                collapse: Collapse::ByDocument,
                failures: FailureLimit { share: 1.0, window: 1000, minimum: 1000 },
                queue_delay: Duration::ZERO,
                gathering: Tuning::GATHERING,
            },
            start: Start::Earliest,
            pillow: PillowName::new("pillow"),
        }
    }

    /// The same feed, stores and sink, as another host has them.
    pub(super) fn as_another_host(&self) -> Self {
        Self {
            log: self.log.clone(),
            documents: self.documents.clone(),
            store: Arc::clone(&self.store),
            looked_up: self.looked_up.clone(),
            sink: self.sink.clone(),
            shared_sink: Arc::clone(&self.shared_sink),
            checkpoints: self.checkpoints.of_another_host(),
            workers: Workers::start(WORKERS).unwrap(),
            in_flight: Arc::new(Semaphore::new(64)),
            tuning: self.tuning,
            start: self.start,
            pillow: self.pillow.clone(),
        }
    }

    /// Stores a document and publishes its change to partition 0.
    pub(super) fn publish(&self, id: &str, content: &str) {
        self.publish_to(0, id, content);
    }

    pub(super) fn publish_to(&self, number: u32, id: &str, content: &str) {
        self.documents.put(DocumentKey::new("s", id), content.to_owned());
        self.change(number, id);
    }

    /// Publishes a change without touching the document.
    pub(super) fn change(&self, number: u32, id: &str) {
        self.log.push(&partition(number), format!(r#"{{"document_id":"{id}","data_source_name":"s"}}"#));
    }

    /// Processors with the index `i` in the sink and the look-up `l`.
    pub(super) fn generation(&self, number: u64, processors: &[(&str, &NativeProcessor)]) -> Arc<Generation> {
        self.generation_into(number, processors, &self.shared_sink)
    }

    pub(super) fn generation_into(
        &self,
        number: u64,
        processors: &[(&str, &NativeProcessor)],
        sink: &Arc<dyn Sink>,
    ) -> Arc<Generation> {
        let looked_up: Arc<dyn DocumentStore> = Arc::new(self.looked_up.clone());
        let stage = |(name, processor): &(&str, &NativeProcessor)| {
            let stores = HashMap::from([(Arc::from("l"), Arc::clone(&looked_up))]);
            let lookups = Arc::new(LookupStores::new(stores));
            let processor = Arc::new((*processor).clone());
            let (tables, indices) = (Some(Arc::clone(sink)), Some(Arc::clone(sink)));
            Stage::new(ProcessorName::new(name), processor, lookups, tables, indices, WORKERS)
        };
        Arc::new(Generation { number, stages: processors.iter().map(stage).collect() })
    }

    /// Runs one processor, called `p`.
    pub(super) fn run(&self, processor: &NativeProcessor) -> Run {
        self.run_generation(self.generation(1, &[("p", processor)]))
    }

    pub(super) fn run_generation(&self, generation: Arc<Generation>) -> Run {
        let status = Arc::new(Status::new(Clock::System.now(), self.pillow.clone(), Arc::new(Metrics::new())));
        let pillow = Pillow {
            name: self.pillow.clone(),
            source: Arc::new(self.log.clone()),
            topics: vec![TOPIC.into()],
            start: self.start,
            fetcher: Fetcher { default: Arc::clone(&self.store), by_source: HashMap::new() },
            checkpoints: Arc::new(self.checkpoints.clone()),
            workers: self.workers.clone(),
            tuning: self.tuning,
            in_flight: Arc::clone(&self.in_flight),
            clock: Clock::System,
            status: Arc::clone(&status),
        };
        let generations = watch::Sender::new(generation);
        let paused = watch::Sender::new(false);
        let (retries, retried) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let orders = watch::Sender::new(None);
        let runner = Runner::new(pillow, generations.subscribe(), paused.subscribe(), retried)
            .with_backfills(orders.subscribe());
        let mut task = JoinSet::new();
        task.spawn(Box::pin(runner.run(stop.clone())));
        Run { status, generations, paused, retries, orders, stop, task }
    }

    /// What is parked, by processor, document and message.
    pub(super) async fn parked(&self) -> Vec<String> {
        let parked = self.parked_entries().await;
        parked.iter().map(|entry| format!("{}: {}", entry.failure.id.document.id, entry.failure.message)).collect()
    }

    pub(super) async fn parked_entries(&self) -> Vec<Parked> {
        self.checkpoints.parked(&ParkedFilter::default()).await.unwrap()
    }

    /// Where the checkpoints stand, partition by partition.
    pub(super) async fn at(&self) -> Vec<Option<u64>> {
        let stored = self.checkpoints.checkpoints(Some(&self.pillow)).await.unwrap();
        stored.iter().map(|stored| stored.checkpoint.as_ref().map(|at| at.position.as_number())).collect()
    }

    /// The indexed documents, by id.
    pub(super) fn indexed(&self) -> BTreeMap<String, String> {
        self.sink.documents("i").into_iter().map(|(id, document)| (id, document["n"].to_string())).collect()
    }
}

impl Run {
    pub(super) fn snapshot(&self) -> Snapshot {
        self.status.snapshot()
    }

    /// Waits until everything that was published is settled.
    pub(super) async fn caught_up(&self) {
        let mut caught_up = self.status.caught_up();
        // A change that was published a moment ago is not yet read; the loop sees it before it waits again.
        settle_down().await;
        within(caught_up.wait_for(|caught_up| *caught_up)).await.unwrap();
    }

    /// Waits until it says that it waits for something with this in its reason.
    pub(super) async fn waits_for(&self, what: &str) {
        until(|| matches!(self.snapshot().state, State::Waiting { reason } if reason.contains(what))).await;
    }

    pub(super) async fn ended(&mut self) -> End {
        within(self.task.join_next()).await.unwrap().unwrap()
    }

    /// Stops it in order.
    pub(super) async fn stopped(&mut self) {
        self.stop.cancel();
        let end = self.ended().await;
        assert!(matches!(end, End::Stopped), "{end:?}");
    }

    /// Waits for its end; the error of the owner that lost its partition.
    pub(super) async fn lost(&mut self) -> String {
        match self.ended().await {
            End::Lost(error) => chain(&error),
            end => panic!("{end:?}"),
        }
    }
}

pub(super) fn partition(number: u32) -> Partition {
    Partition::new(TOPIC, number)
}

/// Lets everything that can go on do so.
pub(super) async fn settle_down() {
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
}

/// Waits for a condition.
pub(super) async fn until(condition: impl Fn() -> bool) {
    within(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// Bounds a wait in real time: under a paused clock an hour may pass while a thread takes a breath.
pub(super) async fn within<T>(wait: impl Future<Output = T>) -> T {
    let (expired, expires) = oneshot::channel();
    let (done, is_done) = std_mpsc::channel::<()>();
    std::thread::spawn(move || match is_done.recv_timeout(PATIENCE) {
        Err(std_mpsc::RecvTimeoutError::Timeout) => expired.send(()),
        _ => Ok(()),
    });
    let result = tokio::select! {
        result = wait => Some(result),
        Ok(()) = expires => None,
    };
    drop(done);
    result.unwrap_or_else(|| panic!("it did not come within {PATIENCE:?}"))
}

//! What a pillow says of itself: state, lanes, counts. Read by heartbeats and by whoever waits for "caught up".

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use opentelemetry::KeyValue;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::feed::End;
use crate::metrics::{FEED_TYPES, Metrics, PillowMetrics, ProcessorMetrics};
use crate::model::{Batch, Change, DocumentKey, Failure, Origin, Partition, PillowName, Position, ProcessorName};
use crate::traces::{BatchTrace, Traces};

use super::halt::Cause;
use super::process::Processed;

/// What a pillow is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum State {
    /// It acquires its partitions.
    Starting,
    /// It reads and settles.
    Running,
    /// Something that it needs does not answer; it tries again by itself.
    Waiting {
        /// What, and why.
        reason: String,
    },
    /// An operator paused it.
    Paused,
    /// Too many changes failed; an operator has to act.
    Halted {
        /// The most frequent causes.
        causes: Vec<String>,
    },
    /// It cannot run as it is configured; it is tried again when a file changes, and from time to time.
    Failed {
        /// Why.
        reason: String,
    },
    /// It stopped in order.
    Stopped,
}

/// Something that a pillow needs and that may be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Need {
    Feed,
    Database,
    Documents,
    Processing,
    Sink,
}

impl fmt::Display for Need {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Feed => "feed",
            Self::Database => "checkpoint database",
            Self::Documents => "document store",
            Self::Processing => "processing",
            Self::Sink => "sink",
        })
    }
}

/// So long may an answer take before the pillow is said to wait for it: one that is slow is not away.
const SILENCE: Duration = Duration::from_secs(5);

/// How many changes went where, since the pillow started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Entries read.
    pub read: u64,
    /// Changes that a later one of the same batch made superfluous.
    pub collapsed: u64,
    /// Documents that were there.
    pub fetched: u64,
    /// Pairs of change and processor for which there was nothing to do.
    pub skipped: u64,
    /// Writes that sinks acknowledged and rows that were committed.
    pub written: u64,
    /// Failures that were parked.
    pub parked: u64,
    /// Entries settled.
    pub settled: u64,
    /// Retries that succeeded or failed again.
    pub retried: u64,
    /// Batches settled.
    pub batches: u64,
    /// Settles: several batches may share one.
    pub settles: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            read: self.read + other.read,
            collapsed: self.collapsed + other.collapsed,
            fetched: self.fetched + other.fetched,
            skipped: self.skipped + other.skipped,
            written: self.written + other.written,
            parked: self.parked + other.parked,
            settled: self.settled + other.settled,
            retried: self.retried + other.retried,
            batches: self.batches + other.batches,
            settles: self.settles + other.settles,
        }
    }
}

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LaneStatus {
    /// Settled up to here.
    pub settled: Option<String>,
    /// Batches in flight.
    pub in_flight: usize,
    /// Entries between the checkpoint and the end, as last asked.
    pub lag: Option<u64>,
}

/// A copy of everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// What it is doing.
    #[serde(flatten)]
    pub state: State,
    /// Since when.
    pub since: Timestamp,
    /// Whether every partition was read to its end and all is settled.
    pub caught_up: bool,
    /// Counts since the start.
    pub counts: Counts,
    /// The lanes, by partition.
    pub lanes: BTreeMap<String, LaneStatus>,
    /// Publish-to-settle time of the latest settled change, in milliseconds.
    pub delay_ms: Option<i64>,
}

/// The shared, current status of one pillow.
#[derive(Debug)]
pub struct Status {
    inner: Mutex<Snapshot>,
    /// What it waits for, and why; locked after `inner`.
    missing: Mutex<BTreeMap<Need, String>>,
    caught_up: watch::Sender<bool>,
    pillow: PillowName,
    metrics: Arc<Metrics>,
    own: PillowMetrics,
    /// The handles of its processors, made when they are first needed.
    processors: Mutex<HashMap<ProcessorName, ProcessorMetrics>>,
    traces: Traces,
    feed_type: &'static str,
}

impl Status {
    /// A pillow that is starting. What it counts shows in `metrics` as well.
    pub fn new(now: Timestamp, pillow: PillowName, metrics: Arc<Metrics>) -> Self {
        let snapshot = Snapshot {
            state: State::Starting,
            since: now,
            caught_up: false,
            counts: Counts::default(),
            lanes: BTreeMap::new(),
            delay_ms: None,
        };
        let own = metrics.pillow(&pillow);
        Self {
            inner: Mutex::new(snapshot),
            missing: Mutex::default(),
            caught_up: watch::Sender::new(false),
            pillow,
            metrics,
            own,
            processors: Mutex::default(),
            traces: Traces::default(),
            feed_type: FEED_TYPES[0],
        }
    }

    /// The same, which traces its batches.
    #[must_use]
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// The same, of a pillow that reads a feed of this type.
    #[must_use]
    pub fn fed_by(self, feed_type: &'static str) -> Self {
        Self { feed_type, ..self }
    }

    /// What decides which batches are traced.
    pub(super) fn traces(&self) -> &Traces {
        &self.traces
    }

    /// The status now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Whether the pillow has caught up, now and whenever it changes.
    pub fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.subscribe()
    }

    /// Sets the state. One that runs is said to wait as long as something is missing.
    pub fn set(&self, state: State) {
        let mut inner = self.lock();
        let missing = self.lock_missing();
        let state = if state == State::Running { running(&missing) } else { state };
        if inner.state != state {
            inner.state = state;
            inner.since = Timestamp::now();
        }
    }

    /// Notes that the pillow waits for something and tries it again.
    pub(super) fn waits(&self, need: Need, reason: &str) {
        self.own.outage_retries.inc();
        self.misses(need, reason);
    }

    /// Notes that something is missing; only a running pillow is said to wait.
    pub(super) fn misses(&self, need: Need, reason: &str) {
        self.lock_missing().insert(need, format!("{need}: {reason}"));
        self.show_missing();
    }

    /// Notes that what it waited for is back.
    pub(super) fn has(&self, need: Need) {
        if self.lock_missing().remove(&need).is_some() {
            self.show_missing();
        }
    }

    /// Waits for an answer of what it needs, and says so when that takes longer than it should. Whether it came to
    /// anything is for the caller to note.
    pub(super) async fn expect<T>(&self, need: Need, answer: impl Future<Output = T>) -> T {
        tokio::pin!(answer);
        match timeout(SILENCE, &mut answer).await {
            Ok(answer) => answer,
            Err(_) => {
                self.misses(need, &format!("no answer for {SILENCE:?}"));
                answer.await
            }
        }
    }

    fn show_missing(&self) {
        let is_shown = matches!(self.lock().state, State::Running | State::Waiting { .. } | State::Starting);
        if is_shown {
            self.set(State::Running);
        }
    }

    fn lock_missing(&self) -> std::sync::MutexGuard<'_, BTreeMap<Need, String>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut inner = self.lock();
        let before = inner.counts;
        change(&mut inner.counts);
        let counts = inner.counts;
        drop(inner);
        self.own.read.inc_by(counts.read - before.read);
        self.own.collapsed.inc_by(counts.collapsed - before.collapsed);
        self.own.settled.inc_by(counts.settled - before.settled);
        self.own.batches.inc_by(counts.batches - before.batches);
        self.own.commits.inc_by(counts.settles - before.settles);
    }

    /// Counts the changes of a batch that closes, before they are collapsed, and all its entries.
    pub(super) fn count_read(&self, changes: &[Arc<Change>], entries: usize) {
        self.own.batch_entries.observe(f64::from(u32::try_from(entries).unwrap_or(u32::MAX)));
        self.metrics.original().read(&self.pillow, changes);
    }

    pub(super) fn fetched(&self, took: Duration) {
        self.own.fetch_seconds.observe(took.as_secs_f64());
    }

    /// Counts what settled, by processor, and what was parked with it.
    pub(super) fn count_settled(&self, batches: &[Processed], failures: &[Failure], took: Duration, now: Timestamp) {
        self.own.settle_seconds.observe(took.as_secs_f64());
        for processed in batches {
            let age = now.duration_since(processed.batch.time).as_secs_f64();
            self.own.batch_seconds.observe(age.max(0.0));
            self.count_original(&processed.batch, failures, age, now);
            for (stage, tally) in processed.generation.stages.iter().zip(&processed.tallies) {
                let metrics = self.processor(&stage.name);
                metrics.written.inc_by(tally.written);
                metrics.skipped.inc_by(tally.skipped);
                metrics.failed.inc_by(tally.failed);
                if matches!(processed.batch.origin, Origin::Retry(_)) {
                    metrics.retries_resolved.inc_by(tally.written + tally.skipped);
                    metrics.retries_failed.inc_by(tally.failed);
                }
            }
        }
        for failure in failures {
            self.metrics.original().failed(&self.pillow, failure.kind.as_str());
            match &failure.id.processor {
                Some(processor) => {
                    self.processor(processor).parked(failure.kind).inc();
                }
                None => {
                    self.own.undecodable.inc();
                }
            }
        }
    }

    fn processor(&self, name: &ProcessorName) -> ProcessorMetrics {
        let mut processors = self.processors.lock().unwrap_or_else(PoisonError::into_inner);
        match processors.get(name) {
            Some(known) => known.clone(),
            None => processors.entry(name.clone()).or_insert(self.metrics.processor(&self.pillow, name)).clone(),
        }
    }

    /// Counts a batch of the feed as the original does.
    fn count_original(&self, batch: &Batch, failures: &[Failure], age: f64, now: Timestamp) {
        let (Origin::Feed, Some(progress)) = (batch.origin, &batch.progress) else { return };
        let original = self.metrics.original();
        let topic = &progress.partition.topic;
        let number = Some(progress.partition.number);
        original.checkpoint(&self.pillow, topic, number, &progress.next);
        let changes = u32::try_from(batch.changes.len()).unwrap_or(u32::MAX);
        original.processed(&self.pillow, changes, age);
        let failed: HashSet<&DocumentKey> = failures.iter().map(|failure| &failure.id.document).collect();
        original.succeeded(&self.pillow, batch.changes.iter().filter(|change| !failed.contains(&change.key)));
        let age_of = |change: Option<&Arc<Change>>| Some(now.duration_since(change?.published_at?).as_secs_f64());
        if let Some(seconds) = age_of(batch.changes.first()) {
            original.chunk_lag(&self.pillow, seconds);
        }
        if let Some(seconds) = age_of(batch.changes.last()) {
            original.lag(&self.pillow, topic, number, seconds);
        }
    }

    /// The trace of a batch that was read since `turned`, if it is traced.
    pub(super) fn begin_trace(&self, turned: SystemTime) -> Option<Box<BatchTrace>> {
        let mut trace = self.traces.begin(turned)?;
        trace.note("read", turned, Vec::new());
        Some(Box::new(trace))
    }

    /// Ends the traces of batches that settled.
    pub(super) fn finish_traces(&self, batches: &mut [Processed]) {
        for processed in batches {
            if let Some(trace) = processed.trace.take() {
                trace.finish(self.trace_attributes(processed));
            }
        }
    }

    /// What a trace says of a batch that settled: names and numbers, no ids.
    fn trace_attributes(&self, processed: &Processed) -> Vec<KeyValue> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let Processed { batch, generation, .. } = processed;
        vec![
            KeyValue::new("pillow", self.pillow.to_string()),
            KeyValue::new("topic", Arc::clone(&batch.partition.topic)),
            KeyValue::new("partition", i64::from(batch.partition.number)),
            KeyValue::new("generation", generation.number.cast_signed()),
            KeyValue::new("entries", number(batch.read)),
            KeyValue::new("changes", number(batch.changes.len())),
            KeyValue::new("failed", processed.tallies.iter().map(|tally| tally.failed).sum::<u64>().cast_signed()),
        ]
    }

    pub(super) fn set_delay(&self, milliseconds: i64) {
        self.lock().delay_ms = Some(milliseconds);
    }

    pub(super) fn set_caught_up(&self, caught_up: bool) {
        let changed = {
            let mut inner = self.lock();
            std::mem::replace(&mut inner.caught_up, caught_up) != caught_up
        };
        if changed {
            self.caught_up.send_replace(caught_up);
        }
    }

    /// Notes that a partition is read here, so that other hosts see it.
    pub(super) fn own(&self, partition: &Partition) {
        self.lane(partition, |_| {});
    }

    /// Notes that a partition is not read here any more.
    pub(super) fn disown(&self, partition: &Partition) {
        self.lock().lanes.remove(&partition.to_string());
        self.metrics.forget_lane(&self.pillow, partition);
    }

    /// Notes that a run begins, which has no partition yet.
    pub(super) fn begin(&self) {
        self.lock_missing().clear();
        self.set(State::Starting);
        self.set_caught_up(false);
        self.lock().lanes.clear();
    }

    pub(super) fn set_settled(&self, partition: &Partition, position: &Position) {
        self.lane(partition, |lane| lane.settled = Some(position.to_string()));
    }

    pub(super) fn set_in_flight(&self, partition: &Partition, batches: usize) {
        self.metrics.lane(&self.pillow, partition).queued_batches.set(i64::try_from(batches).unwrap_or(i64::MAX));
        self.lane(partition, |lane| lane.in_flight = batches);
    }

    /// Notes how far the checkpoint of a partition is from its end.
    pub(super) fn set_end(&self, checkpoint: Option<&Position>, end: &End) {
        if let Some(checkpoint) = checkpoint {
            let compared = (checkpoint, &end.position, end.lag);
            self.metrics.original().compared(&self.pillow, self.feed_type, &end.partition, compared);
        }
        self.set_lag(&end.partition, end.lag);
    }

    fn set_lag(&self, partition: &Partition, lag: Option<u64>) {
        if let Some(lag) = lag {
            self.metrics.lane(&self.pillow, partition).lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
        self.lane(partition, |lane| lane.lag = lag);
    }

    fn lane(&self, partition: &Partition, change: impl FnOnce(&mut LaneStatus)) {
        let mut inner = self.lock();
        let lane =
            inner.lanes.entry(partition.to_string()).or_insert(LaneStatus { settled: None, in_flight: 0, lag: None });
        change(lane);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Snapshot> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state of a pillow that runs, as far as it can.
fn running(missing: &BTreeMap<Need, String>) -> State {
    if missing.is_empty() {
        return State::Running;
    }
    State::Waiting { reason: missing.values().cloned().collect::<Vec<_>>().join("; ") }
}

impl State {
    /// The state of a pillow that halted.
    pub fn halted(causes: &[Cause]) -> Self {
        Self::Halted { causes: causes.iter().map(Cause::to_string).collect() }
    }
}

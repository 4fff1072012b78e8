//! What a pillow says of itself: state, lanes, counts. Read by heartbeats and by whoever waits for "caught up".

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use crate::metrics::{Metrics, PillowMetrics};
use crate::model::{Failure, Origin, Partition, PillowName, Position};

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
    caught_up: watch::Sender<bool>,
    pillow: PillowName,
    metrics: Arc<Metrics>,
    own: PillowMetrics,
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
        Self { inner: Mutex::new(snapshot), caught_up: watch::Sender::new(false), pillow, metrics, own }
    }

    /// The status now.
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    /// Whether the pillow has caught up, now and whenever it changes.
    pub fn caught_up(&self) -> watch::Receiver<bool> {
        self.caught_up.subscribe()
    }

    /// Sets the state.
    pub fn set(&self, state: State) {
        let mut inner = self.lock();
        if inner.state != state {
            inner.state = state;
            inner.since = Timestamp::now();
        }
    }

    /// Notes that the pillow waits for something; only a running one is said to wait.
    pub(super) fn waits(&self, state: State) {
        self.own.outage_retries.inc();
        let waiting = matches!(self.lock().state, State::Running | State::Waiting { .. } | State::Starting);
        if waiting {
            self.set(state);
        }
    }

    /// Notes that what it waited for is back.
    pub(super) fn goes_on(&self) {
        let waiting = matches!(self.lock().state, State::Waiting { .. });
        if waiting {
            self.set(State::Running);
        }
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut inner = self.lock();
        let before = inner.counts;
        change(&mut inner.counts);
        let counts = inner.counts;
        drop(inner);
        self.own.read.inc_by(counts.read - before.read);
        self.own.collapsed.inc_by(counts.collapsed - before.collapsed);
        self.own.batches.inc_by(counts.batches - before.batches);
        self.own.commits.inc_by(counts.settles - before.settles);
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
            for (stage, tally) in processed.generation.stages.iter().zip(&processed.tallies) {
                let metrics = self.metrics.processor(&self.pillow, &stage.name);
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
            match &failure.id.processor {
                Some(processor) => {
                    self.metrics.processor(&self.pillow, processor).parked(failure.kind).inc();
                }
                None => {
                    self.own.undecodable.inc();
                }
            }
        }
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

    pub(super) fn set_settled(&self, partition: &Partition, position: &Position) {
        self.lane(partition, |lane| lane.settled = Some(position.to_string()));
    }

    pub(super) fn set_in_flight(&self, partition: &Partition, batches: usize) {
        self.metrics.lane(&self.pillow, partition).queued_batches.set(i64::try_from(batches).unwrap_or(i64::MAX));
        self.lane(partition, |lane| lane.in_flight = batches);
    }

    pub(super) fn set_lag(&self, partition: &Partition, lag: Option<u64>) {
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

impl State {
    /// The state of a pillow that halted.
    pub fn halted(causes: &[Cause]) -> Self {
        Self::Halted { causes: causes.iter().map(Cause::to_string).collect() }
    }
}

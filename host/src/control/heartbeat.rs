//! Once a second: says how the pillows are, and hears what operators want.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::checkpoint::{CheckpointStore, HEARTBEAT_LIFETIME, Heartbeat, Parked, ParkedFilter, QueueLength};
use crate::model::{Outage, PillowName, chain, timestamp_text};
use crate::pipeline::Snapshot;

use super::pillows::{Pillows, Running};
use super::supervise::Handle;

/// Retries of one pillow that are taken up at once; the others follow with the next beat.
const MOST_RETRIES: u32 = 500;
/// So many beats a runner has for the retries that it was given; doing one twice costs work and changes nothing.
const OFFER_AGAIN_AFTER: u32 = 30;
/// So many beats between two counts of what is parked: the whole table is read for it.
const COUNT_EVERY: u32 = 15;
/// So many beats between two looks at how long the queues are.
const MEASURE_EVERY: u32 = 5;
/// Longer than this nobody waits for the database: a beat that comes too late is worth as little as none.
const LIMIT: Duration = Duration::from_secs(5);

/// What is remembered between two beats.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Settled entries at the last beat, for rates.
    settled: HashMap<PillowName, (Timestamp, u64)>,
    /// Retries that were handed to a runner and are still due.
    dispatched: HashSet<i64>,
    /// Beats until the dispatched ones are offered again: a run that ended has forgotten them.
    until_offered_again: u32,
    /// Beats until what is parked is counted.
    until_counted: u32,
    /// Beats until the queues are measured.
    until_measured: u32,
    /// The queues as they were measured last.
    queues: HashMap<PillowName, QueueLength>,
    /// Whether the last beat failed: a database that is down is said once.
    failing: bool,
    /// Whether hosts that died were cleared away.
    cleared: bool,
}

/// The retries that are due for the pillows of this host.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Due {
    /// Their numbers.
    pub(super) numbers: HashSet<i64>,
    /// Those among them whose processor the pillow has no more.
    pub(super) orphans: HashSet<i64>,
}

impl Pulse {
    /// One beat for all pillows of this host; says which retries are due. A database that does not answer is noted and
    /// tried with the next beat.
    pub(super) async fn beat(
        &mut self,
        host: &str,
        store: &Arc<dyn CheckpointStore>,
        pillows: &Pillows,
        now: Timestamp,
    ) -> Option<Due> {
        let failed = match timeout(LIMIT, self.exchange(host, store, pillows, now)).await {
            Ok(Ok(due)) => {
                self.failing = false;
                return Some(due);
            }
            Ok(Err(outage)) => chain(&outage),
            Err(_) => format!("no answer within {LIMIT:?}"),
        };
        if !self.failing {
            self.failing = true;
            tracing::warn!(error = failed, "no heartbeat: the database does not answer");
        }
        None
    }

    async fn exchange(
        &mut self,
        host: &str,
        store: &Arc<dyn CheckpointStore>,
        pillows: &Pillows,
        now: Timestamp,
    ) -> Result<Due, Outage> {
        if !self.cleared {
            self.clear(store, now).await?;
        }
        let beat =
            |pillow: &PillowName, status| Heartbeat { pillow: pillow.clone(), host: host.to_owned(), at: now, status };
        self.measure_queues(store, pillows, now).await?;
        let mut beats = Vec::new();
        for (name, running) in pillows.running() {
            let snapshot = running.handle.status.snapshot();
            let rate = self.rate(name, now, &snapshot);
            let mut status = describe(&snapshot, running, rate);
            let queue = self.queues.get(name).copied().unwrap_or_default();
            status["queue"] = json!({ "length": queue.entries, "oldest": queue.oldest.map(timestamp_text) });
            beats.push(beat(name, with_lists(status, pillows.lists(name))));
        }
        for (name, refused) in pillows.unstarted() {
            let since = timestamp_text(refused.at);
            let status = json!({ "state": "failed", "reason": refused.reason, "since": since });
            beats.push(beat(name, with_lists(status, pillows.lists(name))));
        }
        store.beat(&beats).await?;
        self.count_parked(store, pillows).await?;
        let mut due = Due::default();
        let mut parked = Vec::new();
        for (name, running) in pillows.running() {
            let is_paused = store.is_paused(name).await?;
            running.handle.pause(is_paused);
            // Retries of what is parked are an operator's wish; the queue is the pillow's own work, and rests with it.
            let queued = if is_paused { Vec::new() } else { store.queued(name, now, MOST_RETRIES).await? };
            parked.extend(queued.into_iter().filter(|entry| has_processor(&running.handle, entry)));
            let filter =
                ParkedFilter { pillow: Some(name.clone()), due: true, limit: MOST_RETRIES, ..ParkedFilter::default() };
            for entry in store.parked(&filter).await? {
                due.numbers.insert(entry.number);
                match has_processor(&running.handle, &entry) {
                    true => parked.push(entry),
                    false => drop(due.orphans.insert(entry.number)),
                }
            }
        }
        self.dispatch(parked, pillows);
        Ok(due)
    }

    async fn count_parked(&mut self, store: &Arc<dyn CheckpointStore>, pillows: &Pillows) -> Result<(), Outage> {
        if self.until_counted == 0 {
            let counts = store.count_parked().await?;
            for (name, running) in pillows.running() {
                running.count_parked(name, counts.get(name).copied().unwrap_or(0));
            }
            self.until_counted = COUNT_EVERY;
        }
        self.until_counted -= 1;
        Ok(())
    }

    async fn measure_queues(
        &mut self,
        store: &Arc<dyn CheckpointStore>,
        pillows: &Pillows,
        now: Timestamp,
    ) -> Result<(), Outage> {
        if self.until_measured == 0 {
            self.queues = store.queue_lengths().await?;
            self.until_measured = MEASURE_EVERY;
        }
        self.until_measured -= 1;
        for (name, running) in pillows.running() {
            running.measure_queue(self.queues.get(name).copied().unwrap_or_default(), now);
        }
        Ok(())
    }

    /// Takes away what hosts that died have left; one that lives writes its own anew within a second.
    async fn clear(&mut self, store: &Arc<dyn CheckpointStore>, now: Timestamp) -> Result<(), Outage> {
        for beat in store.heartbeats().await? {
            if now.duration_since(beat.at).unsigned_abs() > HEARTBEAT_LIFETIME {
                store.leave(&beat.host).await?;
            }
        }
        self.cleared = true;
        Ok(())
    }

    fn dispatch(&mut self, due: Vec<Parked>, pillows: &Pillows) {
        let still_due: HashSet<i64> = due.iter().map(|entry| entry.number).collect();
        if self.until_offered_again == 0 {
            self.until_offered_again = OFFER_AGAIN_AFTER;
            self.dispatched.clear();
        }
        self.until_offered_again -= 1;
        self.dispatched.retain(|number| still_due.contains(number));
        let mut by_pillow: BTreeMap<PillowName, Vec<Parked>> = BTreeMap::new();
        for entry in due {
            if !self.dispatched.contains(&entry.number) {
                by_pillow.entry(entry.pillow.clone()).or_default().push(entry);
            }
        }
        for (name, entries) in by_pillow {
            let Some(running) = pillows.running().get(&name) else { continue };
            let numbers: Vec<i64> = entries.iter().map(|entry| entry.number).collect();
            let queue = running.handle.retries.borrow().clone();
            // A full queue, or a pillow between two runs: the next beat offers them again.
            if queue.is_some_and(|queue| queue.try_send(entries).is_ok()) {
                self.dispatched.extend(numbers);
            }
        }
    }

    fn rate(&mut self, name: &PillowName, now: Timestamp, snapshot: &Snapshot) -> f64 {
        let settled = snapshot.counts.settled;
        let before = self.settled.insert(name.clone(), (now, settled));
        let Some((then, count)) = before else { return 0.0 };
        let seconds = now.duration_since(then).as_secs_f64();
        let more = u32::try_from(settled.saturating_sub(count)).unwrap_or(u32::MAX);
        if seconds > 0.0 { f64::from(more) / seconds } else { 0.0 }
    }
}

fn has_processor(handle: &Handle, entry: &Parked) -> bool {
    let generation = handle.generations.borrow();
    let named = entry.failure.id.processor.as_ref();
    named.is_some_and(|processor| generation.stages.iter().any(|stage| stage.name == *processor))
}

/// The status of a pillow as one JSON object: what `status` prints in another process.
fn describe(snapshot: &Snapshot, running: &Running, rate: f64) -> Value {
    let generation = running.handle.generations.borrow();
    let processors: Vec<Value> = generation
        .stages
        .iter()
        .zip(running.problems())
        .map(|(stage, problems)| {
            json!({ "name": stage.name.as_str(), "digest": stage.processor.digest().to_string(), "problems": problems })
        })
        .collect();
    let mut status = serde_json::to_value(snapshot).expect("a snapshot has texts as keys");
    status["generation"] = json!(generation.number);
    status["processors"] = json!(processors);
    status["rate"] = json!(rate);
    status["last_swap"] = running.last_swap.to_json();
    status
}

fn with_lists(mut status: Value, lists: &[Value]) -> Value {
    if !lists.is_empty() {
        status["lists"] = json!(lists);
    }
    status
}

//! Once a second: says how the pillows are, and hears what operators want.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::checkpoint::{CheckpointStore, Heartbeat, Parked, ParkedFilter};
use crate::model::{Outage, PillowName};
use crate::pipeline::{Generation, Snapshot};

use super::supervise::Handle;
use super::swap::LastSwap;

/// Retries that are taken up at once; the others follow with the next beat.
const MOST_RETRIES: u32 = 500;

/// So many beats a runner has for the retries that it was given; doing one twice costs work and changes nothing.
const OFFER_AGAIN_AFTER: u32 = 30;

/// A pillow of this host.
type Running<'a> = (&'a PillowName, &'a Handle, &'a LastSwap);

/// What is remembered between two beats.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// Settled entries at the last beat, for rates.
    settled: HashMap<PillowName, (Timestamp, u64)>,
    /// Retries that were handed to a runner and are still due.
    dispatched: HashSet<i64>,
    /// Beats until the dispatched ones are offered again: a run that ended has forgotten them.
    until_offered_again: u32,
    /// Whether the last beat failed: a database that is down is said once.
    failing: bool,
}

impl Pulse {
    /// One beat for all pillows of this host. A database that does not answer is noted and tried with the next beat.
    pub(super) async fn beat(
        &mut self,
        host: &str,
        store: &Arc<dyn CheckpointStore>,
        running: &[Running<'_>],
        now: Timestamp,
    ) {
        match self.exchange(host, store, running, now).await {
            Ok(()) => self.failing = false,
            Err(outage) if !self.failing => {
                self.failing = true;
                tracing::warn!(error = %crate::model::chain(&outage), "no heartbeat: the database does not answer");
            }
            Err(_) => {}
        }
    }

    async fn exchange(
        &mut self,
        host: &str,
        store: &Arc<dyn CheckpointStore>,
        running: &[Running<'_>],
        now: Timestamp,
    ) -> Result<(), Outage> {
        let mut beats = Vec::with_capacity(running.len());
        for (name, handle, last_swap) in running {
            let snapshot = handle.status.snapshot();
            let rate = self.rate(name, now, &snapshot);
            let status = describe(&snapshot, &handle.generations.borrow(), last_swap, rate);
            beats.push(Heartbeat { pillow: (*name).clone(), host: host.to_owned(), at: now, status });
        }
        store.beat(&beats).await?;
        for (name, handle, _) in running {
            let paused = store.is_paused(name).await?;
            handle.paused.send_if_modified(|known| std::mem::replace(known, paused) != paused);
        }
        let due = store.parked(&ParkedFilter { due: true, limit: MOST_RETRIES, ..ParkedFilter::default() }).await?;
        self.dispatch(due, running);
        Ok(())
    }

    fn dispatch(&mut self, due: Vec<Parked>, running: &[Running<'_>]) {
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
            let Some((_, handle, _)) = running.iter().find(|(known, ..)| **known == name) else { continue };
            let numbers: Vec<i64> = entries.iter().map(|entry| entry.number).collect();
            let queue = handle.retries.borrow().clone();
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

/// The status of a pillow as one JSON object: what `status` prints in another process.
fn describe(snapshot: &Snapshot, generation: &Generation, last_swap: &LastSwap, rate: f64) -> Value {
    let processors: Vec<Value> = generation
        .stages
        .iter()
        .map(|stage| {
            let problems: Vec<String> = stage
                .processor
                .description()
                .problems
                .iter()
                .map(|problem| format!("{}: {}", problem.path, problem.message))
                .collect();
            json!({ "name": stage.name.as_str(), "digest": stage.processor.digest().to_string(), "problems": problems })
        })
        .collect();
    let mut status = serde_json::to_value(snapshot).unwrap_or_default();
    status["generation"] = json!(generation.number);
    status["processors"] = json!(processors);
    status["rate"] = json!(rate);
    status["last_swap"] = last_swap.to_json();
    status
}

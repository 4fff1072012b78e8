//! Writes finished batches to their sinks, then commits: the only way in which progress moves.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use opentelemetry::KeyValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{CheckpointStore, Queue, SettleError, Settled, Settlement};
use crate::fault;
use crate::model::{
    Batch, Clock, Epoch, Failure, FailureKind, Origin, Outage, Partition, PillowName, ProcessorName, Resolved,
    RowWrite, chain,
};

use super::backoff::Backoff;
use super::deliver::{Load, Sorted, deliver_all, reject, sort, trace_writes};
use super::halt::{Cause, FailureWindow, causes};
use super::process::Processed;
use super::status::{Need, Status};

/// What settling needs; shared by all settles of a run.
pub(super) struct Settler {
    pub(super) pillow: PillowName,
    pub(super) checkpoints: Arc<dyn CheckpointStore>,
    pub(super) clock: Clock,
    pub(super) status: Arc<Status>,
    pub(super) window: Mutex<FailureWindow>,
    pub(super) queue_delay: Duration,
}

/// Consecutive finished batches, to be settled together.
pub(super) struct Group {
    pub(super) batches: Vec<Processed>,
    pub(super) owned: Vec<(Partition, Epoch)>,
}

/// What came of a group.
pub(super) enum Done {
    /// Committed, with every failure that was parked. What belonged to the `fenced` partitions was not, and is dropped.
    Settled { batches: Vec<Processed>, failures: Vec<Failure>, settled: Settled, fenced: Vec<(Partition, Epoch)> },
    /// Too many changes failed; nothing was committed.
    Halted(Vec<Cause>),
    /// Nothing was committed, and will not be.
    Refused(SettleError),
    /// An outage hid whether the settle committed, and the checkpoint has moved since: only a new run knows from where
    /// to go on.
    Unknown(String),
    /// The pillow was told to stop while a sink or the database was down; nothing was committed.
    Abandoned,
}

/// What is to be committed, and which batch of the group each part of it came from: another owner of one partition
/// must not keep the others from settling.
struct Draft {
    settlement: Settlement,
    parked_from: Vec<usize>,
    resolved_from: Vec<usize>,
    rows_from: Vec<usize>,
}

impl Settler {
    /// Settles a group. Waits as long as a sink or the database is down, unless `stop` says otherwise; never cut off
    /// half-way by its caller.
    pub(super) async fn settle(&self, mut group: Group, stop: &CancellationToken) -> Done {
        let Sorted { mut loads, rows, rows_from } = sort(&mut group.batches);
        let mut backoff = Backoff::new(group.batches.first().map_or(1, |processed| processed.batch.version.0));
        if !self.deliver(&mut loads, &mut backoff, stop).await {
            return Done::Abandoned;
        }
        trace_writes(&mut group.batches, &loads);
        fault::point("settle.sinks-flushed");
        self.status.has(Need::Sink);
        reject(&mut group.batches, loads);
        if let Err(causes) = self.judge(&group.batches) {
            return Done::Halted(causes);
        }
        let draft = self.draft(&mut group, rows, rows_from);
        backoff.reset();
        self.commit(draft, group.batches, backoff, stop).await
    }

    /// Gives the sinks their writes until they have them; false when the pillow is to stop instead.
    async fn deliver(&self, loads: &mut [Load], backoff: &mut Backoff, stop: &CancellationToken) -> bool {
        let mut tried_at = Instant::now();
        while let Err(outage) = self.status.expect(Need::Sink, deliver_all(loads)).await {
            let goes_on = self.wait(Need::Sink, &outage, backoff, stop).await;
            for load in loads.iter().filter(|load| load.delivered.is_none()) {
                load.counts.outage.inc_by(tried_at.elapsed().as_secs_f64());
            }
            tried_at = Instant::now();
            if !goes_on {
                return false;
            }
        }
        true
    }

    /// Whether the pillow may go on with so many failures.
    fn judge(&self, batches: &[Processed]) -> Result<(), Vec<Cause>> {
        // Retries are an operator's wish and prove nothing about the feed.
        let from_feed = || batches.iter().filter(|processed| processed.batch.origin.counts());
        let seen: usize =
            from_feed().map(|processed| processed.batch.changes.len() + processed.batch.undecodable.len()).sum();
        let failures = from_feed().flat_map(|processed| &processed.failures);
        let failed: Vec<Failure> = failures.filter(|failure| failure.kind != FailureKind::Deferred).cloned().collect();
        if seen == 0 { Ok(()) } else { self.window().record(seen, &failed) }
    }

    /// Commits what is drafted, without the partitions that another owner took meanwhile.
    async fn commit(
        &self,
        mut draft: Draft,
        mut batches: Vec<Processed>,
        mut backoff: Backoff,
        stop: &CancellationToken,
    ) -> Done {
        let began = SystemTime::now();
        let mut tried = false;
        let mut fenced = Vec::new();
        loop {
            match self.status.expect(Need::Database, self.checkpoints.settle(&draft.settlement)).await {
                Ok(settled) => {
                    fault::point("settle.committed");
                    self.status.has(Need::Database);
                    count_rows(&batches, &draft.settlement.rows, &settled.rejected);
                    trace_settle(&mut batches, began);
                    let failures = self.parked(draft.settlement, &settled);
                    return Done::Settled { batches, failures, settled, fenced };
                }
                Err(SettleError::Fenced { partition, epoch })
                    if draft.settlement.owned.contains(&(partition.clone(), epoch)) =>
                {
                    draft.leave_out(&partition, &mut batches);
                    fenced.push((partition, epoch));
                    if draft.settlement.owned.is_empty() {
                        let settled = Settled::default();
                        return Done::Settled { batches: Vec::new(), failures: Vec::new(), settled, fenced };
                    }
                }
                Err(SettleError::Outage(outage)) => {
                    tried = true;
                    if !self.wait(Need::Database, &outage, &mut backoff, stop).await {
                        return Done::Abandoned;
                    }
                }
                Err(SettleError::TooManyRejected(rejected)) => return Done::Halted(causes(&rejected)),
                Err(SettleError::Rewind(rewind)) if tried => {
                    return Done::Unknown(format!(
                        "a settle may have committed although the database was down: {rewind}"
                    ));
                }
                Err(refusal) => return Done::Refused(refusal),
            }
        }
    }

    /// The failures that were parked with a settlement; those that the database found count from now on.
    fn parked(&self, settlement: Settlement, settled: &Settled) -> Vec<Failure> {
        let Settlement { queue, parked: mut failures, .. } = settlement;
        // What waits in the queue is nobody's failure yet.
        let is_parked = |failure: &Failure| queue.attempts(failure).is_none();
        let rejected: Vec<Failure> = settled.rejected.iter().filter(|failure| is_parked(failure)).cloned().collect();
        self.window().add(&rejected);
        failures.retain(is_parked);
        failures.extend(rejected);
        failures
    }

    fn draft(&self, group: &mut Group, rows: Vec<RowWrite>, rows_from: Vec<usize>) -> Draft {
        let mut parked: Vec<(usize, Failure)> = Vec::new();
        let (mut resolved, mut resolved_from) = (Vec::new(), Vec::new());
        let mut progress = Vec::new();
        let mut changes = Vec::new();
        let mut digests = Vec::new();
        let mut taken = HashMap::new();
        for (at, processed) in group.batches.iter_mut().enumerate() {
            let done = std::mem::take(&mut processed.resolved);
            let failures = processed.take_failures();
            taken.extend(std::mem::take(&mut processed.batch.queued));
            // What an earlier batch of this settle failed at is not parked when this one did it, and parked once when
            // this one failed at it again. Only within a partition, because another one may yet be left out.
            parked.retain(|(_, earlier)| {
                let failed_again = || failures.iter().any(|failure| failure.id == earlier.id);
                earlier.partition != processed.batch.partition
                    || (!failed_again() && !done.iter().any(|done| resolves(done, earlier)))
            });
            resolved_from.resize(resolved_from.len() + done.len(), at);
            resolved.extend(done);
            parked.extend(failures.into_iter().map(|failure| (at, failure)));
            progress.extend(processed.batch.progress.clone());
            if !rows.is_empty() {
                let partition = &processed.batch.home;
                changes.extend(processed.batch.changes.iter().map(|change| (partition.clone(), Arc::clone(change))));
            }
            for stage in &processed.generation.stages {
                let digest = (stage.name.clone(), stage.processor.digest());
                if !digests.contains(&digest) {
                    digests.push(digest);
                }
            }
        }
        let (parked_from, parked) = parked.into_iter().unzip();
        let settlement = Settlement {
            pillow: self.pillow.clone(),
            owned: std::mem::take(&mut group.owned),
            progress,
            parked,
            resolved,
            rows,
            changes,
            most_rejected: self.window().allowance(),
            digests,
            queue: Queue { delay: self.queue_delay, taken },
            time: self.clock.now(),
        };
        Draft { settlement, parked_from, resolved_from, rows_from }
    }

    fn window(&self) -> MutexGuard<'_, FailureWindow> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits before the next try; false when the pillow is to stop instead.
    async fn wait(&self, need: Need, outage: &Outage, backoff: &mut Backoff, stop: &CancellationToken) -> bool {
        self.status.waits(need, &chain(outage));
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(backoff.wait()) => true,
        }
    }
}

impl Draft {
    /// Leaves out all that belongs to a partition, and its batches; those of a backfill too, which may hold documents of
    /// every partition.
    fn leave_out(&mut self, partition: &Partition, batches: &mut Vec<Processed>) {
        let goes = |batch: &Batch| batch.partition == *partition || matches!(batch.origin, Origin::Backfill(_));
        let stays: Vec<bool> = batches.iter().map(|processed| !goes(&processed.batch)).collect();
        let gone = batches.iter().map(|processed| &processed.batch).filter(|batch| goes(batch));
        let gone: BTreeSet<Partition> = gone.map(|batch| batch.partition.clone()).chain([partition.clone()]).collect();
        let Settlement { owned, progress, parked, resolved, rows, changes, .. } = &mut self.settlement;
        owned.retain(|(known, _)| !gone.contains(known));
        progress.retain(|progress| !gone.contains(&progress.partition));
        changes.retain(|(of, _)| !gone.contains(of));
        keep(parked, &mut self.parked_from, &stays);
        keep(resolved, &mut self.resolved_from, &stays);
        keep(rows, &mut self.rows_from, &stays);
        batches.retain(|processed| !goes(&processed.batch));
    }
}

/// Keeps what came from a batch that stays; `from` then names the batches by their new places.
fn keep<T>(items: &mut Vec<T>, from: &mut Vec<usize>, stays: &[bool]) {
    let mut kept = from.iter().map(|at| stays[*at]);
    items.retain(|_| kept.next().unwrap_or(false));
    from.retain(|at| stays[*at]);
    let places: Vec<usize> =
        stays.iter().scan(0, |next, stays| Some(std::mem::replace(next, *next + usize::from(*stays)))).collect();
    from.iter_mut().for_each(|at| *at = places[*at]);
}

/// Whether the success is one of what failed.
fn resolves(done: &Resolved, failure: &Failure) -> bool {
    failure.id.processor.as_ref() == Some(&done.processor)
        && failure.id.document == done.document
        && failure.id.part.as_ref().is_none_or(|part| !done.failed_parts.contains(part))
}

/// Counts rows that settled. A rejection names its processor.
fn count_rows(batches: &[Processed], rows: &[RowWrite], rejected: &[Failure]) {
    let mut counted: Vec<(&ProcessorName, u64)> = Vec::new();
    for row in rows {
        match counted.iter_mut().find(|(processor, _)| *processor == &row.processor) {
            Some((_, rows)) => *rows += 1,
            None => counted.push((&row.processor, 1)),
        }
    }
    for (processor, rows) in counted {
        let mut stages = batches.iter().flat_map(|processed| &processed.generation.stages);
        let Some(stage) = stages.find(|stage| stage.name == *processor) else { continue };
        let refused = rejected.iter().filter(|failure| failure.id.processor.as_ref() == Some(processor)).count() as u64;
        stage.counts.tables.taken.inc_by(rows.saturating_sub(refused));
        stage.counts.tables.rejected.inc_by(refused);
    }
}

fn trace_settle(batches: &mut [Processed], began: SystemTime) {
    let count = i64::try_from(batches.len()).unwrap_or(i64::MAX);
    for trace in batches.iter_mut().filter_map(|processed| processed.trace.as_mut()) {
        trace.note("settle", began, vec![KeyValue::new("batches", count)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_from_a_batch_that_is_left_out_goes_and_the_rest_keeps_its_order() {
        let mut items = vec!["a0", "b1", "c0", "d2", "e3", "f2"];
        let mut from = vec![0, 1, 0, 2, 3, 2];
        keep(&mut items, &mut from, &[true, false, true, false]);
        assert_eq!((items.as_slice(), from.as_slice()), (&["a0", "c0", "d2", "f2"][..], &[0, 0, 1, 1][..]));
        // Once more, for another partition: the batches are counted anew.
        keep(&mut items, &mut from, &[false, true]);
        assert_eq!((items, from), (vec!["d2", "f2"], vec![0, 0]));
    }
}

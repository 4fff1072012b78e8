//! Writes finished batches to their sinks, then commits: the only way in which progress moves.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use opentelemetry::KeyValue;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{CheckpointStore, Queue, SettleError, Settled, Settlement};
use crate::fault;
use crate::metrics::SinkMetrics;
use crate::model::Origin as BatchOrigin;
use crate::model::{
    Batch, Clock, Epoch, Failure, FailureKind, Outage, PartFailure, Partition, PillowName, ProcessorName, Resolved,
    RowWrite, Write, chain,
};
use crate::sink::{Rejected, Sink, Versioned};

use super::backoff::Backoff;
use super::halt::{Cause, FailureWindow, causes};
use super::process::{Processed, StagedWrite, failure_of};
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

/// The writes of a group for one sink, and where each came from.
struct Load {
    sink: Arc<dyn Sink>,
    writes: Vec<Versioned>,
    origin: Vec<Origin>,
    /// What the sink refused; none as long as it has not taken the writes.
    delivered: Option<Vec<Rejected>>,
    counts: SinkMetrics,
    /// When it was first given the writes, and when it had taken them.
    began: Option<SystemTime>,
    ended: Option<SystemTime>,
}

/// The writes of a group by where they go.
#[derive(Default)]
struct Sorted {
    loads: Vec<Load>,
    /// What goes into the settle, and which batch each row came from.
    rows: Vec<RowWrite>,
    rows_from: Vec<usize>,
}

/// Where a write came from.
struct Origin {
    /// Which batch of the group.
    batch: usize,
    stage: usize,
    change: usize,
    /// The part that it belongs to.
    part: Option<String>,
}

impl Load {
    fn new(sink: &Arc<dyn Sink>, counts: SinkMetrics) -> Self {
        let (writes, origin) = (Vec::new(), Vec::new());
        Self { sink: Arc::clone(sink), writes, origin, delivered: None, counts, began: None, ended: None }
    }
}

impl Settler {
    /// Settles a group. Waits as long as a sink or the database is down, unless `stop` says otherwise; never cut off
    /// half-way by its caller.
    pub(super) async fn settle(&self, mut group: Group, stop: &CancellationToken) -> Done {
        let Sorted { mut loads, rows, rows_from } = sort(&mut group.batches);
        let mut backoff = Backoff::new(group.batches.first().map_or(1, |processed| processed.batch.version.0));
        let mut tried_at = Instant::now();
        while let Err(outage) = self.status.expect(Need::Sink, deliver_all(&mut loads)).await {
            let goes_on = self.wait(Need::Sink, &outage, &mut backoff, stop).await;
            for load in loads.iter().filter(|load| load.delivered.is_none()) {
                load.counts.outage.inc_by(tried_at.elapsed().as_secs_f64());
            }
            tried_at = Instant::now();
            if !goes_on {
                return Done::Abandoned;
            }
        }
        trace_writes(&mut group.batches, &loads);
        fault::point("settle.sinks-flushed");
        self.status.has(Need::Sink);

        reject(&mut group.batches, loads);
        // Retries are an operator's wish and prove nothing about the feed.
        let from_feed = || group.batches.iter().filter(|processed| processed.batch.origin.counts());
        let seen: usize =
            from_feed().map(|processed| processed.batch.changes.len() + processed.batch.undecodable.len()).sum();
        let failures = from_feed().flat_map(|processed| &processed.failures);
        let failed: Vec<Failure> = failures.filter(|failure| failure.kind != FailureKind::Deferred).cloned().collect();
        if seen > 0
            && let Err(causes) = self.window().record(seen, &failed)
        {
            return Done::Halted(causes);
        }
        let mut draft = self.draft(&mut group, rows, rows_from);
        let mut tried = false;
        let began = SystemTime::now();
        let mut fenced = Vec::new();
        backoff.reset();
        loop {
            match self.status.expect(Need::Database, self.checkpoints.settle(&draft.settlement)).await {
                Ok(settled) => {
                    fault::point("settle.committed");
                    self.status.has(Need::Database);
                    count_rows(&group.batches, &draft.settlement.rows, &settled.rejected);
                    trace_settle(&mut group.batches, began);
                    // What waits in the queue is nobody's failure yet.
                    let queue = draft.settlement.queue;
                    let is_parked = |failure: &Failure| queue.attempts(failure).is_none();
                    let rejected: Vec<Failure> =
                        settled.rejected.iter().filter(|failure| is_parked(failure)).cloned().collect();
                    self.window().add(&rejected);
                    let mut failures = draft.settlement.parked;
                    failures.retain(is_parked);
                    failures.extend(rejected);
                    return Done::Settled { batches: group.batches, failures, settled, fenced };
                }
                Err(SettleError::Fenced { partition, epoch })
                    if draft.settlement.owned.contains(&(partition.clone(), epoch)) =>
                {
                    draft.leave_out(&partition, &mut group.batches);
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
        let goes = |batch: &Batch| batch.partition == *partition || matches!(batch.origin, BatchOrigin::Backfill(_));
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

/// Gives every sink its writes. Those that took them are not given them again when another one is down.
async fn deliver_all(loads: &mut [Load]) -> Result<(), Outage> {
    let deliveries = loads.iter_mut().filter(|load| load.delivered.is_none()).map(|load| async {
        load.began.get_or_insert_with(SystemTime::now);
        let rejected = deliver(load).await?;
        load.ended = Some(SystemTime::now());
        load.counts.taken.inc_by((load.writes.len() - rejected.len()) as u64);
        load.counts.rejected.inc_by(rejected.len() as u64);
        load.delivered = Some(rejected);
        Ok(())
    });
    join_all(deliveries).await.into_iter().collect()
}

/// Gives a sink its writes and has them made durable. The answer names the refused ones.
async fn deliver(load: &Load) -> Result<Vec<Rejected>, Outage> {
    let rejected = load.sink.write(&load.writes).await?;
    fault::point("settle.sink-written");
    load.sink.flush_writes(&load.writes).await?;
    Ok(rejected)
}

/// Makes failures of what the sinks refused.
fn reject(batches: &mut [Processed], loads: Vec<Load>) {
    for load in loads {
        for rejection in load.delivered.into_iter().flatten() {
            let Origin { batch, stage, change, part } = &load.origin[rejection.at];
            let processed = &mut batches[*batch];
            let failure = PartFailure {
                part: part.clone(),
                kind: FailureKind::Rejected,
                message: rejection.reason,
                retry: rejection.retry,
            };
            let stage = &processed.generation.stages[*stage];
            let failure = failure_of(&processed.batch, stage, *change, failure, None);
            processed.sent -= 1;
            processed.failures.push(failure);
        }
    }
}

/// Sorts the writes by where they go: to sinks, or as rows, with the batch of each, into the settle. Generations share
/// their sinks, so what two of them wrote for one sink goes to it in the order of the lane.
fn sort(batches: &mut [Processed]) -> Sorted {
    let mut sorted = Sorted::default();
    for (at, processed) in batches.iter_mut().enumerate() {
        let generation = Arc::clone(&processed.generation);
        for staged in std::mem::take(&mut processed.writes) {
            // A generation is assembled with a sink for everything that its description declares, and a write to
            // anything else was refused when the processor answered.
            let stage = &generation.stages[staged.stage];
            let first = stage.sink(&staged.write).expect("a declared target has a sink");
            for sink in stage.further_sinks(&staged.write) {
                sorted.put((at, processed), sink, StagedWrite { write: staged.write.clone(), ..staged });
            }
            sorted.put((at, processed), first, staged);
        }
    }
    sorted
}

impl Sorted {
    /// Adds a write of a batch to what goes to this sink.
    fn put(&mut self, (at, processed): (usize, &mut Processed), sink: &Arc<dyn Sink>, staged: StagedWrite) {
        let stage = &processed.generation.stages[staged.stage];
        let document = processed.batch.changes[staged.change].key.clone();
        let table = match &staged.write {
            Write::Rows { table, .. } => stage.table(table),
            _ => None,
        };
        if sink.rows_settle()
            && let Write::Rows { op, .. } = staged.write
        {
            let table = Arc::clone(table.expect("the table was checked against the description"));
            self.rows_from.push(at);
            self.rows.push(RowWrite { processor: stage.name.clone(), document, table, op });
            return;
        }
        let load = match self.loads.iter_mut().position(|load| Arc::ptr_eq(&load.sink, sink)) {
            Some(known) => &mut self.loads[known],
            None => {
                self.loads.push(Load::new(sink, stage.counts.of(&staged.write).clone()));
                self.loads.last_mut().expect("it was pushed a line above")
            }
        };
        let part = stage.part(&staged.write);
        load.origin.push(Origin { batch: at, stage: staged.stage, change: staged.change, part });
        load.writes.push(Versioned {
            processor: stage.name.clone(),
            document,
            version: processed.versions[staged.change],
            table: table.cloned(),
            write: staged.write,
        });
        processed.sent += 1;
    }
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

/// Notes in the traces of the batches, which are written together, what each sink took and for how long.
fn trace_writes(batches: &mut [Processed], loads: &[Load]) {
    for trace in batches.iter_mut().filter_map(|processed| processed.trace.as_mut()) {
        for load in loads {
            let (Some(began), Some(ended)) = (load.began, load.ended) else { continue };
            let attributes = vec![
                KeyValue::new("sink", Arc::clone(&load.counts.name)),
                KeyValue::new("writes", i64::try_from(load.writes.len()).unwrap_or(i64::MAX)),
                KeyValue::new(
                    "rejected",
                    load.delivered.as_ref().map_or(0, |all| i64::try_from(all.len()).unwrap_or(i64::MAX)),
                ),
            ];
            trace.note_until("write", began, ended, attributes);
        }
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

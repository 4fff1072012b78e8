//! Writes finished batches to their sinks, then commits: the only way in which progress moves.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{CheckpointStore, SettleError, Settled, Settlement};
use crate::fault;
use crate::model::{
    Clock, Epoch, Failure, FailureKind, Outage, PartFailure, Partition, PillowName, Resolved, RowWrite, Write, chain,
};
use crate::sink::{Rejected, Sink, Versioned};

use super::backoff::Backoff;
use super::halt::{Cause, FailureWindow, causes};
use super::process::{Processed, failure_of};
use super::status::{State, Status};

/// What settling needs; shared by all settles of a run.
pub(super) struct Settler {
    pub(super) pillow: PillowName,
    pub(super) checkpoints: Arc<dyn CheckpointStore>,
    pub(super) clock: Clock,
    pub(super) status: Arc<Status>,
    pub(super) window: Mutex<FailureWindow>,
}

/// Consecutive finished batches, to be settled together.
pub(super) struct Group {
    pub(super) batches: Vec<Processed>,
    pub(super) owned: Vec<(Partition, Epoch)>,
}

/// What came of a group.
pub(super) enum Done {
    /// Committed, with every failure that was parked.
    Settled { batches: Vec<Processed>, failures: Vec<Failure>, settled: Settled },
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

/// The writes of a group for one sink, and where each came from.
struct Load {
    sink: Arc<dyn Sink>,
    writes: Vec<Versioned>,
    origin: Vec<Origin>,
    /// What the sink refused; none as long as it has not taken the writes.
    delivered: Option<Vec<Rejected>>,
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
    fn new(sink: &Arc<dyn Sink>) -> Self {
        Self { sink: Arc::clone(sink), writes: Vec::new(), origin: Vec::new(), delivered: None }
    }
}

impl Settler {
    /// Settles a group. Waits as long as a sink or the database is down, unless `stop` says otherwise; never cut off
    /// half-way by its caller.
    pub(super) async fn settle(&self, mut group: Group, stop: &CancellationToken) -> Done {
        let (mut loads, rows) = sort(&mut group.batches);
        let mut backoff = Backoff::new(group.batches.first().map_or(1, |processed| processed.batch.version.0));
        while let Err(outage) = deliver_all(&mut loads).await {
            if !self.wait("sink", &outage, &mut backoff, stop).await {
                return Done::Abandoned;
            }
        }
        fault::point("settle.sinks-flushed");
        self.status.goes_on();

        reject(&mut group.batches, loads);
        // Retries are an operator's wish and prove nothing about the feed.
        let from_feed = || group.batches.iter().filter(|processed| processed.batch.origin.counts());
        let seen: usize =
            from_feed().map(|processed| processed.batch.changes.len() + processed.batch.undecodable.len()).sum();
        let failed: Vec<Failure> = from_feed().flat_map(|processed| &processed.failures).cloned().collect();
        if seen > 0
            && let Err(causes) = self.window().record(seen, &failed)
        {
            return Done::Halted(causes);
        }
        let settlement = self.settlement(&mut group, rows);
        let mut tried = false;
        backoff.reset();
        loop {
            match self.checkpoints.settle(&settlement).await {
                Ok(settled) => {
                    fault::point("settle.committed");
                    self.status.goes_on();
                    self.window().add(&settled.rejected);
                    let mut failures = settlement.parked;
                    failures.extend(settled.rejected.iter().cloned());
                    return Done::Settled { batches: group.batches, failures, settled };
                }
                Err(SettleError::Outage(outage)) => {
                    tried = true;
                    if !self.wait("checkpoint database", &outage, &mut backoff, stop).await {
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

    fn settlement(&self, group: &mut Group, rows: Vec<RowWrite>) -> Settlement {
        let mut parked: Vec<Failure> = Vec::new();
        let mut resolved = Vec::new();
        let mut progress = Vec::new();
        let mut changes = Vec::new();
        let mut digests = Vec::new();
        for processed in &mut group.batches {
            let done = std::mem::take(&mut processed.resolved);
            let failures = std::mem::take(&mut processed.failures);
            // What an earlier batch of this settle failed at is not parked when this one did it, and parked once when
            // this one failed at it again.
            parked.retain(|earlier| {
                let failed_again = failures.iter().any(|failure| failure.id == earlier.id);
                !failed_again && !done.iter().any(|done| resolves(done, earlier))
            });
            resolved.extend(done);
            parked.extend(failures);
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
        Settlement {
            pillow: self.pillow.clone(),
            owned: std::mem::take(&mut group.owned),
            progress,
            parked,
            resolved,
            rows,
            changes,
            most_rejected: self.window().allowance(),
            digests,
            time: self.clock.now(),
        }
    }

    fn window(&self) -> MutexGuard<'_, FailureWindow> {
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits before the next try; false when the pillow is to stop instead.
    async fn wait(&self, what: &str, outage: &Outage, backoff: &mut Backoff, stop: &CancellationToken) -> bool {
        self.status.waits(State::Waiting { reason: format!("{what}: {}", chain(outage)) });
        tokio::select! {
            () = stop.cancelled() => false,
            () = tokio::time::sleep(backoff.wait()) => true,
        }
    }
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
        load.delivered = Some(deliver(load).await?);
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

/// Sorts the writes by where they go: to sinks, or as rows into the settle. Generations share their sinks, so what two of
/// them wrote for one sink goes to it in the order of the lane.
fn sort(batches: &mut [Processed]) -> (Vec<Load>, Vec<RowWrite>) {
    let mut loads: Vec<Load> = Vec::new();
    let mut rows = Vec::new();
    for (at, processed) in batches.iter_mut().enumerate() {
        for staged in std::mem::take(&mut processed.writes) {
            let stage = &processed.generation.stages[staged.stage];
            let change = &processed.batch.changes[staged.change];
            let sink = match &staged.write {
                Write::Rows { .. } => stage.tables.as_ref(),
                _ => stage.indices.as_ref(),
            };
            // A generation is assembled with a sink for everything that its description declares, and a write to
            // anything else was refused when the processor answered.
            let sink = sink.expect("a declared target has a sink");
            match staged.write {
                Write::Rows { table, op } if sink.rows_settle() => rows.push(RowWrite {
                    processor: stage.name.clone(),
                    document: change.key.clone(),
                    table: Arc::clone(stage.table(&table).expect("the table was checked against the description")),
                    op,
                }),
                write => {
                    let load = match loads.iter_mut().position(|load| Arc::ptr_eq(&load.sink, sink)) {
                        Some(known) => &mut loads[known],
                        None => {
                            loads.push(Load::new(sink));
                            loads.last_mut().expect("it was pushed a line above")
                        }
                    };
                    let part = stage.part(&write);
                    load.origin.push(Origin { batch: at, stage: staged.stage, change: staged.change, part });
                    processed.sent += 1;
                    load.writes.push(Versioned {
                        processor: stage.name.clone(),
                        document: change.key.clone(),
                        version: processed.versions[staged.change],
                        write,
                    });
                }
            }
        }
    }
    (loads, rows)
}

//! Writes finished batches to their sinks, then commits: the only way in which progress moves.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{CheckpointStore, SettleError, Settled, Settlement};
use crate::fault;
use crate::model::{
    Clock, DocumentKey, Epoch, Failure, FailureKind, Outage, PartFailure, Partition, PillowName, ProcessorName,
    Resolved, RowWrite, Write, chain,
};
use crate::sink::{Sink, Versioned};

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
    /// The pillow was told to stop while a sink or the database was down; nothing was committed.
    Abandoned,
}

/// The writes of a group for one sink, and where each came from.
struct Load {
    sink: Arc<dyn Sink>,
    writes: Vec<Versioned>,
    origin: Vec<(usize, usize, usize)>,
}

impl Settler {
    /// Settles a group. Waits as long as a sink or the database is down, unless `stop` says otherwise; never cut off
    /// half-way by its caller.
    pub(super) async fn settle(&self, mut group: Group, stop: &CancellationToken) -> Done {
        let (loads, rows) = sort(&mut group.batches);
        let mut backoff = Backoff::new(group.batches.first().map_or(1, |processed| processed.batch.version.0));
        let rejected = loop {
            match try_join_all(loads.iter().map(deliver)).await {
                Ok(rejected) => break rejected,
                Err(outage) => {
                    if !self.wait("sink", &outage, &mut backoff, stop).await {
                        return Done::Abandoned;
                    }
                }
            }
        };
        fault::point("settle.sinks-flushed");
        self.status.goes_on();

        let mut failures = Vec::new();
        let mut refused: HashSet<(ProcessorName, DocumentKey)> = HashSet::new();
        for (load, rejected) in loads.iter().zip(rejected) {
            for rejection in rejected {
                let (batch, stage, change) = load.origin[rejection.at];
                let processed = &group.batches[batch];
                let stage = &processed.generation.stages[stage];
                let failure = PartFailure {
                    part: None,
                    kind: FailureKind::Rejected,
                    message: rejection.reason,
                    retry: rejection.retry,
                };
                let failure = failure_of(&processed.batch, stage, change, failure, None);
                refused.insert((stage.name.clone(), failure.id.document.clone()));
                failures.push(failure);
            }
        }
        let settlement = self.settlement(&mut group, failures, &refused, rows);
        // Retries are an operator's wish and prove nothing about the feed.
        let counted: usize =
            group.batches.iter().filter(|processed| processed.batch.only.is_none()).map(|done| done.batch.read).sum();
        if counted > 0
            && let Err(causes) = self.window().record(counted, &settlement.parked)
        {
            return Done::Halted(causes);
        }
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
                    if !self.wait("checkpoint database", &outage, &mut backoff, stop).await {
                        return Done::Abandoned;
                    }
                }
                Err(SettleError::TooManyRejected(rejected)) => return Done::Halted(causes(&rejected)),
                Err(refusal) => return Done::Refused(refusal),
            }
        }
    }

    fn settlement(
        &self,
        group: &mut Group,
        rejected: Vec<Failure>,
        refused: &HashSet<(ProcessorName, DocumentKey)>,
        rows: Vec<RowWrite>,
    ) -> Settlement {
        let mut parked: Vec<Failure> = Vec::new();
        let mut resolved = Vec::new();
        let mut progress = Vec::new();
        let mut changes = Vec::new();
        let mut digests = Vec::new();
        for processed in &mut group.batches {
            let done: Vec<Resolved> = std::mem::take(&mut processed.resolved)
                .into_iter()
                .filter(|done| !refused.contains(&(done.processor.clone(), done.document.clone())))
                .collect();
            // What an earlier batch of this settle failed at and this one did is not parked at all.
            parked.retain(|failure| !done.iter().any(|done| resolves(done, failure)));
            resolved.extend(done);
            parked.append(&mut processed.failures);
            progress.extend(processed.batch.progress.clone());
            if !rows.is_empty() {
                let partition = &processed.batch.partition;
                changes.extend(processed.batch.changes.iter().map(|change| (partition.clone(), Arc::clone(change))));
            }
            for stage in &processed.generation.stages {
                let digest = (stage.name.clone(), stage.processor.digest());
                if !digests.contains(&digest) {
                    digests.push(digest);
                }
            }
        }
        parked.extend(rejected);
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

/// Gives a sink its writes and has them made durable. The answer names the refused ones.
async fn deliver(load: &Load) -> Result<Vec<crate::sink::Rejected>, Outage> {
    let rejected = load.sink.write(&load.writes).await?;
    fault::point("settle.sink-written");
    load.sink.flush_writes(&load.writes).await?;
    Ok(rejected)
}

/// Sorts the writes by where they go: to sinks, or as rows into the settle.
fn sort(batches: &mut [Processed]) -> (Vec<Load>, Vec<RowWrite>) {
    let mut loads: Vec<Load> = Vec::new();
    let mut rows = Vec::new();
    for (at, processed) in batches.iter_mut().enumerate() {
        for staged in std::mem::take(&mut processed.writes) {
            processed.sent += usize::from(!matches!(staged.write, Write::Rows { .. }));
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
                            loads.push(Load { sink: Arc::clone(sink), writes: Vec::new(), origin: Vec::new() });
                            loads.last_mut().expect("it was pushed a line above")
                        }
                    };
                    load.origin.push((at, staged.stage, staged.change));
                    load.writes.push(Versioned {
                        processor: stage.name.clone(),
                        document: change.key.clone(),
                        version: processed.batch.version,
                        write,
                    });
                }
            }
        }
    }
    (loads, rows)
}

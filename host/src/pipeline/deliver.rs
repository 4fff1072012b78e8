//! What sinks are given before a settle commits: the writes of finished batches, sorted by where they go.

use std::sync::Arc;
use std::time::SystemTime;

use futures_util::future::join_all;
use opentelemetry::KeyValue;

use crate::fault;
use crate::metrics::SinkMetrics;
use crate::model::{FailureKind, Outage, PartFailure, RowWrite, Write};
use crate::sink::{Rejected, Sink, Versioned};

use super::process::{Processed, StagedWrite, failure_of};

/// The writes of a group for one sink, and where each came from.
pub(super) struct Load {
    sink: Arc<dyn Sink>,
    writes: Vec<Versioned>,
    origin: Vec<Origin>,
    /// What the sink refused; none as long as it has not taken the writes.
    pub(super) delivered: Option<Vec<Rejected>>,
    pub(super) counts: SinkMetrics,
    /// When it was first given the writes, and when it had taken them.
    began: Option<SystemTime>,
    ended: Option<SystemTime>,
}

/// The writes of a group by where they go.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) loads: Vec<Load>,
    /// What goes into the settle, and which batch each row came from.
    pub(super) rows: Vec<RowWrite>,
    pub(super) rows_from: Vec<usize>,
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

impl Load {
    fn new(sink: &Arc<dyn Sink>, counts: SinkMetrics) -> Self {
        let (writes, origin) = (Vec::new(), Vec::new());
        Self { sink: Arc::clone(sink), writes, origin, delivered: None, counts, began: None, ended: None }
    }
}

/// Sorts the writes by where they go: to sinks, or as rows, with the batch of each, into the settle. Generations share
/// their sinks, so what two of them wrote for one sink goes to it in the order of the lane.
pub(super) fn sort(batches: &mut [Processed]) -> Sorted {
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

/// Gives every sink its writes. Those that took them are not given them again when another one is down.
pub(super) async fn deliver_all(loads: &mut [Load]) -> Result<(), Outage> {
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
pub(super) fn reject(batches: &mut [Processed], loads: Vec<Load>) {
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

/// Notes in the traces of the batches, which are written together, what each sink took and for how long.
pub(super) fn trace_writes(batches: &mut [Processed], loads: &[Load]) {
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

//! From a batch with documents to what is to be written: calls the processors, fetches what they need, sorts answers.

use std::collections::HashSet;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use crate::model::{
    Batch, Digest, Document, DocumentKey, Failure, FailureId, FailureKind, Found, Item, Outage, Outcome, PartFailure,
    ProcessorName, Resolved, RetryHelps, Undecodable, Want, Write, WriteVersion,
};
use crate::processor::{Call, StartError};
use crate::traces::BatchTrace;

use super::generation::{Generation, Stage};
use super::isolate::{self, Answer};
use super::lookups::Memo;
use super::workers::Workers;

/// How often a processor may ask for more about one change; the change fails when it asks once more. Each round is a query:
/// what needs more of them goes through documents one by one that the store could have found together.
const MOST_ROUNDS: usize = 10;

/// What a worker thread does: some stages over some items.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) generation: Arc<Generation>,
    pub(super) topic: Arc<str>,
    pub(super) time: Timestamp,
    pub(super) tasks: Vec<Task>,
}

/// One stage over some items.
#[derive(Debug)]
pub(super) struct Task {
    pub(super) stage: usize,
    /// Where the items stand in the batch.
    places: Vec<usize>,
    items: Arc<Vec<Item>>,
}

/// Per task the answers, in the order of its items.
pub(super) type Report = Result<Vec<(Task, Vec<Answer>)>, Hindrance>;

impl Job {
    /// Runs on the worker's thread.
    pub(super) fn run(self, worker: usize) -> Report {
        let mut report = Vec::with_capacity(self.tasks.len());
        for task in self.tasks {
            let call = Call { topic: &self.topic, time: self.time, items: &task.items };
            let answers = isolate::run(&self.generation.stages[task.stage], worker, call)?;
            report.push((task, answers));
        }
        Ok(report)
    }
}

/// What came of the changes that a stage was given.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) written: u64,
    pub(super) skipped: u64,
    /// As a whole or in a part.
    pub(super) failed: u64,
}

/// A batch after its processors.
#[derive(Debug)]
pub(super) struct Processed {
    pub(super) batch: Batch,
    pub(super) generation: Arc<Generation>,
    /// Writes, by stage and then in the order of the changes.
    pub(super) writes: Vec<StagedWrite>,
    pub(super) failures: Vec<Failure>,
    pub(super) resolved: Vec<Resolved>,
    /// By stage, what came of its changes.
    pub(super) tallies: Vec<Tally>,
    /// Documents that were there.
    pub(super) present: usize,
    /// Writes that went to sinks other than through the settle.
    pub(super) sent: usize,
    /// The version of each change's writes.
    pub(super) versions: Vec<WriteVersion>,
    /// Its place among the batches of the process, given back when it settled.
    pub(super) permit: Option<OwnedSemaphorePermit>,
    /// Where its stages are noted, if it is traced.
    pub(super) trace: Option<Box<BatchTrace>>,
}

/// A write, by whom and for which change of the batch.
#[derive(Debug)]
pub(super) struct StagedWrite {
    pub(super) stage: usize,
    pub(super) change: usize,
    pub(super) write: Write,
}

/// What keeps a batch from being processed now.
#[derive(Debug, thiserror::Error)]
pub(super) enum Hindrance {
    /// A store does not answer a look-up.
    #[error("could not look documents up")]
    Lookup(#[source] Outage),
    /// A processor does not start any more.
    #[error("processor cannot run")]
    Processor(#[source] StartError),
    /// A worker thread is gone.
    #[error("a worker thread died while it ran a processor")]
    Worker,
}

/// Calls the generation's processors for `batch`, whose documents are in the order of its changes.
///
/// # Errors
/// When something outside of the changes is in the way; the batch is to be tried again.
pub(super) async fn process(
    batch: Batch,
    documents: Vec<Document>,
    generation: Arc<Generation>,
    workers: &Workers,
) -> Result<Processed, (Batch, Hindrance)> {
    let present = documents.iter().filter(|document| matches!(document, Document::Present(_))).count();
    let item = |(change, document)| Item { change: Arc::clone(change), document, found: Vec::new() };
    let items: Vec<Item> = batch.changes.iter().zip(documents).map(item).collect();
    let mut tasks = tasks(&batch, &generation, Arc::new(items));
    let mut processed = Processed::new(batch, present, generation);
    if tasks.is_empty()
        && let Some(gone) = processed.batch.only.clone()
    {
        processed.fail_all(&gone);
    }
    let mut memo = Memo::default();
    for round in 1.. {
        if tasks.is_empty() {
            break;
        }
        let job = Job {
            generation: Arc::clone(&processed.generation),
            topic: Arc::clone(&processed.batch.home.topic),
            time: processed.batch.time,
            tasks,
        };
        let report = match workers.run(job).await {
            Some(Ok(report)) => report,
            Some(Err(hindrance)) => return Err((processed.batch, hindrance)),
            None => return Err((processed.batch, Hindrance::Worker)),
        };
        tasks = Vec::new();
        for (task, answers) in report {
            let needs = processed.sort(&task, answers, round <= MOST_ROUNDS);
            if needs.is_empty() {
                continue;
            }
            match look_up(&processed.generation.stages[task.stage], &task, needs, &mut memo).await {
                Ok(again) => tasks.push(again),
                Err(outage) => return Err((processed.batch, Hindrance::Lookup(outage))),
            }
        }
    }
    Ok(processed)
}

/// All items for each stage that runs.
fn tasks(batch: &Batch, generation: &Generation, items: Arc<Vec<Item>>) -> Vec<Task> {
    if items.is_empty() {
        return Vec::new();
    }
    let runs = |stage: &Stage| batch.only.as_ref().is_none_or(|name| *name == stage.name);
    let stages = generation.stages.iter().enumerate().filter(|(_, stage)| runs(stage));
    stages.map(|(stage, _)| Task { stage, places: (0..items.len()).collect(), items: Arc::clone(&items) }).collect()
}

/// The items that asked for something, with what was found.
async fn look_up(stage: &Stage, task: &Task, needs: Vec<(usize, Vec<Want>)>, memo: &mut Memo) -> Result<Task, Outage> {
    let wants: Vec<Want> = needs.iter().flat_map(|(_, wants)| wants.iter().cloned()).collect();
    let lookups = Arc::clone(&stage.lookups);
    stage.counts.calls.lookup_rounds.inc();
    let mut found = lookups.find(&wants, memo, &stage.counts.calls).await?.into_iter();
    let mut again = Task { stage: task.stage, places: Vec::new(), items: Arc::default() };
    let mut items = Vec::with_capacity(needs.len());
    for (at, wants) in needs {
        let mut item = task.items[at].clone();
        for want in wants {
            let documents = found.next().unwrap_or_default();
            item.found.push(Found { lookup: want.lookup, key: want.key, documents });
        }
        again.places.push(task.places[at]);
        items.push(item);
    }
    again.items = Arc::new(items);
    Ok(again)
}

impl Processed {
    /// A batch of which nothing is known yet but what could not be decoded.
    fn new(batch: Batch, present: usize, generation: Arc<Generation>) -> Self {
        Self {
            writes: Vec::new(),
            failures: batch.undecodable.iter().map(|entry| undecodable(&batch, entry)).collect(),
            resolved: Vec::new(),
            tallies: vec![Tally::default(); generation.stages.len()],
            present,
            sent: 0,
            versions: Vec::new(),
            permit: None,
            trace: None,
            batch,
            generation,
        }
    }

    /// Sorts the answers of one task; returns what is to be looked up, by the item's place in the task.
    fn sort(&mut self, task: &Task, answers: Vec<Answer>, may_ask: bool) -> Vec<(usize, Vec<Want>)> {
        let mut needs = Vec::new();
        let generation = Arc::clone(&self.generation);
        let stage = &generation.stages[task.stage];
        for (at, answer) in answers.into_iter().enumerate() {
            let place = task.places[at];
            match answer {
                Answer::Outcome(Outcome::Skip(_)) => {
                    self.tallies[task.stage].skipped += 1;
                    if self.batch.only_parts.is_none() {
                        self.resolve(stage, place, Vec::new());
                    }
                }
                Answer::Outcome(Outcome::Done { writes, failures }) => {
                    self.finish((task.stage, stage), place, writes, failures);
                }
                Answer::Outcome(Outcome::Need(wants)) if may_ask => needs.push((at, wants)),
                Answer::Outcome(Outcome::Need(wants)) => {
                    self.tallies[task.stage].failed += 1;
                    self.fail(stage, place, too_many_rounds(&wants), None);
                }
                Answer::Outcome(Outcome::Failed(failure)) => {
                    let tally = &mut self.tallies[task.stage];
                    match failure.kind {
                        FailureKind::Deferred => tally.skipped += 1,
                        _ => tally.failed += 1,
                    }
                    self.fail(stage, place, failure, None);
                }
                Answer::Fault(failure, last_log) => {
                    self.tallies[task.stage].failed += 1;
                    self.fail(stage, place, failure, last_log);
                }
            }
        }
        needs
    }

    /// Takes what a stage made of a change; of a batch that is for some parts only, what belongs to them.
    fn finish(
        &mut self,
        (number, stage): (usize, &Stage),
        place: usize,
        mut writes: Vec<Write>,
        mut failures: Vec<PartFailure>,
    ) {
        if let Some(parts) = &self.batch.only_parts {
            let counts = |part: Option<&String>| part.is_some_and(|part| parts.contains(part));
            writes.retain(|write| counts(stage.part(write).as_ref()));
            failures.retain(|failure| counts(failure.part.as_ref()));
        }
        writes.retain(|write| !stage.leaves_out(write));
        let tally = &mut self.tallies[number];
        match failures.iter().all(|failure| failure.kind == FailureKind::Deferred) {
            true => tally.written += 1,
            false => tally.failed += 1,
        }
        self.writes.extend(writes.into_iter().map(|write| StagedWrite { stage: number, change: place, write }));
        // Otherwise nothing is known of the other parts.
        if self.batch.only_parts.is_none() {
            let failed_parts = failures.iter().filter_map(|failure| failure.part.clone()).collect();
            self.resolve(stage, place, failed_parts);
        }
        failures.into_iter().for_each(|failure| self.fail(stage, place, failure, None));
    }

    /// A retry for a processor that is not there any more fails again: what was asked for has an answer.
    fn fail_all(&mut self, gone: &ProcessorName) {
        for place in 0..self.batch.changes.len() {
            let failure = PartFailure {
                part: None,
                kind: FailureKind::InvalidInput,
                message: format!("the pillow has no processor {gone} any more"),
                retry: RetryHelps::No,
            };
            self.failures.push(failure_by(&self.batch, gone.clone(), None, place, failure));
        }
    }

    fn resolve(&mut self, stage: &Stage, place: usize, failed_parts: Vec<String>) {
        let document = self.batch.changes[place].key.clone();
        self.resolved.push(Resolved { processor: stage.name.clone(), document, failed_parts });
    }

    fn fail(&mut self, stage: &Stage, place: usize, failure: PartFailure, last_log: Option<String>) {
        let failure = failure_of(&self.batch, stage, place, failure, last_log);
        self.failures.push(failure);
    }

    /// The failures of the batch, each for what it is tried again as: what fails as a whole fails for every part of it
    /// that stands in the queue.
    pub(super) fn take_failures(&mut self) -> Vec<Failure> {
        let failures = std::mem::take(&mut self.failures);
        if self.batch.queued.is_empty() {
            return failures;
        }
        let mut taken = Vec::with_capacity(failures.len());
        for failure in failures {
            let id = &failure.id;
            let is_part_of = |queued: &&FailureId| queued.processor == id.processor && queued.document == id.document;
            let mut parts: Vec<FailureId> = match id.part {
                None => self.batch.queued.keys().filter(is_part_of).cloned().collect(),
                Some(_) => Vec::new(),
            };
            if parts.is_empty() {
                taken.push(failure);
                continue;
            }
            parts.sort_by(|one, other| one.part.cmp(&other.part));
            taken.extend(parts.into_iter().map(|id| Failure { id, ..failure.clone() }));
        }
        taken
    }

    /// Leaves documents to batches that closed later: whatever came of them here is forgotten.
    pub(super) fn leave(&mut self, documents: &HashSet<DocumentKey>) {
        if documents.is_empty() {
            return;
        }
        let changes = &self.batch.changes;
        self.writes.retain(|write| !documents.contains(&changes[write.change].key));
        self.failures.retain(|failure| !documents.contains(&failure.id.document));
        self.resolved.retain(|resolved| !documents.contains(&resolved.document));
    }
}

fn too_many_rounds(wants: &[Want]) -> PartFailure {
    let last = wants.first().map(|want| format!(": {} {}", want.lookup, want.key)).unwrap_or_default();
    PartFailure {
        part: None,
        kind: FailureKind::Limit,
        message: format!("asked for more look-ups after {MOST_ROUNDS} rounds of them{last}"),
        retry: RetryHelps::No,
    }
}

/// The failure of `stage` on one change of the batch.
pub(super) fn failure_of(
    batch: &Batch,
    stage: &Stage,
    place: usize,
    failure: PartFailure,
    last_log: Option<String>,
) -> Failure {
    let digest = Some(stage.processor.digest());
    Failure { last_log, ..failure_by(batch, stage.name.clone(), digest, place, failure) }
}

fn failure_by(
    batch: &Batch,
    processor: ProcessorName,
    digest: Option<Digest>,
    place: usize,
    failure: PartFailure,
) -> Failure {
    let change = &batch.changes[place];
    Failure {
        id: FailureId { processor: Some(processor), part: failure.part, document: change.key.clone() },
        partition: batch.home.clone(),
        position: change.position.clone(),
        kind: failure.kind,
        message: failure.message,
        last_log: None,
        retry: failure.retry,
        digest,
        change: Some(Box::new(Arc::unwrap_or_clone(Arc::clone(change)))),
        bytes: None,
    }
}

fn undecodable(batch: &Batch, entry: &Undecodable) -> Failure {
    Failure {
        id: FailureId::undecodable(&batch.partition, &entry.position),
        partition: batch.partition.clone(),
        position: entry.position.clone(),
        kind: FailureKind::InvalidInput,
        message: entry.reason.clone(),
        last_log: None,
        retry: RetryHelps::No,
        digest: None,
        change: None,
        bytes: Some(entry.bytes.clone()),
    }
}

//! What every store decides alike: whether an owner may settle, where a checkpoint goes, what a refused row becomes,
//! and which moves stay in the history. Pure.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{SettleError, Settlement};
use crate::model::{Change, Checkpoint, DocumentKey, Epoch, Failure, FailureId, FailureKind, Partition, Resolved};
use crate::sql::rows::Refused;

/// Engine's moves are kept by the minute for so long.
pub(super) const MINUTES_KEPT: i64 = 24 * 60;

/// And by the hour for so long, in minutes.
pub(super) const HOURS_KEPT: i64 = 30 * 24 * 60;

/// A partition as a store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) epoch: Epoch,
    pub(super) checkpoint: Option<Checkpoint>,
}

/// A document of a processor that succeeded, but for some parts; the whole processor is the part ``.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolution {
    pub(super) processor: String,
    pub(super) document: DocumentKey,
    pub(super) parts_kept: Vec<String>,
}

/// Where the partitions of a settlement stand after it.
///
/// # Errors
/// When one of them is not owned under the given epoch, or progress does not follow its checkpoint.
pub(super) fn moves(
    settlement: &Settlement,
    mut held: HashMap<Partition, Held>,
) -> Result<Vec<(Partition, Checkpoint)>, SettleError> {
    for (partition, epoch) in &settlement.owned {
        if held.get(partition).is_none_or(|held| held.epoch != *epoch) {
            return Err(SettleError::Fenced { partition: partition.clone(), epoch: *epoch });
        }
    }
    let mut moved: Vec<Partition> = Vec::new();
    for progress in &settlement.progress {
        let partition = &progress.partition;
        let owned = settlement.owned.iter().any(|(owned, _)| owned == partition);
        let Some(held) = held.get_mut(partition).filter(|_| owned) else {
            // Progress that nobody claims to own is nobody's to settle.
            return Err(SettleError::Fenced { partition: partition.clone(), epoch: Epoch(0) });
        };
        let next = match &held.checkpoint {
            Some(checkpoint) => checkpoint.advance(progress).map_err(SettleError::Rewind)?,
            None => Checkpoint { incarnation: Arc::clone(&progress.incarnation), position: progress.next.clone() },
        };
        held.checkpoint = Some(next);
        if !moved.contains(partition) {
            moved.push(partition.clone());
        }
    }
    let position = |partition: Partition| {
        let checkpoint = held.get(&partition)?.checkpoint.clone()?;
        Some((partition, checkpoint))
    };
    Ok(moved.into_iter().filter_map(position).collect())
}

/// The failures that refused rows become: one for each processor, part and document.
///
/// # Errors
/// When more documents were refused than the settlement bears.
pub(super) fn rejections(settlement: &Settlement, refused: &[Refused]) -> Result<Vec<Failure>, SettleError> {
    if refused.is_empty() {
        return Ok(Vec::new());
    }
    // Of several changes of one document the last counts.
    let changes: HashMap<&DocumentKey, &(Partition, Arc<Change>)> =
        settlement.changes.iter().map(|change| (&change.1.key, change)).collect();
    let mut seen = HashSet::new();
    let mut failures = Vec::with_capacity(refused.len());
    for refused in refused {
        let write = &settlement.rows[refused.at];
        let id = FailureId {
            processor: Some(write.processor.clone()),
            part: write.table.part.clone(),
            document: write.document.clone(),
        };
        if !seen.insert(id.clone()) {
            continue;
        }
        let Some((partition, change)) = changes.get(&write.document) else {
            return Err(SettleError::UnknownDocument(write.document.clone()));
        };
        failures.push(Failure {
            id,
            partition: partition.clone(),
            position: change.position.clone(),
            kind: FailureKind::Rejected,
            message: refused.reason.clone(),
            last_log: None,
            retry: refused.retry,
            digest: settlement.digests.iter().find(|(name, _)| *name == write.processor).map(|(_, digest)| *digest),
            change: Some(Box::new(Change::clone(change))),
            bytes: None,
        });
    }
    // What goes on waiting in the queue says nothing about the feed.
    let parked = failures.iter().filter(|failure| settlement.queue.attempts(failure).is_none());
    let documents: HashSet<&DocumentKey> = parked.map(|failure| &failure.id.document).collect();
    if documents.len() > settlement.most_rejected {
        return Err(SettleError::TooManyRejected(failures));
    }
    Ok(failures)
}

/// What is resolved when `rejected` was found on the way. A failure that the same settlement parks is not resolved:
/// it would lose when it came first and how often.
pub(super) fn resolutions(settlement: &Settlement, rejected: &[Failure]) -> Vec<Resolution> {
    let mut parked: HashMap<(&str, &DocumentKey), Vec<String>> = HashMap::new();
    for failure in settlement.parked.iter().chain(rejected) {
        let FailureId { processor: Some(processor), part, document } = &failure.id else {
            continue;
        };
        parked.entry((processor.as_str(), document)).or_default().push(part.clone().unwrap_or_default());
    }
    let resolution = |resolved: &Resolved| {
        let mut parts_kept = resolved.failed_parts.clone();
        parts_kept
            .extend(parked.get(&(resolved.processor.as_str(), &resolved.document)).into_iter().flatten().cloned());
        Resolution {
            processor: resolved.processor.as_str().to_owned(),
            document: resolved.document.clone(),
            parts_kept,
        }
    };
    settlement.resolved.iter().map(resolution).collect()
}

/// The minute that an engine's move belongs to.
pub(super) fn minute(at: Timestamp) -> i64 {
    at.as_second().div_euclid(60)
}

//! Due retries, of parked failures and of the queue, grouped for the lanes that they came from.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::checkpoint::Parked;
use crate::model::{Change, FailureId, Partition, ProcessorName};

/// What one retry batch holds: changes of one partition for one processor.
#[derive(Debug)]
pub struct RetryGroup {
    /// The partition that the changes came from.
    pub partition: Partition,
    /// The processor that failed.
    pub processor: ProcessorName,
    /// The changes, each document once.
    pub changes: Vec<Arc<Change>>,
    /// What of them comes from the queue, with how often it failed there.
    pub queued: HashMap<FailureId, u32>,
}

/// Groups parked failures for their batches. Each document is taken once per processor, whatever the number of its
/// parts that failed; what could not be decoded has no change and cannot be tried again.
pub fn group(parked: Vec<Parked>) -> Vec<RetryGroup> {
    let mut groups: BTreeMap<(Partition, ProcessorName), RetryGroup> = BTreeMap::new();
    for entry in parked {
        let (Some(processor), Some(change)) = (entry.failure.id.processor.clone(), entry.failure.change) else {
            continue;
        };
        let partition = entry.failure.partition;
        let group = groups.entry((partition.clone(), processor.clone())).or_insert_with(|| RetryGroup {
            partition,
            processor,
            changes: Vec::new(),
            queued: HashMap::new(),
        });
        let mut change = *change;
        change.attempts = entry.attempts;
        if entry.due_at.is_some() {
            // The deferral itself counts: what comes again is to be done.
            change.attempts += 1;
            group.queued.insert(entry.failure.id, entry.attempts);
        }
        if group.changes.iter().all(|known| known.key != change.key) {
            group.changes.push(Arc::new(change));
        }
    }
    groups.into_values().collect()
}

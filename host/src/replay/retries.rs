//! Due retries, grouped for the lanes that they came from.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::checkpoint::Parked;
use crate::model::{Change, Partition, ProcessorName};

/// What one retry batch holds: changes of one partition for one processor.
#[derive(Debug)]
pub struct RetryGroup {
    /// The partition that the changes came from.
    pub partition: Partition,
    /// The processor that failed.
    pub processor: ProcessorName,
    /// The changes, each document once.
    pub changes: Vec<Arc<Change>>,
}

/// Groups parked failures for their batches. Each document is taken once per processor, whatever the number of its
/// parts that failed; what could not be decoded has no change and cannot be tried again.
pub fn group(parked: Vec<Parked>) -> Vec<RetryGroup> {
    let mut groups: BTreeMap<(Partition, ProcessorName), Vec<Arc<Change>>> = BTreeMap::new();
    for entry in parked {
        let (Some(processor), Some(change)) = (entry.failure.id.processor, entry.failure.change) else {
            continue;
        };
        let mut change = *change;
        change.attempts = entry.attempts;
        let changes = groups.entry((entry.failure.partition, processor)).or_default();
        if changes.iter().all(|known| known.key != change.key) {
            changes.push(Arc::new(change));
        }
    }
    groups.into_iter().map(|((partition, processor), changes)| RetryGroup { partition, processor, changes }).collect()
}

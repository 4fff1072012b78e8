//! What keeps replays from putting older content over newer: the batch that closes later wins.
//!
//! A replay runs in no fixed order with the lane that a document's changes are in. Suppose that it fetches a document,
//! which changes then, and that the change settles first: the replay would put what it fetched over it. So a batch from
//! the feed takes its documents over from every replay that is under way when it closes. It is enough:
//!
//! - a change whose batch closes while the replay is under way does the replay's work, with content as new or newer;
//! - one whose batch closed before had been stored before, and so before the replay fetched;
//! - one whose batch closes after the replay settled settles after it.
//!
//! All of it holds within one process. A backfill, which touches documents of every partition, is settled under the
//! epochs of all of the pillow's partitions, so another host that takes one of them ends it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::model::{Change, DocumentKey, Partition};

/// The replays that are under way.
#[derive(Debug, Default)]
pub(super) struct Replays {
    last: u64,
    under_way: HashMap<u64, Replay>,
}

#[derive(Debug)]
struct Replay {
    lane: Partition,
    left: HashSet<DocumentKey>,
    taken: HashSet<DocumentKey>,
}

impl Replays {
    /// Notes a replay in `lane` that closes now; its number.
    pub(super) fn begin(&mut self, lane: &Partition, changes: &[Arc<Change>]) -> u64 {
        self.last += 1;
        let left = changes.iter().map(|change| change.key.clone()).collect();
        self.under_way.insert(self.last, Replay { lane: lane.clone(), left, taken: HashSet::new() });
        self.last
    }

    /// Has a batch from the feed, which closes now, take its documents over.
    pub(super) fn take_over(&mut self, changes: &[Arc<Change>]) {
        for replay in self.under_way.values_mut() {
            for change in changes {
                if let Some(key) = replay.left.take(&change.key) {
                    replay.taken.insert(key);
                }
            }
        }
    }

    /// The replays in a lane whose batches were dropped will never settle.
    pub(super) fn forget(&mut self, lane: &Partition) {
        self.under_way.retain(|_, replay| replay.lane != *lane);
    }

    /// The replay settles now; the documents that were taken over from it.
    pub(super) fn settle(&mut self, number: u64) -> HashSet<DocumentKey> {
        self.under_way.remove(&number).map(|replay| replay.taken).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;

    fn changes(ids: &[&str]) -> Vec<Arc<Change>> {
        let change = |id: &&str| Arc::new(Change::of(DocumentKey::new("cases", id), Position::number(1)));
        ids.iter().map(change).collect()
    }

    #[test]
    fn a_replay_leaves_what_a_later_batch_took_over() {
        let (mut replays, lane) = (Replays::default(), Partition::new("cases", 0));
        let number = replays.begin(&lane, &changes(&["a", "b"]));
        replays.take_over(&changes(&["b", "c"]));
        assert_eq!(replays.settle(number), HashSet::from([DocumentKey::new("cases", "b")]));
        assert_eq!(replays.settle(number), HashSet::new());
    }

    #[test]
    fn nothing_is_kept_of_a_lane_that_was_dropped() {
        let (mut replays, gone, kept) = (Replays::default(), Partition::new("cases", 0), Partition::new("cases", 1));
        replays.begin(&gone, &changes(&["a"]));
        let number = replays.begin(&kept, &changes(&["b"]));
        replays.forget(&gone);
        assert_eq!(replays.under_way.keys().collect::<Vec<_>>(), [&number]);
    }
}

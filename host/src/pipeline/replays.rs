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

use crate::model::{Change, DocumentKey};

/// The replays that are under way.
#[derive(Debug, Default)]
pub(super) struct Replays {
    last: u64,
    under_way: HashMap<u64, Replay>,
}

#[derive(Debug)]
struct Replay {
    left: HashSet<DocumentKey>,
    taken: HashSet<DocumentKey>,
}

impl Replays {
    /// Notes a replay that closes now; its number.
    pub(super) fn begin(&mut self, changes: &[Arc<Change>]) -> u64 {
        self.last += 1;
        let left = changes.iter().map(|change| change.key.clone()).collect();
        self.under_way.insert(self.last, Replay { left, taken: HashSet::new() });
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

    /// The replay settles now; the documents that were taken over from it.
    pub(super) fn settle(&mut self, number: u64) -> HashSet<DocumentKey> {
        self.under_way.remove(&number).map(|replay| replay.taken).unwrap_or_default()
    }
}

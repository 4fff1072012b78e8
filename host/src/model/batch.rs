//! A batch: consecutive entries of one partition that are fetched, processed and settled together.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::{
    Change, DocumentKey, FailureId, PartFailure, Partition, ProcessorName, Progress, Undecodable, Write, WriteVersion,
};

/// A closed batch.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The lane it belongs to.
    pub partition: Partition,
    /// What its settle moves; none for a retry, which moves nothing.
    pub progress: Option<Progress>,
    /// The changes, collapsed, in order.
    pub changes: Vec<Arc<Change>>,
    /// Entries that could not be decoded.
    pub undecodable: Vec<Undecodable>,
    /// Entries that were read, before collapsing.
    pub read: usize,
    /// Drawn when it closed: the version of every write that comes of it, but for documents that travel in their
    /// changes.
    pub version: WriteVersion,
    /// When it closed.
    pub time: Timestamp,
    /// The only processor to run: of a retry, and of a backfill that was asked for one.
    pub only: Option<ProcessorName>,
    /// The only parts of it that count: of a backfill that was asked for some.
    pub only_parts: Option<Arc<[String]>>,
    /// Where its changes come from.
    pub origin: Origin,
    /// The partition of the feed that its changes count as: it gives processors the topic, and failures their place. The
    /// lane itself, but for a backfill.
    pub home: Partition,
    /// What of it stands in the pillow's queue, with how often it failed there.
    pub queued: HashMap<FailureId, u32>,
}

/// Where the changes of a batch come from. Replays have a number, by which a batch from the feed that closes later takes
/// documents over from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The feed.
    Feed,
    /// Parked failures.
    Retry(u64),
    /// A document store.
    Backfill(u64),
}

impl Origin {
    /// Whether it proves something about what comes from now on: retries are an operator's wish.
    pub fn counts(self) -> bool {
        !matches!(self, Self::Retry(_))
    }
}

/// Whether several changes of one document in a batch are one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Collapse {
    /// The last one wins, deletions included: the document is fetched anyway.
    #[default]
    ByDocument,
    /// Every change counts: the message is the document.
    None,
}

/// A processor's answer to one change.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing to do, and why.
    Skip(String),
    /// Written, perhaps but for some parts.
    Done {
        /// What to write.
        writes: Vec<Write>,
        /// Parts that failed.
        failures: Vec<PartFailure>,
    },
    /// Fetch these and ask again.
    Need(Vec<Want>),
    /// Failed as a whole.
    Failed(PartFailure),
}

/// One key of one look-up that a processor needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Want {
    /// The look-up.
    pub lookup: Arc<str>,
    /// The key.
    pub key: Arc<str>,
}

/// Keeps the last change of each document, in the order of last occurrence.
pub fn collapse(changes: Vec<Arc<Change>>, mode: Collapse) -> Vec<Arc<Change>> {
    if mode == Collapse::None {
        return changes;
    }
    let mut seen: HashSet<&DocumentKey> = HashSet::with_capacity(changes.len());
    let is_last: Vec<bool> = changes.iter().rev().map(|change| seen.insert(&change.key)).collect();
    let mut kept = changes;
    if is_last.contains(&false) {
        let mut is_last = is_last.into_iter().rev();
        kept.retain(|_| is_last.next().unwrap_or(true));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Position;

    fn changes(text: &str) -> Vec<Arc<Change>> {
        let decode = |(at, word): (usize, &str)| {
            let (id, revision) = word.split_at(1);
            let message = format!(r#"{{"document_id":"{id}","data_source_name":"s","document_rev":"{revision}"}}"#);
            Arc::new(Change::decode(message.as_bytes(), Position::number(at as u64)).unwrap())
        };
        text.split(' ').enumerate().map(decode).collect()
    }

    fn check(before: &str, mode: Collapse, after: &str) {
        let kept = collapse(changes(before), mode);
        let text: Vec<String> =
            kept.iter().map(|change| format!("{}{}", change.key.id, change.revision.as_deref().unwrap())).collect();
        assert_eq!(text.join(" "), after);
    }

    #[test]
    fn the_last_change_of_a_document_wins_in_the_order_of_last_occurrence() {
        check("1a 2a 3a 2b 4a 1b", Collapse::ByDocument, "3a 2b 4a 1b");
    }

    #[test]
    fn nothing_is_collapsed_where_every_change_counts() {
        check("1a 2a 1b", Collapse::None, "1a 2a 1b");
    }
}

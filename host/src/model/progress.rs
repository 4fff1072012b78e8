//! How far a feed was read: made by feeds, kept by checkpoint stores, never computed in between.

use std::fmt;
use std::sync::Arc;

use super::Partition;

/// A place in a log, always the *next* entry to read. Opaque outside of the feed that made it, but ordered: a
/// checkpoint never moves back by itself.
///
/// Kafka and the SQLite change log use one number; PostgreSQL's (transaction, id) uses both; a feed whose sequences
/// are opaque texts keeps the text as `token` and its number as order.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Position {
    /// The order: compared first by the first number.
    pub order: [u64; 2],
    /// What the server must be given to resume, where that is not the number itself.
    pub token: Option<Arc<str>>,
}

/// The part of a partition that a batch covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Which partition.
    pub partition: Partition,
    /// Which log: a topic that was deleted and made again has the same name and another incarnation.
    pub incarnation: Arc<str>,
    /// Where the batch starts.
    pub from: Position,
    /// Where the next batch starts. Skipped control records and the gap up to the end of a compacted log are inside.
    pub next: Position,
}

/// How far a pillow has settled a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub incarnation: Arc<str>,
    /// The next entry to read.
    pub position: Position,
}

/// A batch that does not go on where the checkpoint stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rewind {
    /// It starts before the checkpoint: something would be done twice.
    #[error("{partition}: batch starts at {from}, but the checkpoint is already at {at}")]
    Behind {
        /// Which partition.
        partition: Partition,
        /// Where the batch starts.
        from: Position,
        /// Where the checkpoint stands.
        at: Position,
    },
    /// It belongs to another log of the same name.
    #[error("{partition}: batch belongs to log {found}, but the checkpoint to log {expected}")]
    OtherLog {
        /// Which partition.
        partition: Partition,
        /// The log of the checkpoint.
        expected: Arc<str>,
        /// The log of the batch.
        found: Arc<str>,
    },
}

impl Position {
    /// A position that is one number.
    pub fn number(number: u64) -> Self {
        Self { order: [number, 0], token: None }
    }

    /// The number of a position made by [`Position::number`].
    pub fn as_number(&self) -> u64 {
        self.order[0]
    }
}

impl PartialOrd for Position {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Position {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.order, &self.token).cmp(&(other.order, &other.token))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.token, self.order) {
            (Some(token), _) => formatter.write_str(token),
            (None, [number, 0]) => write!(formatter, "{number}"),
            (None, [first, second]) => write!(formatter, "{first}:{second}"),
        }
    }
}

impl Checkpoint {
    /// The checkpoint after `progress` was settled. A gap between checkpoint and batch is allowed (a compacted log
    /// has them); on error nothing changed.
    ///
    /// # Errors
    /// When the batch starts before the checkpoint or belongs to another log.
    pub fn advance(&self, progress: &Progress) -> Result<Self, Rewind> {
        if self.incarnation != progress.incarnation {
            return Err(Rewind::OtherLog {
                partition: progress.partition.clone(),
                expected: Arc::clone(&self.incarnation),
                found: Arc::clone(&progress.incarnation),
            });
        }
        if progress.from < self.position {
            return Err(Rewind::Behind {
                partition: progress.partition.clone(),
                from: progress.from.clone(),
                at: self.position.clone(),
            });
        }
        Ok(Self { incarnation: Arc::clone(&self.incarnation), position: progress.next.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress(from: u64, next: u64) -> Progress {
        Progress {
            partition: Partition::new("case", 0),
            incarnation: "log-a".into(),
            from: Position::number(from),
            next: Position::number(next),
        }
    }

    fn check(batches: &[(u64, u64)], expected: Result<u64, &str>) {
        let start = Checkpoint { incarnation: "log-a".into(), position: Position::number(0) };
        let end = batches.iter().try_fold(start, |at, (from, next)| at.advance(&progress(*from, *next)));
        let found = end.map(|checkpoint| checkpoint.position.as_number()).map_err(|rewind| rewind.to_string());
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|text| *text));
    }

    #[test]
    fn batches_follow_each_other() {
        check(&[(0, 3), (3, 7)], Ok(7));
    }

    #[test]
    fn a_gap_is_allowed() {
        check(&[(0, 3), (5, 7)], Ok(7));
    }

    #[test]
    fn a_rewind_is_refused() {
        check(&[(0, 3), (2, 4)], Err("case:0: batch starts at 2, but the checkpoint is already at 3"));
    }

    #[test]
    fn another_log_of_the_same_name_is_refused() {
        let at = Checkpoint { incarnation: "log-b".into(), position: Position::number(0) };
        let refusal = at.advance(&progress(0, 1)).unwrap_err().to_string();
        assert_eq!(refusal, "case:0: batch belongs to log log-a, but the checkpoint to log log-b");
    }
}

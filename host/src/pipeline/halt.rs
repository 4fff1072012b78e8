//! When too many changes fail: a bad deploy must not drain the feed into the parked failures.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;

use crate::model::{DocumentKey, Failure};

/// The bound on failures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FailureLimit {
    /// The share of changes that may fail, from 0 to 1; above it the pillow halts.
    pub share: f64,
    /// Over so many of the latest changes.
    pub window: usize,
    /// Fewer changes than this prove nothing yet.
    pub minimum: usize,
}

/// One reason and how often it was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// What the failures have in common.
    pub text: String,
    /// How many they are.
    pub count: usize,
}

/// The latest batches with their failures.
#[derive(Debug)]
pub(super) struct FailureWindow {
    limit: FailureLimit,
    batches: VecDeque<Counted>,
}

/// What counts of one or several batches that settled together.
#[derive(Debug, Default)]
struct Counted {
    changes: usize,
    /// Those that failed; a change is one failed change, whatever the number of its processors and parts that did.
    failed: HashSet<DocumentKey>,
    causes: Vec<String>,
}

impl Counted {
    fn add(&mut self, failures: &[Failure]) {
        self.failed.extend(failures.iter().map(|failure| failure.id.document.clone()));
        self.causes.extend(failures.iter().map(cause));
    }
}

impl FailureWindow {
    pub(super) fn new(limit: FailureLimit) -> Self {
        Self { limit, batches: VecDeque::new() }
    }

    /// Counts a batch of `changes`.
    ///
    /// # Errors
    /// The three most frequent causes, when the share of failures is now above the bound.
    pub(super) fn record(&mut self, changes: usize, failures: &[Failure]) -> Result<(), Vec<Cause>> {
        let mut counted = Counted { changes, ..Counted::default() };
        counted.add(failures);
        self.batches.push_back(counted);
        while self.changes() - self.batches[0].changes >= self.limit.window.max(1) {
            self.batches.pop_front();
        }
        let (seen, failed) = (self.changes(), self.failures());
        if seen < self.limit.minimum.max(1) || ratio(failed, seen) <= self.limit.share {
            return Ok(());
        }
        Err(most_frequent(self.batches.iter().flat_map(|counted| &counted.causes).cloned()))
    }

    /// Adds failures that were found later to the latest batch; they are judged with the next one.
    pub(super) fn add(&mut self, failures: &[Failure]) {
        if let Some(counted) = self.batches.back_mut() {
            counted.add(failures);
        }
    }

    /// How many more failures the latest changes may have before they are too many.
    pub(super) fn allowance(&self) -> usize {
        if self.changes() < self.limit.minimum.max(1) {
            return usize::MAX;
        }
        let (most, failed) = (self.limit.share * float(self.changes()), float(self.failures()));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "bounded by the window, above 0")]
        let allowance = (most - failed).max(0.0).floor() as usize;
        allowance
    }

    fn failures(&self) -> usize {
        self.batches.iter().map(|counted| counted.failed.len()).sum()
    }

    fn changes(&self) -> usize {
        self.batches.iter().map(|counted| counted.changes).sum()
    }
}

/// The three most frequent causes of these failures.
pub(super) fn causes(failures: &[Failure]) -> Vec<Cause> {
    most_frequent(failures.iter().map(cause))
}

fn most_frequent(texts: impl Iterator<Item = String>) -> Vec<Cause> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    texts.for_each(|text| *counts.entry(text).or_default() += 1);
    let mut causes: Vec<Cause> = counts.into_iter().map(|(text, count)| Cause { text, count }).collect();
    causes.sort_by(|one, other| other.count.cmp(&one.count).then_with(|| one.text.cmp(&other.text)));
    causes.truncate(3);
    causes
}

/// What makes failures alike: processor, class, and the message without its numbers and quoted names.
fn cause(failure: &Failure) -> String {
    let processor = failure.id.processor.as_ref().map_or("decoding", |name| name.as_str());
    let line = failure.message.lines().next().unwrap_or_default();
    let words: Vec<&str> =
        line.split(' ').map(|word| if word.contains(|c: char| c.is_ascii_digit()) { "…" } else { word }).collect();
    format!("{processor}: {}: {}", failure.kind, words.join(" "))
}

fn ratio(part: usize, whole: usize) -> f64 {
    float(part) / float(whole)
}

/// Counts of a window are far below 2^32.
fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} × {}", self.count, self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DocumentKey, FailureId, FailureKind, Partition, Position, ProcessorName, RetryHelps};

    fn failures(count: usize, message: &str) -> Vec<Failure> {
        let failure = |at| Failure {
            id: FailureId {
                processor: Some(ProcessorName::new("p")),
                part: None,
                document: DocumentKey::new("s", format!("{at}")),
            },
            partition: Partition::new("t", 0),
            position: Position::number(at),
            kind: FailureKind::Guest,
            message: message.replace('#', &at.to_string()),
            last_log: None,
            retry: RetryHelps::No,
            digest: None,
            change: None,
            bytes: None,
        };
        (0..count as u64).map(failure).collect()
    }

    #[test]
    fn a_share_above_the_bound_halts_with_the_most_frequent_causes() {
        let mut window = FailureWindow::new(FailureLimit { share: 0.2, window: 100, minimum: 10 });
        assert_eq!(window.record(90, &failures(10, "no field #")), Ok(()));
        let causes = window.record(20, &failures(15, "bad date")).unwrap_err();
        let text: Vec<String> = causes.iter().map(Cause::to_string).collect();
        assert_eq!(text, ["15 × p: guest: bad date", "10 × p: guest: no field …"]);
    }

    #[test]
    fn old_failures_leave_the_window() {
        let mut window = FailureWindow::new(FailureLimit { share: 0.2, window: 100, minimum: 10 });
        assert_eq!(window.record(100, &failures(20, "x")), Ok(()));
        assert_eq!(window.record(100, &[]), Ok(()));
        assert_eq!(window.record(100, &failures(20, "x")), Ok(()));
    }

    #[test]
    fn a_change_that_fails_in_many_parts_is_one_failed_change() {
        let mut window = FailureWindow::new(FailureLimit { share: 0.2, window: 100, minimum: 10 });
        let of_part = |at: usize| {
            let mut failure = failures(1, "x").remove(0);
            failure.id.part = Some(format!("part {at}"));
            failure
        };
        assert_eq!(window.record(20, &(0..10).map(of_part).collect::<Vec<_>>()), Ok(()));
        assert_eq!(window.allowance(), 3);
    }

    #[test]
    fn a_few_changes_prove_nothing() {
        let mut window = FailureWindow::new(FailureLimit { share: 0.2, window: 100, minimum: 10 });
        assert_eq!(window.record(5, &failures(5, "x")), Ok(()));
    }
}

//! The queue of a pillow: documents that a processor, or a part of it, wants later. Its entries stand among the parked
//! failures, but for a time at which they are due, and are no failures: nobody is told of them, and they halt nothing.
//! Pure.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;

use super::Settlement;
use crate::model::{Failure, FailureId, FailureKind};

/// So often a document of the queue may fail; then it is parked, as the original gives it up.
pub const MOST_ATTEMPTS: u32 = 20;

/// What of a settlement concerns the queue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Queue {
    /// How long after it is put there a document is due.
    pub delay: Duration,
    /// What the settlement took up of the queue, with how often it failed before: when it fails again, it goes on waiting.
    pub taken: HashMap<FailureId, u32>,
}

/// How much waits in the queue of a pillow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct QueueLength {
    /// Entries: a document counts once for each part that wants it.
    pub entries: u64,
    /// Since when the oldest one waits.
    pub oldest: Option<Timestamp>,
}

/// A failure to be put down.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    pub(super) failure: &'a Failure,
    /// How it waits in the queue; none: it is parked.
    pub(super) waits: Option<Waits>,
}

/// How an entry waits in the queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waits {
    /// How often it failed there.
    pub(super) attempts: u32,
    /// When it is tried.
    pub(super) due_at: Timestamp,
}

impl Queue {
    /// How often the document failed in the queue, if this is a failure that goes there rather than being parked.
    pub fn attempts(&self, failure: &Failure) -> Option<u32> {
        match self.taken.get(&failure.id) {
            Some(before) => Some(before + 1).filter(|attempts| *attempts < MOST_ATTEMPTS),
            None => (failure.kind == FailureKind::Deferred).then_some(0),
        }
    }
}

/// All that a settlement puts down, in order.
pub(super) fn entries<'a>(settlement: &'a Settlement, rejected: &'a [Failure]) -> Vec<Entry<'a>> {
    // A delay beyond the calendar is one for ever.
    let due_at = settlement.time.checked_add(settlement.queue.delay).unwrap_or(Timestamp::MAX);
    let waits = |failure| settlement.queue.attempts(failure).map(|attempts| Waits { attempts, due_at });
    let failures = settlement.parked.iter().chain(rejected);
    failures.map(|failure| Entry { failure, waits: waits(failure) }).collect()
}

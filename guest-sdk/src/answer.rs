//! What a processor answers to a change.

use crate::bindings::pillowtop::processor::types as raw;
use crate::{Error, Write};

/// The answer to one change.
#[derive(Debug)]
pub struct Answer(raw::Outcome);

/// Writes, and parts that failed beside them; becomes an [`Answer`] with `into()`.
#[derive(Debug, Default)]
pub struct Writes {
    writes: Vec<raw::Write>,
    failures: Vec<raw::PartFailure>,
}

impl Answer {
    /// Nothing to do for this change, and why. The reason is counted by the host, so it should be a constant.
    pub fn skip(reason: &str) -> Self {
        Self(raw::Outcome::Skip(reason.to_owned()))
    }

    /// One write.
    pub fn write(write: impl Into<Write>) -> Self {
        Writes::new().with(write).into()
    }

    /// Several writes, done in order.
    pub fn writes(writes: impl IntoIterator<Item = Write>) -> Self {
        Writes { writes: writes.into_iter().map(Write::into_raw).collect(), failures: Vec::new() }.into()
    }

    /// Asks the host for look-ups, as pairs of look-up and key; they are fetched for the whole batch at once, and the
    /// change is processed again with [`crate::Change::found`] filled. The look-ups have to be declared in the
    /// description and granted in the manifest.
    pub fn need<L: Into<String>, K: Into<String>>(wants: impl IntoIterator<Item = (L, K)>) -> Self {
        let want = |(lookup, key): (L, K)| raw::Want { lookup: lookup.into(), key: key.into() };
        Self(raw::Outcome::Need(wants.into_iter().map(want).collect()))
    }

    pub(crate) fn into_raw(self) -> raw::Outcome {
        self.0
    }
}

impl Writes {
    /// None yet. Done without any write, the change counts as processed.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same and one write more.
    #[must_use]
    pub fn with(mut self, write: impl Into<Write>) -> Self {
        self.push(write);
        self
    }

    /// Adds a write; they are done in order.
    pub fn push(&mut self, write: impl Into<Write>) {
        self.writes.push(write.into().into_raw());
    }

    /// Says that one part failed for this change. The writes of the others are done all the same; the failure is
    /// parked, and a later retry of the change runs the whole processor.
    pub fn fail_part(&mut self, part: impl Into<String>, error: Error) {
        self.failures.push(raw::PartFailure { part: part.into(), failure: error.into_raw() });
    }

    /// Puts one part off for this document: the host gives the document again when it is due, with
    /// [`Change::attempts`](crate::Change::attempts) above 0. However often the document changes until then, it is done
    /// once.
    pub fn defer_part(&mut self, part: impl Into<String>) {
        self.fail_part(part, Error::deferred());
    }
}

impl From<Writes> for Answer {
    fn from(Writes { writes, failures }: Writes) -> Self {
        Self(raw::Outcome::Done(raw::Done { writes, failures }))
    }
}

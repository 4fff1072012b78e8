//! Failures of changes: what is parked, and what a later success resolves.

use std::fmt;

use bytes::Bytes;

use super::{Change, Digest, DocumentKey, Partition, Position, ProcessorName};

/// A change that one processor (or one part of it) could not do. It is parked in the settle that moves past it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What it is the failure of.
    pub id: FailureId,
    /// Where the change was read.
    pub partition: Partition,
    /// Its place there.
    pub position: Position,
    /// The class of the failure.
    pub kind: FailureKind,
    /// What happened, for people.
    pub message: String,
    /// The guest's last log line before a trap.
    pub last_log: Option<String>,
    /// Whether a later retry can help.
    pub retry: RetryHelps,
    /// Which code ran; none when no processor was reached.
    pub digest: Option<Digest>,
    /// The change, to be tried again; none for what could not be decoded.
    pub change: Option<Box<Change>>,
    /// What was read, for what could not be decoded.
    pub bytes: Option<Bytes>,
}

/// What a failure belongs to within its pillow; a second failure of the same replaces the first and counts up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FailureId {
    /// The processor; none when the entry could not be decoded.
    pub processor: Option<ProcessorName>,
    /// The part of the processor.
    pub part: Option<String>,
    /// The document; for what could not be decoded, `undecodable` and its place.
    pub document: DocumentKey,
}

/// The class of a failure. Outages are not among them: they are not failures of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The entry or the document cannot be read as what it should be.
    InvalidInput,
    /// The document should be there and is not.
    DocumentMissing,
    /// A sink refused the write.
    Rejected,
    /// The processor crashed.
    Trap,
    /// The processor used more time, memory or output than it may.
    Limit,
    /// The processor said so.
    Guest,
    /// No failure: the processor wants the document later. It stands in the pillow's queue, not among what is parked.
    Deferred,
}

/// Whether trying again later can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryHelps {
    /// It can: something outside of the change was in the way.
    Perhaps,
    /// It cannot, before code, configuration or document change.
    No,
}

/// A failure of one part, beside what the processor did for the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartFailure {
    /// Which part; none is the whole processor.
    pub part: Option<String>,
    /// The class.
    pub kind: FailureKind,
    /// What happened.
    pub message: String,
    /// Whether a retry can help.
    pub retry: RetryHelps,
}

/// A processor's success for a document: parked failures of the same, but for `failed_parts`, are done with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The processor.
    pub processor: ProcessorName,
    /// The document.
    pub document: DocumentKey,
    /// Parts that failed all the same.
    pub failed_parts: Vec<String>,
}

impl FailureId {
    /// The id for an entry that could not be decoded.
    pub fn undecodable(partition: &Partition, position: &Position) -> Self {
        let place = format!("{partition}:{position}");
        Self { processor: None, part: None, document: DocumentKey::new("undecodable", place) }
    }
}

impl FailureKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::InvalidInput,
        Self::DocumentMissing,
        Self::Rejected,
        Self::Trap,
        Self::Limit,
        Self::Guest,
        Self::Deferred,
    ];

    /// The text that stands in tables, metrics and listings.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid-input",
            Self::DocumentMissing => "document-missing",
            Self::Rejected => "rejected",
            Self::Trap => "trap",
            Self::Limit => "limit",
            Self::Guest => "guest",
            Self::Deferred => "deferred",
        }
    }
}

impl fmt::Display for FailureKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

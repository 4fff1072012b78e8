//! What waits in the queue of a pillow, as `queue --json` prints it and the admin endpoint answers.

use serde_json::{Value, json};

use crate::checkpoint::{Parked, QueueLength};
use crate::model::{PillowName, timestamp_text};

/// The queue of a pillow: how much waits, and the entries that were read of it.
pub fn queue_report(pillow: &PillowName, length: QueueLength, entries: &[Parked]) -> Value {
    json!({
        "pillow": pillow.as_str(),
        "length": length.entries,
        "oldest": length.oldest.map(timestamp_text),
        "entries": entries.iter().map(entry).collect::<Vec<_>>(),
    })
}

/// What came of an entry when it was due last; nothing where it was not tried yet.
pub fn queue_failure(entry: &Parked) -> Option<&str> {
    (entry.attempts > 0).then_some(entry.failure.message.as_str())
}

fn entry(entry: &Parked) -> Value {
    let id = &entry.failure.id;
    json!({
        "number": entry.number,
        "processor": id.processor.as_ref().map(|name| name.as_str()),
        "part": id.part,
        "source": id.document.source.as_ref(),
        "document": id.document.id.as_ref(),
        "since": timestamp_text(entry.first_at),
        "due_at": entry.due_at.map(timestamp_text),
        "attempts": entry.attempts,
        "message": queue_failure(entry),
    })
}

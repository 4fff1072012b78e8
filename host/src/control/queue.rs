//! What waits in the queue of a pillow, as `queue --json` prints it and the admin endpoint answers.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::checkpoint::{CheckpointStore, Parked, QueueLength};
use crate::model::{Outage, PillowName, timestamp_text};

/// Reads the queue of a pillow: how much waits, none when nothing ever did, and up to `limit` entries of it.
///
/// # Errors
/// The database does not answer.
pub async fn read_queue(
    checkpoints: &dyn CheckpointStore,
    pillow: &PillowName,
    limit: u32,
) -> Result<(Option<QueueLength>, Vec<Parked>), Outage> {
    let length = checkpoints.queue_lengths().await?.remove(pillow);
    let mut entries = checkpoints.queued(pillow, Timestamp::MAX, limit).await?;
    entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok((length, entries))
}

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

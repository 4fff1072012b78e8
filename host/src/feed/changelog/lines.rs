//! Lines of NDJSON on their way into the change log: gathered into chunks, and understood.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, Lines};
use tokio::time::timeout;

use crate::model::{Change, DecodeError, Position};

use super::metadata::{Head, Metadata, MissingMetadata, SourceType, topic_named, topic_of};

/// Most lines in one transaction: enough that the cost of a commit does not count, few enough that other writers do not
/// wait long.
pub(super) const CHUNK_LINES: usize = 1000;

/// Most bytes of lines in one transaction; a single longer line is written alone.
const CHUNK_BYTES: usize = 4 << 20;

/// How long a chunk that has a line waits for the next one: lines that are piped in as they happen are not held back.
const CHUNK_AGE: Duration = Duration::from_millis(50);

/// What is wrong with a line.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// It is no JSON object.
    #[error("it is no JSON object")]
    Json(#[source] serde_json::Error),
    /// It is neither a document nor a change.
    #[error("it is neither a document (with _id) nor a change (with document_id)")]
    Neither,
    /// A document that says too little.
    #[error(transparent)]
    Document(MissingMetadata),
    /// A change that cannot be read.
    #[error("it is a change that cannot be read")]
    Change(#[source] DecodeError),
    /// A change without a topic.
    #[error("its topic is unknown: add document_type, or a data_source_name that is a topic")]
    Topic,
    /// A deletion of what is not there.
    #[error("it deletes document {0}, which is not there, and has no doc_type to tell its topic by")]
    Unknown(String),
    /// Another document has the id.
    #[error("document {id} is already there as a document of {found}, and this one is of {new}")]
    OtherSource {
        /// The id.
        id: String,
        /// The source of the stored document.
        found: String,
        /// The source that the line would give it.
        new: String,
    },
}

/// A line, understood.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) number: u64,
    pub(super) id: String,
    /// None for a deletion whose topic only the stored document knows.
    pub(super) topic: Option<String>,
    pub(super) kind: Kind,
    pub(super) text: String,
}

#[derive(Debug)]
pub(super) enum Kind {
    Document(Metadata),
    Deletion(Metadata),
    Change,
}

/// Lines with their numbers.
pub(super) struct Numbered<R> {
    lines: Lines<R>,
    /// Of the last line that was read.
    pub(super) number: u64,
}

impl<R: AsyncBufRead + Unpin> Numbered<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { lines: reader.lines(), number: 0 }
    }

    /// The next chunk, without empty lines; empty at the end.
    pub(super) async fn chunk(&mut self) -> std::io::Result<Vec<(u64, String)>> {
        let (mut chunk, mut bytes) = (Vec::new(), 0);
        while chunk.len() < CHUNK_LINES && bytes < CHUNK_BYTES {
            let line = if chunk.is_empty() {
                self.lines.next_line().await?
            } else {
                // `next_line` is cancel-safe: what it read so far stays with it.
                let Ok(line) = timeout(CHUNK_AGE, self.lines.next_line()).await else { break };
                line?
            };
            let Some(line) = line else { break };
            self.number += 1;
            if !line.trim().is_empty() {
                bytes += line.len();
                chunk.push((self.number, line));
            }
        }
        Ok(chunk)
    }
}

/// Understands a line; `default` is the topic of what has none of its own.
pub(super) fn parse(number: u64, text: String, default: Option<&str>) -> Result<Parsed, LineError> {
    // The byte order mark that some programs put at the beginning of a file.
    let text = text.trim_start_matches('\u{feff}').trim().to_owned();
    let fields: HashMap<String, &RawValue> = serde_json::from_str(&text).map_err(LineError::Json)?;
    let is_change = !fields.contains_key("_id") && fields.contains_key("document_id");
    if !is_change && !fields.contains_key("_id") && !fields.contains_key("id") {
        return Err(LineError::Neither);
    }
    drop(fields);
    if is_change {
        let change = Change::decode(text.as_bytes(), Position::number(0)).map_err(LineError::Change)?;
        let topic = topic_of_change(&change, &text, default)?;
        return Ok(Parsed { number, id: change.key.id.to_string(), topic: Some(topic), kind: Kind::Change, text });
    }
    let head: Head = serde_json::from_str(&text).map_err(LineError::Json)?;
    let topic = |document_type| topic_of(document_type, Some(SourceType::Sql), default).to_owned();
    let (metadata, topic, is_deletion) = if head.is_deleted() {
        (Metadata::of_deletion(&head), head.document_type().map(topic), true)
    } else {
        (Metadata::of_document(&head), head.document_type().map(topic), false)
    };
    let metadata = metadata.map_err(LineError::Document)?;
    let id = metadata.document_id.clone();
    let kind = if is_deletion { Kind::Deletion(metadata) } else { Kind::Document(metadata) };
    Ok(Parsed { number, id, topic, kind, text })
}

fn topic_of_change(change: &Change, text: &str, default: Option<&str>) -> Result<String, LineError> {
    let Some(document_type) = change.document_type.as_deref() else {
        let topic = topic_named(&change.key.source).or(default).ok_or(LineError::Topic)?;
        return Ok(topic.to_owned());
    };
    let message: Value = serde_json::from_str(text).map_err(LineError::Json)?;
    let source = match message.get("data_source_type").and_then(Value::as_str) {
        Some("couch") => Some(SourceType::Couch),
        Some("sql") => Some(SourceType::Sql),
        // Old producers put the name of the source into the field for its type.
        Some("form-sql" | "case-sql" | "sms" | "ledger-v1" | "ledger-v2" | "location" | "synclog-sql") => {
            Some(SourceType::Sql)
        }
        _ => None,
    };
    Ok(topic_of(document_type, source, default).to_owned())
}

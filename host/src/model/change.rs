//! A change: the stub that says which document changed, and how it is read from its JSON message.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{DocumentKey, Position};

/// One entry of a feed that could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which document.
    pub key: DocumentKey,
    /// Where in its partition the change stands.
    pub position: Position,
    /// The document's `doc_type`, or the topic's name for sources without one.
    pub document_type: Option<Arc<str>>,
    /// The type of a case, the xmlns of a form.
    pub document_subtype: Option<Arc<str>>,
    /// The project space.
    pub domain: Option<Arc<str>>,
    /// The revision that the change announces; a store that answers with an older one is stale.
    pub revision: Option<Box<str>>,
    /// The form that caused a change of a case.
    pub associated_id: Option<Box<str>>,
    /// Whether the document is gone, softly or for good.
    pub deleted: bool,
    /// Failed attempts so far.
    pub attempts: u32,
    /// When the message was published; what lag is measured by.
    pub published_at: Option<Timestamp>,
    /// The document itself, where the message carries it: its field `document`.
    pub inline: Option<Bytes>,
}

/// One entry of a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// It was understood.
    Change(Change),
    /// It was not; it is parked with its bytes and position.
    Undecodable(Undecodable),
}

/// An entry that is no change message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecodable {
    /// Where in its partition it stands.
    pub position: Position,
    /// What was read.
    pub bytes: Bytes,
    /// Why it could not be decoded.
    pub reason: String,
}

/// What a feed knows beside the message; it counts where the message is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Beside<'a> {
    /// The document's id.
    pub document_id: Option<&'a str>,
    /// The name of the document's source.
    pub source: Option<&'a str>,
    /// When it was published, ISO 8601.
    pub published_at: Option<&'a str>,
}

/// Why a message is not a change.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is not a JSON object with the fields of a change.
    #[error("not a change message")]
    Json(#[source] serde_json::Error),
    /// Its id is neither a string nor an integer.
    #[error("document_id must be a string or an integer, not {0}")]
    Id(String),
    /// It names no source of the document.
    #[error("neither data_source_name nor data_source_type says where the document is")]
    Source,
}

/// The message as it stands on a topic; fields that this version does not know are ignored, so that a newer producer
/// never breaks an older consumer.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(default)]
    document_id: Option<serde_json::Value>,
    #[serde(borrow, default)]
    document_rev: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data_source_type: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    data_source_name: Option<Cow<'a, str>>,
    #[serde(default)]
    document_type: Option<serde_json::Value>,
    #[serde(borrow, default)]
    document_subtype: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    domain: Option<Cow<'a, str>>,
    #[serde(default)]
    is_deletion: Option<bool>,
    #[serde(borrow, default)]
    publish_timestamp: Option<Cow<'a, str>>,
    #[serde(default)]
    attempts: Option<u32>,
    #[serde(borrow, default)]
    associated_document_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    document: Option<&'a RawValue>,
}

impl Change {
    /// A change that says no more than which document it is about.
    pub fn of(key: DocumentKey, position: Position) -> Self {
        Self {
            key,
            position,
            document_type: None,
            document_subtype: None,
            domain: None,
            revision: None,
            associated_id: None,
            deleted: false,
            attempts: 0,
            published_at: None,
            inline: None,
        }
    }

    /// Reads a change from its JSON message (the original's `ChangeMeta`, old and new fields).
    ///
    /// # Errors
    /// When the bytes are no such message.
    pub fn decode(message: &[u8], position: Position) -> Result<Self, DecodeError> {
        Self::decode_beside(message, position, Beside::default())
    }

    /// Reads a change from its JSON message and from what stands beside it.
    ///
    /// # Errors
    /// When the bytes are no such message, and what is missing does not stand beside it either.
    pub fn decode_beside(message: &[u8], position: Position, beside: Beside<'_>) -> Result<Self, DecodeError> {
        let message: Message<'_> = serde_json::from_slice(message).map_err(DecodeError::Json)?;
        let id = match (message.document_id, beside.document_id) {
            (Some(serde_json::Value::String(id)), _) => Cow::Owned(id),
            (Some(serde_json::Value::Number(id)), _) if !id.is_f64() => Cow::Owned(id.to_string()),
            (Some(other), _) => return Err(DecodeError::Id(other.to_string())),
            (None, Some(id)) => Cow::Borrowed(id),
            (None, None) => return Err(DecodeError::Json(serde::de::Error::missing_field("document_id"))),
        };
        // Old producers put the name of the source into the field for its type.
        let source = message
            .data_source_name
            .or(message.data_source_type)
            .or(beside.source.map(Cow::Borrowed))
            .ok_or(DecodeError::Source)?;
        Ok(Self {
            key: DocumentKey::new(source, id),
            position,
            document_type: message.document_type.as_ref().and_then(text_of),
            document_subtype: message.document_subtype.as_deref().map(Arc::from),
            domain: message.domain.as_deref().map(Arc::from),
            revision: message.document_rev.as_deref().map(Box::from),
            associated_id: message.associated_document_id.as_deref().map(Box::from),
            deleted: message.is_deletion.unwrap_or(false),
            attempts: message.attempts.unwrap_or(0),
            // Lag is worth less than the change: a time that cannot be read is no reason to park it.
            published_at: message.publish_timestamp.as_deref().or(beside.published_at).and_then(parse_time),
            inline: message.document.map(|document| Bytes::copy_from_slice(document.get().as_bytes())),
        })
    }

    /// About how many bytes it holds, for the bounds of queues.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.key.id.len() + self.inline.as_ref().map_or(0, Bytes::len)
    }
}

/// The document type is "any JSON" in the original; in practice a string or null.
fn text_of(value: &serde_json::Value) -> Option<Arc<str>> {
    match value {
        serde_json::Value::Null => None,
        serde_json::Value::String(text) => Some(Arc::from(text.as_str())),
        other => Some(Arc::from(other.to_string())),
    }
}

/// ISO 8601; a time without a zone is UTC, as the original's producers mean it.
fn parse_time(text: &str) -> Option<Timestamp> {
    text.parse().ok().or_else(|| format!("{text}Z").parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(message: &str) -> Result<Change, String> {
        Change::decode(message.as_bytes(), Position::number(7)).map_err(|error| super::super::chain(&error))
    }

    #[test]
    fn a_full_message_is_read() {
        let change = decode(
            r#"{"document_id":"0f3c","document_rev":null,"data_source_type":"sql","data_source_name":"form-sql",
            "document_type":"XFormInstance","document_subtype":"http://openrosa.example/visit","domain":"clinic-a",
            "is_deletion":false,"publish_timestamp":"2026-02-03T10:00:00.123456Z","attempts":2,
            "original_publication_datetime":"2026-02-03T09:00:00.000000Z","associated_document_id":"f1"}"#,
        )
        .unwrap();
        assert_eq!(change.key, DocumentKey::new("form-sql", "0f3c"));
        assert_eq!(change.document_type.as_deref(), Some("XFormInstance"));
        assert_eq!(change.document_subtype.as_deref(), Some("http://openrosa.example/visit"));
        assert_eq!(change.domain.as_deref(), Some("clinic-a"));
        assert_eq!(change.associated_id.as_deref(), Some("f1"));
        assert_eq!(change.published_at, Some("2026-02-03T10:00:00.123456Z".parse().unwrap()));
        assert_eq!((change.attempts, change.deleted), (2, false));
    }

    #[test]
    fn an_unknown_field_is_tolerated() {
        let change = decode(r#"{"document_id":"a","data_source_type":"sql","data_source_name":"x","new_field":[1]}"#);
        assert_eq!(change.unwrap().key, DocumentKey::new("x", "a"));
    }

    #[test]
    fn an_integer_id_becomes_canonical_text() {
        let change = decode(r#"{"document_id":12,"data_source_type":"sql","data_source_name":"ledger-v1"}"#);
        assert_eq!(change.unwrap().key, DocumentKey::new("ledger-v1", "12"));
    }

    #[test]
    fn an_old_message_names_its_source_in_the_type() {
        let change = decode(r#"{"document_id":"a","data_source_type":"form-sql"}"#);
        assert_eq!(change.unwrap().key.source.as_ref(), "form-sql");
    }

    #[test]
    fn a_document_in_the_message_is_kept_as_it_stands() {
        let inline = |document: &str| {
            let message = format!(r#"{{"document_id":"a","data_source_name":"x"{document}}}"#);
            decode(&message).unwrap().inline.map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        assert_eq!(
            inline(r#","document":{"n": 1.50, "n": "\u00e4"}"#).as_deref(),
            Some(r#"{"n": 1.50, "n": "\u00e4"}"#)
        );
        assert_eq!(inline(r#","document":null"#), None);
        assert_eq!(inline(""), None);
    }

    #[test]
    fn what_the_message_does_not_say_is_taken_from_beside_it() {
        let beside =
            Beside { document_id: Some("a"), source: Some("form-sql"), published_at: Some("2026-02-03T10:00:00.5Z") };
        let decode = |message: &str| Change::decode_beside(message.as_bytes(), Position::number(7), beside).unwrap();
        let change = decode("{}");
        assert_eq!(change.key, DocumentKey::new("form-sql", "a"));
        assert_eq!(change.published_at, Some("2026-02-03T10:00:00.5Z".parse().unwrap()));
        assert_eq!(decode(r#"{"document_id":"b","data_source_name":"x"}"#).key, DocumentKey::new("x", "b"));
    }

    #[test]
    fn what_is_no_change_says_why() {
        assert!(decode("not json").unwrap_err().starts_with("not a change message: expected"));
        assert!(decode("{}").unwrap_err().starts_with("not a change message: missing field `document_id`"));
        assert_eq!(
            decode(r#"{"document_id":[1],"data_source_name":"x"}"#).unwrap_err(),
            "document_id must be a string or an integer, not [1]"
        );
        assert_eq!(
            decode(r#"{"document_id":"a"}"#).unwrap_err(),
            "neither data_source_name nor data_source_type says where the document is"
        );
    }
}

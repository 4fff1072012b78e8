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

/// Texts that stand in many changes, such as their domain: each is kept once. Best for the changes of one read, which go
/// the same way: what threads share, they wait for each other to count.
#[derive(Debug)]
pub struct Texts {
    known: [Option<Arc<str>>; Self::KNOWN],
}

/// The message as it stands on a topic; fields that this version does not know are ignored, so that a newer producer
/// never breaks an older consumer.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    document_id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    document_rev: Option<Text<'a>>,
    #[serde(borrow, default)]
    data_source_type: Option<Text<'a>>,
    #[serde(borrow, default)]
    data_source_name: Option<Text<'a>>,
    #[serde(borrow, default)]
    document_type: Option<&'a RawValue>,
    #[serde(borrow, default)]
    document_subtype: Option<Text<'a>>,
    #[serde(borrow, default)]
    domain: Option<Text<'a>>,
    #[serde(default)]
    is_deletion: Option<bool>,
    #[serde(borrow, default)]
    publish_timestamp: Option<Text<'a>>,
    #[serde(default)]
    attempts: Option<u32>,
    #[serde(borrow, default)]
    associated_document_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    document: Option<&'a RawValue>,
}

/// A text that is borrowed where it has no escapes; serde borrows no `Cow` within an `Option`.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

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
        Self::decode_sharing(message, position, &mut Texts::default())
    }

    /// The same with the texts of changes that were read before.
    ///
    /// # Errors
    /// When the bytes are no such message.
    pub fn decode_sharing(message: &[u8], position: Position, texts: &mut Texts) -> Result<Self, DecodeError> {
        Self::of_message(message, position, Beside::default(), texts)
    }

    /// Reads a change from its JSON message and from what stands beside it.
    ///
    /// # Errors
    /// When the bytes are no such message, and what is missing does not stand beside it either.
    pub fn decode_beside(message: &[u8], position: Position, beside: Beside<'_>) -> Result<Self, DecodeError> {
        Self::of_message(message, position, beside, &mut Texts::default())
    }

    fn of_message(
        message: &[u8],
        position: Position,
        beside: Beside<'_>,
        texts: &mut Texts,
    ) -> Result<Self, DecodeError> {
        let message: Message<'_> = serde_json::from_slice(message).map_err(DecodeError::Json)?;
        let id = match (message.document_id, beside.document_id) {
            (Some(id), _) => id_of(id)?,
            (None, Some(id)) => Cow::Borrowed(id),
            (None, None) => return Err(DecodeError::Json(serde::de::Error::missing_field("document_id"))),
        };
        // Old producers put the name of the source into the field for its type.
        let named = message.data_source_name.as_ref().or(message.data_source_type.as_ref());
        let source = named.map(Text::get).or(beside.source).ok_or(DecodeError::Source)?;
        let published_at = message.publish_timestamp.as_ref().map(Text::get).or(beside.published_at);
        Ok(Self {
            key: DocumentKey { source: texts.share(source), id: Arc::from(id) },
            position,
            document_type: message.document_type.and_then(text_of).map(|text| texts.share(&text)),
            document_subtype: message.document_subtype.map(|text| texts.share(text.get())),
            domain: message.domain.map(|text| texts.share(text.get())),
            revision: message.document_rev.map(|text| Box::from(text.get())),
            associated_id: message.associated_document_id.map(|text| Box::from(text.get())),
            deleted: message.is_deletion.unwrap_or(false),
            attempts: message.attempts.unwrap_or(0),
            // Lag is worth less than the change: a time that cannot be read is no reason to park it.
            published_at: published_at.and_then(parse_time),
            inline: message.document.map(|document| Bytes::copy_from_slice(document.get().as_bytes())),
        })
    }

    /// About how many bytes it holds, for the bounds of queues.
    pub fn size(&self) -> usize {
        size_of::<Self>() + self.key.id.len() + self.inline.as_ref().map_or(0, Bytes::len)
    }
}

impl Text<'_> {
    fn get(&self) -> &str {
        &self.0
    }
}

impl Default for Texts {
    fn default() -> Self {
        Self { known: [const { None }; Self::KNOWN] }
    }
}

impl Texts {
    /// How many are known at once.
    const KNOWN: usize = 64;

    /// The text, as it was made before if it is still known.
    fn share(&mut self, text: &str) -> Arc<str> {
        let place = &mut self.known[Self::place(text)];
        if let Some(known) = place
            && **known == *text
        {
            return Arc::clone(known);
        }
        Arc::clone(place.insert(Arc::from(text)))
    }

    /// Where a text is kept, in the stead of others there: by its length and its end, in which such texts differ.
    fn place(text: &str) -> usize {
        let end = text.bytes().rev().take(8).fold(text.len(), |sum, byte| sum.wrapping_mul(31) ^ usize::from(byte));
        end.wrapping_mul(0x9e37_79b9) >> 16 & (Self::KNOWN - 1)
    }
}

/// The id as text: a string, or an integer in decimal.
fn id_of(raw: &RawValue) -> Result<Cow<'_, str>, DecodeError> {
    if let Some(text) = plain(raw) {
        return Ok(Cow::Borrowed(text));
    }
    match serde_json::from_str(raw.get()).map_err(DecodeError::Json)? {
        serde_json::Value::String(id) => Ok(Cow::Owned(id)),
        serde_json::Value::Number(id) if !id.is_f64() => Ok(Cow::Owned(id.to_string())),
        other => Err(DecodeError::Id(other.to_string())),
    }
}

/// The document type is "any JSON" in the original; in practice a string or null.
fn text_of(raw: &RawValue) -> Option<Cow<'_, str>> {
    if let Some(text) = plain(raw) {
        return Some(Cow::Borrowed(text));
    }
    match serde_json::from_str(raw.get()) {
        Ok(serde_json::Value::Null) => None,
        Ok(serde_json::Value::String(text)) => Some(Cow::Owned(text)),
        Ok(other) => Some(Cow::Owned(other.to_string())),
        // It was read before, as far as JSON goes; what no value holds, such as 1e999, is kept as it is written.
        Err(_) => Some(Cow::Borrowed(raw.get())),
    }
}

/// What stands between the quotes of a text without escapes.
fn plain(raw: &RawValue) -> Option<&str> {
    let text = raw.get().strip_prefix('"')?.strip_suffix('"')?;
    (!text.contains('\\')).then_some(text)
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
    fn texts_with_escapes_are_read_as_what_they_mean() {
        let change = decode(
            r#"{"document_id":"a\u00e4\"b","data_source_name":"s\\t","document_type":"\u0041","domain":"x\ny"}"#,
        )
        .unwrap();
        assert_eq!(change.key, DocumentKey::new("s\\t", "aä\"b"));
        assert_eq!((change.document_type.as_deref(), change.domain.as_deref()), (Some("A"), Some("x\ny")));
    }

    #[test]
    fn a_type_that_is_no_text_is_kept_as_json_and_null_is_none() {
        let type_of = |json: &str| {
            let message = format!(r#"{{"document_id":"a","data_source_name":"s","document_type":{json}}}"#);
            decode(&message).unwrap().document_type.map(|text| text.to_string())
        };
        assert_eq!(type_of(r#"{"a": [1]}"#).as_deref(), Some(r#"{"a":[1]}"#));
        assert_eq!((type_of("12").as_deref(), type_of("null")), (Some("12"), None));
    }

    #[test]
    fn texts_that_repeat_are_kept_once_and_never_mixed_up() {
        let mut texts = Texts::default();
        for number in 0..1000 {
            let (one, other) = (format!("clinic-{number}"), format!("{number}-clinic"));
            assert_eq!((&*texts.share(&one), &*texts.share(&other)), (one.as_str(), other.as_str()));
            assert!(Arc::ptr_eq(&texts.share(&one), &texts.share(&one)));
        }
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

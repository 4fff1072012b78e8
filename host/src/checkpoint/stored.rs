//! A parked change as JSON in a database: all that a retry needs, readable by the versions of this program that follow.

use std::borrow::Cow;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::{Change, DocumentKey, Position, timestamp_text};

/// Fields may be added; their absence then means that an older version wrote it.
#[derive(Serialize, Deserialize)]
struct StoredChange<'a> {
    source: Cow<'a, str>,
    id: Cow<'a, str>,
    order: [u64; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document_type: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    document_subtype: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    revision: Option<Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    associated_id: Option<Cow<'a, str>>,
    deleted: bool,
    attempts: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    published_at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inline: Option<Inline<'a>>,
}

/// An inline document: JSON in practice, so that people can read it where it is text.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Inline<'a> {
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
}

/// The change as JSON text.
pub(super) fn encode(change: &Change) -> String {
    let inline = change.inline.as_deref().map(|bytes| match std::str::from_utf8(bytes) {
        Ok(text) => Inline::Text(text.into()),
        Err(_) => Inline::Bytes(bytes.into()),
    });
    let stored = StoredChange {
        source: change.key.source.as_ref().into(),
        id: change.key.id.as_ref().into(),
        order: change.position.order,
        token: change.position.token.as_deref().map(Cow::from),
        document_type: change.document_type.as_deref().map(Cow::from),
        document_subtype: change.document_subtype.as_deref().map(Cow::from),
        domain: change.domain.as_deref().map(Cow::from),
        revision: change.revision.as_deref().map(Cow::from),
        associated_id: change.associated_id.as_deref().map(Cow::from),
        deleted: change.deleted,
        attempts: change.attempts,
        published_at: change.published_at.map(timestamp_text),
        inline,
    };
    serde_json::to_string(&stored).expect("texts and numbers are JSON")
}

/// The change in its JSON text.
///
/// # Errors
/// When the text is not what [`encode`] writes.
pub(super) fn decode(text: &str) -> Result<Change, serde_json::Error> {
    let stored: StoredChange<'_> = serde_json::from_str(text)?;
    let published_at = stored.published_at.map(|text| text.parse::<Timestamp>());
    Ok(Change {
        key: DocumentKey::new(stored.source, stored.id),
        position: Position { order: stored.order, token: stored.token.map(|text| text.as_ref().into()) },
        document_type: stored.document_type.map(|text| text.as_ref().into()),
        document_subtype: stored.document_subtype.map(|text| text.as_ref().into()),
        domain: stored.domain.map(|text| text.as_ref().into()),
        revision: stored.revision.map(|text| text.as_ref().into()),
        associated_id: stored.associated_id.map(|text| text.as_ref().into()),
        deleted: stored.deleted,
        attempts: stored.attempts,
        published_at: published_at.transpose().map_err(serde::de::Error::custom)?,
        inline: stored.inline.map(|inline| match inline {
            Inline::Text(text) => Bytes::from(text.into_owned()),
            Inline::Bytes(bytes) => Bytes::from(bytes.into_owned()),
        }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: &Change) {
        let text = encode(change);
        assert_eq!(&decode(&text).unwrap(), change, "{text}");
    }

    #[test]
    fn a_change_survives_being_stored() {
        let bare = Change {
            key: DocumentKey::new("case-sql", "ä\"\0"),
            position: Position { order: [u64::MAX, 7], token: Some("9-abc".into()) },
            document_type: None,
            document_subtype: None,
            domain: None,
            revision: None,
            associated_id: None,
            deleted: true,
            attempts: 3,
            published_at: None,
            inline: None,
        };
        check(&bare);
        let full = Change {
            document_type: Some("CommCareCase".into()),
            document_subtype: Some("patient".into()),
            domain: Some("clinic".into()),
            revision: Some("3-ab".into()),
            associated_id: Some("f1".into()),
            published_at: Some("2026-02-03T10:00:00.123456Z".parse().unwrap()),
            inline: Some(Bytes::from_static(br#"{"a":"\u00e4"}"#)),
            ..bare.clone()
        };
        check(&full);
        check(&Change { inline: Some(Bytes::from_static(&[0xff, 0, 1])), ..bare });
    }
}

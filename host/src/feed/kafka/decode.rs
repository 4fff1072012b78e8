//! A message of a topic as an entry of the feed.
//!
//! Messages are decoded by whoever calls `next`, right out of librdkafka's memory: no copy, no queue and no hand-over
//! between threads, which would each cost more than they hide. Fetching and decompressing run beside it anyway, on
//! librdkafka's threads.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;

use super::queue::Message;
use crate::model::{Change, DocumentKey, Entry, Position, Texts, Undecodable, chain};

/// Decodes a message of `topic`. A tombstone is the deletion of the document that its key names: a compacted topic
/// keeps one message per key, and the key of a change is its document's id. A tombstone says no source, so the
/// topic's name stands for it.
pub(super) fn decode(topic: &Arc<str>, message: &Message<'_>, texts: &mut Texts) -> Entry {
    let position = Position::number(message.offset);
    let Some(value) = message.value else {
        return tombstone(topic, message, position);
    };
    match Change::decode_sharing(value, position.clone(), texts) {
        Ok(mut change) => {
            if change.published_at.is_none() {
                change.published_at = time_of(message);
            }
            Entry::Change(change)
        }
        Err(error) => {
            Entry::Undecodable(Undecodable { position, bytes: Bytes::copy_from_slice(value), reason: chain(&error) })
        }
    }
}

fn tombstone(topic: &Arc<str>, message: &Message<'_>, position: Position) -> Entry {
    let key = message.key.unwrap_or_default();
    let reason = match std::str::from_utf8(key) {
        Ok("") => "a tombstone without a key names no document".to_owned(),
        Ok(id) => {
            let key = DocumentKey { source: Arc::clone(topic), id: Arc::from(id) };
            let published_at = time_of(message);
            return Entry::Change(Change { deleted: true, published_at, ..Change::of(key, position) });
        }
        Err(error) => format!("the key of a tombstone is not text: {error}"),
    };
    Entry::Undecodable(Undecodable { position, bytes: Bytes::copy_from_slice(key), reason })
}

fn time_of(message: &Message<'_>) -> Option<Timestamp> {
    Timestamp::from_millisecond(message.timestamp_ms?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(key: Option<&[u8]>, value: Option<&[u8]>) -> Entry {
        let message = Message { offset: 7, key, value, timestamp_ms: Some(1_770_112_800_000) };
        decode(&Arc::from("case-sql"), &message, &mut Texts::default())
    }

    fn change(key: Option<&[u8]>, value: Option<&[u8]>) -> Change {
        match entry(key, value) {
            Entry::Change(change) => change,
            Entry::Undecodable(undecodable) => panic!("{}", undecodable.reason),
        }
    }

    fn undecodable(key: Option<&[u8]>, value: Option<&[u8]>) -> (Bytes, String) {
        match entry(key, value) {
            Entry::Change(change) => panic!("{:?}", change.key),
            Entry::Undecodable(undecodable) => {
                assert_eq!(undecodable.position, Position::number(7));
                (undecodable.bytes, undecodable.reason)
            }
        }
    }

    #[test]
    fn a_message_keeps_its_own_time_and_else_gets_the_brokers() {
        let own = br#"{"document_id":"a","data_source_name":"s","publish_timestamp":"2026-02-03T10:00:01Z"}"#;
        assert_eq!(change(None, Some(own)).published_at.unwrap().to_string(), "2026-02-03T10:00:01Z");
        let none = br#"{"document_id":"a","data_source_name":"s"}"#;
        assert_eq!(change(None, Some(none)).published_at.unwrap().to_string(), "2026-02-03T10:00:00Z");
    }

    #[test]
    fn a_tombstone_is_the_deletion_of_the_document_that_its_key_names() {
        let deletion = change(Some(b"c1"), None);
        assert_eq!((deletion.key, deletion.deleted), (DocumentKey::new("case-sql", "c1"), true));
    }

    #[test]
    fn a_tombstone_that_names_no_document_is_undecodable() {
        let no_key = "a tombstone without a key names no document";
        assert_eq!(undecodable(None, None), (Bytes::new(), no_key.to_owned()));
        let (bytes, reason) = undecodable(Some(b"\xff\x01"), None);
        assert_eq!(bytes, Bytes::from_static(b"\xff\x01"));
        assert!(reason.starts_with("the key of a tombstone is not text: invalid utf-8"), "{reason}");
    }

    #[test]
    fn what_is_no_change_is_kept_with_its_bytes_and_why() {
        let (bytes, reason) = undecodable(Some(b"k"), Some(b"\x00not json"));
        assert_eq!(bytes, Bytes::from_static(b"\x00not json"));
        assert!(reason.starts_with("not a change message: expected value"), "{reason}");
    }
}

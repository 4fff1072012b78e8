//! What `_changes` answers, read: rows, pages, sequences.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::feed::changelog::{Head, Metadata};
use crate::model::{Change, DocumentKey, Entry, Position, Undecodable};

/// A row, as the server writes it.
#[derive(Debug, Deserialize)]
struct Row<'a> {
    id: String,
    #[serde(borrow)]
    seq: &'a RawValue,
    #[serde(default)]
    changes: Vec<Leaf>,
    #[serde(default)]
    deleted: bool,
    #[serde(borrow, default)]
    doc: Option<&'a RawValue>,
}

#[derive(Debug, Deserialize)]
struct Leaf {
    rev: String,
}

/// The answer to a request that ends.
#[derive(Debug, Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    results: Vec<&'a RawValue>,
    #[serde(borrow)]
    last_seq: &'a RawValue,
    #[serde(default)]
    pending: Option<u64>,
}

/// Rows that follow each other, and the sequence after them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page {
    /// What was read, in order.
    pub(super) entries: Vec<Sized>,
    /// Where reading goes on.
    pub(super) next: Position,
    /// How many more rows the server has behind them, where it says so.
    pub(super) pending: Option<u64>,
}

/// An entry, the bytes that it came in, and where reading goes on after it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Sized {
    pub(super) entry: Entry,
    pub(super) bytes: usize,
    pub(super) next: Position,
}

/// Why an answer of the server cannot be used at all.
#[derive(Debug, thiserror::Error)]
#[error("the answer is no list of changes")]
pub(super) struct NoChanges(#[source] serde_json::Error);

/// Reads the answer of a normal or long-polling request that began after `since`.
pub(super) fn page(database: &Arc<str>, since: &Position, answer: &[u8]) -> Result<Page, NoChanges> {
    let answer: Answer<'_> = serde_json::from_slice(answer).map_err(NoChanges)?;
    let mut at = since.clone();
    let mut entries = Vec::with_capacity(answer.results.len());
    for row in answer.results {
        let sized = entry(database, &at, row.get().as_bytes())?;
        at = sized.next.clone();
        entries.push(sized);
    }
    // After the last row, or further where a filter left rows out.
    let last = text_of(answer.last_seq);
    let next = if at.to_string() == last { at } else { after(&at, &last) };
    Ok(Page { entries, next, pending: answer.pending })
}

/// Reads one row, which stands after `since`. A row that cannot be understood is an entry too; one without a sequence
/// is none, since nobody could go on after it.
pub(super) fn entry(database: &Arc<str>, since: &Position, row: &[u8]) -> Result<Sized, NoChanges> {
    #[derive(Deserialize)]
    struct Sequence<'a> {
        #[serde(borrow)]
        seq: &'a RawValue,
    }
    let bytes = row.len();
    // A position is the place to resume at, so an entry stands where its predecessor's sequence says.
    let position = since.clone();
    match serde_json::from_slice::<Row<'_>>(row) {
        Ok(row) => {
            let next = after(since, &text_of(row.seq));
            Ok(Sized { entry: Entry::Change(change(database, position, row)), bytes, next })
        }
        Err(error) => {
            let sequence: Sequence<'_> = serde_json::from_slice(row).map_err(NoChanges)?;
            let next = after(since, &text_of(sequence.seq));
            let reason = format!("not a change of CouchDB: {error}");
            let undecodable = Undecodable { position, bytes: Bytes::copy_from_slice(row), reason };
            Ok(Sized { entry: Entry::Undecodable(undecodable), bytes, next })
        }
    }
}

fn change(database: &Arc<str>, position: Position, row: Row<'_>) -> Change {
    // With the document at hand, the change says what the document does.
    let head: Option<Head> = row.doc.and_then(|document| serde_json::from_str(document.get()).ok());
    let metadata = head.filter(|_| !row.deleted).and_then(|head| Metadata::of_document(&head).ok());
    let shared = |text: &Option<String>| text.as_deref().map(Arc::from);
    Change {
        key: DocumentKey { source: Arc::clone(database), id: Arc::from(row.id) },
        position,
        document_type: metadata.as_ref().and_then(|metadata| shared(&metadata.document_type)),
        document_subtype: metadata.as_ref().and_then(|metadata| shared(&metadata.document_subtype)),
        domain: metadata.as_ref().and_then(|metadata| shared(&metadata.domain)),
        // The first is the one that won, where the feed names all leaves.
        revision: row.changes.into_iter().next().map(|leaf| Box::from(leaf.rev)),
        associated_id: None,
        deleted: row.deleted || metadata.is_some_and(|metadata| metadata.is_deletion),
        attempts: 0,
        // CouchDB does not say when.
        published_at: None,
        inline: row.doc.filter(|_| !row.deleted).map(|document| Bytes::copy_from_slice(document.get().as_bytes())),
    }
}

/// A sequence as text that can be given back: a text as it stands, anything else as JSON.
pub(super) fn text_of(sequence: &RawValue) -> String {
    serde_json::from_str(sequence.get()).unwrap_or_else(|_| sequence.get().to_owned())
}

/// The number that a sequence begins with: `42` of `42`, `42-g1AAAA`, `[42,"g1AAAA"]`.
pub(super) fn number_of(sequence: &str) -> u64 {
    let digits = sequence.trim_start_matches('[');
    let end = digits.find(|sign: char| !sign.is_ascii_digit()).unwrap_or(digits.len());
    digits[..end].parse().unwrap_or(0)
}

/// The position of `sequence`, which the server gave after `at`: always a later one.
pub(super) fn after(at: &Position, sequence: &str) -> Position {
    let number = number_of(sequence);
    let order = match at.order {
        [before, _] if number > before => [number, 0],
        [before, tie] => [before, tie + 1],
    };
    let is_number = sequence.bytes().all(|byte| byte.is_ascii_digit());
    let token = (!is_number || order != [number, 0]).then(|| Arc::from(sequence));
    Position { order, token }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Arc<str> {
        "hq__users".into()
    }

    fn position(order: [u64; 2], token: &str) -> Position {
        Position { order, token: Some(token.into()) }
    }

    fn changes(page: &Page) -> Vec<&Change> {
        let change = |sized: &'_ Sized| match &sized.entry {
            Entry::Change(_) => true,
            Entry::Undecodable(_) => false,
        };
        assert!(page.entries.iter().all(change));
        page.entries
            .iter()
            .filter_map(|sized| if let Entry::Change(change) = &sized.entry { Some(change) } else { None })
            .collect()
    }

    #[test]
    fn a_page_of_stubs_is_read() {
        let answer = br#"{"results":[
            {"seq":"21-g1A","id":"a","changes":[{"rev":"2-x"},{"rev":"1-y"}]},
            {"seq":"22-g1B","id":"b","changes":[{"rev":"3-z"}],"deleted":true}
        ],"last_seq":"30-g1F","pending":4}"#;
        let page = page(&database(), &Position::number(0), answer).unwrap();
        let [first, second] = changes(&page)[..] else { panic!("{page:?}") };
        // Acceptance case 1.
        assert_eq!((first.key.source.as_ref(), first.key.id.as_ref(), first.deleted), ("hq__users", "a", false));
        assert_eq!((first.revision.as_deref(), &first.position), (Some("2-x"), &Position::number(0)));
        assert_eq!((second.deleted, &second.position), (true, &position([21, 0], "21-g1A")));
        assert_eq!((page.next, page.pending), (position([30, 0], "30-g1F"), Some(4)));
    }

    #[test]
    fn a_document_that_travels_along_tells_of_itself() {
        let answer = br#"{"results":[{"seq":5,"id":"u1","changes":[{"rev":"1-x"}],
            "doc":{"_id":"u1","_rev":"1-x","doc_type":"CommCareUser","domain":"clinic"}}],"last_seq":5}"#;
        let page = page(&database(), &Position::number(4), answer).unwrap();
        let [change] = changes(&page)[..] else { panic!("{page:?}") };
        assert_eq!((change.document_type.as_deref(), change.domain.as_deref()), (Some("CommCareUser"), Some("clinic")));
        assert!(change.inline.as_deref().unwrap().starts_with(br#"{"_id":"u1""#));
        assert_eq!(page.next, Position::number(5));
    }

    #[test]
    fn a_softly_deleted_document_is_a_deletion_with_a_document() {
        let answer = br#"{"results":[{"seq":5,"id":"u1","changes":[{"rev":"1-x"}],
            "doc":{"_id":"u1","doc_type":"CommCareUser-Deleted","domain":"clinic"}}],"last_seq":5}"#;
        let page = page(&database(), &Position::number(4), answer).unwrap();
        assert!(changes(&page)[0].deleted && changes(&page)[0].inline.is_some());
    }

    #[test]
    fn a_row_that_is_not_understood_has_its_place() {
        let answer = br#"{"results":[{"seq":"7-a","id":12}],"last_seq":"7-a"}"#;
        let page = page(&database(), &Position::number(6), answer).unwrap();
        let Entry::Undecodable(undecodable) = &page.entries[0].entry else { panic!("{page:?}") };
        assert_eq!(undecodable.bytes.as_ref(), br#"{"seq":"7-a","id":12}"#);
        assert_eq!(page.next, position([7, 0], "7-a"));
    }

    #[test]
    fn what_is_no_list_of_changes_is_no_page() {
        for answer in ["", "null", r#"{"results":[]}"#, r#"{"results":[{"id":"a"}],"last_seq":1}"#] {
            assert!(page(&database(), &Position::number(0), answer.as_bytes()).is_err(), "{answer}");
        }
    }

    #[test]
    fn positions_only_grow_whatever_the_sequences_do() {
        let mut at = Position::number(0);
        for sequence in ["3", "5-abc", "5-abd", "4-abe", "[9,\"x\"]", "garbage", "10"] {
            let next = after(&at, sequence);
            assert!(at < next, "{at:?} {next:?}");
            assert_eq!(next.to_string(), sequence);
            at = next;
        }
        assert_eq!(at, Position::number(10));
    }
}

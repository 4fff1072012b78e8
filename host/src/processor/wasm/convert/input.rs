//! A call on its way in: borrowed wherever it can be, so that a document is copied once.

use std::collections::HashMap;

use crate::model::{Change, Document, timestamp_text};
use crate::processor::Call;
use crate::processor::wasm::bindings::pillowtop::processor::types as contract;

/// Hands the call to `run` in the contract's types, which live no longer than that.
pub(crate) fn with_batch<R>(call: &Call<'_>, run: impl FnOnce(contract::Batch<'_>) -> R) -> R {
    let documents: Vec<Vec<Vec<&[u8]>>> = call
        .items
        .iter()
        .map(|item| item.found.iter().map(|found| found.documents.iter().map(AsRef::as_ref).collect()).collect())
        .collect();
    let found: Vec<Vec<contract::Found<'_>>> = call
        .items
        .iter()
        .zip(&documents)
        .map(|(item, documents)| {
            let found = item.found.iter().zip(documents);
            found
                .map(|(found, documents)| contract::Found { lookup: &found.lookup, key: &found.key, documents })
                .collect()
        })
        .collect();
    let mut symbols = Symbols::default();
    let mut fields = Fields::default();
    let changes: Vec<contract::Change<'_>> = call
        .items
        .iter()
        .zip(&found)
        .map(|(item, found)| change(&item.change, &item.document, found, &mut symbols, &mut fields))
        .collect();
    let time = timestamp_text(call.time);
    run(contract::Batch { topic: call.topic, time: &time, symbols: &symbols.texts, changes: &changes })
}

fn change<'a>(
    change: &'a Change,
    document: &'a Document,
    found: &'a [contract::Found<'a>],
    symbols: &mut Symbols<'a>,
    fields: &mut Fields<'a>,
) -> contract::Change<'a> {
    let mut optional =
        |text: Option<&'a str>, last: &mut Option<(&'a str, u32)>| text.map(|text| symbols.place(text, last));
    contract::Change {
        id: &change.key.id,
        document_type: optional(change.document_type.as_deref(), &mut fields.document_type),
        document_subtype: optional(change.document_subtype.as_deref(), &mut fields.document_subtype),
        domain: optional(change.domain.as_deref(), &mut fields.domain),
        source: symbols.place(&change.key.source, &mut fields.source),
        revision: change.revision.as_deref(),
        associated_id: change.associated_id.as_deref(),
        deleted: change.deleted,
        attempts: change.attempts,
        published_ms: change.published_at.map(milliseconds),
        document: match document {
            Document::Present(bytes) => contract::Document::Present(bytes),
            Document::Deleted => contract::Document::Deleted,
            Document::Missing => contract::Document::Missing,
            Document::Stale => contract::Document::Stale,
        },
        found,
    }
}

/// Exact up to the year 285 000.
#[expect(clippy::cast_precision_loss, reason = "a time in milliseconds needs 48 of the 53 bits")]
fn milliseconds(instant: jiff::Timestamp) -> f64 {
    instant.as_millisecond() as f64
}

/// So many texts are compared one by one; that is quicker than hashing, and most batches have no more.
const FEW: usize = 32;

/// The texts of a batch that repeat, each once.
#[derive(Default)]
struct Symbols<'a> {
    texts: Vec<&'a str>,
    /// Where each stands; empty as long as they are few.
    places: HashMap<&'a str, u32>,
}

/// What each field was in the change before: most often it is the same again, and is not searched for.
#[derive(Default)]
struct Fields<'a> {
    source: Option<(&'a str, u32)>,
    document_type: Option<(&'a str, u32)>,
    document_subtype: Option<(&'a str, u32)>,
    domain: Option<(&'a str, u32)>,
}

impl<'a> Symbols<'a> {
    fn place(&mut self, text: &'a str, last: &mut Option<(&'a str, u32)>) -> u32 {
        if let Some((before, place)) = *last
            && before == text
        {
            return place;
        }
        let place = self.find(text).unwrap_or_else(|| self.add(text));
        *last = Some((text, place));
        place
    }

    fn find(&self, text: &str) -> Option<u32> {
        if !self.places.is_empty() {
            return self.places.get(text).copied();
        }
        self.texts.iter().zip(0..).find(|(known, _)| **known == text).map(|(_, place)| place)
    }

    fn add(&mut self, text: &'a str) -> u32 {
        let place = u32::try_from(self.texts.len()).expect("a batch has far fewer than 2^32 changes");
        self.texts.push(text);
        if self.texts.len() == FEW {
            self.places.extend(self.texts.iter().copied().zip(0..));
        } else if self.texts.len() > FEW {
            self.places.insert(text, place);
        }
        place
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;

    use super::*;
    use crate::model::{Found, Item, Position};

    fn item(id: &str, domain: &str, document: Document) -> Item {
        let message = format!(
            r#"{{"document_id":"{id}","data_source_name":"forms","document_type":"forms","domain":"{domain}",
            "publish_timestamp":"2026-02-03T10:00:00.123456Z"}}"#
        );
        let change = Arc::new(Change::decode(message.as_bytes(), Position::number(0)).unwrap());
        Item { change, document, found: Vec::new() }
    }

    #[test]
    fn many_texts_stand_once_too() {
        let items: Vec<Item> =
            (0..200).map(|number| item("1", &format!("domain-{}", number % 70), Document::Missing)).collect();
        let call = Call { topic: "form", time: "2026-02-03T10:00:00Z".parse().unwrap(), items: &items };
        with_batch(&call, |batch| {
            assert_eq!(batch.symbols.len(), 71);
            for (change, item) in batch.changes.iter().zip(&items) {
                let domain = change.domain.and_then(|place| batch.symbols.get(usize::try_from(place).unwrap()));
                assert_eq!(domain.copied(), item.change.domain.as_deref());
                assert_eq!((change.source, batch.symbols[0]), (0, "forms"));
            }
        });
    }

    #[test]
    fn a_repeated_text_stands_once_in_the_symbols() {
        let mut items = vec![
            item("1", "a", Document::Present(Bytes::from_static(b"{}"))),
            item("2", "b", Document::Missing),
            item("3", "a", Document::Stale),
        ];
        items[1].found.push(Found {
            lookup: "cases".into(),
            key: "k".into(),
            documents: vec![Bytes::from_static(b"x")],
        });
        let call = Call { topic: "form", time: "2026-02-03T10:00:00Z".parse().unwrap(), items: &items };
        with_batch(&call, |batch| {
            assert_eq!((batch.topic, batch.time), ("form", "2026-02-03T10:00:00.000000Z"));
            assert_eq!(batch.symbols, ["forms", "a", "b"]);
            let places: Vec<_> =
                batch.changes.iter().map(|change| (change.source, change.document_type, change.domain)).collect();
            assert_eq!(places, [(0, Some(0), Some(1)), (0, Some(0), Some(2)), (0, Some(0), Some(1))]);
            assert_eq!(batch.changes[0].published_ms, Some(1_770_112_800_123.0));
            assert!(matches!(batch.changes[0].document, contract::Document::Present(b"{}")));
            assert!(matches!(batch.changes[2].document, contract::Document::Stale));
            let found = &batch.changes[1].found[0];
            assert_eq!((found.lookup, found.key, found.documents), ("cases", "k", &[b"x".as_slice()][..]));
        });
    }
}

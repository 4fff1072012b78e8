//! What every sink of documents keeps, run against each of them.
//!
//! A new adapter implements [`Adapter`] and adds a line to the `suite!` calls below.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

#[path = "elasticsearch_subject.rs"]
mod elasticsearch_subject;
#[path = "../support/searching.rs"]
mod searching;
#[path = "../support/service.rs"]
mod service;

use async_trait::async_trait;
use elasticsearch_subject::{Elasticsearch, OpenSearch};
use pillowtop::model::{DocumentKey, IfAbsent, Index, IndexWrite, ListEdit, ProcessorName, Write, WriteVersion, chain};
use pillowtop::sink::search::{self, SearchSink};
use pillowtop::sink::{PrepareError, Sink, Versioned};
use serde_json::{Value, json};

/// A sink under test.
#[async_trait]
trait Adapter: Sized {
    /// A sink that holds nothing.
    fn empty() -> Self;

    /// The sink.
    fn sink(&self) -> &dyn Sink;

    /// The durable document of this id.
    async fn get(&self, index: &str, id: &str) -> Option<Value>;

    /// How many durable documents there are.
    async fn count(&self, index: &str) -> usize;

    /// The sink after its process died; none when it keeps nothing then.
    fn after_a_crash(self) -> Option<Self>;
}

struct Search {
    folder: tempfile::TempDir,
    sink: SearchSink,
}

#[async_trait]
impl Adapter for Search {
    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sink = SearchSink::open(folder.path());
        Self { folder, sink }
    }

    fn sink(&self) -> &dyn Sink {
        &self.sink
    }

    async fn get(&self, index: &str, id: &str) -> Option<Value> {
        let source = search::get(self.folder.path(), index, id).unwrap();
        source.map(|source| serde_json::from_slice(&source).unwrap())
    }

    async fn count(&self, index: &str) -> usize {
        search::count(self.folder.path(), index).unwrap()
    }

    fn after_a_crash(self) -> Option<Self> {
        drop(self.sink);
        let sink = SearchSink::open(self.folder.path());
        Some(Self { folder: self.folder, sink })
    }
}

macro_rules! suite {
    ($adapter:ident as $module:ident: $($case:ident),* $(,)?) => {
        mod $module {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case::<super::$adapter>().await;
                }
            )*
        }
    };
}

/// What every sink keeps.
macro_rules! every_sink {
    ($($adapter:ident as $module:ident),* $(,)?) => {$(
        suite! { $adapter as $module:
            the_same_writes_again_end_in_the_same_state,
            an_older_write_is_passed_over,
            an_equal_version_is_written_again,
            a_deletion_keeps_older_writes_out,
            a_deletion_of_nothing_keeps_older_writes_out_too,
            a_newer_write_brings_a_document_back,
            replacing_removes_and_merging_keeps_old_properties,
            deleting_or_merging_a_missing_document_is_no_error,
            a_merge_sees_what_is_not_flushed,
            a_merge_is_deep_and_replaces_arrays,
            a_merge_may_create,
            a_merge_edits_lists_by_value,
            one_refused_write_leaves_the_others,
            versions_survive_a_crash,
            preparing_twice_is_no_error,
            added_properties_are_accepted,
            a_changed_property_is_refused_before_anything_is_changed,
            an_index_that_was_not_prepared_is_refused,
            owners_of_a_shared_index_keep_to_their_fields,
            an_older_merge_of_another_owner_counts,
            concurrent_writers_and_flushes_lose_nothing,
        }
    )*};
}

every_sink! { Search as search_index, OpenSearch as opensearch, Elasticsearch as elasticsearch }

// What a server acknowledged is on its disk: nothing of it waits for a flush.
suite! { Search as search_index_flush:
    nothing_is_seen_before_the_flush,
    a_crash_leaves_the_last_flush,
}

const CASES: &str = "cases";

fn declared(name: &str, mapping: Value, owned_fields: &[&str]) -> Index {
    Index {
        name: name.to_owned(),
        part: None,
        mapping: mapping.to_string().into(),
        owned_fields: owned_fields.iter().map(|field| (*field).to_owned()).collect(),
    }
}

fn mapping() -> Value {
    json!({"dynamic": false, "properties": {
        "name": {"type": "string"},
        "type": {"type": "string", "index": "not_analyzed"},
        "age": {"type": "long"},
    }})
}

async fn prepared<A: Adapter>() -> A {
    let adapter = A::empty();
    adapter.sink().prepare(&[], &[declared(CASES, mapping(), &[])]).await.unwrap();
    adapter
}

fn versioned(version: u64, id: &str, write: Write) -> Versioned {
    Versioned {
        processor: ProcessorName::new("indexer"),
        document: DocumentKey::new("case", id),
        version: WriteVersion(version),
        write,
        table: None,
    }
}

fn target(id: &str, document: &Value) -> IndexWrite {
    IndexWrite { index: CASES.into(), id: id.into(), document: document.to_string().into() }
}

fn index(version: u64, id: &str, document: Value) -> Versioned {
    versioned(version, id, Write::Index(target(id, &document)))
}

fn delete(version: u64, id: &str) -> Versioned {
    versioned(version, id, Write::Delete { index: CASES.into(), id: id.into() })
}

fn merge(version: u64, id: &str, fields: Value, if_absent: IfAbsent) -> Versioned {
    versioned(version, id, Write::Merge { target: target(id, &fields), lists: vec![], if_absent })
}

/// Writes what nothing is wrong with, then flushes.
async fn write<A: Adapter>(adapter: &A, writes: &[Versioned]) {
    assert_eq!(adapter.sink().write(writes).await.unwrap(), []);
    adapter.sink().flush().await.unwrap();
}

async fn the_same_writes_again_end_in_the_same_state<A: Adapter>() {
    let adapter = prepared::<A>().await;
    let writes = [
        index(1, "a", json!({"name": "Ada"})),
        index(2, "b", json!({"name": "Bo"})),
        merge(3, "a", json!({"age": 3}), IfAbsent::Ignore),
        delete(4, "b"),
        index(5, "c", json!({"name": "Cy"})),
    ];
    for _ in 0..2 {
        write(&adapter, &writes).await;
        assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "Ada", "age": 3})));
        assert_eq!(adapter.get(CASES, "b").await, None);
        assert_eq!(adapter.count(CASES).await, 2);
    }
}

async fn an_older_write_is_passed_over<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(5, "a", json!({"name": "new"})), index(4, "a", json!({"name": "old"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "new"})));
    let older =
        [index(4, "a", json!({"name": "old"})), merge(4, "a", json!({"age": 1}), IfAbsent::Create), delete(4, "a")];
    write(&adapter, &older).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "new"})));
}

async fn an_equal_version_is_written_again<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(5, "a", json!({"name": "first"}))]).await;
    write(&adapter, &[index(5, "a", json!({"name": "second"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "second"})));
    write(&adapter, &[delete(5, "a"), index(5, "a", json!({"name": "third"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "third"})));
}

async fn a_deletion_keeps_older_writes_out<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({}))]).await;
    write(&adapter, &[delete(3, "a"), index(2, "a", json!({"name": "same batch"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, None);
    write(&adapter, &[index(2, "a", json!({"name": "later"}))]).await;
    write(&adapter, &[merge(2, "a", json!({"name": "merged"}), IfAbsent::Create)]).await;
    assert_eq!(adapter.get(CASES, "a").await, None);
    assert_eq!(adapter.count(CASES).await, 0);
}

async fn a_deletion_of_nothing_keeps_older_writes_out_too<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[delete(3, "a")]).await;
    write(&adapter, &[index(2, "a", json!({}))]).await;
    assert_eq!(adapter.count(CASES).await, 0);
}

async fn a_newer_write_brings_a_document_back<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({})), delete(2, "a")]).await;
    write(&adapter, &[index(3, "a", json!({"name": "back"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "back"})));
    assert_eq!(adapter.count(CASES).await, 1);
}

async fn replacing_removes_and_merging_keeps_old_properties<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({"name": "Ada", "age": 1}))]).await;
    write(&adapter, &[index(2, "a", json!({"name": "Ada L"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "Ada L"})));
    write(&adapter, &[merge(3, "a", json!({"age": 2}), IfAbsent::Ignore)]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "Ada L", "age": 2})));
    write(&adapter, &[delete(4, "a")]).await;
    assert_eq!(adapter.count(CASES).await, 0);
}

async fn deleting_or_merging_a_missing_document_is_no_error<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[delete(1, "a"), merge(1, "b", json!({"age": 1}), IfAbsent::Ignore)]).await;
    assert_eq!(adapter.count(CASES).await, 0);
}

async fn nothing_is_seen_before_the_flush<A: Adapter>() {
    let adapter = prepared::<A>().await;
    assert_eq!(adapter.sink().write(&[index(1, "a", json!({}))]).await.unwrap(), []);
    assert_eq!(adapter.count(CASES).await, 0);
    adapter.sink().flush().await.unwrap();
    assert_eq!(adapter.count(CASES).await, 1);
}

async fn a_merge_sees_what_is_not_flushed<A: Adapter>() {
    let adapter = prepared::<A>().await;
    let writes = [
        index(1, "a", json!({"name": "Ada"})),
        merge(1, "a", json!({"age": 1}), IfAbsent::Ignore),
        merge(1, "a", json!({"type": "person"}), IfAbsent::Ignore),
    ];
    for one in writes {
        assert_eq!(adapter.sink().write(&[one]).await.unwrap(), []);
    }
    adapter.sink().flush().await.unwrap();
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "Ada", "age": 1, "type": "person"})));
}

async fn a_merge_is_deep_and_replaces_arrays<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({"o": {"x": 1, "l": [1, 2]}, "name": "Ada"}))]).await;
    write(&adapter, &[merge(2, "a", json!({"o": {"l": [3], "n": null}, "name": null}), IfAbsent::Ignore)]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"o": {"x": 1, "l": [3], "n": null}, "name": null})));
}

async fn a_merge_may_create<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[merge(1, "a", json!({"age": 1}), IfAbsent::Create)]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"age": 1})));
}

async fn a_merge_edits_lists_by_value<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({"groups": {"ids": ["x", "y"]}}))]).await;
    let edit = ListEdit {
        path: vec!["groups".to_owned(), "ids".to_owned()],
        add: vec![r#""z""#.into(), r#""y""#.into()],
        remove: vec![r#""x""#.into()],
    };
    let merge = Write::Merge { target: target("a", &json!({})), lists: vec![edit], if_absent: IfAbsent::Ignore };
    for _ in 0..2 {
        write(&adapter, &[versioned(2, "a", merge.clone())]).await;
        assert_eq!(adapter.get(CASES, "a").await, Some(json!({"groups": {"ids": ["y", "z"]}})));
    }
}

async fn one_refused_write_leaves_the_others<A: Adapter>() {
    let adapter = prepared::<A>().await;
    let not_an_object = IndexWrite { index: CASES.into(), id: "c".into(), document: "[1]".into() };
    let writes = [
        index(1, "a", json!({"age": 1})),
        index(1, "b", json!({"age": "old"})),
        versioned(1, "c", Write::Index(not_an_object)),
        index(1, "d", json!({"age": "4"})),
    ];
    let rejected = adapter.sink().write(&writes).await.unwrap();
    assert_eq!(rejected.iter().map(|rejected| rejected.at).collect::<Vec<_>>(), [1, 2]);
    assert!(rejected[0].reason.contains("age") && rejected[0].reason.contains("old"), "{}", rejected[0].reason);
    adapter.sink().flush().await.unwrap();
    assert_eq!(adapter.count(CASES).await, 2);
    assert_eq!(adapter.get(CASES, "b").await, None);
}

async fn a_crash_leaves_the_last_flush<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({"name": "kept"}))]).await;
    let lost = [index(2, "a", json!({"name": "lost"})), index(2, "b", json!({})), delete(2, "c")];
    assert_eq!(adapter.sink().write(&lost).await.unwrap(), []);
    let Some(adapter) = adapter.after_a_crash() else { return };
    adapter.sink().prepare(&[], &[declared(CASES, mapping(), &[])]).await.unwrap();
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "kept"})));
    assert_eq!(adapter.count(CASES).await, 1);
    write(&adapter, &lost).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "lost"})));
    assert_eq!(adapter.count(CASES).await, 2);
}

async fn versions_survive_a_crash<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(5, "a", json!({"name": "new"})), delete(5, "b")]).await;
    let Some(adapter) = adapter.after_a_crash() else { return };
    adapter.sink().prepare(&[], &[declared(CASES, mapping(), &[])]).await.unwrap();
    write(&adapter, &[index(4, "a", json!({"name": "old"})), index(4, "b", json!({"name": "old"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "new"})));
    assert_eq!(adapter.get(CASES, "b").await, None);
}

async fn preparing_twice_is_no_error<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({}))]).await;
    adapter.sink().prepare(&[], &[declared(CASES, mapping(), &[])]).await.unwrap();
    assert_eq!(adapter.count(CASES).await, 1);
}

async fn added_properties_are_accepted<A: Adapter>() {
    let adapter = prepared::<A>().await;
    write(&adapter, &[index(1, "a", json!({"name": "before", "size": "not yet mapped"}))]).await;
    let more = json!({"dynamic": false, "properties": {"size": {"type": "long"}}});
    adapter.sink().prepare(&[], &[declared(CASES, more, &[])]).await.unwrap();
    let rejected =
        adapter.sink().write(&[index(2, "b", json!({"size": "big"})), index(2, "c", json!({"size": 1}))]).await;
    assert_eq!(rejected.unwrap().len(), 1);
    adapter.sink().flush().await.unwrap();
    assert_eq!(adapter.count(CASES).await, 2);
}

async fn a_changed_property_is_refused_before_anything_is_changed<A: Adapter>() {
    let adapter = prepared::<A>().await;
    let fresh = declared("fresh", mapping(), &[]);
    let changed = json!({"properties": {"age": {"type": "date"}, "added": {"type": "long"}}});
    let refusal = adapter.sink().prepare(&[], &[fresh, declared(CASES, changed, &[])]).await.unwrap_err();
    assert!(matches!(refusal, PrepareError::Refused(_)));
    assert!(chain(&refusal).contains("age"), "{}", chain(&refusal));
    // Neither the index before it was made nor the new property beside it.
    let write = Write::Index(IndexWrite { index: "fresh".into(), id: "a".into(), document: "{}".into() });
    assert_eq!(adapter.sink().write(&[versioned(1, "a", write)]).await.unwrap().len(), 1);
    assert_eq!(adapter.sink().write(&[index(1, "a", json!({"age": 1, "added": "text"}))]).await.unwrap(), []);
}

async fn an_index_that_was_not_prepared_is_refused<A: Adapter>() {
    let adapter = A::empty();
    let rejected = adapter.sink().write(&[index(1, "a", json!({}))]).await.unwrap();
    assert!(rejected[0].reason.contains(CASES), "{}", rejected[0].reason);
}

async fn shared<A: Adapter>() -> A {
    let adapter = A::empty();
    let owners = [declared(CASES, mapping(), &["name", "type"]), declared(CASES, mapping(), &["age", "groups"])];
    adapter.sink().prepare(&[], &owners).await.unwrap();
    adapter
}

async fn owners_of_a_shared_index_keep_to_their_fields<A: Adapter>() {
    let adapter = shared::<A>().await;
    write(&adapter, &[index(1, "a", json!({"name": "Ada", "type": "person"}))]).await;
    write(&adapter, &[merge(2, "a", json!({"age": 3}), IfAbsent::Ignore)]).await;
    write(&adapter, &[index(3, "a", json!({"name": "Ada L"}))]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "Ada L", "age": 3})));
    let strangers = [
        merge(4, "a", json!({"colour": "red"}), IfAbsent::Ignore),
        merge(4, "a", json!({"name": "x", "age": 1}), IfAbsent::Ignore),
    ];
    assert_eq!(adapter.sink().write(&strangers).await.unwrap().len(), 2);
}

async fn an_older_merge_of_another_owner_counts<A: Adapter>() {
    let adapter = shared::<A>().await;
    write(&adapter, &[index(9, "a", json!({"name": "Ada"}))]).await;
    write(&adapter, &[merge(2, "a", json!({"age": 3}), IfAbsent::Ignore)]).await;
    assert_eq!(adapter.get(CASES, "a").await, Some(json!({"name": "Ada", "age": 3})));
    write(&adapter, &[delete(8, "a")]).await;
    assert_eq!(adapter.count(CASES).await, 1);
    write(&adapter, &[delete(9, "a"), merge(8, "a", json!({"age": 4}), IfAbsent::Create)]).await;
    assert_eq!(adapter.count(CASES).await, 0);
}

async fn concurrent_writers_and_flushes_lose_nothing<A: Adapter>() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 5;
    let adapter = prepared::<A>().await;
    let writer = async |writer: usize| {
        for round in 0..ROUNDS {
            let id = format!("{writer}-{round}");
            write(&adapter, &[index(1, &id, json!({"age": round}))]).await;
            // Flushed means durable for what this writer wrote, whoever did the commit.
            assert!(adapter.get(CASES, &id).await.is_some());
        }
    };
    futures_util::future::join_all((0..WRITERS).map(writer)).await;
    assert_eq!(adapter.count(CASES).await, WRITERS * ROUNDS);
}

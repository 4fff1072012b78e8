//! What every document store promises, run against every adapter.
//!
//! A [`Subject`] is a store with a hand to fill it. Stores differ in what they can know: one that keeps no deletions
//! answers for them by the change.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the lint's exemption for tests does not cover their helpers")]

#[path = "../support/couchdb.rs"]
mod couchdb;
#[path = "look_ups.rs"]
mod look_ups;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "remote_stores.rs"]
mod remote_stores;
#[path = "../support/service.rs"]
mod service;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use pillowtop::documents::inline::InlineDocuments;
use pillowtop::documents::memory::MemoryDocuments;
use pillowtop::documents::sql::SqlDocuments;
use pillowtop::documents::{DocumentStore, ListError};
use pillowtop::feed::changelog::create_documents_table;
use pillowtop::model::{Change, Document, DocumentKey, Outage, Position};
use pillowtop::sql::Database;

const SOURCE: &str = "form-sql";

/// An adapter under test.
#[async_trait]
trait Subject: Send + Sync {
    /// Stores a document, in place of the one before.
    async fn put(&self, id: &str, revision: Option<&str>, document: &str);

    /// Deletes a document.
    async fn delete(&self, id: &str);

    /// The store.
    fn store(&self) -> &dyn DocumentStore;

    /// A change as this adapter's feed would bring it.
    fn change(&self, id: &str, more: &str) -> Arc<Change> {
        change(id, more)
    }

    /// Whether the store can say what it holds.
    fn lists(&self) -> bool {
        true
    }

    /// Whether the store knows revisions, and so can be stale.
    fn has_revisions(&self) -> bool {
        true
    }
}

fn change(id: &str, more: &str) -> Arc<Change> {
    let message = format!(r#"{{"document_id":"{id}","data_source_name":"{SOURCE}"{more}}}"#);
    Arc::new(Change::decode(message.as_bytes(), Position::number(0)).unwrap())
}

fn present(document: &'static str) -> Document {
    Document::Present(Bytes::from_static(document.as_bytes()))
}

async fn fetch(subject: &dyn Subject, changes: &[(&str, &str)]) -> Vec<Document> {
    let changes: Vec<Arc<Change>> = changes.iter().map(|(id, more)| subject.change(id, more)).collect();
    subject.store().fetch(&changes).await.unwrap()
}

const DELETION: &str = r#","is_deletion":true"#;

/// Acceptance cases 4 and 7.
async fn what_was_saved_is_found(subject: &dyn Subject) {
    subject.put("a", None, r#"{"n":1}"#).await;
    assert_eq!(fetch(subject, &[("a", "")]).await, [present(r#"{"n":1}"#)]);
    subject.put("a", None, r#"{"n":2}"#).await;
    assert_eq!(fetch(subject, &[("a", "")]).await, [present(r#"{"n":2}"#)]);
}

/// Acceptance cases 3 and 6.
async fn what_the_store_never_heard_of_is_missing_and_no_error(subject: &dyn Subject) {
    assert_eq!(fetch(subject, &[("nobody", "")]).await, [Document::Missing]);
}

async fn what_is_gone_is_deleted(subject: &dyn Subject) {
    subject.put("a", None, "{}").await;
    subject.delete("a").await;
    assert_eq!(fetch(subject, &[("a", DELETION)]).await, [Document::Deleted]);
    assert_eq!(fetch(subject, &[("nobody", DELETION)]).await, [Document::Deleted]);
}

async fn a_softly_deleted_document_is_present(subject: &dyn Subject) {
    subject.put("a", None, r#"{"doc_type":"X-Deleted"}"#).await;
    assert_eq!(fetch(subject, &[("a", DELETION)]).await, [present(r#"{"doc_type":"X-Deleted"}"#)]);
}

async fn answers_come_in_the_order_of_the_changes_also_for_one_document_twice(subject: &dyn Subject) {
    subject.put("a", None, "1").await;
    subject.put("b", None, "2").await;
    let found = fetch(subject, &[("b", ""), ("nobody", ""), ("a", ""), ("b", "")]).await;
    assert_eq!(found, [present("2"), Document::Missing, present("1"), present("2")]);
}

async fn an_empty_batch_has_no_answers(subject: &dyn Subject) {
    assert_eq!(fetch(subject, &[]).await, []);
}

async fn many_documents_are_found_at_once(subject: &dyn Subject) {
    let ids: Vec<String> = (0..501).map(|number| format!("id-{number}")).collect();
    for id in &ids {
        subject.put(id, None, id).await;
    }
    let changes: Vec<Arc<Change>> = ids.iter().map(|id| subject.change(id, "")).collect();
    let found = subject.store().fetch(&changes).await.unwrap();
    let expected: Vec<Document> = ids.iter().map(|id| Document::Present(Bytes::from(id.clone()))).collect();
    assert!(found == expected);
}

async fn unusual_ids_and_texts_survive(subject: &dyn Subject) {
    for id in ["12", "0012", "स्वास्थ्य", "it's -- ?1 (:ids)", "😀"] {
        subject.put(id, None, &format!("{{\"text\":\"{id}\"}}")).await;
        let expected = Document::Present(Bytes::from(format!("{{\"text\":\"{id}\"}}")));
        assert_eq!(fetch(subject, &[(id, "")]).await, [expected]);
    }
}

/// Acceptance case 33.
async fn an_older_revision_than_announced_is_stale(subject: &dyn Subject) {
    if !subject.has_revisions() {
        return;
    }
    subject.put("a", Some("3-me"), "{}").await;
    let changes = ["mismatched", "4-me", "3-me", "2-me"].map(|revision| format!(r#","document_rev":"{revision}""#));
    let changes: Vec<(&str, &str)> = changes.iter().map(|more| ("a", more.as_str())).collect();
    let found = fetch(subject, &changes).await;
    assert_eq!(found, [Document::Stale, Document::Stale, present("{}"), present("{}")]);
}

/// All pages of a store, as far as it goes.
async fn listed(subject: &dyn Subject, after: Option<Arc<str>>, most: usize) -> Vec<String> {
    let most = NonZeroUsize::new(most).unwrap();
    let (mut after, mut found) = (after, Vec::new());
    loop {
        let page = subject.store().list(after.as_deref(), most).await.unwrap();
        if page.documents.is_empty() {
            return found;
        }
        assert!(page.documents.len() <= most.get());
        found.extend(page.documents.iter().map(|document| document.id.to_string()));
        after = page.next;
    }
}

async fn every_document_is_listed_once_page_by_page(subject: &dyn Subject) {
    let one = NonZeroUsize::MIN;
    if !subject.lists() {
        assert!(matches!(subject.store().list(None, one).await, Err(ListError::Unable(_))));
        assert!(matches!(subject.store().count().await, Err(ListError::Unable(_))));
        return;
    }
    assert_eq!(listed(subject, None, 3).await, [""; 0]);
    let ids = ["12", "0012", "स्वास्थ्य", "it's -- ?1 (:ids)", "😀", "", "a", "b", "B"];
    for id in ids {
        subject.put(id, None, "{}").await;
    }
    subject.put("gone", None, "{}").await;
    subject.delete("gone").await;
    assert_eq!(subject.store().count().await.unwrap(), ids.len() as u64);
    let whole = listed(subject, None, 1000).await;
    assert_eq!(listed(subject, None, 2).await, whole);
    let mut sorted = whole.clone();
    sorted.sort();
    let mut expected = ids;
    expected.sort_unstable();
    assert_eq!(sorted, expected);
    // A place that was kept is gone on from, also when its document has gone.
    let first = subject.store().list(None, one).await.unwrap();
    subject.delete(&first.documents[0].id).await;
    assert_eq!(listed(subject, first.next, 1).await, whole[1..]);
}

macro_rules! contract {
    ($adapter:ident, $subject:expr) => {
        contract!($adapter, $subject; [
            what_was_saved_is_found
            what_the_store_never_heard_of_is_missing_and_no_error
            what_is_gone_is_deleted
            a_softly_deleted_document_is_present
            answers_come_in_the_order_of_the_changes_also_for_one_document_twice
            an_empty_batch_has_no_answers
            many_documents_are_found_at_once
            unusual_ids_and_texts_survive
            an_older_revision_than_announced_is_stale
            every_document_is_listed_once_page_by_page
        ]);
    };
    ($adapter:ident, $subject:expr; [$($case:ident)*]) => {
        mod $adapter {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$subject.await).await;
            })*
        }
    };
}

contract!(memory, super::memory());
contract!(inline, super::inline());
contract!(sql, super::sql());
contract!(couch, super::remote_stores::couchdb());
contract!(http, super::remote_stores::http());
contract!(postgres_sql, super::postgres_sql());

async fn memory() -> MemoryDocuments {
    MemoryDocuments::default()
}

#[async_trait]
impl Subject for MemoryDocuments {
    async fn put(&self, id: &str, revision: Option<&str>, document: &str) {
        let (key, document) = (DocumentKey::new(SOURCE, id), document.to_owned());
        match revision {
            Some(revision) => self.put_revision(key, revision, document),
            None => MemoryDocuments::put(self, key, document),
        }
    }

    async fn delete(&self, id: &str) {
        MemoryDocuments::delete(self, DocumentKey::new(SOURCE, id));
    }

    fn store(&self) -> &dyn DocumentStore {
        self
    }
}

/// The documents stand in the changes: the subject puts them there.
struct Inline {
    documents: Mutex<Vec<(String, Bytes)>>,
}

async fn inline() -> Inline {
    Inline { documents: Mutex::new(Vec::new()) }
}

#[async_trait]
impl Subject for Inline {
    async fn put(&self, id: &str, _revision: Option<&str>, document: &str) {
        self.documents.lock().unwrap().push((id.to_owned(), Bytes::copy_from_slice(document.as_bytes())));
    }

    async fn delete(&self, id: &str) {
        self.documents.lock().unwrap().retain(|(candidate, _)| candidate != id);
    }

    fn store(&self) -> &dyn DocumentStore {
        &InlineDocuments
    }

    fn change(&self, id: &str, more: &str) -> Arc<Change> {
        let documents = self.documents.lock().unwrap();
        let inline = documents.iter().rev().find(|(candidate, _)| candidate == id).map(|(_, bytes)| bytes.clone());
        Arc::new(Change { inline, ..change(id, more).as_ref().clone() })
    }

    fn has_revisions(&self) -> bool {
        false
    }

    fn lists(&self) -> bool {
        false
    }
}

struct Sql {
    database: Database,
    store: SqlDocuments,
    _folder: tempfile::TempDir,
}

const QUERY: &str = "select id, document, revision, deleted from documents where id in (:ids)";

const IDS: &str = "select id, source from documents where not deleted";

async fn database() -> (Database, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(&format!("sqlite:{}", folder.path().join("documents.db").display())).await.unwrap();
    create_documents_table(&database).await.unwrap();
    (database, folder)
}

async fn sql() -> Sql {
    let (database, folder) = database().await;
    let store = SqlDocuments::new(&database, "forms", QUERY).await.unwrap().listing(IDS).await.unwrap();
    Sql { database, store, _folder: folder }
}

#[async_trait]
impl Subject for Sql {
    async fn put(&self, id: &str, revision: Option<&str>, document: &str) {
        let sqlite = self.database.sqlite().unwrap();
        sqlx::query("insert or replace into documents (id, source, document, revision) values (?1, ?2, ?3, ?4)")
            .bind(id)
            .bind(SOURCE)
            .bind(document)
            .bind(revision)
            .execute(&sqlite.writer)
            .await
            .unwrap();
    }

    async fn delete(&self, id: &str) {
        let sqlite = self.database.sqlite().unwrap();
        let query = sqlx::query("update documents set deleted = 1, document = null where id = ?1").bind(id);
        query.execute(&sqlite.writer).await.unwrap();
    }

    fn store(&self) -> &dyn DocumentStore {
        &self.store
    }
}

struct PostgresSql {
    database: Database,
    store: SqlDocuments,
}

async fn postgres_sql() -> PostgresSql {
    let database = Database::open(&postgres::database().await).await.unwrap();
    create_documents_table(&database).await.unwrap();
    let query = "select id, document, revision, deleted from documents where id = any(:ids)";
    let store = SqlDocuments::new(&database, "forms", query).await.unwrap().listing(IDS).await.unwrap();
    PostgresSql { database, store }
}

#[async_trait]
impl Subject for PostgresSql {
    async fn put(&self, id: &str, revision: Option<&str>, document: &str) {
        sqlx::query(
            "insert into documents (id, source, document, revision) values ($1, $2, $3, $4)
             on conflict (id) do update set document = excluded.document, revision = excluded.revision",
        )
        .bind(id)
        .bind(SOURCE)
        .bind(document)
        .bind(revision)
        .execute(&self.database.postgres().unwrap().pool)
        .await
        .unwrap();
    }

    async fn delete(&self, id: &str) {
        let query = sqlx::query("update documents set deleted = true, document = null where id = $1").bind(id);
        query.execute(&self.database.postgres().unwrap().pool).await.unwrap();
    }

    fn store(&self) -> &dyn DocumentStore {
        &self.store
    }
}

/// What only a query in PostgreSQL can get wrong or be asked to do.
mod postgres_queries {
    use super::*;

    async fn store(setup: &str, query: &str) -> Result<SqlDocuments, String> {
        let database = Database::open(&postgres::database().await).await.unwrap();
        create_documents_table(&database).await.unwrap();
        let pool = &database.postgres().unwrap().pool;
        sqlx::raw_sql(sqlx::AssertSqlSafe(setup.to_owned())).execute(pool).await.unwrap();
        let store = SqlDocuments::new(&database, "forms", query).await;
        store.map_err(|error| pillowtop::model::chain(&error))
    }

    async fn fetch_by(setup: &str, query: &str, ids: &[&str]) -> Result<Vec<Document>, Outage> {
        let changes: Vec<_> = ids.iter().map(|id| change(id, "")).collect();
        store(setup, query).await.unwrap().fetch(&changes).await
    }

    #[tokio::test]
    async fn a_query_that_cannot_work_is_refused_with_what_to_change() {
        for (query, expected) in [
            (
                "select id, document from documents",
                "document store forms: the query does not contain :ids, which stands for the ids to fetch",
            ),
            (
                "select id, document from documents where id in (:ids)",
                "document store forms: the query takes the ids as TEXT; in PostgreSQL they are an array: write \
                 `id = any(:ids)`",
            ),
            (
                "select id, document from documents where length(id)::numeric = any(:ids)",
                "document store forms: the query takes the ids as NUMERIC[]; write `id::text = any(:ids)`",
            ),
            (
                "select id, source from documents where id = any(:ids)",
                "document store forms: the query selects id, source, but must select document",
            ),
            (
                "select id, document from documents where id = any(:ids) and source = $2",
                "document store forms: the query has parameters of its own; only :ids is filled in",
            ),
            (
                "select id, document, revision as deleted from documents where id = any(:ids)",
                "document store forms: deleted must be a boolean or an integer, not TEXT",
            ),
        ] {
            assert_eq!(store("", query).await.unwrap_err(), expected);
        }
        for query in [
            "select id, document from nowhere where id = any(:ids)",
            "update documents set deleted = true where id = any(:ids) returning id, document",
        ] {
            let refused = store("", query).await.unwrap_err();
            assert!(refused.starts_with("document store forms: the database refuses the query: "), "{refused}");
        }
    }

    #[tokio::test]
    async fn ids_are_compared_as_the_column_holds_them() {
        let uuid = "67e55044-10b1-426f-9247-bb680e5fe0c8";
        for (kind, present_id, other_id) in
            [("integer", "12", "99999999999"), ("bigint", "12", "x"), ("varchar(40)", "12", "x"), ("uuid", uuid, "12")]
        {
            let setup = format!(
                "create table ledgers (id {kind} primary key, document text); insert into ledgers values ('{present_id}', 'it')"
            );
            let query = "select id, document from ledgers where id = any ( :ids ) -- by number";
            let found = fetch_by(&setup, query, &[other_id, present_id, r"nul\u0000"]).await;
            // A text with a NUL is missing, not an error.
            assert_eq!(found.unwrap(), [Document::Missing, present("it"), Document::Missing], "{kind}");
        }
    }

    #[tokio::test]
    async fn documents_may_be_json_jsonb_text_or_bytes() {
        for (kind, value, expected) in [
            ("json", "'{\"b\": 1.50, \"a\":1}'", r#"{"b": 1.50, "a":1}"#),
            ("jsonb", "'{\"b\": 1.50, \"a\":1}'", r#"{"a": 1, "b": 1.50}"#),
            ("text", "'{\"b\": 1.50}'", r#"{"b": 1.50}"#),
            ("bytea", "'{\"b\": \"é\"}'::text::bytea", r#"{"b": "é"}"#),
        ] {
            let setup = format!(
                "create table d (id text, document {kind}, gone int); insert into d values ('a', {value}, 0), ('b', {value}, 1), ('c', null, null)"
            );
            let query = "select id, document, gone as deleted from d where id = any(:ids);";
            let found = fetch_by(&setup, query, &["a", "b", "c"]).await.unwrap();
            assert_eq!(found, [present(expected), Document::Deleted, Document::Missing], "{kind}");
        }
    }

    #[tokio::test]
    async fn answers_that_cannot_be_told_apart_are_an_outage() {
        let setup = "insert into documents (id, source, document) values ('a', 's', '1')";
        let twice = "select d.id, d.document from documents d, generate_series(1, 2) where d.id = any(:ids)";
        let error = fetch_by(setup, twice, &["a"]).await.unwrap_err().to_string();
        assert_eq!(error, "the query of document store forms answers several rows for id a");
    }

    #[tokio::test]
    async fn integer_ids_are_listed_in_the_order_of_numbers() {
        let setup = "create table l (id int primary key, document text); insert into l select n, 'x' from generate_series(1, 12) n";
        let store = store(setup, "select id, document from l where id = any(:ids)").await.unwrap();
        let most = NonZeroUsize::new(5).unwrap();
        assert!(matches!(store.list(None, most).await, Err(ListError::Unable(_))));
        let store = store.listing("select id from l").await.unwrap();
        let first = store.list(Some("7"), most).await.unwrap();
        let ids: Vec<&str> = first.documents.iter().map(|document| document.id.as_ref()).collect();
        assert_eq!(ids, ["8", "9", "10", "11", "12"]);
        assert_eq!(store.list(first.next.as_deref(), most).await.unwrap().documents, []);
    }
}

/// What only a query can get wrong or be asked to do.
mod queries {
    use super::*;

    async fn refusal(query: &str) -> String {
        let (database, _folder) = database().await;
        pillowtop::model::chain(&SqlDocuments::new(&database, "forms", query).await.unwrap_err())
    }

    #[tokio::test]
    async fn a_query_that_cannot_work_is_refused_with_what_to_change() {
        for (query, expected) in [
            (
                "select id, document from documents",
                "document store forms: the query does not contain :ids, which stands for the ids to fetch",
            ),
            (
                "select id, source from documents where id in (:ids)",
                "document store forms: the query selects id, source, but must select document",
            ),
            (
                "select id, document from documents where id in (:ids) and source = ?2",
                "document store forms: the query has parameters of its own; only :ids is filled in",
            ),
            (
                "select id, document from nowhere where id in (:ids)",
                "document store forms: the database refuses the query: error returned from database: (code: 1) \
                 no such table: nowhere",
            ),
        ] {
            assert_eq!(refusal(query).await, expected);
        }
        let update = refusal("update documents set deleted = 1 where id in (:ids) returning id, document").await;
        assert!(update.starts_with("document store forms: the database refuses the query"), "{update}");
    }

    async fn fetch_by(setup: &[&'static str], query: &str, ids: &[&str]) -> Result<Vec<Document>, Outage> {
        let (database, _folder) = database().await;
        let sqlite = database.sqlite().unwrap();
        for statement in setup {
            sqlx::query(*statement).execute(&sqlite.writer).await.unwrap();
        }
        let store = SqlDocuments::new(&database, "forms", query).await.unwrap();
        store.fetch(&ids.iter().map(|id| change(id, "")).collect::<Vec<_>>()).await
    }

    #[tokio::test]
    async fn integer_ids_are_matched_by_their_text_whatever_the_column_was_declared_as() {
        for table in [
            "create table ledgers (id integer primary key, document text)",
            "create table ledgers (id, document text)",
            "create table ledgers (id text primary key, document text)",
        ] {
            let setup = [table, "insert into ledgers values (12, 'twelve'), (7, 'seven')"];
            let query = "select id, document from ledgers where id in ( :ids ) -- by number";
            let found = fetch_by(&setup, query, &["7", "13", "12", "x"]).await.unwrap();
            assert_eq!(found, [present("seven"), Document::Missing, present("twelve"), Document::Missing], "{table}");
        }
    }

    #[tokio::test]
    async fn a_row_without_document_is_missing_and_bytes_come_as_they_are() {
        let setup = [
            "insert into documents (id, source, document) values ('none', 's', null), ('blob', 's', x'00ff'), ('n', 's', 1)",
        ];
        let found = fetch_by(&setup, "select id, document from documents where id in (:ids)", &["none", "blob", "n"]);
        let bytes = Document::Present(Bytes::from_static(&[0, 255]));
        assert_eq!(found.await.unwrap(), [Document::Missing, bytes, present("1")]);
    }

    #[tokio::test]
    async fn answers_that_cannot_be_told_apart_are_an_outage() {
        let setup = ["insert into documents (id, source, document) values ('a', 's', '1')"];
        let twice = "select d.id, d.document from documents d, (select 1 union select 2) where d.id in (:ids)";
        let error = fetch_by(&setup, twice, &["a"]).await.unwrap_err().to_string();
        assert_eq!(error, "the query of document store forms answers several rows for id a");
        let text = "select id, document, 'no' as deleted from documents where id in (:ids)";
        let error = fetch_by(&setup, text, &["a"]).await.unwrap_err();
        assert_eq!(error.to_string(), "could not fetch documents of store forms");
    }
}

#[tokio::test]
async fn a_store_that_fails_knows_nothing_and_answers_again_later() {
    let store = MemoryDocuments::default();
    store.put(DocumentKey::new(SOURCE, "a"), "{}");
    store.fail(1);
    assert!(store.fetch(&[change("a", "")]).await.is_err());
    assert_eq!(store.fetch(&[change("a", "")]).await.unwrap(), [present("{}")]);
    assert_eq!(store.fetches().len(), 2);
}

#[tokio::test]
async fn a_store_remembers_deletions_that_the_change_does_not_announce() {
    let memory = memory().await;
    Subject::delete(&memory, "a").await;
    assert_eq!(fetch(&memory, &[("a", "")]).await, [Document::Deleted]);
    let sql = sql().await;
    sql.put("a", None, "{}").await;
    Subject::delete(&sql, "a").await;
    assert_eq!(fetch(&sql, &[("a", "")]).await, [Document::Deleted]);
}

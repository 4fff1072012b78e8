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
#[path = "postgres_queries.rs"]
mod postgres_queries;
#[path = "remote_stores.rs"]
mod remote_stores;
#[path = "../support/service.rs"]
mod service;
#[path = "sqlite_queries.rs"]
mod sqlite_queries;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use pillowtop::documents::inline::InlineDocuments;
use pillowtop::documents::memory::MemoryDocuments;
use pillowtop::documents::sql::SqlDocuments;
use pillowtop::documents::{DocumentStore, ListError};
use pillowtop::feed::changelog::create_documents_table;
use pillowtop::model::{Change, Document, DocumentKey, Position};
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

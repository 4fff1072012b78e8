//! What only a query for documents in SQLite can get wrong or be asked to do.

use bytes::Bytes;
use pillowtop::documents::DocumentStore as _;
use pillowtop::documents::sql::SqlDocuments;
use pillowtop::model::{Document, Outage};

use super::{change, database, present};

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

//! What only a query for documents in PostgreSQL can get wrong or be asked to do.

use std::num::NonZeroUsize;

use pillowtop::documents::sql::SqlDocuments;
use pillowtop::documents::{DocumentStore as _, ListError};
use pillowtop::feed::changelog::create_documents_table;
use pillowtop::model::{Document, Outage};
use pillowtop::sql::Database;

use super::{change, postgres, present};

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
    let setup =
        "create table l (id int primary key, document text); insert into l select n, 'x' from generate_series(1, 12) n";
    let store = store(setup, "select id, document from l where id = any(:ids)").await.unwrap();
    let most = NonZeroUsize::new(5).unwrap();
    assert!(matches!(store.list(None, most).await, Err(ListError::Unable(_))));
    let store = store.listing("select id from l").await.unwrap();
    let first = store.list(Some("7"), most).await.unwrap();
    let ids: Vec<&str> = first.documents.iter().map(|document| document.id.as_ref()).collect();
    assert_eq!(ids, ["8", "9", "10", "11", "12"]);
    assert_eq!(store.list(first.next.as_deref(), most).await.unwrap().documents, []);
}

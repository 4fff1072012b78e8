//! What every store of look-ups promises, run against each kind of them: cases by the id of their parent.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::{Json, Router};
use pillowtop::documents::DocumentStore;
use pillowtop::documents::couch_view::{CouchView, View};
use pillowtop::documents::http_lookup::HttpLookup;
use pillowtop::documents::sql::SqlLookup;
use pillowtop::model::{Document, chain};
use pillowtop::sql::Database;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::couchdb::Couch;

/// Cases by id, with their parents; the cases of a parent are to come in the order of their ids.
type Cases = BTreeMap<String, String>;

/// `a` has two cases, `b` one, and 600 more have one each.
fn cases() -> Cases {
    let few = [("c2", "a"), ("c1", "a"), ("c3", "b")].map(|(id, parent)| (id.to_owned(), parent.to_owned()));
    few.into_iter().chain((0..600).map(|number| (format!("d{number:03}"), format!("p{number}")))).collect()
}

async fn ask(store: &dyn DocumentStore, keys: &[String]) -> (Vec<Vec<String>>, u64) {
    let keys: Vec<Arc<str>> = keys.iter().map(|key| Arc::from(key.as_str())).collect();
    let found = store.look_up(&"subcases".into(), &keys).await.unwrap();
    let id = |document: &bytes::Bytes| {
        let document: Value = serde_json::from_slice(document).unwrap();
        document["name"].as_str().unwrap().to_owned()
    };
    (found.documents.iter().map(|documents| documents.iter().map(id).collect()).collect(), found.queries)
}

async fn check(store: &dyn DocumentStore) {
    let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let (found, queries) = ask(store, &keys(&["b", "nobody", "a"])).await;
    assert_eq!((found, queries), (vec![keys(&["c3"]), keys(&[]), keys(&["c1", "c2"])], 1));
    assert_eq!(ask(store, &[]).await, (Vec::new(), 0));
    // More keys than one query takes.
    let many: Vec<String> = (0..600).map(|number| format!("p{number}")).collect();
    let (found, queries) = ask(store, &many).await;
    let expected: Vec<Vec<String>> = (0..600).map(|number| vec![format!("d{number:03}")]).collect();
    assert_eq!((found, queries), (expected, 2));
    // Where one document is meant, it is the first.
    let fetched = store.fetch(&[super::change("a", ""), super::change("nobody", "")]).await.unwrap();
    let [Document::Present(first), Document::Missing] = fetched.as_slice() else { panic!("{fetched:?}") };
    assert_eq!(serde_json::from_slice::<Value>(first).unwrap()["name"], "c1");
}

async fn in_sql(database: &Database, query: &str) -> Result<SqlLookup, String> {
    let mut setup = "create table cases (id text, parent text, document text);".to_owned();
    for (id, parent) in cases() {
        setup.push_str(&format!("insert into cases values ('{id}', '{parent}', '{}');", json!({ "name": id })));
    }
    // Left out: a row without a document.
    setup.push_str("insert into cases values ('c0', 'a', null);");
    let setup = sqlx::AssertSqlSafe(setup);
    match database {
        Database::Sqlite(sqlite) => drop(sqlx::raw_sql(setup).execute(&sqlite.writer).await.unwrap()),
        Database::Postgres(postgres) => drop(sqlx::raw_sql(setup).execute(&postgres.pool).await.unwrap()),
    }
    SqlLookup::new(database, "subcases", query).await.map_err(|error| chain(&error))
}

async fn sqlite(folder: &tempfile::TempDir) -> Database {
    Database::open(&format!("sqlite:{}", folder.path().join("cases.db").display())).await.unwrap()
}

#[tokio::test]
async fn a_query_in_sqlite_answers_all_rows_of_each_key_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let database = sqlite(&folder).await;
    let query = "select parent as key, document from cases where parent in (:ids) order by id -- the order counts";
    check(&in_sql(&database, query).await.unwrap()).await;
}

#[tokio::test]
async fn a_query_in_postgres_answers_all_rows_of_each_key_in_its_order() {
    let database = Database::open(&super::postgres::database().await).await.unwrap();
    let query = "select parent as key, document from cases where parent = any(:ids) order by id;";
    check(&in_sql(&database, query).await.unwrap()).await;
}

#[tokio::test]
async fn a_query_that_is_no_look_up_is_refused() {
    for (query, reason) in [
        ("select parent, document from cases where parent in (:ids)", "the database refuses the query"),
        ("select parent as key from cases where parent in (:ids)", "the database refuses the query"),
        ("select parent as key, document from cases", "the query does not contain :ids"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let refused = in_sql(&sqlite(&folder).await, query).await.unwrap_err();
        assert!(refused.contains(reason), "{query}: {refused}");
    }
}

#[tokio::test]
async fn a_view_of_couchdb_answers_all_rows_of_each_key() {
    let couch = Couch::new().await;
    for (id, parent) in cases() {
        couch.put(&id, None, json!({ "name": id, "parent": parent })).await;
    }
    let map = "function (doc) { if (doc.parent) emit(doc.parent, { name: doc._id }); }";
    couch.put("_design/cases", None, json!({ "views": { "by_parent": { "map": map } } })).await;
    for include_docs in [true, false] {
        let view = View {
            database: couch.database.as_str().into(),
            design: "cases".to_owned(),
            name: "by_parent".to_owned(),
            include_docs,
        };
        check(&CouchView::new(&couch.server, view).unwrap()).await;
    }
    let nowhere = View {
        database: couch.database.as_str().into(),
        design: "cases".to_owned(),
        name: "nowhere".to_owned(),
        include_docs: true,
    };
    let store = CouchView::new(&couch.server, nowhere).unwrap();
    let outage = store.look_up(&"subcases".into(), &["a".into()]).await.unwrap_err();
    assert!(outage.to_string().contains("answers 404"), "{outage}");
}

#[tokio::test]
async fn an_address_answers_all_documents_of_each_key() {
    let by_parent = State(Arc::new(cases()));
    let router = Router::new().route("/subcases", post(answer)).with_state(by_parent.0);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/subcases", listener.local_addr().unwrap());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await.unwrap() });
    check(&HttpLookup::new(&url, Some("Bearer word".to_owned())).unwrap()).await;
    let stranger = HttpLookup::new(&url, None).unwrap();
    let outage = stranger.look_up(&"subcases".into(), &["a".into()]).await.unwrap_err();
    assert_eq!(outage.to_string(), "the server of look-up subcases answers 401 Unauthorized");
}

async fn answer(
    State(cases): State<Arc<Cases>>,
    headers: HeaderMap,
    Json(question): Json<HashMap<String, Vec<String>>>,
) -> (StatusCode, Json<HashMap<String, Vec<Value>>>) {
    let mut found: HashMap<String, Vec<Value>> = HashMap::new();
    if headers.get("authorization").is_none_or(|word| word != "Bearer word") {
        return (StatusCode::UNAUTHORIZED, Json(found));
    }
    for (id, parent) in cases.iter().filter(|(_, parent)| question["keys"].contains(parent)) {
        found.entry(parent.clone()).or_default().push(json!({ "name": id }));
    }
    (StatusCode::OK, Json(found))
}

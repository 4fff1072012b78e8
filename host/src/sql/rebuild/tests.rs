//! Tables that are rebuilt in real databases.

use std::sync::Arc;

use super::*;
use crate::model::{Column, ColumnKind, DocumentKey, RowOp, RowWrite, TableChange, Value};
use crate::sql::rows;
use crate::sql::schema::{Standing, prepare_for};
use crate::sql::{Kind, Scratch, both};

fn owner() -> Owner {
    Owner { pillow: PillowName::new("reports"), processor: ProcessorName::new("ucr") }
}

/// A table of documents with these further columns, `?` for nullable, and an index over the last one.
fn table(columns: &[(&str, ColumnKind)]) -> Table {
    let column = |(name, kind): &(&str, ColumnKind)| Column {
        name: name.trim_end_matches('?').to_owned(),
        kind: *kind,
        nullable: name.ends_with('?'),
    };
    let mut all = vec![Column { name: "doc".into(), kind: ColumnKind::Text, nullable: false }];
    all.extend(columns.iter().map(column));
    let last = all.last().map(|column| column.name.clone()).unwrap();
    Table {
        name: "t".into(),
        part: Some("t".into()),
        columns: all,
        key: vec!["doc".into()],
        document_column: Some("doc".into()),
        indexes: vec![TableIndex { name: Some("ix_t".into()), columns: vec![last], unique: false }],
        on_change: TableChange::Rebuild,
        engines: Vec::new(),
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

async fn apply(database: &Database, table: &Table, document: &str, op: RowOp) -> Vec<String> {
    let write = RowWrite {
        processor: ProcessorName::new("ucr"),
        document: DocumentKey::new("form", document),
        table: Arc::new(table.clone()),
        op,
    };
    let mut transaction = database.begin().await.unwrap();
    let applied = rows::apply(&mut transaction.connection(), &[write]).await.unwrap();
    transaction.commit().await.unwrap();
    applied.refused.into_iter().map(|refused| refused.reason).collect()
}

async fn replace(database: &Database, table: &Table, document: &str, values: &[Value]) {
    let row = std::iter::once(text(document)).chain(values.iter().cloned()).collect();
    assert_eq!(apply(database, table, document, RowOp::Replace(vec![row])).await, [] as [String; 0]);
}

async fn documents(scratch: &Scratch, table: &str) -> Vec<String> {
    scratch.texts(&format!("select doc from {table} order by doc")).await
}

async fn standing(database: &Database, table: &Table) -> Vec<Standing> {
    let found = prepare_for(database, &owner(), std::slice::from_ref(table)).await.unwrap();
    found.into_iter().map(|differing| differing.standing).collect()
}

async fn only(database: &Database) -> Rebuild {
    let mut found = Rebuilds::new(database.clone()).of(&owner()).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

async fn existing(database: &Database, name: &str) -> Option<ExistingTable> {
    let mut transaction = database.begin().await.unwrap();
    schema::read_existing(&mut transaction.connection(), name, "read").await.unwrap()
}

async fn the_new_table_takes_the_old_ones_place_with_all_that_was_written_meanwhile(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let before = table(&[("n", ColumnKind::Integer)]);
    assert_eq!(standing(database, &before).await, []);
    replace(database, &before, "a", &[Value::Integer(1)]).await;
    replace(database, &before, "b", &[Value::Integer(2)]).await;

    // A required column, so that it cannot be extended; the old table has no column for it, but takes the rest.
    let after = table(&[("n", ColumnKind::Integer), ("note", ColumnKind::Text)]);
    assert_eq!(standing(database, &after).await, [Standing::Rebuilding]);
    assert_eq!(standing(database, &after).await, [Standing::Rebuilding], "it goes on");
    let rebuild = only(database).await;
    let new = rebuild.new_name.clone();

    // The generation before writes into the old table alone; the new one into both.
    replace(database, &before, "b", &[Value::Integer(3)]).await;
    replace(database, &after, "c", &[Value::Integer(4), text("x")]).await;
    assert_eq!(documents(&scratch, "t").await, ["a", "b", "c"]);
    assert_eq!(documents(&scratch, &new).await, ["c"]);
    apply(database, &after, "c", RowOp::Delete).await;
    assert_eq!(documents(&scratch, "t").await, ["a", "b"]);
    for document in ["a", "b"] {
        replace(database, &after, document, &[Value::Integer(5), text("y")]).await;
    }

    let rebuilds = Rebuilds::new(database.clone());
    assert!(rebuilds.switch(&rebuild).await.unwrap());
    assert!(!rebuilds.switch(&rebuild).await.unwrap(), "a second host finds that it is done");
    rebuilds.drop_old(&rebuild).await.unwrap().unwrap();
    rebuilds.drop_old(&rebuild).await.unwrap().unwrap();
    assert_eq!(documents(&scratch, "t").await, ["a", "b"]);
    assert_eq!(scratch.texts("select note from t order by doc").await, ["y", "y"]);
    assert_eq!(existing(database, &rebuild.old_name).await, None);
    assert_eq!(existing(database, &new).await, None);
    assert_eq!(rebuilds.of(&owner()).await.unwrap(), []);
    // Nothing is left to do, and the names are those of a table that was made so.
    let found = existing(database, "t").await.unwrap();
    assert_eq!(standing(database, &after).await, []);
    assert_eq!(existing(database, "t").await.unwrap(), found);
    let fresh = Scratch::new(kind).await;
    standing(&fresh.database, &after).await;
    assert_eq!(existing(&fresh.database, "t").await.unwrap(), found);
}

async fn an_old_table_that_does_not_take_the_rows_loses_only_what_is_gone(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let before = table(&[("n", ColumnKind::Integer)]);
    standing(database, &before).await;
    for document in ["a", "b"] {
        replace(database, &before, document, &[Value::Integer(1)]).await;
    }
    let after = table(&[("n", ColumnKind::Text)]);
    assert_eq!(standing(database, &after).await, [Standing::Rebuilding]);
    replace(database, &after, "a", &[text("one")]).await;
    apply(database, &after, "b", RowOp::Delete).await;
    assert_eq!(documents(&scratch, "t").await, ["a"]);
    assert_eq!(scratch.texts("select cast(n as text) from t").await, ["1"]);
    assert_eq!(documents(&scratch, &only(database).await.new_name).await, ["a"]);
    let refused = apply(database, &after, "c", RowOp::Replace(vec![vec![text("c"), Value::Integer(1)]])).await;
    assert_eq!(refused, ["t.n: the value is no text"]);
}

async fn a_rebuild_that_is_not_wanted_any_more_is_given_up(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let before = table(&[("n", ColumnKind::Integer)]);
    standing(database, &before).await;
    standing(database, &table(&[("n", ColumnKind::Text)])).await;
    let first = only(database).await;
    // Something else is wanted, and then what was there.
    standing(database, &table(&[("n", ColumnKind::Date)])).await;
    let second = only(database).await;
    assert_ne!(first.new_name, second.new_name);
    assert_eq!(existing(database, &first.new_name).await, None);
    assert!(!Rebuilds::new(database.clone()).switch(&first).await.unwrap());
    assert_eq!(standing(database, &before).await, []);
    assert_eq!(Rebuilds::new(database.clone()).of(&owner()).await.unwrap(), []);
    assert_eq!(existing(database, &second.new_name).await, None);
}

async fn a_table_of_its_declared_shape_is_rebuilt_when_somebody_asks(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let declared = table(&[("n", ColumnKind::Integer)]);
    standing(database, &declared).await;
    replace(database, &declared, "stale", &[Value::Integer(1)]).await;
    let rebuilds = Rebuilds::new(database.clone());
    let begun = rebuilds.begin(&owner(), &declared).await.unwrap();
    assert_eq!(rebuilds.begin(&owner(), &declared).await.unwrap(), begun);
    assert_eq!(standing(database, &declared).await, []);
    assert_eq!(only(database).await, begun);
    rebuilds.note_backfill(&begun, Some(7)).await.unwrap();
    assert_eq!(only(database).await.backfill, Some(7));
    replace(database, &declared, "live", &[Value::Integer(2)]).await;
    assert!(rebuilds.switch(&begun).await.unwrap());
    rebuilds.drop_old(&begun).await.unwrap().unwrap();
    assert_eq!(documents(&scratch, "t").await, ["live"]);
}

async fn a_table_that_is_to_stay_stays(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let database = &scratch.database;
    let before = table(&[("n", ColumnKind::Integer)]);
    standing(database, &before).await;
    let found = existing(database, "t").await;
    let after = Table { on_change: TableChange::Keep, ..table(&[("n", ColumnKind::Text)]) };
    assert_eq!(standing(database, &after).await, [Standing::Kept]);
    assert_eq!(existing(database, "t").await, found);
}

#[tokio::test]
async fn rights_go_over_and_what_reads_the_old_table_keeps_it() {
    let scratch = Scratch::new(Kind::Postgres).await;
    let database = &scratch.database;
    let declared = table(&[("n", ColumnKind::Integer)]);
    standing(database, &declared).await;
    scratch.execute("grant select on t to public; create view v as select doc from t").await;
    let rebuilds = Rebuilds::new(database.clone());
    let begun = rebuilds.begin(&owner(), &declared).await.unwrap();
    assert!(rebuilds.switch(&begun).await.unwrap());
    // A host that stops here finds it so again.
    assert_eq!(only(database).await.state, State::Switched);
    let reason = rebuilds.drop_old(&begun).await.unwrap().unwrap_err();
    assert!(reason.starts_with(&format!("the old table stays as {}: ", begun.old_name)), "{reason}");
    assert_eq!(only(database).await.state, State::Kept);
    assert_eq!(documents(&scratch, "v").await, [] as [String; 0]);
    let rights = "select privilege_type::text from information_schema.table_privileges
         where table_name = 't' and grantee = 'PUBLIC'";
    assert_eq!(scratch.texts(rights).await, ["SELECT"]);
    // And it can be rebuilt again.
    let again = rebuilds.begin(&owner(), &declared).await.unwrap();
    assert!(rebuilds.switch(&again).await.unwrap());
    rebuilds.drop_old(&again).await.unwrap().unwrap();
}

#[tokio::test]
async fn hosts_that_start_together_begin_one_rebuild() {
    let scratch = Scratch::new(Kind::Postgres).await;
    let declared = [table(&[("n", ColumnKind::Integer)])];
    prepare_for(&scratch.database, &owner(), &declared).await.unwrap();
    let changed = [table(&[("n", ColumnKind::Text)])];
    let hosts = [scratch.reopened().await, scratch.reopened().await];
    let owner = owner();
    let prepared = futures_util::future::join_all(hosts.iter().map(|host| prepare_for(host, &owner, &changed))).await;
    assert!(prepared.iter().all(|found| found.as_ref().is_ok_and(|found| found.len() == 1)), "{prepared:?}");
    only(&scratch.database).await;
}

both! {
    the_new_table_takes_the_old_ones_place_with_all_that_was_written_meanwhile
    an_old_table_that_does_not_take_the_rows_loses_only_what_is_gone
    a_rebuild_that_is_not_wanted_any_more_is_given_up
    a_table_of_its_declared_shape_is_rebuilt_when_somebody_asks
    a_table_that_is_to_stay_stays
}

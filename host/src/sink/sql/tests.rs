//! The sink against real databases, apart from any checkpoint.

use super::*;
use crate::model::{Column, ColumnKind, DocumentKey, ProcessorName, Row, Value, WriteVersion};
use crate::sql::{Kind, Scratch, both};

fn table(columns: &[&str]) -> Table {
    let column = |name: &&str| Column { name: (*name).to_owned(), kind: ColumnKind::Text, nullable: *name != "doc" };
    Table {
        name: "t".into(),
        part: None,
        columns: columns.iter().map(column).collect(),
        key: vec!["doc".into()],
        document_column: Some("doc".into()),
        indexes: vec![],
        ..Table::default()
    }
}

fn write(doc: &str, write: Write) -> Versioned {
    let (processor, document) = (ProcessorName::new("p"), DocumentKey::new("s", doc));
    Versioned { processor, document, version: WriteVersion(1), write, table: None }
}

fn replace(values: &[&str]) -> Versioned {
    let row: Row = values.iter().map(|text| Value::Text((*text).to_owned())).collect();
    write(values[0], Write::Rows { table: "t".into(), op: RowOp::Replace(vec![row]) })
}

async fn rows(scratch: &Scratch) -> Vec<String> {
    scratch.texts("select doc || ' ' || coalesce(a, '-') from t order by doc").await
}

async fn rows_are_written_and_the_refused_are_named_by_their_place(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let sink = SqlSink::new(scratch.database.clone(), false);
    sink.prepare(&[table(&["doc", "a"])], &[]).await.unwrap();
    let foreign = write("x", Write::Invalidate { cache: "c".into(), keys: vec![] });
    let unknown = write("y", Write::Rows { table: "other".into(), op: RowOp::Delete });
    let writes = [replace(&["1", "x"]), foreign, replace(&["2", "too", "long"]), unknown, replace(&["3", "y"])];
    let rejected = sink.write(&writes).await.unwrap();
    let lines: Vec<(usize, &str)> = rejected.iter().map(|one| (one.at, one.reason.as_str())).collect();
    let expected = [
        (1, "a SQL database takes rows only"),
        (2, "table t: a row has 3 values for 2 columns"),
        (3, "table other was not prepared"),
    ];
    assert_eq!(lines, expected);
    assert_eq!(rows(&scratch).await, ["1 x", "3 y"]);
    // The same again after a crash ends in the same state.
    assert_eq!(sink.write(&writes).await.unwrap(), rejected);
    assert_eq!(rows(&scratch).await, ["1 x", "3 y"]);
}

async fn rows_of_the_older_generation_are_taken_beside_those_of_the_newer_one(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let sink = SqlSink::new(scratch.database.clone(), false);
    sink.prepare(&[table(&["doc", "a"])], &[]).await.unwrap();
    sink.prepare(&[table(&["doc", "new", "a"])], &[]).await.unwrap();
    let writes = [replace(&["1", "old"]), replace(&["2", "new", "a"])];
    assert_eq!(sink.write(&writes).await.unwrap(), []);
    assert_eq!(rows(&scratch).await, ["1 old", "2 a"]);
    let reordered = sink.prepare(&[table(&["doc", "a", "new"])], &[]).await.unwrap_err();
    let expected =
        "t: its columns cannot be exchanged or change their order while rows in the older shape are on their way";
    assert_eq!(reordered.to_string(), expected);
}

async fn after_a_processor_went_back_to_fewer_columns_rows_of_both_shapes_are_taken(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let sink = SqlSink::new(scratch.database.clone(), false);
    sink.prepare(&[table(&["doc", "a"])], &[]).await.unwrap();
    sink.prepare(&[table(&["doc", "new", "a"])], &[]).await.unwrap();
    assert_eq!(sink.write(&[replace(&["1", "new", "a"]), replace(&["2", "new", "a"])]).await.unwrap(), []);
    sink.prepare(&[table(&["doc", "a"])], &[]).await.unwrap();
    assert_eq!(sink.write(&[replace(&["2", "b"]), replace(&["3", "late", "c"])]).await.unwrap(), []);
    let statement = "select doc || ' ' || a || ' ' || coalesce(new, '-') from t order by doc";
    let rows = scratch.texts(statement).await;
    assert_eq!(rows, ["1 a new", "2 b -", "3 c late"]);
    // The next one adds another column of its own; only a restart may tell the two apart.
    assert!(matches!(sink.prepare(&[table(&["doc", "a", "x"])], &[]).await, Err(PrepareError::Refused(_))));
}

async fn beside_the_checkpoint_the_sink_prepares_tables_and_writes_nothing(kind: Kind) {
    let scratch = Scratch::new(kind).await;
    let sink = SqlSink::new(scratch.database.clone(), true);
    assert!(sink.rows_settle());
    sink.prepare(&[table(&["doc", "a"])], &[]).await.unwrap();
    let rejected = sink.write(&[replace(&["1", "x"])]).await.unwrap();
    assert_eq!(rejected[0].reason, "rows beside the checkpoint are written by the settle alone");
    assert!(rows(&scratch).await.is_empty());
}

both! {
    rows_are_written_and_the_refused_are_named_by_their_place
    rows_of_the_older_generation_are_taken_beside_those_of_the_newer_one
    after_a_processor_went_back_to_fewer_columns_rows_of_both_shapes_are_taken
    beside_the_checkpoint_the_sink_prepares_tables_and_writes_nothing
}

//! Outcomes as guests may give them, and what is made of them.

use std::sync::Arc;

use proptest::prelude::{Just, ProptestConfig, Strategy, any, prop_assert, prop_oneof, proptest};

use super::{Declared, outcome};
use crate::model::{
    Change, Column, ColumnKind, Condition, Description, Document, FailureKind, IfAbsent, Index, Item, Outcome,
    Position, RetryHelps, RowOp, Table, Value, Want, Write,
};
use crate::processor::wasm::bindings::pillowtop::processor::types as contract;
use crate::processor::wasm::limits::Limits;

fn declared() -> Declared {
    let column = |name: &str, kind| Column { name: name.into(), kind, nullable: true };
    let table = |name: &str, part: &str, document_column: Option<&str>| Table {
        name: name.into(),
        part: Some(part.into()),
        columns: vec![column("id", ColumnKind::Text), column("n", ColumnKind::Integer)],
        key: vec!["id".into()],
        document_column: document_column.map(str::to_owned),
        indexes: Vec::new(),
        ..Table::default()
    };
    let index = |name: &str, owned: &[&str]| Index {
        name: name.into(),
        part: None,
        mapping: "{}".into(),
        owned_fields: owned.iter().map(|field| (*field).to_owned()).collect(),
    };
    Declared::new(&Description {
        tables: vec![table("a", "part-a", Some("id")), table("b", "part-b", None)],
        indices: vec![index("own", &[]), index("shared", &["seen"])],
        topics: vec!["t".into()],
        caches: vec!["c".into()],
        lookups: vec!["l".into()],
        parts: vec!["part-a".into(), "part-b".into()],
        problems: Vec::new(),
    })
}

fn convert(given: contract::Outcome, limits: &Limits) -> Outcome {
    let message = br#"{"document_id":"doc","data_source_name":"s"}"#;
    let change = Arc::new(Change::decode(message, Position::number(0)).unwrap());
    let item = Item { change, document: Document::Missing, found: Vec::new() };
    outcome(given, &item, &declared(), limits).0
}

fn writes(writes: Vec<contract::Write>) -> Outcome {
    convert(contract::Outcome::Done(contract::Done { writes, failures: Vec::new() }), &Limits::default())
}

fn check_refused(write: contract::Write, says: &str) {
    let outcome = writes(vec![write]);
    let failure = match &outcome {
        Outcome::Failed(failure) => failure,
        Outcome::Done { writes, failures } if writes.is_empty() && failures.len() == 1 => &failures[0],
        other => panic!("{other:?} is not refused"),
    };
    assert_eq!((failure.kind, failure.retry), (FailureKind::Rejected, RetryHelps::No));
    assert!(failure.message.contains(says), "{failure:?} does not say {says:?}");
}

fn row(id: &str, n: i64) -> contract::Row {
    contract::Row { values: vec![contract::Value::Text(id.into()), contract::Value::Integer(n)] }
}

fn replace(table: &str, id: &str) -> contract::Write {
    contract::Write::ReplaceRows(contract::ReplaceRowsWrite { table: table.into(), rows: vec![row(id, 1)] })
}

fn replace_block(table: &str, id: &str) -> contract::Write {
    let length = |bytes: usize| u32::try_from(bytes).unwrap().to_le_bytes();
    let rows = [&length(2)[..], &[5], &length(id.len()), id.as_bytes(), &[0]].concat();
    contract::Write::ReplaceBlock(contract::ReplaceBlockWrite { table: table.into(), rows })
}

fn upsert(table: &str, when: contract::Condition) -> contract::Write {
    contract::Write::UpsertRow(contract::UpsertRowWrite { table: table.into(), row: row("x", 1), when })
}

fn merge(index: &str, fields: &str, list: &[&str], value: &str) -> contract::Write {
    let path = list.iter().map(|name| (*name).to_owned()).collect();
    let edit = contract::ListEdit { path, add: vec![value.into()], remove: Vec::new() };
    contract::Write::Merge(contract::MergeWrite {
        index: index.into(),
        id: None,
        fields: fields.into(),
        lists: vec![edit],
        if_absent: contract::IfAbsent::Create,
    })
}

fn index(name: &str, id: Option<String>) -> contract::Write {
    contract::Write::Index(contract::IndexWrite { index: name.into(), id, document: b"{}".to_vec() })
}

#[test]
fn a_refused_write_takes_its_part_along_and_no_other() {
    let outcome = writes(vec![
        index("own", None),
        replace("a", "doc"),
        upsert("b", contract::Condition::Always),
        replace("a", "another"),
        replace("a", "doc"),
    ]);
    let Outcome::Done { writes, failures } = outcome else { panic!("{outcome:?}") };
    let kept: Vec<Option<&str>> = writes
        .iter()
        .map(|write| match write {
            Write::Rows { table, .. } => Some(&**table),
            _ => None,
        })
        .collect();
    assert_eq!(kept, [None, Some("b")]);
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].part.as_deref(), Some("part-a"));
    let says = "write 4 of 5 (replace-rows of `a`) is refused: row 1: column `id` does not hold the id of the document";
    assert_eq!(failures[0].message, says);
}

#[test]
fn rows_go_where_they_can_be_found_again() {
    check_refused(replace("b", "doc"), "the table has no document column");
    check_refused(replace_block("b", "doc"), "the table has no document column");
    check_refused(replace_block("a", "another"), "row 1: column `id` does not hold the id of the document");
    check_refused(
        replace_block("none", "doc"),
        "(replace-block of `none`) is refused: the description declares no such",
    );
    let delete = contract::Write::DeleteRows(contract::DeleteRowsWrite { table: "b".into() });
    check_refused(delete, "the table has no document column");
    check_refused(upsert("b", contract::Condition::Newer("m".into())), "condition names column `m`");
    let interval = |column: &str, other: &str| {
        let or_differs = vec![other.to_owned()];
        contract::Condition::Interval(contract::IntervalCondition { column: column.into(), seconds: 9, or_differs })
    };
    check_refused(upsert("b", interval("n", "m")), "condition names column `m`");
    let outcome = writes(vec![upsert("b", interval("n", "id"))]);
    let Outcome::Done { writes, .. } = &outcome else { panic!("{outcome:?}") };
    let [Write::Rows { op: RowOp::Upsert { row, when }, .. }] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!(*row, [Value::Text("x".into()), Value::Integer(1)]);
    assert_eq!(*when, Condition::Interval { column: "n".into(), seconds: 9, or_differs: vec!["id".into()] });
}

#[test]
fn a_shared_index_takes_owned_fields_only() {
    check_refused(merge("shared", r#"{"name": 1}"#, &["seen"], "1"), "field `name` is not among the owned fields");
    check_refused(merge("shared", "{}", &["name"], "1"), "field `name` is not among the owned fields");
    check_refused(merge("own", "{}", &["name"], "x"), "a value for list `name` is not JSON");
    check_refused(merge("own", "{}", &[], "1"), "a list edit has no path");
    let outcome = writes(vec![merge("shared", r#"{"seen": 1}"#, &["seen", "by"], "1")]);
    let Outcome::Done { writes, .. } = &outcome else { panic!("{outcome:?}") };
    let [Write::Merge { target, lists, if_absent }] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!((&*target.id, &target.document[..], *if_absent), ("doc", &br#"{"seen": 1}"#[..], IfAbsent::Create));
    assert_eq!((lists[0].path.join("."), lists[0].add.len()), ("seen.by".to_owned(), 1));
}

#[test]
fn an_id_is_what_indices_take() {
    check_refused(index("own", Some(String::new())), "its id has 0 bytes");
    check_refused(index("own", Some("x".repeat(513))), "its id has 513 bytes");
}

#[test]
fn a_need_asks_for_something_and_not_for_everything() {
    let want = |lookup: &str| contract::Want { lookup: lookup.into(), key: "k".into() };
    let limits = Limits { writes_per_change: 2, ..Limits::default() };
    let failed = |wants: Vec<contract::Want>| match convert(contract::Outcome::Need(wants), &limits) {
        Outcome::Failed(failure) => (failure.kind, failure.message),
        other => panic!("{other:?}"),
    };
    assert_eq!(failed(Vec::new()).1, "`need` asks for nothing");
    assert_eq!(failed(vec![want("x")]).1, "`need` asks look-up `x`: the description declares no such name");
    assert_eq!(failed(vec![want("l"), want("l"), want("l")]).0, FailureKind::Limit);
    let outcome = convert(contract::Outcome::Need(vec![want("l")]), &limits);
    assert_eq!(outcome, Outcome::Need(vec![Want { lookup: "l".into(), key: "k".into() }]));
}

fn any_write() -> impl Strategy<Value = contract::Write> {
    let name = || prop_oneof![Just("a"), Just("b"), Just("own"), Just("shared"), Just("t"), Just("c"), Just("x")];
    let id = || prop_oneof![Just("doc"), Just("")];
    prop_oneof![
        (name(), id()).prop_map(|(name, id)| replace(name, id)),
        (name(), id()).prop_map(|(name, id)| replace_block(name, id)),
        (name(), id()).prop_map(|(name, id)| index(name, Some(id.into()))),
        (name(), any::<bool>()).prop_map(|(name, newer)| upsert(
            name,
            if newer { contract::Condition::Newer("m".into()) } else { contract::Condition::Always }
        )),
        (name(), ".{0,3}").prop_map(|(name, json)| merge(name, "{}", &["seen"], &json)),
        name().prop_map(|name| contract::Write::Publish(contract::PublishWrite {
            topic: name.into(),
            key: None,
            value: None
        })),
        name().prop_map(|name| contract::Write::Invalidate(contract::InvalidateWrite {
            cache: name.into(),
            keys: Vec::new()
        })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn whatever_is_written_is_declared_and_of_a_part_that_did_not_fail(
        given in proptest::collection::vec(any_write(), 0..6),
    ) {
        let declared = declared();
        let asked = given.len();
        match writes(given) {
            Outcome::Done { writes, failures } => {
                let failed: Vec<&str> = failures.iter().filter_map(|failure| failure.part.as_deref()).collect();
                prop_assert!(writes.len() + failed.len() <= asked.max(1));
                prop_assert!(!failed.is_empty() || writes.len() == asked);
                for write in &writes {
                    prop_assert!(declared.part_of(write).is_none_or(|part| !failed.contains(&part)));
                    let sound = match write {
                        Write::Index(target) | Write::Merge { target, .. } => {
                            ["own", "shared"].contains(&&*target.index) && !target.id.is_empty()
                        }
                        Write::Delete { index, .. } => ["own", "shared"].contains(&&**index),
                        Write::Rows { table, .. } => ["a", "b"].contains(&&**table),
                        Write::Publish(publish) => &*publish.topic == "t",
                        Write::Invalidate { cache, .. } => &**cache == "c",
                    };
                    prop_assert!(sound, "{write:?}");
                }
            }
            Outcome::Failed(failure) => prop_assert!(failure.part.is_none()),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}

//! Guests built with the SDK, as users build them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value as Json, json};

use super::{Echo, source};
use crate::model::{
    Change, Condition, Document, FailureKind, Found, Item, Outcome, Position, RetryHelps, RowOp, Value, Want, Write,
};
use crate::processor::wasm::testing::{guest, runtime};
use crate::processor::wasm::{Grants, Limits, WasmProcessor, load};
use crate::processor::{Call, Fault, FaultKind, Instance, Lookups, Processor, StartError};

fn load_guest(name: &str, config: &Json, limits: Limits) -> Result<WasmProcessor, StartError> {
    let (engine, cache) = runtime();
    let path = guest(name);
    let grants = Grants { log: true, lookups: vec!["parent".into()] };
    let mut source = source(&[], grants, limits);
    (source.path, source.bytes, source.config) = (&path, None, config.to_string().into_bytes());
    load(engine, source, Some(cache))
}

fn start(config: &Json, limits: Limits) -> Box<dyn Instance> {
    load_guest("hostile", config, limits).unwrap().start(Arc::new(Echo(Ok(())))).unwrap()
}

fn item(id: &str, document: &Json) -> Item {
    let message = format!(
        r#"{{"document_id":"{id}","data_source_name":"forms","document_type":"XFormInstance","domain":"clinic-a",
        "document_rev":"3-a","publish_timestamp":"2026-02-03T10:00:00Z"}}"#
    );
    let change = Arc::new(Change::decode(message.as_bytes(), Position::number(0)).unwrap());
    Item { change, document: Document::Present(Bytes::from(document.to_string())), found: Vec::new() }
}

fn call(instance: &mut dyn Instance, items: &[Item]) -> Result<Vec<Outcome>, Fault> {
    instance.process(&Call { topic: "form", time: "2026-02-03T10:00:00Z".parse().unwrap(), items })
}

/// One sound document, a poisonous one, and a sound one.
fn poisoned() -> [Item; 3] {
    [item("a", &json!({})), item("b", &json!({"text": "poison"})), item("c", &json!({}))]
}

fn check_stamped(outcome: &Outcome, id: &str, number: i64) {
    let Outcome::Done { writes, failures } = outcome else { panic!("{outcome:?}") };
    assert!(failures.is_empty());
    let [Write::Index(index), Write::Rows { table, op: RowOp::Replace(rows) }] = writes.as_slice() else {
        panic!("{writes:?}")
    };
    assert_eq!((&*index.index, &*index.id, &**table), ("hostile", id, "hostile_rows"));
    let document: Json = serde_json::from_slice(&index.document).unwrap();
    assert_eq!(document, json!({"version": "v1", "id": id, "number": number}));
    let text = |text: &str| Value::Text(text.to_owned());
    assert_eq!(*rows, [vec![text(id), text("v1"), Value::Integer(number)]]);
}

fn check_fault(mode: &str, kind: FaultKind, says: &str) -> Fault {
    let limits = Limits { cpu: Duration::from_millis(200), memory_bytes: 32 << 20, ..Limits::default() };
    let mut instance = start(&json!({"mode": mode, "version": "v1"}), limits);
    let fault = call(&mut *instance, &poisoned()).unwrap_err();
    assert_eq!(fault.kind, kind, "{fault:?}");
    assert!(fault.message.contains(says), "{fault:?} does not say {says:?}");
    assert!(instance.is_spent());
    fault
}

/// The poisonous change fails alone.
fn check_failed(config: &Json, limits: Limits, kind: FailureKind, says: &str) {
    let mut instance = start(config, limits);
    let outcomes = call(&mut *instance, &poisoned()).unwrap();
    check_stamped(&outcomes[0], "a", 0);
    check_stamped(&outcomes[2], "c", 0);
    let Outcome::Failed(failure) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!(failure.kind, kind, "{failure:?}");
    assert!(failure.message.contains(says), "{failure:?} does not say {says:?}");
    assert!(!instance.is_spent());
}

#[test]
fn a_guest_of_the_sdk_answers_with_writes() {
    let mut instance = start(&json!({"mode": "stamp", "version": "v1"}), Limits::default());
    for _ in 0..2 {
        let outcomes = call(&mut *instance, &poisoned()).unwrap();
        for (outcome, id) in outcomes.iter().zip(["a", "b", "c"]) {
            check_stamped(outcome, id, 0);
        }
    }
    let deleted = Item { document: Document::Deleted, ..item("a", &json!({})) };
    let outcomes = call(&mut *instance, &[deleted]).unwrap();
    let expected = [
        Write::Delete { index: "hostile".into(), id: "a".into() },
        Write::Rows { table: "hostile_rows".into(), op: RowOp::Delete },
    ];
    assert_eq!(outcomes, [Outcome::Done { writes: expected.into(), failures: Vec::new() }]);
}

#[test]
fn a_panic_is_a_trap_with_its_words_in_the_log() {
    let fault = check_fault("trap", FaultKind::Trap, "it gave up, by a panic or an abort");
    let last_log = fault.last_log.unwrap();
    assert!(last_log.contains("told to trap"), "{last_log}");
}

#[test]
fn what_does_not_end_is_ended() {
    check_fault("loop", FaultKind::Limit, "took more than 200ms of CPU time");
    check_fault("memory-bomb", FaultKind::Limit, "bytes of memory, and may have 33554432");
    check_fault("recursion", FaultKind::Trap, "recursion");
}

#[test]
fn a_wrong_number_of_outcomes_is_a_bad_answer() {
    check_fault("too-few", FaultKind::BadAnswer, "2 outcomes for 3 changes");
    check_fault("too-many", FaultKind::BadAnswer, "4 outcomes for 3 changes");
}

#[test]
fn a_refused_write_is_the_failure_of_its_change() {
    let check = |mode: &str, says: &str| {
        let config = json!({"mode": mode, "version": "v1"});
        check_failed(&config, Limits::default(), FailureKind::Rejected, says);
    };
    check("invalid-utf8", "write 1 of 1 (index into `hostile`) is refused: its document is not UTF-8");
    check("invalid-json", "its document is not a JSON object");
    check("no-object", "its document is not a JSON object");
    check("undeclared-index", "(index into `undeclared`) is refused: the description declares no such name");
    check("undeclared-table", "(delete-rows of `undeclared`)");
    check("undeclared-topic", "(publish to `undeclared`)");
    check("undeclared-cache", "(invalidate of `undeclared`)");
    check("undeclared-part", "failure of part `undeclared`");
    check("undeclared-lookup", "`need` asks look-up `undeclared`");
    check("short-row", "row 1: the row has 1 values, and the table 3 columns");
    check("wrong-value", "row 1: column `version`: must not be null");
}

#[test]
fn too_much_output_is_the_failure_of_its_change() {
    let limits = Limits { writes_per_change: 10, write_bytes: 10_000, ..Limits::default() };
    let many = json!({"mode": "many-writes", "version": "v1", "count": 11});
    check_failed(&many, limits.clone(), FailureKind::Limit, "more than 10 writes and rows for one change");
    let huge = json!({"mode": "huge-output", "version": "v1", "count": 10_000});
    check_failed(&huge, limits, FailureKind::Limit, "and 10000 is the limit");
}

#[test]
fn what_a_guest_says_is_kept() {
    let mut instance = start(&json!({"mode": "fail"}), Limits::default());
    let outcomes = call(&mut *instance, &poisoned()).unwrap();
    let Outcome::Failed(failure) = &outcomes[1] else { panic!("{outcomes:?}") };
    assert_eq!((failure.kind, failure.retry, &failure.part), (FailureKind::Guest, RetryHelps::Perhaps, &None));
    assert_eq!(failure.message, "told to fail");
}

#[test]
fn a_change_is_asked_again_with_what_it_needs() {
    let mut instance = start(&json!({"mode": "need", "version": "v1"}), Limits::default());
    let mut child = item("a", &json!({"parent": "p"}));
    let outcomes = call(&mut *instance, &[child.clone(), item("b", &json!({}))]).unwrap();
    assert_eq!(outcomes[0], Outcome::Need(vec![Want { lookup: "parent".into(), key: "p".into() }]));
    check_stamped(&outcomes[1], "b", 0);
    let documents = vec![Bytes::from_static(b"{}"); 2];
    child.found.push(Found { lookup: "parent".into(), key: "p".into(), documents });
    check_stamped(&call(&mut *instance, &[child]).unwrap()[0], "a", 2);
}

#[test]
fn a_look_up_is_answered_within_the_call() {
    let mut instance = start(&json!({"mode": "fetch", "version": "v1"}), Limits::default());
    check_stamped(&call(&mut *instance, &[item("a", &json!({"parent": "p"}))]).unwrap()[0], "a", 1);
}

#[test]
fn a_flood_of_log_lines_does_not_hurt() {
    for mode in ["log-flood", "long-log"] {
        let mut instance = start(&json!({"mode": mode, "version": "v1", "count": 100_000}), Limits::default());
        check_stamped(&call(&mut *instance, &[item("a", &json!({}))]).unwrap()[0], "a", 0);
    }
}

#[test]
fn an_instance_that_leaks_is_spent_at_the_mark() {
    let limits = Limits { memory_mark_bytes: 8 << 20, ..Limits::default() };
    let mut instance = start(&json!({"mode": "leak", "version": "v1", "count": 1 << 20}), limits);
    let mut calls = 0;
    while !instance.is_spent() {
        check_stamped(&call(&mut *instance, &[item("a", &json!({}))]).unwrap()[0], "a", 0);
        calls += 1;
        assert!(calls < 20);
    }
    assert!(calls > 3);
}

#[test]
fn a_guest_that_does_not_start_says_why() {
    let check = |mode: &str, says: &str| {
        let limits = Limits { cpu: Duration::from_millis(200), ..Limits::default() };
        let error = load_guest("hostile", &json!({"mode": mode}), limits).err().unwrap().to_string();
        assert!(error.contains(says), "{error:?} does not say {says:?}");
    };
    check("trap-at-configure", "processor did not start: processor crashed: it gave up");
    check("trap-at-configure", "told to trap at configure");
    check("abort-at-configure", "processor did not start: processor crashed: it gave up");
    check("loop-at-configure", "processor did not start: processor took more than 200ms of CPU time");
    check("refuse", "processor refuses its configuration: mode: told to refuse; version: and once more");
    check("no-such-mode", "processor refuses its configuration: ");
    check("bad-description", "over column `nowhere`, which it does not have");
    check("bad-mapping", "the mapping of index `hostile` is not a JSON object");
}

#[test]
fn a_look_up_that_the_manifest_does_not_grant_is_refused() {
    let (engine, cache) = runtime();
    let path = guest("hostile");
    let mut source = source(&[], Grants { log: true, lookups: vec!["other".into()] }, Limits::default());
    (source.path, source.bytes, source.config) = (&path, None, br#"{"mode":"need"}"#.to_vec());
    let error = load(engine, source, Some(cache)).err().unwrap();
    let says = "processor refuses its configuration: it asks look-up `parent`, which the manifest does not grant";
    assert_eq!(error.to_string(), says);
}

#[test]
fn rows_and_conditions_arrive() {
    let config = json!({"xmlns": "http://openrosa.example/visit"});
    let processor = load_guest("visit-rows", &config, Limits::default()).unwrap();
    let tables: Vec<&str> = processor.description().tables.iter().map(|table| table.name.as_str()).collect();
    assert_eq!(tables, ["visits", "last_visits"]);
    let mut instance = processor.start(Arc::new(Echo(Ok(()))) as Arc<dyn Lookups>).unwrap();
    let form = json!({
        "doc_type": "XFormInstance", "xmlns": "http://openrosa.example/visit", "domain": "clinic-a",
        "received_on": "2026-02-03T10:00:01Z",
        "form": {"case": {"@case_id": "c1"}, "meta": {"timeEnd": "2026-02-03T10:00:00Z", "userID": "u1"}},
    });
    let outcomes = call(&mut *instance, &[item("f", &form)]).unwrap();
    let Outcome::Done { writes, .. } = &outcomes[0] else { panic!("{outcomes:?}") };
    let [Write::Rows { op: RowOp::Replace(rows), .. }, Write::Rows { table, op: RowOp::Upsert { row, when } }] =
        writes.as_slice()
    else {
        panic!("{writes:?}")
    };
    assert_eq!((rows.len(), &**table), (1, "last_visits"));
    assert_eq!(*when, Condition::Newer("visited_at".to_owned()));
    assert_eq!(row[3], Value::Timestamp("2026-02-03T10:00:00.000000Z".to_owned()));
}

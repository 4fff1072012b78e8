//! Guests written by hand: each breaks one rule.

use std::sync::Arc;
use std::time::Duration;

use super::wat::{CONFIGURED, FREE, Guest, LARGE, OUTCOMES};
use super::{Echo, all, process, source};
use crate::model::{Description, FailureKind, Outcome, RetryHelps, Write};
use crate::processor::wasm::testing::runtime;
use crate::processor::wasm::{Grants, Inspection, Kind, Limits, WasmProcessor, inspect, load};
use crate::processor::{Fault, FaultKind, Instance, Processor, StartError};

fn start(guest: &Guest, limits: Limits) -> (WasmProcessor, Box<dyn Instance>) {
    let (engine, cache) = runtime();
    let processor = load(engine, source(&guest.module(), all(), limits), Some(cache)).unwrap();
    let instance = processor.start(Arc::new(Echo(Ok(())))).unwrap();
    (processor, instance)
}

/// The fault of a guest; it ends its instance, and another one of the same processor starts all the same.
fn check_fault(guest: &Guest, limits: Limits, kind: FaultKind, says: &str) -> Fault {
    let (processor, mut instance) = start(guest, limits);
    let fault = process(&mut *instance, 2).unwrap_err();
    assert_eq!(fault.kind, kind, "{fault:?}");
    assert!(fault.message.contains(says), "{fault:?} does not say {says:?}");
    assert!(instance.is_spent());
    let again = process(&mut *instance, 2).unwrap_err();
    assert_eq!(again.message, "this instance ended with a fault before");
    processor.start(Arc::new(Echo(Ok(())))).unwrap();
    fault
}

fn check_refused(bytes: &[u8], grants: Grants, says: &str) {
    let (engine, _) = runtime();
    let error = load(engine, source(bytes, grants, Limits::default()), None).err().expect("it must be refused");
    assert!(error.to_string().contains(says), "{error} does not say {says:?}");
}

#[test]
fn a_sound_guest_answers_call_after_call() {
    let (processor, mut instance) = start(&Guest::default(), Limits::default());
    assert_eq!(processor.description(), &Description::default());
    for count in [0, 1, 3] {
        assert_eq!(process(&mut *instance, count).unwrap(), vec![Outcome::Skip(String::new()); count]);
    }
    assert!(!instance.is_spent());
}

#[test]
fn a_crash_keeps_the_last_line_that_was_logged() {
    let log = format!("i32.const 3  i32.const 1  i32.const 0  i32.const {FREE}  i32.const 4  call $log");
    let guest = Guest::process(&format!("{log} unreachable")).bytes(FREE, b"oops");
    let fault = check_fault(&guest, Limits::default(), FaultKind::Trap, "it gave up, by a panic or an abort");
    assert_eq!(fault.last_log.as_deref(), Some("oops"));
}

#[test]
fn endless_work_ends_by_its_cpu_time() {
    let limits = Limits { cpu: Duration::from_millis(30), ..Limits::default() };
    check_fault(&Guest::process("(loop br 0)"), limits, FaultKind::Limit, "took more than 30ms of CPU time");
}

#[test]
fn a_call_ends_by_its_wall_time() {
    let limits = Limits { wall: Duration::from_millis(30), ..Limits::default() };
    check_fault(&Guest::process("(loop br 0)"), limits, FaultKind::Limit, "took more than 30ms");
}

#[test]
fn memory_is_bounded() {
    let bomb = "(loop i32.const 16  memory.grow  drop  br 0)";
    let limits = Limits { memory_bytes: 32 << 20, ..Limits::default() };
    check_fault(&Guest::process(bomb), limits, FaultKind::Limit, "asked for 34603008 bytes of memory");
}

#[test]
fn endless_recursion_is_a_crash() {
    let guest = Guest::process("i32.const 0  call $recurse  drop");
    check_fault(&guest, Limits::default(), FaultKind::Trap, "the stack is exhausted");
}

#[test]
fn memory_out_of_bounds_is_a_crash() {
    let guest = Guest::process("i32.const -4  i32.load  drop");
    check_fault(&guest, Limits::default(), FaultKind::Trap, "memory access out of bounds");
}

#[test]
fn an_instance_above_the_memory_mark_is_spent() {
    let guest = Guest::process("i32.const 100  memory.grow  drop");
    let (_, mut instance) = start(&guest, Limits { memory_mark_bytes: 10 << 20, ..Limits::default() });
    assert!(!instance.is_spent());
    process(&mut *instance, 1).unwrap();
    assert!(instance.is_spent());
}

#[test]
fn as_many_outcomes_as_changes_are_expected() {
    for (count, says) in [(1, "1 outcomes for 2 changes"), (3, "3 outcomes for 2 changes")] {
        let guest = Guest::process(&format!("i32.const 2052  i32.const {count}  i32.store"));
        check_fault(&guest, Limits::default(), FaultKind::BadAnswer, says);
    }
}

#[test]
fn what_the_contract_cannot_read_is_a_bad_answer() {
    let skip = |pointer, length| Guest::default().words(OUTCOMES, &[0, pointer, length, 0, 0]);
    check_fault(&skip(FREE, 2).bytes(FREE, b"\xff\xfe"), Limits::default(), FaultKind::BadAnswer, "utf-8");
    check_fault(&skip(u32::MAX - 8, 4), Limits::default(), FaultKind::BadAnswer, "out of bounds");
    let unknown = Guest::default().words(OUTCOMES, &[9, 0, 0, 0, 0]);
    check_fault(&unknown, Limits::default(), FaultKind::BadAnswer, "discriminant");
    let endless = Guest::process("i32.const 2052  i32.const -1  i32.store");
    check_fault(&endless, Limits::default(), FaultKind::BadAnswer, "out of bounds");
}

#[test]
fn answers_are_bounded_in_bytes() {
    // The same mebibyte again and again: small in the guest, large in the host.
    let fill = format!("i32.const {LARGE}  i32.const 32  i32.const {LARGE}  memory.fill");
    let guest = |writes| {
        Guest::process(&fill).with_index().indexing(writes, (FREE - 512, 5), (LARGE, LARGE)).bytes(FREE, b"forms")
    };
    let limits = Limits { output_bytes: 4 << 20, ..Limits::default() };
    check_fault(&guest(1000), limits.clone(), FaultKind::BadAnswer, "too much data");
    let object = |writes| {
        let braces = format!(
            "{fill} i32.const {LARGE} i32.const 123 i32.store8 i32.const {LARGE} i32.const 125 i32.store8 offset=1"
        );
        Guest { process: braces, ..guest(writes) }
    };
    check_fault(&object(5), limits.clone(), FaultKind::Limit, "answered with more than 4194304 bytes");
    let (_, mut instance) = start(&object(1), Limits { write_bytes: 1 << 20, ..limits });
    let outcomes = process(&mut *instance, 2).unwrap();
    let Outcome::Failed(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!((failure.kind, failure.retry), (FailureKind::Limit, RetryHelps::No));
    let says = "write 1 of 1 (index into `forms`) is refused: it has 1048581 bytes, and 1048576 is the limit";
    assert_eq!(failure.message, says);
    assert_eq!(outcomes[1], Outcome::Skip(String::new()));
}

#[test]
fn a_write_of_one_change_that_is_refused_leaves_the_others() {
    let check = |name: &[u8], document: &[u8], says: &str| {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).unwrap();
        let guest = Guest::default()
            .with_index()
            .indexing(1, (FREE, length(name)), (FREE + 64, length(document)))
            .bytes(FREE, name)
            .bytes(FREE + 64, document);
        let (_, mut instance) = start(&guest, Limits::default());
        let outcomes = process(&mut *instance, 2).unwrap();
        let Outcome::Failed(failure) = &outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!((failure.kind, &failure.part), (FailureKind::Rejected, &None));
        assert!(failure.message.contains(says), "{failure:?} does not say {says:?}");
        assert_eq!(outcomes[1], Outcome::Skip(String::new()));
        assert!(!instance.is_spent());
    };
    check(b"forms", b"{\"a\": \"\xff\"}", "write 1 of 1 (index into `forms`) is refused: its document is not UTF-8");
    check(b"forms", b"{\"a\": ", "its document is not a JSON object");
    check(b"forms", b"[1]", "its document is not a JSON object");
    check(b"users", b"{}", "write 1 of 1 (index into `users`) is refused: the description declares no such name");
}

#[test]
fn a_sound_write_arrives() {
    let guest = Guest::default().with_index().indexing(1, (FREE - 512, 5), (FREE, 7)).bytes(FREE, br#"{"a":1}"#);
    let (processor, mut instance) = start(&guest, Limits::default());
    assert_eq!(processor.description().indices[0].name, "forms");
    let outcomes = process(&mut *instance, 1).unwrap();
    let Outcome::Done { writes, failures } = &outcomes[0] else { panic!("{outcomes:?}") };
    let [Write::Index(write)] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!((&*write.index, &*write.id, &write.document[..]), ("forms", "doc-0", &br#"{"a":1}"#[..]));
    assert!(failures.is_empty());
}

#[test]
fn a_look_up_is_answered_or_ends_the_call() {
    // fetch("echo", ["key"]), then checks that the first answer's first document is as long as the key.
    let fetch = format!(
        "i32.const {FREE}  i32.const 4  i32.const {keys}  i32.const 1  i32.const {result}  call $fetch
         i32.const {result}  i32.load  i32.load  i32.load offset=4  i32.const 3  i32.ne  if unreachable end",
        keys = FREE + 64,
        result = FREE + 128
    );
    let guest = Guest::process(&fetch).bytes(FREE, b"echokey").words(FREE + 64, &[FREE + 4, 3]);
    let (processor, mut instance) = start(&guest, Limits::default());
    process(&mut *instance, 1).unwrap();
    let mut failing = processor.start(Arc::new(Echo(Err("the store is closed")))).unwrap();
    let fault = process(&mut *failing, 1).unwrap_err();
    assert_eq!(fault.message, "look-up `echo` was not answered: the store is closed");
    check_fault(&guest.bytes(FREE, b"open"), Limits::default(), FaultKind::Trap, "look-up `open` is not granted");
    let early = Guest { configure: fetch, ..Guest::default() };
    let (engine, _) = runtime();
    let error = load(engine, source(&early.module(), all(), Limits::default()), None).err().unwrap();
    assert_eq!(
        error.to_string(),
        "processor did not start: look-ups cannot be asked while the processor is configured"
    );
}

#[test]
fn a_module_that_does_not_start_says_why() {
    let check = |guest: &Guest, limits: Limits, says: &str| {
        let (engine, _) = runtime();
        let error = load(engine, source(&guest.module(), all(), limits), None).err().unwrap();
        assert_eq!(error.to_string(), says);
        error
    };
    let trap = Guest { configure: "unreachable".into(), ..Guest::default() };
    let says = "processor did not start: processor crashed: it gave up, by a panic or an abort";
    assert!(matches!(check(&trap, Limits::default(), says), StartError::Start(_)));
    let slow = Guest { configure: "(loop br 0)".into(), ..Guest::default() };
    let limits = Limits { cpu: Duration::from_millis(20), ..Limits::default() };
    check(&slow, limits, "processor did not start: processor took more than 20ms of CPU time");
    let small = Limits { memory_bytes: 1 << 20, ..Limits::default() };
    let says = "processor did not start: processor asked for 8388608 bytes of memory, and may have 1048576";
    check(&Guest::default(), small, says);
    // err([{ path: "a.b", part: none, message: "no" }])
    let problem = Guest::default()
        .words(CONFIGURED, &[1, FREE, 1])
        .words(FREE, &[FREE + 64, 3, 0, 0, 0, FREE + 67, 2])
        .bytes(FREE + 64, b"a.bno");
    let says = "processor refuses its configuration: a.b: no";
    assert!(matches!(check(&problem, Limits::default(), says), StartError::Configuration(_)));
}

#[test]
fn what_is_no_processor_is_refused() {
    check_refused(b"", all(), "guest.wasm is no WASM file: it is empty");
    check_refused(b"#!/bin/sh\n", all(), "it does not begin with the bytes");
    check_refused(b"\0asm\x01", all(), "it ends within its header");
    check_refused(b"\0asm\x05\0\0\0", all(), "does not know its version");
    let module = Guest::default().module();
    check_refused(&module[..module.len() / 2], all(), "is no WASM file: ");
    check_refused(&Guest::default().untyped(), all(), "it was not built with the pillowtop SDK");
    check_refused(&::wat::parse_str("(component)").unwrap(), all(), "it exports no pillowtop:processor/guest@0.1.0");
    let newer = Guest { version: "0.2.0", ..Guest::default() }.module();
    check_refused(&newer, all(), "it exports version 0.2.0 of pillowtop:processor/guest, and this host serves 0.1.0");
    let wrong_type = r#"(component (component $c (export "x" (component)))
        (instance $i (instantiate $c)) (export "pillowtop:processor/guest@0.1.0" (instance $i)))"#;
    let wrong_type = wrong_type.replace(r#"(export "x" (component))"#, "");
    check_refused(&::wat::parse_str(&wrong_type).unwrap(), all(), "guest.wasm does not fit the contract");
}

#[test]
fn a_foreign_or_ungranted_import_is_refused() {
    let imports = r#"(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))"#;
    let guest = Guest { imports: imports.into(), ..Guest::default() };
    check_refused(&guest.module(), all(), "it imports wasi_snapshot_preview1.{fd_write}, which no processor is given");
    check_refused(&Guest::default().module(), Grants::default(), "add `log` to the processor's `grants`");
    let no_lookups = Grants { log: true, lookups: Vec::new() };
    check_refused(&Guest::default().module(), no_lookups, "name the look-ups that it may ask");
    let component = r#"(component (import "wasi:clocks/wall-clock@0.2.6" (instance)))"#;
    check_refused(&::wat::parse_str(component).unwrap(), all(), "it imports wasi:clocks/wall-clock@0.2.6");
}

#[test]
fn a_file_is_inspected_without_running_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guest.wasm");
    let missing = inspect(&path).unwrap_err().to_string();
    assert!(missing.starts_with(&format!("could not read {}: No such file", path.display())), "{missing}");
    let module = Guest::process("unreachable").module();
    std::fs::write(&path, &module).unwrap();
    let Inspection { kind, size, contract, imports, exports, digest } = inspect(&path).unwrap();
    assert_eq!((kind, size, contract.as_deref()), (Kind::Module { typed: true }, module.len(), Some("0.1.0")));
    assert_eq!(imports[0].interface, "pillowtop:processor/log@0.1.0");
    assert_eq!(imports[0].item.as_deref(), Some("write"));
    assert!(exports.contains(&"pillowtop:processor/guest@0.1.0#process".to_owned()));
    let (engine, cache) = runtime();
    assert_eq!(load(engine, source(&module, all(), Limits::default()), Some(cache)).unwrap().digest(), digest);
}

#[test]
fn a_component_is_loaded_as_it_is() {
    let module = Guest::default().module();
    let mut encoder = wit_component::ComponentEncoder::default().module(&module).unwrap();
    let component = encoder.encode().unwrap();
    let (engine, _) = runtime();
    let processor = load(engine, source(&component, all(), Limits::default()), None).unwrap();
    let mut instance = processor.start(Arc::new(Echo(Ok(())))).unwrap();
    assert_eq!(process(&mut *instance, 1).unwrap(), [Outcome::Skip(String::new())]);
}

//! What the SDK's users build for wasm32, looked into and run: imports, exports, panics. Builds the guests first, with
//! `guest-sdk/wasm-std`, into `target/guests`.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use wasmparser::{Parser, Payload};
use wasmtime::component::{Component, Instance, Linker, Val};
use wasmtime::{Config, Engine, Store};
use wit_component::ComponentEncoder;

const GUEST: &str = "pillowtop:processor/guest@0.1.0";

static ROOT: LazyLock<PathBuf> =
    LazyLock::new(|| Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf());

/// The folder of the built guests of this repository.
static GUESTS: LazyLock<PathBuf> = LazyLock::new(|| {
    let target = ROOT.join("target/guests");
    let mut build = Command::new(ROOT.join("guest-sdk/wasm-std"));
    run(build
        .args(["build", "-p", "visit-rows", "-p", "hostile"])
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(&*ROOT));
    target.join("wasm32-unknown-unknown/guest")
});

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}\n{}", String::from_utf8_lossy(&output.stderr));
}

/// The imports of a core module, as module and name.
fn imports(module: &[u8]) -> Vec<String> {
    let mut imports = Vec::new();
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::ImportSection(section) = payload.unwrap() {
            for import in section.into_imports() {
                let import = import.unwrap();
                imports.push(format!("{} {}", import.module, import.name));
            }
        }
    }
    imports
}

fn encode(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default().validate(true).module(module).unwrap().encode().unwrap()
}

#[test]
fn a_module_imports_only_what_a_manifest_can_grant() {
    let visits = imports(&std::fs::read(GUESTS.join("visit_rows.wasm")).unwrap());
    assert_eq!(visits, ["pillowtop:processor/log@0.1.0 write"]);
    let mut hostile = imports(&std::fs::read(GUESTS.join("hostile.wasm")).unwrap());
    hostile.sort();
    assert_eq!(hostile, ["pillowtop:processor/log@0.1.0 write", "pillowtop:processor/lookup@0.1.0 fetch"]);
}

/// The guide's processor, in a crate outside of this repository, built with plain cargo.
fn build_outside(folder: &Path, dependency: &str) -> Vec<u8> {
    let guide = std::fs::read_to_string(ROOT.join("docs/writing-a-processor.md")).unwrap();
    let block = |fence: &str| guide.split_once(fence).unwrap().1.split_once("```").unwrap().0.to_owned();
    let code = block("```rust\n");
    assert!(code.lines().count() <= 30, "the guide promises a short one");
    let sdk = format!("path = {:?}", ROOT.join("guest-sdk"));
    let manifest = block("```toml\n").replace("path = \"/path/to/pillowtop/guest-sdk\"", &format!("{sdk}{dependency}"));
    assert!(manifest.contains(&sdk), "{manifest}");
    std::fs::create_dir(folder.join("src")).unwrap();
    std::fs::write(folder.join("Cargo.toml"), manifest).unwrap();
    std::fs::write(folder.join("src/lib.rs"), code).unwrap();
    // The same versions as here, so that nothing has to be fetched.
    std::fs::copy(ROOT.join("Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    let script = r#"set -e; eval "$("$0" env)"; exec cargo build --release --target wasm32-unknown-unknown"#;
    let target = ROOT.join("target/guests-outside");
    run(Command::new("bash")
        .args(["-c", script])
        .arg(ROOT.join("guest-sdk/wasm-std"))
        .env("CARGO_TARGET_DIR", &target)
        .current_dir(folder));
    std::fs::read(target.join("wasm32-unknown-unknown/release/people.wasm")).unwrap()
}

#[test]
fn the_guide_s_processor_builds_outside_with_plain_cargo_and_without_features_imports_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let module = build_outside(folder.path(), "");
    assert_eq!(imports(&module), ["pillowtop:processor/log@0.1.0 write"]);
    Guest::start(&module).configure("{}").unwrap();

    let folder = tempfile::tempdir().unwrap();
    let module = build_outside(folder.path(), ", default-features = false");
    assert!(imports(&module).is_empty(), "{:?}", imports(&module));
    Guest::start(&module).configure("{}").unwrap();
}

/// A value with its lists of bytes as escaped text: documents and blocks of rows are such.
fn readable(value: &Val) -> String {
    let byte = |item: &Val| if let Val::U8(byte) = item { Some(*byte) } else { None };
    match value {
        Val::List(items) => match items.iter().map(byte).collect::<Option<Vec<u8>>>() {
            Some(bytes) => bytes.escape_ascii().to_string(),
            None => items.iter().map(readable).collect::<Vec<_>>().join(" "),
        },
        Val::Record(fields) => {
            fields.iter().map(|(name, value)| format!("{name}: {}", readable(value))).collect::<Vec<_>>().join(" ")
        }
        Val::Variant(name, Some(value)) => format!("{name} {}", readable(value)),
        other => format!("{other:?}"),
    }
}

/// How a text stands in a block of rows: its tag, its length and itself.
fn text_cell(text: &str) -> String {
    format!("\\x05\\x{:02x}\\x00\\x00\\x00{text}", text.len())
}

#[test]
fn a_stamp_is_compiled_in() {
    LazyLock::force(&GUESTS);
    let target = ROOT.join("target/guests");
    let build = |stamp: &str| {
        let mut build = Command::new(ROOT.join("guest-sdk/wasm-std"));
        // A profile of its own, so that no other test finds a stamped module.
        build.args(["build", "--profile", "dev", "-p", "hostile"]).current_dir(&*ROOT);
        run(build.env("CARGO_TARGET_DIR", &target).env("STAMP", stamp));
        std::fs::read(target.join("wasm32-unknown-unknown/debug/hostile.wasm")).unwrap()
    };
    let (one, two) = (build("one"), build("two"));
    assert_ne!(one, two);
    for (module, stamp) in [(one, "one"), (two, "two")] {
        let mut guest = Guest::start(&module);
        guest.configure(r#"{"mode": "stamp", "version": "config"}"#).unwrap();
        let answer = readable(&guest.process(&[("a", "{}")]).unwrap());
        let document = format!(r#"\"version\":\"{stamp}\""#);
        assert!(answer.contains(&document) && answer.contains(&text_cell(stamp)), "{answer}");
    }
}

#[test]
fn documents_go_in_and_rows_come_out() {
    let mut guest = Guest::start(&std::fs::read(GUESTS.join("visit_rows.wasm")).unwrap());
    guest.configure(r#"{"xmlns": "http://x.example/v"}"#).unwrap();
    let form = r#"{"doc_type": "XFormInstance", "xmlns": "http://x.example/v", "form": {"case": {"@case_id": "c1"}}}"#;
    let answer = guest.process(&[("f1", form), ("f2", "{")]).unwrap();
    let Val::List(outcomes) = answer else { panic!("{answer:?}") };
    assert!(matches!(&outcomes[0], Val::Variant(name, _) if name == "done"), "{outcomes:?}");
    let row = readable(&outcomes[0]);
    assert!(row.contains(&text_cell("f1")) && row.contains(&text_cell("c1")), "{row}");
    assert!(matches!(&outcomes[1], Val::Variant(name, _) if name == "failed"), "{outcomes:?}");
}

#[test]
fn the_memory_grows_with_what_is_kept_and_not_with_the_batches() {
    let module = std::fs::read(GUESTS.join("hostile.wasm")).unwrap();
    let mut guest = Guest::start(&module);
    guest.configure(r#"{"mode": "stamp", "version": "v1"}"#).unwrap();
    let documents: Vec<String> = (1..64).map(|size| format!(r#"{{"text": "{}"}}"#, "x".repeat(size * 300))).collect();
    let batch: Vec<(&str, &str)> = documents.iter().map(|document| ("a", document.as_str())).collect();
    guest.process(&batch).unwrap();
    guest.process(&batch).unwrap();
    let before = guest.taken();
    for _ in 0..50 {
        guest.process(&batch).unwrap();
    }
    assert_eq!(guest.taken(), before);

    let mut guest = Guest::start(&module);
    guest.configure(r#"{"mode": "leak", "count": 1000000}"#).unwrap();
    guest.process(&batch).unwrap();
    let before = guest.taken();
    for _ in 0..10 {
        guest.process(&batch).unwrap();
    }
    assert!(guest.taken() >= before + 9_000_000, "{} after {before}", guest.taken());
}

#[test]
fn a_panic_is_logged_with_the_change_it_happened_at() {
    let mut guest = Guest::start(&std::fs::read(GUESTS.join("hostile.wasm")).unwrap());
    guest.configure(r#"{"mode": "trap"}"#).unwrap();
    guest.process(&[("harmless", r#"{"a": 1}"#), ("guilty", r#"{"a": "poison"}"#)]).unwrap_err();
    let lines = &guest.store.data().lines;
    let [line] = lines.as_slice() else { panic!("{lines:?}") };
    assert!(line.contains("Option(Some(U32(1)))"), "{line}");
    assert!(line.contains("panicked at tests/guests/hostile/src/lib.rs:"), "{line}");
    assert!(line.contains("told to trap; while processing change 1, document guilty"), "{line}");
}

#[test]
fn the_number_of_outcomes_can_be_made_wrong() {
    let module = std::fs::read(GUESTS.join("hostile.wasm")).unwrap();
    for (mode, count) in [("stamp", 2), ("too-few", 1), ("too-many", 3)] {
        let mut guest = Guest::start(&module);
        guest.configure(&format!(r#"{{"mode": "{mode}"}}"#)).unwrap();
        let answer = guest.process(&[("a", "{}"), ("b", "{}")]).unwrap();
        assert!(matches!(&answer, Val::List(outcomes) if outcomes.len() == count), "{mode}: {answer:?}");
    }
}

#[test]
fn what_must_not_start_does_not() {
    let module = std::fs::read(GUESTS.join("hostile.wasm")).unwrap();
    for mode in ["trap-at-configure", "abort-at-configure"] {
        assert!(Guest::start(&module).configure(&format!(r#"{{"mode": "{mode}"}}"#)).is_err(), "{mode}");
    }
}

#[test]
fn the_refusable_modules_are_what_they_are_said_to_be() {
    let module = wat::parse_file(ROOT.join("tests/guests/foreign-import.wat")).unwrap();
    assert_eq!(imports(&module), ["wasi_snapshot_preview1 random_get"]);
    let component = wat::parse_file(ROOT.join("tests/guests/wrong-contract.wat")).unwrap();
    let component = Component::new(&Engine::default(), component).unwrap();
    assert!(component.get_export_index(None, "pillowtop:processor/guest@9.9.9").is_some());
    assert!(component.get_export_index(None, GUEST).is_none());
}

/// An instance, called by names: what a host without knowledge of the SDK sees.
struct Guest {
    store: Store<Host>,
    instance: Instance,
}

#[derive(Default)]
struct Host {
    lines: Vec<String>,
    memory: usize,
}

impl wasmtime::ResourceLimiter for Host {
    fn memory_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.memory = desired;
        Ok(true)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

impl Guest {
    fn start(module: &[u8]) -> Self {
        let engine = Engine::new(&Config::new()).unwrap();
        let component = Component::new(&engine, encode(module)).unwrap();
        let mut linker: Linker<Host> = Linker::new(&engine);
        let mut log = linker.instance("pillowtop:processor/log@0.1.0").unwrap();
        log.func_new("write", |mut store, _, parameters, _| {
            store.data_mut().lines.push(format!("{parameters:?}"));
            Ok(())
        })
        .unwrap();
        let mut lookup = linker.instance("pillowtop:processor/lookup@0.1.0").unwrap();
        lookup.func_new("fetch", |_, _, _, _| Err(wasmtime::Error::msg("nobody asks here"))).unwrap();
        let mut store = Store::new(&engine, Host::default());
        store.limiter(|host| host);
        let instance = linker.instantiate(&mut store, &component).unwrap();
        Self { store, instance }
    }

    fn configure(&mut self, config: &str) -> wasmtime::Result<Val> {
        self.call("configure", &[bytes(config), Val::List(Vec::new())])
    }

    fn process(&mut self, documents: &[(&str, &str)]) -> wasmtime::Result<Val> {
        let text = |text: &str| Val::String(text.to_owned());
        let none = || Val::Option(None);
        let change = |(id, document): &(&str, &str)| {
            record([
                ("id", text(id)),
                ("source", Val::U32(0)),
                ("document-type", none()),
                ("document-subtype", none()),
                ("domain", none()),
                ("revision", none()),
                ("associated-id", none()),
                ("deleted", Val::Bool(false)),
                ("attempts", Val::U32(0)),
                ("published-ms", none()),
                ("document", Val::Variant("present".to_owned(), Some(Box::new(bytes(document))))),
                ("found", Val::List(Vec::new())),
            ])
        };
        let batch = record([
            ("topic", text("topic")),
            ("time", text("2026-01-02T03:04:05.000000Z")),
            ("symbols", Val::List(vec![text("source")])),
            ("changes", Val::List(documents.iter().map(change).collect())),
        ]);
        self.call("process", &[batch])
    }

    fn call(&mut self, name: &str, arguments: &[Val]) -> wasmtime::Result<Val> {
        let guest = self.instance.get_export_index(&mut self.store, None, GUEST).unwrap();
        let index = self.instance.get_export_index(&mut self.store, Some(&guest), name).unwrap();
        let function = self.instance.get_func(&mut self.store, index).unwrap();
        let mut results = [Val::Bool(false)];
        function.call(&mut self.store, arguments, &mut results)?;
        let [result] = results;
        Ok(result)
    }

    /// The linear memory's size, as last asked for.
    fn taken(&self) -> usize {
        self.store.data().memory
    }
}

fn bytes(text: &str) -> Val {
    Val::List(text.bytes().map(Val::U8).collect())
}

fn record<const N: usize>(fields: [(&str, Val); N]) -> Val {
    Val::Record(fields.map(|(name, value)| (name.to_owned(), value)).into())
}

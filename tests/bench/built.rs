//! What has to be built beside this program: processors to WASM, and the same work natively.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};

use pillowtop::model::{PillowName, ProcessorName};
use pillowtop::processor::wasm::{Cache, Engine, Grants, Limits, Names, Source, WasmProcessor, load};

/// The checkout.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// A processor of the workspace, built to WASM.
pub(crate) fn module(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let target = workspace().join("target/guests");
        let mut build = Command::new(workspace().join("guest-sdk/wasm-std"));
        build
            .args(["build", "-p", "bench-guest", "-p", "es-indexer", "-p", "ucr-row-builder"])
            .env("CARGO_TARGET_DIR", &target);
        run(build.current_dir(workspace()));
        target.join("wasm32-unknown-unknown/guest")
    });
    folder.join(format!("{name}.wasm"))
}

/// A program that does the work of `bench-guest` natively, built as the processors are.
pub(crate) fn native(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        let target = workspace().join("target");
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--profile", "guest", "-p", "bench-guest", "--examples"]).env("CARGO_TARGET_DIR", &target);
        run(build.current_dir(workspace()));
        target.join("guest/examples")
    });
    folder.join(name)
}

/// One engine for all figures, and the compiled code that stays for the next run.
pub(crate) fn runtime() -> &'static (Engine, Cache) {
    static RUNTIME: OnceLock<(Engine, Cache)> = OnceLock::new();
    RUNTIME.get_or_init(|| (Engine::new().unwrap(), Cache::open(workspace().join("target/bench/modules")).unwrap()))
}

/// Loads a processor, as the host does.
pub(crate) fn processor(module: &Path, config: &serde_json::Value) -> Arc<WasmProcessor> {
    processor_with(module, config, &[])
}

/// The same with look-ups granted.
pub(crate) fn processor_with(module: &Path, config: &serde_json::Value, lookups: &[&str]) -> Arc<WasmProcessor> {
    let (engine, cache) = runtime();
    let source = Source {
        path: module,
        bytes: None,
        names: Names { pillow: PillowName::new("bench"), processor: ProcessorName::new("bench") },
        grants: Grants { log: true, lookups: lookups.iter().map(|&name| name.to_owned()).collect() },
        config: config.to_string().into_bytes(),
        limits: Limits::default(),
    };
    Arc::new(load(engine, source, Some(cache)).unwrap())
}

fn run(command: &mut Command) {
    eprintln!("running {command:?}");
    assert!(command.status().unwrap().success(), "{command:?} failed");
}

//! What tests of this and of higher rooms share: one engine, one cache of compiled code, and guests built with the SDK.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, OnceLock};

use super::{Cache, Engine};

/// The engine that all tests share, and the compiled code that they leave for the next run.
pub(crate) fn runtime() -> &'static (Engine, Cache) {
    static RUNTIME: OnceLock<(Engine, Cache)> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let program = std::env::current_exe().unwrap();
        let cache = Cache::open(program.parent().unwrap().with_file_name("compiled-guests")).unwrap();
        (Engine::new().unwrap(), cache)
    })
}

/// The module that `guest-sdk/wasm-std` builds of the workspace's crate `name`, built once by each test program. Cargo's
/// own lock keeps several programs apart.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: Mutex<Option<HashMap<String, Arc<OnceLock<PathBuf>>>>> = Mutex::new(None);
    let cell = Arc::clone(BUILT.lock().unwrap().get_or_insert_default().entry(name.to_owned()).or_default());
    cell.get_or_init(|| build(name)).clone()
}

fn build(name: &str) -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let target = workspace.join("target/guests");
    let mut command = Command::new(workspace.join("guest-sdk/wasm-std"));
    command.args(["build", "-p", name]).current_dir(workspace).env("CARGO_TARGET_DIR", &target);
    let output = command.output().unwrap_or_else(|error| panic!("cannot run guest-sdk/wasm-std: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "guest-sdk/wasm-std build -p {name} failed:\n{said}");
    let file = format!("{}.wasm", name.replace('-', "_"));
    target.join("wasm32-unknown-unknown/guest").join(file)
}

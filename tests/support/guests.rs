//! Processors as WASM, built with `guest-sdk/wasm-std` once by each test program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// All that any suite needs; one call of Cargo is quicker than one for each.
pub(crate) const CRATES: [&str; 6] =
    ["es-indexer", "visit-rows", "form-metadata-tracker", "cache-invalidation", "ucr-row-builder", "hostile"];

/// The module of the workspace's crate `name`.
pub(crate) fn guest(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let module = BUILT.get_or_init(build).join(format!("{}.wasm", name.replace('-', "_")));
    assert!(module.is_file(), "{} was not built", module.display());
    module
}

/// The workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn build() -> PathBuf {
    let target = workspace().join("target/guests");
    let mut command = Command::new(workspace().join("guest-sdk/wasm-std"));
    command.arg("build").current_dir(workspace()).env("CARGO_TARGET_DIR", &target);
    CRATES.iter().for_each(|name| {
        command.args(["-p", name]);
    });
    let output = command.output().unwrap_or_else(|error| panic!("cannot run guest-sdk/wasm-std: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "guest-sdk/wasm-std build failed:\n{said}");
    target.join("wasm32-unknown-unknown/guest")
}

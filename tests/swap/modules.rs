//! The modules that are swapped: the guest that misbehaves as it is told, versions of it, and what is no processor.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The version that is compiled into the module with a stamp; others are made of it by putting theirs in its place.
const STAMP: &str = "stamped-00";

/// The module whose version is told by its configuration.
pub(crate) fn hostile() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| build(Path::new("target/guests"), None))
}

/// A module whose version is compiled in: `stamped-NN`.
pub(crate) fn stamped(version: &str) -> Vec<u8> {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    let built = BUILT.get_or_init(|| build(Path::new("target/guests-stamped"), Some(STAMP)));
    assert_eq!(version.len(), STAMP.len());
    let places: Vec<usize> = built
        .windows(STAMP.len())
        .enumerate()
        .filter(|(_, text)| *text == STAMP.as_bytes())
        .map(|(at, _)| at)
        .collect();
    assert!(!places.is_empty(), "the stamp is not in the module");
    let mut module = built.clone();
    places.iter().for_each(|at| module[*at..*at + STAMP.len()].copy_from_slice(version.as_bytes()));
    module
}

/// One of `tests/guests/*.wat`.
pub(crate) fn text(name: &str) -> Vec<u8> {
    wat::parse_file(workspace().join("tests/guests").join(name)).unwrap()
}

/// Builds the guest. Cargo's own lock keeps several programs apart.
fn build(target: &Path, stamp: Option<&str>) -> Vec<u8> {
    let target = workspace().join(target);
    let mut command = Command::new(workspace().join("guest-sdk/wasm-std"));
    command.args(["build", "-p", "hostile"]).current_dir(workspace()).env("CARGO_TARGET_DIR", &target);
    match stamp {
        Some(stamp) => command.env("STAMP", stamp),
        None => command.env_remove("STAMP"),
    };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(target.join("wasm32-unknown-unknown/guest/hostile.wasm")).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

//! How `wasm-std` decides, on machines made of scripts that pretend to be rustup and the compilers.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

const TARGET: &str = "lib/rustlib/wasm32-unknown-unknown/lib";

/// A machine with rustup, whose toolchain has a linker, and with nothing else.
struct Machine {
    folder: TempDir,
}

/// What a run said.
struct Said {
    success: bool,
    out: String,
    err: String,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        machine.script(
            "bin/rustup",
            r#"case "$1" in which) echo "$HERE/rustup/rustc";; *) echo "$@" >> "$HERE/asked"; exit 1;; esac"#,
        );
        machine.compiler("rustup/rustc", "rustup/sysroot");
        machine.file("rustup/sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld");
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn file(&self, path: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "").unwrap();
    }

    fn script(&self, path: &str, text: &str) {
        self.file(path);
        let here = self.folder.path().display();
        fs::write(self.path(path), format!("#!/bin/sh\nHERE='{here}'\n{text}\n")).unwrap();
        fs::set_permissions(self.path(path), fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn compiler(&self, path: &str, sysroot: &str) {
        let text =
            r#"case "$1" in --print) echo "$HERE/SYSROOT";; *) echo "rustc 9.9.9 (abcdef 2026-01-01) (Debian)";; esac"#;
        self.script(path, &text.replace("SYSROOT", sysroot));
    }

    fn with_rustups_target(self) -> Self {
        self.file(&format!("rustup/sysroot/{TARGET}/libstd-1234.rlib"));
        self
    }

    fn whose_rustup_can_add(self) -> Self {
        let add =
            format!(r#"mkdir -p "$HERE/rustup/sysroot/{TARGET}"; : > "$HERE/rustup/sysroot/{TARGET}/libstd-1.rlib""#);
        self.script("bin/rustup", &format!(r#"case "$1" in which) echo "$HERE/rustup/rustc";; *) {add};; esac"#));
        self
    }

    fn with_debian_built(self) -> Self {
        self.compiler("debian/rustc", "debian/sysroot");
        self.file("cache/pillowtop/wasm-std-9.9.9-abcdef/complete");
        self
    }

    fn run(&self, variables: &[(&str, &str)]) -> Said {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("wasm-std");
        let output = Command::new(script)
            .arg("env")
            .env_clear()
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env("HOME", self.folder.path())
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("PILLOWTOP_DEBIAN_RUSTC", self.path("debian/rustc"))
            .envs(variables.iter().copied())
            .current_dir(self.folder.path())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes).unwrap().replace(&self.folder.path().display().to_string(), "$HERE")
        };
        Said { success: output.status.success(), out: text(output.stdout), err: text(output.stderr) }
    }
}

const RUSTUP: &str = "export RUSTC='$HERE/rustup/rustc'\nexport CARGO_ENCODED_RUSTFLAGS='-Ctarget-feature=+simd128'\n";
const DEBIAN: &str = "export RUSTC='$HERE/debian/rustc'\nexport CARGO_ENCODED_RUSTFLAGS='-Ctarget-feature=+simd128\x1f\
    --sysroot=$HERE/cache/pillowtop/wasm-std-9.9.9-abcdef\x1f\
    -Clinker=$HERE/rustup/sysroot/lib/rustlib/x86_64-unknown-linux-gnu/bin/rust-lld'\n";

fn check(machine: &Machine, forced: Option<&str>, out: &str, err: &str) {
    let forced: Vec<(&str, &str)> = forced.map(|way| ("PILLOWTOP_WASM_STD", way)).into_iter().collect();
    let said = machine.run(&forced);
    assert!(said.success, "{}", said.err);
    assert_eq!(said.out, out);
    assert!(said.err.contains(err), "{}", said.err);
    assert_eq!(said.err.lines().filter(|line| line.contains(" of rustc ") || line.contains("Debian's")).count(), 1);
}

#[test]
fn rustups_own_target_is_taken_where_it_is_installed() {
    let machine = Machine::new().with_rustups_target().with_debian_built();
    check(&machine, None, RUSTUP, "rustup's wasm32-unknown-unknown of rustc 9.9.9");
    assert!(!machine.path("asked").exists());
}

#[test]
fn debians_is_taken_without_asking_the_network_where_it_was_compiled() {
    let machine = Machine::new().with_debian_built();
    check(&machine, None, DEBIAN, "standard library compiled earlier in $HERE/cache/pillowtop/wasm-std-9.9.9-abcdef");
    assert!(!machine.path("asked").exists());
}

#[test]
fn rustup_adds_the_target_where_it_can() {
    check(&Machine::new().whose_rustup_can_add(), None, RUSTUP, "trying rustup target add");
}

#[test]
fn either_way_can_be_insisted_on() {
    check(&Machine::new().with_rustups_target().with_debian_built(), Some("debian"), DEBIAN, "compiled earlier");
    check(&Machine::new().whose_rustup_can_add().with_debian_built(), Some("rustup"), RUSTUP, "trying rustup");
}

#[test]
fn what_to_do_is_said_where_neither_way_is_open() {
    for (way, says) in [
        (
            "any",
            "Either let rustup fetch it (rustup target add wasm32-unknown-unknown), or install Debian's sources: \
                 apt-get install --no-install-recommends rustc-web rust-web-src",
        ),
        ("rustup", "this rustup has no wasm32-unknown-unknown and cannot add it"),
        ("debian", "are missing: apt-get install --no-install-recommends rustc-web rust-web-src"),
        ("gentoo", "PILLOWTOP_WASM_STD must be rustup or debian, not 'gentoo'"),
    ] {
        let said = Machine::new().run(&[("PILLOWTOP_WASM_STD", way)]);
        assert!(!said.success && said.out.is_empty(), "{way}: {}", said.out);
        assert!(said.err.contains(says), "{way}: {}", said.err);
    }
}

#[test]
fn flags_of_the_caller_are_kept_and_ours_are_not_doubled() {
    let machine = Machine::new().with_debian_built();
    let first = machine.run(&[("RUSTFLAGS", "-Dwarnings -Cdebuginfo=1")]);
    assert!(first.out.ends_with("/rust-lld\x1f-Dwarnings\x1f-Cdebuginfo=1'\n"), "{}", first.out);
    let flags = first.out.rsplit_once("RUSTFLAGS='").unwrap().1.trim_end_matches("'\n");
    let again = machine.run(&[("CARGO_ENCODED_RUSTFLAGS", flags)]);
    assert_eq!(again.out, first.out);
}

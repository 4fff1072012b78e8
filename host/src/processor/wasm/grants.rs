//! What a processor may import, and the words with which everything else is refused.

use std::collections::BTreeMap;
use std::path::Path;

use super::inspect::{Import, Inspection, Kind, PACKAGE, VERSION};
use crate::processor::StartError;

/// How many functions of a foreign module are named.
const NAMED: usize = 3;

/// What the manifest grants to a processor; beyond that it has its documents and nothing else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants {
    /// It may write to the host's log.
    pub log: bool,
    /// The look-ups that it may ask, by the names that it uses.
    pub lookups: Vec<String>,
}

/// Refuses a file that is no processor of this contract, or that imports what it was not granted. All that is wrong is
/// said at once.
pub(super) fn check(path: &Path, inspection: &Inspection, grants: &Grants) -> Result<(), StartError> {
    let mut wrong = imports(&inspection.imports, grants);
    if inspection.kind == (Kind::Module { typed: false }) {
        wrong.push(
            "it was not built with the pillowtop SDK: it has no component-type section (a tool that strips custom \
             sections removes it)"
                .to_owned(),
        );
    } else {
        match inspection.contract.as_deref() {
            Some(VERSION) => {}
            Some(found) => wrong.push(format!(
                "it exports version {found} of {PACKAGE}guest, and this host serves {VERSION}: build it with the SDK \
                 of this host's version"
            )),
            None => wrong.push(format!("it exports no {PACKAGE}guest@{VERSION}, so it is no processor")),
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(StartError::Module(format!("{} is refused: {}", path.display(), wrong.join("; "))))
}

/// One line for each interface that is not granted.
fn imports(imports: &[Import], grants: &Grants) -> Vec<String> {
    let mut interfaces: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for import in imports {
        interfaces.entry(&import.interface).or_default().extend(import.item.as_deref());
    }
    interfaces.into_iter().filter_map(|(interface, items)| refuse(interface, &items, grants)).collect()
}

fn refuse(interface: &str, items: &[&str], grants: &Grants) -> Option<String> {
    if let Some(name) = interface.strip_prefix(PACKAGE) {
        return refuse_own(interface, name, grants);
    }
    let mut what = interface.to_owned();
    if !items.is_empty() {
        let more = if items.len() > NAMED { ", …" } else { "" };
        what = format!("{interface}.{{{}{more}}}", items[..items.len().min(NAMED)].join(", "));
    }
    Some(format!("it imports {what}, which no processor is given; {}", remedy(interface)))
}

fn refuse_own(interface: &str, name: &str, grants: &Grants) -> Option<String> {
    let Some(name) = name.strip_suffix(VERSION).and_then(|name| name.strip_suffix('@')) else {
        return Some(format!("it imports {interface}, and this host serves version {VERSION}"));
    };
    match name {
        "types" => None,
        "log" if grants.log => None,
        "log" => Some(format!("it imports {interface}, which is not granted: add `log` to the processor's `grants`")),
        "lookup" if !grants.lookups.is_empty() => None,
        "lookup" => Some(format!(
            "it imports {interface}, which is not granted: name the look-ups that it may ask in the manifest"
        )),
        _ => Some(format!("it imports {interface}, which this contract does not have")),
    }
}

/// What removes an import, by the tools that are known to bring it.
fn remedy(interface: &str) -> &'static str {
    if interface.starts_with("wasi") {
        "build it without WASI: for wasm32-unknown-unknown (Rust), with --stub-wasi (componentize-py, componentize-qjs), \
         with disableFeatures for all of random, stdio, clocks, http and fetch-event (componentize-js), or with an \
         adapter that answers without importing (Go, C)"
    } else if interface.starts_with("__wbindgen") || interface == "wbg" {
        "it is glue for JavaScript: switch off the feature that brings wasm-bindgen (`wasmbind` of chrono, `js` of uuid, \
         `wasm_js` of getrandom)"
    } else if interface == "env" {
        "it is a symbol that the linker left undefined: link the library that defines it, or switch off the feature \
         that calls it"
    } else {
        "remove the code that needs it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_imports(names: &[(&str, Option<&str>)], grants: &Grants, expected: &[&str]) {
        let all: Vec<Import> = names
            .iter()
            .map(|(interface, item)| Import { interface: (*interface).into(), item: item.map(str::to_owned) })
            .collect();
        let found = imports(&all, grants);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (line, expected) in found.iter().zip(expected) {
            assert!(line.contains(expected), "{line:?} does not say {expected:?}");
        }
    }

    #[test]
    fn what_is_granted_may_be_imported() {
        let both = Grants { log: true, lookups: vec!["cases".into()] };
        let names = [
            ("pillowtop:processor/types@0.1.0", None),
            ("pillowtop:processor/log@0.1.0", None),
            ("pillowtop:processor/lookup@0.1.0", Some("fetch")),
        ];
        check_imports(&names, &both, &[]);
        check_imports(&names, &Grants::default(), &["add `log`", "name the look-ups"]);
    }

    #[test]
    fn an_import_of_another_version_is_refused() {
        let all = Grants { log: true, lookups: Vec::new() };
        check_imports(
            &[("pillowtop:processor/log@0.2.0", None)],
            &all,
            &["log@0.2.0, and this host serves version 0.1.0"],
        );
        check_imports(&[("pillowtop:processor/clock@0.1.0", None)], &all, &["which this contract does not have"]);
    }

    #[test]
    fn a_foreign_import_is_named_with_what_removes_it() {
        let names = [
            ("env", Some("sqlite3_open")),
            ("wasi_snapshot_preview1", Some("fd_write")),
            ("wasi_snapshot_preview1", Some("fd_read")),
            ("wasi_snapshot_preview1", Some("fd_close")),
            ("wasi_snapshot_preview1", Some("proc_exit")),
            ("wasi:clocks/wall-clock@0.2.6", None),
            ("__wbindgen_placeholder__", Some("__wbindgen_describe")),
            ("acme:db/sql", None),
        ];
        let expected = [
            "__wbindgen_placeholder__.{__wbindgen_describe}, which no processor is given; it is glue for JavaScript",
            "acme:db/sql, which no processor is given; remove",
            "env.{sqlite3_open}, which no processor is given; it is a symbol",
            "wasi:clocks/wall-clock@0.2.6, which no processor is given; build it without WASI",
            "wasi_snapshot_preview1.{fd_write, fd_read, fd_close, …}, which",
        ];
        check_imports(&names, &Grants::default(), &expected);
    }
}

//! Reads what a WASM file is, imports and exports, without compiling it.

use std::path::Path;

use sha2::{Digest as _, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::model::Digest;
use crate::processor::StartError;

/// The contract's package, and the version of it that this host serves.
pub(super) const PACKAGE: &str = "pillowtop:processor/";
pub(super) const VERSION: &str = "0.1.0";

/// Files above this are not read: the largest processor known, a whole Python, has 18 MB.
const FILE_BYTES: u64 = 512 << 20;

/// What a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// A core module or a component.
    pub kind: Kind,
    /// Bytes of the file.
    pub size: usize,
    /// The SHA-256 of the file.
    pub digest: Digest,
    /// The version of the contract that it exports, if it exports one.
    pub contract: Option<String>,
    /// What it imports, in the order of the file.
    pub imports: Vec<Import>,
    /// The names that it exports.
    pub exports: Vec<String>,
}

/// The two kinds of WASM files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A core module: what a compiler writes.
    Module {
        /// Whether it carries the types of its world, so that a component can be made of it.
        typed: bool,
    },
    /// A component.
    Component,
}

/// One import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// The interface of a component, or the module's name of a core module's import.
    pub interface: String,
    /// The function of a core module's import.
    pub item: Option<String>,
}

/// Reads the file at `path` and says what it is.
///
/// # Errors
/// When the file cannot be read or is no WASM.
pub fn inspect(path: &Path) -> Result<Inspection, StartError> {
    inspect_bytes(path, &read(path)?)
}

/// Reads a module's file. Blocks.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, StartError> {
    let refused = |reason: String| StartError::Module(format!("could not read {}: {reason}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > FILE_BYTES {
        return Err(refused(format!("it has {size} bytes, and {FILE_BYTES} is the limit")));
    }
    std::fs::read(path).map_err(|error| refused(error.to_string()))
}

/// What `bytes` are; `path` is named in errors.
pub(super) fn inspect_bytes(path: &Path, bytes: &[u8]) -> Result<Inspection, StartError> {
    let refused = |reason: &str| StartError::Module(format!("{} is no WASM file: {reason}", path.display()));
    if bytes.is_empty() {
        return Err(refused("it is empty"));
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(refused("it does not begin with the bytes that every WASM file begins with"));
    }
    let kind = match bytes.get(4..8) {
        None => return Err(refused("it ends within its header")),
        Some([1, 0, 0, 0]) => Kind::Module { typed: false },
        Some([0x0d, 0, 1, 0]) => Kind::Component,
        Some(other) => return Err(refused(&format!("this host does not know its version {other:?}"))),
    };
    let mut inspection = Inspection {
        kind,
        size: bytes.len(),
        digest: Digest(Sha256::digest(bytes).into()),
        contract: None,
        imports: Vec::new(),
        exports: Vec::new(),
    };
    read_sections(bytes, &mut inspection).map_err(|error| refused(&error.to_string()))?;
    inspection.contract = inspection.exports.iter().find_map(|name| contract_of(name));
    Ok(inspection)
}

/// Collects the outermost imports and exports; those of nested modules and components are their own affair.
fn read_sections(bytes: &[u8], into: &mut Inspection) -> wasmparser::Result<()> {
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload? {
            Payload::Version { encoding: Encoding::Module | Encoding::Component, .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            _ if depth > 1 => {}
            Payload::ImportSection(section) => {
                for import in section.into_imports() {
                    let import = import?;
                    let item = Some(import.name.to_owned());
                    into.imports.push(Import { interface: import.module.to_owned(), item });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    into.exports.push(export?.name.to_owned());
                }
            }
            Payload::ComponentImportSection(section) => {
                for import in section {
                    into.imports.push(Import { interface: import?.name.name.to_owned(), item: None });
                }
            }
            Payload::ComponentExportSection(section) => {
                for export in section {
                    into.exports.push(export?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) if section.name().starts_with("component-type") => {
                if let Kind::Module { typed } = &mut into.kind {
                    *typed = true;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The version in `pillowtop:processor/guest@VERSION`, with the `#function` of a core module's export.
fn contract_of(export: &str) -> Option<String> {
    let guest = export.strip_prefix(PACKAGE)?.strip_prefix("guest@")?;
    Some(guest.split('#').next().unwrap_or(guest).to_owned())
}

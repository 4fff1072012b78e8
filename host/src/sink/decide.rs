//! What a write does to a document of an index, as a pure decision: both search sinks follow it.
//!
//! **Whole documents.** A write with a lower version than the document or tombstone has is passed over; with an equal
//! one it is done again.
//!
//! **Shared by fields.** Several processors own top-level fields of the same document. Merges are done as they arrive,
//! because versions of different owners say nothing about each other. An `index` write replaces all fields of its
//! owner and leaves the others'; it raises the document's version, and a `delete` with a lower one is passed over. No
//! write with a lower version than a tombstone's brings its document back.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::{Map, Value};

use super::search::merge::{edit_list, merge};
use crate::model::{IfAbsent, ListEdit, Write, WriteVersion};

/// The top-level fields of each owner; none: an index of whole documents.
pub(super) type Owners = Vec<BTreeSet<String>>;

/// A document or tombstone of the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) version: WriteVersion,
    /// None: a tombstone.
    pub(super) source: Option<Bytes>,
}

/// What a write makes of its document.
#[derive(Debug, PartialEq)]
pub(super) enum Decision {
    /// Nothing: it is outdated, or has nothing to act on.
    Nothing,
    /// The document is this now.
    Put(WriteVersion, Bytes, Map<String, Value>),
    /// The document is gone.
    Bury(WriteVersion),
}

/// What `write` does where `known` is.
///
/// # Errors
/// Why the write is refused.
pub(super) fn decide(
    owners: &Owners,
    known: Option<Known>,
    version: WriteVersion,
    write: &Write,
) -> Result<Decision, String> {
    let shared = !owners.is_empty();
    let stands = known.as_ref().map_or(WriteVersion(0), |known| known.version);
    let buried = known.as_ref().is_some_and(|known| known.source.is_none());
    let passed_over = version < stands && (!shared || buried || matches!(write, Write::Delete { .. }));
    if passed_over {
        return Ok(Decision::Nothing);
    }
    let source = known.and_then(|known| known.source);
    match write {
        Write::Delete { .. } => Ok(Decision::Bury(version)),
        Write::Index(target) if !shared => {
            let document = parse(&target.document)?;
            Ok(Decision::Put(version, target.document.clone(), document))
        }
        Write::Index(target) => {
            let fields = parse(&target.document)?;
            let mut document = source.map_or_else(|| Ok(Map::new()), |source| parse(&source))?;
            let owner = owner(owners, fields.keys())?;
            document.retain(|name, _| !owner.contains(name));
            document.extend(fields);
            Ok(put(version.max(stands), document))
        }
        Write::Merge { target, lists, if_absent } => {
            let fields = parse(&target.document)?;
            if shared {
                owner(owners, fields.keys().chain(lists.iter().filter_map(|edit| edit.path.first())))?;
            }
            let document = match (source, if_absent) {
                (Some(source), _) => parse(&source)?,
                (None, IfAbsent::Create) => Map::new(),
                (None, IfAbsent::Ignore) => return Ok(Decision::Nothing),
            };
            let version = if shared { stands } else { version };
            Ok(put(version, merged(document, fields, lists)?))
        }
        Write::Rows { .. } | Write::Publish(_) | Write::Invalidate { .. } => Ok(Decision::Nothing),
    }
}

/// The owners with what `declared` adds.
///
/// # Errors
/// One line for each thing that contradicts what is there.
pub(super) fn extend_owners(known: &Owners, declared: &Owners) -> Result<Owners, Vec<String>> {
    let mut problems = Vec::new();
    let mut owners = known.clone();
    match (known.is_empty(), declared.is_empty()) {
        (false, true) => problems.push("it is shared by fields and cannot become one of whole documents".to_owned()),
        (true, false) => problems.push("it is one of whole documents and cannot become shared by fields".to_owned()),
        _ => {}
    }
    for declared in declared.iter().filter(|declared| !known.contains(declared)) {
        // The same owner, grown or shrunk: nothing says who declares, only what.
        owners.retain(|known| !known.is_subset(declared) && !known.is_superset(declared));
        if let Some(field) = owners.iter().find_map(|known| known.intersection(declared).next()) {
            problems.push(format!("field {field} already has another owner"));
        }
        owners.push(declared.clone());
    }
    if problems.is_empty() { Ok(owners) } else { Err(problems) }
}

/// A document as an object.
///
/// # Errors
/// Says what it is not.
pub(super) fn parse(document: &[u8]) -> Result<Map<String, Value>, String> {
    serde_json::from_slice(document).map_err(|error| format!("the document is not a JSON object: {error}"))
}

fn put(version: WriteVersion, document: Map<String, Value>) -> Decision {
    let value = Value::Object(document);
    let source = Bytes::from(value.to_string());
    let Value::Object(document) = value else { return Decision::Nothing };
    Decision::Put(version, source, document)
}

fn merged(
    mut document: Map<String, Value>,
    fields: Map<String, Value>,
    lists: &[ListEdit],
) -> Result<Map<String, Value>, String> {
    merge(&mut document, fields);
    lists.iter().try_for_each(|edit| edit_list(&mut document, edit))?;
    Ok(document)
}

/// The one owner of all `names`.
fn owner<'a>(owners: &'a Owners, names: impl Iterator<Item = &'a String>) -> Result<&'a BTreeSet<String>, String> {
    let mut found: Option<&BTreeSet<String>> = None;
    for name in names {
        let Some(owner) = owners.iter().find(|owner| owner.contains(name)) else {
            return Err(format!("no processor has declared that it owns field {name}"));
        };
        if found.is_some_and(|found| found != owner) {
            return Err(format!("field {name} belongs to another processor than the write's other fields"));
        }
        found = Some(owner);
    }
    found.ok_or_else(|| "a write to a shared index has at least one field".to_owned())
}

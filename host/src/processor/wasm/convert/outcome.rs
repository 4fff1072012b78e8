//! One outcome of a guest, checked as a whole.

use std::sync::Arc;

use super::Refusal;
use super::write::{Checked, Declared, UNDECLARED, title};
use crate::model::{FailureKind, Item, Outcome, PartFailure, RetryHelps, Want, Write};
use crate::processor::wasm::bindings::pillowtop::processor::types as contract;
use crate::processor::wasm::limits::Limits;
use crate::processor::wasm::log::cut;

/// Bytes of a reason or a message that are kept; they end in a table and in listings.
const TEXT_BYTES: usize = 4096;

/// The outcome for `item`, and about how many bytes it holds. What the guest may not answer becomes the failure of the
/// part that it concerns, or of the change.
pub(crate) fn outcome(given: contract::Outcome, item: &Item, declared: &Declared, limits: &Limits) -> (Outcome, usize) {
    match given {
        contract::Outcome::Skip(reason) => {
            let reason = kept(reason);
            let size = reason.len();
            (Outcome::Skip(reason), size)
        }
        contract::Outcome::Done(given) => done(given, item, declared, limits),
        contract::Outcome::Need(wants) => match need(wants, declared, limits) {
            Ok((wants, size)) => (Outcome::Need(wants), size),
            Err(refusal) => (Outcome::Failed(refused(None, refusal)), 0),
        },
        contract::Outcome::Failed(given) => {
            let failure = failure(None, given);
            let size = failure.message.len();
            (Outcome::Failed(failure), size)
        }
    }
}

fn done(given: contract::Done, item: &Item, declared: &Declared, limits: &Limits) -> (Outcome, usize) {
    let mut failures = Vec::with_capacity(given.failures.len());
    for given in given.failures {
        if !declared.parts.contains(&given.part) {
            let reason = format!("failure of part `{}` is refused: {UNDECLARED}", cut(&given.part, 80));
            return (Outcome::Failed(refused(None, Refusal::wrong(reason))), 0);
        }
        failures.push(failure(Some(given.part), given.failure));
    }
    let total = given.writes.len();
    let (mut size, mut count) = (0, 0);
    let mut writes: Vec<Write> = Vec::with_capacity(total.min(limits.writes_per_change));
    let mut refused_parts: Vec<&str> = Vec::new();
    for (at, given) in given.writes.into_iter().enumerate() {
        let (kind, name) = title(&given);
        let Some(target) = declared.target(&given) else {
            let reason = format!("write {} of {total} ({kind} `{}`) is refused: {UNDECLARED}", at + 1, cut(name, 80));
            return (Outcome::Failed(refused(None, Refusal::wrong(reason))), 0);
        };
        match declared.write(given, &item.change.key.id, limits) {
            Ok(Checked { write, size: bytes, count: counted }) => {
                (size, count) = (size + bytes, count + counted);
                writes.push(write);
            }
            Err(Refusal { kind: class, reason }) => {
                let reason = format!("write {} of {total} ({kind} `{}`) is refused: {reason}", at + 1, target.name);
                let refusal = Refusal { kind: class, reason };
                let Some(part) = target.part else {
                    return (Outcome::Failed(refused(None, refusal)), 0);
                };
                if !refused_parts.contains(&part) {
                    failures.retain(|failure| failure.part.as_deref() != Some(part));
                    failures.push(refused(Some(part.to_owned()), refusal));
                    refused_parts.push(part);
                }
            }
        }
        if count > limits.writes_per_change {
            let reason = format!("more than {} writes and rows for one change", limits.writes_per_change);
            return (Outcome::Failed(refused(None, Refusal::too_much(reason))), 0);
        }
    }
    if !refused_parts.is_empty() {
        // A part is written as a whole or not at all.
        writes.retain(|write| declared.part_of(write).is_none_or(|part| !refused_parts.contains(&part)));
    }
    (Outcome::Done { writes, failures }, size)
}

fn need(given: Vec<contract::Want>, declared: &Declared, limits: &Limits) -> Result<(Vec<Want>, usize), Refusal> {
    if given.is_empty() {
        return Err(Refusal::wrong("`need` asks for nothing"));
    }
    let count = given.len();
    let size: usize = given.iter().map(|want| want.key.len()).sum();
    if count > limits.writes_per_change || size > limits.write_bytes {
        return Err(Refusal::too_much(format!("`need` asks for {count} keys of {size} bytes")));
    }
    let mut wants = Vec::with_capacity(count);
    for contract::Want { lookup, key } in given {
        let Some(lookup) = declared.lookups.get(lookup.as_str()) else {
            return Err(Refusal::wrong(format!("`need` asks look-up `{}`: {UNDECLARED}", cut(&lookup, 80))));
        };
        wants.push(Want { lookup: Arc::clone(lookup), key: Arc::from(key) });
    }
    Ok((wants, size))
}

fn failure(part: Option<String>, given: contract::Failure) -> PartFailure {
    let kind = match given.kind {
        contract::FailureKind::InvalidInput => FailureKind::InvalidInput,
        contract::FailureKind::DocumentMissing => FailureKind::DocumentMissing,
        contract::FailureKind::Other => FailureKind::Guest,
        contract::FailureKind::Deferred => FailureKind::Deferred,
    };
    let retry = if given.retry_can_help { RetryHelps::Perhaps } else { RetryHelps::No };
    PartFailure { part, kind, message: kept(given.message), retry }
}

/// Asking the same code for the same document again would be answered the same.
fn refused(part: Option<String>, refusal: Refusal) -> PartFailure {
    PartFailure { part, kind: refusal.kind, message: refusal.reason, retry: RetryHelps::No }
}

fn kept(mut text: String) -> String {
    text.truncate(cut(&text, TEXT_BYTES).len());
    text
}

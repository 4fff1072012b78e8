//! How a call that did not come to an answer is told: the runtime's error in words, and which kind of fault it is.

use wasmtime::Trap;

use super::engine::in_one_line;
use super::imports::LookupError;
use super::limits::Exceeded;
use crate::processor::{Fault, FaultKind};

pub(super) fn fault(error: &wasmtime::Error, last_log: Option<String>) -> Fault {
    let (kind, message) = if let Some(exceeded) = error.downcast_ref::<Exceeded>() {
        (FaultKind::Limit, format!("processor {exceeded}"))
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        (FaultKind::Trap, format!("processor crashed: {}", words(*trap)))
    } else if let Some(lookup) = error.downcast_ref::<LookupError>() {
        (FaultKind::Trap, lookup.to_string())
    } else {
        // What is left is what the runtime says of values: lists beyond the memory, texts that are no UTF-8, unknown
        // variants, more data than one answer may have.
        (FaultKind::BadAnswer, format!("processor broke the contract: {}", in_one_line(error)))
    };
    Fault { kind, message, last_log }
}

fn words(trap: Trap) -> String {
    match trap {
        Trap::UnreachableCodeReached => "it gave up, by a panic or an abort".to_owned(),
        Trap::MemoryOutOfBounds => "memory access out of bounds, which endless recursion ends in, too".to_owned(),
        Trap::StackOverflow => "the stack is exhausted, by endless recursion most likely".to_owned(),
        other => {
            let said = other.to_string();
            said.strip_prefix("wasm trap: ").unwrap_or(&said).to_owned()
        }
    }
}

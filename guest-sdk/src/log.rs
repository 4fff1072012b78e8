//! Lines for the host's log. While a change is processed, its index goes with them.
//!
//! Importing `log` has to be granted in the manifest (`grants = ["log"]`). Keep to what an operator can act on: the
//! host limits how much a call may log.

use std::fmt::Display;

use crate::runtime;

/// How important a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// For the author.
    Debug,
    /// Worth knowing.
    Info,
    /// Look when you can.
    Warn,
    /// Somebody must act.
    Error,
}

/// For the author of the processor.
pub fn debug(message: impl Display) {
    write(Level::Debug, message);
}

/// Worth knowing.
pub fn info(message: impl Display) {
    write(Level::Info, message);
}

/// Look when you can.
pub fn warn(message: impl Display) {
    write(Level::Warn, message);
}

/// Somebody must act.
pub fn error(message: impl Display) {
    write(Level::Error, message);
}

/// Writes a line.
pub fn write(level: Level, message: impl Display) {
    emit(level, runtime::current_index(), &message.to_string());
}

#[cfg(target_arch = "wasm32")]
fn emit(level: Level, change: Option<u32>, message: &str) {
    use crate::bindings::pillowtop::processor::{log, types};
    let level = match level {
        Level::Debug => types::Level::Debug,
        Level::Info => types::Level::Info,
        Level::Warn => types::Level::Warn,
        Level::Error => types::Level::Error,
    };
    log::write(level, change, message);
}

#[cfg(not(target_arch = "wasm32"))]
fn emit(level: Level, change: Option<u32>, message: &str) {
    crate::testing::record(level, change, message);
}

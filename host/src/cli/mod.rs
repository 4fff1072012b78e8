//! The command line: one command per file.

pub mod check;
pub mod environment;

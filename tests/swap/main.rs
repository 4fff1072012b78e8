//! What runs equals what is on disk: swaps under load, every way that a file changes, and what operators see and do,
//! through the real binary.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking, its helpers too")]
#![allow(clippy::print_stdout, reason = "a test prints what it measured, and what the host said when it fails")]

mod counting;
#[path = "../support/embedded.rs"]
mod embedded;
mod files;
mod load;
mod modules;
mod operating;
mod settings;
mod world;

//! What the suites that run the real program share: a folder to run it in, processors, documents, and waiting.
//!
//! Suites include this file with `#[path]`; each uses its part.
#![allow(dead_code, reason = "each suite uses its part")]

pub(crate) mod documents;
pub(crate) mod embedded;
pub(crate) mod guests;
pub(crate) mod pillows;
pub(crate) mod site;
pub(crate) mod wait;

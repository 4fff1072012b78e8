//! pillowtop: change feeds to search indices and tables, through WASM processors that are swapped live.
//!
//! The `mod` lines below are the table of contents, bottom-up; blank lines split them into floors. A room uses the
//! floors above its line, never its neighbours, and only through their front doors: `tests/rooms.rs` holds that.

pub mod model;

pub mod fault;
pub mod http;
pub mod metrics;
pub mod sql;
pub mod yaml;

pub mod traces;

pub mod checkpoint;
pub mod documents;
pub mod feed;
pub mod processor;
pub mod sink;

pub mod replay;

pub mod manifest;
pub mod pipeline;

pub mod control;

pub mod admin;

pub mod cli;

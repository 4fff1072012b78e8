//! Makes documents of a search index from CommCare's documents, or from any document as it is.
//!
//! The core is pure: a checked [`config::Config`] and a change in, an [`indexer::Action`] out. Unknown fields and the
//! digits of numbers are passed on as they stand. It promises not to panic, whatever the document is.

pub mod config;
pub mod indexer;
pub mod mapping;

pub mod app;
pub mod case;
pub mod case_search;
pub mod domain;
pub mod form;
pub mod group_members;
pub mod plain;
pub mod user;

pub mod case_block;
pub mod countries;
pub mod user_type;

mod processor;

pub use commcare::{build, date, geo, lookups, object, version_text};
pub use processor::EsIndexer;

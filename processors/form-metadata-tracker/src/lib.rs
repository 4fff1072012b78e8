//! Keeps what a project wants to know about its users' phones: the last submission and the last sync of each user and
//! app, the builds and devices in use, and which builds have submissions at all.
//!
//! The core is pure: a document in, an [`event::Event`] out ([`event`]), and the rule that says when a later one counts
//! ([`rule`]). What rows and merges become of it is in [`tables`] and [`user_index`].

pub mod config;
pub mod event;
pub mod moment;
pub mod rule;
pub mod tables;
pub mod user_index;

mod processor;

pub use processor::FormMetadataTracker;

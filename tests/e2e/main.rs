//! The real program from end to end: documents are published, pillows run, and what tables and indices hold is compared
//! with what the documents say.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: helpers outside of test functions are not exempt")]

mod admin;
mod backfill;
mod cli;
mod commcare;
mod database;
mod data_sources;
mod elasticsearch;
mod embedded;
mod hosts;
mod kafka;
mod look_ups;
mod postgres_host;
mod queue;
mod rebuild;
mod stopping;
mod traces;
mod ucr;
mod ucr_cases;
mod ucr_rebuild;

#[path = "../kafka/broker.rs"]
mod broker;
#[path = "../support/couchdb.rs"]
mod couchdb;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/mod.rs"]
mod support;

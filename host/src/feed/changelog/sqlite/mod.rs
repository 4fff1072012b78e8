//! The change log in a SQLite file. Writers are serial there, so the order of ids is the order of commits.

mod publish;
mod rows;
mod schema;
mod wake;

pub(super) use publish::write;
pub(super) use rows::{ends, heads, read_page};
pub(super) use schema::{create_documents_table, create_tables, find};
pub(super) use wake::{Events, Watched};

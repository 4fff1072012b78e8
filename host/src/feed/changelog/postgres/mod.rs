//! The change log in PostgreSQL, where transactions do not commit in the order in which they began.
//!
//! A row carries the number of its transaction, and is read when no transaction with a lower number, or the same, is
//! open any more: `xid < pg_snapshot_xmin(pg_current_snapshot())`. Nothing can be committed below that line afterwards,
//! so the order (transaction, id) is final there, and a place in it says all that was read.
//!
//! Transactions are numbered by their cluster. A log that was moved to another one, by a dump or an upgrade, holds
//! numbers that mean nothing there; so the log remembers whose numbers they are, and is stamped anew when that is
//! another cluster, or another database of it (see `schema`).

mod publish;
mod rows;
mod schema;
mod wake;

pub(super) use publish::write;
pub(super) use rows::{ends, heads, read_page};
pub(super) use schema::{create_documents_table, create_tables, find, moved};
pub(super) use wake::{listen, tail};

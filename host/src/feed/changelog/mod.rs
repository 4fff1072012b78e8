//! The change log: a transactional outbox that pillows read directly, in SQLite or PostgreSQL.
//!
//! An application writes one more line of SQL in the transaction of its document, and no change is ever lost between
//! its commit and its publication:
//!
//! ```sql
//! insert into change_log (topic, document_id, change) values ('form-sql', ?1, ?2)
//! ```
//!
//! `change` is the JSON message of a change (`document_type`, `document_subtype`, `domain`, `is_deletion`,
//! `document_rev`, …). All of it is optional: `document_id` and `data_source_name` default to the row's document and
//! topic, the time of publication to that of the insert, and `change` itself to `{}`. A message that names another
//! document than its row is not understood, because its order would be that of the other document.
//!
//! The partition of a row is computed from the last characters of its document's id by the database itself, so the
//! application need not know of partitions. Their number is fixed when the log is created. `change_log_meta` holds it,
//! and the log's identity: a log that is dropped and made again is another log.
//!
//! Promise: no row is ever skipped. In SQLite rows are handed out in the order of their ids, which is the order of
//! commits because writers are serial. In PostgreSQL they are not: there rows are handed out in the order of (transaction,
//! id), and only when no older transaction is open any more that could still add one before them. A long transaction
//! delays the feed and never makes it skip. Gaps between ids mean nothing. Old rows may be deleted whenever all pillows are past them; a trigger notes
//! how far each partition was pruned, so a pillow that still needed a deleted row says so instead of skipping it.
//!
//! Deliberately absent: pruning itself. What to keep is the operator's policy, and a plain `delete` is all it takes.

mod feed;
mod lines;
mod metadata;
mod postgres;
mod publish;
mod rows;
mod schema;
mod sqlite;
mod wake;

pub use feed::{ChangelogFeed, ChangelogSource};
pub use lines::LineError;
pub use metadata::{Head, Metadata, MissingMetadata, SourceType, topic_of};
pub use publish::{PublishError, PublishOptions, Published, publish};
pub use schema::{ChangeLog, create_documents_table, create_tables};

use crate::model::Outage;
use crate::sql::Database;

/// Where the log is, for messages.
fn place(database: &Database) -> &str {
    match database {
        Database::Sqlite(sqlite) => &sqlite.path,
        Database::Postgres(postgres) => &postgres.place,
    }
}

/// A database error as what it is to a feed: the database is locked, full, gone or damaged, and no change is at fault.
fn outage(place: &str, operation: &str) -> impl FnOnce(sqlx::Error) -> Outage {
    let operation = format!("could not {operation} in {place}");
    move |error| Outage::new(operation, error)
}

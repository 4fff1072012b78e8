//! The change log as it exists, and how it is made.

use std::num::NonZeroU16;
use std::sync::Arc;

use crate::model::Outage;
use crate::sql::Database;

use super::{outage, place, postgres, sqlite};

/// A change log as it exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeLog {
    /// Which log: another one after it was dropped and made again.
    pub incarnation: Arc<str>,
    /// How many partitions each of its topics has.
    pub partitions: NonZeroU16,
}

impl ChangeLog {
    /// As its table says; none for a number of partitions that no log has.
    pub(super) fn of(incarnation: String, partitions: i64) -> Option<Self> {
        let partitions = NonZeroU16::new(u16::try_from(partitions).ok()?)?;
        Some(Self { incarnation: Arc::from(incarnation), partitions })
    }
}

/// Makes the tables of a change log with so many partitions, unless they are there; answers what is there, which may
/// have another number of partitions: it is fixed when the log is made.
///
/// # Errors
/// When the database does not answer.
pub async fn create_tables(database: &Database, partitions: NonZeroU16) -> Result<ChangeLog, Outage> {
    if let Some(log) = find(database).await? {
        return Ok(log);
    }
    match database {
        Database::Sqlite(sqlite) => sqlite::create_tables(sqlite, partitions).await?,
        Database::Postgres(postgres) => postgres::create_tables(postgres, partitions).await?,
    }
    let log = find(database).await?;
    log.ok_or_else(|| Outage {
        operation: format!("the change log just made in {} is gone", place(database)),
        source: None,
    })
}

/// Makes the table of documents that [`super::publish`] fills, unless it is there. Applications have their own.
///
/// # Errors
/// When the database does not answer.
pub async fn create_documents_table(database: &Database) -> Result<(), Outage> {
    match database {
        Database::Sqlite(sqlite) => sqlite::create_documents_table(sqlite).await,
        Database::Postgres(postgres) => postgres::create_documents_table(postgres).await,
    }
}

/// How the database keeps text.
pub(super) async fn encoding(database: &Database) -> Result<String, Outage> {
    let asked = match database {
        Database::Sqlite(sqlite) => sqlx::query_scalar("pragma encoding").fetch_one(&sqlite.readers).await,
        Database::Postgres(postgres) => sqlx::query_scalar("show server_encoding").fetch_one(&postgres.pool).await,
    };
    asked.map_err(outage(place(database), "read the text encoding"))
}

/// The change log of a database, if it has one.
pub(super) async fn find(database: &Database) -> Result<Option<ChangeLog>, Outage> {
    match database {
        Database::Sqlite(sqlite) => sqlite::find(sqlite).await,
        Database::Postgres(postgres) => postgres::find(postgres).await,
    }
}

//! What everything that speaks SQL shares: pools, dialects, schema plans, many rows per statement.
//!
//! Today SQLite; PostgreSQL stands behind the same [`Database`].

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::model::Outage;

/// How long a statement waits for another process's write lock before it is an outage.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// A database that was opened. Cheap to clone; all clones share the pools.
#[derive(Debug, Clone)]
pub enum Database {
    /// A SQLite file in WAL mode.
    Sqlite(Sqlite),
}

/// SQLite has one writer: a pool of one connection for writing keeps ours from waiting for each other's locks, and
/// readers beside it never wait.
#[derive(Debug, Clone)]
pub struct Sqlite {
    /// The file, as configured.
    pub path: Arc<str>,
    /// The only connection that writes.
    pub writer: SqlitePool,
    /// Connections that read.
    pub readers: SqlitePool,
}

impl Database {
    /// Opens the database at `url`, such as `sqlite:pillowtop.db`; a SQLite file is created when absent.
    ///
    /// # Errors
    /// When the address is not understood or the database cannot be opened.
    pub async fn open(url: &str) -> Result<Self, Outage> {
        let failed = |error: sqlx::Error| Outage::new(format!("could not open database {url}"), error);
        let options = SqliteConnectOptions::from_str(url)
            .map_err(failed)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // In WAL mode a crash of the process loses nothing; `FULL` also survives the loss of power.
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let path = Arc::from(options.get_filename().to_string_lossy().as_ref());
        let writer = SqlitePoolOptions::new().max_connections(1).connect_with(options.clone()).await.map_err(failed)?;
        let readers = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(failed)?;
        Ok(Self::Sqlite(Sqlite { path, writer, readers }))
    }
}

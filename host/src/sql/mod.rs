//! What everything that speaks SQL shares: pools, dialects, schema plans, many rows per statement.
//!
//! SQLite and PostgreSQL stand behind the same [`Database`]. What they write differently is decided in `dialect`,
//! how they are spoken to in this file, and what their error codes mean in `error`.
//!
//! Deliberately absent: anything about pillows and checkpoints. Rows are applied to a transaction that the caller
//! began and commits.

mod arrays;
mod ask;
mod dialect;
mod error;
mod portable;
pub mod rebuild;
pub mod rows;
pub mod schema;
#[cfg(test)]
mod testing;
mod text_list;
mod values;

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgArguments, PgConnectOptions, PgPoolOptions, PgQueryResult};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteQueryResult, SqliteSynchronous,
};
use sqlx::{Arguments as _, AssertSqlSafe, ConnectOptions as _, PgConnection, PgPool, SqliteConnection, SqlitePool};
use tokio::time::{Instant, sleep};

pub use ask::{Answer, AskError, ask};
pub use dialect::Dialect;
pub use error::{Error, Rejection};
pub(crate) use portable::Given;
pub(crate) use schema::LOCK as SCHEMA_LOCK;
#[cfg(test)]
pub(crate) use testing::{Kind, Scratch, both};

use crate::model::{Outage, Value};

/// Connections of the host to one PostgreSQL server; further work waits for one of them.
const POSTGRES_CONNECTIONS: u32 = 16;

/// How long a connection may take, also for one of the pool to become free. Within it, a server that refuses is asked
/// again, at most a fifth of it apart: that is how soon one that is back is noticed.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Statements that a connection to PostgreSQL keeps prepared; the least used one makes room for another.
const PREPARED_STATEMENTS: usize = 500;

/// How long a statement waits for another process's write lock before it is an outage.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Between two tries to open a file that another process is making.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// A database that was opened. Cheap to clone; all clones share the pools.
#[derive(Debug, Clone)]
pub enum Database {
    /// A SQLite file in WAL mode.
    Sqlite(Sqlite),
    /// A database of a PostgreSQL server.
    Postgres(Postgres),
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

/// A database of a PostgreSQL server.
#[derive(Debug, Clone)]
pub struct Postgres {
    /// Where it is, for messages: `host:port/database`, without user and password.
    pub place: Arc<str>,
    /// How it is reached; for connections of one's own, such as one that listens.
    pub options: Arc<PgConnectOptions>,
    /// Its connections.
    pub pool: PgPool,
}

/// A transaction that may write; dropped without a commit, it is rolled back.
#[derive(Debug)]
pub enum Transaction {
    /// It holds SQLite's write lock from its first moment on.
    Sqlite(sqlx::Transaction<'static, sqlx::Sqlite>),
    /// At the isolation level `read committed`.
    Postgres(sqlx::Transaction<'static, sqlx::Postgres>),
}

/// A connection; outside of this room always one inside a transaction.
#[derive(Debug)]
pub enum Connection<'c> {
    /// To SQLite.
    Sqlite(&'c mut SqliteConnection),
    /// To PostgreSQL.
    Postgres(&'c mut PgConnection),
}

impl Database {
    /// Opens the database at `url`: `sqlite:FILE`, created when absent, or `postgres://USER:PASSWORD@HOST/DATABASE`.
    ///
    /// # Errors
    /// When the address is not understood or the database cannot be opened.
    pub async fn open(url: &str) -> Result<Self, Outage> {
        if is_postgres(url) {
            return Postgres::open(url).await.map(Self::Postgres);
        }
        let failed = |error: sqlx::Error| Outage::new(format!("could not open database {url}"), error);
        let options = SqliteConnectOptions::from_str(url)
            .map_err(failed)?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // A crash of the process loses nothing. A loss of power may undo the latest commits, but only as a whole and
            // the latest first, so rows and checkpoint stay together and the feed is read again from there.
            .synchronous(SqliteSynchronous::Normal)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // A line for each statement would be lines for each batch, with hundreds of placeholders in them.
            .disable_statement_logging();
        let path = Arc::from(options.get_filename().to_string_lossy().as_ref());
        let writer = open_sqlite(1, &options).await.map_err(failed)?;
        let readers = open_sqlite(4, &options).await.map_err(failed)?;
        Ok(Self::Sqlite(Sqlite { path, writer, readers }))
    }

    /// Begins a transaction that writes.
    ///
    /// # Errors
    /// When the database does not answer, or another process holds its lock for too long.
    pub async fn begin(&self) -> Result<Transaction, Outage> {
        match self {
            Self::Sqlite(sqlite) => sqlite.begin().await.map(Transaction::Sqlite),
            Self::Postgres(postgres) => postgres.begin().await.map(Transaction::Postgres),
        }
    }

    /// Begins a transaction that only reads.
    ///
    /// # Errors
    /// When the database does not answer.
    pub(crate) async fn begin_reading(&self) -> Result<Transaction, Outage> {
        match self {
            Self::Sqlite(sqlite) => match sqlite.readers.begin().await {
                Ok(transaction) => Ok(Transaction::Sqlite(transaction)),
                Err(error) => Err(Outage::new(format!("could not read {}", sqlite.path), error)),
            },
            Self::Postgres(postgres) => postgres.begin().await.map(Transaction::Postgres),
        }
    }

    /// The file, where it is SQLite.
    pub fn sqlite(&self) -> Option<&Sqlite> {
        match self {
            Self::Sqlite(sqlite) => Some(sqlite),
            Self::Postgres(_) => None,
        }
    }

    /// The server's database, where it is PostgreSQL.
    pub fn postgres(&self) -> Option<&Postgres> {
        match self {
            Self::Sqlite(_) => None,
            Self::Postgres(postgres) => Some(postgres),
        }
    }
}

/// A pool of connections. Where two programs make the same file at the same time, SQLite refuses one of them at once instead
/// of having it wait; it is waited for here.
async fn open_sqlite(connections: u32, options: &SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    let deadline = Instant::now() + BUSY_TIMEOUT;
    loop {
        let pool = SqlitePoolOptions::new().max_connections(connections);
        match pool.connect_with(options.clone()).await {
            Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("5") && Instant::now() < deadline => {
                sleep(BUSY_PAUSE).await;
            }
            opened => return opened,
        }
    }
}

/// Whether the address is one of PostgreSQL.
pub(crate) fn is_postgres(url: &str) -> bool {
    ["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme))
}

/// What an address says, and what it leaves open. Its error does not repeat a password.
fn postgres_options(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let options = PgConnectOptions::from_str(url)?.disable_statement_logging();
    Ok(match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("pillowtop"),
    })
}

/// Where a server's database is, for messages: no user and no password.
fn place_of(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_else(|| options.get_username());
    match options.get_socket() {
        Some(folder) => format!("{}/{database}", folder.display()),
        None => format!("{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// Limits that the server keeps for us, unless the address (`options`), the user or the database has others. A host that
/// is frozen in the middle of a transaction must not hold its locks for ever, and a wait for such a lock ends: both are
/// outages, and tried again.
const LIMITS: &str = "select set_config(name, value, false)
     from (values ('lock_timeout', '10s'), ('idle_in_transaction_session_timeout', '30s')) as limits (name, value)
     where current_setting(name) = '0'";

impl Postgres {
    /// Opens the database; at least one connection is made.
    ///
    /// # Errors
    /// When the address is not understood, or the server does not let us in.
    pub async fn open(url: &str) -> Result<Self, Outage> {
        // The address may hold a password, so no message repeats it.
        let options = postgres_options(url)
            .map_err(|error| Outage::new("could not read the address of a PostgreSQL database", error))?
            // A few for each table that rows are written to, so that many tables stay prepared.
            .statement_cache_capacity(PREPARED_STATEMENTS);
        let place: Arc<str> = Arc::from(place_of(&options));
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(CONNECT_LIMIT)
            .after_connect(|connection, _| {
                Box::pin(async move { sqlx::raw_sql(LIMITS).execute(connection).await.map(|_| ()) })
            })
            .connect_with(options.clone())
            .await;
        let pool = pool.map_err(|error| Outage::new(format!("could not open database {place}"), error))?;
        Ok(Self { place, options: Arc::new(options), pool })
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, Outage> {
        let begun = self.begin_read_committed().await;
        begun.map_err(|error| Outage::new(format!("could not begin a transaction in {}", self.place), error))
    }
}

impl Postgres {
    /// Begins a transaction at `read committed`, whatever the database has by default: a statement that waited for a row
    /// goes on with what was committed, where the stricter levels would give up.
    pub(crate) async fn begin_read_committed(&self) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, sqlx::Error> {
        self.pool.begin_with("begin isolation level read committed").await
    }
}

impl Sqlite {
    /// Begins a transaction that writes. `immediate`, because a transaction that first reads and then asks for the
    /// write lock is refused at once, without waiting, when another process wrote in between.
    ///
    /// # Errors
    /// When the database does not answer, or another process holds its lock for too long.
    pub async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, Outage> {
        let begun = self.writer.begin_with("begin immediate").await;
        begun.map_err(|error| Outage::new(format!("could not begin a transaction in {}", self.path), error))
    }
}

impl Transaction {
    /// The connection that its statements go through.
    pub fn connection(&mut self) -> Connection<'_> {
        match self {
            Self::Sqlite(transaction) => Connection::Sqlite(transaction),
            Self::Postgres(transaction) => Connection::Postgres(transaction),
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// When the database could not: nothing was committed.
    pub async fn commit(self) -> Result<(), Outage> {
        let committed = match self {
            Self::Sqlite(transaction) => transaction.commit().await,
            Self::Postgres(transaction) => transaction.commit().await,
        };
        committed.map_err(|error| Outage::new("could not commit", error))
    }
}

impl Connection<'_> {
    /// How this database writes SQL.
    pub fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Postgres(_) => Dialect::Postgres,
        }
    }

    /// Runs a statement without values; says how many rows it touched.
    ///
    /// # Errors
    /// A refusal or an outage, which names `operation`.
    pub(crate) async fn execute(&mut self, operation: &str, statement: String) -> Result<u64, Error> {
        match self {
            Self::Sqlite(connection) => execute_sqlite(connection, operation, statement, &[]).await,
            Self::Postgres(connection) => {
                execute_postgres(connection, operation, statement, PgArguments::default()).await
            }
        }
    }
}

/// Runs a statement of SQLite with bound values; says how many rows it touched.
pub(crate) async fn execute_sqlite(
    connection: &mut SqliteConnection,
    operation: &str,
    statement: String,
    values: &[&Value],
) -> Result<u64, Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        bind_sqlite(&mut arguments, value).map_err(|error| Error::judge(operation, sqlx::Error::Encode(error)))?;
    }
    let done = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(connection).await;
    done.map(|done: SqliteQueryResult| done.rows_affected()).map_err(|error| Error::judge(operation, error))
}

/// Runs a statement of PostgreSQL; says how many rows it touched.
pub(crate) async fn execute_postgres(
    connection: &mut PgConnection,
    operation: &str,
    statement: String,
    arguments: PgArguments,
) -> Result<u64, Error> {
    let done = sqlx::query_with(AssertSqlSafe(statement), arguments).execute(connection).await;
    done.map(|done: PgQueryResult| done.rows_affected()).map_err(|error| Error::judge(operation, error))
}

/// Runs statements of PostgreSQL that have no values and are not worth preparing, in one exchange with the server.
pub(crate) async fn run_words(connection: &mut PgConnection, operation: &str, statements: String) -> Result<(), Error> {
    let done = sqlx::raw_sql(AssertSqlSafe(statements)).execute(connection).await;
    done.map(|_| ()).map_err(|error| Error::judge(operation, error))
}

/// SQLite has four kinds of values: decimals, dates, times and JSON are texts, a boolean is 0 or 1.
fn bind_sqlite(arguments: &mut SqliteArguments, value: &Value) -> Result<(), sqlx::error::BoxDynError> {
    match value {
        Value::Null => arguments.add(None::<i64>),
        Value::Boolean(truth) => arguments.add(i64::from(*truth)),
        Value::Integer(number) => arguments.add(*number),
        Value::Double(number) => arguments.add(*number),
        Value::Bytes(bytes) => arguments.add(bytes.as_slice()),
        Value::Decimal(text) | Value::Text(text) | Value::Date(text) | Value::Timestamp(text) | Value::Json(text) => {
            arguments.add(text.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_is_made_by_many_at_once_is_opened_by_all() {
        for _ in 0..20 {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", folder.path().join("new.db").display());
            let mut opening = tokio::task::JoinSet::new();
            for _ in 0..8 {
                let url = url.clone();
                opening.spawn(async move { Database::open(&url).await.map(|_| ()) });
            }
            for opened in opening.join_all().await {
                opened.unwrap();
            }
        }
    }
}

//! Statements that read the same in both databases: their values are `$1`, `$2` and so on, and their columns numbers and
//! texts.

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, AssertSqlSafe, Encode, FromRow, Type};

use super::{Connection, Database};

/// A value of such a statement.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Given<'a> {
    Text(Option<&'a str>),
    Number(Option<i64>),
}

/// What can be read from a row of either database.
pub(crate) trait Portable: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin {}

impl<T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin> Portable for T {}

impl<'a> From<&'a str> for Given<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Some(text))
    }
}

impl<'a> From<Option<&'a str>> for Given<'a> {
    fn from(text: Option<&'a str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Given<'_> {
    fn from(number: i64) -> Self {
        Self::Number(Some(number))
    }
}

impl From<Option<i64>> for Given<'_> {
    fn from(number: Option<i64>) -> Self {
        Self::Number(number)
    }
}

impl Database {
    /// Runs a statement by itself; says how many rows it touched.
    pub(crate) async fn change(&self, statement: &str, values: &[Given<'_>]) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(sqlite) => {
                Connection::Sqlite(&mut *sqlite.writer.acquire().await?).change(statement, values).await
            }
            Self::Postgres(postgres) => {
                Connection::Postgres(&mut *postgres.pool.acquire().await?).change(statement, values).await
            }
        }
    }

    /// The rows of a query by itself.
    pub(crate) async fn read<T: Portable>(&self, query: &str, values: &[Given<'_>]) -> Result<Vec<T>, sqlx::Error> {
        match self {
            Self::Sqlite(sqlite) => Connection::Sqlite(&mut *sqlite.readers.acquire().await?).read(query, values).await,
            Self::Postgres(postgres) => {
                Connection::Postgres(&mut *postgres.pool.acquire().await?).read(query, values).await
            }
        }
    }
}

impl Connection<'_> {
    /// Runs a statement; says how many rows it touched.
    pub(super) async fn change(&mut self, statement: &str, values: &[Given<'_>]) -> Result<u64, sqlx::Error> {
        let statement = AssertSqlSafe(statement);
        match self {
            Self::Sqlite(connection) => {
                let done =
                    sqlx::query_with(statement, arguments::<SqliteArguments>(values)?).execute(&mut **connection);
                done.await.map(|done| done.rows_affected())
            }
            Self::Postgres(connection) => {
                let done = sqlx::query_with(statement, arguments::<PgArguments>(values)?).execute(&mut **connection);
                done.await.map(|done| done.rows_affected())
            }
        }
    }

    /// The rows of a query.
    pub(super) async fn read<T: Portable>(&mut self, query: &str, values: &[Given<'_>]) -> Result<Vec<T>, sqlx::Error> {
        let query = AssertSqlSafe(query);
        match self {
            Self::Sqlite(connection) => {
                sqlx::query_as_with(query, arguments::<SqliteArguments>(values)?).fetch_all(&mut **connection).await
            }
            Self::Postgres(connection) => {
                sqlx::query_as_with(query, arguments::<PgArguments>(values)?).fetch_all(&mut **connection).await
            }
        }
    }
}

fn arguments<A: Arguments>(values: &[Given<'_>]) -> Result<A, sqlx::Error>
where
    for<'v> Option<&'v str>: Encode<'v, A::Database> + Type<A::Database>,
    for<'v> Option<i64>: Encode<'v, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for value in values {
        let added = match value {
            Given::Text(text) => arguments.add(*text),
            Given::Number(number) => arguments.add(*number),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}

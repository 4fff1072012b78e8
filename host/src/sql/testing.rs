//! An empty database for a test, of either kind: a SQLite file in a folder of its own, or a database of a real
//! PostgreSQL.

#[path = "../../../tests/support/postgres.rs"]
mod postgres;
#[path = "../../../tests/support/service.rs"]
mod service;

use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use super::Database;

/// Which database a case runs against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Sqlite,
    Postgres,
}

/// An empty database.
pub(crate) struct Scratch {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) database: Database,
    _folder: TempDir,
}

impl Scratch {
    pub(crate) async fn new(kind: Kind) -> Self {
        let folder = TempDir::new().unwrap();
        let url = match kind {
            Kind::Sqlite => format!("sqlite:{}/t.db", folder.path().display()),
            Kind::Postgres => postgres::database().await,
        };
        let database = Database::open(&url).await.unwrap();
        Self { kind, url, database, _folder: folder }
    }

    /// Another host's view of the same database.
    pub(crate) async fn reopened(&self) -> Database {
        Database::open(&self.url).await.unwrap()
    }

    /// Runs statements.
    pub(crate) async fn execute(&self, statements: &str) {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        match &self.database {
            Database::Sqlite(sqlite) => drop(statements.execute(&sqlite.writer).await.unwrap()),
            Database::Postgres(postgres) => drop(statements.execute(&postgres.pool).await.unwrap()),
        }
    }

    /// The texts of a query's only column.
    pub(crate) async fn texts(&self, query: &str) -> Vec<String> {
        let query = AssertSqlSafe(query.to_owned());
        match &self.database {
            Database::Sqlite(sqlite) => sqlx::query_scalar(query).fetch_all(&sqlite.readers).await.unwrap(),
            Database::Postgres(postgres) => sqlx::query_scalar(query).fetch_all(&postgres.pool).await.unwrap(),
        }
    }

    /// How many rows there are.
    pub(crate) async fn count(&self, table: &str) -> usize {
        let query = AssertSqlSafe(format!("select count(*) from {table}"));
        let count: i64 = match &self.database {
            Database::Sqlite(sqlite) => sqlx::query_scalar(query).fetch_one(&sqlite.readers).await.unwrap(),
            Database::Postgres(postgres) => sqlx::query_scalar(query).fetch_one(&postgres.pool).await.unwrap(),
        };
        usize::try_from(count).unwrap()
    }
}

/// Runs cases, functions that take a [`Kind`], against both databases.
macro_rules! both {
    ($($case:ident)*) => {
        mod sqlite {
            $(#[tokio::test] async fn $case() { super::$case($crate::sql::Kind::Sqlite).await; })*
        }
        mod postgres {
            $(#[tokio::test] async fn $case() { super::$case($crate::sql::Kind::Postgres).await; })*
        }
    };
}
pub(crate) use both;

//! One question of an operator to a database, which it cannot change.

mod postgres;

use std::str::FromStr;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteRow};
use sqlx::{AssertSqlSafe, Column as _, ConnectOptions as _, Connection as _, Row as _, TypeInfo as _, ValueRef as _};

use super::is_postgres;
use crate::model::Value;

/// How long a question waits for a lock; a reader hardly ever meets one.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// Rows as the database has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The names of the columns; two may have the same. Empty where there are no rows.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
    /// Whether there are more rows than were asked for.
    pub more: bool,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The database cannot be opened.
    #[error("could not open the database {database}")]
    Open {
        /// Its file, or where it is.
        database: String,
        /// Why.
        source: sqlx::Error,
    },
    /// It does not understand the question, or refuses it; in its words.
    #[error("the database refuses: {0}")]
    Refused(String),
    /// It cannot answer.
    #[error("the database did not answer")]
    Ask(#[source] sqlx::Error),
}

impl AskError {
    fn judge(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(refusal) => Self::Refused(refusal.message().to_owned()),
            other => Self::Ask(other),
        }
    }
}

/// At most `limit` rows of what `statement` selects. The database is opened for reading only, so a statement that
/// changes it fails.
///
/// # Errors
/// When the database is not there, or does not understand the statement.
pub async fn ask(url: &str, statement: &str, limit: usize) -> Result<Answer, AskError> {
    match is_postgres(url) {
        true => postgres::ask(url, statement, limit).await,
        false => ask_sqlite(url, statement, limit).await,
    }
}

async fn ask_sqlite(url: &str, statement: &str, limit: usize) -> Result<Answer, AskError> {
    let options = SqliteConnectOptions::from_str(url)
        .map_err(|source| AskError::Open { database: url.to_owned(), source })?
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging();
    let database = options.get_filename().display().to_string();
    let mut connection =
        SqliteConnection::connect_with(&options).await.map_err(|source| AskError::Open { database, source })?;
    let mut answer = Answer { columns: Vec::new(), rows: Vec::new(), more: false };
    // The operator's own words: that they are SQL is the point.
    let mut rows = sqlx::query(AssertSqlSafe(statement)).fetch(&mut connection);
    while let Some(row) = rows.try_next().await.map_err(AskError::judge)? {
        if answer.rows.len() == limit {
            answer.more = true;
            break;
        }
        if answer.rows.is_empty() {
            answer.columns = row.columns().iter().map(|column| column.name().to_owned()).collect();
        }
        answer.rows.push(values(&row).map_err(AskError::Ask)?);
    }
    Ok(answer)
}

/// SQLite's values have types, whatever their columns say.
fn values(row: &SqliteRow) -> Result<Vec<Value>, sqlx::Error> {
    let value = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        Ok(match raw.type_info().name() {
            "INTEGER" | "BOOLEAN" => Value::Integer(row.try_get_unchecked(at)?),
            "REAL" => Value::Double(row.try_get_unchecked(at)?),
            "BLOB" => Value::Bytes(row.try_get_unchecked(at)?),
            _ => Value::Text(row.try_get_unchecked(at)?),
        })
    };
    (0..row.len()).map(value).collect()
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::sql::Database;

    async fn database() -> (TempDir, String) {
        let folder = TempDir::new().unwrap();
        let url = format!("sqlite:{}/t.db", folder.path().display());
        let database = Database::open(&url).await.unwrap();
        let sqlite = database.sqlite().unwrap();
        sqlx::query("create table t (a integer, b)").execute(&sqlite.writer).await.unwrap();
        sqlx::query("insert into t values (1, 'one'), (2, 2.5), (3, null), (4, x'00ff')")
            .execute(&sqlite.writer)
            .await
            .unwrap();
        (folder, url)
    }

    #[tokio::test]
    async fn rows_come_with_the_types_that_they_have() {
        let (_folder, url) = database().await;
        let answer = ask(&url, "select a, b from t order by a", 10).await.unwrap();
        assert_eq!((answer.columns, answer.more), (vec!["a".to_owned(), "b".to_owned()], false));
        let found: Vec<&Value> = answer.rows.iter().map(|row| &row[1]).collect();
        let text = Value::Text("one".into());
        assert_eq!(found, [&text, &Value::Double(2.5), &Value::Null, &Value::Bytes(vec![0, 255])]);
        assert_eq!(answer.rows[3][0], Value::Integer(4));
    }

    #[tokio::test]
    async fn a_limit_says_that_there_is_more() {
        let (_folder, url) = database().await;
        for (limit, more) in [(3, true), (4, false)] {
            let answer = ask(&url, "select a from t", limit).await.unwrap();
            assert_eq!((answer.rows.len(), answer.more), (limit, more));
        }
    }

    #[tokio::test]
    async fn nothing_can_be_changed() {
        let (folder, url) = database().await;
        let other = folder.path().join("other.db");
        let attach = format!("attach database '{}' as other; create table other.t (a)", other.display());
        for statement in ["delete from t", "drop table t", "insert into t values (9, 9)", &attach] {
            assert!(matches!(ask(&url, statement, 1).await, Err(AskError::Refused(_))), "{statement}");
        }
        assert!(!other.exists());
        assert_eq!(ask(&url, "select count(*) from t", 1).await.unwrap().rows, [[Value::Integer(4)]]);
    }

    #[tokio::test]
    async fn a_database_that_is_not_there_is_not_made() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("absent.db");
        let error = ask(&format!("sqlite:{}", file.display()), "select 1", 1).await.unwrap_err();
        assert_eq!(error.to_string(), format!("could not open the database {}", file.display()));
        assert!(!file.exists());
    }
}

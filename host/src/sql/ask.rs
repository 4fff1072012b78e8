//! One question of an operator to a database, which it cannot change.

mod postgres;

use std::str::FromStr;
use std::time::Duration;

use futures_util::{Stream, TryStreamExt as _};
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
    // The operator's own words: that they are SQL is the point.
    collect(sqlx::query(AssertSqlSafe(statement)).fetch(&mut connection), limit, values).await
}

/// The first `limit` rows, read by `values`.
async fn collect<R: sqlx::Row>(
    mut rows: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
    limit: usize,
    values: impl Fn(&R) -> Result<Vec<Value>, sqlx::Error>,
) -> Result<Answer, AskError> {
    let mut answer = Answer { columns: Vec::new(), rows: Vec::new(), more: false };
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
    use crate::sql::{Kind, Scratch, both};

    async fn scratch(kind: Kind) -> Scratch {
        let scratch = Scratch::new(kind).await;
        scratch.execute("create table t (a integer, b text)").await;
        scratch.execute("insert into t values (1, 'one'), (2, '2.5'), (3, null), (4, 'é')").await;
        scratch
    }

    async fn rows_come_in_their_order_with_names_and_types(kind: Kind) {
        let scratch = scratch(kind).await;
        let answer = ask(&scratch.url, "select a, b, a * 0.5 as half from t order by a;", 10).await.unwrap();
        assert_eq!((answer.columns, answer.more), (["a", "b", "half"].map(str::to_owned).to_vec(), false));
        let half = match kind {
            Kind::Sqlite => Value::Double(0.5),
            Kind::Postgres => Value::Decimal("0.5".into()),
        };
        assert_eq!(answer.rows[0], [Value::Integer(1), Value::Text("one".into()), half]);
        let found: Vec<&Value> = answer.rows[1..].iter().map(|row| &row[1]).collect();
        assert_eq!(found, [&Value::Text("2.5".into()), &Value::Null, &Value::Text("é".into())]);
        assert_eq!(ask(&scratch.url, "select a from t where false", 1).await.unwrap().rows, [] as [Vec<Value>; 0]);
    }

    #[tokio::test]
    async fn every_value_of_sqlite_has_its_own_type() {
        let scratch = Scratch::new(Kind::Sqlite).await;
        let answer = ask(&scratch.url, "select 'one', 2.5, null, x'00ff', 4", 1).await.unwrap();
        let bytes = Value::Bytes(vec![0, 255]);
        assert_eq!(
            answer.rows,
            [[Value::Text("one".into()), Value::Double(2.5), Value::Null, bytes, Value::Integer(4)]]
        );
    }

    #[tokio::test]
    async fn values_of_postgresql_come_as_they_were_written() {
        let scratch = Scratch::new(Kind::Postgres).await;
        let text = |text: &str| Value::Text(text.to_owned());
        let cases = [
            ("true", Value::Boolean(true)),
            ("-7::smallint", Value::Integer(-7)),
            ("0.1::double precision", Value::Double(0.1)),
            ("'-Infinity'::real", Value::Double(f64::NEG_INFINITY)),
            ("12.500::numeric", Value::Decimal("12.500".into())),
            ("'\\x00ff'::bytea", Value::Bytes(vec![0, 255])),
            ("'2026-02-03'::date", Value::Date("2026-02-03".into())),
            ("'2026-02-03T12:00:00.5+02:00'::timestamptz", Value::Timestamp("2026-02-03T10:00:00.500000Z".into())),
            ("'infinity'::timestamptz", text("infinity")),
            ("'{\"a\":1}'::jsonb", Value::Json("{\"a\": 1}".into())),
            ("array[1, 2]", text("{1,2}")),
            ("'one hour'::varchar(20)", text("one hour")),
            ("interval '90 minutes'", text("01:30:00")),
            ("null::inet", Value::Null),
        ];
        for (expression, expected) in cases {
            let answer = ask(&scratch.url, &format!("select {expression}"), 1).await.unwrap();
            assert_eq!(answer.rows, [[expected]], "{expression}");
        }
    }

    async fn a_limit_says_that_there_is_more(kind: Kind) {
        let scratch = scratch(kind).await;
        for (limit, more) in [(3, true), (4, false)] {
            let answer = ask(&scratch.url, "select a from t", limit).await.unwrap();
            assert_eq!((answer.rows.len(), answer.more), (limit, more));
        }
    }

    async fn nothing_can_be_changed(kind: Kind) {
        let scratch = scratch(kind).await;
        for statement in ["delete from t", "drop table t", "insert into t values (9, 'x')", "not even SQL"] {
            let asked = ask(&scratch.url, statement, 1).await;
            assert!(matches!(asked, Err(AskError::Refused(_))), "{statement}: {asked:?}");
        }
        assert_eq!(ask(&scratch.url, "select count(*) from t", 1).await.unwrap().rows, [[Value::Integer(4)]]);
    }

    #[tokio::test]
    async fn no_other_file_can_be_changed() {
        let (scratch, folder) = (scratch(Kind::Sqlite).await, TempDir::new().unwrap());
        let other = folder.path().join("other.db");
        let attach = format!("attach database '{}' as other; create table other.t (a)", other.display());
        assert!(matches!(ask(&scratch.url, &attach, 1).await, Err(AskError::Refused(_))));
        assert!(!other.exists());
    }

    #[tokio::test]
    async fn nor_does_a_transaction_of_postgresql_end_for_a_second_statement() {
        let scratch = scratch(Kind::Postgres).await;
        for statement in [
            "commit; delete from t",
            "select 1; delete from t",
            "do $$ begin commit; delete from t; end $$",
            "do $$ begin delete from t; end $$",
            "set transaction read write",
            "with gone as (delete from t returning a) select a from gone",
            "explain analyze delete from t",
            "select nextval('s')",
        ] {
            scratch.execute("create sequence if not exists s").await;
            let asked = ask(&scratch.url, statement, 1).await;
            assert!(asked.is_err() || statement.starts_with("set"), "{statement}: {asked:?}");
            assert_eq!(scratch.count("t").await, 4, "{statement}");
        }
    }

    #[tokio::test]
    async fn a_database_that_is_not_there_is_not_made() {
        let folder = TempDir::new().unwrap();
        let file = folder.path().join("absent.db");
        let error = ask(&format!("sqlite:{}", file.display()), "select 1", 1).await.unwrap_err();
        assert_eq!(error.to_string(), format!("could not open the database {}", file.display()));
        assert!(!file.exists());
        let error = ask("postgres://ada:secret@127.0.0.1:1/visits", "select 1", 1).await.unwrap_err();
        assert_eq!(error.to_string(), "could not open the database 127.0.0.1:1/visits");
    }

    both! {
        rows_come_in_their_order_with_names_and_types
        a_limit_says_that_there_is_more
        nothing_can_be_changed
    }
}

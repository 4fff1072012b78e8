//! The question to PostgreSQL, in a transaction that may only read.

use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Executor as _, Row as _, SqlSafeStr as _, TypeInfo as _, ValueRef as _,
};

use super::{Answer, AskError, collect};
use crate::model::{Value, timestamp_text};
use crate::sql::{place_of, postgres_options};

/// Values come as texts, whose form must not depend on the settings of the server; a question that waits for a lock is
/// given up.
const READ_ONLY: &str = "begin read only; set local time zone 'UTC'; set local datestyle = 'ISO'; \
     set local bytea_output = 'hex'; set local extra_float_digits = 1; set local lock_timeout = '2s'";

pub(super) async fn ask(url: &str, statement: &str, limit: usize) -> Result<Answer, AskError> {
    // The address may hold a password, so no message repeats it.
    let options =
        postgres_options(url).map_err(|source| AskError::Open { database: "of PostgreSQL".to_owned(), source })?;
    let database = place_of(&options);
    let mut connection = options.connect().await.map_err(|source| AskError::Open { database, source })?;
    sqlx::raw_sql(READ_ONLY).execute(&mut connection).await.map_err(AskError::judge)?;
    // Only one statement can be prepared; a second one behind it could end the transaction and write.
    let text = || AssertSqlSafe(statement).into_sql_str();
    connection.prepare(text()).await.map_err(AskError::judge)?;
    // Unprepared this time, so that values of every type come as texts. The operator's own words: that they are SQL is
    // the point.
    collect(sqlx::raw_sql(AssertSqlSafe(statement)).fetch(&mut connection), limit, values).await
}

fn values(row: &PgRow) -> Result<Vec<Value>, sqlx::Error> {
    let decoded = |at: usize| {
        let raw = row.try_get_raw(at)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        let kind = raw.type_info().name().to_owned();
        let text = raw.as_str().map_err(sqlx::Error::Decode)?;
        Ok(value(&kind, text).unwrap_or_else(|| Value::Text(text.to_owned())))
    };
    (0..row.len()).map(decoded).collect()
}

/// A value of a type that has a kind of its own; the others stay the texts that the server writes.
fn value(kind: &str, text: &str) -> Option<Value> {
    match kind {
        "BOOL" => Some(Value::Boolean(text == "t")),
        "INT2" | "INT4" | "INT8" => text.parse().ok().map(Value::Integer),
        "FLOAT4" | "FLOAT8" => text.parse().ok().map(Value::Double),
        "NUMERIC" => Some(Value::Decimal(text.to_owned())),
        "BYTEA" => bytes(text).map(Value::Bytes),
        "DATE" => Some(Value::Date(text.to_owned())),
        // `2026-02-03 10:00:00.5+00`: as it was written, in the form of all times here.
        "TIMESTAMPTZ" => text.parse::<Timestamp>().ok().map(|time| Value::Timestamp(timestamp_text(time))),
        "JSON" | "JSONB" => Some(Value::Json(text.to_owned())),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    let digits = text.strip_prefix("\\x")?.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

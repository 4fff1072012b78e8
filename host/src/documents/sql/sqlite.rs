//! How a document store asks SQLite.

use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Either, Executor as _, Row as _, SqlSafeStr as _, Statement as _};

use super::{QueryError, Stored, body};
use crate::documents::{Listed, ListedDocument};
use crate::model::Outage;
use crate::sql::Sqlite;

/// The statements of a store, checked.
#[derive(Debug)]
pub(super) struct Queries {
    sqlite: Sqlite,
    fetch: String,
    /// The operator's query for all ids, and whether it tells their sources.
    ids: Option<(String, bool)>,
}

impl Queries {
    pub(super) async fn new(sqlite: &Sqlite, name: &str, query: &str) -> Result<Self, QueryError> {
        let store = || name.to_owned();
        let encoding: String = sqlx::query_scalar("pragma encoding")
            .fetch_one(&sqlite.readers)
            .await
            .map_err(|error| unavailable(sqlite, name, error))?;
        if encoding != "UTF-8" {
            return Err(QueryError::Encoding { store: store(), encoding });
        }
        let query = with_ids(query).ok_or_else(|| QueryError::NoIds { store: store() })?;
        let columns = columns(sqlite, name, &query, 1).await?;
        let selected = |column: &str| columns.iter().any(|candidate| candidate.eq_ignore_ascii_case(column));
        if let Some(missing) = ["id", "document"].into_iter().find(|column| !selected(column)) {
            return Err(QueryError::NoColumn { store: store(), found: columns.join(", "), missing });
        }
        // The query becomes a table, so that its columns stand where we want them, as the types that we want. The line
        // break ends a comment in its last line.
        let optional = |column: &'static str| if selected(column) { column } else { "null" };
        let fetch = format!(
            "select cast(id as text), cast(document as blob), cast({} as text), {} from (\n{query}\n)",
            optional("revision"),
            optional("deleted"),
        );
        prepare(sqlite, name, &fetch).await?;
        Ok(Self { sqlite: sqlite.clone(), fetch, ids: None })
    }

    pub(super) async fn listing(mut self, name: &str, ids: &str) -> Result<Self, QueryError> {
        let ids = body(ids);
        let columns = columns(&self.sqlite, name, ids, 0).await?;
        if !columns.iter().any(|column| column.eq_ignore_ascii_case("id")) {
            return Err(QueryError::NoColumn { store: name.to_owned(), found: columns.join(", "), missing: "id" });
        }
        let has_source = columns.iter().any(|column| column.eq_ignore_ascii_case("source"));
        self.ids = Some((ids.to_owned(), has_source));
        Ok(self)
    }

    pub(super) async fn fetch(&self, ids: &[&str]) -> Result<Vec<Stored>, sqlx::Error> {
        let rows: Vec<SqliteRow> =
            sqlx::query(AssertSqlSafe(self.fetch.as_str())).bind(as_json(ids)).fetch_all(&self.sqlite.readers).await?;
        let stored = |row: &SqliteRow| {
            let deleted: Option<i64> = row.try_get(3)?;
            Ok(Stored {
                id: row.try_get(0)?,
                document: row.try_get(1)?,
                revision: row.try_get(2)?,
                deleted: deleted.is_some_and(|deleted| deleted != 0),
            })
        };
        rows.iter().map(stored).collect()
    }

    /// None where there is no query for it. The cursor is `i` or `t` and the last id: in a column without a declared
    /// type integers stand before texts, whatever they look like.
    pub(super) async fn list(&self, after: Option<&str>, most: i64) -> Result<Option<Listed>, sqlx::Error> {
        let Some((ids, has_source)) = &self.ids else { return Ok(None) };
        let source = if *has_source { "source" } else { "null" };
        let from = after.map_or("id is not null", |_| "id > ?2");
        let statement = format!(
            "select cast(id as text), typeof(id), cast({source} as text) from (\n{ids}\n) where {from} order by id limit ?1"
        );
        let query = sqlx::query(AssertSqlSafe(statement)).bind(most);
        let query = match after.map(|after| (after.strip_prefix('i').and_then(|id| id.parse::<i64>().ok()), after)) {
            None => query,
            Some((Some(number), _)) => query.bind(number),
            Some((None, after)) => query.bind(after.strip_prefix('t').unwrap_or(after).to_owned()),
        };
        let rows = query.fetch_all(&self.sqlite.readers).await?;
        let mut listed = Listed::default();
        for row in &rows {
            let id: &str = row.try_get(0)?;
            let kind = if row.try_get::<&str, _>(1)? == "integer" { 'i' } else { 't' };
            let source: Option<&str> = row.try_get(2)?;
            listed.next = Some(Arc::from(format!("{kind}{id}")));
            listed.documents.push(ListedDocument { source: source.map(Arc::from), id: Arc::from(id) });
        }
        Ok(Some(listed))
    }

    pub(super) async fn count(&self) -> Result<Option<i64>, sqlx::Error> {
        let Some((ids, _)) = &self.ids else { return Ok(None) };
        let statement = format!("select count(id) from (\n{ids}\n)");
        sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&self.sqlite.readers).await.map(Some)
    }
}

/// The columns of a query that must have so many parameters.
async fn columns(sqlite: &Sqlite, name: &str, query: &str, parameters: usize) -> Result<Vec<String>, QueryError> {
    let prepared = prepare(sqlite, name, query).await?;
    if !matches!(prepared.parameters(), Some(Either::Right(found)) if found == parameters) {
        return Err(QueryError::Parameters { store: name.to_owned() });
    }
    Ok(prepared.columns().iter().map(|column| sqlx::Column::name(column).to_owned()).collect())
}

async fn prepare(sqlite: &Sqlite, name: &str, statement: &str) -> Result<sqlx::sqlite::SqliteStatement, QueryError> {
    let mut connection = sqlite.readers.acquire().await.map_err(|error| unavailable(sqlite, name, error))?;
    let prepared = (&mut *connection).prepare(AssertSqlSafe(statement.to_owned()).into_sql_str()).await;
    prepared.map_err(|source| QueryError::Refused { store: name.to_owned(), source })
}

fn unavailable(sqlite: &Sqlite, name: &str, error: sqlx::Error) -> QueryError {
    let source = Outage::new(format!("could not reach {}", sqlite.path), error);
    QueryError::Outage { store: name.to_owned(), source }
}

/// The query with a table of the ids in place of `:ids`; none when it does not contain that.
fn with_ids(query: &str) -> Option<String> {
    let query = body(query);
    query.contains(":ids").then(|| query.replace(":ids", "select value from json_each(?1)"))
}

/// The ids as a JSON array. A column that was declared without a type holds integers beside texts, and compares them as
/// different; so what looks like an integer is asked for as both.
fn as_json(ids: &[&str]) -> String {
    let mut values: Vec<serde_json::Value> = ids.iter().map(|id| (*id).into()).collect();
    values.extend(ids.iter().filter_map(|id| {
        let number: i64 = id.parse().ok()?;
        (number.to_string() == *id).then(|| number.into())
    }));
    serde_json::Value::Array(values).to_string()
}

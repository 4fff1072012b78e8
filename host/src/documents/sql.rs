//! Documents in a SQL database, by a query that the operator writes.
//!
//! The query takes many ids at once, where it says `(:ids)`:
//!
//! ```sql
//! select id, document, revision, deleted from documents where source = 'form-sql' and id in (:ids)
//! ```
//!
//! It must select `id` and `document`; `revision` and `deleted` are used where it selects them. Ids are compared as
//! the column holds them, integers as integers, and come back as text. The answer for a change is
//!
//! - *deleted* when `deleted` is true, whatever else stands in the row;
//! - *missing* when there is no row, or the row has no document (`null`) and does not say that it was deleted, unless
//!   the change itself says so: then it is *deleted*;
//! - *stale* when `revision` is older than what the change announces;
//! - *present* otherwise, with the column's bytes as they are. Bytes that are no JSON are the processor's to refuse.
//!
//! An answer that cannot be told apart (two rows for one id, a `deleted` that is text) is an outage that names the
//! query: the pillow waits for the operator, and nothing is skipped.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use sqlx::sqlite::SqliteRow;
use sqlx::{AssertSqlSafe, Either, Executor, Row, SqlSafeStr, Statement};

use crate::model::{Change, Document, Outage, is_stale};
use crate::sql::{Database, Sqlite};

use super::DocumentStore;

/// Most ids in one query; a larger batch is fetched in several. Bounds how long one statement holds its snapshot.
const CHUNK: usize = 500;

/// A store over a query.
#[derive(Debug)]
pub struct SqlDocuments {
    sqlite: Sqlite,
    /// What it is called in messages: the name of the store in the settings.
    name: String,
    statement: String,
}

/// Why a query cannot be a document store.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It does not say where the ids go.
    #[error("document store {store}: the query does not contain (:ids), which stands for the ids to fetch")]
    NoIds {
        /// The store.
        store: String,
    },
    /// It does not select what is needed.
    #[error("document store {store}: the query selects {found}, but must select {missing}")]
    NoColumn {
        /// The store.
        store: String,
        /// The columns it selects.
        found: String,
        /// The one that is not among them.
        missing: &'static str,
    },
    /// It has parameters besides the ids.
    #[error("document store {store}: the query has parameters of its own; only (:ids) is filled in")]
    Parameters {
        /// The store.
        store: String,
    },
    /// The database does not understand it.
    #[error("document store {store}: the database refuses the query")]
    Refused {
        /// The store.
        store: String,
        /// Why.
        source: sqlx::Error,
    },
    /// Text would come back in an encoding that is not JSON's.
    #[error("document store {store}: the database holds {encoding} text, but documents must be UTF-8")]
    Encoding {
        /// The store.
        store: String,
        /// What it holds.
        encoding: String,
    },
    /// The database does not answer.
    #[error("document store {store} is unavailable")]
    Outage {
        /// The store.
        store: String,
        /// Why.
        source: Outage,
    },
}

/// A row of the query.
#[derive(Debug)]
struct Stored {
    document: Option<Bytes>,
    revision: Option<String>,
    deleted: bool,
}

impl SqlDocuments {
    /// A store that asks `query`, which is checked against the database.
    ///
    /// # Errors
    /// When the query lacks the ids or a column, or the database refuses it.
    pub async fn new(database: &Database, name: &str, query: &str) -> Result<Self, QueryError> {
        let store = || name.to_owned();
        let Database::Sqlite(sqlite) = database else {
            let source = Outage { operation: "a document store needs SQLite".to_owned(), source: None };
            return Err(QueryError::Outage { store: store(), source });
        };
        let refused = |source| QueryError::Refused { store: store(), source };
        let failed = |error: sqlx::Error| {
            let source = Outage::new(format!("could not reach {}", sqlite.path), error);
            QueryError::Outage { store: store(), source }
        };
        let mut connection = sqlite.readers.acquire().await.map_err(failed)?;
        let encoding: String =
            sqlx::query_scalar("pragma encoding").fetch_one(&mut *connection).await.map_err(failed)?;
        if encoding != "UTF-8" {
            return Err(QueryError::Encoding { store: store(), encoding });
        }
        let query = with_ids(query).ok_or_else(|| QueryError::NoIds { store: store() })?;
        let prepared =
            (&mut *connection).prepare(AssertSqlSafe(query.clone()).into_sql_str()).await.map_err(refused)?;
        let columns: Vec<&str> = prepared.columns().iter().map(sqlx::Column::name).collect();
        let selected = |column: &str| columns.iter().any(|candidate| candidate.eq_ignore_ascii_case(column));
        if let Some(missing) = ["id", "document"].into_iter().find(|column| !selected(column)) {
            return Err(QueryError::NoColumn { store: store(), found: columns.join(", "), missing });
        }
        if !matches!(prepared.parameters(), Some(Either::Right(1))) {
            return Err(QueryError::Parameters { store: store() });
        }
        // The query becomes a table, so that its columns stand where we want them, as the types that we want. The line
        // break ends a comment in its last line.
        let optional = |column: &'static str| if selected(column) { column } else { "null" };
        let statement = format!(
            "select cast(id as text), cast(document as blob), cast({} as text), {} from (\n{query}\n)",
            optional("revision"),
            optional("deleted"),
        );
        (&mut *connection).prepare(AssertSqlSafe(statement.clone()).into_sql_str()).await.map_err(refused)?;
        Ok(Self { sqlite: sqlite.clone(), name: store(), statement })
    }

    async fn fetch_chunk(&self, ids: &[&str]) -> Result<HashMap<String, Stored>, Outage> {
        let failed = |error| Outage::new(format!("could not fetch documents of store {}", self.name), error);
        let rows: Vec<SqliteRow> = sqlx::query(AssertSqlSafe(self.statement.as_str()))
            .bind(as_json(ids))
            .fetch_all(&self.sqlite.readers)
            .await
            .map_err(failed)?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let id: Option<String> = row.try_get(0).map_err(failed)?;
            let document: Option<Vec<u8>> = row.try_get(1).map_err(failed)?;
            let deleted: Option<i64> = row.try_get(3).map_err(failed)?;
            let stored = Stored {
                document: document.map(Bytes::from),
                revision: row.try_get(2).map_err(failed)?,
                deleted: deleted.is_some_and(|deleted| deleted != 0),
            };
            let Some(id) = id else { continue };
            if found.contains_key(&id) {
                let operation = format!("the query of document store {} answers several rows for id {id}", self.name);
                return Err(Outage { operation, source: None });
            }
            found.insert(id, stored);
        }
        Ok(found)
    }
}

#[async_trait]
impl DocumentStore for SqlDocuments {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let mut documents = Vec::with_capacity(changes.len());
        for chunk in changes.chunks(CHUNK) {
            let ids: Vec<&str> = chunk.iter().map(|change| change.key.id.as_ref()).collect();
            let found = self.fetch_chunk(&ids).await?;
            documents.extend(chunk.iter().map(|change| answer(change, found.get(change.key.id.as_ref()))));
        }
        Ok(documents)
    }
}

fn answer(change: &Change, stored: Option<&Stored>) -> Document {
    let gone = if change.deleted { Document::Deleted } else { Document::Missing };
    match stored {
        None => gone,
        Some(stored) if stored.deleted => Document::Deleted,
        Some(Stored { document: None, .. }) => gone,
        Some(stored) if is_stale(change.revision.as_deref(), stored.revision.as_deref()) => Document::Stale,
        Some(Stored { document: Some(bytes), .. }) => Document::Present(bytes.clone()),
    }
}

/// The query with a table of the ids in place of `:ids`; none when it does not contain that.
fn with_ids(query: &str) -> Option<String> {
    let query = query.trim().trim_end_matches(';');
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

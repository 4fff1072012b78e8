//! Documents in a SQL database, by a query that the operator writes.
//!
//! The query takes many ids at once, where it says `:ids`; in SQLite a list, in PostgreSQL an array:
//!
//! ```sql
//! select id, document, revision, deleted from documents where source = 'form-sql' and id in (:ids)
//! select id, document, revision, deleted from documents where source = 'form-sql' and id = any(:ids)
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
//!
//! A second query, which selects all ids and optionally the `source` of each, lets a store list what it holds:
//!
//! ```sql
//! select id from documents where source = 'form-sql' and not deleted
//! ```

mod lookup;
mod postgres;
mod sqlite;

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use crate::model::{Change, Document, Outage, is_stale};
use crate::sql::Database;

use super::{DocumentStore, ListError, Listed};

pub use lookup::SqlLookup;

/// Most ids in one query; a larger batch is fetched in several. Bounds how long one statement holds its snapshot.
const CHUNK: usize = 500;

/// A store over a query.
#[derive(Debug)]
pub struct SqlDocuments {
    /// What it is called in messages: the name of the store in the settings.
    name: String,
    queries: Queries,
}

#[derive(Debug)]
enum Queries {
    Sqlite(sqlite::Queries),
    Postgres(postgres::Queries),
}

/// Why a query cannot be a document store.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// It does not say where the ids go.
    #[error("document store {store}: the query does not contain :ids, which stands for the ids to fetch")]
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
    #[error("document store {store}: the query has parameters of its own; only :ids is filled in")]
    Parameters {
        /// The store.
        store: String,
    },
    /// The ids are compared as something that they cannot be.
    #[error("document store {store}: the query takes the ids as {found}; {remedy}")]
    IdType {
        /// The store.
        store: String,
        /// What the database makes of `:ids`.
        found: String,
        /// What to write instead.
        remedy: &'static str,
    },
    /// A column cannot be understood.
    #[error("document store {store}: deleted must be a boolean or an integer, not {found}")]
    DeletedType {
        /// The store.
        store: String,
        /// What it is.
        found: String,
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
    id: Option<String>,
    document: Option<Vec<u8>>,
    revision: Option<String>,
    deleted: bool,
}

impl SqlDocuments {
    /// A store that asks `query`, which is checked against the database.
    ///
    /// # Errors
    /// When the query lacks the ids or a column, or the database refuses it.
    pub async fn new(database: &Database, name: &str, query: &str) -> Result<Self, QueryError> {
        let queries = match database {
            Database::Sqlite(sqlite) => Queries::Sqlite(sqlite::Queries::new(sqlite, name, query).await?),
            Database::Postgres(postgres) => Queries::Postgres(postgres::Queries::new(postgres, name, query).await?),
        };
        Ok(Self { name: name.to_owned(), queries })
    }

    /// The same store, which lists its documents by the query `ids`, checked as well.
    ///
    /// # Errors
    /// When the query does not select `id`, or the database refuses it.
    pub async fn listing(self, ids: &str) -> Result<Self, QueryError> {
        let queries = match self.queries {
            Queries::Sqlite(queries) => Queries::Sqlite(queries.listing(&self.name, ids).await?),
            Queries::Postgres(queries) => Queries::Postgres(queries.listing(&self.name, ids).await?),
        };
        Ok(Self { queries, ..self })
    }

    async fn fetch_chunk(&self, ids: &[&str]) -> Result<HashMap<String, Stored>, Outage> {
        let failed = |error| Outage::new(format!("could not fetch documents of store {}", self.name), error);
        let rows = match &self.queries {
            Queries::Sqlite(queries) => queries.fetch(ids).await,
            Queries::Postgres(queries) => queries.fetch(ids).await,
        };
        let rows = rows.map_err(failed)?;
        let mut found = HashMap::with_capacity(rows.len());
        for mut row in rows {
            let Some(id) = row.id.take() else { continue };
            if found.contains_key(&id) {
                let operation = format!("the query of document store {} answers several rows for id {id}", self.name);
                return Err(Outage { operation, source: None });
            }
            found.insert(id, row);
        }
        Ok(found)
    }

    fn unable(&self) -> ListError {
        let name = &self.name;
        ListError::Unable(format!(
            "document store {name} does not know what it holds: give it a query `ids` in the settings, such as \
             `select id from documents`"
        ))
    }

    fn list_outage(&self, error: sqlx::Error) -> ListError {
        ListError::Outage(Outage::new(format!("could not list the documents of store {}", self.name), error))
    }
}

#[async_trait]
impl DocumentStore for SqlDocuments {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        let mut documents = Vec::with_capacity(changes.len());
        for chunk in changes.chunks(CHUNK) {
            let ids: Vec<&str> = chunk.iter().map(|change| change.key.id.as_ref()).collect();
            let mut found = self.fetch_chunk(&ids).await?;
            // A document is asked for twice where changes are not collapsed; the last one takes the bytes along.
            let mut left: HashMap<&str, usize> = HashMap::with_capacity(ids.len());
            ids.iter().for_each(|id| *left.entry(id).or_default() += 1);
            for change in chunk {
                let id = change.key.id.as_ref();
                let left = left.entry(id).or_default();
                *left -= 1;
                let document = match left {
                    0 => found.get_mut(id).and_then(|stored| stored.document.take()),
                    _ => found.get(id).and_then(|stored| stored.document.clone()),
                };
                documents.push(answer(change, found.get(id), document));
            }
        }
        Ok(documents)
    }

    async fn list(&self, after: Option<&str>, most: NonZeroUsize) -> Result<Listed, ListError> {
        let most = i64::try_from(most.get()).unwrap_or(i64::MAX);
        let listed = match &self.queries {
            Queries::Sqlite(queries) => queries.list(after, most).await,
            Queries::Postgres(queries) => queries.list(after, most).await,
        };
        listed.map_err(|error| self.list_outage(error))?.ok_or_else(|| self.unable())
    }

    async fn count(&self) -> Result<u64, ListError> {
        let counted = match &self.queries {
            Queries::Sqlite(queries) => queries.count().await,
            Queries::Postgres(queries) => queries.count().await,
        };
        let counted = counted.map_err(|error| self.list_outage(error))?.ok_or_else(|| self.unable())?;
        Ok(u64::try_from(counted).unwrap_or(0))
    }
}

fn answer(change: &Change, stored: Option<&Stored>, document: Option<Vec<u8>>) -> Document {
    let gone = if change.deleted { Document::Deleted } else { Document::Missing };
    match (stored, document) {
        (None, _) => gone,
        (Some(stored), _) if stored.deleted => Document::Deleted,
        (Some(_), None) => gone,
        (Some(stored), _) if is_stale(change.revision.as_deref(), stored.revision.as_deref()) => Document::Stale,
        (Some(_), Some(document)) => Document::Present(Bytes::from(document)),
    }
}

/// The operator's text without what would end it early.
fn body(query: &str) -> &str {
    query.trim().trim_end_matches(';')
}

//! Look-ups in a SQL database: a named query over keys, with any number of rows for each.
//!
//! ```sql
//! select case_id as key, document from form_cases join forms using (form_id) where case_id = any(:ids) order by received_on
//! ```
//!
//! It must select `key` and `document`. The documents of a key come in the order of the query's rows; a row without a
//! document, or of a key that was not asked for, is left out.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::{CHUNK, Queries, QueryError, body, postgres, sqlite};
use crate::documents::{DocumentStore, LookedUp, first_of_each};
use crate::model::{Change, Document, Outage};
use crate::sql::Database;

/// A look-up over a query.
#[derive(Debug)]
pub struct SqlLookup {
    /// The name of the store in the settings, for messages.
    name: String,
    queries: Queries,
}

impl SqlLookup {
    /// A look-up that asks `query`, which is checked against the database.
    ///
    /// # Errors
    /// When the query lacks the ids or a column, or the database refuses it.
    pub async fn new(database: &Database, name: &str, query: &str) -> Result<Self, QueryError> {
        // As the query of a document store with these columns. The line break ends a comment in its last line.
        let query = format!("select key as id, document from (\n{}\n) as keyed", body(query));
        let queries = match database {
            Database::Sqlite(sqlite) => Queries::Sqlite(sqlite::Queries::new(sqlite, name, &query).await?),
            Database::Postgres(postgres) => Queries::Postgres(postgres::Queries::new(postgres, name, &query).await?),
        };
        Ok(Self { name: name.to_owned(), queries })
    }
}

#[async_trait]
impl DocumentStore for SqlLookup {
    async fn fetch(&self, changes: &[Arc<Change>]) -> Result<Vec<Document>, Outage> {
        first_of_each(self, changes).await
    }

    async fn look_up(&self, _lookup: &Arc<str>, keys: &[Arc<str>]) -> Result<LookedUp, Outage> {
        let mut looked_up = LookedUp { documents: vec![Vec::new(); keys.len()], queries: 0 };
        for (chunk, documents) in keys.chunks(CHUNK).zip(looked_up.documents.chunks_mut(CHUNK)) {
            let ids: Vec<&str> = chunk.iter().map(AsRef::as_ref).collect();
            let rows = match &self.queries {
                Queries::Sqlite(queries) => queries.fetch(&ids).await,
                Queries::Postgres(queries) => queries.fetch(&ids).await,
            };
            looked_up.queries += 1;
            let mut places: HashMap<&str, Vec<usize>> = HashMap::with_capacity(ids.len());
            ids.iter().enumerate().for_each(|(at, id)| places.entry(id).or_default().push(at));
            for row in rows.map_err(|error| Outage::new(format!("could not ask look-up {}", self.name), error))? {
                let (Some(key), Some(document)) = (row.id, row.document) else { continue };
                let document = Bytes::from(document);
                for at in places.get(key.as_str()).into_iter().flatten() {
                    documents[*at].push(document.clone());
                }
            }
        }
        Ok(looked_up)
    }
}

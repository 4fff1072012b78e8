//! How a document store asks PostgreSQL.
//!
//! `:ids` becomes an array of the type that the server makes of it: of texts beside a text column, of integers or UUIDs
//! beside such. An id that cannot be of that type is not asked for, and so it is missing; it would fail the statement.

use std::sync::Arc;

use sqlx::postgres::{PgRow, PgStatement};
use sqlx::{
    AssertSqlSafe, Column as _, Either, Executor as _, Row as _, SqlSafeStr as _, Statement as _, TypeInfo as _,
};
use uuid::Uuid;

use super::{QueryError, Stored, body};
use crate::documents::{Listed, ListedDocument};
use crate::model::Outage;
use crate::sql::Postgres;

/// The statements of a store, checked.
#[derive(Debug)]
pub(super) struct Queries {
    postgres: Postgres,
    fetch: String,
    ids_as: IdType,
    ids: Option<Ids>,
}

/// The operator's query for all ids.
#[derive(Debug)]
struct Ids {
    query: String,
    /// The type of its ids.
    id_type: String,
    has_source: bool,
}

/// What the ids are compared as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum IdType {
    Text,
    Integer { least: i64, most: i64 },
    Uuid,
}

impl Queries {
    pub(super) async fn new(postgres: &Postgres, name: &str, query: &str) -> Result<Self, QueryError> {
        let store = || name.to_owned();
        let query = body(query);
        if !query.contains(":ids") {
            return Err(QueryError::NoIds { store: store() });
        }
        let prepared = prepare(postgres, name, &query.replace(":ids", "$1")).await?;
        let Some(Either::Left([parameter])) = prepared.parameters() else {
            return Err(QueryError::Parameters { store: store() });
        };
        let array = parameter.name();
        let ids_as = IdType::of(array).ok_or_else(|| QueryError::IdType {
            store: store(),
            found: array.to_owned(),
            remedy: match array.ends_with("[]") {
                true => "write `id::text = any(:ids)`",
                false => "in PostgreSQL they are an array: write `id = any(:ids)`",
            },
        })?;
        let columns = prepared.columns();
        let type_of = |name: &str| columns.iter().find(|column| column.name() == name).map(|column| column.type_info());
        if let Some(missing) = ["id", "document"].into_iter().find(|column| type_of(column).is_none()) {
            return Err(QueryError::NoColumn { store: store(), found: names(&prepared), missing });
        }
        let document = match type_of("document").map(|kind| kind.name()) {
            Some("BYTEA") => "document",
            // As the server writes it: json as it was stored, jsonb in its own form.
            _ => "convert_to(document::text, 'UTF8')",
        };
        let deleted = match type_of("deleted").map(|kind| kind.name()) {
            None => "null::boolean",
            Some("BOOL") => "deleted",
            Some("INT2" | "INT4" | "INT8") => "deleted <> 0",
            Some(other) => return Err(QueryError::DeletedType { store: store(), found: other.to_owned() }),
        };
        let revision = type_of("revision").map_or("null::text", |_| "revision::text");
        // The query becomes a table, so that its columns stand where we want them, as the types that we want. The line
        // break ends a comment in its last line.
        let inner = query.replace(":ids", &format!("$1::text[]::{array}"));
        let fetch = format!("select id::text, {document}, {revision}, {deleted} from (\n{inner}\n) as found");
        prepare(postgres, name, &fetch).await?;
        Ok(Self { postgres: postgres.clone(), fetch, ids_as, ids: None })
    }

    pub(super) async fn listing(mut self, name: &str, ids: &str) -> Result<Self, QueryError> {
        let ids = body(ids);
        let prepared = prepare(&self.postgres, name, ids).await?;
        if !matches!(prepared.parameters(), Some(Either::Left([]))) {
            return Err(QueryError::Parameters { store: name.to_owned() });
        }
        let Some(id) = prepared.columns().iter().find(|column| column.name() == "id") else {
            return Err(QueryError::NoColumn { store: name.to_owned(), found: names(&prepared), missing: "id" });
        };
        let has_source = prepared.columns().iter().any(|column| column.name() == "source");
        let ids = Ids { query: ids.to_owned(), id_type: id.type_info().name().to_owned(), has_source };
        prepare(&self.postgres, name, &ids.statement(true)).await?;
        self.ids = Some(ids);
        Ok(self)
    }

    pub(super) async fn fetch(&self, ids: &[&str]) -> Result<Vec<Stored>, sqlx::Error> {
        let ids: Vec<&str> = ids.iter().copied().filter(|id| self.ids_as.holds(id)).collect();
        let rows: Vec<PgRow> =
            sqlx::query(AssertSqlSafe(self.fetch.as_str())).bind(ids).fetch_all(&self.postgres.pool).await?;
        let stored = |row: &PgRow| {
            let deleted: Option<bool> = row.try_get(3)?;
            Ok(Stored {
                id: row.try_get(0)?,
                document: row.try_get(1)?,
                revision: row.try_get(2)?,
                deleted: deleted.unwrap_or(false),
            })
        };
        rows.iter().map(stored).collect()
    }

    /// None where there is no query for it. The cursor is the last id.
    pub(super) async fn list(&self, after: Option<&str>, most: i64) -> Result<Option<Listed>, sqlx::Error> {
        let Some(ids) = &self.ids else { return Ok(None) };
        let query = sqlx::query(AssertSqlSafe(ids.statement(after.is_some()))).bind(most);
        let query = match after {
            Some(after) => query.bind(after.to_owned()),
            None => query,
        };
        let rows = query.fetch_all(&self.postgres.pool).await?;
        let mut listed = Listed::default();
        for row in &rows {
            let id: &str = row.try_get(0)?;
            let source: Option<&str> = row.try_get(1)?;
            listed.next = Some(Arc::from(id));
            listed.documents.push(ListedDocument { source: source.map(Arc::from), id: Arc::from(id) });
        }
        Ok(Some(listed))
    }

    pub(super) async fn count(&self) -> Result<Option<i64>, sqlx::Error> {
        let Some(ids) = &self.ids else { return Ok(None) };
        let statement = format!("select count(id) from (\n{}\n) as listed", ids.query);
        sqlx::query_scalar(AssertSqlSafe(statement)).fetch_one(&self.postgres.pool).await.map(Some)
    }
}

impl Ids {
    /// The statement for the first page, or for one after another. Ids are compared as what they are, so that an index
    /// over them serves.
    fn statement(&self, goes_on: bool) -> String {
        let Self { query, id_type, has_source } = self;
        let source = if *has_source { "source::text" } else { "null::text" };
        let from =
            if goes_on { format!("listed.id > $2::text::{id_type}") } else { "listed.id is not null".to_owned() };
        format!("select id::text, {source} from (\n{query}\n) as listed where {from} order by listed.id limit $1")
    }
}

impl IdType {
    /// By the type of the array.
    fn of(array: &str) -> Option<Self> {
        match array {
            "TEXT[]" | "VARCHAR[]" => Some(Self::Text),
            "INT2[]" => Some(Self::Integer { least: i16::MIN.into(), most: i16::MAX.into() }),
            "INT4[]" => Some(Self::Integer { least: i32::MIN.into(), most: i32::MAX.into() }),
            "INT8[]" => Some(Self::Integer { least: i64::MIN, most: i64::MAX }),
            "UUID[]" => Some(Self::Uuid),
            _ => None,
        }
    }

    /// Whether an id can be of the type and comes back as the same text.
    fn holds(self, id: &str) -> bool {
        match self {
            Self::Text => !id.contains('\0'),
            Self::Integer { least, most } => {
                id.parse::<i64>().is_ok_and(|number| (least..=most).contains(&number) && number.to_string() == id)
            }
            Self::Uuid => Uuid::parse_str(id).is_ok_and(|uuid| uuid.hyphenated().to_string() == id),
        }
    }
}

fn names(prepared: &PgStatement) -> String {
    let names: Vec<&str> = prepared.columns().iter().map(sqlx::Column::name).collect();
    names.join(", ")
}

async fn prepare(postgres: &Postgres, name: &str, statement: &str) -> Result<PgStatement, QueryError> {
    let unavailable = |error| {
        let source = Outage::new(format!("could not reach {}", postgres.place), error);
        QueryError::Outage { store: name.to_owned(), source }
    };
    let mut connection = postgres.pool.acquire().await.map_err(unavailable)?;
    let prepared = (&mut *connection).prepare(AssertSqlSafe(statement.to_owned()).into_sql_str()).await;
    prepared.map_err(|error| match error {
        sqlx::Error::Database(_) => QueryError::Refused { store: name.to_owned(), source: error },
        other => unavailable(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ids_that_come_back_as_they_are_are_asked_for() {
        let check = |array: &str, id: &str, expected: bool| {
            assert_eq!(IdType::of(array).unwrap().holds(id), expected, "{array} {id}");
        };
        check("TEXT[]", "a", true);
        check("TEXT[]", "a\0", false);
        check("INT4[]", "12", true);
        check("INT4[]", "0012", false);
        check("INT4[]", "4294967296", false);
        check("INT8[]", "4294967296", true);
        check("UUID[]", "67e55044-10b1-426f-9247-bb680e5fe0c8", true);
        check("UUID[]", "67E55044-10B1-426F-9247-BB680E5FE0C8", false);
        assert_eq!(IdType::of("NUMERIC[]"), None);
    }
}

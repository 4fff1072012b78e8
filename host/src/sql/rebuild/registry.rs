//! The rebuilds that are under way, as rows. The statements are the same in both databases.

use sqlx::{ColumnIndex, Database as SqlxDatabase, Decode, FromRow, Row, Type};

use super::super::{Connection, Given};
use super::{Owner, Rebuild, State};
use crate::model::Outage;

const OPERATION: &str = "could not look at the rebuilds of tables";
const TABLE: &str = "create table if not exists pillowtop_rebuilds (
  table_name text not null primary key,
  new_name text not null,
  old_name text not null,
  part text,
  pillow text not null,
  processor text not null,
  shape text not null,
  old_columns text not null,
  indexes text not null,
  state text not null,
  backfill bigint
)";
pub(super) const COLUMNS: &str = "table_name, new_name, old_name, part, shape, old_columns, indexes, state, backfill";

impl State {
    const ALL: [(Self, &'static str); 3] =
        [(Self::Filling, "filling"), (Self::Switched, "switched"), (Self::Kept, "kept")];

    fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(state, _)| *state == self).map_or("kept", |(_, name)| name)
    }
}

/// Makes the table of rebuilds unless it is there. Only who prepares tables does it, one after the other.
pub(crate) async fn make_registry(connection: &mut Connection<'_>) -> Result<(), Outage> {
    change(connection, TABLE, &[]).await
}

/// Whether anybody ever prepared a table that may be rebuilt.
pub(super) async fn exists(connection: &mut Connection<'_>) -> Result<bool, Outage> {
    let found = match connection {
        Connection::Sqlite(connection) => {
            sqlx::query_scalar("select count(*) > 0 from sqlite_master where name = 'pillowtop_rebuilds'")
                .fetch_one(&mut **connection)
                .await
        }
        Connection::Postgres(connection) => {
            sqlx::query_scalar("select to_regclass('pillowtop_rebuilds') is not null")
                .fetch_one(&mut **connection)
                .await
        }
    };
    found.map_err(|error| Outage::new(OPERATION, error))
}

/// Notes a rebuild that begins.
pub(super) async fn insert(connection: &mut Connection<'_>, owner: &Owner, rebuild: &Rebuild) -> Result<(), Outage> {
    let (old_columns, indexes) = (serde_json::json!(rebuild.old_columns), serde_json::json!(rebuild.indexes));
    let (old_columns, indexes) = (old_columns.to_string(), indexes.to_string());
    let statement = "insert into pillowtop_rebuilds
         (table_name, new_name, old_name, part, pillow, processor, shape, old_columns, indexes, state)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let values = [
        Given::from(rebuild.table.as_str()),
        Given::from(rebuild.new_name.as_str()),
        Given::from(rebuild.old_name.as_str()),
        Given::from(rebuild.part.as_deref()),
        Given::from(owner.pillow.as_str()),
        Given::from(owner.processor.as_str()),
        Given::from(rebuild.shape.as_str()),
        Given::from(old_columns.as_str()),
        Given::from(indexes.as_str()),
        Given::from(rebuild.state.as_str()),
    ];
    change(connection, statement, &values).await
}

pub(super) async fn note_backfill(
    connection: &mut Connection<'_>,
    rebuild: &Rebuild,
    number: Option<i64>,
) -> Result<(), Outage> {
    let statement = "update pillowtop_rebuilds set backfill = $3 where table_name = $1 and new_name = $2";
    change(connection, statement, &[rebuild.table.as_str().into(), rebuild.new_name.as_str().into(), number.into()])
        .await
}

pub(super) async fn note_state(connection: &mut Connection<'_>, rebuild: &Rebuild, state: State) -> Result<(), Outage> {
    let statement = "update pillowtop_rebuilds set state = $3 where table_name = $1 and new_name = $2";
    change(
        connection,
        statement,
        &[rebuild.table.as_str().into(), rebuild.new_name.as_str().into(), state.as_str().into()],
    )
    .await
}

pub(super) async fn remove(connection: &mut Connection<'_>, table: &str) -> Result<(), Outage> {
    change(connection, "delete from pillowtop_rebuilds where table_name = $1", &[table.into()]).await
}

/// The rebuild of a table.
pub(super) async fn find(connection: &mut Connection<'_>, table: &str) -> Result<Option<Rebuild>, Outage> {
    let statement = format!("select {COLUMNS} from pillowtop_rebuilds where table_name = $1");
    Ok(read(connection, &statement, &[table.into()]).await?.pop())
}

/// All of a processor, in the order of their tables.
pub(super) async fn of_owner(connection: &mut Connection<'_>, owner: &Owner) -> Result<Vec<Rebuild>, Outage> {
    let statement =
        format!("select {COLUMNS} from pillowtop_rebuilds where pillow = $1 and processor = $2 order by table_name");
    read(connection, &statement, &[owner.pillow.as_str().into(), owner.processor.as_str().into()]).await
}

async fn change(connection: &mut Connection<'_>, statement: &str, values: &[Given<'_>]) -> Result<(), Outage> {
    let changed = connection.change(statement, values).await;
    changed.map(|_| ()).map_err(|error| Outage::new(OPERATION, error))
}

async fn read(connection: &mut Connection<'_>, query: &str, values: &[Given<'_>]) -> Result<Vec<Rebuild>, Outage> {
    connection.read(query, values).await.map_err(|error| Outage::new(OPERATION, error))
}

impl<'r, R> FromRow<'r, R> for Rebuild
where
    R: Row,
    &'static str: ColumnIndex<R>,
    i64: Decode<'r, R::Database> + Type<R::Database>,
    String: Decode<'r, R::Database> + Type<R::Database>,
    R::Database: SqlxDatabase,
{
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let json = |error: serde_json::Error| sqlx::Error::Decode(Box::new(error));
        let state: String = row.try_get("state")?;
        let known = State::ALL.iter().find(|(_, name)| *name == state);
        Ok(Rebuild {
            table: row.try_get("table_name")?,
            part: row.try_get("part")?,
            shape: row.try_get("shape")?,
            // What a later version calls otherwise is left alone.
            state: known.map_or(State::Kept, |(state, _)| *state),
            backfill: row.try_get("backfill")?,
            new_name: row.try_get("new_name")?,
            old_name: row.try_get("old_name")?,
            old_columns: serde_json::from_str(&row.try_get::<String, _>("old_columns")?).map_err(json)?,
            indexes: serde_json::from_str(&row.try_get::<String, _>("indexes")?).map_err(json)?,
        })
    }
}

//! Tables that are rebuilt: a new one is filled beside the old one, and takes its place when it is complete.
//!
//! What is under way stands in a table of the same database, `pillowtop_rebuilds`. Every transaction that writes rows of
//! a table that may be rebuilt looks there first, so that rows go to the new table from the moment on in which the
//! rebuild is known, and to the old one as well where its columns still take them. The old table is not dropped before the new one has its name.
//!
//! Deliberately absent: who fills the new table, and when it is complete.

mod registry;
mod route;
mod switch;

use sha2::{Digest as _, Sha256};

use super::schema::{self, ExistingTable, PrepareError, Step};
use super::{Connection, Database, Dialect, Error, run_words};
use crate::model::{Outage, PillowName, ProcessorName, Table, TableIndex};

pub(crate) use registry::make_registry;
pub(super) use route::route;

/// The number of the advisory lock that writers share and that a switch has alone; any number that nobody else takes.
const LOCK: i64 = schema::LOCK + 1;

/// Whose tables are prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The pillow.
    pub pillow: PillowName,
    /// The processor within it.
    pub processor: ProcessorName,
}

/// A rebuild that is under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// The table.
    pub table: String,
    /// The part of the processor whose rows it holds.
    pub part: Option<String>,
    /// The shape that it is to have: see [`shape`].
    pub shape: String,
    /// How far it is.
    pub state: State,
    /// The number of the backfill that fills the new table; none when nobody asked for one yet.
    pub backfill: Option<i64>,
    /// What the new table is called until it takes the old one's place.
    pub(super) new_name: String,
    /// What the old table is called after that, until it is dropped.
    pub(super) old_name: String,
    /// Columns of the new rows that the old table takes; none when it does not take them.
    pub(super) old_columns: Option<Vec<String>>,
    /// The indexes of the new table: what they are called until then, and afterwards.
    pub(super) indexes: Vec<(String, String)>,
}

/// How far a rebuild is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The new table is being filled.
    Filling,
    /// It has the old one's name; the old one is to be dropped.
    Switched,
    /// The same, but the old one cannot be dropped, since something else needs it.
    Kept,
}

impl Rebuild {
    /// A word that no other rebuild has.
    pub fn mark(&self) -> &str {
        &self.new_name
    }
}

/// The rebuilds of a database.
#[derive(Debug, Clone)]
pub struct Rebuilds {
    database: Database,
}

impl Rebuilds {
    /// Those of `database`.
    pub fn new(database: Database) -> Self {
        Self { database }
    }

    /// All of a processor that are not over.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn of(&self, owner: &Owner) -> Result<Vec<Rebuild>, Outage> {
        let mut transaction = self.database.begin_reading().await?;
        if !registry::exists(&mut transaction.connection()).await? {
            return Ok(Vec::new());
        }
        registry::of_owner(&mut transaction.connection(), owner).await
    }

    /// Begins a rebuild of a table that has its declared shape, or answers the one that is under way. The table is
    /// prepared, and may be rebuilt.
    ///
    /// # Errors
    /// When there is no such table, or the database does not answer.
    pub async fn begin(&self, owner: &Owner, declared: &Table) -> Result<Rebuild, PrepareError> {
        let mut transaction = self.database.begin().await.map_err(PrepareError::Outage)?;
        let mut connection = transaction.connection();
        schema::lock(&mut connection).await.map_err(PrepareError::Outage)?;
        make_registry(&mut connection).await.map_err(PrepareError::Outage)?;
        let known = registry::find(&mut connection, &declared.name).await.map_err(PrepareError::Outage)?;
        if let Some(known) = known {
            if known.state == State::Filling && known.shape == shape(declared) {
                return Ok(known);
            }
            abandon(&mut connection, &known).await?;
        }
        let operation = operation(&declared.name);
        let existing = schema::read_existing(&mut connection, &declared.name, &operation).await;
        let Some(existing) = existing.map_err(PrepareError::Outage)? else {
            return Err(PrepareError::Refused(vec![format!("there is no table {} in the database", declared.name)]));
        };
        let begun = begin(&mut connection, owner, declared, &existing).await?;
        transaction.commit().await.map_err(PrepareError::Outage)?;
        Ok(begun)
    }

    /// Notes which backfill fills the new table.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn note_backfill(&self, rebuild: &Rebuild, number: Option<i64>) -> Result<(), Outage> {
        let mut transaction = self.database.begin().await?;
        registry::note_backfill(&mut transaction.connection(), rebuild, number).await?;
        transaction.commit().await
    }

    /// Puts the new table in the old one's place, unless somebody else did; says whether it was done here.
    ///
    /// # Errors
    /// When the database does not answer, or a table is in use for longer than a switch waits.
    pub async fn switch(&self, rebuild: &Rebuild) -> Result<bool, Outage> {
        switch::switch(&self.database, rebuild).await
    }

    /// Drops the old table, after the switch; why not, where something else needs it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn drop_old(&self, rebuild: &Rebuild) -> Result<Result<(), String>, Outage> {
        switch::drop_old(&self.database, rebuild).await
    }
}

/// What distinguishes tables whose rows differ, as one word.
pub fn shape(table: &Table) -> String {
    let column = |column: &crate::model::Column| {
        format!("{:?} {} {}", column.name, Dialect::Postgres.column_type(column.kind), column.nullable)
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let text = format!("{columns:?} {:?} {:?}", table.key, table.document_column);
    mark(&text)
}

fn mark(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn operation(table: &str) -> String {
    format!("could not rebuild table {table}")
}

/// What is known of rebuilds of a declared table.
pub(super) enum Known {
    /// There is none.
    None,
    /// One to this shape is under way.
    Same,
    /// Another one is not over.
    Other(Box<Rebuild>),
}

pub(super) async fn known(connection: &mut Connection<'_>, declared: &Table) -> Result<Known, PrepareError> {
    let found = registry::find(connection, &declared.name).await.map_err(PrepareError::Outage)?;
    Ok(match found {
        None => Known::None,
        Some(found) if found.state == State::Filling && found.shape == shape(declared) => Known::Same,
        Some(found) => Known::Other(Box::new(found)),
    })
}

/// Makes the new table beside the old one, and notes it, inside the caller's transaction.
pub(super) async fn begin(
    connection: &mut Connection<'_>,
    owner: &Owner,
    declared: &Table,
    existing: &ExistingTable,
) -> Result<Rebuild, PrepareError> {
    // One that was given up or kept may have left a name behind.
    let mark = mark(&uuid::Uuid::new_v4().to_string());
    let new_name = format!("pillowtop_new_{mark}");
    let mut indexes = Vec::new();
    let mut steps = vec![Step::CreateTable];
    for (at, index) in schema::wanted_indexes(declared).into_iter().enumerate() {
        let name = format!("{new_name}_{at}");
        indexes.push((name.clone(), schema::index_name(&declared.name, &index)));
        steps.push(Step::CreateIndex(TableIndex { name: Some(name), ..index }));
    }
    let rebuild = Rebuild {
        table: declared.name.clone(),
        part: declared.part.clone(),
        shape: shape(declared),
        state: State::Filling,
        backfill: None,
        new_name: new_name.clone(),
        old_name: format!("pillowtop_old_{mark}"),
        old_columns: taken_columns(connection.dialect(), existing, declared),
        indexes,
    };
    let fresh = Table { name: new_name, ..declared.clone() };
    schema::take_steps(connection, &fresh, &steps, &operation(&declared.name)).await?;
    registry::insert(connection, owner, &rebuild).await.map_err(PrepareError::Outage)?;
    Ok(rebuild)
}

/// Gives up a rebuild that is not wanted any more, inside the caller's transaction: of one that was switched already only
/// the old table goes.
pub(super) async fn abandon(connection: &mut Connection<'_>, rebuild: &Rebuild) -> Result<(), PrepareError> {
    let operation = operation(&rebuild.table);
    alone(connection, &operation).await.map_err(PrepareError::Outage)?;
    let leftover = match rebuild.state {
        State::Filling => Some(&rebuild.new_name),
        State::Switched => Some(&rebuild.old_name),
        State::Kept => None,
    };
    if let Some(name) = leftover {
        let statement = format!("drop table if exists \"{name}\"");
        connection.execute(&operation, statement).await.map_err(|error| match error {
            Error::Rejected(rejection) => PrepareError::Refused(vec![format!("{name}: {}", rejection.reason)]),
            Error::Outage(outage) => PrepareError::Outage(outage),
        })?;
    }
    registry::remove(connection, &rebuild.table).await.map_err(PrepareError::Outage)
}

/// The columns of new rows that the old table takes, where every new row fits it.
fn taken_columns(dialect: Dialect, existing: &ExistingTable, declared: &Table) -> Option<Vec<String>> {
    if existing.key != declared.key {
        return None;
    }
    let mut taken = Vec::new();
    for found in &existing.columns {
        match declared.column(&found.name).map(|at| &declared.columns[at]) {
            Some(column) => {
                let same = found.type_name.eq_ignore_ascii_case(&dialect.column_type(column.kind));
                let nullable = column.nullable && !declared.key.contains(&column.name);
                if !same || (nullable && !found.nullable) {
                    return None;
                }
                taken.push(column.name.clone());
            }
            None if found.nullable || found.has_default => {}
            None => return None,
        }
    }
    Some(taken)
}

/// Waits until no transaction writes rows of tables that may be rebuilt, and keeps others from beginning. In SQLite a
/// transaction that writes is alone.
async fn alone(connection: &mut Connection<'_>, operation: &str) -> Result<(), Outage> {
    let Connection::Postgres(connection) = connection else { return Ok(()) };
    let lock = format!("set local lock_timeout = '2s'; select pg_advisory_xact_lock({LOCK})");
    run_words(connection, operation, lock).await.map_err(|error| error.into_outage(operation))
}

#[cfg(test)]
mod tests;

//! Tables as processors declare them: what is absent is made, what can be extended without loss is extended, and
//! everything else is refused in words.

mod existing;

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::values::kind_name;
use super::{Connection, Database, Dialect, Error, Rejection, run_words};
use crate::model::{Column, ColumnKind, Outage, Table, TableIndex};

/// Columns of one table; PostgreSQL's limit (1600), which is below SQLite's (2000). More are refused.
const MOST_COLUMNS: usize = 1600;

/// Bytes of a name; PostgreSQL would cut it there without a word.
const LONGEST_NAME: usize = 63;

/// The number of the advisory lock of all who change tables; any number that nobody else takes.
pub(crate) const LOCK: i64 = 0x7069_6c6c_6f77;

/// Prefixes of the databases' own tables and of ours.
const RESERVED_PREFIXES: [&str; 3] = ["pillowtop_", "sqlite_", "pg_"];

/// A table as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingTable {
    /// Its columns.
    pub columns: Vec<ExistingColumn>,
    /// The columns of its primary key, in order.
    pub key: Vec<String>,
    /// Its other indexes.
    pub indexes: Vec<TableIndex>,
}

/// A column as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingColumn {
    /// Its name.
    pub name: String,
    /// What it holds; none for a type that no declaration makes.
    pub kind: Option<ColumnKind>,
    /// Its type, in the database's words.
    pub type_name: String,
    /// Whether it may be null.
    pub nullable: bool,
    /// Whether the database has a value for it where an insert has none.
    pub has_default: bool,
}

/// One statement towards the declared table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Make the table, without its indexes.
    CreateTable,
    /// Add a column that may be null.
    AddColumn(Column),
    /// Make an index.
    CreateIndex(TableIndex),
}

/// Why the tables are not ready; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// What is there cannot be extended to what is declared; one line for each difference.
    #[error("{}", .0.join("; "))]
    Refused(Vec<String>),
    /// The database does not answer.
    #[error("could not prepare tables")]
    Outage(#[source] Outage),
}

/// Makes and extends `tables`, all or none of them.
///
/// # Errors
/// When one of them is refused, or the database does not answer.
pub async fn prepare(database: &Database, tables: &[Table]) -> Result<(), PrepareError> {
    let mut transaction = database.begin().await.map_err(PrepareError::Outage)?;
    lock(&mut transaction.connection()).await.map_err(PrepareError::Outage)?;
    let mut refused = Vec::new();
    for table in tables {
        // A table that stands twice in the list is compared with what its first mention made.
        match prepare_table(&mut transaction.connection(), table).await {
            Ok(()) => {}
            Err(PrepareError::Refused(lines)) => refused.extend(lines),
            Err(outage @ PrepareError::Outage(_)) => return Err(outage),
        }
    }
    if !refused.is_empty() {
        return Err(PrepareError::Refused(refused));
    }
    transaction.commit().await.map_err(PrepareError::Outage)
}

/// Hosts that start together prepare the same tables: one after the other, until the transaction ends.
async fn lock(connection: &mut Connection<'_>) -> Result<(), Outage> {
    const OPERATION: &str = "could not wait for other hosts that prepare tables";
    match connection {
        Connection::Sqlite(_) => Ok(()),
        Connection::Postgres(connection) => {
            let locked = run_words(connection, OPERATION, format!("select pg_advisory_xact_lock({LOCK})")).await;
            locked.map_err(|error| error.into_outage(OPERATION))
        }
    }
}

/// The steps that turn what exists into what is declared; none when they are the same. Indexes that nobody declares
/// are left alone: operators add their own. So are columns that nobody declares, as long as rows can be inserted without
/// them: a processor must be able to go back to the version before the one that added a column. Such a column keeps its
/// values where rows are not replaced, and new rows have its default there, which is null where nobody set one.
///
/// # Errors
/// One sentence for each reason why it cannot be done, with table and column.
pub fn plan(existing: Option<&ExistingTable>, declared: &Table) -> Result<Vec<Step>, Vec<String>> {
    let mut refused = check_declaration(declared);
    if !refused.is_empty() {
        return Err(refused);
    }
    let indexes = wanted_indexes(declared);
    let Some(existing) = existing else {
        return Ok(std::iter::once(Step::CreateTable).chain(indexes.into_iter().map(Step::CreateIndex)).collect());
    };
    let mut steps = Vec::new();
    for column in &declared.columns {
        match existing.columns.iter().find(|candidate| candidate.name == column.name) {
            Some(found) => refused.extend(difference(declared, column, found)),
            None if column.nullable => steps.push(Step::AddColumn(column.clone())),
            None => refused.push(format!(
                "{}.{}: a column that is added must be nullable, since existing rows have no value for it",
                declared.name, column.name
            )),
        }
    }
    for column in &existing.columns {
        if declared.column(&column.name).is_none() && !column.nullable && !column.has_default {
            refused.push(format!(
                "{}.{}: exists, is not declared any more, and must be nullable or have a default, since new rows have \
                 no value for it",
                declared.name, column.name
            ));
        }
    }
    if existing.key != declared.key {
        let (from, to) = (existing.key.join(", "), declared.key.join(", "));
        refused.push(format!("{}: the key cannot change from ({from}) to ({to})", declared.name));
    }
    if !refused.is_empty() {
        return Err(refused);
    }
    let absent = indexes.into_iter().filter(|index| !existing.indexes.contains(index));
    steps.extend(absent.map(Step::CreateIndex));
    Ok(steps)
}

fn difference(declared: &Table, column: &Column, found: &ExistingColumn) -> Option<String> {
    let (place, kind) = (format!("{}.{}", declared.name, column.name), kind_name(column.kind));
    if found.kind != Some(column.kind) {
        return Some(format!("{place}: the type cannot change from {} to {kind}", found.type_name));
    }
    // A key column has values whatever its declaration says.
    let nullable = column.nullable && !declared.key.contains(&column.name);
    match (found.nullable, nullable) {
        (true, false) => Some(format!("{place}: is nullable and cannot become required")),
        (false, true) => Some(format!("{place}: is required and cannot become nullable")),
        _ => None,
    }
}

/// What is wrong with a declaration by itself.
fn check_declaration(table: &Table) -> Vec<String> {
    let name = &table.name;
    let mut wrong = Vec::new();
    if is_bad_name(name) {
        wrong.push(format!("{name:?} is no name for a table"));
    }
    let folded = name.to_lowercase();
    if let Some(prefix) = RESERVED_PREFIXES.iter().find(|prefix| folded.starts_with(**prefix)) {
        wrong.push(format!("{name}: names that start with {prefix} are taken"));
    }
    if table.columns.is_empty() || table.columns.len() > MOST_COLUMNS {
        wrong.push(format!("{name}: has {} columns, and must have 1 to {MOST_COLUMNS}", table.columns.len()));
    }
    let mut seen = HashSet::new();
    for column in &table.columns {
        if is_bad_name(&column.name) {
            wrong.push(format!("{name}: {:?} is no name for a column", column.name));
        }
        // SQLite does not tell upper from lower case in names, PostgreSQL does.
        if !seen.insert(column.name.to_lowercase()) {
            wrong.push(format!("{name}.{}: is declared twice", column.name));
        }
    }
    let mut mentioned: Vec<(&str, &String)> = table.key.iter().map(|column| ("key", column)).collect();
    mentioned.extend(table.indexes.iter().flat_map(|index| index.columns.iter().map(|column| ("index", column))));
    for (what, column) in mentioned {
        if table.column(column).is_none() {
            wrong.push(format!("{name}: the {what} names column {column:?}, which is not declared"));
        }
    }
    if table.key.iter().collect::<HashSet<_>>().len() != table.key.len() {
        wrong.push(format!("{name}: the key names a column twice"));
    }
    if table.indexes.iter().any(|index| index.columns.is_empty()) {
        wrong.push(format!("{name}: an index has no columns"));
    }
    if let Some(column) = &table.document_column {
        let kind = table.column(column).map(|at| table.columns[at].kind);
        if kind != Some(ColumnKind::Text) {
            wrong.push(format!("{name}: the document column {column:?} is not a declared column of text"));
        }
    }
    wrong
}

fn is_bad_name(name: &str) -> bool {
    name.is_empty() || name.contains('\0') || name.len() > LONGEST_NAME
}

/// The declared indexes, each once, and one for the document column unless another already leads with it: rows are
/// removed by it.
fn wanted_indexes(table: &Table) -> Vec<TableIndex> {
    let mut wanted: Vec<TableIndex> = Vec::with_capacity(table.indexes.len() + 1);
    for index in &table.indexes {
        if !wanted.contains(index) {
            wanted.push(index.clone());
        }
    }
    if let Some(column) = &table.document_column {
        let leads = |columns: &Vec<String>| columns.first() == Some(column);
        if !leads(&table.key) && !wanted.iter().any(|index| leads(&index.columns)) {
            wanted.push(TableIndex { columns: vec![column.clone()], unique: false });
        }
    }
    wanted
}

/// A name that says what it is and that no other index has: index names share one space in a database.
fn index_name(table: &str, index: &TableIndex) -> String {
    let spelled = format!("{table}_by_{}", index.columns.join("_"));
    let identity = format!("{table:?}{:?}{}", index.columns, index.unique);
    let digest = Sha256::digest(identity.as_bytes());
    let mark: String = digest.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    // PostgreSQL cuts names after 63 bytes.
    let readable: String = spelled.chars().filter(char::is_ascii).take(50).collect();
    format!("{readable}_{mark}")
}

/// Schema statements assume that no other writer changes the same tables meanwhile: in SQLite the transaction holds
/// the only write lock, in PostgreSQL [`lock`] keeps other hosts out.
async fn prepare_table(connection: &mut Connection<'_>, table: &Table) -> Result<(), PrepareError> {
    let operation = format!("could not prepare table {}", table.name);
    let existing = read_existing(connection, &table.name, &operation).await.map_err(PrepareError::Outage)?;
    let steps = plan(existing.as_ref(), table).map_err(PrepareError::Refused)?;
    for step in &steps {
        let refused = |rejection: Rejection| {
            PrepareError::Refused(vec![format!("{}: {}: {}", table.name, step_name(step), rejection.reason)])
        };
        let statement = statement(connection.dialect(), table, step).map_err(refused)?;
        let done = connection.execute(&operation, statement).await;
        done.map_err(|error| match error {
            Error::Rejected(rejection) => refused(rejection),
            Error::Outage(outage) => PrepareError::Outage(outage),
        })?;
    }
    Ok(())
}

fn statement(dialect: Dialect, table: &Table, step: &Step) -> Result<String, Rejection> {
    match step {
        Step::CreateTable => dialect.create_table(table),
        Step::AddColumn(column) => dialect.add_column(&table.name, column),
        Step::CreateIndex(index) => dialect.create_index(&table.name, &index_name(&table.name, index), index),
    }
}

fn step_name(step: &Step) -> String {
    match step {
        Step::CreateTable => "could not be made".to_owned(),
        Step::AddColumn(column) => format!("could not get column {}", column.name),
        Step::CreateIndex(index) => format!("could not get an index over ({})", index.columns.join(", ")),
    }
}

async fn read_existing(
    connection: &mut Connection<'_>,
    table: &str,
    operation: &str,
) -> Result<Option<ExistingTable>, Outage> {
    let read = match connection {
        Connection::Sqlite(connection) => existing::sqlite(connection, table).await,
        Connection::Postgres(connection) => existing::postgres(connection, table).await,
    };
    read.map_err(|error| Outage::new(operation, error))
}

#[cfg(test)]
mod tests;

//! Tables as processors declare them: what is absent is made, what can be extended without loss is extended, and
//! everything else is refused in words.

mod existing;

use std::collections::HashSet;

use sha2::{Digest as _, Sha256};

use super::rebuild::{self, Owner};
use super::values::kind_name;
use super::{Connection, Database, Dialect, Error, Rejection, run_words};
use crate::model::{Column, ColumnKind, Outage, Table, TableChange, TableIndex};

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
    /// Its other indexes, with their names.
    pub indexes: Vec<TableIndex>,
}

/// A column as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExistingColumn {
    /// Its name.
    pub name: String,
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
    /// Let a column be null.
    DropNotNull(String),
    /// Give an index its declared name.
    RenameIndex {
        /// What it is called.
        from: String,
        /// What it is to be called.
        to: String,
    },
    /// Remove an index, whose name another one is to have or which cannot be renamed.
    DropIndex(String),
    /// Make an index.
    CreateIndex(TableIndex),
}

/// Why what exists cannot be turned into what is declared, in sentences with table and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Obstacle {
    /// The declaration makes no sense by itself.
    Declaration(Vec<String>),
    /// Rows would be lost, or have no value for what is declared.
    Existing(Vec<String>),
}

impl Obstacle {
    /// The sentences.
    pub fn lines(self) -> Vec<String> {
        match self {
            Self::Declaration(lines) | Self::Existing(lines) => lines,
        }
    }
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

/// A table that is not as it is declared, and stays so for now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differing {
    /// The table.
    pub table: String,
    /// Its part.
    pub part: Option<String>,
    /// What differs, one sentence for each.
    pub differences: Vec<String>,
    /// What becomes of it.
    pub standing: Standing,
}

/// What becomes of a table that cannot be extended to what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It stays as it is; nothing is to be written to it.
    Kept,
    /// A new one is filled.
    Rebuilding,
}

/// Makes and extends `tables`, all or none of them. None of them is rebuilt.
///
/// # Errors
/// When one of them is refused, or the database does not answer.
pub async fn prepare(database: &Database, tables: &[Table]) -> Result<(), PrepareError> {
    prepare_all(database, None, tables).await.map(|_| ())
}

/// The same for tables of `owner`, of which those that may be are rebuilt where they cannot be extended: a new table is
/// made beside the old one, and what differs is in the answer.
///
/// # Errors
/// When one of them is refused, or the database does not answer.
pub async fn prepare_for(database: &Database, owner: &Owner, tables: &[Table]) -> Result<Vec<Differing>, PrepareError> {
    prepare_all(database, Some(owner), tables).await
}

async fn prepare_all(
    database: &Database,
    owner: Option<&Owner>,
    tables: &[Table],
) -> Result<Vec<Differing>, PrepareError> {
    let mut transaction = database.begin().await.map_err(PrepareError::Outage)?;
    let mut connection = transaction.connection();
    lock(&mut connection).await.map_err(PrepareError::Outage)?;
    if tables.iter().any(|table| table.on_change == TableChange::Rebuild) {
        rebuild::make_registry(&mut connection).await.map_err(PrepareError::Outage)?;
    }
    let mut refused = Vec::new();
    let mut differing = Vec::new();
    for table in tables {
        // A table that stands twice in the list is compared with what its first mention made.
        match prepare_table(&mut connection, owner, table).await {
            Ok(found) => differing.extend(found),
            Err(PrepareError::Refused(lines)) => refused.extend(lines),
            Err(outage @ PrepareError::Outage(_)) => return Err(outage),
        }
    }
    if !refused.is_empty() {
        return Err(PrepareError::Refused(refused));
    }
    transaction.commit().await.map_err(PrepareError::Outage)?;
    Ok(differing)
}

/// Hosts that start together prepare the same tables: one after the other, until the transaction ends.
pub(super) async fn lock(connection: &mut Connection<'_>) -> Result<(), Outage> {
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
/// values where rows are not replaced, and new rows have its default there, which is null where nobody set one. Only
/// where a table may be rebuilt it has no columns that nobody declares.
///
/// # Errors
/// One sentence for each reason why it cannot be done, with table and column.
pub fn plan(dialect: Dialect, existing: Option<&ExistingTable>, declared: &Table) -> Result<Vec<Step>, Obstacle> {
    let wrong = check_declaration(dialect, declared);
    if !wrong.is_empty() {
        return Err(Obstacle::Declaration(wrong));
    }
    let indexes = wanted_indexes(declared);
    let Some(existing) = existing else {
        return Ok(std::iter::once(Step::CreateTable).chain(indexes.into_iter().map(Step::CreateIndex)).collect());
    };
    let mut refused = Vec::new();
    let mut steps = Vec::new();
    for column in &declared.columns {
        match existing.columns.iter().find(|candidate| candidate.name == column.name) {
            Some(found) => match difference(dialect, declared, column, found) {
                Ok(step) => steps.extend(step),
                Err(line) => refused.push(line),
            },
            None if column.nullable => steps.push(Step::AddColumn(column.clone())),
            None => refused.push(format!(
                "{}.{}: a column that is added must be nullable, since existing rows have no value for it",
                declared.name, column.name
            )),
        }
    }
    for column in existing.columns.iter().filter(|column| declared.column(&column.name).is_none()) {
        if !column.nullable && !column.has_default {
            refused.push(format!(
                "{}.{}: exists, is not declared any more, and must be nullable or have a default, since new rows have \
                 no value for it",
                declared.name, column.name
            ));
        } else if declared.on_change == TableChange::Rebuild {
            refused.push(format!("{}.{}: exists, and is not declared any more", declared.name, column.name));
        }
    }
    if existing.key != declared.key {
        let (from, to) = (existing.key.join(", "), declared.key.join(", "));
        refused.push(format!("{}: the key cannot change from ({from}) to ({to})", declared.name));
    }
    if !refused.is_empty() {
        return Err(Obstacle::Existing(refused));
    }
    for index in indexes {
        steps.extend(index_steps(dialect, existing, declared, index));
    }
    Ok(steps)
}

fn difference(
    dialect: Dialect,
    declared: &Table,
    column: &Column,
    found: &ExistingColumn,
) -> Result<Option<Step>, String> {
    let place = format!("{}.{}", declared.name, column.name);
    if !found.type_name.eq_ignore_ascii_case(&dialect.column_type(column.kind)) {
        let kind = kind_name(column.kind);
        return Err(format!("{place}: the type cannot change from {} to {kind}", found.type_name));
    }
    // A key column has values whatever its declaration says.
    let nullable = column.nullable && !declared.key.contains(&column.name);
    match (found.nullable, nullable) {
        (true, false) => Err(format!("{place}: is nullable and cannot become required")),
        // SQLite has no statement for it.
        (false, true) if dialect == Dialect::Sqlite => Err(format!("{place}: is required and cannot become nullable")),
        (false, true) => Ok(Some(Step::DropNotNull(column.name.clone()))),
        (true, true) | (false, false) => Ok(None),
    }
}

/// What leads to an index under its declared name; under any, where none is declared.
fn index_steps(dialect: Dialect, existing: &ExistingTable, declared: &Table, index: TableIndex) -> Vec<Step> {
    let mut same =
        existing.indexes.iter().filter(|found| found.columns == index.columns && found.unique == index.unique);
    let Some(name) = index.name.clone() else {
        return if same.next().is_some() { Vec::new() } else { vec![Step::CreateIndex(index)] };
    };
    // What we would have called it without a declared name; one that an operator made keeps its name.
    let ours = index_name(&declared.name, &TableIndex { name: None, ..index.clone() });
    let mut is_ours = false;
    for found in same {
        match &found.name {
            Some(found) if *found == name => return Vec::new(),
            Some(found) => is_ours |= *found == ours,
            None => {}
        }
    }
    let taken = existing.indexes.iter().any(|found| found.name.as_ref() == Some(&name));
    let mut steps: Vec<Step> = taken.then(|| Step::DropIndex(name.clone())).into_iter().collect();
    match dialect {
        Dialect::Postgres if is_ours => steps.push(Step::RenameIndex { from: ours, to: name }),
        Dialect::Sqlite if is_ours => steps.extend([Step::DropIndex(ours), Step::CreateIndex(index)]),
        Dialect::Postgres | Dialect::Sqlite => steps.push(Step::CreateIndex(index)),
    }
    steps
}

/// What is wrong with a declaration by itself.
fn check_declaration(dialect: Dialect, table: &Table) -> Vec<String> {
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
        // SQLite does not tell upper from lower case in names.
        let known_as = match dialect {
            Dialect::Sqlite => column.name.to_lowercase(),
            Dialect::Postgres => column.name.clone(),
        };
        if !seen.insert(known_as) {
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
    for index in table.indexes.iter().filter_map(|index| index.name.as_ref()).filter(|index| is_bad_name(index)) {
        wrong.push(format!("{name}: {index:?} is no name for an index"));
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
pub(super) fn wanted_indexes(table: &Table) -> Vec<TableIndex> {
    let mut wanted: Vec<TableIndex> = Vec::with_capacity(table.indexes.len() + 1);
    for index in &table.indexes {
        if !wanted.contains(index) {
            wanted.push(index.clone());
        }
    }
    if let Some(column) = &table.document_column {
        let leads = |columns: &Vec<String>| columns.first() == Some(column);
        if !leads(&table.key) && !wanted.iter().any(|index| leads(&index.columns)) {
            wanted.push(TableIndex { name: None, columns: vec![column.clone()], unique: false });
        }
    }
    wanted
}

/// Its declared name, or one that says what it is and that no other index has: index names share one space in a
/// database.
pub(super) fn index_name(table: &str, index: &TableIndex) -> String {
    if let Some(name) = &index.name {
        return name.clone();
    }
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
async fn prepare_table(
    connection: &mut Connection<'_>,
    owner: Option<&Owner>,
    table: &Table,
) -> Result<Option<Differing>, PrepareError> {
    let operation = format!("could not prepare table {}", table.name);
    let existing = read_existing(connection, &table.name, &operation).await.map_err(PrepareError::Outage)?;
    let planned = plan(connection.dialect(), existing.as_ref(), table);
    let known = match (table.on_change, owner) {
        (TableChange::Rebuild, Some(_)) => rebuild::known(connection, table).await?,
        _ => rebuild::Known::None,
    };
    match (planned, owner, existing) {
        (Ok(steps), ..) => {
            // One that is under way to this very shape was asked for: its rows are to be made anew.
            if let rebuild::Known::Other(other) = &known {
                rebuild::abandon(connection, other).await?;
            }
            take_steps(connection, table, &steps, &operation).await?;
            Ok(None)
        }
        (Err(Obstacle::Existing(differences)), Some(owner), Some(existing)) => {
            let standing = match table.on_change {
                TableChange::Refuse => return Err(PrepareError::Refused(differences)),
                TableChange::Keep => Standing::Kept,
                TableChange::Rebuild => {
                    if let rebuild::Known::Other(other) = &known {
                        rebuild::abandon(connection, other).await?;
                    }
                    if !matches!(known, rebuild::Known::Same) {
                        rebuild::begin(connection, owner, table, &existing).await?;
                    }
                    Standing::Rebuilding
                }
            };
            Ok(Some(Differing { table: table.name.clone(), part: table.part.clone(), differences, standing }))
        }
        (Err(obstacle), ..) => Err(PrepareError::Refused(obstacle.lines())),
    }
}

pub(super) async fn take_steps(
    connection: &mut Connection<'_>,
    table: &Table,
    steps: &[Step],
    operation: &str,
) -> Result<(), PrepareError> {
    for step in steps {
        let refused = |rejection: Rejection| {
            PrepareError::Refused(vec![format!("{}: {}: {}", table.name, step_name(step), rejection.reason)])
        };
        let statement = statement(connection.dialect(), table, step).map_err(refused)?;
        let done = connection.execute(operation, statement).await;
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
        Step::DropNotNull(column) => {
            let (table, column) = (dialect.quote(&table.name)?, dialect.quote(column)?);
            Ok(format!("alter table {table} alter column {column} drop not null"))
        }
        Step::RenameIndex { from, to } => {
            Ok(format!("alter index {} rename to {}", dialect.quote(from)?, dialect.quote(to)?))
        }
        Step::DropIndex(name) => Ok(format!("drop index {}", dialect.quote(name)?)),
        Step::CreateIndex(index) => dialect.create_index(&table.name, &index_name(&table.name, index), index),
    }
}

fn step_name(step: &Step) -> String {
    match step {
        Step::CreateTable => "could not be made".to_owned(),
        Step::AddColumn(column) => format!("could not get column {}", column.name),
        Step::DropNotNull(column) => format!("column {column} could not become nullable"),
        Step::RenameIndex { from, to } => format!("index {from} could not get the name {to}"),
        Step::DropIndex(name) => format!("could not lose index {name}"),
        Step::CreateIndex(index) => format!("could not get an index over ({})", index.columns.join(", ")),
    }
}

pub(super) async fn read_existing(
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

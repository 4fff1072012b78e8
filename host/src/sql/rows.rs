//! Row operations become few statements: all documents of a batch are replaced in one go, and only when the database
//! refuses such a statement is each document tried alone, so that the refused ones are known and the rest is written.
//!
//! Promise: per table, operations have the effect that they would have one after the other, but for this: of documents
//! that are replaced in a row only the last version counts, and all their old rows go before the first new one comes,
//! so that a key may pass from one document to another. A document is refused whole, with all that it asks of one
//! table, and its rows there stay as they were before this call. Tables do not depend on each other.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use super::values::{self, CheckedRow};
use super::{Connection, Dialect, Error, Rejection};
use crate::model::{Condition, DocumentKey, Outage, RetryHelps, RowOp, RowWrite, Table, Value};

/// Rows of one statement at most; beyond, its text costs more than it saves. Below, powers of four, so that a table
/// needs a handful of different statements and the cache of prepared ones stays small.
const MOST_ROWS: usize = 256;

/// What was written and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows written or removed.
    pub rows: u64,
    /// Writes that were refused, in order, at most one for each document and table.
    pub refused: Vec<Refused>,
}

/// A write that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Which of the given writes.
    pub at: usize,
    /// Why, with the table.
    pub reason: String,
    /// Whether a later retry can help.
    pub retry: RetryHelps,
}

/// A write with its rows, checked.
struct Work<'a> {
    at: usize,
    write: &'a RowWrite,
    rows: Vec<CheckedRow<'a>>,
}

/// What [`apply`] refuses without asking a database: rows that do not fit their tables.
pub fn refusals(writes: &[RowWrite]) -> Vec<Refused> {
    let mut refused: Vec<Refused> = by_table(writes).iter().flat_map(|table| prepare(table).1).collect();
    refused.sort_by_key(|refused| refused.at);
    refused
}

/// Applies `writes` inside of the caller's transaction. After an outage nothing of it may be committed.
///
/// Concurrent writers: in SQLite there are none while the transaction lasts. Elsewhere the rows of a document are
/// written by the owner of its partition alone; upserts of one key by several owners are decided by their condition.
///
/// # Errors
/// When the database does not do its work; what it refuses stands in the answer.
pub async fn apply(connection: &mut Connection<'_>, writes: &[RowWrite]) -> Result<Applied, Outage> {
    let mut applied = Applied::default();
    for table in by_table(writes) {
        let (work, refused) = prepare(&table);
        applied.refused.extend(refused);
        apply_table(connection, &work, &mut applied).await?;
    }
    applied.refused.sort_by_key(|refused| refused.at);
    Ok(applied)
}

/// The writes of each table, in order, with their places.
fn by_table(writes: &[RowWrite]) -> Vec<Vec<(usize, &RowWrite)>> {
    let mut places: HashMap<&str, usize> = HashMap::new();
    let mut tables: Vec<Vec<(usize, &RowWrite)>> = Vec::new();
    for (at, write) in writes.iter().enumerate() {
        let place = *places.entry(write.table.name.as_str()).or_insert_with(|| {
            tables.push(Vec::new());
            tables.len() - 1
        });
        tables[place].push((at, write));
    }
    tables
}

/// Drops replacements that a later one follows, checks the others, and sorts out all writes of documents with a wrong
/// one.
fn prepare<'a>(writes: &[(usize, &'a RowWrite)]) -> (Vec<Work<'a>>, Vec<Refused>) {
    let mut work = Vec::with_capacity(writes.len());
    let mut refused = Vec::new();
    let mut wrong: HashSet<&DocumentKey> = HashSet::new();
    let mut later: HashSet<&str> = HashSet::new();
    for (at, write) in writes.iter().rev() {
        match write.op {
            // By id alone: that is what rows are removed by.
            RowOp::Replace(_) | RowOp::Delete if !later.insert(&write.document.id) => continue,
            RowOp::Replace(_) | RowOp::Delete => {}
            RowOp::Upsert { .. } => later.clear(),
        }
        match values::check(write) {
            Ok(rows) => work.push(Work { at: *at, write, rows }),
            Err(reason) => {
                if wrong.insert(&write.document) {
                    refused.push(Refused { at: *at, reason, retry: RetryHelps::No });
                }
            }
        }
    }
    work.retain(|work| !wrong.contains(&work.write.document));
    work.reverse();
    (work, refused)
}

/// First everything at once; what that left is undone when the database refuses any of it.
async fn apply_table(connection: &mut Connection<'_>, work: &[Work<'_>], applied: &mut Applied) -> Result<(), Outage> {
    let Some(first) = work.first() else {
        return Ok(());
    };
    let table = &first.write.table.name;
    let operation = format!("could not write rows of table {table}");
    let mut savepoint = Savepoint { connection, operation: &operation, table };
    savepoint.set("pillowtop_table").await?;
    let mut rows = 0;
    let mut refused = false;
    for run in work.chunk_by(|left, right| same_run(left.write, right.write)) {
        match apply_run(savepoint.connection, &operation, run).await {
            Ok(count) => rows += count,
            Err(Error::Outage(outage)) => return Err(outage),
            // Which document it is about is found out below, and with it the reason.
            Err(Error::Rejected(_)) => {
                refused = true;
                break;
            }
        }
    }
    if !refused {
        savepoint.release("pillowtop_table").await?;
        applied.rows += rows;
        return Ok(());
    }
    savepoint.roll_back("pillowtop_table").await?;
    apply_singly(&mut savepoint, work, applied).await?;
    savepoint.release("pillowtop_table").await
}

/// Each write under its own savepoint. When a document is refused that had written before, all starts again without
/// it, since a document is refused whole; each round refuses at least one more.
async fn apply_singly(
    savepoint: &mut Savepoint<'_, '_>,
    work: &[Work<'_>],
    applied: &mut Applied,
) -> Result<(), Outage> {
    let mut refused: HashMap<&DocumentKey, (usize, Rejection)> = HashMap::new();
    loop {
        let mut rows = 0;
        let mut wrote: HashSet<&DocumentKey> = HashSet::new();
        let mut again = false;
        for one in work {
            let document = &one.write.document;
            if refused.contains_key(document) {
                continue;
            }
            savepoint.set("pillowtop_document").await?;
            match apply_run(savepoint.connection, savepoint.operation, std::slice::from_ref(one)).await {
                Ok(count) => {
                    rows += count;
                    wrote.insert(document);
                }
                Err(Error::Outage(outage)) => return Err(outage),
                Err(Error::Rejected(rejection)) => {
                    savepoint.roll_back("pillowtop_document").await?;
                    refused.insert(document, (one.at, rejection));
                    again |= wrote.contains(document);
                }
            }
            savepoint.release("pillowtop_document").await?;
        }
        if !again {
            applied.rows += rows;
            applied.refused.extend(refused.into_values().map(|(at, rejection)| Refused {
                at,
                reason: format!("table {}: {}", savepoint.table, rejection.reason),
                retry: rejection.retry,
            }));
            return Ok(());
        }
        savepoint.roll_back("pillowtop_table").await?;
    }
}

/// Whether two neighbours can share statements.
fn same_run(left: &RowWrite, right: &RowWrite) -> bool {
    let same_columns = std::ptr::eq(left.table.as_ref(), right.table.as_ref()) || left.table == right.table;
    same_columns
        && match (&left.op, &right.op) {
            (RowOp::Upsert { when: left, .. }, RowOp::Upsert { when: right, .. }) => left == right,
            (RowOp::Upsert { .. }, _) | (_, RowOp::Upsert { .. }) => false,
            _ => true,
        }
}

async fn apply_run(connection: &mut Connection<'_>, operation: &str, run: &[Work<'_>]) -> Result<u64, Error> {
    let Some(first) = run.first() else {
        return Ok(0);
    };
    let table = first.write.table.as_ref();
    let rows: Vec<&CheckedRow<'_>> = run.iter().flat_map(|work| &work.rows).collect();
    match &first.write.op {
        RowOp::Replace(_) | RowOp::Delete => {
            let removed = remove_documents(connection, operation, table, run).await?;
            Ok(removed + insert(connection, operation, table, &rows, "").await?)
        }
        RowOp::Upsert { when, .. } => {
            let tail = on_conflict(connection.dialect(), table, when).map_err(Error::Rejected)?;
            // SQLite takes the rows of a statement one after the other, so that a key may stand in it several times.
            // PostgreSQL refuses that: there a run has to end before a key comes again.
            insert(connection, operation, table, &rows, &tail).await
        }
    }
}

async fn remove_documents(
    connection: &mut Connection<'_>,
    operation: &str,
    table: &Table,
    run: &[Work<'_>],
) -> Result<u64, Error> {
    let Some(column) = table.document_column.as_deref() else {
        return Ok(0);
    };
    let ids: Vec<&str> = run.iter().map(|work| &*work.write.document.id).collect();
    let ids = serde_json::to_string(&ids).expect("texts are JSON");
    let statement = connection.dialect().delete_documents(&table.name, column).map_err(Error::Rejected)?;
    connection.execute(operation, statement, &[&Value::Text(ids)]).await
}

async fn insert(
    connection: &mut Connection<'_>,
    operation: &str,
    table: &Table,
    rows: &[&CheckedRow<'_>],
    tail: &str,
) -> Result<u64, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let dialect = connection.dialect();
    let quoted = dialect.quote(&table.name).map_err(Error::Rejected)?;
    let names = table.columns.iter().map(|column| column.name.as_str());
    let columns = dialect.quote_all(names).map_err(Error::Rejected)?;
    let most = MOST_ROWS.min(dialect.most_variables() / table.columns.len().max(1));
    let (mut rest, mut touched) = (rows, 0);
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(chunk_size(rest.len(), most));
        let placeholders = dialect.placeholders(chunk.len(), table.columns.len());
        let statement = format!("insert into {quoted} ({columns}) values {placeholders}{tail}");
        let values: Vec<&Value> = chunk.iter().flat_map(|row| row.iter().map(Cow::as_ref)).collect();
        touched += connection.execute(operation, statement, &values).await?;
        rest = others;
    }
    Ok(touched)
}

/// The greatest power of four that is neither above `rows` nor above `most`.
fn chunk_size(rows: usize, most: usize) -> usize {
    let mut size = 1;
    while size * 4 <= rows.min(most) {
        size *= 4;
    }
    size
}

/// What an upsert does when the key is there. Null counts as least: it is never newer, and everything is newer than
/// it. The existing row goes by the table's name, the new one is `excluded`.
fn on_conflict(dialect: Dialect, table: &Table, when: &Condition) -> Result<String, Rejection> {
    let key = dialect.quote_all(table.key.iter().map(String::as_str))?;
    let mut set = Vec::new();
    for column in table.columns.iter().filter(|column| !table.key.contains(&column.name)) {
        let column = dialect.quote(&column.name)?;
        set.push(format!("{column} = excluded.{column}"));
    }
    if set.is_empty() {
        return Ok(format!(" on conflict ({key}) do nothing"));
    }
    let update = format!(" on conflict ({key}) do update set {}", set.join(", "));
    let quoted = dialect.quote(&table.name)?;
    let stored = |column: &str| Ok::<_, Rejection>(format!("{quoted}.{}", dialect.quote(column)?));
    let new = |column: &str| Ok::<_, Rejection>(format!("excluded.{}", dialect.quote(column)?));
    match when {
        Condition::Always => Ok(update),
        Condition::Newer(column) => {
            let (stored, new) = (stored(column)?, new(column)?);
            Ok(format!("{update} where {new} is not null and ({stored} is null or {new} > {stored})"))
        }
        Condition::Interval { column, seconds, or_differs } => {
            let mut differs = Vec::with_capacity(or_differs.len());
            for column in or_differs {
                differs.push(format!("{} is distinct from {}", new(column)?, stored(column)?));
            }
            let (stored, new) = (stored(column)?, new(column)?);
            let least = u64::from(*seconds) * 1_000_000;
            let distance = format!("{} - {}", dialect.microseconds(&new), dialect.microseconds(&stored));
            let mut reasons = vec![format!("{stored} is null"), format!("{distance} > {least}")];
            if !differs.is_empty() {
                reasons.push(format!("({new} >= {stored} and ({}))", differs.join(" or ")));
            }
            Ok(format!("{update} where {new} is not null and ({})", reasons.join(" or ")))
        }
    }
}

/// Savepoints are the same words in SQLite and PostgreSQL; one that fails is an outage.
struct Savepoint<'a, 'c> {
    connection: &'a mut Connection<'c>,
    operation: &'a str,
    table: &'a str,
}

impl Savepoint<'_, '_> {
    async fn set(&mut self, name: &'static str) -> Result<(), Outage> {
        self.run(format!("savepoint {name}")).await
    }

    async fn roll_back(&mut self, name: &'static str) -> Result<(), Outage> {
        self.run(format!("rollback to savepoint {name}")).await
    }

    async fn release(&mut self, name: &'static str) -> Result<(), Outage> {
        self.run(format!("release savepoint {name}")).await
    }

    async fn run(&mut self, statement: String) -> Result<(), Outage> {
        let done = self.connection.execute(self.operation, statement, &[]).await;
        done.map(|_| ()).map_err(|error| error.into_outage(self.operation))
    }
}

#[cfg(test)]
mod tests;

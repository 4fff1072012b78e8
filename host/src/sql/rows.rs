//! Row operations become few statements: all documents of a batch are replaced in one go, and only when the database
//! refuses such a statement are they tried by halves, so that the refused ones are known and the rest is written.
//!
//! Promise: per table, operations have the effect that they would have one after the other, but for this: of documents
//! that are replaced in a row only the last version counts, and all their old rows go before the first new one comes,
//! so that a key may pass from one document to another. A document is refused whole, with all that it asks of one
//! table, and its rows there stay as they were before this call. Tables do not depend on each other. PostgreSQL is not
//! shown an upsert that a later one of the same call overwrites whatever is stored, so it cannot refuse it either.

mod keys;
mod run;

use std::collections::{HashMap, HashSet};

use super::values::{self, CheckedRow};
use super::{Connection, Error, Rejection, rebuild, run_words};
use crate::model::{DocumentKey, Outage, RetryHelps, RowOp, RowWrite};

/// What was written and what was not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Rows written or removed, as the database counts them.
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
/// Rows of a table that is being rebuilt go to the new one, and to the old one too where it takes them.
///
/// # Errors
/// When the database does not do its work; what it refuses stands in the answer.
pub async fn apply(connection: &mut Connection<'_>, writes: &[RowWrite]) -> Result<Applied, Outage> {
    let Some(routed) = rebuild::route(connection, writes).await? else {
        return apply_as_given(connection, writes).await;
    };
    let applied = apply_as_given(connection, &routed.writes).await?;
    let mut refused = routed.refused(applied.refused);
    refused.sort_by_key(|refused| refused.at);
    Ok(Applied { refused, ..applied })
}

async fn apply_as_given(connection: &mut Connection<'_>, writes: &[RowWrite]) -> Result<Applied, Outage> {
    let mut applied = Applied::default();
    for table in by_table(writes) {
        let (work, refused) = prepare(&table);
        applied.refused.extend(refused);
        apply_table(connection, work, &mut applied).await?;
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
async fn apply_table(
    connection: &mut Connection<'_>,
    work: Vec<Work<'_>>,
    applied: &mut Applied,
) -> Result<(), Outage> {
    let Some(first) = work.first() else {
        return Ok(());
    };
    let table = first.write.table.name.as_str();
    let operation = format!("could not write rows of table {table}");
    let mut savepoint = Savepoint { connection, operation: &operation, table };
    savepoint.set(TABLE).await?;
    match savepoint.apply(&work).await? {
        Ok(rows) => {
            applied.rows += rows;
            // The commit ends it as well; PostgreSQL is a round trip away.
            if matches!(savepoint.connection, Connection::Postgres(_)) {
                return Ok(());
            }
        }
        Err(_) => {
            savepoint.roll_back(TABLE).await?;
            apply_by_halves(&mut savepoint, work, applied).await?;
        }
    }
    savepoint.release(TABLE).await
}

/// Halves of what was refused, each under its own savepoint, until a refused write is alone. When its document has other
/// writes, all starts again without it, since a document is refused whole; each round refuses at least one more.
async fn apply_by_halves(
    savepoint: &mut Savepoint<'_, '_>,
    mut work: Vec<Work<'_>>,
    applied: &mut Applied,
) -> Result<(), Outage> {
    let mut refused: HashMap<&DocumentKey, (usize, Rejection)> = HashMap::new();
    let mut writes: HashMap<&DocumentKey, usize> = HashMap::with_capacity(work.len());
    for one in &work {
        *writes.entry(&one.write.document).or_default() += 1;
    }
    loop {
        let mut rows = 0;
        let mut again = false;
        // The next one is the last.
        let mut parts: Vec<&[Work<'_>]> = vec![&work];
        while let Some(part) = parts.pop() {
            savepoint.set(PART).await?;
            match savepoint.apply(part).await? {
                Ok(count) => rows += count,
                Err(rejection) => {
                    savepoint.roll_back(PART).await?;
                    match part {
                        [one] => {
                            let document = &one.write.document;
                            again |= writes[document] > 1;
                            refused.entry(document).or_insert((one.at, rejection));
                        }
                        more => {
                            let (left, right) = more.split_at(more.len() / 2);
                            parts.extend([right, left]);
                        }
                    }
                }
            }
            savepoint.release(PART).await?;
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
        savepoint.roll_back(TABLE).await?;
        work.retain(|one| !refused.contains_key(&one.write.document));
    }
}

/// Around everything that a call asks of one table.
const TABLE: &str = "pillowtop_table";

/// Around a part of it.
const PART: &str = "pillowtop_part";

/// Savepoints are the same words in SQLite and PostgreSQL; one that fails is an outage.
struct Savepoint<'a, 'c> {
    connection: &'a mut Connection<'c>,
    operation: &'a str,
    table: &'a str,
}

impl Savepoint<'_, '_> {
    /// The rows that the writes touched, or why one of them is refused: then what they did is to be rolled back.
    async fn apply(&mut self, work: &[Work<'_>]) -> Result<Result<u64, Rejection>, Outage> {
        let mut rows = 0;
        for run in work.chunk_by(|left, right| run::same_run(left.write, right.write)) {
            match run::apply(self.connection, self.operation, run).await {
                Ok(count) => rows += count,
                Err(Error::Outage(outage)) => return Err(outage),
                Err(Error::Rejected(rejection)) => return Ok(Err(rejection)),
            }
        }
        Ok(Ok(rows))
    }

    async fn set(&mut self, name: &'static str) -> Result<(), Outage> {
        let immediately = match self.connection {
            Connection::Sqlite(_) => "",
            // A constraint that an operator made deferrable would be met by the commit, where nobody knows any more
            // which document it is about.
            Connection::Postgres(_) => "set constraints all immediate; ",
        };
        self.run(format!("{immediately}savepoint {name}")).await
    }

    async fn roll_back(&mut self, name: &'static str) -> Result<(), Outage> {
        self.run(format!("rollback to savepoint {name}")).await
    }

    async fn release(&mut self, name: &'static str) -> Result<(), Outage> {
        self.run(format!("release savepoint {name}")).await
    }

    async fn run(&mut self, statement: String) -> Result<(), Outage> {
        let done = match &mut *self.connection {
            connection @ Connection::Sqlite(_) => connection.execute(self.operation, statement).await.map(|_| ()),
            Connection::Postgres(connection) => run_words(connection, self.operation, statement).await,
        };
        done.map_err(|error| error.into_outage(self.operation))
    }
}

#[cfg(test)]
mod tests;

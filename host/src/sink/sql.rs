//! Tables of a SQL database as a sink.
//!
//! Where the tables live beside the checkpoint, their rows travel in the settle and this sink only prepares the tables.
//! Elsewhere it writes them itself, each call in one transaction, and a crash before the settle writes them again.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::{Differing, Owner, PrepareError, Rebuilds, Rejected, Sink, Versioned};
use crate::model::{Index, Outage, RetryHelps, RowOp, RowWrite, Table, TableChange, Write};
use crate::sql::{Database, rows, schema};

/// A sink that writes tables.
#[derive(Debug)]
pub struct SqlSink {
    database: Database,
    rows_settle: bool,
    /// The shapes under which each table was prepared, the latest last: while code is swapped, writes of the older
    /// generation still arrive in the older shape. A shape differs from another by its number of columns; two
    /// generations that declare as many columns, but others or in another order, cannot be told apart, so the sink
    /// refuses the second.
    shapes: RwLock<HashMap<String, Vec<Arc<Table>>>>,
}

impl SqlSink {
    /// A sink for tables in `database`; `rows_settle` says that the checkpoint lives there too.
    pub fn new(database: Database, rows_settle: bool) -> Self {
        Self { database, rows_settle, shapes: RwLock::default() }
    }

    /// The prepared table that a row operation fits.
    fn table(&self, name: &str, op: &RowOp) -> Option<Arc<Table>> {
        let shapes = self.shapes.read().unwrap_or_else(PoisonError::into_inner);
        let shapes = shapes.get(name)?;
        let width = match op {
            RowOp::Replace(rows) => rows.first().map(Vec::len),
            RowOp::Upsert { row, .. } => Some(row.len()),
            RowOp::Delete => None,
        };
        let fitting = shapes.iter().rev().find(|table| width.is_none_or(|width| table.columns.len() == width));
        fitting.or(shapes.last()).cloned()
    }

    fn row_write(&self, versioned: &Versioned) -> Result<RowWrite, String> {
        let Write::Rows { table, op } = &versioned.write else {
            return Err("a SQL database takes rows only".to_owned());
        };
        if self.rows_settle {
            return Err("rows beside the checkpoint are written by the settle alone".to_owned());
        }
        let declared = versioned.table.clone().or_else(|| self.table(table, op));
        let table = declared.ok_or_else(|| format!("table {table} was not prepared"))?;
        let (processor, document) = (versioned.processor.clone(), versioned.document.clone());
        Ok(RowWrite { processor, document, table, op: op.clone() })
    }

    fn remember(&self, tables: &[Table]) {
        let mut shapes = self.shapes.write().unwrap_or_else(PoisonError::into_inner);
        for table in tables {
            let known = shapes.entry(table.name.clone()).or_default();
            known.retain(|shape| shape.columns.len() != table.columns.len());
            known.push(Arc::new(table.clone()));
        }
    }

    /// Tables that this process already knows with as many columns, but others.
    fn exchanged(&self, tables: &[Table]) -> Vec<String> {
        let shapes = self.shapes.read().unwrap_or_else(PoisonError::into_inner);
        let is_exchanged = |table: &&Table| {
            let known = shapes.get(&table.name).into_iter().flatten();
            known.into_iter().any(|shape| shape.columns.len() == table.columns.len() && shape.columns != table.columns)
        };
        let line = |table: &Table| {
            format!(
                "{}: its columns cannot be exchanged or change their order while rows in the older shape are on their way",
                table.name
            )
        };
        // While a table is rebuilt, rows in the older shape have their table, and one that is kept gets no rows.
        let stays = |table: &&Table| table.on_change == TableChange::Refuse;
        tables.iter().filter(stays).filter(is_exchanged).map(line).collect()
    }
}

#[async_trait]
impl Sink for SqlSink {
    async fn prepare(&self, tables: &[Table], indices: &[Index]) -> Result<(), PrepareError> {
        let mut refused: Vec<String> =
            indices.iter().map(|index| format!("index {}: a SQL database has tables only", index.name)).collect();
        if !self.rows_settle {
            refused.extend(self.exchanged(tables));
        }
        if !refused.is_empty() {
            return Err(PrepareError::Refused(refused));
        }
        schema::prepare(&self.database, tables).await.map_err(refusal)?;
        self.remember(tables);
        Ok(())
    }

    async fn prepare_tables(&self, owner: &Owner, tables: &[Table]) -> Result<Vec<Differing>, PrepareError> {
        let refused = if self.rows_settle { Vec::new() } else { self.exchanged(tables) };
        if !refused.is_empty() {
            return Err(PrepareError::Refused(refused));
        }
        let differing = schema::prepare_for(&self.database, owner, tables).await.map_err(refusal)?;
        self.remember(tables);
        Ok(differing)
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let mut rejected = Vec::new();
        let mut accepted = Vec::with_capacity(writes.len());
        let mut places = Vec::with_capacity(writes.len());
        for (at, write) in writes.iter().enumerate() {
            match self.row_write(write) {
                Ok(row_write) => {
                    accepted.push(row_write);
                    places.push(at);
                }
                Err(reason) => rejected.push(Rejected { at, reason, retry: RetryHelps::No }),
            }
        }
        if !accepted.is_empty() {
            // Other hosts may write the same tables: SQLite lets one transaction write at a time.
            let mut transaction = self.database.begin().await?;
            let applied = rows::apply(&mut transaction.connection(), &accepted).await?;
            transaction.commit().await?;
            let refused = applied.refused.into_iter();
            rejected.extend(refused.map(|one| Rejected { at: places[one.at], reason: one.reason, retry: one.retry }));
        }
        rejected.sort_by_key(|rejected| rejected.at);
        Ok(rejected)
    }

    async fn flush(&self) -> Result<(), Outage> {
        // What was taken was committed.
        Ok(())
    }

    fn rows_settle(&self) -> bool {
        self.rows_settle
    }

    fn rebuilds(&self) -> Option<Rebuilds> {
        Some(Rebuilds::new(self.database.clone()))
    }
}

fn refusal(error: schema::PrepareError) -> PrepareError {
    match error {
        schema::PrepareError::Refused(lines) => PrepareError::Refused(lines),
        schema::PrepareError::Outage(outage) => PrepareError::Outage(outage),
    }
}

#[cfg(test)]
mod tests;

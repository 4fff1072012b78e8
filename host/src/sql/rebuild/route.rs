//! Where rows go while their table is rebuilt.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, FromRow as _, Row as _};

use super::super::{Connection, rows::Refused};
use super::registry::COLUMNS;
use super::{LOCK, Rebuild, shape};
use crate::model::{Outage, RowOp, RowWrite, Table, TableChange};

/// Writes with those of tables that are rebuilt in their new places.
pub(in crate::sql) struct Routed {
    pub(in crate::sql) writes: Vec<RowWrite>,
    /// Which of the given writes each is; none for one to the old table beside the new one.
    from: Vec<Option<usize>>,
    /// Tables by the names that the new ones have for now.
    names: HashMap<String, String>,
}

/// The writes as they are to be applied; none when all stay as they are. Until the transaction ends, no table takes the
/// place of another.
pub(in crate::sql) async fn route(
    connection: &mut Connection<'_>,
    writes: &[RowWrite],
) -> Result<Option<Routed>, Outage> {
    if writes.iter().all(|write| write.table.on_change != TableChange::Rebuild) {
        return Ok(None);
    }
    let filling = filling(connection).await?;
    if writes.iter().all(|write| !filling.contains_key(&write.table.name)) {
        return Ok(None);
    }
    let mut routed = Routed {
        writes: Vec::with_capacity(writes.len()),
        from: Vec::with_capacity(writes.len()),
        names: filling.values().map(|rebuild| (rebuild.new_name.clone(), rebuild.table.clone())).collect(),
    };
    let mut tables = Tables::default();
    for (at, write) in writes.iter().enumerate() {
        match filling.get(&write.table.name) {
            Some(rebuild) => routed.add(at, write, rebuild, &mut tables),
            None => routed.push(write.clone(), Some(at)),
        }
    }
    Ok(Some(routed))
}

/// The tables that are being filled, by their names. Reading them, a transaction shares the lock that a switch has alone.
async fn filling(connection: &mut Connection<'_>) -> Result<HashMap<String, Rebuild>, Outage> {
    let statement = format!("select {COLUMNS} from pillowtop_rebuilds where state = 'filling'");
    let read: Result<Vec<Rebuild>, sqlx::Error> = match connection {
        // Two statements in one exchange: the second must see what was committed while the first waited.
        Connection::Postgres(connection) => {
            let statements = format!("select pg_advisory_xact_lock_shared({LOCK}); {statement}");
            let rows = sqlx::raw_sql(AssertSqlSafe(statements)).fetch_all(&mut **connection).await;
            rows.and_then(|rows| rows.iter().filter(|row| row.len() > 1).map(Rebuild::from_row).collect())
        }
        sqlite @ Connection::Sqlite(_) => sqlite.read(&statement, &[]).await,
    };
    let read = read.map_err(|error| Outage::new("could not see which tables are rebuilt", error))?;
    Ok(read.into_iter().map(|rebuild| (rebuild.table.clone(), rebuild)).collect())
}

/// Declared tables under their other names and with fewer columns, each made once.
#[derive(Default)]
struct Tables {
    known: HashMap<(*const Table, bool), Arc<Table>>,
    shapes: HashMap<*const Table, String>,
}

impl Tables {
    fn shape(&mut self, table: &Arc<Table>) -> &str {
        self.shapes.entry(Arc::as_ptr(table)).or_insert_with(|| shape(table))
    }

    fn filled(&mut self, table: &Arc<Table>, rebuild: &Rebuild) -> Arc<Table> {
        let made = self.known.entry((Arc::as_ptr(table), true));
        let made = made.or_insert_with(|| Arc::new(Table { name: rebuild.new_name.clone(), ..Table::clone(table) }));
        Arc::clone(made)
    }

    fn replaced(&mut self, table: &Arc<Table>, columns: &[String]) -> Arc<Table> {
        let made = self.known.entry((Arc::as_ptr(table), false));
        let made = made.or_insert_with(|| {
            let kept = table.columns.iter().filter(|column| columns.contains(&column.name)).cloned().collect();
            Arc::new(Table { columns: kept, indexes: Vec::new(), ..Table::clone(table) })
        });
        Arc::clone(made)
    }
}

impl Routed {
    fn push(&mut self, write: RowWrite, from: Option<usize>) {
        self.writes.push(write);
        self.from.push(from);
    }

    fn add(&mut self, at: usize, write: &RowWrite, rebuild: &Rebuild, tables: &mut Tables) {
        if tables.shape(&write.table) != rebuild.shape {
            // Of the generation before. Its changes were published before the new table was known, so whoever fills
            // that one reads their documents later.
            return self.push(write.clone(), Some(at));
        }
        let new = tables.filled(&write.table, rebuild);
        self.push(RowWrite { table: new, ..write.clone() }, Some(at));
        let beside = match (&rebuild.old_columns, &write.op) {
            (Some(columns), op) => {
                let old = tables.replaced(&write.table, columns);
                let op = projected(&write.table, &old, op);
                Some((old, op))
            }
            (None, RowOp::Delete) => Some((Arc::clone(&write.table), RowOp::Delete)),
            (None, RowOp::Replace(rows)) if rows.is_empty() => Some((Arc::clone(&write.table), RowOp::Delete)),
            (None, RowOp::Replace(_) | RowOp::Upsert { .. }) => None,
        };
        if let Some((table, op)) = beside {
            self.push(RowWrite { table, op, ..write.clone() }, None);
        }
    }

    /// What was refused, by the places of the given writes. The old table is about to go: what it refuses counts for
    /// nothing.
    pub(in crate::sql) fn refused(&self, refused: Vec<Refused>) -> Vec<Refused> {
        let place = |mut one: Refused| {
            one.at = self.from[one.at]?;
            for (new, table) in &self.names {
                one.reason = one.reason.replace(new.as_str(), table);
            }
            Some(one)
        };
        refused.into_iter().filter_map(place).collect()
    }
}

/// The same with the columns that the old table has.
fn projected(declared: &Table, old: &Table, op: &RowOp) -> RowOp {
    let places: Vec<usize> = old.columns.iter().filter_map(|column| declared.column(&column.name)).collect();
    // A row of another length is refused where its values are checked.
    let row = |row: &Vec<_>| places.iter().filter_map(|at| row.get(*at).cloned()).collect();
    match op {
        RowOp::Delete => RowOp::Delete,
        RowOp::Replace(rows) => RowOp::Replace(rows.iter().map(row).collect()),
        RowOp::Upsert { row: given, when } => RowOp::Upsert { row: row(given), when: when.clone() },
    }
}

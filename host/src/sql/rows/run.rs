//! The statements of a run: writes of one table that can share them.

use std::borrow::Cow;

use sqlx::postgres::PgArguments;
use sqlx::{Arguments as _, PgConnection, SqliteConnection};

use super::super::arrays::ColumnArray;
use super::super::values::CheckedRow;
use super::super::{Connection, Dialect, Error, Rejection, execute_postgres, execute_sqlite};
use super::{Work, keys};
use crate::model::{ColumnKind, Condition, RowOp, RowWrite, Table, Value};

/// Rows of one statement of SQLite at most; beyond, its text costs more than it saves. Below, powers of four, so that a
/// table needs a handful of different statements and the cache of prepared ones stays small.
const MOST_ROWS: usize = 256;

/// Bind variables that one statement of SQLite takes (`SQLITE_MAX_VARIABLE_NUMBER`).
const MOST_VARIABLES: usize = 32_766;

/// Rows of one statement of PostgreSQL at most, whose text does not depend on them: what the server holds of them at once.
const MOST_ROWS_IN_ARRAYS: usize = 10_000;

/// Whether two neighbours can share statements.
pub(super) fn same_run(left: &RowWrite, right: &RowWrite) -> bool {
    let same_columns = std::ptr::eq(left.table.as_ref(), right.table.as_ref()) || left.table == right.table;
    same_columns
        && match (&left.op, &right.op) {
            (RowOp::Upsert { when: left, .. }, RowOp::Upsert { when: right, .. }) => left == right,
            (RowOp::Upsert { .. }, _) | (_, RowOp::Upsert { .. }) => false,
            _ => true,
        }
}

/// Does what the writes of a run say; tells how many rows it touched.
pub(super) async fn apply(connection: &mut Connection<'_>, operation: &str, run: &[Work<'_>]) -> Result<u64, Error> {
    let Some(first) = run.first() else {
        return Ok(0);
    };
    let table = first.write.table.as_ref();
    let rows: Vec<&CheckedRow<'_>> = run.iter().flat_map(|work| &work.rows).collect();
    match (&first.write.op, connection) {
        (RowOp::Replace(_) | RowOp::Delete, connection) => {
            let removed = remove_documents(connection, operation, table, run).await?;
            let inserted = match connection {
                Connection::Sqlite(connection) => insert(connection, operation, table, &rows, "").await?,
                Connection::Postgres(connection) => insert_arrays(connection, operation, table, &rows, "").await?,
            };
            Ok(removed + inserted)
        }
        // SQLite takes the rows of a statement one after the other, so that a key may stand in it several times.
        (RowOp::Upsert { when, .. }, Connection::Sqlite(connection)) => {
            let tail = on_conflict(Dialect::Sqlite, table, when).map_err(Error::Rejected)?;
            insert(connection, operation, table, &rows, &tail).await
        }
        (RowOp::Upsert { when, .. }, Connection::Postgres(connection)) => {
            let conflict = on_conflict(Dialect::Postgres, table, when).map_err(Error::Rejected)?;
            let tail = in_order_of_key(table) + &conflict;
            let mut touched = 0;
            for round in keys::rounds(table, when, rows) {
                touched += insert_arrays(connection, operation, table, &round, &tail).await?;
            }
            Ok(touched)
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
    let statement = connection.dialect().delete_documents(&table.name, column).map_err(Error::Rejected)?;
    match connection {
        Connection::Sqlite(connection) => {
            let ids = serde_json::to_string(&ids).expect("texts are JSON");
            execute_sqlite(connection, operation, statement, &[&Value::Text(ids)]).await
        }
        Connection::Postgres(connection) => {
            let mut arguments = PgArguments::default();
            arguments.add(ids).map_err(|error| Error::judge(operation, sqlx::Error::Encode(error)))?;
            execute_postgres(connection, operation, statement, arguments).await
        }
    }
}

/// Inserts with a placeholder for each value.
async fn insert(
    connection: &mut SqliteConnection,
    operation: &str,
    table: &Table,
    rows: &[&CheckedRow<'_>],
    tail: &str,
) -> Result<u64, Error> {
    if rows.is_empty() {
        return Ok(0);
    }
    let quoted = Dialect::Sqlite.quote(&table.name).map_err(Error::Rejected)?;
    let names = table.columns.iter().map(|column| column.name.as_str());
    let columns = Dialect::Sqlite.quote_all(names).map_err(Error::Rejected)?;
    let most = MOST_ROWS.min(MOST_VARIABLES / table.columns.len().max(1));
    let row = format!("({})", vec!["?"; table.columns.len()].join(","));
    let (mut rest, mut touched) = (rows, 0);
    while !rest.is_empty() {
        let (chunk, others) = rest.split_at(chunk_size(rest.len(), most));
        let placeholders = vec![row.as_str(); chunk.len()].join(",");
        let statement = format!("insert into {quoted} ({columns}) values {placeholders}{tail}");
        let values: Vec<&Value> = chunk.iter().flat_map(|row| row.iter().map(Cow::as_ref)).collect();
        touched += execute_sqlite(connection, operation, statement, &values).await?;
        rest = others;
    }
    Ok(touched)
}

/// Inserts with an array for each column.
async fn insert_arrays(
    connection: &mut PgConnection,
    operation: &str,
    table: &Table,
    rows: &[&CheckedRow<'_>],
    tail: &str,
) -> Result<u64, Error> {
    let mut touched = 0;
    for chunk in rows.chunks(MOST_ROWS_IN_ARRAYS) {
        let statement = insert_statement(table, tail).map_err(Error::Rejected)?;
        let mut arguments = PgArguments::default();
        for (at, column) in table.columns.iter().enumerate() {
            let array = ColumnArray { kind: column.kind, at, rows: chunk };
            arguments.add(array).map_err(|error| Error::judge(operation, sqlx::Error::Encode(error)))?;
        }
        touched += execute_postgres(connection, operation, statement, arguments).await?;
    }
    Ok(touched)
}

/// Its rows go by `new`, their columns by `c1`, `c2` and so on.
fn insert_statement(table: &Table, tail: &str) -> Result<String, Rejection> {
    let quoted = Dialect::Postgres.quote(&table.name)?;
    let columns = Dialect::Postgres.quote_all(table.columns.iter().map(|column| column.name.as_str()))?;
    let (mut values, mut arrays, mut names) = (Vec::new(), Vec::new(), Vec::new());
    for (column, number) in table.columns.iter().zip(1..) {
        let cast = match ColumnArray::needs_cast(column.kind) {
            true => format!("::{}", Dialect::Postgres.column_type(column.kind)),
            false => String::new(),
        };
        values.push(format!("c{number}{cast}"));
        arrays.push(format!("${number}::{}", ColumnArray::type_name(column.kind)));
        names.push(format!("c{number}"));
    }
    let (values, arrays, names) = (values.join(", "), arrays.join(", "), names.join(", "));
    Ok(format!("insert into {quoted} ({columns}) select {values} from unnest({arrays}) as new ({names}){tail}"))
}

/// Two transactions that upsert the same keys take them in one order, so that neither waits for the other in a circle.
fn in_order_of_key(table: &Table) -> String {
    let mut places = Vec::with_capacity(table.key.len());
    for (column, number) in table.columns.iter().zip(1..).filter(|(column, _)| table.key.contains(&column.name)) {
        match column.kind {
            // Any order will do, so the cheapest: that of bytes.
            ColumnKind::Text
            | ColumnKind::Decimal
            | ColumnKind::SizedDecimal { .. }
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::LocalTimestamp
            | ColumnKind::Json
            | ColumnKind::TextList => places.push(format!("c{number} collate \"C\"")),
            ColumnKind::Boolean
            | ColumnKind::Integer
            | ColumnKind::Integer16
            | ColumnKind::Integer32
            | ColumnKind::Double
            | ColumnKind::Bytes => places.push(format!("c{number}")),
        }
    }
    format!(" order by {}", places.join(", "))
}

/// The greatest power of four that is neither above `rows` nor above `most`.
pub(super) fn chunk_size(rows: usize, most: usize) -> usize {
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
            let by_bytes = dialect.by_bytes(table.column(column).map(|at| table.columns[at].kind));
            let (stored, new) = (stored(column)?, new(column)?);
            Ok(format!("{update} where {new} is not null and ({stored} is null or {new}{by_bytes} > {stored})"))
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

//! Upserts of one key in one statement: PostgreSQL refuses a statement that meets a row twice, so the rows of a run are
//! cut down to those that can win, or dealt out over several statements.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{Hash, Hasher};

use super::super::values::CheckedRow;
use crate::model::{Condition, Table, Value};

/// The rows as lists without a repeated key, to be written one list after the other; the effect is that of all rows in
/// their order.
pub(super) fn rounds<'a>(
    table: &Table,
    when: &Condition,
    rows: Vec<&'a CheckedRow<'a>>,
) -> Vec<Vec<&'a CheckedRow<'a>>> {
    let places: Vec<usize> = table.key.iter().filter_map(|column| table.column(column)).collect();
    match when {
        Condition::Always => vec![winners(&places, rows, |_, _| true)],
        Condition::Newer(column) => {
            let Some(at) = table.column(column) else { return vec![rows] };
            vec![winners(&places, rows, |new, old| is_newer(&new[at], &old[at]))]
        }
        // Which row wins depends on the stored one.
        Condition::Interval { .. } => dealt(&places, rows),
    }
}

/// Of each key the row that is left when `overwrites(new, old)` is asked for one after the other. A row that is stored
/// already loses to the winner if it loses to any of them.
fn winners<'a>(
    places: &[usize],
    rows: Vec<&'a CheckedRow<'a>>,
    overwrites: impl Fn(&CheckedRow<'_>, &CheckedRow<'_>) -> bool,
) -> Vec<&'a CheckedRow<'a>> {
    let mut kept: Vec<&CheckedRow<'_>> = Vec::with_capacity(rows.len());
    let mut by_key: HashMap<Key<'_>, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        match by_key.entry(Key { row, places }) {
            Entry::Vacant(entry) => {
                entry.insert(kept.len());
                kept.push(row);
            }
            Entry::Occupied(entry) => {
                let old = &mut kept[*entry.get()];
                if overwrites(row, old) {
                    *old = row;
                }
            }
        }
    }
    kept
}

/// The first row of each key, then the second of those that have one, and so on.
fn dealt<'a>(places: &[usize], rows: Vec<&'a CheckedRow<'a>>) -> Vec<Vec<&'a CheckedRow<'a>>> {
    let mut rounds: Vec<Vec<&CheckedRow<'_>>> = Vec::new();
    let mut seen: HashMap<Key<'_>, usize> = HashMap::with_capacity(rows.len());
    for row in rows {
        let round = seen.entry(Key { row, places }).and_modify(|count| *count += 1).or_default();
        if rounds.len() == *round {
            rounds.push(Vec::new());
        }
        rounds[*round].push(row);
    }
    rounds
}

/// Whether a later row is newer, as the database would say: times and dates are texts of one width by now, and texts are
/// compared byte by byte there too.
fn is_newer(new: &Value, old: &Value) -> bool {
    match (new, old) {
        (Value::Null, _) => false,
        (_, Value::Null) => true,
        (Value::Integer(new), Value::Integer(old)) => new > old,
        (Value::Double(new), Value::Double(old)) => new > old,
        (Value::Text(new), Value::Text(old))
        | (Value::Date(new), Value::Date(old))
        | (Value::Timestamp(new), Value::Timestamp(old)) => new > old,
        // No other kind has an order to be newer by, and such a condition was refused.
        _ => false,
    }
}

/// The key of a row. Keys that only the database holds for equal (`1.0` and `1.00`) differ here: it refuses them in one
/// statement, and takes them one by one.
struct Key<'a> {
    row: &'a CheckedRow<'a>,
    places: &'a [usize],
}

impl Key<'_> {
    fn values(&self) -> impl Iterator<Item = &Value> {
        self.places.iter().map(|at| self.row[*at].as_ref())
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.values().eq(other.values())
    }
}

/// A key has no `NaN`: it was refused.
impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        for value in self.values() {
            match value {
                Value::Null => state.write_u8(0),
                Value::Boolean(truth) => truth.hash(state),
                Value::Integer(number) => number.hash(state),
                // Zero is equal to minus zero.
                Value::Double(number) => (number + 0.0).to_bits().hash(state),
                Value::Bytes(bytes) => bytes.hash(state),
                Value::Decimal(text)
                | Value::Text(text)
                | Value::Date(text)
                | Value::Timestamp(text)
                | Value::Json(text) => text.hash(state),
            }
        }
    }
}

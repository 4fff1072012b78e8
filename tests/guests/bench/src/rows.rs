//! A row of ten columns of each document.

use std::borrow::Cow;

use pillowtop_sdk::{Column, ColumnKind, Error, Row, Table, Value};
use serde::Deserialize;

/// What the table has of a document.
#[derive(Deserialize)]
struct Visit<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow)]
    domain: Cow<'a, str>,
    #[serde(borrow)]
    owner: Cow<'a, str>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    village: Cow<'a, str>,
    number: i64,
    weight: f64,
    closed: bool,
    #[serde(borrow)]
    opened_on: Cow<'a, str>,
}

/// The table.
pub fn table(name: &str) -> Table {
    let columns = [
        Column::new("id", ColumnKind::Text),
        Column::new("name", ColumnKind::Text).nullable(),
        Column::new("domain", ColumnKind::Text).nullable(),
        Column::new("owner", ColumnKind::Text).nullable(),
        Column::new("kind", ColumnKind::Text).nullable(),
        Column::new("village", ColumnKind::Text).nullable(),
        Column::new("number", ColumnKind::Integer).nullable(),
        Column::new("weight", ColumnKind::Double).nullable(),
        Column::new("closed", ColumnKind::Boolean).nullable(),
        Column::new("opened_on", ColumnKind::Timestamp).nullable(),
    ];
    Table::new(name, columns).key(["id"])
}

/// The row of a document.
///
/// # Errors
/// When it is no such document.
pub fn row(id: &str, document: &[u8]) -> Result<Row, Error> {
    let visit: Visit<'_> = serde_json::from_slice(document)?;
    Ok(vec![
        id.into(),
        visit.name.as_ref().into(),
        visit.domain.as_ref().into(),
        visit.owner.as_ref().into(),
        visit.kind.as_ref().into(),
        visit.village.as_ref().into(),
        visit.number.into(),
        visit.weight.into(),
        visit.closed.into(),
        Value::timestamp(visit.opened_on),
    ])
}

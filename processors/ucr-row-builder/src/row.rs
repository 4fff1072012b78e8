//! Values of the language as values of columns.

use pillowtop_sdk::{ColumnKind, Error, Row, Value as Cell};
use ucr::coerce::{Datatype, coerce};
use ucr::number::Decimal;
use ucr::value::Value;
use ucr::{Column, DataSource};

use crate::list;

pub(crate) fn kind(datatype: Datatype) -> ColumnKind {
    match datatype {
        Datatype::Array => ColumnKind::TextList,
        Datatype::Date => ColumnKind::Date,
        Datatype::DateTime => ColumnKind::LocalTimestamp,
        Datatype::Decimal => ColumnKind::SizedDecimal { digits: 64, places: 16 },
        Datatype::Integer => ColumnKind::Integer32,
        Datatype::SmallInteger => ColumnKind::Integer16,
        Datatype::String => ColumnKind::Text,
    }
}

/// # Errors
///
/// A value that its column cannot hold: then the document keeps its old rows in this table.
pub(crate) fn cells(source: &DataSource, rows: Vec<Vec<Value<'_>>>) -> Result<Vec<Row>, Error> {
    rows.into_iter()
        .map(|row| source.columns.iter().zip(row).map(|(column, value)| cell(column, value)).collect())
        .collect()
}

fn cell(column: &Column, value: Value<'_>) -> Result<Cell, Error> {
    let refused = |what: &str| Error::invalid_input(format!("column {}: {what}", column.id));
    // Most values have the type of their column already; balances of ledgers may not.
    let value = coerce(value, column.datatype).map_err(Error::invalid_input)?;
    Ok(match value {
        Value::Null if column.is_nullable => Cell::Null,
        Value::Null => return Err(refused("must not be null")),
        Value::Int(integer) if fits(column.datatype, integer) => Cell::Integer(integer),
        Value::Int(_) | Value::Big(_) => return Err(refused("the integer is out of range")),
        Value::Decimal(decimal) if decimal.is_infinite() => return Err(refused("infinity is no decimal of a table")),
        Value::Decimal(decimal) => Cell::Decimal(plain(&decimal).ok_or_else(|| refused("the number is out of range"))?),
        Value::Date(date) => Cell::Date(day(date)),
        Value::DateTime(moment) => {
            let minutes = i64::from(moment.offset_minutes.unwrap_or(0));
            let utc = moment.civil.checked_sub(jiff::SignedDuration::from_mins(minutes));
            let utc = utc.map_err(|error| refused(&error.to_string()))?;
            Cell::Timestamp(instant(utc))
        }
        Value::Str(text) if text.contains('\0') => return Err(refused("a text must not contain a null character")),
        Value::Str(text) => Cell::Text(text.to_string()),
        Value::List(elements) => Cell::Json(list::json(&elements).map_err(refused)?.into_bytes()),
        other => return Err(refused(&format!("a {} is no value of a column", other.type_name()))),
    })
}

/// `YYYY-MM-DD`; the language has no dates outside the years 1 to 9999.
fn day(date: jiff::civil::Date) -> String {
    let mut text = String::with_capacity(10);
    put_date(&mut text, date);
    text
}

/// As the host writes an instant, so that it need not be written again there.
fn instant(utc: jiff::civil::DateTime) -> String {
    let mut text = String::with_capacity("YYYY-MM-DDTHH:MM:SS.ffffffZ".len());
    put_date(&mut text, utc.date());
    for (before, number) in [('T', utc.hour()), (':', utc.minute()), (':', utc.second())] {
        text.push(before);
        put_digits(&mut text, number.unsigned_abs().into(), 10);
    }
    text.push('.');
    put_digits(&mut text, utc.subsec_nanosecond().unsigned_abs() / 1_000, 100_000);
    text.push('Z');
    text
}

fn put_date(text: &mut String, date: jiff::civil::Date) {
    put_digits(text, date.year().unsigned_abs().into(), 1_000);
    text.push('-');
    put_digits(text, date.month().unsigned_abs().into(), 10);
    text.push('-');
    put_digits(text, date.day().unsigned_abs().into(), 10);
}

/// The digits of a number from the place of `first` on, with the zeros that lead it.
fn put_digits(text: &mut String, number: u32, first: u32) {
    let mut place = first;
    while place > 0 {
        text.push(char::from_digit(number / place % 10, 10).unwrap_or('0'));
        place /= 10;
    }
}

/// Without an exponent, which databases write otherwise or not at all; none when it has more digits before the point than
/// a column of the original.
fn plain(decimal: &Decimal) -> Option<String> {
    const MOST_DIGITS: i64 = 48;
    const MOST_PLACES: u32 = 64;
    let Some((_, digits, exponent)) = decimal.parts() else { return Some(decimal.to_string()) };
    let before = i64::try_from(digits.len()).unwrap_or(i64::MAX).saturating_add(exponent);
    if before > MOST_DIGITS && digits != "0" {
        return None;
    }
    let text = decimal.to_string();
    if !text.contains(['E', 'e']) {
        return Some(text);
    }
    decimal.fixed(u32::try_from(exponent.saturating_neg().max(0)).unwrap_or(MOST_PLACES).min(MOST_PLACES))
}

fn fits(datatype: Datatype, integer: i64) -> bool {
    match datatype {
        Datatype::SmallInteger => i16::try_from(integer).is_ok(),
        _ => i32::try_from(integer).is_ok(),
    }
}

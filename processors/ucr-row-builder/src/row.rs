//! Values of the language as values of columns.

use std::borrow::Cow;

use pillowtop_sdk::{ColumnKind, Error, Rows};
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

/// Rows as the host takes them.
///
/// # Errors
///
/// A value that its column cannot hold: then the document keeps its old rows in this table.
pub(crate) fn block(source: &DataSource, rows: &[Vec<Value<'_>>]) -> Result<Rows, Error> {
    let mut block = Rows::new();
    for row in rows {
        block.begin(row.len());
        for (column, value) in source.columns.iter().zip(row) {
            put(&mut block, column, value)?;
        }
    }
    Ok(block)
}

fn put(block: &mut Rows, column: &Column, value: &Value<'_>) -> Result<(), Error> {
    let refused = |what: &str| Error::invalid_input(format!("column {}: {what}", column.id));
    let coerced;
    // Most values have the type of their column already; balances of ledgers may not.
    let value = if column.datatype.is_of(value) {
        value
    } else {
        coerced = coerce(value.clone(), column.datatype).map_err(Error::invalid_input)?;
        &coerced
    };
    match value {
        Value::Null if column.is_nullable => block.null(),
        Value::Null => return Err(refused("must not be null")),
        Value::Int(integer) if fits(column.datatype, *integer) => block.integer(*integer),
        Value::Int(_) | Value::Big(_) => return Err(refused("the integer is out of range")),
        // What the original's database driver makes of it.
        Value::Decimal(decimal) if decimal.is_infinite() => block.decimal("NaN"),
        Value::Decimal(decimal) => {
            block.decimal(&plain(decimal).ok_or_else(|| refused("the number is out of range"))?);
        }
        Value::Date(date) => block.date(&text(&day(*date))),
        Value::DateTime(moment) => {
            let utc = match moment.offset_minutes {
                None | Some(0) => moment.civil,
                Some(minutes) => {
                    let utc = moment.civil.checked_sub(jiff::SignedDuration::from_mins(minutes.into()));
                    utc.map_err(|error| refused(&error.to_string()))?
                }
            };
            block.timestamp(&text(&instant(utc)));
        }
        Value::Str(text) if text.contains('\0') => return Err(refused("a text must not contain a null character")),
        Value::Str(text) => block.text(text),
        Value::List(elements) => block.json(list::json(elements).map_err(refused)?.as_bytes()),
        other => return Err(refused(&format!("a {} is no value of a column", other.type_name()))),
    }
    Ok(())
}

/// `YYYY-MM-DD`; the language has no dates outside the years 1 to 9999.
fn day(date: jiff::civil::Date) -> [u8; 10] {
    let mut text = *b"YYYY-MM-DD";
    put_digits(&mut text[..4], date.year().unsigned_abs().into());
    put_digits(&mut text[5..7], date.month().unsigned_abs().into());
    put_digits(&mut text[8..], date.day().unsigned_abs().into());
    text
}

/// As the host writes an instant, so that it need not be written again there.
fn instant(utc: jiff::civil::DateTime) -> [u8; 27] {
    let mut text = *b"YYYY-MM-DDTHH:MM:SS.ffffffZ";
    text[..10].copy_from_slice(&day(utc.date()));
    put_digits(&mut text[11..13], utc.hour().unsigned_abs().into());
    put_digits(&mut text[14..16], utc.minute().unsigned_abs().into());
    put_digits(&mut text[17..19], utc.second().unsigned_abs().into());
    put_digits(&mut text[20..26], utc.subsec_nanosecond().unsigned_abs() / 1_000);
    text
}

/// The last digits of a number, with zeros before them.
fn put_digits(digits: &mut [u8], mut number: u32) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn text(ascii: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(ascii)
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

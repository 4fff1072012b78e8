//! Rows and values: as wide as the table, each value of its column's kind and in its form.

use super::json::json;
use super::write::DeclaredTable;
use crate::model::{Column, ColumnKind, Row, Value, timestamp_text};
use crate::processor::wasm::bindings::pillowtop::processor::types as contract;

/// A row of `found` values, each of which `next` gives: in the model's values, and its bytes.
pub(super) fn row(
    found: usize,
    mut next: impl FnMut() -> Result<contract::Value, String>,
    declared: &DeclaredTable,
) -> Result<(Row, usize), String> {
    let columns = &declared.table.columns;
    if found != columns.len() {
        return Err(format!("the row has {found} values, and the table {} columns", columns.len()));
    }
    let mut size = 0;
    let mut values = Vec::with_capacity(columns.len());
    for column in columns {
        let value = next().and_then(|given| value(given, column));
        let value = value.map_err(|reason| format!("column `{}`: {reason}", column.name))?;
        size += bytes(&value);
        values.push(value);
    }
    if let Some(at) = declared.key.iter().find(|at| values[**at] == Value::Null) {
        return Err(format!("column `{}` is part of the key and must not be null", columns[*at].name));
    }
    Ok((values, size))
}

fn value(given: contract::Value, column: &Column) -> Result<Value, String> {
    let (value, kind) = match given {
        contract::Value::Null if column.nullable => return Ok(Value::Null),
        contract::Value::Null => return Err("must not be null".to_owned()),
        contract::Value::Boolean(value) => (Value::Boolean(value), ColumnKind::Boolean),
        contract::Value::Integer(value) => (Value::Integer(value), ColumnKind::Integer),
        contract::Value::Double(value) if value.is_finite() => (Value::Double(value), ColumnKind::Double),
        contract::Value::Double(value) => return Err(format!("{value} is no number that databases agree on")),
        contract::Value::Decimal(text)
            if is_decimal(&text) || (text == "NaN" && column.kind != ColumnKind::Decimal) =>
        {
            (Value::Decimal(text), ColumnKind::Decimal)
        }
        contract::Value::Decimal(text) => return Err(format!("{} is no decimal number", shown(&text))),
        contract::Value::Text(text) => (Value::Text(text), ColumnKind::Text),
        contract::Value::Bytes(bytes) => (Value::Bytes(bytes), ColumnKind::Bytes),
        contract::Value::Date(text) if is_date(&text) => (Value::Date(text), ColumnKind::Date),
        contract::Value::Date(text) => return Err(format!("{} is no date, as 2026-02-03 is", shown(&text))),
        // In one form, whatever the offset and the digits: what is equal is then equal text, also to sinks that compare.
        contract::Value::Timestamp(text) if is_usual_timestamp(text.as_bytes()) => {
            (Value::Timestamp(text), ColumnKind::Timestamp)
        }
        contract::Value::Timestamp(text) => match text.parse::<jiff::Timestamp>() {
            Ok(time) => (Value::Timestamp(timestamp_text(time)), ColumnKind::Timestamp),
            Err(_) => return Err(format!("{} is no time, as 2026-02-03T10:00:00Z is", shown(&text))),
        },
        contract::Value::Json(bytes) => {
            json(&bytes)?;
            let text = String::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))?;
            (Value::Json(text), ColumnKind::Json)
        }
    };
    if kind == column.kind.value_kind() {
        return Ok(value);
    }
    Err(format!("holds {:?}, and the value is {kind:?}", column.kind).to_lowercase())
}

/// An optional sign, digits, and perhaps a point with digits; exponents are not understood by every database.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.strip_prefix(['-', '+']).unwrap_or(text);
    match number.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(number),
    }
}

/// Whether a time is in the form that the host gives all times, which most processors write. It may be one of the last
/// hours of the year 9999, which are no instants any more but stand for times without an end.
fn is_usual_timestamp(text: &[u8]) -> bool {
    let Some((date, time)) = text.split_first_chunk::<10>() else { return false };
    let [b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'.', fraction @ .., b'Z'] = time else { return false };
    let below = |digits: [&u8; 2], bound: u8| {
        digits.iter().all(|digit| digit.is_ascii_digit()) && (digits[0] - b'0') * 10 + (digits[1] - b'0') < bound
    };
    let is_clock = below([h1, h2], 24) && below([m1, m2], 60) && below([s1, s2], 60);
    is_clock && fraction.len() == 6 && fraction.iter().all(u8::is_ascii_digit) && is_day(date)
}

/// Whether it is `YYYY-MM-DD`, and there is such a day.
fn is_day(date: &[u8; 10]) -> bool {
    let [y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = date else { return false };
    let number = |digits: &[&u8]| {
        digits.iter().try_fold(0_u16, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u16::from(**digit - b'0')))
    };
    let (year, month, day) = (number(&[y1, y2, y3, y4]), number(&[m1, m2]), number(&[d1, d2]));
    let (Some(year), Some(month), Some(day)) = (year, month, day) else { return false };
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + u16::from(is_leap),
        _ => 0,
    };
    (1..=days).contains(&day)
}

fn is_date(text: &str) -> bool {
    text.as_bytes().try_into().is_ok_and(is_day)
}

/// A guest's value in a message: quoted, and no more than anybody reads.
fn shown(text: &str) -> String {
    format!("{:?}", super::super::log::cut(text, 40))
}

fn bytes(value: &Value) -> usize {
    size_of::<Value>()
        + match value {
            Value::Null | Value::Boolean(_) | Value::Integer(_) | Value::Double(_) => 0,
            Value::Decimal(text)
            | Value::Text(text)
            | Value::Date(text)
            | Value::Timestamp(text)
            | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: contract::Value, kind: ColumnKind, expected: Result<Value, &str>) {
        let column = Column { name: "c".into(), kind, nullable: kind == ColumnKind::Text };
        let found = value(given, &column);
        assert_eq!(found.as_ref().map_err(String::as_str), expected.as_ref().map_err(|text| *text));
    }

    #[test]
    fn a_value_is_of_its_columns_kind() {
        check(contract::Value::Integer(1), ColumnKind::Integer, Ok(Value::Integer(1)));
        check(contract::Value::Integer(1), ColumnKind::Double, Err("holds double, and the value is integer"));
        check(contract::Value::Null, ColumnKind::Text, Ok(Value::Null));
        check(contract::Value::Null, ColumnKind::Date, Err("must not be null"));
    }

    #[test]
    fn a_value_has_its_kinds_form() {
        let decimal = |text: &str| contract::Value::Decimal(text.into());
        for text in ["0", "-12.50", "+1"] {
            check(decimal(text), ColumnKind::Decimal, Ok(Value::Decimal(text.into())));
        }
        check(decimal("1e5"), ColumnKind::Decimal, Err("\"1e5\" is no decimal number"));
        check(decimal(".5"), ColumnKind::Decimal, Err("\".5\" is no decimal number"));
        let date = |text: &str| contract::Value::Date(text.into());
        check(date("2024-02-29"), ColumnKind::Date, Ok(Value::Date("2024-02-29".into())));
        check(date("2025-02-29"), ColumnKind::Date, Err("\"2025-02-29\" is no date, as 2026-02-03 is"));
        check(date("20240229"), ColumnKind::Date, Err("\"20240229\" is no date, as 2026-02-03 is"));
        let time = |text: &str| contract::Value::Timestamp(text.into());
        let sound = "2026-02-03T10:00:00.5+02:00";
        let one_form = Value::Timestamp("2026-02-03T08:00:00.500000Z".into());
        check(time(sound), ColumnKind::Timestamp, Ok(one_form));
        let last = "9999-12-31T23:59:59.999999Z";
        check(time(last), ColumnKind::LocalTimestamp, Ok(Value::Timestamp(last.into())));
        check(time("10:00"), ColumnKind::Timestamp, Err("\"10:00\" is no time, as 2026-02-03T10:00:00Z is"));
        check(contract::Value::Double(f64::NAN), ColumnKind::Double, Err("NaN is no number that databases agree on"));
        check(contract::Value::Json(b"[1]".to_vec()), ColumnKind::Json, Ok(Value::Json("[1]".into())));
        let broken = contract::Value::Json(b"[".to_vec());
        check(broken, ColumnKind::Json, Err("not JSON: EOF while parsing a list at line 1 column 1"));
    }
}

//! Rows as guests hand them over become rows that a database can take, or a sentence that says why not.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};

use super::text_list;
use crate::model::{Column, ColumnKind, Condition, DocumentKey, RowOp, RowWrite, Table, Value, timestamp_text};

/// A row that was checked: as many values as columns, each of its column's kind, times in their one stored form.
pub(crate) type CheckedRow<'a> = Vec<Cow<'a, Value>>;

/// The rows of a write, checked against its table.
///
/// # Errors
/// The first thing that is wrong, with table and column.
pub(crate) fn check(write: &RowWrite) -> Result<Vec<CheckedRow<'_>>, String> {
    let table = write.table.as_ref();
    match &write.op {
        RowOp::Delete => document_column(table, &write.document).map(|_| Vec::new()),
        RowOp::Replace(rows) => {
            let at = document_column(table, &write.document)?;
            rows.iter().map(|row| check_document_row(table, row, at, &write.document)).collect()
        }
        RowOp::Upsert { row, when } => {
            check_condition(table, when)?;
            Ok(vec![check_row(table, row)?])
        }
    }
}

fn document_column(table: &Table, document: &DocumentKey) -> Result<usize, String> {
    // PostgreSQL has no text with a NUL, and in SQLite such an id would not be found again.
    if document.id.contains('\0') {
        return Err(format!("table {}: the id of the document holds a NUL character", table.name));
    }
    let column = table.document_column.as_deref().and_then(|column| table.column(column));
    column.ok_or_else(|| format!("table {} has no column for the document, so its rows cannot be replaced", table.name))
}

/// A row under another document's id would never be replaced or removed again.
fn check_document_row<'a>(
    table: &Table,
    row: &'a [Value],
    at: usize,
    document: &DocumentKey,
) -> Result<CheckedRow<'a>, String> {
    let checked = check_row(table, row)?;
    if !matches!(checked[at].as_ref(), Value::Text(id) if **id == *document.id) {
        return Err(format!("{}: is not the id of the document", place(table, &table.columns[at])));
    }
    Ok(checked)
}

fn check_row<'a>(table: &Table, row: &'a [Value]) -> Result<CheckedRow<'a>, String> {
    if row.len() != table.columns.len() {
        let (found, expected) = (row.len(), table.columns.len());
        return Err(format!("table {}: a row has {found} values for {expected} columns", table.name));
    }
    let pairs = table.columns.iter().zip(row);
    pairs.map(|(column, value)| check_value(table, column, value)).collect()
}

fn check_value<'a>(table: &Table, column: &Column, value: &'a Value) -> Result<Cow<'a, Value>, String> {
    let wrong = |what: &str| Err(format!("{}: {what}", place(table, column)));
    match (column.kind, value) {
        (_, Value::Null) => match column.nullable && !table.key.contains(&column.name) {
            true => Ok(Cow::Borrowed(value)),
            false => wrong("is null, but must have a value"),
        },
        // SQLite would store null in its place.
        (ColumnKind::Double, Value::Double(number)) if number.is_nan() => wrong("is not a number"),
        (ColumnKind::Decimal, Value::Decimal(text)) if !is_decimal(text) => wrong("is not a decimal number"),
        (ColumnKind::SizedDecimal { .. }, Value::Decimal(text)) if text == "NaN" => Ok(Cow::Borrowed(value)),
        (ColumnKind::SizedDecimal { .. }, Value::Decimal(text)) if !is_decimal(text) => {
            wrong("is not a decimal number")
        }
        (ColumnKind::SizedDecimal { digits, places }, Value::Decimal(text)) => {
            match sized_decimal(text, usize::from(digits), usize::from(places)) {
                Some(Cow::Borrowed(_)) => Ok(Cow::Borrowed(value)),
                Some(Cow::Owned(rounded)) => Ok(Cow::Owned(Value::Decimal(rounded))),
                None => wrong(&format!("the number has more than {} digits before its point", digits - places)),
            }
        }
        (ColumnKind::Integer16, Value::Integer(number)) if i16::try_from(*number).is_err() => {
            wrong("the integer is out of range: it has more than 16 bits")
        }
        (ColumnKind::Integer32, Value::Integer(number)) if i32::try_from(*number).is_err() => {
            wrong("the integer is out of range: it has more than 32 bits")
        }
        (ColumnKind::TextList, Value::Json(text)) => match text_list::check(text) {
            Ok(()) => Ok(Cow::Borrowed(value)),
            Err(reason) => wrong(&reason),
        },
        (ColumnKind::Date, Value::Date(text)) if !is_date(text) => wrong("is not a date (YYYY-MM-DD)"),
        (ColumnKind::Timestamp | ColumnKind::LocalTimestamp, Value::Timestamp(text)) => match stored_time(text) {
            Some(Cow::Borrowed(_)) => Ok(Cow::Borrowed(value)),
            Some(Cow::Owned(stored)) => Ok(Cow::Owned(Value::Timestamp(stored))),
            None => wrong("is not a time (RFC 3339, years 0000 to 9999)"),
        },
        (ColumnKind::Boolean, Value::Boolean(_))
        | (ColumnKind::Integer | ColumnKind::Integer16 | ColumnKind::Integer32, Value::Integer(_))
        | (ColumnKind::Double, Value::Double(_))
        | (ColumnKind::Decimal, Value::Decimal(_))
        | (ColumnKind::Text, Value::Text(_))
        | (ColumnKind::Bytes, Value::Bytes(_))
        | (ColumnKind::Date, Value::Date(_))
        | (ColumnKind::Json, Value::Json(_)) => Ok(Cow::Borrowed(value)),
        (kind, _) => wrong(&format!("the value is no {}", kind_name(kind))),
    }
}

/// Whether the condition of an upsert can be decided by comparing stored values.
fn check_condition(table: &Table, when: &Condition) -> Result<(), String> {
    if table.key.is_empty() {
        return Err(format!("table {} has no key, so a row of it cannot be updated", table.name));
    }
    let kind_of = |name: &String| {
        let at = table.column(name).ok_or_else(|| format!("table {} has no column {name} to compare", table.name))?;
        Ok::<_, String>(table.columns[at].kind)
    };
    match when {
        Condition::Always => Ok(()),
        Condition::Newer(column) => match kind_of(column)? {
            // Stored as text, they have no order of their own.
            kind @ (ColumnKind::Boolean
            | ColumnKind::Bytes
            | ColumnKind::Decimal
            | ColumnKind::SizedDecimal { .. }
            | ColumnKind::Json
            | ColumnKind::TextList) => {
                Err(format!("{}.{column}: a {} has no order to be newer by", table.name, kind_name(kind)))
            }
            _ => Ok(()),
        },
        Condition::Interval { column, or_differs, .. } => {
            if kind_of(column)?.value_kind() != ColumnKind::Timestamp {
                return Err(format!("{}.{column}: an interval needs a timestamp", table.name));
            }
            or_differs.iter().try_for_each(|name| kind_of(name).map(|_| ()))
        }
    }
}

fn place(table: &Table, column: &Column) -> String {
    format!("{}.{}", table.name, column.name)
}

/// The name of a kind in messages.
pub(crate) fn kind_name(kind: ColumnKind) -> &'static str {
    match kind {
        ColumnKind::Boolean => "boolean",
        ColumnKind::Integer => "integer",
        ColumnKind::Double => "double",
        ColumnKind::Decimal => "decimal",
        ColumnKind::Text => "text",
        ColumnKind::Bytes => "bytes",
        ColumnKind::Date => "date",
        ColumnKind::Timestamp => "timestamp",
        ColumnKind::Json => "json",
        ColumnKind::Integer16 => "integer of 16 bits",
        ColumnKind::Integer32 => "integer of 32 bits",
        ColumnKind::SizedDecimal { .. } => "decimal of a given size",
        ColumnKind::LocalTimestamp => "timestamp without zone",
        ColumnKind::TextList => "list of texts",
    }
}

/// A sign, digits and at most one point: what every database reads as the same number.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let numeric = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    numeric(whole) && numeric(fraction)
}

/// Rounded to `places`, half away from zero, as PostgreSQL does it; none when it has too many digits then.
fn sized_decimal(text: &str, digits: usize, places: usize) -> Option<Cow<'_, str>> {
    let (sign, number) = match text.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let fits = |whole: &str| whole.trim_start_matches('0').len() <= digits - places;
    if fraction.len() <= places {
        return fits(whole).then_some(Cow::Borrowed(text));
    }
    let (kept, rest) = fraction.split_at(places);
    let mut all: Vec<u8> = [b"0", whole.as_bytes(), kept.as_bytes()].concat();
    if rest.as_bytes()[0] >= b'5' {
        for digit in all.iter_mut().rev() {
            if *digit < b'9' {
                *digit += 1;
                break;
            }
            *digit = b'0';
        }
    }
    let all = String::from_utf8(all).ok()?;
    let (whole, kept) = all.split_at(all.len() - places);
    let whole = whole.trim_start_matches('0');
    let point = if places == 0 { "" } else { "." };
    fits(whole).then(|| Cow::Owned(format!("{sign}{}{point}{kept}", if whole.is_empty() { "0" } else { whole })))
}

fn is_date(text: &str) -> bool {
    text.len() == "2026-02-03".len() && text.parse::<Date>().is_ok()
}

/// The time with six digits and `Z`: texts of one width, whose order is the order of time.
fn stored_time(text: &str) -> Option<Cow<'_, str>> {
    if is_stored_form(text) {
        // Without its zone: the last hours of the year 9999 are no instants any more.
        return text.trim_end_matches('Z').parse::<DateTime>().is_ok().then_some(Cow::Borrowed(text));
    }
    let time = text.parse::<Timestamp>().ok()?;
    let stored = timestamp_text(time);
    (stored.len() == STORED_TIME.len()).then_some(Cow::Owned(stored))
}

/// Any time in its stored form.
const STORED_TIME: &str = "2026-02-03T10:00:00.123456Z";

/// Whether a text that is some time has the stored form already, which most have. A leap second, or midnight written as
/// hour 24, is another time when it is stored.
fn is_stored_form(text: &str) -> bool {
    let same_shape = |(sign, expected): (u8, u8)| match expected {
        b'0'..=b'9' => sign.is_ascii_digit(),
        other => sign == other,
    };
    text.len() == STORED_TIME.len()
        && text.bytes().zip(STORED_TIME.bytes()).all(same_shape)
        && (&text[11..13] < "24" && &text[17..19] < "60")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(kind: ColumnKind, value: Value, expected: Result<Value, &str>) {
        let column = Column { name: "c".into(), kind, nullable: false };
        let table = Table {
            name: "t".into(),
            part: None,
            columns: vec![column],
            key: vec![],
            document_column: None,
            indexes: vec![],
            ..Table::default()
        };
        let row = [value];
        let found = check_row(&table, &row).map(|mut row| row.remove(0).into_owned());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn a_time_is_brought_to_its_stored_form() {
        for text in ["2026-02-03T10:00:00.5Z", "2026-02-03T12:00:00.500000+02:00"] {
            let stored = Value::Timestamp("2026-02-03T10:00:00.500000Z".into());
            check_one(ColumnKind::Timestamp, Value::Timestamp(text.into()), Ok(stored));
        }
    }

    #[test]
    fn the_quick_look_at_a_time_agrees_with_its_printed_form() {
        let texts = [
            "2026-02-03T10:00:00.123456Z",
            "2026-02-03t10:00:00.123456Z",
            "2026-02-03T10:00:00.123456z",
            "2026-02-03 10:00:00.123456Z",
            "2026-02-03T23:59:60.123456Z",
            "2026-02-03T24:00:00.000000Z",
            "2026-02-03T10:00:00,123456Z",
            "0000-01-01T00:00:00.000000Z",
            "2026-02-03T10:00:00.12345678",
            "2026-02-30T10:00:00.123456Z",
            "2026-02-03T10:00:00.1234+00",
        ];
        for text in texts {
            let slow = text.parse::<Timestamp>().ok().map(timestamp_text);
            assert_eq!(stored_time(text).as_deref(), slow.as_deref(), "{text}");
        }
        // Later than any instant, and a time all the same.
        let last = "9999-12-31T23:59:59.999999Z";
        assert_eq!((last.parse::<Timestamp>().ok(), stored_time(last).as_deref()), (None, Some(last)));
    }

    #[test]
    fn what_does_not_fit_its_column_is_named() {
        let kinds = [
            (ColumnKind::Timestamp, Value::Timestamp("today".into()), "is not a time (RFC 3339, years 0000 to 9999)"),
            (
                ColumnKind::Timestamp,
                Value::Timestamp("-000044-03-15T12:00:00Z".into()),
                "is not a time (RFC 3339, years 0000 to 9999)",
            ),
            (ColumnKind::Date, Value::Date("2026-02-30".into()), "is not a date (YYYY-MM-DD)"),
            (ColumnKind::Decimal, Value::Decimal("1.".into()), "is not a decimal number"),
            (ColumnKind::Double, Value::Double(f64::NAN), "is not a number"),
            (ColumnKind::Integer, Value::Text("1".into()), "the value is no integer"),
            (ColumnKind::Text, Value::Null, "is null, but must have a value"),
        ];
        for (kind, value, reason) in kinds {
            check_one(kind, value, Err(&format!("t.c: {reason}")));
        }
    }

    #[test]
    fn a_decimal_of_a_size_is_rounded_half_away_from_zero_and_must_fit() {
        let kind = ColumnKind::SizedDecimal { digits: 5, places: 2 };
        let decimal = |text: &str| Value::Decimal(text.into());
        for (given, stored) in [
            ("1.5", "1.5"),
            ("1.005", "1.01"),
            ("-1.005", "-1.01"),
            ("1.00499999999999999999", "1.00"),
            ("+9.999", "10.00"),
            ("0.001", "0.00"),
            ("000999.994", "999.99"),
            ("NaN", "NaN"),
        ] {
            check_one(kind, decimal(given), Ok(decimal(stored)));
        }
        for given in ["1000", "999.995", "-1234.5"] {
            check_one(kind, decimal(given), Err("t.c: the number has more than 3 digits before its point"));
        }
        check_one(kind, decimal("Infinity"), Err("t.c: is not a decimal number"));
        check_one(ColumnKind::Decimal, decimal("NaN"), Err("t.c: is not a decimal number"));
    }

    #[test]
    fn integers_of_a_size_must_fit() {
        let wide = i64::from(i16::MAX) + 1;
        check_one(ColumnKind::Integer32, Value::Integer(wide), Ok(Value::Integer(wide)));
        let reason = "t.c: the integer is out of range: it has more than 16 bits";
        check_one(ColumnKind::Integer16, Value::Integer(wide), Err(reason));
        let least = i64::from(i32::MIN);
        check_one(ColumnKind::Integer32, Value::Integer(least), Ok(Value::Integer(least)));
        let reason = "t.c: the integer is out of range: it has more than 32 bits";
        check_one(ColumnKind::Integer32, Value::Integer(least - 1), Err(reason));
    }

    #[test]
    fn decimals_are_plain_digits() {
        for (text, expected) in
            [("-12.50", true), ("0", true), ("+7", true), (".5", false), ("1e5", false), ("", false)]
        {
            assert_eq!(is_decimal(text), expected, "{text}");
        }
    }
}

//! JSON scalars and query texts as index values: one order-preserving integer for every number, date and boolean.
//!
//! Elasticsearch's rules decide what fits (version 7.17, "Field data types" and "coerce"), with one difference: a date
//! is read as ISO 8601 whatever `format` says, with a `T` or a blank between date and time and any UTC offset, or as
//! milliseconds since the Unix epoch when it is a number.

use std::ops::RangeInclusive;

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::Value;

use super::mapping::Kind;

/// The number that stands in the index for `value` in a field of `kind`; none: the value means "nothing".
pub(super) fn number(kind: Kind, value: &Value, coerce: bool) -> Result<Option<i64>, String> {
    match kind {
        Kind::Boolean => boolean(value).map(Some),
        Kind::Date => date(value).map(Some),
        Kind::Byte => integer(value, coerce, i8::MIN.into(), i8::MAX.into()),
        Kind::Short => integer(value, coerce, i16::MIN.into(), i16::MAX.into()),
        Kind::Integer => integer(value, coerce, i32::MIN.into(), i32::MAX.into()),
        Kind::Long => integer(value, coerce, i64::MIN, i64::MAX),
        Kind::Float | Kind::Double => double(value, coerce),
        Kind::Keyword | Kind::Text | Kind::StoredOnly(_) => Err("not a field of numbers".to_owned()),
    }
}

/// The numbers that a text of a query stands for: a date without a time is its whole day.
pub(super) fn numbers(kind: Kind, text: &str) -> Option<RangeInclusive<i64>> {
    match kind {
        Kind::Date => dates(text),
        Kind::Boolean => match text {
            "true" => Some(1..=1),
            "false" => Some(0..=0),
            _ => None,
        },
        Kind::Float | Kind::Double => {
            let number: f64 = text.parse().ok()?;
            number.is_finite().then(|| ordered(number)..=ordered(number))
        }
        Kind::Byte | Kind::Short | Kind::Integer | Kind::Long => {
            let number: i64 = text.parse().ok()?;
            Some(number..=number)
        }
        Kind::Keyword | Kind::Text | Kind::StoredOnly(_) => None,
    }
}

/// Whether a dynamic mapping takes `text` for a date. Only full dates are: `2024` in a text field is a number more often.
pub(super) fn looks_like_a_date(text: &str) -> bool {
    let shape = text.bytes().take(10).map(|byte| if byte.is_ascii_digit() { b'0' } else { byte });
    shape.eq(*b"0000-00-00") && dates(text).is_some()
}

/// The text of a scalar in a field of texts.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(boolean) => Some(boolean.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn boolean(value: &Value) -> Result<i64, String> {
    match value {
        Value::Bool(boolean) => Ok((*boolean).into()),
        Value::String(text) if text == "true" => Ok(1),
        // An empty text is false, as in Elasticsearch.
        Value::String(text) if text == "false" || text.is_empty() => Ok(0),
        _ => Err("only true and false are allowed".to_owned()),
    }
}

fn date(value: &Value) -> Result<i64, String> {
    match value {
        Value::String(text) => match dates(text) {
            Some(range) => Ok(*range.start()),
            None => Err("not an ISO 8601 date".to_owned()),
        },
        Value::Number(number) => {
            number.as_i64().and_then(|millis| millis.checked_mul(1000)).ok_or_else(|| "not a date".to_owned())
        }
        _ => Err("not a date".to_owned()),
    }
}

fn integer(value: &Value, coerce: bool, least: i64, most: i64) -> Result<Option<i64>, String> {
    let found = match value {
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Some(integer),
            None => number.as_f64().and_then(|double| truncated(double, coerce)),
        },
        Value::String(text) if coerce && text.is_empty() => return Ok(None),
        Value::String(text) if coerce => match text.trim().parse::<i64>() {
            Ok(integer) => Some(integer),
            Err(_) => text.trim().parse::<f64>().ok().and_then(|double| truncated(double, coerce)),
        },
        _ => None,
    };
    match found {
        Some(integer) if (least..=most).contains(&integer) => Ok(Some(integer)),
        Some(_) => Err("out of range".to_owned()),
        None => Err("not an integer".to_owned()),
    }
}

/// The integer part, where a fraction may be cut off and the rest fits.
fn truncated(double: f64, coerce: bool) -> Option<i64> {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if !double.is_finite() || !(-BOUND..BOUND).contains(&double) || (!coerce && double.fract() != 0.0) {
        return None;
    }
    #[expect(clippy::cast_possible_truncation, reason = "the bounds are checked above and cutting is the point")]
    let integer = double as i64;
    Some(integer)
}

fn double(value: &Value, coerce: bool) -> Result<Option<i64>, String> {
    let found = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) if coerce && text.is_empty() => return Ok(None),
        Value::String(text) if coerce => text.trim().parse().ok(),
        _ => None,
    };
    match found {
        Some(number) if number.is_finite() => Ok(Some(ordered(number))),
        _ => Err("not a number".to_owned()),
    }
}

/// A double as an integer of the same order.
fn ordered(number: f64) -> i64 {
    // Zero has two bit patterns and is one value.
    let number = if number == 0.0 { 0.0 } else { number };
    let bits = number.to_bits().cast_signed();
    bits ^ (((bits >> 63).cast_unsigned()) >> 1).cast_signed()
}

/// The microseconds since the epoch that a text names: from the first to the last of its precision.
fn dates(text: &str) -> Option<RangeInclusive<i64>> {
    let (start, unit) = match text.len() {
        4 if text.bytes().all(|byte| byte.is_ascii_digit()) => (day(&format!("{text}-01-01"))?, Span::new().years(1)),
        7 => (day(&format!("{text}-01"))?, Span::new().months(1)),
        10 => (day(text)?, Span::new().days(1)),
        _ => return moment(text),
    };
    let end = start.checked_add(unit).ok()?;
    Some(micros(start)?..=micros(end)?.checked_sub(1)?)
}

fn day(text: &str) -> Option<DateTime> {
    text.parse::<Date>().ok().map(|date| date.to_datetime(jiff::civil::Time::midnight()))
}

fn moment(text: &str) -> Option<RangeInclusive<i64>> {
    // A bare text such as `20240101` is a date to the parser and an id to everybody else.
    if !text.contains([':', '-']) {
        return None;
    }
    let start = match text.parse::<Timestamp>() {
        Ok(instant) => instant.as_microsecond(),
        // Without an offset, it is UTC.
        Err(_) => micros(text.parse::<DateTime>().ok()?)?,
    };
    let precision = if text.contains('.') { 0 } else { 999_999 };
    Some(start..=start.checked_add(precision)?)
}

fn micros(datetime: DateTime) -> Option<i64> {
    datetime.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp().as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn check(kind: Kind, value: Value, expected: Result<Option<i64>, &str>) {
        assert_eq!(number(kind, &value, true), expected.map_err(str::to_owned), "{kind:?} {value}");
    }

    #[test]
    fn numbers_are_read_as_elasticsearch_does() {
        check(Kind::Long, json!(7), Ok(Some(7)));
        check(Kind::Long, json!("7.9"), Ok(Some(7)));
        check(Kind::Long, json!(""), Ok(None));
        check(Kind::Long, json!("many"), Err("not an integer"));
        check(Kind::Long, json!(true), Err("not an integer"));
        check(Kind::Byte, json!(128), Err("out of range"));
        check(Kind::Double, json!("NaN"), Err("not a number"));
        check(Kind::Boolean, json!("yes"), Err("only true and false are allowed"));
        check(Kind::Boolean, json!(""), Ok(Some(0)));
        assert_eq!(number(Kind::Long, &json!("7"), false), Err("not an integer".to_owned()));
    }

    #[test]
    fn dates_of_all_common_forms_are_read() {
        let expected = 1_706_745_600_000_000;
        for text in [
            "2024-02-01",
            "2024-02",
            "2024-02-01T00:00:00Z",
            "2024-02-01T00:00:00.000000Z",
            "2024-02-01T05:30:00+05:30",
            "2024-02-01T05:30:00.000+0530",
            "2024-02-01 00:00:00",
            "2024-02-01T00:00",
        ] {
            check(Kind::Date, json!(text), Ok(Some(expected)));
        }
        check(Kind::Date, json!(1_706_745_600_000_i64), Ok(Some(expected)));
        for text in ["", "yesterday", "2024-13-01", "20240201", "12:30"] {
            check(Kind::Date, json!(text), Err("not an ISO 8601 date"));
        }
    }

    #[test]
    fn a_date_in_a_query_is_its_whole_day() {
        let range = numbers(Kind::Date, "2024-02-01").unwrap();
        assert_eq!(range.end() - range.start(), 86_400_000_000 - 1);
    }

    proptest! {
        #[test]
        fn doubles_keep_their_order(left in any::<f64>(), right in any::<f64>()) {
            prop_assume!(left.is_finite() && right.is_finite());
            prop_assert_eq!(left.partial_cmp(&right), Some(ordered(left).cmp(&ordered(right))));
        }

        #[test]
        fn no_text_breaks_the_date_parser(text in "\\PC{0,30}") {
            let range = dates(&text);
            prop_assert!(range.is_none_or(|range| range.start() <= range.end()));
        }
    }
}

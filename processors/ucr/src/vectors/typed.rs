//! Values that JSON has no form for, as vectors write them: `{"$date": "2015-01-20"}` and so on.

use std::fmt::Write as _;

use crate::dates;
use crate::number::{Decimal, float_repr};
use crate::value::{Duration, Moment, Value};

/// Replaces the written forms by the values.
pub(crate) fn decoded<'a>(value: &Value<'a>) -> Value<'a> {
    match value {
        Value::List(elements) => Value::list(elements.iter().map(decoded).collect()),
        Value::Dict(dict) => {
            let mut entries = dict.iter();
            if let (Some((Value::Str(key), inner)), None) = (entries.next(), entries.next()) {
                if let Some(value) = typed(key, inner) {
                    return value;
                }
            }
            Value::dict(dict.iter().map(|(key, value)| (key.clone(), decoded(value))).collect())
        }
        other => other.clone(),
    }
}

fn typed<'a>(key: &str, value: &Value<'a>) -> Option<Value<'a>> {
    let elements = || value.as_list().map(|elements| elements.iter().map(decoded).collect::<Vec<_>>().into());
    match key {
        "$date" => dates::parse_date(value.as_str()?).map(Value::Date),
        "$datetime" => moment(value.as_str()?).map(Value::DateTime),
        "$decimal" => Decimal::parse(value.as_str()?).map(Value::decimal),
        "$time" => value.as_str()?.parse().ok().map(Value::Time),
        "$float" => crate::number::parse_float(value.as_str()?).map(Value::Float),
        "$timedelta_seconds" => {
            let seconds = match value {
                Value::Int(seconds) => return Some(Value::Duration(Duration { microseconds: seconds * 1_000_000 })),
                Value::Float(seconds) => Decimal::from_float(*seconds).fixed(6)?,
                _ => return None,
            };
            let microseconds = seconds.replace('.', "").parse().ok()?;
            Some(Value::Duration(Duration { microseconds }))
        }
        "$set" => elements().map(Value::Set),
        "$tuple" => elements().map(Value::Tuple),
        _ => None,
    }
}

fn moment(text: &str) -> Option<Moment> {
    let offset = text.rfind(['+', '-']).filter(|at| *at > 10);
    let (civil, offset) = text.split_at(offset.unwrap_or(text.len()));
    let civil = civil.parse().ok()?;
    if offset.is_empty() {
        return Some(Moment::naive(civil));
    }
    let (hours, minutes) = offset.split_at_checked(1)?.1.split_once(':')?;
    let minutes = hours.parse::<i16>().ok()? * 60 + minutes.parse::<i16>().ok()?;
    Some(Moment { civil, offset_minutes: Some(if offset.starts_with('-') { -minutes } else { minutes }) })
}

/// A value as JSON, in the written forms where JSON has none.
pub fn to_json(value: &Value<'_>) -> String {
    let typed = |key: &str, text: &str| format!("{{\"${key}\":{}}}", quoted(text));
    let list = |elements: &[Value<'_>]| format!("[{}]", elements.iter().map(to_json).collect::<Vec<_>>().join(","));
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Int(integer) => integer.to_string(),
        Value::Big(integer) => integer.to_string(),
        Value::Float(float) if float.is_finite() => float_repr(*float),
        Value::Float(float) => typed("float", &float_repr(*float)),
        Value::Decimal(decimal) => typed("decimal", &decimal.to_string()),
        Value::Str(text) => quoted(text),
        Value::Date(date) => typed("date", &date.to_string()),
        Value::DateTime(moment) => typed("datetime", &moment.to_string().replacen(' ', "T", 1)),
        Value::Time(time) => typed("time", &time.to_string()),
        Value::Duration(duration) => {
            let (whole, rest) = (duration.microseconds / 1_000_000, duration.microseconds % 1_000_000);
            if rest == 0 {
                format!("{{\"$timedelta_seconds\":{whole}}}")
            } else {
                let sign = if duration.microseconds < 0 { "-" } else { "" };
                format!("{{\"$timedelta_seconds\":{sign}{}.{:06}}}", whole.abs(), rest.abs())
            }
        }
        Value::List(elements) => list(elements),
        Value::Tuple(elements) => format!("{{\"$tuple\":{}}}", list(elements)),
        Value::Set(elements) => format!("{{\"$set\":{}}}", list(elements)),
        Value::Dict(dict) => {
            let entry =
                |(key, value): (&Value<'_>, &Value<'_>)| format!("{}:{}", quoted(&key.to_string()), to_json(value));
            format!("{{{}}}", dict.iter().map(entry).collect::<Vec<_>>().join(","))
        }
        Value::Function(name) => typed("function", name),
    }
}

fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\0'..='\u{1f}' => {
                let written = write!(quoted, "\\u{:04x}", u32::from(c));
                debug_assert!(written.is_ok(), "writing to a text cannot fail");
            }
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

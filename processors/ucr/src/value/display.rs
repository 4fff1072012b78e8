//! Values as text, as Python's `str()` and `repr()` write them.

use std::fmt::{self, Write as _};

use super::{Duration, Moment, Value};
use crate::number::float_repr;

/// Python's `str(value)`.
impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Str(text) => f.write_str(text),
            Value::Decimal(decimal) => write!(f, "{decimal}"),
            Value::Date(date) => write!(f, "{:04}-{:02}-{:02}", date.year(), date.month(), date.day()),
            Value::DateTime(moment) => write!(f, "{moment}"),
            Value::Time(time) => {
                write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
                fraction(f, time.subsec_nanosecond())
            }
            Value::Duration(duration) => write!(f, "{duration}"),
            value => write_repr(f, value),
        }
    }
}

impl Value<'_> {
    /// Python's `repr(value)`.
    pub fn repr(&self) -> String {
        Repr(self).to_string()
    }
}

struct Repr<'v, 'a>(&'v Value<'a>);

impl fmt::Display for Repr<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_repr(f, self.0)
    }
}

fn write_repr(f: &mut fmt::Formatter<'_>, value: &Value<'_>) -> fmt::Result {
    match value {
        Value::Null => f.write_str("None"),
        Value::Bool(flag) => f.write_str(if *flag { "True" } else { "False" }),
        Value::Int(integer) => write!(f, "{integer}"),
        Value::Big(integer) => write!(f, "{integer}"),
        Value::Float(float) => f.write_str(&float_repr(*float)),
        Value::Decimal(decimal) => write!(f, "Decimal('{decimal}')"),
        Value::Str(text) => quoted(f, text),
        Value::Date(date) => write!(f, "datetime.date({}, {}, {})", date.year(), date.month(), date.day()),
        Value::DateTime(moment) => {
            let (date, time) = (moment.civil.date(), moment.civil.time());
            write!(f, "datetime.datetime({}, {}, {}", date.year(), date.month(), date.day())?;
            time_parts(f, time)?;
            match moment.offset_minutes {
                None => {}
                Some(0) => f.write_str(", tzinfo=datetime.timezone.utc")?,
                Some(minutes) => write!(
                    f,
                    ", tzinfo=datetime.timezone({}{})",
                    if minutes < 0 { "-" } else { "" },
                    format_args!("datetime.timedelta(seconds={})", i32::from(minutes.abs()) * 60)
                )?,
            }
            f.write_char(')')
        }
        Value::Time(time) => {
            write!(f, "datetime.time({}, {}", time.hour(), time.minute())?;
            if time.second() != 0 || time.subsec_nanosecond() != 0 {
                write!(f, ", {}", time.second())?;
            }
            if time.subsec_nanosecond() != 0 {
                write!(f, ", {}", time.subsec_nanosecond() / 1000)?;
            }
            f.write_char(')')
        }
        Value::Duration(duration) => {
            let (days, seconds, microseconds) = duration.parts();
            let parts = [("days", days), ("seconds", seconds), ("microseconds", microseconds)];
            let set: Vec<String> =
                parts.iter().filter(|(_, n)| *n != 0).map(|(name, n)| format!("{name}={n}")).collect();
            write!(f, "datetime.timedelta({})", if set.is_empty() { "0".to_owned() } else { set.join(", ") })
        }
        Value::List(elements) => sequence(f, "[", elements, "]"),
        Value::Tuple(elements) if elements.len() == 1 => sequence(f, "(", elements, ",)"),
        Value::Tuple(elements) => sequence(f, "(", elements, ")"),
        Value::Set(elements) if elements.is_empty() => f.write_str("set()"),
        Value::Set(elements) => sequence(f, "{", elements, "}"),
        Value::Dict(dict) => {
            f.write_char('{')?;
            for (at, (key, value)) in dict.iter().enumerate() {
                f.write_str(if at == 0 { "" } else { ", " })?;
                write_repr(f, key)?;
                f.write_str(": ")?;
                write_repr(f, value)?;
            }
            f.write_char('}')
        }
        Value::Function(name) => write!(f, "<function {name}>"),
    }
}

fn sequence(f: &mut fmt::Formatter<'_>, open: &str, elements: &[Value<'_>], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (at, element) in elements.iter().enumerate() {
        f.write_str(if at == 0 { "" } else { ", " })?;
        write_repr(f, element)?;
    }
    f.write_str(close)
}

fn time_parts(f: &mut fmt::Formatter<'_>, time: jiff::civil::Time) -> fmt::Result {
    write!(f, ", {}, {}", time.hour(), time.minute())?;
    let microseconds = time.subsec_nanosecond() / 1000;
    if time.second() != 0 || microseconds != 0 {
        write!(f, ", {}", time.second())?;
    }
    if microseconds != 0 {
        write!(f, ", {microseconds}")?;
    }
    Ok(())
}

fn fraction(f: &mut fmt::Formatter<'_>, nanoseconds: i32) -> fmt::Result {
    if nanoseconds == 0 { Ok(()) } else { write!(f, ".{:06}", nanoseconds / 1000) }
}

/// As Python writes a text in a list: in single quotes unless only those occur in it, what is not printable escaped.
fn quoted(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            ' '..='~' => f.write_char(c)?,
            c if is_printable(c) => f.write_char(c)?,
            c => match u32::from(c) {
                code @ 0..=0xff => write!(f, "\\x{code:02x}")?,
                code @ 0x100..=0xffff => write!(f, "\\u{code:04x}")?,
                code => write!(f, "\\U{code:08x}")?,
            },
        }
    }
    f.write_char(quote)
}

/// By the standard library's tables, which agree with Python's but for code points that one of them does not know yet.
/// A letter goes before it because a combining character is only escaped at the beginning of a text.
fn is_printable(c: char) -> bool {
    let mut pair = String::from("a");
    pair.push(c);
    !c.is_control() && !pair.escape_debug().to_string().contains('\\')
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (date, time) = (self.civil.date(), self.civil.time());
        write!(f, "{:04}-{:02}-{:02} ", date.year(), date.month(), date.day())?;
        write!(f, "{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second())?;
        fraction(f, time.subsec_nanosecond())?;
        match self.offset_minutes {
            None => Ok(()),
            Some(minutes) => {
                let sign = if minutes < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}

impl Duration {
    /// Days, seconds of the day and microseconds of the second, as Python splits a `timedelta`.
    pub fn parts(self) -> (i64, i64, i64) {
        const SECOND: i64 = 1_000_000;
        const DAY: i64 = 86_400 * SECOND;
        let rest = self.microseconds.rem_euclid(DAY);
        (self.microseconds.div_euclid(DAY), rest / SECOND, rest % SECOND)
    }
}

/// As Python's `str(timedelta)`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds, microseconds) = self.parts();
        if days != 0 {
            write!(f, "{days} day{}, ", if days.abs() == 1 { "" } else { "s" })?;
        }
        write!(f, "{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)?;
        if microseconds == 0 { Ok(()) } else { write!(f, ".{microseconds:06}") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse;

    #[test]
    fn values_are_written_as_python_writes_them() {
        for (json, text) in [
            ("null", "None"),
            ("true", "True"),
            ("2.0", "2.0"),
            ("99999999999999999999", "99999999999999999999"),
            (r#"["a",1,null]"#, "['a', 1, None]"),
            (r#"{"a":{"b":[]}}"#, "{'a': {'b': []}}"),
            (
                r#"["it's","\"","'\"","\u00e9","\u0000","\u200b","\u0301"]"#,
                "[\"it's\", '\"', '\\'\"', 'é', '\\x00', '\\u200b', '\u{301}']",
            ),
        ] {
            assert_eq!(parse(json).unwrap().to_string(), text);
        }
    }

    #[test]
    fn dates_and_durations_are_written_as_python_writes_them() {
        let moment = Moment::naive(jiff::civil::date(2015, 1, 20).at(10, 11, 12, 500_000_000));
        assert_eq!(Value::DateTime(moment).to_string(), "2015-01-20 10:11:12.500000");
        assert_eq!(Value::DateTime(moment).repr(), "datetime.datetime(2015, 1, 20, 10, 11, 12, 500000)");
        assert_eq!(Value::Date(moment.civil.date()).repr(), "datetime.date(2015, 1, 20)");
        assert_eq!(Duration { microseconds: -1 }.to_string(), "-1 day, 23:59:59.999999");
    }
}

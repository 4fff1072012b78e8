//! The conversion of texts in configurations that look like dates, times or decimals.
//!
//! The original's specifications are wrapped by a library that converts them, so `"2015-01-01"` as a constant is a
//! date, which equals no text. Documents are never converted. The patterns are those of that library (jsonobject
//! 0.9.9): the first that matches decides, and a text that matches but cannot be read stays a text.

use jiff::civil;

use crate::number::{Decimal, unicode_digit};
use crate::value::{Moment, Value};

/// Converts a constant, and the texts in the lists and dicts of it.
pub(crate) fn convert(constant: &Value<'_>) -> Value<'static> {
    match constant {
        Value::Str(text) => convert_text(text),
        Value::List(elements) => Value::list(elements.iter().map(convert).collect()),
        Value::Dict(dict) => {
            Value::dict(dict.iter().map(|(key, value)| (key.clone().into_owned(), convert(value))).collect())
        }
        other => other.clone().into_owned(),
    }
}

fn convert_text(text: &str) -> Value<'static> {
    let unchanged = || Value::text(text.to_owned());
    // Nothing longer matches but a decimal.
    if !text.chars().next().is_some_and(is_digit) {
        return unchanged();
    }
    // `$` of the patterns also matches before a line feed at the end.
    let line = text.strip_suffix('\n').unwrap_or(text);
    let characters: Vec<char> = line.chars().take(48).collect();
    let whole = characters.len() < 48;
    if whole && matches(&date_pattern(), &characters) {
        return read_date(text).map_or_else(unchanged, Value::Date);
    }
    if whole && matches(&time_pattern(), &characters) {
        return read_time(text).map_or_else(unchanged, Value::Time);
    }
    if let Some(moment) = read_datetime(text) {
        return Value::DateTime(Moment::naive(moment));
    }
    let is_decimal = line.split_once('.').is_some_and(|(whole, fraction)| {
        !fraction.is_empty() && whole.chars().all(is_digit) && fraction.chars().all(is_digit)
    });
    if is_decimal { Decimal::parse(line).map_or_else(unchanged, Value::decimal) } else { unchanged() }
}

enum Piece {
    One(fn(char) -> bool),
    Optional(Vec<Piece>),
    Either(Vec<Piece>, Vec<Piece>),
}

/// Whether the pieces match the whole of the characters.
fn matches(pieces: &[Piece], characters: &[char]) -> bool {
    matches_then(pieces, characters, &|rest| rest.is_empty())
}

fn matches_then(pieces: &[Piece], characters: &[char], then: &dyn Fn(&[char]) -> bool) -> bool {
    let Some((first, others)) = pieces.split_first() else { return then(characters) };
    let go_on = |rest: &[char]| matches_then(others, rest, then);
    match first {
        Piece::One(class) => characters.split_first().is_some_and(|(c, rest)| class(*c) && go_on(rest)),
        Piece::Optional(inner) => matches_then(inner, characters, &go_on) || go_on(characters),
        Piece::Either(a, b) => matches_then(a, characters, &go_on) || matches_then(b, characters, &go_on),
    }
}

fn is_digit(c: char) -> bool {
    unicode_digit(c).is_some()
}

/// `\D?`
fn separator() -> Piece {
    Piece::Optional(vec![Piece::One(|c| !is_digit(c))])
}

/// `\d{4}\D?(0[1-9]|1[0-2])\D?([12]\d|0[1-9]|3[01])`
fn date_pattern() -> Vec<Piece> {
    let digit = || Piece::One(is_digit);
    let month = Piece::Either(
        vec![Piece::One(|c| c == '0'), Piece::One(|c| matches!(c, '1'..='9'))],
        vec![Piece::One(|c| c == '1'), Piece::One(|c| matches!(c, '0'..='2'))],
    );
    let low_day = Piece::Either(
        vec![Piece::One(|c| matches!(c, '1' | '2')), digit()],
        vec![Piece::One(|c| c == '0'), Piece::One(|c| matches!(c, '1'..='9'))],
    );
    let day = Piece::Either(vec![low_day], vec![Piece::One(|c| c == '3'), Piece::One(|c| matches!(c, '0' | '1'))]);
    vec![digit(), digit(), digit(), digit(), separator(), month, separator(), day]
}

/// `([01]\d|2[0-3])\D?([0-5]\d)\D?([0-5]\d)?\D?(\d{3,6})?`
fn time_pattern() -> Vec<Piece> {
    let digit = || Piece::One(is_digit);
    let sixty = || vec![Piece::One(|c| matches!(c, '0'..='5')), digit()];
    let hour = Piece::Either(
        vec![Piece::One(|c| matches!(c, '0' | '1')), digit()],
        vec![Piece::One(|c| c == '2'), Piece::One(|c| matches!(c, '0'..='3'))],
    );
    let longer = vec![digit(), Piece::Optional(vec![digit(), Piece::Optional(vec![digit()])])];
    let fraction = Piece::Optional(vec![digit(), digit(), digit(), Piece::Optional(longer)]);
    let mut pieces = vec![hour, separator()];
    pieces.extend(sixty());
    pieces.extend([separator(), Piece::Optional(sixty()), separator(), fraction]);
    pieces
}

/// `YYYY-MM-DD`, each digit of any script.
fn read_date(text: &str) -> Option<civil::Date> {
    let mut characters = text.chars();
    let year = digits(&mut characters, 4)?;
    literal(&mut characters, '-')?;
    let month = digits(&mut characters, 2)?;
    literal(&mut characters, '-')?;
    let day = digits(&mut characters, 2)?;
    let at_end = characters.next().is_none() && year > 0;
    at_end.then(|| civil::Date::new(year, narrow(month)?, narrow(day)?).ok())?
}

/// `HH:MM:SS`.
fn read_time(text: &str) -> Option<civil::Time> {
    let mut characters = text.chars();
    let time = read_clock(&mut characters)?;
    characters.next().is_none().then_some(time)
}

/// `YYYY-MM-DDTHH:MM:SSZ`, with six digits of a second or without.
fn read_datetime(text: &str) -> Option<civil::DateTime> {
    let (date, clock) = text.split_once('T')?;
    let date = read_date(date)?;
    let clock = clock.strip_suffix('Z')?;
    let mut characters = clock.chars();
    let time = read_clock(&mut characters)?;
    let rest = characters.as_str();
    if rest.is_empty() {
        return Some(date.to_datetime(time));
    }
    let fraction = rest.strip_prefix('.')?;
    if fraction.len() != 6 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let microseconds: i32 = fraction.parse().ok()?;
    let time = civil::Time::new(time.hour(), time.minute(), time.second(), microseconds * 1000).ok()?;
    Some(date.to_datetime(time))
}

fn read_clock(characters: &mut std::str::Chars<'_>) -> Option<civil::Time> {
    let hour = digits(characters, 2)?;
    literal(characters, ':')?;
    let minute = digits(characters, 2)?;
    literal(characters, ':')?;
    let second = digits(characters, 2)?;
    civil::Time::new(narrow(hour)?, narrow(minute)?, narrow(second)?, 0).ok()
}

fn digits(characters: &mut std::str::Chars<'_>, count: usize) -> Option<i16> {
    let mut number = 0;
    for _ in 0..count {
        number = number * 10 + i16::try_from(unicode_digit(characters.next()?)?).ok()?;
    }
    Some(number)
}

fn literal(characters: &mut std::str::Chars<'_>, expected: char) -> Option<()> {
    (characters.next()? == expected).then_some(())
}

fn narrow(number: i16) -> Option<i8> {
    number.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let value = convert(&Value::text(text));
        assert_eq!(format!("{} {value}", value.type_name()), expected);
    }

    #[test]
    fn what_looks_like_a_date_and_is_one_becomes_a_date() {
        check("2015-01-20", "date 2015-01-20");
        for text in ["20150120", "2015-02-30", "2015/01/20", "0000-01-01", "2015-1-5", "2015-13-01", " 2015-01-20"] {
            check(text, &format!("str {text}"));
        }
    }

    #[test]
    fn only_a_full_time_becomes_a_time() {
        check("10:11:12", "time 10:11:12");
        for text in ["10:11", "1011", "24:00:00", "10:11:12.123456", "10.30"] {
            check(text, &format!("str {text}"));
        }
    }

    #[test]
    fn only_the_strict_form_becomes_a_datetime() {
        check("2015-01-20T10:11:12Z", "datetime 2015-01-20 10:11:12");
        check("2015-01-20T10:11:12.000004Z", "datetime 2015-01-20 10:11:12.000004");
        for text in
            ["2015-01-20T10:11:12", "2015-01-20T10:11:12.123Z", "2015-01-20T10:11:12+00:00", "2015-01-20 10:11:12Z"]
        {
            check(text, &format!("str {text}"));
        }
    }

    #[test]
    fn digits_around_a_point_become_a_decimal() {
        check("1.50", "Decimal 1.50");
        check("0.0", "Decimal 0.0");
        check("100.25", "Decimal 100.25");
        check("12.345", "Decimal 12.345");
        for text in ["-1.5", "1", ".5", "5.", "1.5e3", "1.2.3", "12.34"] {
            check(text, &format!("str {text}"));
        }
    }

    #[test]
    fn lists_and_dicts_are_converted_deeply_but_not_their_keys() {
        let constant = crate::value::parse(r#"{"2015-01-20": ["2015-01-20", {"a": "1.5"}]}"#).unwrap();
        let expected = "{'2015-01-20': [datetime.date(2015, 1, 20), {'a': Decimal('1.5')}]}";
        assert_eq!(convert(&constant).to_string(), expected);
    }
}

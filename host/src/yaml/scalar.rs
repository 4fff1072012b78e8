//! What a scalar is, by the rules of YAML 1.1 as PyYAML has them: there `no` is false, `010` is eight, and `1e3` is a text.

use jiff::Timestamp;
use jiff::civil::{Date, DateTime};

/// A scalar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scalar {
    Null,
    Bool(bool),
    /// As JSON has it.
    Number(String),
    /// A date or a moment, as text.
    Moment(String),
    Text,
}

/// What a scalar without quotes and tag is.
///
/// # Errors
/// A number or a moment that there is not.
pub(super) fn plain(text: &str) -> Result<Scalar, String> {
    if matches!(text, "" | "~" | "null" | "Null" | "NULL") {
        return Ok(Scalar::Null);
    }
    if let Some(flag) = boolean(text) {
        return Ok(Scalar::Bool(flag));
    }
    if let Some(number) = integer(text).or_else(|| float(text)) {
        return number.map(Scalar::Number);
    }
    match moment(text) {
        Some(moment) => moment.map(Scalar::Moment),
        None => Ok(Scalar::Text),
    }
}

/// What a scalar with a tag of YAML itself, such as `!!int`, is.
///
/// # Errors
/// It is none of that kind, or the kind is not known.
pub(super) fn tagged(kind: &str, text: &str) -> Result<Scalar, String> {
    let found = match kind {
        "str" => Some(Scalar::Text),
        "float" => match plain(text)? {
            Scalar::Number(number) if number.contains(['.', 'e']) => Some(Scalar::Number(number)),
            _ => decimal(text).map(written).transpose()?.map(Scalar::Number),
        },
        "int" => integer(text).transpose()?.map(Scalar::Number),
        "bool" => boolean(text).map(Scalar::Bool),
        "null" => Some(Scalar::Null),
        "timestamp" => moment(text).transpose()?.map(Scalar::Moment),
        _ => return Err(format!("the tag !!{kind} cannot be said in JSON")),
    };
    found.ok_or_else(|| format!("`{text}` is no {kind}"))
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Some(true),
        "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// `12`, `1_000`, `0b101`, `017`, `0x1f`, and `1:30`, which is ninety.
fn integer(text: &str) -> Option<Result<String, String>> {
    let (sign, digits) = signed(text);
    let all =
        |digits: &str, are: fn(u8) -> bool| !digits.is_empty() && digits.bytes().all(|byte| byte == b'_' || are(byte));
    let of_base = |digits: &str, base: u32| {
        let number = u128::from_str_radix(&digits.replace('_', ""), base);
        number.map(|number| number.to_string()).map_err(|error| format!("`{text}` is no number: {error}"))
    };
    let number = if let Some(digits) = digits.strip_prefix("0b") {
        all(digits, |byte| matches!(byte, b'0' | b'1')).then(|| of_base(digits, 2))
    } else if let Some(digits) = digits.strip_prefix("0x") {
        all(digits, |byte| byte.is_ascii_hexdigit()).then(|| of_base(digits, 16))
    } else if let Some(octal) = digits.strip_prefix('0').filter(|octal| !octal.is_empty()) {
        all(octal, |byte| matches!(byte, b'0'..=b'7')).then(|| of_base(digits, 8))
    } else if all(digits, |byte| byte.is_ascii_digit()) && !digits.starts_with('_') {
        // Of any length, as in Python.
        Some(Ok(digits.replace('_', "")))
    } else if digits.starts_with(|first: char| matches!(first, '1'..='9')) {
        sexagesimal(digits).map(|parts| {
            let number = parts.iter().try_fold(0_u128, |number, part| {
                let part = part.replace('_', "").parse::<u128>().ok()?;
                number.checked_mul(60)?.checked_add(part)
            });
            number.map(|number| number.to_string()).ok_or_else(|| format!("`{text}` is too large a number"))
        })
    } else {
        None
    };
    number.map(|number| number.map(|number| if number == "0" { number } else { format!("{sign}{number}") }))
}

/// `1.5`, `.5`, `1.0e+3`, and `1:30.5`, which is ninety and a half. An exponent needs a point before it and a sign.
fn float(text: &str) -> Option<Result<String, String>> {
    let (sign, digits) = signed(text);
    let has_sign = digits.len() < text.len();
    if matches!(digits, ".inf" | ".Inf" | ".INF") || (!has_sign && matches!(digits, ".nan" | ".NaN" | ".NAN")) {
        return Some(Err(format!("`{text}` cannot be said in JSON")));
    }
    let (whole, rest) = digits.split_once('.')?;
    let are_digits = |text: &str| text.bytes().all(|byte| byte == b'_' || byte.is_ascii_digit());
    let begins = |text: &str| text.starts_with(|first: char| first.is_ascii_digit());
    if let Some(parts) = sexagesimal(whole).filter(|parts| parts.len() > 1) {
        if !begins(whole) || !are_digits(rest) {
            return None;
        }
        let last = format!("{}.{rest}", parts.last()?);
        let parts = parts[..parts.len() - 1].iter().map(|part| (*part).to_owned()).chain([last]);
        let number = parts.into_iter().try_fold(0.0, |number, part| Some(number * 60.0 + decimal(&part)?));
        let number = number.ok_or_else(|| format!("`{text}` is no number"));
        return Some(number.and_then(|number| written(if sign.is_empty() { number } else { -number })));
    }
    let (fraction, exponent) = match rest.split_once(['e', 'E']) {
        Some((fraction, exponent)) => (fraction, Some(exponent)),
        None => (rest, None),
    };
    let fits = match whole {
        "" => !has_sign && begins(fraction) && are_digits(fraction),
        whole => begins(whole) && are_digits(whole) && are_digits(fraction),
    };
    let exponent_fits = exponent.is_none_or(|exponent| {
        let (_, digits) = signed(exponent);
        digits.len() < exponent.len() && !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
    });
    if !fits || !exponent_fits {
        return None;
    }
    Some(decimal(text).ok_or_else(|| format!("`{text}` is no number")).and_then(written))
}

/// Digits with a point and an exponent, as Rust reads them but for the underscores.
fn decimal(text: &str) -> Option<f64> {
    text.replace('_', "").parse().ok()
}

/// A float as JSON has it.
fn written(number: f64) -> Result<String, String> {
    if number.is_finite() { Ok(format!("{number:?}")) } else { Err("too large a number".to_owned()) }
}

/// The sign that is written, and the rest.
fn signed(text: &str) -> (&'static str, &str) {
    match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    }
}

/// Digits with colons between them: hours, minutes, seconds.
fn sexagesimal(text: &str) -> Option<Vec<&str>> {
    let parts: Vec<&str> = text.split(':').collect();
    let (first, rest) = parts.split_first()?;
    let is_first = first.starts_with(|first: char| first.is_ascii_digit())
        && first.bytes().all(|byte| byte == b'_' || byte.is_ascii_digit());
    let is_part = |part: &&str| match part.as_bytes() {
        [one] => one.is_ascii_digit(),
        [ten, one] => matches!(ten, b'0'..=b'5') && one.is_ascii_digit(),
        _ => false,
    };
    (is_first && rest.iter().all(is_part)).then_some(parts)
}

/// `2015-01-31`, which stays as it is, and `2015-01-31 10:00:00 +2`, which becomes the same moment in UTC as the language of
/// reports writes it. Without an offset it is one in UTC.
fn moment(text: &str) -> Option<Result<String, String>> {
    let digits = |text: &str, lengths: std::ops::RangeInclusive<usize>| {
        (lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| text.parse::<i16>().ok())?
    };
    let small = |text: &str, lengths| digits(text, lengths).and_then(|number| i8::try_from(number).ok());
    let no_such = |error: jiff::Error| format!("`{text}` is no moment: {error}");
    let (year, rest) = text.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let year = digits(year, 4..=4)?;
    let Some(end) = rest.find(|sign: char| !sign.is_ascii_digit()) else {
        let (month, day) = (small(month, 2..=2)?, small(rest, 2..=2)?);
        return Some(Date::new(year, month, day).map(|date| date.to_string()).map_err(no_such));
    };
    let (day, rest) = rest.split_at(end);
    let (month, day) = (small(month, 1..=2)?, small(day, 1..=2)?);
    let blank = |sign: char| matches!(sign, ' ' | '\t');
    let time = match rest.strip_prefix(['T', 't']) {
        Some(time) => time,
        None => rest.strip_prefix(blank)?.trim_start_matches(blank),
    };
    let (hour, rest) = time.split_once(':')?;
    let (minute, rest) = rest.split_once(':')?;
    let (second, mut rest) = rest.split_at_checked(2)?;
    let (hour, minute, second) = (small(hour, 1..=2)?, small(minute, 2..=2)?, small(second, 2..=2)?);
    let mut nanosecond = 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        let length = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let (fraction, after) = fraction.split_at(length);
        // What is finer than microseconds is cut off.
        nanosecond = format!("{:0<6}", fraction.get(..6).unwrap_or(fraction)).parse::<i32>().ok()? * 1000;
        rest = after;
    }
    let zone = rest.trim_start_matches(blank);
    let offset_minutes = match zone {
        "" if rest.is_empty() => 0,
        "Z" => 0,
        zone => {
            let (sign, offset) = match zone.strip_prefix('-') {
                Some(offset) => (-1, offset),
                None => (1, zone.strip_prefix('+')?),
            };
            let (hours, minutes) = match offset.split_once(':') {
                Some((hours, minutes)) => (hours, digits(minutes, 2..=2)?),
                None => (offset, 0),
            };
            sign * (i64::from(digits(hours, 1..=2)?) * 60 + i64::from(minutes))
        }
    };
    let moment = DateTime::new(year, month, day, hour, minute, second, nanosecond)
        .and_then(|local| jiff::tz::Offset::UTC.to_timestamp(local))
        .and_then(|local| local.checked_sub(jiff::SignedDuration::from_mins(offset_minutes)));
    Some(moment.map(in_utc).map_err(no_such))
}

fn in_utc(moment: Timestamp) -> String {
    let precision = if moment.subsec_nanosecond() == 0 { 0 } else { 6 };
    format!("{moment:.precision$}")
}

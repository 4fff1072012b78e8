//! Integers as Python reads them.

use num_bigint::BigInt;

/// Longer numbers are not read: converting them takes time that grows with the square of their length.
pub const MOST_INTEGER_DIGITS: usize = 20_000;

/// Reads what Python's `int(text)` reads: surrounding whitespace, a sign, single underscores between digits, digits of
/// any script.
pub fn parse_integer(text: &str) -> Option<BigInt> {
    let trimmed = super::stripped(text);
    if trimmed.len() > MOST_INTEGER_DIGITS {
        return None;
    }
    if let Ok(small) = trimmed.parse::<i64>() {
        return Some(small.into());
    }
    let plain = plain_digits(trimmed)?;
    let digits = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    plain.parse().ok()
}

/// The text with ASCII digits and without the underscores between digits; `None` for an underscore elsewhere or
/// another character that no number has.
pub(super) fn plain_digits(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        if c == '_' {
            let after_digit = plain.ends_with(|last: char| last.is_ascii_digit());
            let before_digit = characters.peek().copied().and_then(super::unicode_digit).is_some();
            if !(after_digit && before_digit) {
                return None;
            }
        } else if c.is_ascii() {
            plain.push(c);
        } else {
            plain.push(char::from_digit(super::unicode_digit(c)?, 10)?);
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_python_reads_them() {
        let read = |text| parse_integer(text).map(|integer| integer.to_string());
        assert_eq!(read(" +1_000 ").as_deref(), Some("1000"));
        assert_eq!(read("\u{1f}7\u{a0}").as_deref(), Some("7"));
        assert_eq!(read("٣").as_deref(), Some("3"));
        assert_eq!(read("-99999999999999999999").as_deref(), Some("-99999999999999999999"));
        for text in ["", "+", "1__0", "_1", "1_", "1.0", "0x1", "+ 1", "1 0"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}

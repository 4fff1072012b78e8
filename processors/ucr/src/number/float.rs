//! Floats as Python reads and writes them.

/// As Python's `repr(float)`: the fewest digits that give the same number, with an exponent from 1e16 and below 1e-4.
pub fn float_repr(float: f64) -> String {
    if float.is_nan() {
        return "nan".to_owned();
    }
    if float.is_infinite() {
        return if float < 0.0 { "-inf" } else { "inf" }.to_owned();
    }
    let scientific = format!("{float:e}");
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if float == 0.0 || (-4..16).contains(&exponent) {
        let mut plain = format!("{float}");
        if !plain.contains('.') {
            plain.push_str(".0");
        }
        return plain;
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.unsigned_abs())
}

/// Reads what Python's `float(text)` reads: surrounding whitespace, single underscores between digits, digits of any
/// script, `inf` and `nan`.
pub fn parse_float(text: &str) -> Option<f64> {
    let trimmed = super::stripped(text);
    let bytes = trimmed.as_bytes();
    if bytes.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'+' | b'e' | b'E')) {
        return trimmed.parse().ok();
    }
    let plain = super::integer::plain_digits(trimmed)?;
    let unsigned = plain.strip_prefix(['+', '-']).unwrap_or(&plain);
    // Rust reads the same words in any case; nothing else that begins with a letter is a number.
    plain.parse().ok().filter(|_| !unsigned.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_written_as_python_writes_them() {
        for (float, text) in [
            (2.0, "2.0"),
            (0.1, "0.1"),
            (1e20, "1e+20"),
            (1e16, "1e+16"),
            (123_456_789_012_345.6, "123456789012345.6"),
            (1e15, "1000000000000000.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (-0.0, "-0.0"),
            (f64::INFINITY, "inf"),
            (1.797e308, "1.797e+308"),
        ] {
            assert_eq!(float_repr(float), text);
        }
    }

    #[test]
    fn floats_are_read_as_python_reads_them() {
        assert_eq!(parse_float(" 1_0.5\n"), Some(10.5));
        assert_eq!(parse_float(".5"), Some(0.5));
        assert_eq!(parse_float("5."), Some(5.0));
        assert_eq!(parse_float("-Infinity"), Some(f64::NEG_INFINITY));
        assert!(parse_float("nan").is_some_and(f64::is_nan));
        assert_eq!(parse_float("٣.٥"), Some(3.5));
        for text in ["", "1__0", "_1", "1_", "0x10", "1e", "e5", ".", "1 2"] {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }
}

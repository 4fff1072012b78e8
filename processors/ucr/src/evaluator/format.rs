//! Python's format specifications: what stands behind the colon in `f"{a:.2f}"` and in `"{0:,}"`.

use crate::EvalError;
use crate::arithmetic;
use crate::dates;
use crate::number::{Decimal, float_repr};
use crate::value::Value;

/// Wider or longer results are refused.
const MOST_WIDTH: usize = 1_000_000;

/// Python's `format(value, spec)`.
///
/// # Errors
///
/// A specification that values of the type do not know.
pub fn format_value(value: &Value<'_>, spec: &str) -> Result<String, EvalError> {
    match value {
        Value::Date(_) | Value::DateTime(_) | Value::Time(_) if !spec.is_empty() => {
            dates::format(value, spec).ok_or_else(|| bad("strftime format ends with raw %"))
        }
        value if spec.is_empty() => Ok(value.to_string()),
        Value::Str(text) => Spec::parse(spec)?.text(text),
        Value::Bool(_) | Value::Int(_) | Value::Big(_) => Spec::parse(spec)?.integer(value),
        Value::Float(float) => Spec::parse(spec)?.float(*float),
        Value::Decimal(decimal) => Spec::parse(spec)?.decimal(decimal),
        other => {
            Err(EvalError::type_error(format!("unsupported format string passed to {}.__format__", other.type_name())))
        }
    }
}

/// Python's `template.format(value)`: `{}` and `{0}`, with a conversion and a specification.
///
/// # Errors
///
/// A template that is malformed or asks for something else, such as a second argument or an attribute.
pub fn format_template(template: &str, value: &Value<'_>) -> Result<String, EvalError> {
    let mut out = String::new();
    let mut rest = template;
    let mut numbering = None;
    while let Some(at) = rest.find(['{', '}']) {
        let (text, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(text);
        if let Some(after) = behind.strip_prefix("{{").or_else(|| behind.strip_prefix("}}")) {
            out.push_str(behind.get(..1).unwrap_or_default());
            rest = after;
            continue;
        }
        let inside = behind.strip_prefix('{').ok_or_else(|| bad("Single '}' encountered in format string"))?;
        let end = inside.find('}').ok_or_else(|| bad("expected '}' before end of string"))?;
        let field = inside.get(..end).unwrap_or_default();
        let (name, spec) = field.split_once(':').unwrap_or((field, ""));
        let (name, conversion) =
            name.split_once('!').map_or((name, None), |(name, conversion)| (name, Some(conversion)));
        let automatic = name.is_empty();
        // Once numbered, always numbered; and there is only one argument.
        if numbering.is_some_and(|before| before != automatic || automatic)
            || !(automatic || name.bytes().all(|digit| digit == b'0'))
        {
            return Err(EvalError::Missing("the template asks for another argument".into()));
        }
        numbering = Some(automatic);
        if spec.contains('{') {
            return Err(bad("a nested template"));
        }
        out.push_str(&match conversion {
            None => format_value(value, spec)?,
            Some("s") => format_value(&Value::text(value.to_string()), spec)?,
            Some("r" | "a") => format_value(&Value::text(value.repr()), spec)?,
            Some(_) => return Err(bad("Unknown conversion specifier")),
        });
        if out.len() > MOST_WIDTH {
            return Err(EvalError::limit("a formatted text is too long"));
        }
        rest = inside.get(end + 1..).unwrap_or_default();
    }
    out.push_str(rest);
    Ok(out)
}

pub(super) fn bad(message: &str) -> EvalError {
    EvalError::Value(message.into())
}

/// `[[fill]align][sign][#][0][width][grouping][.precision][type]`
struct Spec {
    fill: char,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    /// Whether it is to be filled up by the `0` in front of the width.
    zeros: bool,
    width: usize,
    grouping: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Spec {
    fn parse(spec: &str) -> Result<Self, EvalError> {
        let mut rest = spec;
        let mut result = Self {
            fill: ' ',
            align: None,
            sign: None,
            alternate: false,
            zeros: false,
            width: 0,
            grouping: None,
            precision: None,
            kind: None,
        };
        let is_align = |c: &char| "<>=^".contains(*c);
        let mut start = spec.chars();
        match (start.next(), start.next()) {
            (Some(fill), Some(align)) if is_align(&align) => {
                result.fill = fill;
                result.align = Some(align);
                rest = start.as_str();
            }
            (Some(align), _) if is_align(&align) => {
                result.align = Some(align);
                rest = rest.get(1..).unwrap_or_default();
            }
            _ => {}
        }
        if let Some(behind) = rest.strip_prefix(['+', '-', ' ']) {
            result.sign = rest.chars().next();
            rest = behind;
        }
        if let Some(behind) = rest.strip_prefix('#') {
            result.alternate = true;
            rest = behind;
        }
        if let Some(behind) = rest.strip_prefix('0') {
            if result.align.is_none() {
                result.fill = '0';
                result.align = Some('=');
                result.zeros = true;
            }
            rest = behind;
        }
        result.width = number(&mut rest)?.unwrap_or(0);
        if let Some(behind) = rest.strip_prefix([',', '_']) {
            result.grouping = rest.chars().next();
            rest = behind;
        }
        if rest.starts_with([',', '_']) {
            return Err(bad("Cannot specify both ',' and '_'."));
        }
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            result.precision = Some(number(&mut rest)?.ok_or_else(|| bad("Format specifier missing precision"))?);
        }
        let mut last = rest.chars();
        result.kind = last.next();
        if last.next().is_some() {
            return Err(bad("Invalid format specifier"));
        }
        if result.width > MOST_WIDTH || result.precision.is_some_and(|precision| precision > MOST_WIDTH) {
            return Err(EvalError::limit("a formatted text is too long"));
        }
        Ok(result)
    }

    fn text(&self, text: &str) -> Result<String, EvalError> {
        if !matches!(self.kind, None | Some('s')) {
            return Err(self.unknown("str"));
        }
        if self.sign.is_some() || self.alternate || self.align == Some('=') || self.grouping.is_some() {
            return Err(bad("a text has no sign and no digits"));
        }
        let text: String = match self.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text.to_owned(),
        };
        Ok(self.padded("", &text, '<'))
    }

    fn integer(&self, value: &Value<'_>) -> Result<String, EvalError> {
        let kind = self.kind.unwrap_or('d');
        if "eEfFgG%".contains(kind) {
            let Value::Float(float) = arithmetic::to_float(value)? else { return Err(self.unknown("int")) };
            return self.float(float);
        }
        if self.precision.is_some() {
            return Err(bad("Precision not allowed in integer format specifier"));
        }
        let integer: num_bigint::BigInt = match arithmetic::to_integer(value)? {
            Value::Big(integer) => (*integer).clone(),
            Value::Int(integer) => integer.into(),
            _ => return Err(self.unknown("int")),
        };
        let negative = integer.sign() == num_bigint::Sign::Minus;
        let magnitude = integer.magnitude();
        let (prefix, digits, group) = match kind {
            'd' => ("", magnitude.to_string(), 3),
            'n' if self.grouping.is_none() => ("", magnitude.to_string(), 3),
            'b' => ("0b", magnitude.to_str_radix(2), 4),
            'o' => ("0o", magnitude.to_str_radix(8), 4),
            'x' => ("0x", magnitude.to_str_radix(16), 4),
            'X' => ("0X", magnitude.to_str_radix(16).to_uppercase(), 4),
            'c' => {
                if self.sign.is_some() || self.alternate || self.grouping.is_some() {
                    return Err(bad("Sign not allowed with integer format specifier 'c'"));
                }
                let code = u32::try_from(&integer).ok().and_then(char::from_u32);
                let character = code.ok_or_else(|| EvalError::Overflow("%c arg not in range(0x110000)".into()))?;
                return Ok(self.padded("", &character.to_string(), '>'));
            }
            _ => return Err(self.unknown("int")),
        };
        if self.grouping == Some(',') && group == 4 {
            return Err(bad("Cannot specify ',' with that type"));
        }
        let prefix = if self.alternate { prefix } else { "" };
        Ok(self.number(negative, prefix, &digits, "", group))
    }

    fn float(&self, float: f64) -> Result<String, EvalError> {
        let kind = self.kind.unwrap_or('\0');
        if !matches!(kind, '\0' | 'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 'n' | '%')
            || (kind == 'n' && self.grouping.is_some())
        {
            return Err(self.unknown("float"));
        }
        let negative = float.is_sign_negative() && !float.is_nan();
        let float = if kind == '%' { float.abs() * 100.0 } else { float.abs() };
        if !float.is_finite() {
            let text = float_repr(float);
            let text = if kind.is_ascii_uppercase() { text.to_uppercase() } else { text };
            return Ok(self.number(negative, "", &text, if kind == '%' { "%" } else { "" }, 3));
        }
        let text = match kind {
            'e' | 'E' => exponential(float, self.precision.unwrap_or(6), self.alternate),
            'f' | 'F' | '%' => fixed(float, self.precision.unwrap_or(6), self.alternate),
            'g' | 'G' | 'n' => general(float, self.precision.unwrap_or(6), self.alternate, false),
            _ => match self.precision {
                Some(precision) => general(float, precision, self.alternate, true),
                None => float_repr(float),
            },
        };
        let text = if kind.is_ascii_uppercase() { text.to_uppercase() } else { text };
        let (whole, rest) = text
            .split_at_checked(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
            .unwrap_or((&text, ""));
        let rest = if kind == '%' { format!("{rest}%") } else { rest.to_owned() };
        Ok(self.number(negative, "", whole, &rest, 3))
    }

    fn decimal(&self, decimal: &Decimal) -> Result<String, EvalError> {
        // Without a type the exponent is written as `str()` writes it.
        let kind = self.kind.unwrap_or('G');
        if !"eEfFgGn%".contains(kind) || self.grouping == Some('_') || self.alternate {
            return Err(bad("invalid format string"));
        }
        let percent = if kind == '%' { "%" } else { "" };
        let Some((negative, digits, exponent)) = decimal.parts() else {
            let text = decimal.to_string();
            let text = text.trim_start_matches('-');
            // Zeros in front are for digits.
            let spec = if self.zeros { &Self { fill: ' ', align: Some('>'), ..*self } } else { self };
            return Ok(spec.number(decimal.is_negative(), "", text, percent, 3));
        };
        let exponent = if kind == '%' { exponent + 2 } else { exponent };
        let (whole, rest) = decimal_text(&digits, exponent, kind, self.precision)?;
        Ok(self.number(negative, "", &whole, &format!("{rest}{percent}"), 3))
    }

    /// Sign, prefix, grouped digits and the rest, filled up to the width.
    fn number(&self, negative: bool, prefix: &str, digits: &str, rest: &str, group: usize) -> String {
        let sign = match (negative, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let head = format!("{sign}{prefix}");
        let Some(separator) = self.grouping.filter(|_| digits.bytes().all(|digit| digit.is_ascii_hexdigit())) else {
            return self.padded(&head, &format!("{digits}{rest}"), '>');
        };
        let mut digits = digits.to_owned();
        if self.fill == '0' && self.align == Some('=') {
            // Zeros are grouped as well, and a group is not left empty.
            let others = head.len() + rest.len();
            while digits.len() + (digits.len().max(1) - 1) / group + others < self.width {
                let missing = self.width - (digits.len() + (digits.len().max(1) - 1) / group + others);
                digits.insert_str(0, &"0".repeat((missing * group / (group + 1)).max(1)));
            }
        }
        self.padded(&head, &format!("{}{rest}", grouped(&digits, separator, group)), '>')
    }

    fn padded(&self, head: &str, body: &str, default_align: char) -> String {
        let length = head.chars().count() + body.chars().count();
        let missing = self.width.saturating_sub(length);
        let fill = |count: usize| std::iter::repeat_n(self.fill, count).collect::<String>();
        match self.align.unwrap_or(default_align) {
            '<' => format!("{head}{body}{}", fill(missing)),
            '^' => format!("{}{head}{body}{}", fill(missing / 2), fill(missing - missing / 2)),
            '=' => format!("{head}{}{body}", fill(missing)),
            _ => format!("{}{head}{body}", fill(missing)),
        }
    }

    fn unknown(&self, type_name: &str) -> EvalError {
        let kind = self.kind.unwrap_or(' ');
        bad(&format!("Unknown format code '{kind}' for object of type '{type_name}'"))
    }
}

fn number(rest: &mut &str) -> Result<Option<usize>, EvalError> {
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    if length == 0 {
        return Ok(None);
    }
    let (digits, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
    *rest = behind;
    // Python refuses what has more digits than its sizes.
    digits.parse().map(Some).map_err(|_overflow| bad("Too many decimal digits in format string"))
}

fn grouped(digits: &str, separator: char, group: usize) -> String {
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % group == 0 {
            out.push(separator);
        }
        out.push(digit);
    }
    out
}

/// With so many digits behind the point; of the exact value, half to even.
pub(super) fn fixed(float: f64, precision: usize, keep_point: bool) -> String {
    // The formatter of the standard library takes no more places than this, and no float has more digits.
    let places = precision.min(1100);
    let mut text = format!("{float:.places$}");
    text.extend(std::iter::repeat_n('0', precision - places));
    if keep_point && precision == 0 {
        text.push('.');
    }
    text
}

pub(super) fn exponential(float: f64, precision: usize, keep_point: bool) -> String {
    let (digits, exponent) = significant(float, precision.saturating_add(1));
    let (first, rest) = digits.split_at_checked(1).unwrap_or((&digits, ""));
    let point = if rest.is_empty() && !keep_point { "" } else { "." };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{first}{point}{rest}e{sign}{:02}", exponent.abs())
}

/// With so many significant digits, and an exponent only where that is shorter.
pub(super) fn general(float: f64, precision: usize, keep_zeros: bool, at_least_one: bool) -> String {
    let precision = precision.max(1);
    let (_, exponent) = significant(float, precision);
    let most = i64::try_from(precision).unwrap_or(i64::MAX);
    let use_exponent = exponent < -4 || exponent >= if at_least_one { most - 1 } else { most };
    let text = if use_exponent {
        exponential(float, precision - 1, keep_zeros)
    } else {
        let places = usize::try_from(most - 1 - exponent).unwrap_or(0);
        fixed(float, places, keep_zeros)
    };
    if keep_zeros {
        return text;
    }
    let (mantissa, tail) = text.split_at_checked(text.find('e').unwrap_or(text.len())).unwrap_or((&text, ""));
    let mantissa = if mantissa.contains('.') { mantissa.trim_end_matches('0').trim_end_matches('.') } else { mantissa };
    let point = if at_least_one && tail.is_empty() && !mantissa.contains('.') { ".0" } else { "" };
    format!("{mantissa}{point}{tail}")
}

/// So many digits of a float, and the exponent of the first.
fn significant(float: f64, count: usize) -> (String, i64) {
    let Some((_, digits, exponent)) = Decimal::from_float(float).parts() else { return (String::from("0"), 0) };
    if float == 0.0 {
        return ("0".repeat(count), 0);
    }
    let (digits, exponent) = rounded(&digits, exponent, count);
    let length = i64::try_from(digits.len()).unwrap_or(0);
    let first = exponent + length - 1;
    let padded = format!("{digits}{}", "0".repeat(count.saturating_sub(digits.len())));
    (padded, first)
}

/// Digits cut to so many, half to even.
fn rounded(digits: &str, exponent: i64, count: usize) -> (String, i64) {
    if digits.len() <= count {
        return (digits.to_owned(), exponent);
    }
    let (kept, cut) = digits.split_at_checked(count).unwrap_or((digits, ""));
    let exponent = exponent + i64::try_from(cut.len()).unwrap_or(0);
    let half = match cut.bytes().next() {
        Some(b'5') if cut.bytes().skip(1).all(|digit| digit == b'0') => {
            kept.bytes().last().is_some_and(|last| last % 2 == 1)
        }
        Some(first) => first >= b'5',
        None => false,
    };
    if !half {
        return (kept.to_owned(), exponent);
    }
    let mut up: Vec<u8> = kept.bytes().collect();
    for digit in up.iter_mut().rev() {
        if *digit == b'9' {
            *digit = b'0';
        } else {
            *digit += 1;
            return (String::from_utf8(up).unwrap_or_default(), exponent);
        }
    }
    // All nines: one more digit, of which the last zero goes.
    let zeros = "0".repeat(count.saturating_sub(1));
    (format!("1{zeros}"), exponent + 1)
}

/// A decimal's digits before the point, and the rest with its exponent.
fn decimal_text(
    digits: &str,
    exponent: i64,
    kind: char,
    precision: Option<usize>,
) -> Result<(String, String), EvalError> {
    let too_long = || EvalError::limit("a formatted text is too long");
    let places = |precision: usize| i64::try_from(precision).unwrap_or(i64::MAX);
    let is_zero = digits.bytes().all(|digit| digit == b'0');
    let (mut digits, mut exponent) = (digits.to_owned(), exponent);
    match (kind.to_ascii_lowercase(), precision) {
        ('e', Some(precision)) => (digits, exponent) = lengthened(&digits, exponent, precision + 1),
        ('f' | '%', precision) => {
            let target = precision.map(|precision| -places(precision)).or(if exponent > 0 { Some(0) } else { None });
            if let Some(target) = target {
                (digits, exponent) = at_exponent(&digits, exponent, target).ok_or_else(too_long)?;
            }
        }
        ('g' | 'n', Some(precision)) if digits.len() > precision.max(1) => {
            (digits, exponent) = rounded(&digits, exponent, precision.max(1));
        }
        _ => {}
    }
    let length = places(digits.len());
    let left = exponent + length;
    let point = match kind.to_ascii_lowercase() {
        'e' => match precision {
            Some(precision) if is_zero => 1 - places(precision),
            _ => 1,
        },
        'f' | '%' => left,
        _ if exponent <= 0 && left > -6 => left,
        _ => 1,
    };
    let zeros = |count: i64| -> Result<String, EvalError> {
        let count = usize::try_from(count).unwrap_or(0);
        if count > MOST_WIDTH { Err(too_long()) } else { Ok("0".repeat(count)) }
    };
    let (whole, fraction) = if point < 0 {
        ("0".to_owned(), format!("{}{digits}", zeros(-point)?))
    } else if point > length {
        (format!("{digits}{}", zeros(point - length)?), String::new())
    } else {
        let at = usize::try_from(point).unwrap_or(0);
        let (whole, fraction) = digits.split_at_checked(at).unwrap_or((&digits, ""));
        (if whole.is_empty() { "0".to_owned() } else { whole.to_owned() }, fraction.to_owned())
    };
    let mut rest = if fraction.is_empty() { String::new() } else { format!(".{fraction}") };
    let shown = left - point;
    if shown != 0 || kind.eq_ignore_ascii_case(&'e') {
        let letter = if kind.is_ascii_uppercase() { 'E' } else { 'e' };
        rest.push_str(&format!("{letter}{shown:+}"));
    }
    Ok((whole, rest))
}

fn lengthened(digits: &str, exponent: i64, count: usize) -> (String, i64) {
    if digits.bytes().all(|digit| digit == b'0') {
        return (digits.to_owned(), exponent);
    }
    let (digits, exponent) = rounded(digits, exponent, count);
    let missing = count.saturating_sub(digits.len());
    (format!("{digits}{}", "0".repeat(missing)), exponent - i64::try_from(missing).unwrap_or(0))
}

fn at_exponent(digits: &str, exponent: i64, target: i64) -> Option<(String, i64)> {
    if exponent > target && digits.bytes().all(|digit| digit == b'0') {
        return Some(("0".to_owned(), target));
    }
    if exponent >= target {
        let more = usize::try_from(exponent - target).ok().filter(|more| *more <= MOST_WIDTH)?;
        return Some((format!("{digits}{}", "0".repeat(more)), target));
    }
    let cut = usize::try_from(target - exponent).unwrap_or(usize::MAX);
    if cut > digits.len() {
        return Some(("0".to_owned(), target));
    }
    let kept = digits.len() - cut;
    if kept == 0 {
        let up = digits > format!("5{}", "0".repeat(digits.len() - 1)).as_str();
        return Some((if up { "1" } else { "0" }.to_owned(), target));
    }
    let (rounded, exponent) = rounded(digits, exponent, kept);
    // All nines have become one digit more.
    Some(if exponent > target { (format!("{rounded}0"), target) } else { (rounded, exponent) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_that_are_zero_or_no_numbers_are_filled_up_as_python_does() {
        for (decimal, spec, expected) in [
            ("0", ".0%", "0%"),
            ("0.0", ".0%", "0%"),
            ("-0", ",%", "-0%"),
            ("0E+3", ".2f", "0.00"),
            ("12E+3", ".1f", "12000.0"),
            ("NaN", "06", "   NaN"),
            ("-Infinity", "012", "   -Infinity"),
            ("NaN", "0=6", "000NaN"),
            ("-5", "06", "-00005"),
        ] {
            let value = Value::decimal(Decimal::parse(decimal).unwrap());
            assert_eq!(format_value(&value, spec).unwrap(), expected, "{decimal} as {spec}");
        }
    }
}

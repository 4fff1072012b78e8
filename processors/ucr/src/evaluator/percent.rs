//! Python's `template % values`.

use super::format::{bad, exponential, fixed, general};
use crate::EvalError;
use crate::arithmetic;
use crate::number::float_repr;
use crate::value::Value;

const MOST_WIDTH: usize = 1_000_000;

pub(super) fn format(template: &str, values: &Value<'_>) -> Result<String, EvalError> {
    let mut formatter = Formatter { values, next: 0 };
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('%') {
        let (text, behind) = rest.split_at_checked(at).unwrap_or((rest, ""));
        out.push_str(text);
        rest = formatter.conversion(behind.get(1..).unwrap_or_default(), &mut out)?;
        if out.len() > MOST_WIDTH {
            return Err(EvalError::limit("a formatted text is too long"));
        }
    }
    out.push_str(rest);
    formatter.finish()?;
    Ok(out)
}

struct Formatter<'v, 'a> {
    values: &'v Value<'a>,
    next: usize,
}

#[derive(Default)]
struct Flags {
    left: bool,
    plus: bool,
    blank: bool,
    zero: bool,
    alternate: bool,
    width: usize,
    precision: Option<usize>,
}

impl<'a> Formatter<'_, 'a> {
    /// Values in order: those of a tuple, or the one there is.
    fn take(&mut self) -> Result<Value<'a>, EvalError> {
        let value = match self.values {
            Value::Tuple(values) => values.get(self.next).cloned(),
            value if self.next == 0 => Some(value.clone()),
            _ => None,
        };
        self.next += 1;
        value.ok_or_else(|| EvalError::type_error("not enough arguments for format string"))
    }

    fn finish(&self) -> Result<(), EvalError> {
        let all = match self.values {
            Value::Tuple(values) => self.next >= values.len(),
            // What has elements by key or index may be left alone.
            Value::Dict(_) | Value::List(_) => true,
            _ => self.next > 0,
        };
        if all { Ok(()) } else { Err(EvalError::type_error("not all arguments converted during string formatting")) }
    }

    /// Behind a percent sign; gives what follows the conversion.
    fn conversion<'t>(&mut self, text: &'t str, out: &mut String) -> Result<&'t str, EvalError> {
        let incomplete = || bad("incomplete format");
        let mut rest = text;
        let mut keyed = None;
        if let Some(behind) = rest.strip_prefix('(') {
            let mut open = 1;
            let end = behind.find(|c| {
                open += match c {
                    '(' => 1,
                    ')' => -1,
                    _ => 0,
                };
                open == 0
            });
            let end = end.ok_or_else(|| bad("incomplete format key"))?;
            let Value::Dict(dict) = self.values else { return Err(EvalError::type_error("format requires a mapping")) };
            let name = behind.get(..end).unwrap_or_default();
            keyed = Some(dict.get(name).cloned().ok_or_else(|| EvalError::Missing(format!("no key {name}").into()))?);
            self.next = usize::MAX;
            rest = behind.get(end + 1..).unwrap_or_default();
        }
        let mut flags = Flags::default();
        while let Some(flag) = rest.chars().next().filter(|flag| "-+ #0".contains(*flag)) {
            match flag {
                '-' => flags.left = true,
                '+' => flags.plus = true,
                ' ' => flags.blank = true,
                '#' => flags.alternate = true,
                _ => flags.zero = true,
            }
            rest = rest.get(1..).unwrap_or_default();
        }
        if let Some(behind) = rest.strip_prefix('*') {
            rest = behind;
            let width = self.size()?;
            flags.left |= width < 0;
            flags.width = usize::try_from(width.unsigned_abs()).unwrap_or(usize::MAX);
        } else {
            flags.width = digits(&mut rest)?.unwrap_or(0);
        }
        if let Some(behind) = rest.strip_prefix('.') {
            rest = behind;
            flags.precision = Some(if let Some(behind) = rest.strip_prefix('*') {
                rest = behind;
                usize::try_from(self.size()?).unwrap_or(0)
            } else {
                digits(&mut rest)?.unwrap_or(0)
            });
        }
        if flags.width > MOST_WIDTH || flags.precision.is_some_and(|precision| precision > MOST_WIDTH) {
            return Err(EvalError::limit("a formatted text is too long"));
        }
        rest = rest.strip_prefix(['h', 'l', 'L']).unwrap_or(rest);
        let kind = rest.chars().next().ok_or_else(incomplete)?;
        rest = rest.get(kind.len_utf8()..).unwrap_or_default();
        if kind == '%' {
            out.push('%');
            return Ok(rest);
        }
        let value = match keyed {
            Some(value) => value,
            None => self.take()?,
        };
        out.push_str(&converted(kind, &value, &flags)?);
        Ok(rest)
    }

    fn size(&mut self) -> Result<i64, EvalError> {
        match self.take()? {
            Value::Int(size) => Ok(size),
            Value::Bool(flag) => Ok(i64::from(flag)),
            Value::Big(_) => Err(EvalError::Overflow("width too big".into())),
            _ => Err(EvalError::type_error("* wants int")),
        }
    }
}

fn digits(rest: &mut &str) -> Result<Option<usize>, EvalError> {
    let length = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, behind) = rest.split_at_checked(length).unwrap_or((rest, ""));
    *rest = behind;
    if digits.is_empty() {
        return Ok(None);
    }
    digits.parse().map(Some).map_err(|_overflow| bad("width too big"))
}

fn converted(kind: char, value: &Value<'_>, flags: &Flags) -> Result<String, EvalError> {
    let text = |text: String| {
        let text: String = match flags.precision {
            Some(precision) => text.chars().take(precision).collect(),
            None => text,
        };
        Ok(padded("", &text, flags, false))
    };
    match kind {
        's' => text(value.to_string()),
        'r' => text(value.repr()),
        'a' => text(value.repr().chars().flat_map(ascii).collect()),
        'c' => match value {
            Value::Str(one) if one.chars().count() == 1 => Ok(padded("", one, flags, false)),
            Value::Int(_) | Value::Big(_) | Value::Bool(_) => {
                let code = value.as_index().and_then(|code| u32::try_from(code).ok()).and_then(char::from_u32);
                let character = code.ok_or_else(|| EvalError::Overflow("%c arg not in range(0x110000)".into()))?;
                Ok(padded("", &character.to_string(), flags, false))
            }
            _ => Err(EvalError::type_error("%c requires int or char")),
        },
        'd' | 'i' | 'u' | 'o' | 'x' | 'X' => integer(kind, value, flags),
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' => float(kind, value, flags),
        other => Err(bad(&format!("unsupported format character '{other}'"))),
    }
}

fn integer(kind: char, value: &Value<'_>, flags: &Flags) -> Result<String, EvalError> {
    let wanted = || EvalError::type_error(format!("%{kind} format: a number is required, not {}", value.type_name()));
    let is_whole = matches!(value, Value::Int(_) | Value::Big(_) | Value::Bool(_));
    let may_be_cut = matches!(kind, 'd' | 'i' | 'u') && matches!(value, Value::Float(_) | Value::Decimal(_));
    if !(is_whole || may_be_cut) {
        return Err(wanted());
    }
    let integer: num_bigint::BigInt = match arithmetic::to_integer(value)? {
        Value::Int(integer) => integer.into(),
        Value::Big(integer) => (*integer).clone(),
        _ => return Err(wanted()),
    };
    let magnitude = integer.magnitude();
    let (prefix, digits) = match kind {
        'o' => ("0o", magnitude.to_str_radix(8)),
        'x' => ("0x", magnitude.to_str_radix(16)),
        'X' => ("0X", magnitude.to_str_radix(16).to_uppercase()),
        _ => ("", magnitude.to_string()),
    };
    let missing = flags.precision.unwrap_or(0).saturating_sub(digits.len());
    let digits = format!("{}{digits}", "0".repeat(missing));
    let head =
        sign(integer.sign() == num_bigint::Sign::Minus, flags).to_owned() + if flags.alternate { prefix } else { "" };
    Ok(padded(&head, &digits, flags, true))
}

fn float(kind: char, value: &Value<'_>, flags: &Flags) -> Result<String, EvalError> {
    if !matches!(value, Value::Int(_) | Value::Big(_) | Value::Bool(_) | Value::Float(_) | Value::Decimal(_)) {
        return Err(EvalError::type_error(format!("must be real number, not {}", value.type_name())));
    }
    let Value::Float(float) = arithmetic::to_float(value)? else {
        return Err(EvalError::type_error("must be real number"));
    };
    let negative = float.is_sign_negative() && !float.is_nan();
    let float = float.abs();
    let precision = flags.precision.unwrap_or(6);
    let text = if float.is_finite() {
        match kind.to_ascii_lowercase() {
            'e' => exponential(float, precision, flags.alternate),
            'f' => fixed(float, precision, flags.alternate),
            _ => general(float, precision, flags.alternate, false),
        }
    } else {
        float_repr(float)
    };
    let text = if kind.is_ascii_uppercase() { text.to_uppercase() } else { text };
    Ok(padded(sign(negative, flags), &text, flags, true))
}

fn sign(negative: bool, flags: &Flags) -> &'static str {
    match (negative, flags.plus, flags.blank) {
        (true, _, _) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        (false, false, false) => "",
    }
}

fn padded(head: &str, body: &str, flags: &Flags, numeric: bool) -> String {
    let missing = flags.width.saturating_sub(head.chars().count() + body.chars().count());
    if flags.left {
        format!("{head}{body}{}", " ".repeat(missing))
    } else if flags.zero && numeric {
        format!("{head}{}{body}", "0".repeat(missing))
    } else {
        format!("{}{head}{body}", " ".repeat(missing))
    }
}

fn ascii(c: char) -> Vec<char> {
    match u32::from(c) {
        0..=0x7f => vec![c],
        code @ 0..=0xff => format!("\\x{code:02x}").chars().collect(),
        code @ 0..=0xffff => format!("\\u{code:04x}").chars().collect(),
        code => format!("\\U{code:08x}").chars().collect(),
    }
}

//! Datatypes: what becomes of a value that a column or expression wants as an integer, a date and so on.

use num_bigint::BigInt;
use num_traits::FromPrimitive;

use crate::dates;
use crate::number::{Decimal, MOST_INTEGER_DIGITS, parse_float, parse_integer};
use crate::value::{Moment, Value};
use crate::{EvalError, Limits};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    Array,
    Date,
    DateTime,
    Decimal,
    Integer,
    SmallInteger,
    String,
}

impl Datatype {
    pub const NAMES: &'static str = "array, date, datetime, decimal, integer, small_integer or string";

    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "array" => Self::Array,
            "date" => Self::Date,
            "datetime" => Self::DateTime,
            "decimal" => Self::Decimal,
            "integer" => Self::Integer,
            "small_integer" => Self::SmallInteger,
            "string" => Self::String,
            _ => return None,
        })
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Array => "array",
            Self::Date => "date",
            Self::DateTime => "datetime",
            Self::Decimal => "decimal",
            Self::Integer => "integer",
            Self::SmallInteger => "small_integer",
            Self::String => "string",
        }
    }
}

impl Datatype {
    /// Whether a value of this type stays as it is.
    pub fn is_of(self, value: &Value<'_>) -> bool {
        match value {
            Value::Null => self != Self::Array,
            Value::Str(_) => self == Self::String,
            Value::Int(_) => matches!(self, Self::Integer | Self::SmallInteger),
            Value::Decimal(_) => self == Self::Decimal,
            Value::Date(_) => self == Self::Date,
            Value::DateTime(_) => self == Self::DateTime,
            Value::List(_) => self == Self::Array,
            _ => false,
        }
    }
}

/// The value as that datatype; null where it cannot be one.
///
/// # Errors
///
/// An infinite number as an integer, and numbers with too many digits to write out.
pub fn coerce<'a>(value: Value<'a>, datatype: Datatype) -> Result<Value<'a>, EvalError> {
    Ok(match datatype {
        Datatype::String => match value {
            Value::Null | Value::Str(_) => value,
            other => Value::text(other.to_string()),
        },
        Datatype::Integer | Datatype::SmallInteger => to_integer(value)?,
        Datatype::Decimal => to_decimal(&value),
        Datatype::Date => to_date(&value).map_or(Value::Null, Value::Date),
        Datatype::DateTime => to_datetime(&value).map_or(Value::Null, Value::DateTime),
        Datatype::Array => match value {
            Value::List(_) => value,
            other => Value::list(vec![other]),
        },
    })
}

/// As [`coerce`], where the text of a list or object counts as steps.
#[inline]
pub(crate) fn coerce_within<'a>(value: Value<'a>, datatype: Datatype, limits: &Limits) -> Result<Value<'a>, EvalError> {
    if datatype.is_of(&value) {
        return Ok(value);
    }
    if datatype == Datatype::String {
        limits.weigh(&value)?;
    }
    coerce(value, datatype)
}

/// As the datatype `integer`: an `Int`, a `Big` or null.
///
/// # Errors
///
/// As for [`coerce`].
pub(crate) fn to_integer<'a>(value: Value<'a>) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Int(_) | Value::Big(_) => Ok(value),
        Value::Bool(flag) => Ok(Value::Int(i64::from(flag))),
        Value::Float(float) => truncated(float),
        Value::Decimal(decimal) if decimal.is_nan() => Ok(Value::Null),
        Value::Decimal(decimal) if decimal.is_infinite() => Err(infinite()),
        Value::Decimal(decimal) => Ok(Value::from_big(decimal.truncate()?)),
        Value::Str(text) => match text.parse::<i64>() {
            // What most texts are, without a long integer on the way.
            Ok(small) => Ok(Value::Int(small)),
            Err(_) => text_to_integer(&text),
        },
        _ => Ok(Value::Null),
    }
}

fn text_to_integer<'a>(text: &str) -> Result<Value<'a>, EvalError> {
    match parse_integer(text) {
        Some(integer) => Ok(Value::from_big(integer)),
        None if text.len() > MOST_INTEGER_DIGITS => Err(EvalError::limit("an integer with too many digits")),
        None => parse_float(text).map_or(Ok(Value::Null), truncated),
    }
}

fn truncated<'a>(float: f64) -> Result<Value<'a>, EvalError> {
    if float.is_infinite() {
        return Err(infinite());
    }
    Ok(BigInt::from_f64(float.trunc()).map_or(Value::Null, Value::from_big))
}

fn infinite() -> EvalError {
    EvalError::Overflow("an infinite number has no integer".into())
}

fn to_decimal<'a>(value: &Value<'a>) -> Value<'a> {
    let decimal = match value {
        Value::Decimal(_) => return value.clone(),
        Value::Bool(flag) => Decimal::from_integer(&BigInt::from(u8::from(*flag))),
        Value::Int(integer) => Decimal::from_integer(&BigInt::from(*integer)),
        Value::Big(integer) => Decimal::from_integer(integer),
        Value::Float(float) => Decimal::from_float(*float),
        Value::Str(text) if text.len() <= MOST_INTEGER_DIGITS => match Decimal::parse(text) {
            Some(decimal) => decimal,
            None => return Value::Null,
        },
        _ => return Value::Null,
    };
    Value::decimal(decimal)
}

/// As the datatype `date`.
pub(crate) fn to_date(value: &Value<'_>) -> Option<jiff::civil::Date> {
    match value {
        Value::Date(date) => Some(*date),
        Value::DateTime(moment) => Some(moment.civil.date()),
        Value::Str(text) => dates::parse_date(text),
        _ => None,
    }
}

/// As the datatype `datetime`.
pub(crate) fn to_datetime(value: &Value<'_>) -> Option<Moment> {
    match value {
        Value::DateTime(moment) => Some(*moment),
        Value::Date(date) => Some(Moment::naive(date.at(0, 0, 0, 0))),
        Value::Str(text) if !text.is_empty() => dates::parse_datetime(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse;

    fn check(json: &str, datatype: Datatype, expected: &str) {
        let result = coerce(parse(json).unwrap(), datatype);
        assert_eq!(result.map_or_else(|error| error.to_string(), |value| value.repr()), expected, "{json}");
    }

    #[test]
    fn as_string_everything_but_null_is_written_by_python() {
        for (json, expected) in
            [("null", "None"), ("true", "'True'"), ("2.0", "'2.0'"), ("[\"a\"]", "\"['a']\""), ("\"\"", "''")]
        {
            check(json, Datatype::String, expected);
        }
    }

    #[test]
    fn as_integer_numbers_are_cut_and_texts_read_as_integer_then_as_float() {
        for (json, expected) in [
            ("-1.9", "-1"),
            ("true", "1"),
            ("\" 1_0 \"", "10"),
            ("\"1.99\"", "1"),
            ("\"1e3\"", "1000"),
            ("\"٣\"", "3"),
            ("\"nan\"", "None"),
            ("\"\"", "None"),
            ("[]", "None"),
            ("99999999999999999999", "99999999999999999999"),
            ("1e20", "100000000000000000000"),
            ("\"-Infinity\"", "an infinite number has no integer"),
        ] {
            check(json, Datatype::Integer, expected);
        }
    }

    #[test]
    fn as_decimal_texts_keep_their_zeros_and_floats_their_binary_value() {
        for (json, expected) in [
            ("\"1.50\"", "Decimal('1.50')"),
            ("0.5", "Decimal('0.5')"),
            ("true", "Decimal('1')"),
            ("\"inf\"", "Decimal('Infinity')"),
            ("\"x\"", "None"),
            ("null", "None"),
        ] {
            check(json, Datatype::Decimal, expected);
        }
    }

    #[test]
    fn as_array_everything_but_a_list_becomes_its_only_element() {
        check("null", Datatype::Array, "[None]");
        check("[1]", Datatype::Array, "[1]");
        check("{}", Datatype::Array, "[{}]");
    }
}

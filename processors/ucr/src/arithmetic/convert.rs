//! Python's `int()`, `float()` and `round()`.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{FromPrimitive, ToPrimitive};

use super::numbers::{Number, big_to_float};
use crate::EvalError;
use crate::number::{Decimal, DecimalError, parse_float, parse_integer};
use crate::value::Value;

/// Python's `int(value)`.
///
/// # Errors
///
/// Texts that are no integers, infinities and not-a-number, and other types.
pub fn to_integer<'a>(value: &Value<'_>) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Str(text) => parse_integer(text).map(Value::from_big).ok_or_else(|| {
            let shown: String = text.chars().take(200).collect();
            EvalError::Value(format!("invalid literal for int() with base 10: '{shown}'").into())
        }),
        value => match Number::of(value) {
            Some(Number::Int(integer)) => Ok(Value::Int(integer)),
            Some(Number::Big(integer)) => Ok(Value::from_big(integer.clone())),
            Some(Number::Float(float)) => whole(float.trunc()),
            Some(Number::Decimal(decimal)) if decimal.is_infinite() => {
                Err(EvalError::Overflow("cannot convert Infinity to integer".into()))
            }
            Some(Number::Decimal(decimal)) if decimal.is_nan() => {
                Err(EvalError::Value("cannot convert NaN to integer".into()))
            }
            Some(Number::Decimal(decimal)) => Ok(Value::from_big(decimal.truncate()?)),
            None => Err(EvalError::type_error(format!(
                "int() argument must be a string, a bytes-like object or a number, not '{}'",
                value.type_name()
            ))),
        },
    }
}

/// Python's `float(value)`.
///
/// # Errors
///
/// Texts that are no numbers, integers that are too large, and other types.
#[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float is what Python does")]
pub fn to_float<'a>(value: &Value<'_>) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Str(text) => parse_float(text).map(Value::Float).ok_or_else(|| {
            let shown: String = text.chars().take(200).collect();
            EvalError::Value(format!("could not convert string to float: '{shown}'").into())
        }),
        value => match Number::of(value) {
            Some(Number::Int(integer)) => Ok(Value::Float(integer as f64)),
            Some(Number::Big(integer)) => big_to_float(integer).map(Value::Float),
            Some(Number::Float(float)) => Ok(Value::Float(float)),
            Some(Number::Decimal(decimal)) => Ok(Value::Float(decimal.to_float())),
            None => Err(EvalError::type_error(format!(
                "float() argument must be a string or a number, not '{}'",
                value.type_name()
            ))),
        },
    }
}

/// Python's `round(value)` and `round(value, places)`: half to even, on the exact value of a float.
///
/// # Errors
///
/// Values that are no numbers, infinities and not-a-number where an integer is asked for.
pub fn round<'a>(value: &Value<'_>, places: Option<&Value<'_>>) -> Result<Value<'a>, EvalError> {
    let Some(number) = Number::of(value) else {
        return Err(EvalError::type_error(format!("type {} doesn't define __round__ method", value.type_name())));
    };
    let places = match places {
        None | Some(Value::Null) => None,
        Some(places) => {
            let not_integer = || {
                EvalError::type_error(format!("'{}' object cannot be interpreted as an integer", places.type_name()))
            };
            Some(places.as_index().ok_or_else(not_integer)?)
        }
    };
    match (number, places) {
        (Number::Float(float), None) => whole(float.round_ties_even()),
        (Number::Float(float), Some(places)) => round_float(float, places).map(Value::Float),
        (Number::Decimal(decimal), None) => {
            let rounded = decimal.quantized(0).map_err(|problem| match problem {
                DecimalError::Invalid if decimal.is_infinite() => {
                    EvalError::Overflow("cannot convert Infinity to integer".into())
                }
                problem => problem.into(),
            })?;
            Ok(Value::from_big(rounded.truncate()?))
        }
        (Number::Decimal(decimal), Some(places)) => {
            Ok(Value::decimal(decimal.quantized(places.clamp(-20_000, 20_000))?))
        }
        (number, None | Some(0..)) => Ok(number.integer().map_or(Value::Null, Value::from_big)),
        (number, Some(places)) => Ok(Value::from_big(round_integer(&number.integer().unwrap_or_default(), places))),
    }
}

fn whole<'a>(float: f64) -> Result<Value<'a>, EvalError> {
    if float.is_nan() {
        return Err(EvalError::Value("cannot convert float NaN to integer".into()));
    }
    let integer = BigInt::from_f64(float);
    integer.map(Value::from_big).ok_or_else(|| EvalError::Overflow("cannot convert float infinity to integer".into()))
}

fn round_float(float: f64, places: i64) -> Result<f64, EvalError> {
    // Beyond these no float has another digit, or any.
    if !float.is_finite() || places > 323 {
        return Ok(float);
    }
    if places < -308 {
        return Ok(0.0 * float);
    }
    let rounded = if let Ok(places) = usize::try_from(places) {
        // The standard library writes the exact value, half to even, as Python does.
        format!("{float:.places$}").parse().unwrap_or(float)
    } else {
        let exact = Decimal::from_float(float).truncate()?;
        // What is cut off only matters where the rest lies exactly half way.
        let doubled: BigInt =
            exact * 2_u8 + if float.fract() == 0.0 { 0 } else { float.signum().to_i64().unwrap_or(0) };
        let rounded = round_half(&doubled, &(ten_to(places) * 2_u8));
        (rounded * ten_to(places)).to_f64().unwrap_or(float)
    };
    if rounded.is_finite() {
        Ok(rounded.copysign(float))
    } else {
        Err(EvalError::Overflow("rounded value too large to represent".into()))
    }
}

fn round_integer(integer: &BigInt, places: i64) -> BigInt {
    // More places than digits leave nothing.
    let digits = i64::try_from(integer.bits()).unwrap_or(i64::MAX) / 3 + 2;
    if -places > digits {
        return BigInt::default();
    }
    let unit = ten_to(places);
    round_half(integer, &unit) * unit
}

fn round_half(integer: &BigInt, unit: &BigInt) -> BigInt {
    let (quotient, rest) = integer.div_mod_floor(unit);
    match (rest * 2_u8).cmp(unit) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Equal if quotient.is_even() => quotient,
        _ => quotient + 1_u8,
    }
}

fn ten_to(places: i64) -> BigInt {
    BigInt::from(10_u8).pow(u32::try_from(places.unsigned_abs()).unwrap_or(u32::MAX))
}

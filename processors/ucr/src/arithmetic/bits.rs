//! Operators on the bits of integers, and on sets.

use num_bigint::BigInt;
use num_traits::{Signed, ToPrimitive};
use std::ops::{BitAnd, BitOr, BitXor};

use super::MOST_BITS;
use super::numbers::{Number, bad_operand, unsupported};
use crate::EvalError;
use crate::value::Value;

/// Python's `&`.
///
/// # Errors
///
/// Values that are not both integers or both sets.
pub fn and<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    if let (Value::Set(a), Value::Set(b)) = (left, right) {
        return Ok(Value::Set(a.iter().filter(|element| b.contains(element)).cloned().collect::<Vec<_>>().into()));
    }
    bitwise("&", left, right, bool::bitand, BigInt::bitand)
}

/// Python's `|`.
///
/// # Errors
///
/// Values that are not both integers or both sets.
pub fn or<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    if let (Value::Set(a), Value::Set(b)) = (left, right) {
        let more = b.iter().filter(|element| !a.contains(element));
        return Ok(Value::Set(a.iter().chain(more).cloned().collect::<Vec<_>>().into()));
    }
    bitwise("|", left, right, bool::bitor, BigInt::bitor)
}

/// Python's `^`.
///
/// # Errors
///
/// Values that are not both integers or both sets.
pub fn exclusive_or<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    if let (Value::Set(a), Value::Set(b)) = (left, right) {
        let only_left = a.iter().filter(|element| !b.contains(element));
        let only_right = b.iter().filter(|element| !a.contains(element));
        return Ok(Value::Set(only_left.chain(only_right).cloned().collect::<Vec<_>>().into()));
    }
    bitwise("^", left, right, bool::bitxor, BigInt::bitxor)
}

/// Python's `~`.
///
/// # Errors
///
/// Values that are no integers.
pub fn invert<'a>(value: &Value<'a>) -> Result<Value<'a>, EvalError> {
    let integer = Number::of(value).and_then(|number| number.integer());
    integer.map(|integer| Value::from_big(!integer)).ok_or_else(|| bad_operand("~", value))
}

/// Python's `<<`.
///
/// # Errors
///
/// Values that are no integers, negative counts, and results that are too large.
pub fn shift_left<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    let (integer, count) = integers("<<", left, right)?;
    if count.is_negative() {
        return Err(EvalError::Value("negative shift count".into()));
    }
    match count.to_u64() {
        Some(count) if integer.bits().saturating_add(count) <= MOST_BITS => Ok(Value::from_big(integer << count)),
        _ => Err(EvalError::limit("a number with too many digits")),
    }
}

/// Python's `>>`.
///
/// # Errors
///
/// Values that are no integers, and negative counts.
pub fn shift_right<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    let (integer, count) = integers(">>", left, right)?;
    if count.is_negative() {
        return Err(EvalError::Value("negative shift count".into()));
    }
    let count = count.to_u64().unwrap_or(u64::MAX);
    Ok(if count > integer.bits() {
        Value::Int(if integer.is_negative() { -1 } else { 0 })
    } else {
        Value::from_big(integer >> count)
    })
}

fn bitwise<'a>(
    operator: &str,
    left: &Value<'a>,
    right: &Value<'a>,
    flags: fn(bool, bool) -> bool,
    numbers: fn(BigInt, BigInt) -> BigInt,
) -> Result<Value<'a>, EvalError> {
    if let (Value::Bool(a), Value::Bool(b)) = (left, right) {
        return Ok(Value::Bool(flags(*a, *b)));
    }
    let (a, b) = integers(operator, left, right)?;
    Ok(Value::from_big(numbers(a, b)))
}

fn integers(operator: &str, left: &Value<'_>, right: &Value<'_>) -> Result<(BigInt, BigInt), EvalError> {
    let integer = |value| Number::of(value).and_then(|number| number.integer());
    integer(left).zip(integer(right)).ok_or_else(|| unsupported(operator, left, right))
}

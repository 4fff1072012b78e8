//! Operators between numbers of the same or of different types.

use num_bigint::BigInt;
use num_integer::Integer;
use num_traits::{FromPrimitive, Signed, ToPrimitive, Zero};

use super::{MOST_BITS, duration};
use crate::EvalError;
use crate::number::Decimal;
use crate::value::Value;

pub(super) enum Number<'v> {
    Int(i64),
    Big(&'v BigInt),
    Float(f64),
    Decimal(&'v Decimal),
}

/// Two numbers as one type.
pub(super) enum Pair {
    Ints(BigInt, BigInt),
    Floats(f64, f64),
    Decimals(Decimal, Decimal),
}

impl<'v> Number<'v> {
    pub(super) fn of(value: &'v Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Int(i64::from(*flag))),
            Value::Int(integer) => Some(Self::Int(*integer)),
            Value::Big(integer) => Some(Self::Big(integer)),
            Value::Float(float) => Some(Self::Float(*float)),
            Value::Decimal(decimal) => Some(Self::Decimal(decimal)),
            _ => None,
        }
    }

    pub(super) fn integer(&self) -> Option<BigInt> {
        match self {
            Self::Int(integer) => Some(BigInt::from(*integer)),
            Self::Big(integer) => Some((*integer).clone()),
            Self::Float(_) | Self::Decimal(_) => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "rounding to the nearest float is what Python does")]
    fn float(&self) -> Result<f64, EvalError> {
        match self {
            Self::Int(integer) => Ok(*integer as f64),
            Self::Big(integer) => big_to_float(integer),
            Self::Float(float) => Ok(*float),
            Self::Decimal(decimal) => Ok(decimal.to_float()),
        }
    }
}

pub(super) fn numeric(operator: &str, left: &Value<'_>, right: &Value<'_>) -> Result<Pair, EvalError> {
    let (Some(a), Some(b)) = (Number::of(left), Number::of(right)) else {
        return Err(unsupported(operator, left, right));
    };
    match (&a, &b) {
        (Number::Decimal(_), Number::Float(_)) | (Number::Float(_), Number::Decimal(_)) => {
            Err(unsupported(operator, left, right))
        }
        (Number::Float(_), _) | (_, Number::Float(_)) => Ok(Pair::Floats(a.float()?, b.float()?)),
        (Number::Decimal(a), Number::Decimal(b)) => Ok(Pair::Decimals((*a).clone(), (*b).clone())),
        (Number::Decimal(a), b) => {
            let b = b.integer().ok_or_else(|| unsupported(operator, left, right))?;
            Ok(Pair::Decimals((*a).clone(), Decimal::from_integer(&b)))
        }
        (a, Number::Decimal(b)) => {
            let a = a.integer().ok_or_else(|| unsupported(operator, left, right))?;
            Ok(Pair::Decimals(Decimal::from_integer(&a), (*b).clone()))
        }
        (a, b) => match (a.integer(), b.integer()) {
            (Some(a), Some(b)) => Ok(Pair::Ints(a, b)),
            _ => Err(unsupported(operator, left, right)),
        },
    }
}

impl Pair {
    pub(super) fn add<'a>(self) -> Result<Value<'a>, EvalError> {
        Ok(match self {
            Self::Ints(a, b) => Value::from_big(a + b),
            Self::Floats(a, b) => Value::Float(a + b),
            Self::Decimals(a, b) => Value::decimal(a.add(&b)?),
        })
    }

    pub(super) fn subtract<'a>(self) -> Result<Value<'a>, EvalError> {
        Ok(match self {
            Self::Ints(a, b) => Value::from_big(a - b),
            Self::Floats(a, b) => Value::Float(a - b),
            Self::Decimals(a, b) => Value::decimal(a.subtract(&b)?),
        })
    }

    pub(super) fn multiply<'a>(self) -> Result<Value<'a>, EvalError> {
        Ok(match self {
            Self::Ints(a, b) if a.bits() + b.bits() > MOST_BITS => {
                return Err(EvalError::limit("a number with too many digits"));
            }
            Self::Ints(a, b) => Value::from_big(a * b),
            Self::Floats(a, b) => Value::Float(a * b),
            Self::Decimals(a, b) => Value::decimal(a.multiply(&b)?),
        })
    }
}

/// Python's `/`.
///
/// # Errors
///
/// Types that cannot be divided, division by zero, and results that no float holds.
pub fn divide<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    const MOST: i64 = 1 << 53;
    const LEAST: i64 = -MOST;
    match (left, right) {
        (_, Value::Int(0)) if Number::of(left).is_some_and(|left| !matches!(left, Number::Decimal(_))) => {
            Err(EvalError::DivisionByZero)
        }
        #[expect(clippy::cast_precision_loss, reason = "both are held exactly")]
        (Value::Int(a @ LEAST..=MOST), Value::Int(b @ LEAST..=MOST)) => Ok(Value::Float(*a as f64 / *b as f64)),
        (Value::Duration(a), Value::Duration(b)) => {
            ratio(&a.microseconds.into(), &b.microseconds.into()).map(Value::Float)
        }
        (Value::Duration(a), factor) => match Number::of(factor) {
            Some(Number::Float(0.0)) => Err(EvalError::DivisionByZero),
            Some(Number::Float(factor)) => duration_over_float(a.microseconds, factor),
            Some(number @ (Number::Int(_) | Number::Big(_))) => {
                let divisor = number.integer().filter(|divisor| !divisor.is_zero()).ok_or(EvalError::DivisionByZero)?;
                duration(half_even(&a.microseconds.into(), &divisor).to_i64())
            }
            _ => Err(unsupported("/", left, right)),
        },
        _ => match numeric("/", left, right)? {
            Pair::Ints(a, b) => ratio(&a, &b).map(Value::Float),
            Pair::Floats(_, 0.0) => Err(EvalError::DivisionByZero),
            Pair::Floats(a, b) => Ok(Value::Float(a / b)),
            Pair::Decimals(a, b) => Ok(Value::decimal(a.divide(&b)?)),
        },
    }
}

/// Python's `//`.
///
/// # Errors
///
/// Types that cannot be divided, and division by zero.
pub fn floor_divide<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (left, right) {
        (Value::Duration(_), Value::Duration(b)) if b.microseconds == 0 => Err(EvalError::DivisionByZero),
        (Value::Duration(a), Value::Duration(b)) => {
            Ok(Value::from_big(BigInt::from(a.microseconds).div_floor(&b.microseconds.into())))
        }
        (Value::Duration(a), factor) => match Number::of(factor).and_then(|factor| factor.integer()) {
            Some(divisor) if divisor.is_zero() => Err(EvalError::DivisionByZero),
            Some(divisor) => duration(BigInt::from(a.microseconds).div_floor(&divisor).to_i64()),
            None => Err(unsupported("//", left, right)),
        },
        _ => match numeric("//", left, right)? {
            Pair::Ints(_, b) if b.is_zero() => Err(EvalError::DivisionByZero),
            Pair::Ints(a, b) => Ok(Value::from_big(a.div_floor(&b))),
            Pair::Floats(a, b) => float_division(a, b).map(|(quotient, _)| Value::Float(quotient)),
            Pair::Decimals(a, b) => Ok(Value::decimal(a.divide_with_rest(&b)?.0)),
        },
    }
}

/// Python's `%` between numbers.
///
/// # Errors
///
/// Types that cannot be divided, and division by zero.
pub fn remainder<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (left, right) {
        (Value::Duration(_), Value::Duration(b)) if b.microseconds == 0 => Err(EvalError::DivisionByZero),
        (Value::Duration(a), Value::Duration(b)) => {
            duration(BigInt::from(a.microseconds).mod_floor(&b.microseconds.into()).to_i64())
        }
        _ => match numeric("%", left, right)? {
            Pair::Ints(_, b) if b.is_zero() => Err(EvalError::DivisionByZero),
            Pair::Ints(a, b) => Ok(Value::from_big(a.mod_floor(&b))),
            Pair::Floats(a, b) => float_division(a, b).map(|(_, rest)| Value::Float(rest)),
            Pair::Decimals(a, b) => {
                // Without a remainder there is no operation that Python allows, not even a division by zero.
                if b.is_zero() {
                    return Err(EvalError::Value("invalid operation on decimals".into()));
                }
                Ok(Value::decimal(a.divide_with_rest(&b)?.1))
            }
        },
    }
}

/// Python's unary `-`.
///
/// # Errors
///
/// Values that are no numbers and no durations.
pub fn negate<'a>(value: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Duration(by) => duration(by.microseconds.checked_neg()),
        value => match Number::of(value) {
            Some(Number::Int(integer)) => {
                Ok(integer.checked_neg().map_or_else(|| Value::from_big(-BigInt::from(integer)), Value::Int))
            }
            Some(Number::Big(integer)) => Ok(Value::from_big(-integer)),
            Some(Number::Float(float)) => Ok(Value::Float(-float)),
            Some(Number::Decimal(decimal)) => Ok(Value::decimal(decimal.negate())),
            None => Err(bad_operand("-", value)),
        },
    }
}

/// Python's unary `+`.
///
/// # Errors
///
/// Values that are no numbers and no durations.
pub fn plus<'a>(value: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match value {
        Value::Bool(flag) => Ok(Value::Int(i64::from(*flag))),
        Value::Decimal(decimal) => Ok(Value::decimal(decimal.plus())),
        Value::Int(_) | Value::Big(_) | Value::Float(_) | Value::Duration(_) => Ok(value.clone()),
        value => Err(bad_operand("+", value)),
    }
}

pub(super) fn bad_operand(operator: &str, value: &Value<'_>) -> EvalError {
    EvalError::type_error(format!("bad operand type for unary {operator}: '{}'", value.type_name()))
}

pub(super) fn unsupported(operator: &str, left: &Value<'_>, right: &Value<'_>) -> EvalError {
    EvalError::type_error(format!(
        "unsupported operand type(s) for {operator}: '{}' and '{}'",
        left.type_name(),
        right.type_name()
    ))
}

pub(super) fn big_to_float(integer: &BigInt) -> Result<f64, EvalError> {
    let too_large = || EvalError::Overflow("int too large to convert to float".into());
    let float =
        if integer.bits() > 1025 { f64::INFINITY } else { ratio(integer, &BigInt::from(1)).unwrap_or(f64::INFINITY) };
    if float.is_finite() { Ok(float) } else { Err(too_large()) }
}

/// The float nearest to a fraction, ties to even.
fn ratio(numerator: &BigInt, denominator: &BigInt) -> Result<f64, EvalError> {
    if denominator.is_zero() {
        return Err(EvalError::DivisionByZero);
    }
    let negative = numerator.is_negative() != denominator.is_negative();
    if numerator.is_zero() {
        return Ok(if negative { -0.0 } else { 0.0 });
    }
    let (a, b) = (numerator.magnitude(), denominator.magnitude());
    let too_large = || EvalError::Overflow("integer division result too large for a float".into());
    let length = |bits: u64| i64::try_from(bits).unwrap_or(i64::MAX);
    // Lies within one bit of the quotient's own length.
    let size = length(a.bits()) - length(b.bits());
    if size > 1025 {
        return Err(too_large());
    }
    if size < -1080 {
        return Ok(if negative { -0.0 } else { 0.0 });
    }
    // A quotient with at least 55 bits, or as many as the smallest floats have, whose last bit says that there is more.
    let shift = (56 - size).min(1076);
    let places = usize::try_from(shift.unsigned_abs()).unwrap_or(0);
    let (quotient, rest) = if shift >= 0 { (a << places).div_rem(b) } else { a.div_rem(&(b << places)) };
    let mut bits = quotient.to_u64().ok_or_else(too_large)?;
    bits |= u64::from(!rest.is_zero());
    // To 53 bits (fewer for the smallest), half to even, so that the conversion below is exact.
    let used = 64 - i64::from(bits.leading_zeros());
    let surplus = (used - 53).max(shift - 1074).max(0);
    let unit = 1_u64 << surplus.min(63);
    let (whole, part) = (bits / unit, bits % unit);
    let half = unit / 2;
    let up = part > half || (part == half && half > 0 && whole % 2 == 1);
    let whole = whole + u64::from(up);
    let exponent = surplus - shift;
    let float = scaled_by_two(whole, exponent);
    if float.is_infinite() {
        return Err(too_large());
    }
    Ok(if negative { -float } else { float })
}

/// `whole * 2^exponent`, which is exact.
#[expect(clippy::cast_precision_loss, reason = "at most 53 bits, or 54 of which the last is zero")]
fn scaled_by_two(whole: u64, exponent: i64) -> f64 {
    let power = |exponent: i64| 2_f64.powi(i32::try_from(exponent).unwrap_or(0));
    let float = whole as f64;
    // In two steps, because 2^1024 and 2^-1074 lie at the ends of what a float holds.
    if exponent > 900 {
        float * power(900) * power(exponent - 900)
    } else if exponent < -900 {
        float * power(-900) * power(exponent + 900)
    } else {
        float * power(exponent)
    }
}

fn float_division(a: f64, b: f64) -> Result<(f64, f64), EvalError> {
    if b == 0.0 {
        return Err(EvalError::DivisionByZero);
    }
    let mut rest = a % b;
    let mut quotient = (a - rest) / b;
    if rest == 0.0 {
        rest = 0.0_f64.copysign(b);
    } else if (b < 0.0) != (rest < 0.0) {
        rest += b;
        quotient -= 1.0;
    }
    let whole = if quotient == 0.0 {
        0.0_f64.copysign(a / b)
    } else {
        let floor = quotient.floor();
        if quotient - floor > 0.5 { floor + 1.0 } else { floor }
    };
    Ok((whole, rest))
}

/// Rounded half to even, on the exact value of the float.
pub(super) fn scaled_by_float(microseconds: i64, factor: f64) -> Result<Option<i64>, EvalError> {
    let (numerator, denominator) = fraction(factor)?;
    Ok(half_even(&(numerator * microseconds), &denominator).to_i64())
}

fn duration_over_float<'a>(microseconds: i64, divisor: f64) -> Result<Value<'a>, EvalError> {
    let (numerator, denominator) = fraction(divisor)?;
    duration(half_even(&(denominator * microseconds), &numerator).to_i64())
}

fn fraction(float: f64) -> Result<(BigInt, BigInt), EvalError> {
    if float.is_nan() {
        return Err(EvalError::Value("cannot convert NaN to integer ratio".into()));
    }
    if float.is_infinite() {
        return Err(EvalError::Overflow("cannot convert Infinity to integer ratio".into()));
    }
    let (mut mantissa, mut places) = (float, 0_u32);
    while mantissa.fract() != 0.0 {
        mantissa *= 2.0;
        places += 1;
    }
    Ok((BigInt::from_f64(mantissa).unwrap_or_default(), BigInt::from(1) << places))
}

fn half_even(numerator: &BigInt, denominator: &BigInt) -> BigInt {
    let (quotient, rest) = numerator.div_mod_floor(denominator);
    match (rest.abs() * 2_u8).cmp(&denominator.abs()) {
        std::cmp::Ordering::Less => quotient,
        std::cmp::Ordering::Equal if quotient.is_even() => quotient,
        _ => quotient + 1_u8,
    }
}

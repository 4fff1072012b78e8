//! Python's operators over values.
//!
//! Integers never overflow, `/` gives floats, `//` and `%` round down (but towards zero between decimals), decimals mix
//! with integers and not with floats, texts and lists are joined and repeated, dates and durations are added and
//! subtracted. What Python refuses with a `TypeError` is an [`EvalError::Type`]; integers of more than
//! [`MOST_BITS`] bits are an [`EvalError::Limit`].

mod bits;
mod convert;
mod numbers;

pub use bits::{and, exclusive_or, invert, or, shift_left, shift_right};
pub use convert::{round, to_float, to_integer};
pub use numbers::{divide, floor_divide, negate, plus, remainder};

use num_bigint::BigInt;
use num_traits::ToPrimitive;

use crate::EvalError;
use crate::dates;
use crate::value::{Duration, Moment, Value};

use numbers::{Number, numeric};

/// About 300 000 decimal digits.
pub const MOST_BITS: u64 = 1_000_000;

/// Elements or characters that a repetition may give; beyond that it is refused before anything is allocated.
const MOST_REPEATED: usize = 10_000_000;

/// # Errors
///
/// Types that cannot be added, and results that are too large.
pub fn add<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            Ok(a.checked_add(*b).map_or_else(|| Value::from_big(BigInt::from(*a) + b), Value::Int))
        }
        (Value::Str(a), Value::Str(b)) => Ok(Value::text([&**a, &**b].concat())),
        (Value::List(a), Value::List(b)) => Ok(Value::list(a.iter().chain(b.iter()).cloned().collect())),
        (Value::Tuple(a), Value::Tuple(b)) => {
            Ok(Value::Tuple(a.iter().chain(b.iter()).cloned().collect::<Vec<_>>().into()))
        }
        (Value::Duration(a), Value::Duration(b)) => duration(a.microseconds.checked_add(b.microseconds)),
        (Value::Date(date), Value::Duration(by)) | (Value::Duration(by), Value::Date(date)) => {
            dates::add_days(*date, by.days()).map(Value::Date)
        }
        (Value::DateTime(moment), Value::Duration(by)) | (Value::Duration(by), Value::DateTime(moment)) => {
            dates::add_duration(*moment, *by).map(Value::DateTime)
        }
        _ => numeric("+", left, right)?.add(),
    }
}

/// # Errors
///
/// Types that cannot be subtracted, and results that are too large.
pub fn subtract<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            Ok(a.checked_sub(*b).map_or_else(|| Value::from_big(BigInt::from(*a) - b), Value::Int))
        }
        (Value::Duration(a), Value::Duration(b)) => duration(a.microseconds.checked_sub(b.microseconds)),
        (Value::Date(a), Value::Date(b)) => {
            duration(Duration::from_days(dates::days_between(*b, *a)).map(|apart| apart.microseconds))
        }
        (Value::DateTime(a), Value::DateTime(b)) => apart(*a, *b),
        (Value::Date(date), Value::Duration(by)) => {
            let days = by.microseconds.checked_neg().map(|microseconds| Duration { microseconds }.days());
            dates::add_days(*date, days.unwrap_or(i64::MAX)).map(Value::Date)
        }
        (Value::DateTime(moment), Value::Duration(by)) => {
            let microseconds = by.microseconds.checked_neg().unwrap_or(i64::MAX);
            dates::add_duration(*moment, Duration { microseconds }).map(Value::DateTime)
        }
        (Value::Set(a), Value::Set(b)) => {
            Ok(Value::Set(a.iter().filter(|element| !b.contains(element)).cloned().collect::<Vec<_>>().into()))
        }
        _ => numeric("-", left, right)?.subtract(),
    }
}

/// # Errors
///
/// Types that cannot be multiplied, and results that are too large.
pub fn multiply<'a>(left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>, EvalError> {
    match (left, right) {
        (Value::Int(a), Value::Int(b)) => {
            Ok(a.checked_mul(*b).map_or_else(|| Value::from_big(BigInt::from(*a) * b), Value::Int))
        }
        (Value::Str(_) | Value::List(_) | Value::Tuple(_), count) => repeat(left, count),
        (count, Value::Str(_) | Value::List(_) | Value::Tuple(_)) => repeat(right, count),
        (Value::Duration(duration), factor) | (factor, Value::Duration(duration)) => scale(*duration, factor),
        _ => numeric("*", left, right)?.multiply(),
    }
}

fn repeat<'a>(value: &Value<'a>, count: &Value<'_>) -> Result<Value<'a>, EvalError> {
    if matches!(count, Value::Big(_)) {
        return Err(EvalError::Overflow("cannot fit 'int' into an index-sized integer".into()));
    }
    let Some(count) = count.as_index() else {
        return Err(EvalError::type_error(format!(
            "can't multiply sequence by non-int of type '{}'",
            count.type_name()
        )));
    };
    let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
    let length = match value {
        Value::Str(text) => text.len(),
        Value::List(elements) | Value::Tuple(elements) => elements.len(),
        _ => 0,
    };
    let fits = length == 0 || length.checked_mul(count).is_some_and(|length| length <= MOST_REPEATED);
    if !fits {
        return Err(EvalError::limit("a repetition is too long"));
    }
    let many = |elements: &[Value<'a>]| {
        let count = if elements.is_empty() { 0 } else { count };
        std::iter::repeat_n(elements, count).flatten().cloned().collect::<Vec<_>>()
    };
    Ok(match value {
        Value::Str(text) => Value::text(if text.is_empty() { String::new() } else { text.repeat(count) }),
        Value::List(elements) => Value::list(many(elements)),
        Value::Tuple(elements) => Value::Tuple(many(elements).into()),
        _ => Value::Null,
    })
}

fn apart(a: Moment, b: Moment) -> Result<Value<'static>, EvalError> {
    let shift = match (a.offset_minutes, b.offset_minutes) {
        (None, None) => 0,
        (Some(a), Some(b)) => i64::from(a) - i64::from(b),
        _ => return Err(EvalError::type_error("can't subtract offset-naive and offset-aware datetimes")),
    };
    let microseconds = a.civil.duration_since(b.civil).as_micros() - i128::from(shift) * 60_000_000;
    duration(i64::try_from(microseconds).ok())
}

fn scale(duration_value: Duration, factor: &Value<'_>) -> Result<Value<'static>, EvalError> {
    let microseconds = duration_value.microseconds;
    match Number::of(factor) {
        Some(Number::Int(factor)) => duration(microseconds.checked_mul(factor)),
        Some(Number::Big(factor)) => duration((factor * microseconds).to_i64()),
        Some(Number::Float(factor)) => numbers::scaled_by_float(microseconds, factor).and_then(duration),
        _ => Err(numbers::unsupported("*", &Value::Duration(duration_value), factor)),
    }
}

/// Python's durations end at 999999999 days; ours, at 292 000 years, before that.
pub(crate) fn duration(microseconds: Option<i64>) -> Result<Value<'static>, EvalError> {
    let too_large = || EvalError::Overflow("a duration out of range".into());
    microseconds.and_then(Duration::from_microseconds).map(Value::Duration).ok_or_else(too_large)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Decimal;
    use jiff::civil::date;

    fn decimal(text: &str) -> Value<'static> {
        Value::decimal(Decimal::parse(text).unwrap())
    }

    fn check(result: Result<Value<'_>, EvalError>, expected: &str) {
        assert_eq!(result.map(|value| value.repr()).unwrap_or_else(|error| format!("{error:?}")), expected);
    }

    #[test]
    fn integers_have_no_bounds() {
        check(add(&Value::Int(i64::MAX), &Value::Int(1)), "9223372036854775808");
        check(subtract(&Value::Int(i64::MIN), &Value::Int(1)), "-9223372036854775809");
        check(multiply(&Value::Int(i64::MAX), &Value::Int(i64::MAX)), "85070591730234615847396907784232501249");
        let big = add(&Value::Int(i64::MAX), &Value::Int(1)).unwrap();
        check(subtract(&big, &Value::Bool(true)), "9223372036854775807");
    }

    #[test]
    fn division_is_true_or_rounds_down() {
        check(divide(&Value::Int(7), &Value::Int(2)), "3.5");
        check(divide(&Value::Int(6), &Value::Int(2)), "3.0");
        check(floor_divide(&Value::Int(-7), &Value::Int(2)), "-4");
        check(remainder(&Value::Int(-7), &Value::Int(3)), "2");
        check(remainder(&Value::Int(7), &Value::Int(-3)), "-2");
        check(floor_divide(&Value::Float(-7.5), &Value::Int(2)), "-4.0");
        check(remainder(&Value::Float(-7.5), &Value::Int(2)), "0.5");
        check(remainder(&Value::Float(7.5), &Value::Int(-2)), "-0.5");
        check(floor_divide(&Value::Int(i64::MIN), &Value::Int(-1)), "9223372036854775808");
        check(floor_divide(&decimal("-7"), &Value::Int(2)), "Decimal('-3')");
        check(remainder(&decimal("-7"), &Value::Int(2)), "Decimal('-1')");
        for zero in [Value::Int(0), Value::Float(0.0), Value::Bool(false)] {
            check(divide(&Value::Int(1), &zero), "DivisionByZero");
            check(floor_divide(&Value::Float(1.0), &zero), "DivisionByZero");
            check(remainder(&Value::Float(1.0), &zero), "DivisionByZero");
        }
    }

    #[test]
    fn big_integers_divide_to_the_nearest_float() {
        let big = multiply(&Value::Int(1 << 62), &Value::Int(1 << 62)).unwrap();
        check(divide(&big, &Value::Int(3)), "7.089215977519551e+36");
        let mut huge = big.clone();
        for _ in 0..5 {
            huge = multiply(&huge, &huge).unwrap();
        }
        check(divide(&huge, &huge), "1.0");
        check(divide(&huge, &Value::Int(1)), "Overflow(\"integer division result too large for a float\")");
        check(add(&huge, &Value::Float(1.0)), "Overflow(\"int too large to convert to float\")");
    }

    #[test]
    fn decimals_mix_with_integers_only() {
        check(add(&decimal("1.50"), &Value::Int(1)), "Decimal('2.50')");
        check(multiply(&Value::Bool(true), &decimal("1.50")), "Decimal('1.50')");
        check(divide(&Value::Int(1), &decimal("3")), "Decimal('0.3333333333333333333333333333')");
        assert!(matches!(add(&decimal("1.5"), &Value::Float(1.0)), Err(EvalError::Type(_))));
    }

    #[test]
    fn texts_and_lists_are_joined_and_repeated() {
        check(add(&Value::text("a"), &Value::text("b")), "'ab'");
        check(multiply(&Value::Int(2), &Value::text("ab")), "'abab'");
        check(multiply(&Value::text("ab"), &Value::Int(-1)), "''");
        check(multiply(&Value::list(vec![Value::Int(1)]), &Value::Bool(true)), "[1]");
        assert!(matches!(multiply(&Value::text("ab"), &Value::Float(2.0)), Err(EvalError::Type(_))));
        assert!(matches!(multiply(&Value::text("ab"), &Value::Int(i64::MAX)), Err(EvalError::Limit(_))));
        assert!(matches!(add(&Value::text("a"), &Value::Int(1)), Err(EvalError::Type(_))));
    }

    #[test]
    fn dates_and_durations_are_added_and_subtracted() {
        let (start, end) = (Value::Date(date(2015, 1, 1)), Value::Date(date(2015, 3, 1)));
        let apart = subtract(&end, &start).unwrap();
        check(Ok(apart.clone()), "datetime.timedelta(days=59)");
        check(add(&start, &apart), "datetime.date(2015, 3, 1)");
        check(subtract(&start, &apart), "datetime.date(2014, 11, 3)");
        check(multiply(&apart, &Value::Float(0.5)), "datetime.timedelta(days=29, seconds=43200)");
        check(divide(&apart, &apart), "1.0");
        check(divide(&apart, &Value::Int(2)), "datetime.timedelta(days=29, seconds=43200)");
        check(floor_divide(&apart, &apart), "1");
        let moment =
            |offset_minutes| Value::DateTime(Moment { civil: date(2015, 1, 1).at(0, 0, 0, 0), offset_minutes });
        check(subtract(&moment(Some(60)), &moment(Some(0))), "datetime.timedelta(days=-1, seconds=82800)");
        assert!(matches!(subtract(&moment(None), &moment(Some(0))), Err(EvalError::Type(_))));
        assert!(matches!(subtract(&moment(None), &start), Err(EvalError::Type(_))));
    }

    #[test]
    fn shifts_and_bits_are_those_of_integers() {
        check(shift_left(&Value::Int(1), &Value::Int(70)), "1180591620717411303424");
        check(shift_right(&Value::Int(-5), &Value::Int(1)), "-3");
        check(and(&Value::Bool(true), &Value::Bool(false)), "False");
        check(exclusive_or(&Value::Int(5), &Value::Bool(true)), "4");
        check(invert(&Value::Bool(true)), "-2");
        assert!(matches!(shift_left(&Value::Int(1), &Value::Int(-1)), Err(EvalError::Value(_))));
        assert!(matches!(and(&Value::Int(1), &Value::Float(1.0)), Err(EvalError::Type(_))));
    }

    #[test]
    fn rounding_is_half_to_even_on_the_exact_value() {
        for (value, places, expected) in [
            (Value::Float(2.5), None, "2"),
            (Value::Float(3.5), None, "4"),
            (Value::Float(-2.5), None, "-2"),
            (Value::Float(1.005), Some(2), "1.0"),
            (Value::Float(0.125), Some(2), "0.12"),
            (Value::Float(0.375), Some(2), "0.38"),
            (Value::Float(2.675), Some(2), "2.67"),
            (Value::Float(1250.0), Some(-2), "1200.0"),
            (Value::Float(1e300), Some(400), "1e+300"),
            (Value::Float(1e300), Some(-400), "0.0"),
            (Value::Int(15), Some(-1), "20"),
            (Value::Int(25), Some(-1), "20"),
            (Value::Int(-25), Some(-1), "-20"),
            (Value::Int(25), Some(5), "25"),
            (Value::Bool(true), None, "1"),
            (decimal("2.5"), None, "2"),
            (decimal("2.345"), Some(2), "Decimal('2.34')"),
        ] {
            let places = places.map(Value::Int);
            check(round(&value, places.as_ref()), expected);
        }
        assert!(matches!(round(&Value::Float(f64::INFINITY), None), Err(EvalError::Overflow(_))));
        assert!(matches!(round(&Value::Float(f64::NAN), None), Err(EvalError::Value(_))));
        assert!(matches!(round(&Value::text("1"), None), Err(EvalError::Type(_))));
    }
}

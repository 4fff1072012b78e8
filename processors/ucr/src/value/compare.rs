//! Python's `==` and `<` over values.

use num_bigint::BigInt;
use std::cmp::Ordering;

use super::{Moment, Value};
use crate::number::Decimal;

/// Why two values have no order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incomparable {
    /// What Python raises a `TypeError` for.
    #[error("values of types without a common order")]
    Types,
    /// What its `decimal` raises `InvalidOperation` for: a decimal, and either of the two not a number.
    #[error("a decimal has no order beside not-a-number")]
    NotANumber,
}

/// Python's `==`, which never fails.
pub fn equal(a: &Value<'_>, b: &Value<'_>) -> bool {
    match (a, b) {
        (Value::Str(a), Value::Str(b)) => a == b,
        (Value::Null, Value::Null) => true,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Date(a), Value::Date(b)) => a == b,
        (Value::DateTime(a), Value::DateTime(b)) => moments(a, b) == Some(Ordering::Equal),
        (Value::Time(a), Value::Time(b)) => a == b,
        (Value::Duration(a), Value::Duration(b)) => a == b,
        (Value::Function(a), Value::Function(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b))
        }
        (Value::Set(a), Value::Set(b)) => a.len() == b.len() && a.iter().all(|a| b.iter().any(|b| equal(a, b))),
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get_value(key).is_some_and(|b| equal(a, b)))
        }
        _ => numbers(a, b) == Some(Some(Ordering::Equal)),
    }
}

/// Python's order. `None` beside a float that is not a number: every comparison is false.
///
/// # Errors
///
/// [`Incomparable`] where Python raises an error.
pub fn compare(a: &Value<'_>, b: &Value<'_>) -> Result<Option<Ordering>, Incomparable> {
    match (a, b) {
        // UTF-8 has the order of code points.
        (Value::Str(a), Value::Str(b)) => Ok(Some(a.as_bytes().cmp(b.as_bytes()))),
        (Value::Date(a), Value::Date(b)) => Ok(Some(a.cmp(b))),
        (Value::DateTime(a), Value::DateTime(b)) => moments(a, b).map(Some).ok_or(Incomparable::Types),
        (Value::Time(a), Value::Time(b)) => Ok(Some(a.cmp(b))),
        (Value::Duration(a), Value::Duration(b)) => Ok(Some(a.cmp(b))),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            match a.iter().zip(b.iter()).find(|(a, b)| !equal(a, b)) {
                Some((a, b)) => compare(a, b),
                None => Ok(Some(a.len().cmp(&b.len()))),
            }
        }
        _ => match numbers(a, b).ok_or(Incomparable::Types)? {
            None if matches!((a, b), (Value::Decimal(_), _) | (_, Value::Decimal(_))) => Err(Incomparable::NotANumber),
            order => Ok(order),
        },
    }
}

/// `None` for different kinds: one with an offset and one without.
fn moments(a: &Moment, b: &Moment) -> Option<Ordering> {
    match (a.offset_minutes, b.offset_minutes) {
        (None, None) => Some(a.civil.cmp(&b.civil)),
        (Some(i), Some(j)) => {
            let apart = a.civil.duration_since(b.civil) - jiff::SignedDuration::from_mins(i64::from(i) - i64::from(j));
            Some(apart.cmp(&jiff::SignedDuration::ZERO))
        }
        _ => None,
    }
}

/// `None` unless both are numbers; the inner `None` beside not-a-number.
fn numbers(a: &Value<'_>, b: &Value<'_>) -> Option<Option<Ordering>> {
    let order = match (Number::of(a)?, Number::of(b)?) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(&b)),
        (Number::Float(a), Number::Float(b)) => a.partial_cmp(&b),
        (Number::Int(a), Number::Float(b)) => integer_and_float(a, b),
        (Number::Float(a), Number::Int(b)) => integer_and_float(b, a).map(Ordering::reverse),
        (Number::Big(a), Number::Big(b)) => Some(a.cmp(b)),
        (a, b) => a.exact().compare(&b.exact()),
    };
    Some(order)
}

enum Number<'v> {
    Int(i64),
    Big(&'v BigInt),
    Float(f64),
    Decimal(&'v Decimal),
}

impl<'v> Number<'v> {
    fn of(value: &'v Value<'_>) -> Option<Self> {
        match value {
            Value::Bool(flag) => Some(Self::Int(i64::from(*flag))),
            Value::Int(integer) => Some(Self::Int(*integer)),
            Value::Big(integer) => Some(Self::Big(integer)),
            Value::Float(float) => Some(Self::Float(*float)),
            Value::Decimal(decimal) => Some(Self::Decimal(decimal)),
            _ => None,
        }
    }

    fn exact(&self) -> Decimal {
        match self {
            Self::Int(integer) => Decimal::from_integer(&BigInt::from(*integer)),
            Self::Big(integer) => Decimal::from_integer(integer),
            Self::Float(float) => Decimal::from_float(*float),
            Self::Decimal(decimal) => (*decimal).clone(),
        }
    }
}

/// Exact, also where the integer has more digits than a float.
#[expect(clippy::cast_precision_loss, reason = "only integers that a float holds exactly are converted")]
fn integer_and_float(integer: i64, float: f64) -> Option<Ordering> {
    const EXACT: i64 = 1 << 53;
    if (-EXACT..=EXACT).contains(&integer) {
        return (integer as f64).partial_cmp(&float);
    }
    Decimal::from_integer(&integer.into()).compare(&Decimal::from_float(float))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{Dict, Text};

    fn decimal(text: &str) -> Value<'static> {
        Value::decimal(Decimal::parse(text).unwrap())
    }

    #[test]
    fn numbers_are_equal_across_their_types() {
        let ones = [Value::Int(1), Value::Float(1.0), Value::Bool(true), decimal("1.00")];
        for a in &ones {
            for b in &ones {
                assert!(equal(a, b), "{a:?} {b:?}");
            }
        }
        assert!(!equal(&Value::text("1"), &Value::Int(1)));
        assert!(!equal(&decimal("0.1"), &Value::Float(0.1)));
        assert!(!equal(&Value::Int((1 << 53) + 1), &Value::Float(9_007_199_254_740_992.0)));
        assert!(!equal(&Value::Float(f64::NAN), &Value::Float(f64::NAN)));
    }

    #[test]
    fn a_date_equals_neither_a_text_nor_a_datetime() {
        let date = jiff::civil::date(2015, 1, 20);
        assert!(!equal(&Value::Date(date), &Value::text("2015-01-20")));
        assert!(!equal(&Value::Date(date), &Value::DateTime(Moment::naive(date.at(0, 0, 0, 0)))));
        assert!(compare(&Value::Date(date), &Value::DateTime(Moment::naive(date.at(0, 0, 0, 0)))).is_err());
    }

    #[test]
    fn lists_and_dicts_are_equal_deeply_and_dicts_in_any_order() {
        let list = |last| Value::list(vec![Value::Int(1), Value::list(vec![last])]);
        assert!(equal(&list(Value::Int(1)), &list(Value::Bool(true))));
        let dict = |names: [&'static str; 2]| {
            Value::dict(names.into_iter().map(|name| (Text::from(name), Value::text(name))).collect::<Dict<'_>>())
        };
        assert!(equal(&dict(["a", "b"]), &dict(["b", "a"])));
        assert!(!equal(&dict(["a", "b"]), &dict(["a", "c"])));
    }

    #[test]
    fn only_values_of_a_kind_have_an_order() {
        assert_eq!(compare(&Value::Bool(true), &Value::Float(1.5)), Ok(Some(Ordering::Less)));
        assert_eq!(compare(&Value::Null, &Value::Int(1)), Err(Incomparable::Types));
        assert_eq!(compare(&Value::text("a"), &Value::Int(1)), Err(Incomparable::Types));
        assert_eq!(compare(&Value::Float(f64::NAN), &Value::Int(1)), Ok(None));
        for (a, b) in [(decimal("NaN"), Value::Int(1)), (Value::Float(f64::NAN), decimal("1"))] {
            assert_eq!(compare(&a, &b), Err(Incomparable::NotANumber));
            assert_eq!(compare(&b, &a), Err(Incomparable::NotANumber));
            assert!(!equal(&a, &b));
        }
        assert_eq!(compare(&decimal("NaN"), &Value::text("a")), Err(Incomparable::Types));
        let list = |elements: &[i64]| Value::list(elements.iter().copied().map(Value::Int).collect());
        assert_eq!(compare(&list(&[1, 2]), &list(&[1, 2, 0])), Ok(Some(Ordering::Less)));
        assert_eq!(compare(&list(&[1, 3]), &list(&[1, 2, 0])), Ok(Some(Ordering::Greater)));
    }
}

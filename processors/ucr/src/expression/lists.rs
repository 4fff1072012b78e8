//! Filtering, mapping, reducing, flattening and sorting of lists.

use num_bigint::BigInt;
use num_traits::ToPrimitive;
use std::cmp::Ordering;

use super::{Expression, made};
use crate::filter::Filter;
use crate::number::Decimal;
use crate::value::{Incomparable, Value, compare, equal};
use crate::{Context, EvalError};

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one stands in a box of its own")]
pub(crate) enum ListOperation {
    Filter(Filter),
    Map(Expression),
    Reduce(Aggregation),
    Flatten,
    Sort { key: Expression, order: Order },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Aggregation {
    Count,
    Sum,
    Least,
    Greatest,
    First,
    Last,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Ascending,
    Descending,
}

impl Aggregation {
    pub(super) const NAMES: [(&'static str, Self); 6] = [
        ("count", Self::Count),
        ("sum", Self::Sum),
        ("min", Self::Least),
        ("max", Self::Greatest),
        ("first_item", Self::First),
        ("last_item", Self::Last),
    ];
}

impl ListOperation {
    pub(super) fn evaluate<'a>(&self, items: &[Value<'a>], context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
        context.limits.spend(items.len())?;
        match self {
            Self::Filter(filter) => {
                let mut kept = Vec::new();
                for item in items {
                    if filter.holds(item, context)? {
                        kept.push(item.clone());
                    }
                }
                Ok(Value::list(kept))
            }
            Self::Map(expression) => {
                let mapped: Result<Vec<_>, _> = items.iter().map(|item| expression.evaluate(item, context)).collect();
                made(Value::list(mapped?), context)
            }
            Self::Reduce(aggregation) => {
                if matches!(aggregation, Aggregation::Least | Aggregation::Greatest) {
                    items.iter().try_for_each(|item| context.limits.look_through(item))?;
                }
                aggregation.evaluate(items)
            }
            Self::Flatten => {
                let mut flat = Vec::new();
                for item in items {
                    let Some(elements) = item.as_list() else { return Ok(Value::list(Vec::new())) };
                    context.limits.spend(elements.len())?;
                    flat.extend_from_slice(elements);
                }
                Ok(Value::list(flat))
            }
            Self::Sort { key, order } => sorted(items, key, *order, context),
        }
    }
}

impl Aggregation {
    fn evaluate<'a>(self, items: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
        Ok(match self {
            Self::Count => Value::Int(i64::try_from(items.len()).unwrap_or(i64::MAX)),
            Self::First => items.first().cloned().unwrap_or_default(),
            Self::Last => items.last().cloned().unwrap_or_default(),
            Self::Least => extreme(items, Ordering::is_lt)?,
            Self::Greatest => extreme(items, Ordering::is_gt)?,
            Self::Sum => match sum(items) {
                Err(EvalError::Type(_)) => Value::Null,
                result => result?,
            },
        })
    }
}

/// The first of the least or greatest; null when the types of two have no order.
fn extreme<'a>(items: &[Value<'a>], better: fn(Ordering) -> bool) -> Result<Value<'a>, EvalError> {
    let Some((mut best, others)) = items.split_first() else { return Ok(Value::Null) };
    for item in others {
        match compare(item, best) {
            Ok(order) => {
                if order.is_some_and(better) {
                    best = item;
                }
            }
            Err(Incomparable::Types) => return Ok(Value::Null),
            Err(not_a_number) => return Err(not_a_number.into()),
        }
    }
    Ok(best.clone())
}

enum Sum {
    Integer(BigInt),
    Float(f64),
    Decimal(Decimal),
}

/// As Python's `sum`: exact for integers, from left to right for floats.
fn sum<'a>(items: &[Value<'a>]) -> Result<Value<'a>, EvalError> {
    let mut total = Sum::Integer(BigInt::ZERO);
    for item in items {
        let item = match item {
            Value::Bool(flag) => Sum::Integer(BigInt::from(u8::from(*flag))),
            Value::Int(integer) => Sum::Integer(BigInt::from(*integer)),
            Value::Big(integer) => Sum::Integer((**integer).clone()),
            Value::Float(float) => Sum::Float(*float),
            Value::Decimal(decimal) => Sum::Decimal((**decimal).clone()),
            other => return Err(EvalError::type_error(format!("a {} cannot be summed up", other.type_name()))),
        };
        total = match (total, item) {
            (Sum::Integer(a), Sum::Integer(b)) => Sum::Integer(a + b),
            (Sum::Float(a), Sum::Float(b)) => Sum::Float(a + b),
            (Sum::Integer(a), Sum::Float(b)) => Sum::Float(as_float(&a)? + b),
            (Sum::Float(a), Sum::Integer(b)) => Sum::Float(a + as_float(&b)?),
            (Sum::Decimal(a), Sum::Decimal(b)) => Sum::Decimal(a.add(&b)?),
            (Sum::Integer(a), Sum::Decimal(b)) => Sum::Decimal(Decimal::from_integer(&a).add(&b)?),
            (Sum::Decimal(a), Sum::Integer(b)) => Sum::Decimal(a.add(&Decimal::from_integer(&b))?),
            (Sum::Float(_), Sum::Decimal(_)) | (Sum::Decimal(_), Sum::Float(_)) => {
                return Err(EvalError::type_error("floats and decimals cannot be summed up together"));
            }
        };
    }
    Ok(match total {
        Sum::Integer(integer) => Value::from_big(integer),
        Sum::Float(float) => Value::Float(float),
        Sum::Decimal(decimal) => Value::decimal(decimal),
    })
}

fn as_float(integer: &BigInt) -> Result<f64, EvalError> {
    let float = integer.to_f64().filter(|float| float.is_finite());
    float.ok_or_else(|| EvalError::Overflow("an integer too large for a float".into()))
}

/// Null keys come first, and last when descending; equal keys keep their order both ways.
fn sorted<'a>(
    items: &[Value<'a>],
    key: &Expression,
    order: Order,
    context: &Context<'_, 'a>,
) -> Result<Value<'a>, EvalError> {
    let mut keyed = Vec::with_capacity(items.len());
    for item in items {
        match key.evaluate(item, context) {
            Ok(key) => keyed.push((key, item)),
            Err(EvalError::Type(_)) => return Ok(Value::list(Vec::new())),
            Err(error) => return Err(error),
        }
    }
    let less = |a: &Value<'a>, b: &Value<'a>| match (a.is_null(), b.is_null()) {
        // Equal keys need no order.
        (false, false) => {
            context.limits.look_through(a)?;
            context.limits.look_through(b)?;
            Ok(!equal(a, b) && compare(a, b)?.is_some_and(Ordering::is_lt))
        }
        (a_is_null, b_is_null) => Ok(a_is_null && !b_is_null),
    };
    if order == Order::Descending {
        keyed.reverse();
    }
    let mut sorted = match merge_sort(keyed, &|a, b| less(&a.0, &b.0)) {
        Err(EvalError::Type(_)) => return Ok(Value::list(Vec::new())),
        sorted => sorted?,
    };
    if order == Order::Descending {
        sorted.reverse();
    }
    Ok(Value::list(sorted.into_iter().map(|(_, item)| item.clone()).collect()))
}

/// Stable. Not the standard library's sort: that may panic where the order is none, as beside not-a-number.
fn merge_sort<T: Clone, E>(mut items: Vec<T>, less: &impl Fn(&T, &T) -> Result<bool, E>) -> Result<Vec<T>, E> {
    if items.len() < 2 {
        return Ok(items);
    }
    let right = merge_sort(items.split_off(items.len() / 2), less)?;
    let left = merge_sort(items, less)?;
    let mut merged = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let next = if less(b, a)? { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

//! Compares a result with an expectation.

use crate::value::{Value, equal};

/// The same value: numbers by their value, but a truth value is no number; not-a-number is the same as itself. Of
/// errors the class is compared, of indexes their set; what the expectation does not mention is not looked at.
pub fn same(expected: &Value<'_>, got: &Value<'_>) -> bool {
    match (expected, got) {
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Bool(_), _) | (_, Value::Bool(_)) => false,
        (Value::Float(a), Value::Float(b)) if a.is_nan() || b.is_nan() => a.is_nan() && b.is_nan(),
        (Value::Decimal(a), Value::Decimal(b)) if a.is_nan() || b.is_nan() => a.is_nan() && b.is_nan(),
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| same(a, b))
        }
        (Value::Dict(a), Value::Dict(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get_value(key).is_some_and(|b| same_entry(key, a, b)))
        }
        (a, b) => equal(a, b),
    }
}

fn same_entry(key: &Value<'_>, expected: &Value<'_>, got: &Value<'_>) -> bool {
    match (key.as_str(), expected, got) {
        (Some("error" | "rows_error" | "filter_error"), Value::Dict(a), Value::Dict(b))
            if a.get("phase").is_some() && b.get("phase").is_some() =>
        {
            is_of_document(a.get("phase")) == is_of_document(b.get("phase"))
        }
        (Some("indexes"), Value::List(a), Value::List(b)) => {
            let all_in = |a: &[Value<'_>], b: &[Value<'_>]| a.iter().all(|a| b.iter().any(|b| same(a, b)));
            all_in(a, b) && all_in(b, a)
        }
        _ => same(expected, got),
    }
}

fn is_of_document(phase: Option<&Value<'_>>) -> bool {
    matches!(phase.and_then(Value::as_str), Some("eval" | "filter"))
}

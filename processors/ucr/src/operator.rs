//! The operators of filters.
//!
//! What Python raises a `TypeError` for is false here, as in the original; other errors are errors.

use std::cmp::Ordering;

use crate::EvalError;
use crate::regex::Pattern;
use crate::value::{Incomparable, Value, compare, equal};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    In,
    InMulti,
    AnyInMulti,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Regex,
}

const NAMES: [(&str, Operator); 10] = [
    ("eq", Operator::Equal),
    ("not_eq", Operator::NotEqual),
    ("in", Operator::In),
    ("in_multi", Operator::InMulti),
    ("any_in_multi", Operator::AnyInMulti),
    ("lt", Operator::Less),
    ("lte", Operator::LessOrEqual),
    ("gt", Operator::Greater),
    ("gte", Operator::GreaterOrEqual),
    ("regex", Operator::Regex),
];

impl Operator {
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, operator)| *operator)
    }

    /// As configurations write it.
    pub(crate) fn name(self) -> &'static str {
        NAMES.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }

    pub(crate) fn names() -> impl Iterator<Item = &'static str> + Clone {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// # Errors
    ///
    /// A value other than text as input of `in_multi` or `any_in_multi`; a reference of `regex` that is no expression; an
    /// order of decimals that are not a number.
    pub(crate) fn holds(self, input: &Value<'_>, reference: &Value<'_>) -> Result<bool, EvalError> {
        let ordered = |wanted: fn(Ordering) -> bool| match compare(input, reference) {
            Ok(order) => Ok(order.is_some_and(wanted)),
            Err(Incomparable::Types) => Ok(false),
            Err(not_a_number) => Err(EvalError::from(not_a_number)),
        };
        // Kept from Python 2, where every text was greater than every number.
        let text_and_integer =
            matches!((input, reference), (Value::Str(_), Value::Int(_) | Value::Big(_) | Value::Bool(_)));
        Ok(match self {
            Self::Equal => equal(input, reference),
            Self::NotEqual => !equal(input, reference),
            Self::In => contains(reference, input),
            Self::InMulti => in_multi(input, reference)?,
            Self::AnyInMulti => any_in_multi(input, reference)?,
            Self::Less => ordered(Ordering::is_lt)?,
            Self::LessOrEqual => ordered(Ordering::is_le)?,
            Self::Greater => text_and_integer || ordered(Ordering::is_gt)?,
            Self::GreaterOrEqual => text_and_integer || ordered(Ordering::is_ge)?,
            // The pattern is read before the input is looked at.
            Self::Regex => match reference.as_str().map(compiled).transpose()? {
                Some(pattern) => input.as_str().map_or(Ok(false), |text| pattern.is_match(text))?,
                None => false,
            },
        })
    }
}

/// # Errors
///
/// The original finds out when it evaluates, and loses the document.
pub(crate) fn compiled(pattern: &str) -> Result<Pattern, EvalError> {
    Pattern::compile(pattern)
        .map_err(|problem| EvalError::Config(format!("{pattern:?} is no regular expression: {problem}").into()))
}

/// Python's `needle in haystack`, false where that is a `TypeError`.
fn contains(haystack: &Value<'_>, needle: &Value<'_>) -> bool {
    match haystack {
        Value::List(elements) | Value::Tuple(elements) | Value::Set(elements) => {
            elements.iter().any(|element| equal(element, needle))
        }
        Value::Str(text) => needle.as_str().is_some_and(|needle| text.contains(needle)),
        Value::Dict(dict) => {
            !matches!(needle, Value::List(_) | Value::Dict(_) | Value::Set(_)) && dict.get_value(needle).is_some()
        }
        _ => false,
    }
}

/// The words of a choice; empty for whatever is false.
fn words<'v>(input: &'v Value<'_>) -> Result<std::str::Split<'v, char>, EvalError> {
    match input {
        Value::Str(text) => Ok(text.split(' ')),
        input if !input.is_true() => Ok("".split(' ')),
        other => Err(EvalError::Attribute(format!("a {} cannot be split into choices", other.type_name()).into())),
    }
}

pub(crate) fn in_multi(input: &Value<'_>, reference: &Value<'_>) -> Result<bool, EvalError> {
    let mut words = words(input)?;
    Ok(reference.as_str().is_some_and(|reference| words.any(|word| word == reference)))
}

fn any_in_multi(input: &Value<'_>, reference: &Value<'_>) -> Result<bool, EvalError> {
    let any_of = |wanted: &mut dyn Iterator<Item = &Value<'_>>| -> Result<bool, EvalError> {
        for reference in wanted {
            if in_multi(input, reference)? {
                return Ok(true);
            }
        }
        Ok(false)
    };
    match reference {
        Value::List(elements) | Value::Tuple(elements) | Value::Set(elements) => any_of(&mut elements.iter()),
        Value::Dict(dict) => any_of(&mut dict.iter().map(|(key, _)| key)),
        Value::Str(text) if text.is_empty() => Ok(false),
        Value::Str(text) => {
            let mut buffer = [0; 4];
            Ok(words(input)?.any(|word| text.chars().any(|c| word == &*c.encode_utf8(&mut buffer))))
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse;

    fn check(input: &str, operator: &str, reference: &str, expected: Option<bool>) {
        let (a, b) = (parse(input).unwrap(), parse(reference).unwrap());
        let result = Operator::from_name(operator).unwrap().holds(&a, &b);
        assert_eq!(result.ok(), expected, "{input} {operator} {reference}");
    }

    #[test]
    fn membership_is_of_elements_of_parts_of_texts_and_of_keys() {
        check("1", "in", "[1.0]", Some(true));
        check("\"b\"", "in", "\"abc\"", Some(true));
        check("null", "in", "\"abc\"", Some(false));
        check("\"a\"", "in", "{\"a\": 1}", Some(true));
        check("[]", "in", "{\"a\": 1}", Some(false));
        check("1", "in", "1", Some(false));
    }

    #[test]
    fn choices_are_split_at_every_single_space() {
        check("\"a  b\"", "in_multi", "\"\"", Some(true));
        check("null", "in_multi", "\"\"", Some(true));
        check("\"a b\"", "in_multi", "\"a b\"", Some(false));
        check("\"a b\"", "in_multi", "[\"a\"]", Some(false));
        check("5", "in_multi", "\"5\"", None);
    }

    #[test]
    fn any_of_several_choices_or_of_the_characters_of_a_text() {
        check("\"a b\"", "any_in_multi", "[\"x\", \"b\"]", Some(true));
        check("\"a b\"", "any_in_multi", "\"xb\"", Some(true));
        check("5", "any_in_multi", "[]", Some(false));
        check("5", "any_in_multi", "null", Some(false));
        check("5", "any_in_multi", "[\"x\"]", None);
    }

    #[test]
    fn only_a_text_is_greater_than_an_integer_of_all_mixed_comparisons() {
        check("\"a\"", "gt", "5", Some(true));
        check("\"a\"", "gte", "true", Some(true));
        check("\"a\"", "gt", "5.0", Some(false));
        check("\"a\"", "lt", "5", Some(false));
        check("5", "gt", "\"a\"", Some(false));
        check("null", "lt", "5", Some(false));
        check("2", "lte", "2.0", Some(true));
    }
}

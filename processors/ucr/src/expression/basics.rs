//! Properties, branches, and parts of lists and texts.

use super::{Expression, coerced};
use crate::coerce::Datatype;
use crate::number::is_space;
use crate::value::Value;
use crate::{Context, EvalError};

pub(super) fn computed_property<'a>(
    name: &Expression,
    datatype: Option<Datatype>,
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Result<Value<'a>, EvalError> {
    // The name of nothing is not asked for.
    let Some(dict) = item.as_dict() else { return coerced(Value::Null, datatype, context) };
    let name = name.evaluate(item, context)?;
    if matches!(name, Value::List(_) | Value::Dict(_) | Value::Set(_)) {
        return Err(EvalError::type_error(format!("a {} is no name of a property", name.type_name())));
    }
    coerced(dict.get_value(&name).cloned().unwrap_or_default(), datatype, context)
}

pub(super) fn switch<'a>(
    on: &Expression,
    cases: &[(Box<str>, Expression)],
    default: &Expression,
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Result<Value<'a>, EvalError> {
    let on = on.evaluate(item, context)?;
    let found = on.as_str().and_then(|on| cases.binary_search_by(|(key, _)| (**key).cmp(on)).ok());
    match found.and_then(|index| cases.get(index)) {
        Some((_, case)) => case.evaluate(item, context),
        None => default.evaluate(item, context),
    }
}

/// The element at an index, from the end for a negative one.
pub(super) fn at<T>(elements: &[T], index: i64) -> Option<&T> {
    let from_end = if index < 0 { i64::try_from(elements.len()).ok()? } else { 0 };
    elements.get(usize::try_from(index.checked_add(from_end)?).ok()?)
}

pub(super) fn split_string<'a>(
    text: &Expression,
    delimiter: Option<&str>,
    index: Option<&Expression>,
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Result<Value<'a>, EvalError> {
    let text = text.evaluate(item, context)?;
    let Value::Str(text) = text else { return Ok(Value::Null) };
    let index = match index {
        None => None,
        // Before the text is split, so that a wrong delimiter does not matter beside a wrong index.
        Some(index) => match index.evaluate(item, context)?.as_index() {
            Some(index) => Some(index),
            None => return Ok(Value::Null),
        },
    };
    context.limits.spend(text.len() / 64)?;
    let parts: Vec<&str> = match delimiter {
        None => text.split(is_space).filter(|part| !part.is_empty()).collect(),
        Some("") => return Err(EvalError::Value("an empty delimiter splits nothing".into())),
        Some(delimiter) => text.split(delimiter).collect(),
    };
    context.limits.spend(parts.len())?;
    let part = |part: &str| Value::text(part.to_owned());
    Ok(match index {
        None => Value::list(parts.into_iter().map(part).collect()),
        Some(index) => at(&parts, index).map_or(Value::Null, |found| part(found)),
    })
}

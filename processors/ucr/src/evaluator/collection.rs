//! Lists, tuples, sets, dicts and texts: building them, and what is in them.

use std::cmp::Ordering;
use std::rc::Rc;

use super::run::{Evaluated, Run, invalid};
use super::syntax::{Comprehension, Element, Expression, Target};
use crate::EvalError;
use crate::value::{Value, equal};

/// Elements that all comprehensions of one evaluation may look at.
const MOST_COMPREHENDED: usize = 10_000;

impl<'a> Run<'_, '_, 'a> {
    pub(super) fn elements(&self, elements: &[Element], may_be_starred: bool) -> Result<Vec<Value<'a>>, EvalError> {
        let mut values = Vec::with_capacity(elements.len());
        for element in elements {
            if !element.starred {
                values.push(self.evaluate(&element.value)?);
            } else if may_be_starred {
                let more = iterate(&self.evaluate(&element.value)?)?;
                self.context.limits.spend(more.len())?;
                values.extend(more);
            } else {
                return Err(invalid("a star is not available here"));
            }
        }
        Ok(values)
    }

    pub(super) fn dict(&self, entries: &[(Option<Expression>, Expression)]) -> Evaluated<'a> {
        let mut result = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            match key {
                // Python evaluates the value first.
                Some(key) => {
                    let value = self.evaluate(value)?;
                    let key = self.evaluate(key)?;
                    hashable(&key)?;
                    result.push((key, value));
                }
                None => result.extend(pairs(&self.evaluate(value)?)?),
            }
        }
        self.context.limits.spend(result.len())?;
        Ok(Value::dict(result.into_iter().collect()))
    }

    pub(super) fn comprehension(&self, comprehension: &Comprehension) -> Evaluated<'a> {
        self.scopes.borrow_mut().push(Vec::new());
        let mut values = Vec::new();
        let result = self.generate(comprehension, 0, &mut values);
        self.scopes.borrow_mut().pop();
        result.map(|()| Value::list(values))
    }

    fn generate(&self, comprehension: &Comprehension, at: usize, values: &mut Vec<Value<'a>>) -> Result<(), EvalError> {
        let Some(generator) = comprehension.generators.get(at) else {
            values.push(self.evaluate(&comprehension.element)?);
            return Ok(());
        };
        for value in iterate(&self.evaluate(&generator.source)?)? {
            self.seen.set(self.seen.get() + 1);
            if self.seen.get() > MOST_COMPREHENDED {
                return Err(invalid("a comprehension generates too many elements"));
            }
            self.assign(&generator.target, value)?;
            let mut holds = true;
            for condition in &generator.conditions {
                holds = holds && self.evaluate(condition)?.is_true();
            }
            if holds {
                self.context.limits.deeper(|| self.generate(comprehension, at + 1, values))?;
            }
        }
        Ok(())
    }

    fn assign(&self, target: &Target, value: Value<'a>) -> Result<(), EvalError> {
        match target {
            Target::Name(name) => {
                let mut scopes = self.scopes.borrow_mut();
                let Some(scope) = scopes.last_mut() else { return Ok(()) };
                match scope.iter_mut().find(|(known, _)| known == name) {
                    Some((_, slot)) => *slot = value,
                    None => scope.push((name.clone(), value)),
                }
                Ok(())
            }
            // As many as there are of both.
            Target::Several(targets) => {
                targets.iter().zip(iterate(&value)?).try_for_each(|(target, value)| self.assign(target, value))
            }
            Target::Other => Err(EvalError::Attribute("object has no attribute 'elts'".into())),
        }
    }
}

/// What a `for` goes through.
pub(super) fn iterate<'a>(value: &Value<'a>) -> Result<Vec<Value<'a>>, EvalError> {
    match value {
        Value::List(elements) | Value::Tuple(elements) | Value::Set(elements) => Ok(elements.to_vec()),
        Value::Dict(dict) => Ok(dict.iter().map(|(key, _)| key.clone()).collect()),
        Value::Str(text) => Ok(text.chars().map(|c| Value::text(c.to_string())).collect()),
        other => Err(EvalError::type_error(format!("'{}' object is not iterable", other.type_name()))),
    }
}

/// The entries of a dict, or of a list of pairs.
pub(super) fn pairs<'a>(value: &Value<'a>) -> Result<Vec<(Value<'a>, Value<'a>)>, EvalError> {
    if let Value::Dict(dict) = value {
        return Ok(dict.iter().map(|(key, value)| (key.clone(), value.clone())).collect());
    }
    let mut entries = Vec::new();
    for pair in iterate(value)? {
        match iterate(&pair)?.as_slice() {
            [key, value] => {
                hashable(key)?;
                entries.push((key.clone(), value.clone()));
            }
            other => {
                let message = format!("dictionary update sequence element has length {}; 2 is required", other.len());
                return Err(EvalError::Value(message.into()));
            }
        }
    }
    Ok(entries)
}

pub(super) fn set(elements: Vec<Value<'_>>) -> Evaluated<'_> {
    let mut different: Vec<Value<'_>> = Vec::new();
    let mut others = 0_usize;
    for element in elements {
        hashable(&element)?;
        others += different.len();
        // Found by comparing with each, which ends before it takes long.
        if others > 20_000_000 {
            return Err(EvalError::limit("a set with too many elements"));
        }
        if !different.iter().any(|known| equal(known, &element)) {
            different.push(element);
        }
    }
    Ok(Value::Set(Rc::new(different)))
}

/// Smaller is a subset.
pub(super) fn set_order(a: &[Value<'_>], b: &[Value<'_>]) -> Option<Ordering> {
    let within = |a: &[Value<'_>], b: &[Value<'_>]| a.iter().all(|element| b.iter().any(|other| equal(element, other)));
    match (within(a, b), within(b, a)) {
        (true, true) => Some(Ordering::Equal),
        (true, false) => Some(Ordering::Less),
        (false, true) => Some(Ordering::Greater),
        (false, false) => None,
    }
}

pub(super) fn hashable(value: &Value<'_>) -> Result<(), EvalError> {
    match value {
        Value::List(_) | Value::Dict(_) | Value::Set(_) => {
            Err(EvalError::type_error(format!("unhashable type: '{}'", value.type_name())))
        }
        Value::Tuple(elements) => elements.iter().try_for_each(hashable),
        _ => Ok(()),
    }
}

/// Python's `element in container`.
pub(super) fn contains(container: &Value<'_>, element: &Value<'_>) -> Result<bool, EvalError> {
    match container {
        Value::List(elements) | Value::Tuple(elements) => Ok(elements.iter().any(|known| equal(known, element))),
        Value::Set(elements) => {
            // A set is compared as a frozen one.
            if !matches!(element, Value::Set(_)) {
                hashable(element)?;
            }
            Ok(elements.iter().any(|known| equal(known, element)))
        }
        Value::Dict(dict) => {
            hashable(element)?;
            Ok(dict.get_value(element).is_some())
        }
        Value::Str(text) => match element {
            Value::Str(part) => Ok(text.contains(&**part)),
            other => Err(EvalError::type_error(format!(
                "'in <string>' requires string as left operand, not {}",
                other.type_name()
            ))),
        },
        other => Err(EvalError::type_error(format!("argument of type '{}' is not iterable", other.type_name()))),
    }
}

/// Python's `container[key]`.
pub(super) fn element<'a>(container: &Value<'a>, key: &Value<'a>) -> Evaluated<'a> {
    let at = |length: usize| -> Result<usize, EvalError> {
        let Some(index) = key.as_index() else {
            return Err(EvalError::type_error(format!("indices must be integers, not {}", key.type_name())));
        };
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        let index = if index < 0 { index.saturating_add(length) } else { index };
        let inside = usize::try_from(index).ok().filter(|_| index < length);
        inside.ok_or_else(|| EvalError::Missing("index out of range".into()))
    };
    match container {
        Value::List(elements) | Value::Tuple(elements) => {
            Ok(elements.get(at(elements.len())?).cloned().unwrap_or_default())
        }
        Value::Str(text) => {
            let character = if text.is_ascii() {
                let at = at(text.len())?;
                text.get(at..at + 1).map(str::to_owned)
            } else {
                let at = at(text.chars().count())?;
                text.chars().nth(at).map(|c| c.to_string())
            };
            Ok(character.map(Value::text).unwrap_or_default())
        }
        Value::Dict(dict) => {
            hashable(key)?;
            dict.get_value(key).cloned().ok_or_else(|| {
                let shown: String = key.repr().chars().take(200).collect();
                EvalError::Missing(format!("no key {shown}").into())
            })
        }
        other => Err(EvalError::type_error(format!("'{}' object is not subscriptable", other.type_name()))),
    }
}

/// Python's `container[start:end:step]`.
pub(super) fn slice<'a>(container: &Value<'a>, bounds: &[Value<'a>; 3]) -> Evaluated<'a> {
    let bound = |value: &Value<'_>| match value {
        Value::Null => Ok(None),
        value => value
            .as_index()
            .map(Some)
            .ok_or_else(|| EvalError::type_error("slice indices must be integers or None or have an __index__ method")),
    };
    let chosen = |length: usize| -> Result<Vec<usize>, EvalError> {
        let [start, end, step] = bounds;
        let step = bound(step)?.unwrap_or(1);
        if step == 0 {
            return Err(EvalError::Value("slice step cannot be zero".into()));
        }
        let (start, end) = (bound(start)?, bound(end)?);
        Ok(positions(length, start, end, step))
    };
    match container {
        Value::List(elements) => {
            Ok(Value::list(chosen(elements.len())?.into_iter().filter_map(|at| elements.get(at).cloned()).collect()))
        }
        Value::Tuple(elements) => {
            let values: Vec<_> =
                chosen(elements.len())?.into_iter().filter_map(|at| elements.get(at).cloned()).collect();
            Ok(Value::Tuple(values.into()))
        }
        Value::Str(text) => {
            let characters: Vec<char> = text.chars().collect();
            let chosen = chosen(characters.len())?;
            Ok(Value::text(chosen.into_iter().filter_map(|at| characters.get(at)).collect::<String>()))
        }
        other => Err(EvalError::type_error(format!("'{}' object has no slices", other.type_name()))),
    }
}

fn positions(length: usize, start: Option<i64>, end: Option<i64>, step: i64) -> Vec<usize> {
    let length = i64::try_from(length).unwrap_or(i64::MAX);
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let clamp = |index: i64| if index < 0 { index.saturating_add(length).max(lowest) } else { index.min(highest) };
    let mut at = start.map_or(if step > 0 { lowest } else { highest }, clamp);
    let end = end.map_or(if step > 0 { highest } else { lowest }, clamp);
    let mut positions = Vec::new();
    while (step > 0 && at < end) || (step < 0 && at > end) {
        positions.extend(usize::try_from(at));
        at = at.saturating_add(step);
    }
    positions
}

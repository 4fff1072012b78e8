//! What a path finds in a value.

use std::cell::Cell;
use std::cmp::Ordering;
use std::rc::Rc;

use super::{Comparison, Condition, MOST_MATCHES, Node, Operand, Operator, Step};
use crate::EvalError;
use crate::number::parse_integer;
use crate::value::{Value, compare, equal};

/// `looked_at` grows by what is looked at on the way.
pub(super) fn find<'a>(node: &Node, value: &Value<'a>, looked_at: &mut usize) -> Result<Vec<Value<'a>>, EvalError> {
    let finder = Finder { left: Cell::new(MOST_MATCHES) };
    let start = Rc::new(Datum { value: value.clone(), parent: None, raw: true });
    let matches = finder.find(node, &Some(start));
    *looked_at += MOST_MATCHES - finder.left.get();
    let matches = matches?;
    *looked_at += matches.len();
    let value = |found: Match<'a>| match found {
        Some(datum) => Ok(datum.value.clone()),
        None => Err(no_value()),
    };
    matches.into_iter().map(value).collect()
}

/// A value with the way it was reached.
struct Datum<'a> {
    value: Value<'a>,
    parent: Option<Rc<Datum<'a>>>,
    /// The value the search began with, before any operator has touched it.
    raw: bool,
}

/// `None` is the parent of what has none.
type Match<'a> = Option<Rc<Datum<'a>>>;

struct Finder {
    left: Cell<usize>,
}

impl Finder {
    fn spend(&self, count: usize) -> Result<(), EvalError> {
        let left =
            self.left.get().checked_sub(count).ok_or_else(|| EvalError::limit("a path with too many matches"))?;
        self.left.set(left);
        Ok(())
    }

    fn find<'a>(&self, node: &Node, datum: &Match<'a>) -> Result<Vec<Match<'a>>, EvalError> {
        self.spend(1)?;
        let value = datum.as_ref().map_or(&Value::Null, |datum| &datum.value);
        match node {
            Node::Root => Ok(vec![Some(root(datum))]),
            Node::This => Ok(vec![Some(wrapped(datum))]),
            Node::Parent => Ok(vec![datum.as_ref().and_then(|datum| datum.parent.clone())]),
            Node::Fields(names) => Ok(fields(names, &wrapped(datum))),
            Node::Index(index) => index_into(*index, &wrapped(datum)),
            Node::Slice(start, end) => slice(*start, *end, &wrapped(datum)),
            Node::Filter(conditions) => self.filter(conditions, &wrapped(datum)),
            Node::Sorted(keys) => self.sorted(keys, datum),
            Node::Len => Ok(length(value).map(|length| alone(Value::Int(length))).into_iter().collect()),
            Node::Str => {
                let text = value.to_string();
                self.spend(text.len())?;
                Ok(vec![alone(Value::text(text))])
            }
            Node::Sub(pattern, replacement) => {
                let text =
                    value.as_str().ok_or_else(|| EvalError::type_error("expected string or bytes-like object"))?;
                let replaced = pattern.replace_all(text, replacement)?;
                Ok(if replaced == text { Vec::new() } else { vec![alone(Value::text(replaced))] })
            }
            Node::Split { separator, segment, most } => {
                let Some(text) = value.as_str() else { return Ok(Vec::new()) };
                let parts = match usize::try_from(*most) {
                    Ok(most) => text
                        .splitn(most.saturating_add(1), separator)
                        .nth(usize::try_from(*segment).unwrap_or(usize::MAX)),
                    Err(_negative) => text.split(separator).nth(usize::try_from(*segment).unwrap_or(usize::MAX)),
                };
                Ok(parts.map(|part| alone(Value::text(part.to_owned()))).into_iter().collect())
            }
            Node::Chain(first, steps) => self.chain(first, steps, datum),
            Node::Union(nodes) => {
                let mut matches = Vec::new();
                for node in nodes {
                    matches.extend(self.find(node, datum)?);
                }
                Ok(matches)
            }
            Node::Intersection => Err(EvalError::Value("intersections of paths cannot be evaluated".into())),
            Node::Arithmetic(left, operator, right) => self.arithmetic(left, *operator, right, datum),
        }
    }

    fn chain<'a>(&self, first: &Node, steps: &[Step], datum: &Match<'a>) -> Result<Vec<Match<'a>>, EvalError> {
        let mut matches = self.find(first, datum)?;
        for step in steps {
            let mut next = Vec::new();
            for found in matches {
                match step {
                    Step::Child(node) => next.append(&mut self.find(node, &found)?),
                    Step::Descendants(node) => {
                        let found = found.ok_or_else(no_value)?;
                        self.descendants(node, &found, &mut next)?;
                    }
                    Step::Where(node) => {
                        if self.finds_any(node, &found)? {
                            next.push(found);
                        }
                    }
                }
            }
            matches = next;
        }
        Ok(matches)
    }

    fn descendants<'a>(&self, node: &Node, datum: &Rc<Datum<'a>>, out: &mut Vec<Match<'a>>) -> Result<(), EvalError> {
        out.append(&mut self.find(node, &Some(Rc::clone(datum)))?);
        match &datum.value {
            Value::List(elements) => {
                for element in elements.iter() {
                    self.descendants(node, &below(datum, element), out)?;
                }
            }
            Value::Dict(dict) => {
                for (_, element) in dict.iter() {
                    self.descendants(node, &below(datum, element), out)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn filter<'a>(&self, conditions: &[Condition], datum: &Rc<Datum<'a>>) -> Result<Vec<Match<'a>>, EvalError> {
        let datum = match &datum.value {
            Value::Dict(dict) => {
                let values = Value::list(dict.iter().map(|(_, value)| value.clone()).collect());
                Rc::new(Datum { value: values, parent: datum.parent.clone(), raw: false })
            }
            _ => Rc::clone(datum),
        };
        let mut matches = Vec::new();
        for element in datum.value.as_list().unwrap_or_default() {
            let mut holds = true;
            for condition in conditions {
                holds &= self.holds(condition, element)?;
            }
            if holds {
                matches.push(Some(below(&datum, element)));
            }
        }
        Ok(matches)
    }

    /// Whether a condition holds for an element, which is the root of the condition's path.
    fn holds(&self, condition: &Condition, element: &Value<'_>) -> Result<bool, EvalError> {
        let start = alone(element.clone());
        let Some((comparison, wanted)) = &condition.test else { return self.finds_any(&condition.target, &start) };
        let found = self.find(&condition.target, &start)?;
        let mut any = false;
        for datum in found {
            let datum = datum.ok_or_else(no_value)?;
            let value = match wanted {
                // Truth values are integers here as well.
                Value::Int(_) | Value::Bool(_) => match integer(&datum.value)? {
                    Some(integer) => integer,
                    None => continue,
                },
                _ => datum.value.clone(),
            };
            any |= test(comparison, &value, wanted)?;
        }
        Ok(any)
    }

    fn finds_any(&self, node: &Node, datum: &Match<'_>) -> Result<bool, EvalError> {
        match self.find(node, datum) {
            // What cannot be sorted is something, though not a list of matches.
            Err(EvalError::Type(_)) if matches!((node, datum), (Node::Sorted(_), Some(datum)) if !is_sortable(&datum.value)) => {
                Ok(true)
            }
            found => Ok(!found?.is_empty()),
        }
    }

    fn sorted<'a>(&self, keys: &[(Node, bool)], datum: &Match<'a>) -> Result<Vec<Match<'a>>, EvalError> {
        let Some(datum) = datum.as_ref().filter(|datum| !datum.raw) else { return Err(no_value()) };
        let elements: Vec<Value<'a>> = match &datum.value {
            Value::List(elements) => elements.to_vec(),
            Value::Dict(dict) if keys.is_empty() => dict.iter().map(|(key, _)| key.clone()).collect(),
            // The original gives the value itself where a list of matches is expected.
            _ => return Err(EvalError::type_error("'DatumInContext' object is not iterable")),
        };
        let sorted = merge_sort(elements, &mut |left, right| {
            self.spend(1)?;
            if keys.is_empty() {
                Ok(compare(left, right)?.unwrap_or(Ordering::Equal))
            } else {
                self.by_keys(keys, left, right)
            }
        })?;
        Ok(vec![alone(Value::list(sorted))])
    }

    fn by_keys(&self, keys: &[(Node, bool)], left: &Value<'_>, right: &Value<'_>) -> Result<Ordering, EvalError> {
        let (left, right) = (alone(left.clone()), alone(right.clone()));
        for (node, descending) in keys {
            let (found_left, found_right) = (self.find(node, &left)?, self.find(node, &right)?);
            let ([Some(left)], [Some(right)]) = (found_left.as_slice(), found_right.as_slice()) else { continue };
            if equal(&left.value, &right.value) {
                continue;
            }
            let less = compare(&left.value, &right.value)? == Some(Ordering::Less);
            return Ok(if less == *descending { Ordering::Greater } else { Ordering::Less });
        }
        Ok(Ordering::Equal)
    }

    fn arithmetic<'a>(
        &self,
        left: &Operand,
        operator: Operator,
        right: &Operand,
        datum: &Match<'a>,
    ) -> Result<Vec<Match<'a>>, EvalError> {
        let mut results = Vec::new();
        match (left, right) {
            (Operand::Path(left), Operand::Path(right)) => {
                let (left, right) = (self.find(left, datum)?, self.find(right, datum)?);
                if left.len() != right.len() {
                    return Ok(Vec::new());
                }
                for (left, right) in left.iter().zip(&right) {
                    results.push((value_of(left)?, value_of(right)?));
                }
            }
            (Operand::Path(left), Operand::Literal(right)) => {
                for left in &self.find(left, datum)? {
                    results.push((value_of(left)?, right.clone()));
                }
            }
            (Operand::Literal(left), Operand::Path(right)) => {
                for right in &self.find(right, datum)? {
                    results.push((left.clone(), value_of(right)?));
                }
            }
            (Operand::Literal(left), Operand::Literal(right)) => results.push((left.clone(), right.clone())),
        }
        let mut matches = Vec::new();
        for (left, right) in results {
            match calculate(left, operator, right) {
                Ok(value) => matches.push(alone(value)),
                Err(EvalError::Type(_)) => return Ok(Vec::new()),
                Err(error) => return Err(error),
            }
        }
        Ok(matches)
    }
}

fn calculate<'a>(left: Value<'a>, operator: Operator, right: Value<'a>) -> Result<Value<'a>, EvalError> {
    use crate::arithmetic;
    match operator {
        Operator::Add => arithmetic::add(&left, &right),
        Operator::Subtract => arithmetic::subtract(&left, &right),
        Operator::Multiply => arithmetic::multiply(&left, &right),
    }
}

fn fields<'a>(names: &[crate::value::Text<'static>], datum: &Rc<Datum<'a>>) -> Vec<Match<'a>> {
    let Some(dict) = datum.value.as_dict() else { return Vec::new() };
    if names.iter().any(|name| **name == *"*") {
        return dict.iter().map(|(_, value)| Some(below(datum, value))).collect();
    }
    names.iter().filter_map(|name| dict.get(name)).map(|value| Some(below(datum, value))).collect()
}

fn index_into<'a>(index: i64, datum: &Rc<Datum<'a>>) -> Result<Vec<Match<'a>>, EvalError> {
    let value = &datum.value;
    if !value.is_true() {
        return Ok(Vec::new());
    }
    let length = length(value).ok_or_else(|| EvalError::type_error("a value without length has no elements"))?;
    if length <= index {
        return Ok(Vec::new());
    }
    let missing = || EvalError::Missing(format!("no element {index}").into());
    let at = usize::try_from(if index < 0 { index + length } else { index }).map_err(|_negative| missing())?;
    let element = match value {
        Value::List(elements) => elements.get(at).cloned(),
        Value::Str(text) => text.chars().nth(at).map(|c| Value::text(c.to_string())),
        _ => None,
    };
    Ok(vec![Some(below(datum, &element.ok_or_else(missing)?))])
}

fn slice<'a>(start: Option<i64>, end: Option<i64>, datum: &Rc<Datum<'a>>) -> Result<Vec<Match<'a>>, EvalError> {
    let datum = match &datum.value {
        value if !value.is_true() => return Ok(Vec::new()),
        Value::List(_) => Rc::clone(datum),
        // A value that is no list counts as one of one element.
        Value::Dict(_) | Value::Str(_) | Value::Int(_) | Value::Big(_) | Value::Bool(_) => {
            let value = Value::list(vec![datum.value.clone()]);
            Rc::new(Datum { value, parent: datum.parent.clone(), raw: false })
        }
        other => return Err(EvalError::type_error(format!("object of type '{}' has no len()", other.type_name()))),
    };
    let elements = datum.value.as_list().unwrap_or_default();
    let length = i64::try_from(elements.len()).unwrap_or(i64::MAX);
    let bound = |index: i64| if index < 0 { index.saturating_add(length).max(0) } else { index.min(length) };
    let start = usize::try_from(start.map_or(0, bound)).unwrap_or(0);
    let end = usize::try_from(end.map_or(length, bound)).unwrap_or(0);
    let chosen = elements.get(start..end.max(start)).unwrap_or_default();
    Ok(chosen.iter().map(|element| Some(below(&datum, element))).collect())
}

/// What Python's `int(value)` gives; `None` for a text that is no integer.
fn integer<'a>(value: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
    match value {
        Value::Str(text) => Ok(parse_integer(text).map(Value::from_big)),
        Value::Float(float) if float.is_nan() => Ok(None),
        value => crate::arithmetic::to_integer(value).map(Some),
    }
}

fn test(comparison: &Comparison, value: &Value<'_>, wanted: &Value<'_>) -> Result<bool, EvalError> {
    let order = |holds: fn(Ordering) -> bool| Ok(compare(value, wanted)?.is_some_and(holds));
    match comparison {
        Comparison::Equal => Ok(equal(value, wanted)),
        Comparison::NotEqual => Ok(!equal(value, wanted)),
        Comparison::Less => order(Ordering::is_lt),
        Comparison::LessOrEqual => order(Ordering::is_le),
        Comparison::Greater => order(Ordering::is_gt),
        Comparison::GreaterOrEqual => order(Ordering::is_ge),
        Comparison::Matches(pattern) => {
            let pattern = pattern.as_ref().map_err(|problem| EvalError::Config(problem.as_str().into()))?;
            pattern
                .is_match(value.as_str().ok_or_else(|| EvalError::type_error("expected string or bytes-like object"))?)
        }
    }
}

fn is_sortable(value: &Value<'_>) -> bool {
    matches!(value, Value::List(_) | Value::Dict(_))
}

fn length(value: &Value<'_>) -> Option<i64> {
    let length = match value {
        Value::Str(text) => text.chars().count(),
        Value::List(elements) | Value::Tuple(elements) | Value::Set(elements) => elements.len(),
        Value::Dict(dict) => dict.len(),
        _ => return None,
    };
    i64::try_from(length).ok()
}

/// Stable, and at ease with an order that contradicts itself, which the library's sorts may answer with a panic.
fn merge_sort<'a>(
    mut elements: Vec<Value<'a>>,
    order: &mut impl FnMut(&Value<'a>, &Value<'a>) -> Result<Ordering, EvalError>,
) -> Result<Vec<Value<'a>>, EvalError> {
    if elements.len() < 2 {
        return Ok(elements);
    }
    let right = elements.split_off(elements.len() / 2);
    let mut left = merge_sort(elements, order)?.into_iter().peekable();
    let mut right = merge_sort(right, order)?.into_iter().peekable();
    let mut merged = Vec::new();
    while let (Some(first), Some(second)) = (left.peek(), right.peek()) {
        let next = if order(second, first)? == Ordering::Less { right.next() } else { left.next() };
        merged.extend(next);
    }
    merged.extend(left);
    merged.extend(right);
    Ok(merged)
}

fn below<'a>(parent: &Rc<Datum<'a>>, value: &Value<'a>) -> Rc<Datum<'a>> {
    Rc::new(Datum { value: value.clone(), parent: Some(Rc::clone(parent)), raw: false })
}

fn alone(value: Value<'_>) -> Match<'_> {
    Some(Rc::new(Datum { value, parent: None, raw: false }))
}

fn wrapped<'a>(datum: &Match<'a>) -> Rc<Datum<'a>> {
    match datum {
        Some(datum) if !datum.raw => Rc::clone(datum),
        Some(datum) => Rc::new(Datum { value: datum.value.clone(), parent: None, raw: false }),
        None => Rc::new(Datum { value: Value::Null, parent: None, raw: false }),
    }
}

fn root<'a>(datum: &Match<'a>) -> Rc<Datum<'a>> {
    let mut top = wrapped(datum);
    while let Some(parent) = &top.parent {
        top = Rc::clone(parent);
    }
    top
}

fn value_of<'a>(found: &Match<'a>) -> Result<Value<'a>, EvalError> {
    found.as_ref().map(|datum| datum.value.clone()).ok_or_else(no_value)
}

fn no_value() -> EvalError {
    EvalError::Attribute("object has no attribute 'value'".into())
}

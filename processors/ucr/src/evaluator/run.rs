//! Evaluates a syntax tree.
//!
//! What the original makes null is an [`EvalError::Type`] on its way out: wrong types as well as unknown names and
//! forbidden features.

use std::cell::{Cell, RefCell};
use std::cmp::Ordering;

use super::syntax::{Access, Binary, Comparison, Expression, Function, Piece, Unary};
use super::{attribute, collection, format, percent};
use crate::arithmetic;
use crate::value::{Dict, Text, Value, compare, equal};
use crate::{Context, EvalError};

/// Longer texts and lists are not put together.
pub(super) const MOST_LENGTH: usize = 100_000;

/// The highest count and the highest number of a shift.
const MOST_SHIFT: i64 = 10_000;

pub(super) type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub(super) struct Run<'r, 'c, 'a> {
    pub(super) variables: Option<&'r Dict<'a>>,
    pub(super) item: &'r Value<'a>,
    pub(super) context: &'r Context<'c, 'a>,
    /// The names that comprehensions give, the innermost last.
    pub(super) scopes: RefCell<Vec<Vec<(Text<'static>, Value<'a>)>>>,
    /// Elements that comprehensions have seen.
    pub(super) seen: Cell<usize>,
}

pub(super) fn run<'a>(
    expression: &Expression,
    variables: Option<&Dict<'a>>,
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Evaluated<'a> {
    let run = Run { variables, item, context, scopes: RefCell::default(), seen: Cell::new(0) };
    let result = run.evaluate(expression)?;
    context.limits.weigh(&result)?;
    Ok(result)
}

/// The library's invalid expression.
pub(super) fn invalid(what: &str) -> EvalError {
    EvalError::type_error(what)
}

impl<'a> Run<'_, '_, 'a> {
    pub(super) fn evaluate(&self, expression: &Expression) -> Evaluated<'a> {
        match expression {
            Expression::Constant(value) => Ok(value.clone()),
            Expression::Name(name) => self.name(name),
            Expression::Unavailable => Err(invalid("not available in expressions")),
            expression => self.context.limits.deeper(|| self.evaluate_node(expression)),
        }
    }

    fn evaluate_node(&self, expression: &Expression) -> Evaluated<'a> {
        match expression {
            Expression::Constant(_) | Expression::Name(_) | Expression::Unavailable => self.evaluate(expression),
            Expression::Unary(operator, operand) => self.unary(*operator, operand),
            Expression::Binary(first, others) => self.binary(first, others),
            Expression::Power(base, exponent) => {
                self.evaluate(base)?;
                self.evaluate(exponent)?;
                Err(invalid("powers are not allowed"))
            }
            Expression::And(values) => self.until(values, false),
            Expression::Or(values) => self.until(values, true),
            Expression::Compare(first, others) => self.compare(first, others),
            Expression::Conditional(branches, last) => {
                for (condition, value) in branches {
                    if self.evaluate(condition)?.is_true() {
                        return self.evaluate(value);
                    }
                }
                self.evaluate(last)
            }
            Expression::Access(base, accesses) => self.access(base, accesses),
            Expression::Call(call) => self.call(call),
            Expression::List(elements) => Ok(Value::list(self.elements(elements, true)?)),
            Expression::Tuple(elements) => Ok(Value::Tuple(self.elements(elements, false)?.into())),
            Expression::Set(elements) => collection::set(self.elements(elements, false)?),
            Expression::Dict(entries) => self.dict(entries),
            Expression::Comprehension(comprehension) => self.comprehension(comprehension),
            Expression::Joined(pieces) => self.joined(pieces),
        }
    }

    fn name(&self, name: &Text<'static>) -> Evaluated<'a> {
        let scopes = self.scopes.borrow();
        for scope in scopes.iter().rev() {
            if let Some((_, value)) = scope.iter().find(|(known, _)| known == name) {
                return Ok(value.clone());
            }
        }
        let names = self.variables.or_else(|| self.item.as_dict());
        if let Some(value) = names.and_then(|names| names.get(name)) {
            return Ok(value.clone());
        }
        match Function::named(name) {
            Some((name, _)) => Ok(Value::Function(name)),
            None => Err(invalid("an unknown name")),
        }
    }

    /// All variables, as a value.
    pub(super) fn names(&self) -> Value<'a> {
        match (self.variables, self.item) {
            (Some(variables), _) => Value::dict(variables.clone()),
            (None, Value::Dict(_)) => self.item.clone(),
            (None, _) => Value::dict(Dict::default()),
        }
    }

    fn unary(&self, operator: Unary, operand: &Expression) -> Evaluated<'a> {
        let value = self.evaluate(operand)?;
        match operator {
            Unary::Not => Ok(Value::Bool(!value.is_true())),
            Unary::Minus => arithmetic::negate(&value),
            Unary::Plus => arithmetic::plus(&value),
            Unary::Invert => arithmetic::invert(&value),
        }
    }

    fn binary(&self, first: &Expression, others: &[(Binary, Expression)]) -> Evaluated<'a> {
        // In the tree of the original the last operator is the outermost, and the unknown one is found before its sides.
        if others.iter().any(|(operator, _)| *operator == Binary::Matrix) {
            let at = others.iter().rposition(|(operator, _)| *operator == Binary::Matrix).unwrap_or(0);
            if at + 1 == others.len() {
                return Err(invalid("an unknown operator"));
            }
        }
        let mut left = self.evaluate(first)?;
        for (operator, right) in others {
            if *operator == Binary::Matrix {
                return Err(invalid("an unknown operator"));
            }
            let right = self.evaluate(right)?;
            left = self.operate(*operator, left, right)?;
        }
        Ok(left)
    }

    fn operate(&self, operator: Binary, left: Value<'a>, right: Value<'a>) -> Evaluated<'a> {
        match operator {
            Binary::Add => {
                if let (Some(a), Some(b)) = (length(&left), length(&right)) {
                    if a + b > MOST_LENGTH {
                        return Err(invalid("adding those would make something too long"));
                    }
                    self.context.limits.spend((a + b) / 16)?;
                }
                arithmetic::add(&left, &right)
            }
            Binary::Subtract => arithmetic::subtract(&left, &right),
            Binary::Multiply => {
                for (sequence, count) in [(&left, &right), (&right, &left)] {
                    let (Some(length), Some(count)) = (length(sequence), count.as_index()) else { continue };
                    let count = usize::try_from(count).unwrap_or(0);
                    if length.saturating_mul(count) > MOST_LENGTH {
                        return Err(invalid("a repetition would be too long"));
                    }
                    self.context.limits.spend(length * count / 16)?;
                }
                arithmetic::multiply(&left, &right)
            }
            Binary::Divide => arithmetic::divide(&left, &right),
            Binary::FloorDivide => arithmetic::floor_divide(&left, &right),
            Binary::Remainder => match &left {
                Value::Str(template) => {
                    self.context.limits.weigh(&right)?;
                    percent::format(template, &right).map(Value::text)
                }
                _ => arithmetic::remainder(&left, &right),
            },
            Binary::Matrix => Err(invalid("an unknown operator")),
            Binary::ShiftLeft => {
                check_shift(&left, &right)?;
                arithmetic::shift_left(&left, &right)
            }
            Binary::ShiftRight => {
                check_shift(&left, &right)?;
                arithmetic::shift_right(&left, &right)
            }
            Binary::And => arithmetic::and(&left, &right),
            Binary::Or => arithmetic::or(&left, &right),
            Binary::ExclusiveOr => arithmetic::exclusive_or(&left, &right),
        }
    }

    /// The first value that is as true as wanted, or else the last.
    fn until(&self, values: &[Expression], wanted: bool) -> Evaluated<'a> {
        let mut result = Value::Bool(false);
        for value in values {
            result = self.evaluate(value)?;
            if result.is_true() == wanted {
                break;
            }
        }
        Ok(result)
    }

    fn compare(&self, first: &Expression, others: &[(Comparison, Expression)]) -> Evaluated<'a> {
        let mut left = self.evaluate(first)?;
        for (comparison, right) in others {
            let right = self.evaluate(right)?;
            if !self.holds(*comparison, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn holds(&self, comparison: Comparison, left: &Value<'a>, right: &Value<'a>) -> Result<bool, EvalError> {
        self.context.limits.weigh(left)?;
        self.context.limits.weigh(right)?;
        let order = |holds: fn(Ordering) -> bool| -> Result<bool, EvalError> {
            if let (Value::Set(a), Value::Set(b)) = (left, right) {
                return Ok(collection::set_order(a, b).is_some_and(holds));
            }
            Ok(compare(left, right)?.is_some_and(holds))
        };
        match comparison {
            Comparison::Equal => Ok(equal(left, right)),
            Comparison::NotEqual => Ok(!equal(left, right)),
            Comparison::Less => order(Ordering::is_lt),
            Comparison::LessOrEqual => order(Ordering::is_le),
            Comparison::Greater => order(Ordering::is_gt),
            Comparison::GreaterOrEqual => order(Ordering::is_ge),
            Comparison::In => collection::contains(right, left),
            Comparison::NotIn => collection::contains(right, left).map(|found| !found),
            Comparison::Is => Ok(identical(left, right)),
            Comparison::IsNot => Ok(!identical(left, right)),
        }
    }

    fn access(&self, base: &Expression, accesses: &[Access]) -> Evaluated<'a> {
        // The original looks at a name that is forbidden before it looks for what it belongs to.
        for access in accesses.iter().rev() {
            match access {
                Access::Attribute(name) if attribute::is_forbidden(name) => {
                    return Err(invalid("a forbidden attribute"));
                }
                Access::Attribute(_) => {}
                Access::Index(_) | Access::Slice(_) => break,
            }
        }
        let mut value = self.evaluate(base)?;
        for access in accesses {
            value = match access {
                Access::Attribute(name) => attribute::get(&value, name)?,
                Access::Index(index) => collection::element(&value, &self.evaluate(index)?)?,
                Access::Slice(bounds) => {
                    let mut evaluated = [Value::Null, Value::Null, Value::Null];
                    for (bound, slot) in bounds.iter().zip(&mut evaluated) {
                        if let Some(bound) = bound {
                            *slot = self.evaluate(bound)?;
                        }
                    }
                    collection::slice(&value, &evaluated)?
                }
            };
        }
        Ok(value)
    }

    fn joined(&self, pieces: &[Piece]) -> Evaluated<'a> {
        self.join(pieces).map(Value::text)
    }

    fn join(&self, pieces: &[Piece]) -> Result<String, EvalError> {
        let mut text = String::new();
        for piece in pieces {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Value { value, format } => {
                    let spec = match format {
                        Some(pieces) => Some(self.context.limits.deeper(|| self.join(pieces))?),
                        None => None,
                    };
                    let value = self.evaluate(value)?;
                    let part = match spec {
                        Some(spec) if !spec.is_empty() => format::format_value(&value, &spec)?,
                        _ => self.text(&value)?,
                    };
                    if part.len() > MOST_LENGTH && part.chars().count() > MOST_LENGTH {
                        return Err(invalid("a text would be too long"));
                    }
                    self.context.limits.spend(part.len() / 16)?;
                    text.push_str(&part);
                }
            }
        }
        Ok(text)
    }

    /// Python's `str(value)`, of bounded length.
    pub(super) fn text(&self, value: &Value<'a>) -> Result<String, EvalError> {
        self.context.limits.weigh(value)?;
        Ok(value.to_string())
    }
}

/// What Python's `len()` says.
pub(super) fn length(value: &Value<'_>) -> Option<usize> {
    match value {
        Value::Str(text) => Some(text.chars().count()),
        Value::List(elements) | Value::Tuple(elements) | Value::Set(elements) => Some(elements.len()),
        Value::Dict(dict) => Some(dict.len()),
        _ => None,
    }
}

fn check_shift(left: &Value<'_>, right: &Value<'_>) -> Result<(), EvalError> {
    let too_high = match right {
        Value::Int(count) => count.unsigned_abs() > MOST_SHIFT.unsigned_abs(),
        Value::Big(_) => true,
        _ => false,
    };
    // The highest float has 1024 bits.
    let too_large = matches!(left, Value::Big(number) if number.bits() > 1024);
    if too_high || too_large { Err(invalid("a shift too far")) } else { Ok(()) }
}

fn identical(left: &Value<'_>, right: &Value<'_>) -> bool {
    use std::rc::Rc;
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Int(a), Value::Int(b)) => a == b,
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        (Value::Big(a), Value::Big(b)) => a == b,
        (Value::List(a), Value::List(b)) | (Value::Set(a), Value::Set(b)) => Rc::ptr_eq(a, b),
        (Value::Tuple(a), Value::Tuple(b)) => Rc::ptr_eq(a, b) || (a.is_empty() && b.is_empty()),
        (Value::Dict(a), Value::Dict(b)) => Rc::ptr_eq(a, b),
        (Value::Decimal(a), Value::Decimal(b)) => Rc::ptr_eq(a, b),
        (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b) && equal(a, b),
    }
}

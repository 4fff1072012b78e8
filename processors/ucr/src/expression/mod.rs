//! Expressions: what is computed from an item.

mod basics;
mod compile;
mod lists;
mod lookups;
mod names;
#[cfg(test)]
mod tests;

pub(crate) use compile::rewritten;
pub(crate) use lists::ListOperation;
pub(crate) use lookups::LookUp;

use std::ops::Deref;
use std::rc::Rc;

use lists::{Aggregation, Order};

use crate::coerce::{self, Datatype};
use crate::evaluator::Program;
use crate::filter::Filter;
use crate::jsonpath;
use crate::value::{Dict, Name, Text, Value};
use crate::watch::Part;
use crate::{Context, EvalError, dates};

#[derive(Debug)]
pub(crate) enum Expression {
    Identity,
    Constant(Value<'static>),
    Property {
        name: Name,
        datatype: Option<Datatype>,
    },
    /// A property whose name is computed, or is a literal that is no text.
    ComputedProperty {
        name: Box<Expression>,
        datatype: Option<Datatype>,
    },
    Path {
        path: Box<[Name]>,
        datatype: Option<Datatype>,
    },
    Conditional {
        test: Box<Filter>,
        if_true: Box<Expression>,
        if_false: Box<Expression>,
    },
    /// The cases are sorted by their keys.
    Switch {
        on: Box<Expression>,
        cases: Vec<(Box<str>, Expression)>,
        default: Box<Expression>,
    },
    ArrayIndex {
        array: Box<Expression>,
        index: Box<Expression>,
    },
    SplitString {
        text: Box<Expression>,
        delimiter: Option<Box<str>>,
        index: Option<Box<Expression>>,
    },
    Iterator {
        expressions: Vec<Expression>,
        test: Option<Box<Filter>>,
    },
    Nested {
        argument: Box<Expression>,
        value: Box<Expression>,
    },
    Dict {
        properties: Vec<(Text<'static>, Expression)>,
    },
    RootDocument(Box<Expression>),
    IterationNumber,
    Coalesce {
        expression: Box<Expression>,
        default: Box<Expression>,
    },
    Named(Rc<Expression>),
    Date {
        operation: DateOperation,
        arguments: Box<[Expression]>,
    },
    Now,
    List {
        items: Box<Expression>,
        operation: Box<ListOperation>,
    },
    Evaluator {
        program: Box<Program>,
        variables: Vec<(Text<'static>, Expression)>,
        datatype: Option<Datatype>,
    },
    JsonPath {
        path: Box<jsonpath::Path>,
        datatype: Option<Datatype>,
    },
    LookUp(Box<LookUp>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum DateOperation {
    AddDays,
    AddHours,
    AddMonths,
    MonthStart,
    MonthEnd,
    DiffDays,
    ToEthiopian,
    FromEthiopian,
}

/// What an expression gave.
pub(crate) enum Seen<'v, 'a> {
    There(&'v Value<'a>),
    Made(Value<'a>),
}

impl<'a> Deref for Seen<'_, 'a> {
    type Target = Value<'a>;

    fn deref(&self) -> &Value<'a> {
        match self {
            Self::There(value) => value,
            Self::Made(value) => value,
        }
    }
}

impl Expression {
    pub(crate) fn null() -> Self {
        Self::Constant(Value::Null)
    }

    pub(crate) fn evaluate<'a>(&self, item: &Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
        let _part = context.limits.during(|| Part::Expression(self.type_name()));
        match self {
            Self::Identity => Ok(item.clone()),
            Self::Constant(value) => Ok(value.clone()),
            Self::Property { name, datatype } => {
                context.limits.spend(1)?;
                let value = item.named(name).cloned().unwrap_or_default();
                coerced(value, *datatype, context)
            }
            Self::Path { path, datatype } => {
                context.limits.spend(path.len())?;
                coerced(at_path(item, path).cloned().unwrap_or_default(), *datatype, context)
            }
            nested => context.limits.deeper(|| nested.evaluate_nested(item, context)),
        }
    }

    /// As [`Self::evaluate`], for whoever only looks at the value: one that is there already is not copied.
    pub(crate) fn look<'v, 'a>(
        &'v self,
        item: &'v Value<'a>,
        context: &Context<'v, 'a>,
    ) -> Result<Seen<'v, 'a>, EvalError> {
        let there = match self {
            Self::Identity => Some(item),
            Self::Constant(value) => Some(value),
            Self::Property { name, datatype: None } => {
                context.limits.spend(1)?;
                item.named(name)
            }
            Self::Path { path, datatype: None } => {
                context.limits.spend(path.len())?;
                at_path(item, path)
            }
            other => return other.evaluate(item, context).map(Seen::Made),
        };
        let _part = context.limits.during(|| Part::Expression(self.type_name()));
        Ok(there.map_or(Seen::Made(Value::Null), Seen::There))
    }

    fn evaluate_nested<'a>(&self, item: &Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
        match self {
            Self::ComputedProperty { name, datatype } => basics::computed_property(name, *datatype, item, context),
            Self::Conditional { test, if_true, if_false } => {
                let branch = if test.holds(item, context)? { if_true } else { if_false };
                branch.evaluate(item, context)
            }
            Self::Switch { on, cases, default } => basics::switch(on, cases, default, item, context),
            Self::ArrayIndex { array, index } => {
                let array = array.evaluate(item, context)?;
                let Some(elements) = array.as_list() else { return Ok(Value::Null) };
                let index = index.evaluate(item, context)?;
                Ok(index.as_index().and_then(|index| basics::at(elements, index)).cloned().unwrap_or_default())
            }
            Self::SplitString { text, delimiter, index } => {
                basics::split_string(text, delimiter.as_deref(), index.as_deref(), item, context)
            }
            Self::Iterator { expressions, test } => {
                let mut values = Vec::with_capacity(expressions.len());
                for expression in expressions {
                    let value = expression.evaluate(item, context)?;
                    let kept = match test {
                        Some(test) => test.holds(&value, &context.without_root())?,
                        None => true,
                    };
                    if kept {
                        values.push(value);
                    }
                }
                made(Value::list(values), context)
            }
            Self::Nested { argument, value } => value.evaluate(&argument.evaluate(item, context)?, context),
            Self::Dict { properties } => made(Value::dict(evaluate_all(properties, item, context)?), context),
            Self::RootDocument(expression) => match context.root {
                Some(root) => expression.evaluate(root, context),
                None => Ok(Value::Null),
            },
            Self::IterationNumber => match context.iteration {
                Some(iteration) => Ok(Value::Int(iteration)),
                None => Err(EvalError::Attribute("there is no iteration here".into())),
            },
            Self::Coalesce { expression, default } => {
                let value = expression.evaluate(item, context)?;
                let default = default.evaluate(item, context)?;
                let is_empty = value.is_null() || value.as_str() == Some("");
                Ok(if is_empty { default } else { value })
            }
            Self::Named(expression) => expression.evaluate(item, context),
            Self::Date { operation, arguments } => operation.evaluate(arguments, item, context),
            Self::Now => Ok(Value::DateTime(context.now)),
            Self::List { items, operation } => {
                let items = items.evaluate(item, context)?;
                operation.evaluate(items.as_list().unwrap_or_default(), context)
            }
            Self::Evaluator { program, variables, datatype } => {
                let result = if variables.is_empty() {
                    program.run(None, item, context)?
                } else {
                    program.run(Some(&evaluate_all(variables, item, context)?), item, context)?
                };
                // One that failed is null whatever the datatype, also `array`.
                result.map_or(Ok(Value::Null), |value| coerced(value, *datatype, context))
            }
            Self::JsonPath { path, datatype } => {
                let mut found = path.find_within(item, context.limits)?;
                for value in &mut found {
                    *value = coerced(std::mem::take(value), *datatype, context)?;
                }
                match found.len() {
                    0 | 1 => Ok(found.pop().unwrap_or_default()),
                    _ => made(Value::list(found), context),
                }
            }
            Self::LookUp(look_up) => look_up.evaluate(item, context),
            Self::Identity | Self::Constant(_) | Self::Property { .. } | Self::Path { .. } => {
                self.evaluate(item, context)
            }
        }
    }
}

impl DateOperation {
    fn evaluate<'a>(
        self,
        arguments: &[Expression],
        item: &Value<'a>,
        context: &Context<'_, 'a>,
    ) -> Result<Value<'a>, EvalError> {
        let argument = |index: usize| match arguments.get(index) {
            Some(argument) => argument.evaluate(item, context),
            None => Ok(Value::Null),
        };
        let first = argument(0)?;
        let second = argument(1)?;
        match self {
            Self::ToEthiopian => return Ok(Value::text(dates::to_ethiopian(&first).unwrap_or_default())),
            Self::FromEthiopian => {
                return Ok(dates::from_ethiopian(&first).map_or_else(|| Value::text(""), Value::Date));
            }
            Self::AddHours => {
                let moment = coerce::to_datetime(&first);
                let (Some(moment), Some(count)) = (moment, count(second)?) else { return Ok(Value::Null) };
                return dates::add_hours(moment, count).map(Value::DateTime);
            }
            Self::AddDays | Self::AddMonths | Self::MonthStart | Self::MonthEnd | Self::DiffDays => {}
        }
        let Some(date) = coerce::to_date(&first) else {
            // The count is read all the same, and an infinite one is an error.
            if matches!(self, Self::AddDays | Self::AddMonths) {
                count(second)?;
            }
            return Ok(Value::Null);
        };
        match self {
            Self::MonthStart => dates::month_start(date).map(Value::Date),
            Self::MonthEnd => dates::month_end(date).map(Value::Date),
            Self::DiffDays => {
                Ok(coerce::to_date(&second).map_or(Value::Null, |to| Value::Int(dates::days_between(date, to))))
            }
            _ => match count(second)? {
                None => Ok(Value::Null),
                Some(count) if matches!(self, Self::AddMonths) => dates::add_months(date, count).map(Value::Date),
                Some(count) => dates::add_days(date, count).map(Value::Date),
            },
        }
    }
}

/// Far more than any calendar has, for integers that are too long.
fn count(value: Value<'_>) -> Result<Option<i64>, EvalError> {
    Ok(coerce::to_integer(value)?.as_index())
}

fn at_path<'v, 'a>(item: &'v Value<'a>, path: &[Name]) -> Option<&'v Value<'a>> {
    path.iter().try_fold(item, |item, name| item.named(name))
}

/// A list or object that was put together, unless it is too large.
fn made<'a>(value: Value<'a>, context: &Context<'_, 'a>) -> Result<Value<'a>, EvalError> {
    context.limits.weigh(&value)?;
    Ok(value)
}

fn coerced<'a>(
    value: Value<'a>,
    datatype: Option<Datatype>,
    context: &Context<'_, 'a>,
) -> Result<Value<'a>, EvalError> {
    match datatype {
        None => Ok(value),
        Some(datatype) => coerce::coerce_within(value, datatype, context.limits),
    }
}

fn evaluate_all<'a>(
    properties: &[(Text<'static>, Expression)],
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Result<Dict<'a>, EvalError> {
    let mut entries = Vec::with_capacity(properties.len());
    for (name, expression) in properties {
        entries.push((Value::Str(name.clone()), expression.evaluate(item, context)?));
    }
    Ok(entries.into_iter().collect())
}

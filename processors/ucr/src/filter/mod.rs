//! Filters: what is true of an item.

mod compile;
mod refusal;
#[cfg(test)]
mod tests;

pub use refusal::Refusal;
pub(crate) use refusal::shown;

use std::rc::Rc;

use crate::expression::Expression;
use crate::operator::Operator;
use crate::regex::Pattern;
use crate::value::{Name, Value, equal};
use crate::watch::Part;
use crate::{Context, EvalError};

#[derive(Debug)]
pub(crate) enum Filter {
    Always(bool),
    Compare {
        input: Expression,
        operator: Operator,
        reference: Expression,
    },
    /// The common comparisons, without copies of values.
    PropertyEquals {
        name: Name,
        value: Value<'static>,
    },
    Search {
        input: Expression,
        pattern: Result<Pattern, EvalError>,
    },
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
    Named(Rc<Filter>),
}

impl Filter {
    /// Stands where a problem was noted.
    pub(crate) fn nothing() -> Self {
        Self::Always(false)
    }

    /// The name of its type in configurations; of `property_match` that of what it stands for.
    fn type_name(&self) -> &'static str {
        match self {
            Self::Always(_) | Self::Compare { .. } | Self::PropertyEquals { .. } | Self::Search { .. } => {
                "boolean_expression"
            }
            Self::And(_) => "and",
            Self::Or(_) => "or",
            Self::Not(_) => "not",
            Self::Named(_) => "named",
        }
    }

    pub(crate) fn holds<'a>(&self, item: &Value<'a>, context: &Context<'_, 'a>) -> Result<bool, EvalError> {
        let _part = context.limits.during(|| Part::Filter(self.type_name()));
        match self {
            Self::Always(result) => Ok(*result),
            Self::PropertyEquals { name, value } => {
                context.limits.spend(1)?;
                Ok(equal(item.named(name).unwrap_or(&Value::Null), value))
            }
            Self::Compare { input, operator, reference } => {
                context.limits.deeper(|| compare(input, *operator, reference, item, context))
            }
            Self::Search { input, pattern } => {
                let input = context.limits.deeper(|| input.look(item, context))?;
                context.limits.look_through(&input)?;
                let pattern = pattern.as_ref().map_err(Clone::clone)?;
                input.as_str().map_or(Ok(false), |text| pattern.is_match(text))
            }
            Self::And(filters) => context.limits.deeper(|| {
                for filter in filters {
                    if !filter.holds(item, context)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }),
            Self::Or(filters) => context.limits.deeper(|| {
                for filter in filters {
                    if filter.holds(item, context)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }),
            Self::Not(filter) => context.limits.deeper(|| filter.holds(item, context).map(|result| !result)),
            Self::Named(filter) => context.limits.deeper(|| filter.holds(item, context)),
        }
    }
}

fn compare<'a>(
    input: &Expression,
    operator: Operator,
    reference: &Expression,
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Result<bool, EvalError> {
    let input = input.look(item, context)?;
    context.limits.look_through(&input)?;
    if let Expression::Constant(reference) = reference {
        return operator.holds(&input, reference);
    }
    let reference = reference.look(item, context)?;
    context.limits.look_through(&reference)?;
    operator.holds(&input, &reference)
}

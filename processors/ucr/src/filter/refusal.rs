//! Why a filter says no, for people.

use std::rc::Rc;

use super::Filter;
use crate::value::Value;
use crate::{Context, EvalError};

/// A part of a filter that says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Where in the configuration, such as `configured_filter.filters[1]`.
    pub path: String,
    /// What was found, and what would have been let through.
    pub reason: String,
}

/// Long values are cut.
const SHOWN_CHARACTERS: usize = 200;

impl Filter {
    /// The parts because of which this filter does not hold: one, but for `or`, of which all do not. None when it
    /// holds. `names` are the named filters.
    pub(crate) fn refusals<'a>(
        &self,
        path: &str,
        names: &[(String, Rc<Filter>)],
        item: &Value<'a>,
        context: &Context<'_, 'a>,
    ) -> Result<Vec<Refusal>, EvalError> {
        if self.holds(item, context)? {
            return Ok(Vec::new());
        }
        let because = |reason| Ok(vec![Refusal { path: path.to_owned(), reason }]);
        match self {
            Self::Always(_) => because("never holds".to_owned()),
            Self::PropertyEquals { name, value } => {
                let found = item.named(name).unwrap_or(&Value::Null);
                because(format!("{} is {}, wanted eq {}", &**name, shown(found), shown(value)))
            }
            Self::Compare { input, operator, reference } => {
                let (found, wanted) = (input.evaluate(item, context)?, reference.evaluate(item, context)?);
                because(format!("found {}, wanted {} {}", shown(&found), operator.name(), shown(&wanted)))
            }
            Self::Search { input, .. } => {
                let found = input.evaluate(item, context)?;
                because(format!("found {}, wanted a match of the regex", shown(&found)))
            }
            Self::And(filters) | Self::Or(filters) => {
                let is_and = matches!(self, Self::And(_));
                let mut refusals = Vec::new();
                for (index, filter) in filters.iter().enumerate() {
                    refusals.extend(filter.refusals(&format!("{path}.filters[{index}]"), names, item, context)?);
                    // What stands behind it was not asked.
                    if is_and && !refusals.is_empty() {
                        break;
                    }
                }
                Ok(refusals)
            }
            Self::Not(_) => because("its filter holds".to_owned()),
            Self::Named(filter) => {
                let name = names.iter().find(|(_, known)| Rc::ptr_eq(known, filter)).map_or("", |(name, _)| name);
                filter.refusals(&format!("{path} = named_filters.{name}"), names, item, context)
            }
        }
    }
}

/// Texts in quotation marks, as in a configuration.
pub(crate) fn shown(value: &Value<'_>) -> String {
    let text = match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Str(text) => format!("{text:?}"),
        Value::Date(_) | Value::DateTime(_) | Value::Time(_) => format!("the {} {value}", value.type_name()),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN_CHARACTERS) {
        Some((at, _)) => format!("{}…", text.split_at(at).0),
        None => text,
    }
}

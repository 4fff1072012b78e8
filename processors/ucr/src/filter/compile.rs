//! Reads filters.

use super::Filter;
use crate::compiler::{Compiler, described, unknown};
use crate::constants;
use crate::expression::Expression;
use crate::operator::{Operator, compiled};
use crate::value::{Dict, Name, Value};

const TYPES: [&str; 6] = ["and", "boolean_expression", "named", "not", "or", "property_match"];

impl Compiler<'_> {
    pub(crate) fn filter(&mut self, spec: &Value<'_>) -> Filter {
        self.deeper(|compiler| compiler.typed_filter(spec)).unwrap_or_else(Filter::nothing)
    }

    fn typed_filter(&mut self, spec: &Value<'_>) -> Filter {
        let Some(spec) = spec.as_dict() else {
            self.problem(format!("must be a filter, as an object, not {}", described(spec)));
            return Filter::nothing();
        };
        match spec.get("type") {
            Some(Value::Str(name)) => match &**name {
                "boolean_expression" => self.boolean_expression(spec),
                "property_match" => self.property_match(spec),
                "and" => Filter::And(self.filters(spec)),
                "or" => Filter::Or(self.filters(spec)),
                "not" => {
                    self.only_keys(spec, &["filter"]);
                    Filter::Not(Box::new(self.required_filter(spec, "filter")))
                }
                "named" => {
                    self.only_keys(spec, &["name"]);
                    self.named_filter(spec)
                }
                other => {
                    self.problem_at("type", unknown("filter type", other, TYPES.iter().copied()));
                    Filter::nothing()
                }
            },
            found => {
                let found = found.map_or_else(|| "is missing".to_owned(), |found| format!("is {}", described(found)));
                self.problem_at("type", format!("{found}; a filter has one of the types {}", TYPES.join(", ")));
                Filter::nothing()
            }
        }
    }

    fn boolean_expression(&mut self, spec: &Dict<'_>) -> Filter {
        self.only_keys(spec, &["expression", "operator", "property_value"]);
        let input = self.any(spec, "expression");
        let name = self.text(spec, "operator");
        let operator = Operator::from_name(&name);
        if operator.is_none() && spec.get("operator").is_some_and(|operator| operator.as_str().is_some()) {
            self.problem_at("operator", unknown("operator", &name, Operator::names()));
        }
        let reference = match spec.get("property_value") {
            None => {
                self.problem_at("property_value", "is required: an expression or a literal; null is one");
                Expression::null()
            }
            Some(value) => self.at_key("property_value", |compiler| compiler.expression(value)),
        };
        match (input, operator.unwrap_or(Operator::Equal), reference) {
            (Expression::Property { name, datatype: None }, Operator::Equal, Expression::Constant(value)) => {
                Filter::PropertyEquals { name, value }
            }
            (input, Operator::Regex, Expression::Constant(Value::Str(pattern))) => {
                Filter::Search { input, pattern: compiled(&pattern) }
            }
            (input, operator, reference) => Filter::Compare { input, operator, reference },
        }
    }

    fn property_match(&mut self, spec: &Dict<'_>) -> Filter {
        self.only_keys(spec, &["property_name", "property_path", "property_value"]);
        let input = self.property_of(spec);
        match spec.get("property_value") {
            None => {
                self.problem_at("property_value", "is required: a literal; null is one");
                Filter::nothing()
            }
            Some(value) => {
                let reference = Expression::Constant(constants::convert(value));
                Filter::Compare { input, operator: Operator::Equal, reference }
            }
        }
    }

    /// The property that exactly one of `property_name` and `property_path` names, as it is in the document.
    pub(crate) fn property_of(&mut self, spec: &Dict<'_>) -> Expression {
        let given = |key| spec.get(key).filter(|value| value.is_true());
        match (given("property_name"), given("property_path")) {
            (Some(Value::Str(name)), None) => Expression::Property { name: Name::from(&**name), datatype: None },
            (Some(other), None) => {
                self.problem_at("property_name", format!("must be a text, not {}", described(other)));
                Expression::null()
            }
            (None, Some(_)) => {
                // Its elements are constants: what is no text, or becomes a date, names nothing.
                let elements = self.optional_list(spec, "property_path");
                let name = |element: &Value<'_>| constants::convert(element).as_str().map(Name::from);
                match elements.iter().map(name).collect() {
                    Some(path) => Expression::Path { path, datatype: None },
                    None => Expression::null(),
                }
            }
            (found, _) => {
                let found = if found.is_some() { "both are given" } else { "neither is given" };
                self.problem(format!("needs exactly one of property_name and property_path; {found}"));
                Expression::null()
            }
        }
    }

    fn filters(&mut self, spec: &Dict<'_>) -> Vec<Filter> {
        match spec.get("filters") {
            Some(Value::List(filters)) if !filters.is_empty() => self.at_key("filters", |compiler| {
                let each = |(index, filter)| compiler.at_index(index, |compiler| compiler.filter(filter));
                filters.iter().enumerate().map(each).collect()
            }),
            _ => {
                self.problem_at("filters", "is required: a list of filters with at least one element");
                Vec::new()
            }
        }
    }

    fn named_filter(&mut self, spec: &Dict<'_>) -> Filter {
        let name = self.text(spec, "name");
        let Some(filters) = self.filters else {
            self.problem_at("name", "named filters cannot be used within named expressions and filters");
            return Filter::nothing();
        };
        if let Some((_, filter)) = filters.iter().find(|(known, _)| *known == name) {
            return Filter::Named(filter.clone());
        }
        let known = filters.iter().map(|(name, _)| name.as_str());
        self.problem_at("name", unknown("named filter", &name, known));
        Filter::nothing()
    }
}

//! Reads expressions.

use super::{Aggregation, DateOperation, Expression, ListOperation, LookUp, Order};
use crate::QueryKind;
use crate::coerce::Datatype;
use crate::compiler::{Compiler, described, unknown};
use crate::constants;
use crate::evaluator::Program;
use crate::filter::Filter;
use crate::jsonpath;
use crate::operator::Operator;
use crate::value::{Dict, Name, Text, Value};

const TYPES: [&str; 40] = [
    "add_days",
    "add_hours",
    "add_months",
    "ancestor_location",
    "array_index",
    "base_iteration_number",
    "coalesce",
    "conditional",
    "constant",
    "dict",
    "diff_days",
    "ethiopian_date_to_gregorian_date",
    "evaluator",
    "filter_items",
    "flatten",
    "get_case_forms",
    "get_case_sharing_groups",
    "get_reporting_groups",
    "get_subcases",
    "gregorian_date_to_ethiopian_date",
    "identity",
    "indexed_case",
    "iterator",
    "jsonpath",
    "location_parent_id",
    "location_type_name",
    "map_items",
    "month_end_date",
    "month_start_date",
    "named",
    "nested",
    "property_name",
    "property_path",
    "reduce_items",
    "related_doc",
    "root_doc",
    "sort_items",
    "split_string",
    "switch",
    "utcnow",
];

/// The types of documents that can be looked up: those of the original's document database, and three more.
const DOCUMENT_TYPES: [&str; 48] = [
    "Application",
    "CallCenterIndicatorConfig",
    "CaseExportDataSchema",
    "CaseExportInstance",
    "CaseRepeater",
    "CommCareAudio",
    "CommCareBuild",
    "CommCareBuildConfig",
    "CommCareCase",
    "CommCareImage",
    "CommCareMultimedia",
    "CommCareUser",
    "CommCareVideo",
    "CommtrackConfig",
    "CouchUser",
    "DataSourceConfiguration",
    "DefaultConsumption",
    "Domain",
    "DomainInvitation",
    "FixtureDataItem",
    "FixtureDataType",
    "FixtureOwnership",
    "FormExportDataSchema",
    "FormExportInstance",
    "FormQuestionSchema",
    "FormRepeater",
    "Group",
    "HqDeploy",
    "Invitation",
    "LinkedApplication",
    "Location",
    "MobileAuthKeyRecord",
    "Organization",
    "Product",
    "Program",
    "RegistryDataSourceConfiguration",
    "RemoteApp",
    "RepeatRecord",
    "ReportConfig",
    "ReportConfiguration",
    "ReportNotification",
    "SQLUserData",
    "SavedBasicExport",
    "ShortFormRepeater",
    "Toggle",
    "UserRole",
    "WebUser",
    "XFormInstance",
];

impl Compiler<'_> {
    /// An expression, or a literal: everything that is no object.
    pub(crate) fn expression(&mut self, spec: &Value<'_>) -> Expression {
        let Some(spec) = spec.as_dict() else { return Expression::Constant(constants::convert(spec)) };
        match spec.get("type") {
            Some(Value::Str(name)) => {
                self.deeper(|compiler| compiler.typed_expression(name, spec)).unwrap_or_else(Expression::null)
            }
            found => {
                let found = found.map_or_else(|| "is missing".to_owned(), |found| format!("is {}", described(found)));
                self.problem_at("type", format!("{found}; an expression has a type, such as \"property_name\""));
                Expression::null()
            }
        }
    }

    fn typed_expression(&mut self, name: &str, spec: &Dict<'_>) -> Expression {
        match name {
            "identity" => Expression::Identity,
            "constant" => self.constant(spec),
            "property_name" => self.property_name(spec),
            "property_path" => Expression::Path {
                path: self.texts(spec, "property_path").into_iter().map(Name::from).collect(),
                datatype: self.optional_datatype(spec),
            },
            "conditional" => Expression::Conditional {
                test: Box::new(self.required_filter(spec, "test")),
                if_true: Box::new(rewritten(self.any(spec, "expression_if_true"))),
                if_false: Box::new(rewritten(self.any(spec, "expression_if_false"))),
            },
            "switch" => self.switch(spec),
            "array_index" => Expression::ArrayIndex {
                array: Box::new(self.object(spec, "array_expression")),
                index: Box::new(self.any(spec, "index_expression")),
            },
            "split_string" => Expression::SplitString {
                text: Box::new(self.object(spec, "string_expression")),
                delimiter: self.optional_text(spec, "delimiter").map(String::into_boxed_str),
                index: self.optional_any(spec, "index_expression").map(Box::new),
            },
            "iterator" => self.iterator(spec),
            "nested" => Expression::Nested {
                argument: Box::new(self.object(spec, "argument_expression")),
                value: Box::new(self.object(spec, "value_expression")),
            },
            "dict" => self.dict_expression(spec),
            "root_doc" => Expression::RootDocument(Box::new(self.object(spec, "expression"))),
            "base_iteration_number" => Expression::IterationNumber,
            "coalesce" => Expression::Coalesce {
                expression: Box::new(self.object(spec, "expression")),
                default: Box::new(self.object(spec, "default_expression")),
            },
            "named" => self.named_expression(spec),
            "utcnow" => Expression::Now,
            "evaluator" => self.evaluator(spec),
            "jsonpath" => self.jsonpath(spec),
            _ => self.other_expression(name, spec),
        }
    }

    /// Dates, lists and look-ups.
    fn other_expression(&mut self, name: &str, spec: &Dict<'_>) -> Expression {
        match name {
            "add_days" => self.dates(spec, DateOperation::AddDays, &["date_expression", "count_expression"]),
            "add_hours" => self.dates(spec, DateOperation::AddHours, &["date_expression", "count_expression"]),
            "add_months" => self.dates(spec, DateOperation::AddMonths, &["date_expression", "months_expression"]),
            "month_start_date" => self.dates(spec, DateOperation::MonthStart, &["date_expression"]),
            "month_end_date" => self.dates(spec, DateOperation::MonthEnd, &["date_expression"]),
            "diff_days" => self.dates(spec, DateOperation::DiffDays, &["from_date_expression", "to_date_expression"]),
            "gregorian_date_to_ethiopian_date" => self.dates(spec, DateOperation::ToEthiopian, &["date_expression"]),
            "ethiopian_date_to_gregorian_date" => self.dates(spec, DateOperation::FromEthiopian, &["date_expression"]),
            "filter_items" => {
                self.list(spec, |compiler| ListOperation::Filter(compiler.required_filter(spec, "filter_expression")))
            }
            "map_items" => self.list(spec, |compiler| ListOperation::Map(compiler.any(spec, "map_expression"))),
            "reduce_items" => self.list(spec, |compiler| ListOperation::Reduce(compiler.aggregation(spec))),
            "flatten" => self.list(spec, |_| ListOperation::Flatten),
            "sort_items" => self.list(spec, |compiler| {
                let key = compiler.object(spec, "sort_expression");
                ListOperation::Sort { key, order: compiler.order(spec) }
            }),
            "related_doc" => self.related_document(spec),
            "indexed_case" => self.indexed_case(spec),
            "get_case_forms" => {
                let case = self.any(spec, "case_id_expression");
                let xmlns = self.optional_list(spec, "xmlns").iter().cloned().map(Value::into_owned).collect();
                self.look_up(LookUp::CaseForms { case, xmlns })
            }
            "get_subcases" => {
                let case = self.any(spec, "case_id_expression");
                self.look_up(LookUp::Subcases { case })
            }
            "get_case_sharing_groups" => {
                let user = self.object(spec, "user_id_expression");
                self.look_up(LookUp::CaseSharingGroups { user })
            }
            "get_reporting_groups" => {
                let user = self.object(spec, "user_id_expression");
                self.look_up(LookUp::ReportingGroups { user })
            }
            "location_type_name" => {
                let location = self.object(spec, "location_id_expression");
                self.look_up(LookUp::LocationType { location })
            }
            "location_parent_id" => {
                let id = self.object(spec, "location_id_expression");
                self.look_up(related("Location", id, property("parent_location_id")))
            }
            "ancestor_location" => {
                let location = self.any(spec, "location_id");
                let location_type = self.any(spec, "location_type");
                let property = self.optional_text(spec, "location_property").filter(|property| !property.is_empty());
                self.look_up(LookUp::AncestorLocation { location, location_type, property })
            }
            other => {
                self.problem_at("type", unknown("expression type", other, TYPES.iter().copied()));
                Expression::null()
            }
        }
    }

    fn constant(&mut self, spec: &Dict<'_>) -> Expression {
        match spec.get("constant") {
            Some(value) => Expression::Constant(constants::convert(value)),
            None => {
                self.problem_at("constant", "is required: a literal; null is one");
                Expression::null()
            }
        }
    }

    fn property_name(&mut self, spec: &Dict<'_>) -> Expression {
        let name = self.any(spec, "property_name");
        let datatype = self.optional_datatype(spec);
        match name {
            Expression::Constant(Value::Str(name)) => Expression::Property { name: (*name).into(), datatype },
            name => Expression::ComputedProperty { name: Box::new(name), datatype },
        }
    }

    fn switch(&mut self, spec: &Dict<'_>) -> Expression {
        let on = Box::new(rewritten(self.any(spec, "switch_on")));
        let mut cases = Vec::new();
        match spec.get("cases") {
            Some(Value::Dict(dict)) => self.at_key("cases", |compiler| {
                for (key, case) in dict.iter() {
                    let key = key.as_str().unwrap_or_default();
                    let case = compiler.at_key(key, |compiler| compiler.expression(case));
                    cases.push((key.into(), rewritten(case)));
                }
            }),
            found => {
                let found = found.map_or_else(|| "is missing".to_owned(), |found| format!("is {}", described(found)));
                self.problem_at("cases", format!("{found}; it must be an object from values to expressions"));
            }
        }
        cases.sort_by(|a: &(Box<str>, _), b| a.0.cmp(&b.0));
        Expression::Switch { on, cases, default: Box::new(rewritten(self.any(spec, "default"))) }
    }

    fn iterator(&mut self, spec: &Dict<'_>) -> Expression {
        let specs = self.optional_list(spec, "expressions");
        if specs.is_empty() && !matches!(spec.get("expressions"), Some(Value::Dict(_) | Value::Str(_))) {
            self.problem_at("expressions", "is required: a list of expressions with at least one element");
        }
        let expressions = self.at_key("expressions", |compiler| {
            let each = |(index, spec)| compiler.at_index(index, |compiler| compiler.expression(spec));
            specs.iter().enumerate().map(each).collect()
        });
        let test = self.optional_dict(spec, "test").filter(|test| !test.is_empty());
        let test = test.map(|_| Box::new(self.required_filter(spec, "test")));
        Expression::Iterator { expressions, test }
    }

    fn dict_expression(&mut self, spec: &Dict<'_>) -> Expression {
        let properties = self.named_parts(spec, "properties");
        if properties.is_empty() {
            self.problem_at("properties", "is required: an object of expressions with at least one entry");
        }
        Expression::Dict { properties }
    }

    fn named_parts(&mut self, spec: &Dict<'_>, key: &str) -> Vec<(Text<'static>, Expression)> {
        let Some(parts) = self.optional_dict(spec, key) else { return Vec::new() };
        let mut expressions = Vec::with_capacity(parts.len());
        self.at_key(key, |compiler| {
            for (name, part) in parts.iter() {
                let name = name.as_str().unwrap_or_default().to_owned();
                let expression = compiler.at_key(&name, |compiler| compiler.expression(part));
                expressions.push((Text::from(name), rewritten(expression)));
            }
        });
        expressions
    }

    fn named_expression(&mut self, spec: &Dict<'_>) -> Expression {
        let name = self.text(spec, "name");
        let known = self.expressions.unwrap_or_default();
        if let Some((_, expression)) = known.iter().find(|(candidate, _)| *candidate == name) {
            return Expression::Named(expression.clone());
        }
        if let Some(number) = self.coming.and_then(|coming| coming.get(name.as_str())) {
            self.needs("name", *number);
            return Expression::null();
        }
        self.problem_at("name", unknown("named expression", &name, known.iter().map(|(name, _)| name.as_str())));
        Expression::null()
    }

    fn evaluator(&mut self, spec: &Dict<'_>) -> Expression {
        let statement = self.text(spec, "statement");
        if spec.get("context_variables").is_some_and(Value::is_null) {
            self.problem_at("context_variables", "is null; it must be an object from names to expressions");
        }
        let variables = self.named_parts(spec, "context_variables");
        // A list or object written into the configuration is of a type of its own there, which variables must not be.
        let program = if variables.iter().any(|(_, variable)| is_written_list_or_dict(variable)) {
            Program::null()
        } else {
            Program::compile(&statement)
        };
        Expression::Evaluator { program: Box::new(program), variables, datatype: self.optional_datatype(spec) }
    }

    fn jsonpath(&mut self, spec: &Dict<'_>) -> Expression {
        let text = self.text(spec, "jsonpath");
        let datatype = self.optional_datatype(spec);
        match jsonpath::Path::compile(&text) {
            Ok(path) => Expression::JsonPath { path: Box::new(path), datatype },
            Err(problem) => {
                self.problem_at("jsonpath", problem);
                Expression::null()
            }
        }
    }

    fn dates(&mut self, spec: &Dict<'_>, operation: DateOperation, keys: &[&str]) -> Expression {
        Expression::Date { operation, arguments: keys.iter().map(|key| rewritten(self.any(spec, key))).collect() }
    }

    fn list(&mut self, spec: &Dict<'_>, operation: impl FnOnce(&mut Self) -> ListOperation) -> Expression {
        let items = Box::new(self.any(spec, "items_expression"));
        Expression::List { items, operation: Box::new(operation(self)) }
    }

    fn aggregation(&mut self, spec: &Dict<'_>) -> Aggregation {
        let name = self.text(spec, "aggregation_fn");
        let names = Aggregation::NAMES;
        let found = names.iter().find(|(known, _)| *known == name);
        if found.is_none() && spec.get("aggregation_fn").is_some_and(|name| name.as_str().is_some()) {
            self.problem_at("aggregation_fn", unknown("aggregation", &name, names.iter().map(|(name, _)| *name)));
        }
        found.map_or(Aggregation::Count, |(_, aggregation)| *aggregation)
    }

    fn order(&mut self, spec: &Dict<'_>) -> Order {
        match spec.get("order") {
            None | Some(Value::Null) => Order::Ascending,
            Some(Value::Str(order)) if **order == *"ASC" => Order::Ascending,
            Some(Value::Str(order)) if **order == *"DESC" => Order::Descending,
            Some(other) => {
                self.problem_at("order", format!("must be \"ASC\" or \"DESC\", not {}", described(other)));
                Order::Ascending
            }
        }
    }

    fn related_document(&mut self, spec: &Dict<'_>) -> Expression {
        let doc_type = self.text(spec, "related_doc_type");
        if spec.get("related_doc_type").is_some_and(|name| name.as_str().is_some())
            && !DOCUMENT_TYPES.contains(&doc_type.as_str())
        {
            self.problem_at(
                "related_doc_type",
                unknown("type of documents", &doc_type, DOCUMENT_TYPES.iter().copied()),
            );
        }
        let id = self.object(spec, "doc_id_expression");
        let value = self.object(spec, "value_expression");
        self.look_up(LookUp::RelatedDocument { kind: QueryKind::Document { doc_type }, id, value })
    }

    fn look_up(&mut self, look_up: LookUp) -> Expression {
        self.look_ups.insert(look_up.kind());
        Expression::LookUp(Box::new(look_up))
    }

    /// The same as a related case, whose id is found among the indices of a case.
    fn indexed_case(&mut self, spec: &Dict<'_>) -> Expression {
        let case = self.object(spec, "case_expression");
        let index = self.optional_text(spec, "index").filter(|index| !index.is_empty());
        let is_index = Filter::Compare {
            input: property("identifier"),
            operator: Operator::Equal,
            reference: Expression::Constant(constants::convert(&Value::text(index.as_deref().unwrap_or("parent")))),
        };
        let matching = Expression::List {
            items: Box::new(Expression::Property { name: "indices".into(), datatype: Some(Datatype::Array) }),
            operation: Box::new(ListOperation::Filter(is_index)),
        };
        let first =
            Expression::ArrayIndex { array: Box::new(matching), index: Box::new(Expression::Constant(Value::Int(0))) };
        let id = Expression::Nested { argument: Box::new(first), value: Box::new(property("referenced_id")) };
        let id = Expression::Nested { argument: Box::new(case), value: Box::new(id) };
        self.look_up(related("CommCareCase", id, Expression::Identity))
    }
}

fn is_written_list_or_dict(expression: &Expression) -> bool {
    match expression {
        Expression::Constant(value) => matches!(value, Value::List(_) | Value::Dict(_)),
        Expression::Named(named) => is_written_list_or_dict(named),
        _ => false,
    }
}

/// A literal date within a specification that converts its parts: the original writes it as text again and converts that
/// a second time, and years before 1000 are written without zeros in front, so that they stay texts.
pub(crate) fn rewritten(literal: Expression) -> Expression {
    match literal {
        Expression::Constant(Value::Date(date)) if date.year() < 1000 => {
            let text = format!("{}-{:02}-{:02}", date.year(), date.month(), date.day());
            Expression::Constant(Value::text(text))
        }
        other => other,
    }
}

fn related(doc_type: &str, id: Expression, value: Expression) -> LookUp {
    LookUp::RelatedDocument { kind: QueryKind::Document { doc_type: doc_type.to_owned() }, id, value }
}

fn property(name: &str) -> Expression {
    Expression::Property { name: name.into(), datatype: None }
}

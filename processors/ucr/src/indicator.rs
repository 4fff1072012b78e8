//! Indicators: the columns of a data source, and what stands in them.

use jiff::ToSpan as _;

use crate::coerce::{self, Datatype};
use crate::compiler::{Compiler, described, unknown};
use crate::expression::{Expression, rewritten};
use crate::filter::Filter;
use crate::names;
use crate::operator;
use crate::transform::{Transform, whole_days};
use crate::value::{Dict, Value, equal};
use crate::{Context, EvalError, LookUpKind, QueryKind};

/// A column of a data source's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    pub id: String,
    /// Its name in the database.
    pub name: String,
    pub display_name: String,
    pub datatype: Datatype,
    pub is_nullable: bool,
    pub is_primary_key: bool,
    pub create_index: bool,
}

/// What fills one or more columns, which stand in this order.
#[derive(Debug)]
pub(crate) struct Indicator {
    pub(crate) kind: Kind,
    pub(crate) columns: Vec<Column>,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Expression { expression: Expression, transform: Transform, datatype: Datatype },
    Boolean(Filter),
    Count,
    Choices { property: Expression, choices: Vec<Expression>, style: Style },
    Ledger { section: String, codes: Vec<String>, case: Expression, content: LedgerContent },
    InsertedAt,
    Iteration,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Style {
    Single,
    Multiple,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum LedgerContent {
    Balance,
    Date,
}

const TYPES: [&str; 10] = [
    "boolean",
    "choice_list",
    "count",
    "due_list_date",
    "expression",
    "inserted_at",
    "ledger_balances",
    "raw",
    "repeat_iteration",
    "small_boolean",
];

/// Columns of one choice list or ledger.
const MOST_COLUMNS: usize = 2_000;

impl Compiler<'_> {
    pub(crate) fn indicator(&mut self, spec: &Value<'_>) -> Option<Indicator> {
        let Some(spec) = spec.as_dict() else {
            self.problem(format!("must be an indicator, as an object, not {}", described(spec)));
            return None;
        };
        let Some(name) = spec.get("type").and_then(Value::as_str) else {
            self.problem_at("type", format!("is required: one of {}", TYPES.join(", ")));
            return None;
        };
        // The original reads nothing else of these.
        match name {
            "inserted_at" => return Some(Indicator::inserted_at()),
            "repeat_iteration" => return Some(Indicator::iteration()),
            _ => {}
        }
        let common = ["column_id", "display_name"];
        let own: &[&str] = match name {
            "expression" => &["expression", "datatype", "transform", "is_nullable", "is_primary_key", "create_index"],
            "raw" => &["property_name", "property_path", "datatype", "is_nullable", "is_primary_key", "create_index"],
            "boolean" | "small_boolean" => &["filter"],
            "choice_list" => &["property_name", "property_path", "choices", "select_style"],
            "ledger_balances" | "due_list_date" => &["product_codes", "ledger_section", "case_id_expression"],
            "count" => &[],
            other => {
                self.problem_at("type", unknown("indicator type", other, TYPES.iter().copied()));
                return None;
            }
        };
        self.only_keys(spec, &[&common, own].concat());
        let id = self.text(spec, "column_id");
        if id.is_empty() && spec.get("column_id").is_some_and(|id| id.as_str().is_some()) {
            self.problem_at("column_id", "must not be empty");
        }
        let display_name = self.optional_text(spec, "display_name").unwrap_or_else(|| id.clone());
        let column = Column::plain(id, display_name);
        Some(match name {
            "expression" => {
                let expression = rewritten(self.any(spec, "expression"));
                let transform = self.transform(spec);
                let column = self.flags(spec, column);
                Indicator::one(Kind::Expression { expression, transform, datatype: column.datatype }, column)
            }
            "raw" => {
                let expression = self.property_of(spec);
                let column = self.flags(spec, column);
                let transform = Transform::Nothing;
                Indicator::one(Kind::Expression { expression, transform, datatype: column.datatype }, column)
            }
            "boolean" => Indicator::one(Kind::Boolean(self.required_filter(spec, "filter")), column),
            "small_boolean" => {
                let column = Column { datatype: Datatype::SmallInteger, ..column };
                Indicator::one(Kind::Boolean(self.required_filter(spec, "filter")), column)
            }
            "choice_list" => self.choice_list(spec, &column),
            "ledger_balances" => self.ledger(spec, &column, LedgerContent::Balance),
            "due_list_date" => self.ledger(spec, &column, LedgerContent::Date),
            _ => Indicator::one(Kind::Count, column),
        })
    }

    fn flags(&mut self, spec: &Dict<'_>, column: Column) -> Column {
        Column {
            datatype: self.datatype(spec).unwrap_or(Datatype::String),
            is_nullable: self.optional_flag(spec, "is_nullable", true),
            is_primary_key: self.optional_flag(spec, "is_primary_key", false),
            create_index: self.optional_flag(spec, "create_index", false),
            ..column
        }
    }

    fn choice_list(&mut self, spec: &Dict<'_>, column: &Column) -> Indicator {
        self.not_null(spec, "choices", "a list");
        let specs = self.optional_list(spec, "choices");
        // Without choices the original does not look for the property.
        let property = if specs.is_empty() {
            self.optional_text(spec, "property_name");
            self.optional_list(spec, "property_path");
            Expression::null()
        } else {
            self.property_of(spec)
        };
        if specs.len() > MOST_COLUMNS {
            self.problem_at("choices", format!("has more than {MOST_COLUMNS} elements"));
        }
        let style = match spec.get("select_style") {
            None | Some(Value::Null) => Style::Single,
            Some(Value::Str(style)) if **style == *"single" => Style::Single,
            Some(Value::Str(style)) if **style == *"multiple" => Style::Multiple,
            Some(other) => {
                let found = described(other);
                self.problem_at("select_style", format!("must be \"single\" or \"multiple\", not {found}"));
                Style::Single
            }
        };
        let choices = self.at_key("choices", |compiler| {
            let each = |(index, choice)| compiler.at_index(index, |compiler| compiler.expression(choice));
            specs.iter().take(MOST_COLUMNS).enumerate().map(each).collect()
        });
        let columns = specs.iter().take(MOST_COLUMNS).map(|choice| column.part(&choice.to_string())).collect();
        Indicator { kind: Kind::Choices { property, choices, style }, columns }
    }

    fn ledger(&mut self, spec: &Dict<'_>, column: &Column, content: LedgerContent) -> Indicator {
        let specs = self.optional_list(spec, "product_codes");
        if specs.is_empty() {
            self.problem_at("product_codes", "is required: a list with at least one product code");
        }
        let codes: Vec<String> = specs.iter().take(MOST_COLUMNS).map(ToString::to_string).collect();
        let section = self.text(spec, "ledger_section");
        let case = self.object(spec, "case_id_expression");
        let datatype = match content {
            LedgerContent::Balance => Datatype::Integer,
            LedgerContent::Date => Datatype::Date,
        };
        self.look_ups.extend([LookUpKind::Ledgers, LookUpKind::Products]);
        let columns = codes.iter().map(|code| Column { datatype, ..column.part(code) }).collect();
        Indicator { kind: Kind::Ledger { section, codes, case, content }, columns }
    }
}

impl Column {
    fn plain(id: String, display_name: String) -> Self {
        Self {
            name: names::column_name(&id),
            id,
            display_name,
            datatype: Datatype::Integer,
            is_nullable: true,
            is_primary_key: false,
            create_index: false,
        }
    }

    /// One of the columns of an indicator with several.
    fn part(&self, part: &str) -> Self {
        Self::plain(format!("{}_{part}", self.id), format!("{} ({part})", self.display_name))
    }
}

impl Indicator {
    fn one(kind: Kind, column: Column) -> Self {
        Self { kind, columns: vec![column] }
    }

    /// The id of the document that changed.
    pub(crate) fn document_id() -> Self {
        let expression =
            Expression::RootDocument(Box::new(Expression::Property { name: "_id".into(), datatype: None }));
        let kind = Kind::Expression { expression, transform: Transform::Nothing, datatype: Datatype::String };
        let column = Column::plain("doc_id".to_owned(), "document id".to_owned());
        Self::one(kind, Column { datatype: Datatype::String, is_nullable: false, is_primary_key: true, ..column })
    }

    /// The domain of the document, in data sources over several domains.
    pub(crate) fn project() -> Self {
        let domain = Expression::Property { name: "domain".into(), datatype: None };
        let expression = Expression::RootDocument(Box::new(domain));
        let kind = Kind::Expression { expression, transform: Transform::Nothing, datatype: Datatype::String };
        let column = Column::plain("commcare_project".to_owned(), "CommCare Project".to_owned());
        Self::one(kind, Column { datatype: Datatype::String, is_nullable: false, create_index: true, ..column })
    }

    pub(crate) fn inserted_at() -> Self {
        let column = Column::plain("inserted_at".to_owned(), "inserted at".to_owned());
        Self::one(Kind::InsertedAt, Column { datatype: Datatype::DateTime, is_nullable: false, ..column })
    }

    pub(crate) fn iteration() -> Self {
        let column = Column::plain("repeat_iteration".to_owned(), "base document iteration".to_owned());
        Self::one(Kind::Iteration, Column { is_nullable: false, is_primary_key: true, ..column })
    }

    /// Adds the values of its columns to a row.
    pub(crate) fn fill<'a>(
        &self,
        item: &Value<'a>,
        context: &Context<'_, 'a>,
        row: &mut Vec<Value<'a>>,
    ) -> Result<(), EvalError> {
        match &self.kind {
            Kind::Expression { expression, transform, datatype } => {
                let value = transform.apply(expression.evaluate(item, context)?, context)?;
                row.push(coerce::coerce_within(value, *datatype, context.limits)?);
            }
            Kind::Boolean(filter) => row.push(Value::Int(i64::from(filter.holds(item, context)?))),
            Kind::Count => row.push(Value::Int(1)),
            Kind::Choices { property, choices, style } => {
                let value = property.look(item, context)?;
                // Each choice is looked for in all of the text.
                let length = value.as_str().map_or(0, str::len);
                context.limits.spend(choices.len().saturating_mul(1 + length / 64))?;
                for choice in choices {
                    let choice = choice.look(item, context)?;
                    let chosen = match style {
                        Style::Single => equal(&value, &choice),
                        Style::Multiple => operator::in_multi(&value, &choice)?,
                    };
                    row.push(Value::Int(i64::from(chosen)));
                }
            }
            Kind::Ledger { section, codes, case, content } => {
                let balances = balances(section, codes, case, item, context)?;
                for balance in balances {
                    row.push(content.of_balance(balance)?);
                }
            }
            Kind::InsertedAt => row.push(Value::DateTime(context.now)),
            Kind::Iteration => match context.iteration {
                Some(iteration) => row.push(Value::Int(iteration)),
                None => return Err(EvalError::Attribute("there is no iteration here".into())),
            },
        }
        Ok(())
    }
}

impl LedgerContent {
    fn of_balance<'a>(self, balance: Value<'a>) -> Result<Value<'a>, EvalError> {
        match self {
            Self::Balance => Ok(balance),
            Self::Date => {
                let days = whole_days(&balance).unwrap_or(0);
                let epoch = jiff::civil::date(1970, 1, 1);
                let date = i32::try_from(days).ok().and_then(|days| epoch.checked_add(days.days()).ok());
                let date = date.filter(|date| (1..=9999).contains(&date.year()));
                date.map(Value::Date).ok_or_else(|| EvalError::Overflow("a balance that is no date".into()))
            }
        }
    }
}

/// The balance of each product in a section of the case's ledger; 0 for products that are not there.
fn balances<'a>(
    section: &str,
    codes: &[String],
    case: &Expression,
    item: &Value<'a>,
    context: &Context<'_, 'a>,
) -> Result<Vec<Value<'a>>, EvalError> {
    // The original passes no context here.
    let case = case.evaluate(item, &context.without_root())?;
    let root = context.root.ok_or_else(|| EvalError::Attribute("a ledger needs a root document".into()))?;
    let domain = root.property("domain");
    let domain = domain.ok_or_else(|| EvalError::Missing("the root document has no domain".into()))?;
    let ask = |kind: &QueryKind, key: &str| context.world.look_up(kind, key);
    let ledger = if case.is_true() { ask(&QueryKind::Ledgers, &case.as_text())? } else { Value::Null };
    let entries = ledger.as_list().unwrap_or_default();
    let of_section = |entry: &&Value<'a>| entry.property("section_id").and_then(Value::as_str) == Some(section);
    let entries: Vec<&Value<'a>> = entries.iter().filter(of_section).collect();
    let mut balances = Vec::with_capacity(codes.len());
    for code in codes {
        let mut balance = Value::Int(0);
        if !entries.is_empty() {
            let products = ask(&QueryKind::Products, code)?;
            let of_domain = |product: &&Value<'a>| product.property("domain") == Some(domain);
            let product = products.as_list().unwrap_or_default().iter().find(of_domain);
            let id = product.and_then(|product| product.property("product_id"));
            let entry = id.and_then(|id| entries.iter().rfind(|entry| entry.property("product_id") == Some(id)));
            balance = entry.and_then(|entry| entry.property("balance")).cloned().unwrap_or(balance);
        }
        balances.push(balance);
    }
    Ok(balances)
}

#[cfg(test)]
mod tests {
    use crate::QueryKind;
    use crate::testing::{Known, indicator};

    const DOCUMENT: &str =
        r#"{"domain": "d", "case": "c", "word": "red", "words": "red  blue", "number": 5, "day": "2015-01-20"}"#;

    fn check(spec: &str, expected: &str) {
        let result = indicator(&Known::default(), spec, DOCUMENT);
        assert_eq!(result, expected, "{spec}");
    }

    fn refused(spec: &str, place: &str) {
        let result = indicator(&Known::default(), spec, DOCUMENT);
        assert!(result.starts_with(&format!("config: {place}")), "{spec}: {result}");
    }

    #[test]
    fn expressions_and_raw_properties_have_a_datatype() {
        let raw = |more: &str| format!(r#"{{"type": "raw", "column_id": "c"{more}}}"#);
        check(&raw(r#", "property_name": "day", "datatype": "date""#), "c=datetime.date(2015, 1, 20)");
        check(&raw(r#", "property_path": ["no", "where"], "datatype": "array""#), "c=[None]");
        // Elements that are no texts, or become dates as constants do, are no names.
        check(&raw(r#", "property_path": ["2015-01-20"], "datatype": "string""#), "c=None");
        check(&raw(r#", "property_path": [1], "datatype": "string""#), "c=None");
        check(&raw(r#", "property_path": [["day"]], "datatype": "string""#), "c=None");
        refused(&raw(r#", "property_name": "day""#), "datatype: ");
        refused(&raw(r#", "datatype": "date""#), "needs exactly one");
        refused(&raw(r#", "property_name": "day", "datatype": "date", "transform": {}"#), "transform: ");
        let spec = r#"{"type": "expression", "column_id": "c", "datatype": "string", "expression": 5}"#;
        check(spec, "c='5'");
        refused(r#"{"type": "expression", "column_id": "", "datatype": "string", "expression": 5}"#, "column_id: ");
        refused(r#"{"type": "expression", "datatype": "string", "expression": 5}"#, "column_id: ");
        refused(r#"{"type": "count", "column_id": "c", "datatype": "string"}"#, "datatype: ");
    }

    #[test]
    fn truth_is_one_or_zero() {
        let filter = r#"{"type": "boolean_expression", "operator": "gt", "property_value": 4,
            "expression": {"type": "property_name", "property_name": "number"}}"#;
        for kind in ["boolean", "small_boolean"] {
            check(&format!(r#"{{"type": "{kind}", "column_id": "c", "filter": {filter}}}"#), "c=1");
        }
        check(
            &format!(r#"{{"type": "boolean", "column_id": "c", "filter": {{"type": "not", "filter": {filter}}}}}"#),
            "c=0",
        );
        refused(r#"{"type": "boolean", "column_id": "c", "filter": {}}"#, "filter: ");
        check(r#"{"type": "count", "column_id": "c", "comment": "all"}"#, "c=1");
        refused(r#"{"type": "count", "column_id": "c", "comment": 5}"#, "comment: ");
    }

    #[test]
    fn a_choice_list_has_a_column_for_each_choice() {
        let choices = |property: &str, more: &str| {
            format!(r#"{{"type": "choice_list", "column_id": "c", "property_name": "{property}"{more}}}"#)
        };
        check(&choices("word", r#", "choices": ["red", "blue", 5]"#), "c_red=1, c_blue=0, c_5=0");
        check(
            &choices("words", r#", "choices": ["red", "", "r"], "select_style": "multiple""#),
            "c_red=1, c_=1, c_r=0",
        );
        check(&choices("number", r#", "choices": [5]"#), "c_5=1");
        check(
            &choices("number", r#", "choices": ["5"], "select_style": "multiple""#),
            "error: a int cannot be split into choices",
        );
        check(&choices("day", r#", "choices": ["2015-01-20"]"#), "c_2015-01-20=0");
        let computed = r#", "choices": ["blue", {"type": "property_name", "property_name": "word"}]"#;
        check(&choices("word", computed), "c_blue=0, c_{'type': 'property_name', 'property_name': 'word'}=1");
        refused(&choices("word", r#", "choices": [{"a": 1}]"#), "choices[0]");
        refused(&choices("word", r#", "choices": null"#), "choices: ");
        check(&choices("word", ""), "");
        refused(&choices("word", r#", "property_path": "word""#), "property_path: ");
        refused(&choices("word", r#", "choices": ["a"], "select_style": "many""#), "select_style: ");
    }

    #[test]
    fn a_ledger_has_a_column_for_each_product_of_the_domain() {
        let world = Known::default()
            .with(QueryKind::Ledgers, "c", r#"[{"section_id": "stock", "product_id": "p1", "balance": 9}, {"section_id": "stock", "product_id": "p1", "balance": 20}, {"section_id": "x", "product_id": "p1", "balance": 7}]"#)
            .with(QueryKind::Products, "a", r#"[{"product_id": "p1", "code": "a", "domain": "d"}]"#)
            .with(QueryKind::Products, "b", r#"[{"product_id": "p1", "code": "b", "domain": "other"}]"#);
        let ledger = |kind: &str| {
            format!(
                r#"{{"type": "{kind}", "column_id": "l", "ledger_section": "stock", "product_codes": ["a", "b"],
                    "case_id_expression": {{"type": "property_name", "property_name": "case"}}}}"#
            )
        };
        assert_eq!(indicator(&world, &ledger("ledger_balances"), DOCUMENT), "l_a=20, l_b=0");
        let dates = "l_a=datetime.date(1970, 1, 21), l_b=datetime.date(1970, 1, 1)";
        assert_eq!(indicator(&world, &ledger("due_list_date"), DOCUMENT), dates);
        refused(&ledger("due_list_dates"), "type: ");
    }

    #[test]
    fn the_default_columns_can_be_asked_for() {
        check(r#"{"type": "repeat_iteration"}"#, "repeat_iteration=7");
        check(r#"{"type": "repeat_iteration", "column_id": 5, "more": 1}"#, "repeat_iteration=7");
        check(r#"{"type": "inserted_at"}"#, "inserted_at=datetime.datetime(2021, 6, 15, 12, 34, 56, 789012)");
    }

    #[test]
    fn transforms_come_before_the_datatype() {
        let transformed = |value: &str, datatype: &str, transform: &str| {
            format!(
                r#"{{"type": "expression", "column_id": "c", "datatype": "{datatype}", "transform": {transform},
                    "expression": {value}}}"#
            )
        };
        let custom = |name: &str| format!(r#"{{"type": "custom", "custom_type": "{name}"}}"#);
        for (value, transform, expected) in [
            ("3", "{}", "c='3'"),
            ("\"3\"", &*custom("month_display"), "c='March'"),
            ("0", &custom("month_display"), "c=''"),
            ("\"x\"", &custom("month_display"), "c=''"),
            ("13", &custom("month_display"), "error: there is no such month"),
            ("2.0", &custom("short_decimal_display"), "c='2'"),
            ("2.345", &custom("short_decimal_display"), "c='2.35'"),
            (
                "\"10000000000000000000000000000.0\"",
                &custom("short_decimal_display"),
                "c='10000000000000000000000000000.0'",
            ),
            (
                "\"1000000000000000000000000000.0\"",
                &custom("short_decimal_display"),
                "c='1000000000000000000000000000'",
            ),
            ("0.125", &custom("short_decimal_display"), "c='0.12'"),
            ("\"x\"", &custom("short_decimal_display"), "c='x'"),
            ("\"2021-06-14T12:34:57\"", &custom("days_elapsed_from_date"), "c='0'"),
            ("\"5\"", &custom("days_elapsed_from_date"), "c='10'"),
            (
                "\"14 June 2021 12:34Z\"",
                &custom("days_elapsed_from_date"),
                "error: '14 June 2021 12:34Z' is no date, or one with a zone",
            ),
            ("\" 5\"", r#"{"type": "number_format", "format_string": "{bad}"}"#, "c='5'"),
            ("\"2021-06-16\"", &custom("days_elapsed_from_date"), "c='-1'"),
            ("5", &custom("days_elapsed_from_date"), "error: 5 is no date, or one with a zone"),
            ("\"x\"", r#"{"type": "translation", "translations": {"x": "y"}}"#, "c='y'"),
            ("\"x\"", r#"{"type": "translation", "translations": {"x": {"fra": "f", "en": "e"}}}"#, "c='e'"),
            ("\"x\"", r#"{"type": "translation", "translations": {"x": {"fra": "f", "b": "e"}}}"#, "c='e'"),
            ("\"x\"", r#"{"type": "translation", "translations": {"x": "y"}, "mobile_or_web": "mobile"}"#, "c='x'"),
            ("5", r#"{"type": "translation", "translations": {"5": "y"}}"#, "c='5'"),
            (
                "\"a b\"",
                r#"{"type": "multiple_value_string_translation", "translations": {"a": "y"}, "delimiter": " "}"#,
                "c='y b'",
            ),
            (
                "5",
                r#"{"type": "multiple_value_string_translation", "translations": {}, "delimiter": " "}"#,
                "error: a int cannot be split",
            ),
            ("5", r#"{"type": "date_format", "format": "%d"}"#, "c='5'"),
        ] {
            check(&transformed(value, "string", transform), expected);
        }
        refused(&transformed("1", "string", &custom("x")), "transform.custom_type: ");
        refused(&transformed("1", "string", r#"{"type": "date_format"}"#), "transform.format: ");
        refused(&transformed("1", "string", r#"{"a": 1}"#), "transform.type: ");
    }

    #[test]
    fn names_of_users_are_looked_up() {
        let world = Known::default().with(
            QueryKind::User,
            "u",
            r#"{"username": "ann@d.org", "first_name": "Ann", "last_name": "Lee"}"#,
        );
        let shown = |name: &str, id: &str| {
            let spec = format!(
                r#"{{"type": "expression", "column_id": "c", "datatype": "string", "expression": "{id}",
                    "transform": {{"type": "custom", "custom_type": "{name}"}}}}"#
            );
            indicator(&world, &spec, DOCUMENT)
        };
        assert_eq!(shown("user_display", "u"), "c='ann@d.org'");
        assert_eq!(shown("user_without_domain_display", "u"), "c='ann'");
        assert_eq!(shown("user_display_including_name", "u"), "c='ann (Ann Lee)'");
        assert_eq!(shown("user_display", "nobody"), "c='nobody'");
    }
}

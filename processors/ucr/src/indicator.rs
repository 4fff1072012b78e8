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
use crate::{Context, EvalError, Query, QueryKind, constants};

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
    Choices { property: Expression, choices: Vec<Value<'static>>, style: Style },
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
        let common = ["column_id", "display_name"];
        let own: &[&str] = match name {
            "expression" => &["expression", "datatype", "transform", "is_nullable", "is_primary_key", "create_index"],
            "raw" => &["property_name", "property_path", "datatype", "is_nullable", "is_primary_key", "create_index"],
            "boolean" | "small_boolean" => &["filter"],
            "choice_list" => &["property_name", "property_path", "choices", "select_style"],
            "ledger_balances" | "due_list_date" => &["product_codes", "ledger_section", "case_id_expression"],
            "count" | "inserted_at" | "repeat_iteration" => &[],
            other => {
                self.problem_at("type", unknown("indicator type", other, TYPES.iter().copied()));
                return None;
            }
        };
        self.only_keys(spec, &[&common, own].concat());
        match name {
            "inserted_at" => return Some(Indicator::inserted_at()),
            "repeat_iteration" => return Some(Indicator::iteration()),
            _ => {}
        }
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
        let specs = self.optional_list(spec, "choices");
        // Without choices the original does not look at the property.
        let property = if specs.is_empty() { Expression::null() } else { self.property_of(spec) };
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
        let choices: Vec<Value<'static>> = specs.iter().take(MOST_COLUMNS).map(constants::convert).collect();
        let columns = choices.iter().map(|choice| column.part(&choice.to_string())).collect();
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
                row.push(coerce::coerce(value, *datatype)?);
            }
            Kind::Boolean(filter) => row.push(Value::Int(i64::from(filter.holds(item, context)?))),
            Kind::Count => row.push(Value::Int(1)),
            Kind::Choices { property, choices, style } => {
                let value = property.evaluate(item, context)?;
                context.limits.spend(choices.len())?;
                for choice in choices {
                    let chosen = match style {
                        Style::Single => equal(&value, choice),
                        Style::Multiple => operator::in_multi(&value, choice)?,
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
    let ask = |kind, key| context.world.look_up(&Query { kind, key });
    let ledger = if case.is_true() { ask(QueryKind::Ledgers, case.to_string())? } else { Value::Null };
    let entries = ledger.as_list().unwrap_or_default();
    let of_section = |entry: &&Value<'a>| entry.property("section_id").and_then(Value::as_str) == Some(section);
    let entries: Vec<&Value<'a>> = entries.iter().filter(of_section).collect();
    let mut balances = Vec::with_capacity(codes.len());
    for code in codes {
        let mut balance = Value::Int(0);
        if !entries.is_empty() {
            let products = ask(QueryKind::Products, code.clone())?;
            let of_domain = |product: &&Value<'a>| product.property("domain") == Some(domain);
            let product = products.as_list().unwrap_or_default().iter().find(of_domain);
            let id = product.and_then(|product| product.property("product_id"));
            let entry = id.and_then(|id| entries.iter().find(|entry| entry.property("product_id") == Some(id)));
            balance = entry.and_then(|entry| entry.property("balance")).cloned().unwrap_or(balance);
        }
        balances.push(balance);
    }
    Ok(balances)
}

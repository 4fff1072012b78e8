//! Data sources: which documents they take, and what rows these give.

mod compile;
mod files;
mod table;
#[cfg(test)]
mod tests;

pub use files::{Definitions, read_definitions};
pub use table::{Index, PrimaryKey};

use crate::expression::Expression;
use crate::filter::{Filter, Refusal, shown};
use crate::indicator::{Column, Indicator};
use crate::named::Names;
use crate::reads::Item;
use crate::value::{Moment, Reads, Value, equal};
use crate::watch::Part;
use crate::{Context, EvalError, Limits, LookUpKind, World};
use std::collections::BTreeSet;

/// The database of data sources that name none.
pub const DEFAULT_ENGINE: &str = "ucr";

/// The types of documents that data sources are over.
pub const DOC_TYPES: [&str; 4] = ["CommCareCase", "CommCareUser", "Location", "XFormInstance"];

/// A compiled data source.
#[derive(Debug)]
pub struct DataSource {
    /// The id of its configuration, if that has one.
    pub id: Option<String>,
    pub domain: String,
    pub referenced_doc_type: String,
    pub table_id: String,
    pub display_name: Option<String>,
    /// The name of its table in the database.
    pub table_name: String,
    pub engine_id: String,
    pub mirrored_engine_ids: Vec<String>,
    pub asynchronous: bool,
    pub is_deactivated: bool,
    pub disable_destructive_rebuild: bool,
    /// The columns of its table, in their order.
    pub columns: Vec<Column>,
    /// Columns of the primary key, by their names in the database.
    pub primary_key: PrimaryKey,
    pub indexes: Vec<Index>,
    /// What it may look up beside the document.
    pub look_ups: BTreeSet<LookUpKind>,
    /// For data sources over a registry: the domains whose documents it takes.
    data_domains: Option<Vec<String>>,
    filter: Option<Filter>,
    base_item: Option<Expression>,
    indicators: Vec<Indicator>,
    validations: Vec<Validation>,
    names: Names,
    subtypes: Option<Vec<Value<'static>>>,
}

#[derive(Debug)]
struct Validation {
    name: String,
    error_message: String,
    /// The original finds out about a wrong filter at the first document.
    filter: Result<Filter, EvalError>,
}

/// A validation that a document does not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedValidation {
    pub name: String,
    pub error_message: String,
}

/// What a document gives in a data source.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<'a> {
    /// The filter says no.
    NotTaken,
    /// No rows, and these validations to be noted.
    Invalid(Vec<FailedValidation>),
    /// The values of each row, in the order of the columns; without rows nothing of the document belongs into the
    /// table.
    Rows(Vec<Vec<Value<'a>>>),
}

impl DataSource {
    /// What becomes of a document. `now` is the instant that all its expressions read.
    ///
    /// # Errors
    ///
    /// The document's rows cannot be computed; its other data sources are not affected. [`EvalError::Need`] when
    /// answers to look-ups have to be fetched first.
    pub fn process<'a>(
        &self,
        document: &Value<'a>,
        now: Moment,
        world: &dyn World<'a>,
    ) -> Result<Outcome<'a>, EvalError> {
        self.process_within(document, now, world, &Limits::default())
    }

    /// As [`DataSource::process`], while someone watches.
    ///
    /// # Errors
    ///
    /// As for [`DataSource::process`].
    #[cfg(feature = "profile")]
    pub fn process_watched<'a>(
        &self,
        document: &Value<'a>,
        now: Moment,
        world: &dyn World<'a>,
        watch: std::rc::Rc<dyn crate::Watch>,
    ) -> Result<Outcome<'a>, EvalError> {
        self.process_within(document, now, world, &Limits::watched(crate::watch::Watcher::new(watch)))
    }

    fn process_within<'a>(
        &self,
        document: &Value<'a>,
        now: Moment,
        world: &dyn World<'a>,
        limits: &Limits,
    ) -> Result<Outcome<'a>, EvalError> {
        let context = Context { root: Some(document), iteration: Some(0), now, world, named: &self.names, limits };
        if self.takes(document, &context)? { self.rows(document, &context) } else { Ok(Outcome::NotTaken) }
    }

    /// The ids of the columns that each indicator fills, as [`Part::Indicator`] counts them.
    pub fn indicators(&self) -> impl Iterator<Item = Vec<&str>> {
        self.indicators.iter().map(|indicator| indicator.columns.iter().map(|column| column.id.as_str()).collect())
    }

    /// The names of the validations, as [`Part::Validation`] counts them.
    pub fn validations(&self) -> impl Iterator<Item = &str> {
        self.validations.iter().map(|validation| validation.name.as_str())
    }

    /// As [`DataSource::process`], but with the validations before the filter: what the original's own function gives,
    /// which its change processor only calls for documents that the filter takes.
    ///
    /// # Errors
    ///
    /// As for [`DataSource::process`].
    pub fn validate_and_process<'a>(
        &self,
        document: &Value<'a>,
        now: Moment,
        world: &dyn World<'a>,
    ) -> Result<Outcome<'a>, EvalError> {
        let limits = Limits::default();
        let context =
            Context { root: Some(document), iteration: Some(0), now, world, named: &self.names, limits: &limits };
        let failed = self.failed_validations(document, &context)?;
        if failed.is_empty() { self.process(document, now, world) } else { Ok(Outcome::Invalid(failed)) }
    }

    /// Whether the main filter takes a document.
    ///
    /// # Errors
    ///
    /// As for [`DataSource::process`].
    pub fn filter<'a>(&self, document: &Value<'a>, now: Moment, world: &dyn World<'a>) -> Result<bool, EvalError> {
        let limits = Limits::default();
        let context =
            Context { root: Some(document), iteration: Some(0), now, world, named: &self.names, limits: &limits };
        self.takes(document, &context)
    }

    /// Why the filter does not take a document; empty when it does.
    ///
    /// # Errors
    ///
    /// As for [`DataSource::process`].
    pub fn refusals<'a>(
        &self,
        document: &Value<'a>,
        now: Moment,
        world: &dyn World<'a>,
    ) -> Result<Vec<Refusal>, EvalError> {
        let text = |key: &str| document.property(key).map_or_else(|| "missing".to_owned(), shown);
        let refused = |path: &str, reason: String| Ok(vec![Refusal { path: path.to_owned(), reason }]);
        if !self.is_of_domain(document) {
            let domains = self.domains().join(", ");
            return refused("domain", format!("the document's domain is {}, not {domains}", text("domain")));
        }
        if !self.is_of_type(document) {
            let wanted = &self.referenced_doc_type;
            return refused(
                "referenced_doc_type",
                format!("the document's doc_type is {}, not {wanted}", text("doc_type")),
            );
        }
        let limits = Limits::default();
        let context =
            Context { root: Some(document), iteration: Some(0), now, world, named: &self.names, limits: &limits };
        let refusals = |filter: &Filter| filter.refusals("configured_filter", &self.names.filters, document, &context);
        self.filter.as_ref().map_or(Ok(Vec::new()), refusals)
    }

    /// Whether a document has a type that stands for a deletion.
    pub fn is_deletion(&self, document: &Value<'_>) -> bool {
        let types: &[&str] = match self.referenced_doc_type.as_str() {
            "CommCareCase" => &["CommCareCase-Deleted"],
            "XFormInstance" => &["XFormInstance-Deleted", "XFormArchived"],
            _ => &[],
        };
        let doc_type = document.property("doc_type").and_then(Value::as_str);
        self.is_of_domain(document) && doc_type.is_some_and(|doc_type| types.contains(&doc_type))
    }

    /// The case types or form namespaces that the filter lets through; `None` when it does not say.
    pub fn subtypes(&self) -> Option<&[Value<'static>]> {
        self.subtypes.as_deref()
    }

    /// What it reads of a document: one that was parsed with that gives the same as the whole document. Why a filter says
    /// no is told of whole documents only.
    pub fn reads(&self) -> Reads {
        let mut reads = Reads::default();
        // The identity of a document, which everything that handles it may ask.
        for name in ["_id", "doc_type", "domain", "type", "xmlns"] {
            reads.add(&[name]);
        }
        self.filter.iter().for_each(|filter| filter.note_reads(Item::Document, &mut reads));
        for validation in &self.validations {
            validation.filter.iter().for_each(|filter| filter.note_reads(Item::Document, &mut reads));
        }
        self.base_item.iter().for_each(|base_item| base_item.note_reads(Item::Document, &mut reads));
        let item = if self.base_item.is_some() { Item::Derived } else { Item::Document };
        self.indicators.iter().for_each(|indicator| indicator.note_reads(item, &mut reads));
        reads
    }

    /// Whether documents can be invalid.
    pub fn has_validations(&self) -> bool {
        !self.validations.is_empty()
    }

    /// The domains whose documents it takes.
    pub fn domains(&self) -> &[String] {
        self.data_domains.as_deref().unwrap_or(std::slice::from_ref(&self.domain))
    }

    fn is_of_domain(&self, document: &Value<'_>) -> bool {
        let domain = document.property("domain").and_then(Value::as_str);
        domain.is_some_and(|domain| self.domains().iter().any(|ours| ours == domain))
    }

    fn takes<'a>(&self, document: &Value<'a>, context: &Context<'_, 'a>) -> Result<bool, EvalError> {
        let doc_type = document.property("doc_type").and_then(Value::as_str);
        if !self.is_of_domain(document) || doc_type != Some(&self.referenced_doc_type) {
            return Ok(false);
        }
        let Some(filter) = &self.filter else { return Ok(true) };
        let _part = context.limits.during(|| Part::ConfiguredFilter);
        filter.holds(document, context)
    }

    /// The rows of a document that the filter took.
    fn rows<'a>(&self, document: &Value<'a>, context: &Context<'_, 'a>) -> Result<Outcome<'a>, EvalError> {
        let failed = self.failed_validations(document, context)?;
        if !failed.is_empty() {
            return Ok(Outcome::Invalid(failed));
        }
        let Some(base_item) = &self.base_item else {
            return Ok(Outcome::Rows(vec![self.row(document, context)?]));
        };
        let mut rows = Vec::new();
        let items = {
            let _part = context.limits.during(|| Part::BaseItem);
            base_item.evaluate(document, context)?
        };
        let items = match &items {
            Value::Null => &[],
            Value::List(items) => items.as_slice(),
            other => std::slice::from_ref(other),
        };
        for (iteration, item) in (0..).zip(items) {
            rows.push(self.row(item, &Context { iteration: Some(iteration), ..*context })?);
        }
        Ok(Outcome::Rows(rows))
    }

    fn row<'a>(&self, item: &Value<'a>, context: &Context<'_, 'a>) -> Result<Vec<Value<'a>>, EvalError> {
        context.limits.spend(self.columns.len())?;
        let mut row = Vec::with_capacity(self.columns.len());
        for (number, indicator) in self.indicators.iter().enumerate() {
            let _part = context.limits.during(|| Part::Indicator(number));
            indicator.fill(item, context, &mut row)?;
        }
        debug_assert_eq!(row.len(), self.columns.len(), "each column has its value");
        Ok(row)
    }

    fn failed_validations<'a>(
        &self,
        document: &Value<'a>,
        context: &Context<'_, 'a>,
    ) -> Result<Vec<FailedValidation>, EvalError> {
        let mut failed = Vec::new();
        for (number, Validation { name, error_message, filter }) in self.validations.iter().enumerate() {
            let _part = context.limits.during(|| Part::Validation(number));
            if !filter.as_ref().map_err(Clone::clone)?.holds(document, context)? {
                failed.push(FailedValidation { name: name.clone(), error_message: error_message.clone() });
            }
        }
        // What is noted of the document names these.
        let missing = ["_id", "doc_type", "domain"].into_iter().find(|key| document.property(key).is_none());
        match missing {
            Some(key) if !failed.is_empty() => {
                Err(EvalError::Missing(format!("an invalid document without {key} cannot be noted").into()))
            }
            _ => Ok(failed),
        }
    }

    /// Compares by value, for tools that show why a document is not taken.
    pub fn is_of_type(&self, document: &Value<'_>) -> bool {
        let doc_type = document.property("doc_type").unwrap_or(&Value::Null);
        equal(doc_type, &Value::text(self.referenced_doc_type.as_str()))
    }
}

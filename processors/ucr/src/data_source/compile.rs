//! Reads the configuration of a data source.

use std::collections::BTreeSet;

use super::{DEFAULT_ENGINE, DOC_TYPES, DataSource, Validation};
use crate::coerce::Datatype;
use crate::compiler::{Compiler, described, unknown};
use crate::error::{ConfigError, Problem};
use crate::indicator::{Column, Indicator};
use crate::named::Names;
use crate::value::{Dict, Value};
use crate::{EvalError, names};

/// A table in PostgreSQL has no more.
const MOST_COLUMNS: usize = 1_600;

impl DataSource {
    /// Compiles a configuration.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with it.
    pub fn compile(config: &Value<'_>) -> Result<Self, ConfigError> {
        Self::compile_for(config, None)
    }

    /// Compiles a configuration for a domain that it does not say itself.
    pub(super) fn compile_for(config: &Value<'_>, domain: Option<&str>) -> Result<Self, ConfigError> {
        let Some(config) = config.as_dict() else {
            let message = format!("must be a data source, as an object, not {}", described(config));
            return Err(ConfigError { problems: vec![Problem { path: String::new(), message }] });
        };
        let mut problems = Vec::new();
        let mut first = Compiler::default();
        let expressions = first.optional_dict(config, "named_expressions");
        let filters = first.optional_dict(config, "named_filters");
        let names = Names::compile(expressions, filters, &mut problems);
        let mut compiler = Compiler::new(Some(&names.expressions), Some(&names.filters));
        let read = compiler.data_source(config, domain);
        let mut all = first.problems;
        all.append(&mut compiler.problems);
        all.append(&mut problems);
        if !all.is_empty() {
            return Err(ConfigError { problems: all });
        }
        let look_ups = &compiler.look_ups | &names.look_ups;
        Ok(Self { names, look_ups, ..read })
    }
}

impl Compiler<'_> {
    fn data_source(&mut self, config: &Dict<'_>, domain: Option<&str>) -> DataSource {
        let domain = domain.map_or_else(|| self.text(config, "domain"), str::to_owned);
        let referenced_doc_type = self.referenced_doc_type(config);
        let table_id = self.text(config, "table_id");
        let table_name = names::table_name(&domain, &table_id);
        let engine_id = self.optional_text(config, "engine_id").unwrap_or_else(|| DEFAULT_ENGINE.to_owned());
        let mut mirrored_engine_ids = self.optional_texts(config, "mirrored_engine_ids");
        // The original refuses it where it opens databases; a table is in its own engine anyway.
        mirrored_engine_ids.retain(|mirrored| *mirrored != engine_id);
        let data_domains = self.data_domains(config, &domain);
        let filter = self.optional_dict(config, "configured_filter").filter(|filter| !filter.is_empty());
        let filter = filter.map(|_| self.required_filter(config, "configured_filter"));
        let base_item = self.optional_dict(config, "base_item_expression").filter(|item| !item.is_empty());
        let base_item = base_item.map(|_| self.object(config, "base_item_expression"));
        let mut indicators = vec![Indicator::document_id(), Indicator::inserted_at()];
        if base_item.is_some() {
            indicators.push(Indicator::iteration());
        }
        if data_domains.is_some() {
            indicators.push(Indicator::project());
        }
        self.configured_indicators(config, &mut indicators);
        let columns: Vec<Column> = indicators.iter().flat_map(|indicator| indicator.columns.clone()).collect();
        self.check_columns(&columns);
        self.other_keys(config);
        DataSource {
            id: self.optional_text(config, "_id"),
            display_name: self.optional_text(config, "display_name"),
            subtypes: subtypes(config, &referenced_doc_type),
            asynchronous: self.optional_flag(config, "asynchronous", false),
            is_deactivated: self.optional_flag(config, "is_deactivated", false),
            disable_destructive_rebuild: self.optional_flag(config, "disable_destructive_rebuild", false),
            validations: self.validations(config),
            primary_key: self.primary_key(config, &columns),
            indexes: self.indexes(config, &table_name, &columns),
            names: Names::default(),
            look_ups: BTreeSet::new(),
            domain,
            referenced_doc_type,
            table_id,
            table_name,
            engine_id,
            mirrored_engine_ids,
            columns,
            data_domains,
            filter,
            base_item,
            indicators,
        }
    }

    fn referenced_doc_type(&mut self, config: &Dict<'_>) -> String {
        let doc_type = self.text(config, "referenced_doc_type");
        let is_text = config.get("referenced_doc_type").is_some_and(|doc_type| doc_type.as_str().is_some());
        if is_text && !DOC_TYPES.contains(&doc_type.as_str()) {
            let known = DOC_TYPES.iter().copied();
            self.problem_at("referenced_doc_type", unknown("type of documents", &doc_type, known));
        }
        doc_type
    }

    /// The domains of a registry's data source, which whoever knows the registry puts under `$data_domains`.
    fn data_domains(&mut self, config: &Dict<'_>, domain: &str) -> Option<Vec<String>> {
        if config.get("doc_type").and_then(Value::as_str) != Some("RegistryDataSourceConfiguration") {
            return None;
        }
        self.text(config, "registry_slug");
        if config.get("referenced_doc_type").and_then(Value::as_str) != Some("CommCareCase") {
            self.problem_at("referenced_doc_type", "must be \"CommCareCase\" in the data source of a registry");
        }
        let domains = self.optional_texts(config, "$data_domains");
        Some(if domains.is_empty() { vec![domain.to_owned()] } else { domains })
    }

    fn configured_indicators(&mut self, config: &Dict<'_>, indicators: &mut Vec<Indicator>) {
        self.not_null(config, "configured_indicators", "a list of indicators");
        let specs = self.optional_list(config, "configured_indicators");
        self.at_key("configured_indicators", |compiler| {
            for (index, spec) in specs.iter().enumerate() {
                indicators.extend(compiler.at_index(index, |compiler| compiler.indicator(spec)));
            }
        });
    }

    fn check_columns(&mut self, columns: &[Column]) {
        if columns.len() > MOST_COLUMNS {
            self.problem_at("configured_indicators", format!("make more than {MOST_COLUMNS} columns"));
        }
        let mut ids: Vec<&str> = columns.iter().map(|column| column.id.as_str()).collect();
        ids.sort_unstable();
        let mut repeated: Vec<&str> =
            ids.windows(2).filter_map(|pair| matches!(pair, [a, b] if a == b).then_some(*pair.first()?)).collect();
        repeated.dedup();
        if !repeated.is_empty() {
            let message = format!(
                "make more than one column of the id {}; doc_id, inserted_at and repeat_iteration are made already",
                repeated.join(", ")
            );
            self.problem_at("configured_indicators", message);
        }
    }

    fn validations(&mut self, config: &Dict<'_>) -> Vec<Validation> {
        let mut validations = Vec::new();
        if matches!(config.get("validations"), Some(Value::Null)) {
            // As a wrong filter of one, it fails the documents.
            let filter = Err(EvalError::type_error("validations: must be a list, not null"));
            validations.push(Validation { name: "validations".to_owned(), error_message: String::new(), filter });
        }
        for (index, spec) in self.optional_list(config, "validations").iter().enumerate() {
            self.at_key("validations", |compiler| {
                compiler.at_index(index, |compiler| validations.extend(compiler.validation(spec)));
            });
        }
        validations
    }

    fn validation(&mut self, spec: &Value<'_>) -> Option<Validation> {
        let Some(spec) = spec.as_dict() else {
            self.problem(format!("must be an object with name, expression and error_message, not {}", described(spec)));
            return None;
        };
        let name = self.text(spec, "name");
        let error_message = self.text(spec, "error_message");
        let expression = self.optional_dict(spec, "expression").filter(|expression| !expression.is_empty());
        if expression.is_none() {
            self.problem_at("expression", "is required: a filter, as an object");
            return None;
        }
        // Wrong filters of validations fail the documents, not the configuration.
        let before = self.problems.len();
        let filter = self.required_filter(spec, "expression");
        let problems: Vec<String> = self.problems.drain(before..).map(|problem| problem.to_string()).collect();
        let filter = if problems.is_empty() { Ok(filter) } else { Err(EvalError::Config(problems.join("; ").into())) };
        Some(Validation { name, error_message, filter })
    }

    /// Keys that mean nothing here, but whose JSON types the original checks as it loads a configuration.
    fn other_keys(&mut self, config: &Dict<'_>) {
        for key in ["backend_id", "_rev"] {
            self.optional_text(config, key);
        }
        self.optional_dict(config, "meta");
        self.not_null(config, "named_filters", "an object");
        self.not_null(config, "sql_settings", "an object");
    }
}

/// The case types or form namespaces that a filter names.
fn subtypes(config: &Dict<'_>, doc_type: &str) -> Option<Vec<Value<'static>>> {
    let property = match doc_type {
        "CommCareCase" => "type",
        "XFormInstance" => "xmlns",
        _ => return None,
    };
    subtypes_of(config.get("configured_filter")?, property)
}

fn subtypes_of(filter: &Value<'_>, property: &str) -> Option<Vec<Value<'static>>> {
    match filter.property("type")?.as_str()? {
        "and" => filter.property("filters")?.as_list()?.iter().find_map(|filter| subtypes_of(filter, property)),
        "boolean_expression" => {
            let expression = filter.property("expression")?;
            let is_property = expression.property("type")?.as_str() == Some("property_name")
                && expression.property("property_name")?.as_str() == Some(property);
            // With another datatype several texts are equal to one.
            let is_text = expression.property("datatype").is_none_or(|datatype| {
                datatype.is_null() || datatype.as_str().and_then(Datatype::from_name) == Some(Datatype::String)
            });
            if !is_property || !is_text {
                return None;
            }
            let values = match (filter.property("operator")?.as_str()?, filter.property("property_value")?) {
                ("eq" | "in", Value::List(values)) => values.iter().cloned().map(Value::into_owned).collect(),
                ("eq", value) => vec![value.clone().into_owned()],
                // `in` looks for parts of a text, too.
                _ => return None,
            };
            Some(values).filter(|values: &Vec<_>| !values.is_empty())
        }
        _ => None,
    }
}

//! Files that define data sources: one, a list of them, or a static one for several domains.

use super::DataSource;
use crate::compiler::Compiler;
use crate::error::{ConfigError, Problem};
use crate::value::{Dict, Text, Value};

/// What a file defines.
#[derive(Debug, Default)]
pub struct Definitions {
    pub sources: Vec<DataSource>,
    /// The environments that a static data source is for; it is for all when there are none.
    pub server_environments: Vec<String>,
}

/// Reads a definition: a data source's configuration, or a static one, `{domains, server_environment, config}`, which
/// stands for one data source per domain. `environment` picks the mirrored engines of a static one.
///
/// # Errors
///
/// Everything that is wrong with it.
pub fn read_definitions(definition: &Value<'_>, environment: Option<&str>) -> Result<Definitions, ConfigError> {
    let dict = definition.as_dict().filter(|dict| dict.get("config").is_some());
    match dict {
        None => Ok(Definitions { sources: vec![DataSource::compile(definition)?], server_environments: Vec::new() }),
        Some(dict) => static_definitions(dict, environment),
    }
}

fn static_definitions(dict: &Dict<'_>, environment: Option<&str>) -> Result<Definitions, ConfigError> {
    let mut compiler = Compiler::default();
    let domains = compiler.texts(dict, "domains");
    let server_environments = match dict.get("server_environment") {
        Some(Value::Str(one)) => vec![one.to_string()],
        _ => compiler.optional_texts(dict, "server_environment"),
    };
    let mut mirrored = Vec::new();
    for (index, entry) in compiler.optional_list(dict, "mirrored_engine_ids").iter().enumerate() {
        let Some(entry) = entry.as_dict() else {
            compiler.at_key("mirrored_engine_ids", |compiler| {
                compiler.at_index(index, |compiler| compiler.problem("must be an object"));
            });
            continue;
        };
        if environment.is_some() && entry.get("server_environment").and_then(Value::as_str) == environment {
            mirrored.extend(compiler.optional_texts(entry, "engine_ids"));
        }
    }
    let config = compiler.optional_dict(dict, "config").cloned().unwrap_or_default();
    let mut problems = compiler.problems;
    let mut sources = Vec::new();
    for domain in domains {
        let table_id = config.get("table_id").and_then(Value::as_str).unwrap_or_default();
        let id = format!("static-{domain}-{table_id}");
        let config = Value::dict(with_text(&config, "_id", id));
        match DataSource::compile_for(&config, Some(&domain)) {
            Ok(mut source) => {
                source.mirrored_engine_ids.extend(mirrored.iter().cloned());
                sources.push(source);
            }
            Err(error) => {
                // The same for each domain.
                problems.extend(error.problems.into_iter().map(within_config));
                break;
            }
        }
    }
    if problems.is_empty() { Ok(Definitions { sources, server_environments }) } else { Err(ConfigError { problems }) }
}

fn with_text<'a>(dict: &Dict<'a>, key: &'static str, text: String) -> Dict<'a> {
    let added = (Value::text(key), Value::Str(Text::from(text)));
    dict.iter().map(|(key, value)| (key.clone(), value.clone())).chain([added]).collect()
}

fn within_config(problem: Problem) -> Problem {
    let dot = if problem.path.is_empty() { "" } else { "." };
    Problem { path: format!("config{dot}{}", problem.path), ..problem }
}

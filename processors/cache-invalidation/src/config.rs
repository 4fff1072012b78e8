//! The configuration, read strictly.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::template::Template;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The cache of documents.
    pub cache: String,
    /// The cache of generations; the same one unless it has a name of its own.
    pub generation_cache: String,
    /// The keys under which a document is cached.
    pub keys: Vec<Template>,
    /// The keys of generations, by type of document.
    pub generations: BTreeMap<String, Vec<Template>>,
    /// What the ids begin with that are passed over.
    pub skip_ids: Vec<String>,
}

/// Something wrong in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A path into the configuration; empty for the whole of it.
    pub path: String,
    /// What is wrong.
    pub message: String,
}

/// The documents in which the original's pillows keep their place.
const BOOKKEEPING: &str = "pillowtop_corehq.pillows";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    cache: String,
    generation_cache: Option<String>,
    #[serde(default)]
    keys: Vec<String>,
    #[serde(default)]
    generations: BTreeMap<String, Vec<String>>,
    #[serde(default = "bookkeeping")]
    skip_ids: Vec<String>,
}

fn bookkeeping() -> Vec<String> {
    vec![BOOKKEEPING.to_owned()]
}

impl Config {
    /// Reads a configuration from its JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, Vec<Problem>> {
        let raw: Raw = serde_json::from_slice(json).map_err(|error| vec![problem("", &error.to_string())])?;
        let mut problems = Vec::new();
        if raw.cache.is_empty() {
            problems.push(problem("cache", "must not be empty"));
        }
        if raw.generation_cache.as_deref() == Some("") {
            problems.push(problem("generation_cache", "must not be empty"));
        }
        if raw.generation_cache.is_some() && raw.generations.is_empty() {
            problems.push(problem("generation_cache", "is for `generations`, which are not given"));
        }
        if raw.keys.is_empty() && raw.generations.is_empty() {
            problems.push(problem("keys", "is missing: without `keys` and `generations` nothing would be dropped"));
        }
        if raw.skip_ids.iter().any(String::is_empty) {
            problems.push(problem("skip_ids", "must not hold an empty text: every id begins with it"));
        }
        let keys = templates("keys", &raw.keys, &mut problems);
        let generations = raw.generations.iter().map(|(document_type, keys)| {
            let path = format!("generations.{document_type}");
            if keys.is_empty() {
                problems.push(problem(&path, "must not be empty"));
            }
            (document_type.clone(), templates(&path, keys, &mut problems))
        });
        let generations = generations.collect();
        if problems.is_empty() {
            let generation_cache = raw.generation_cache.unwrap_or_else(|| raw.cache.clone());
            Ok(Self { cache: raw.cache, generation_cache, keys, generations, skip_ids: raw.skip_ids })
        } else {
            Err(problems)
        }
    }
}

fn problem(path: &str, message: &str) -> Problem {
    Problem { path: path.to_owned(), message: message.to_owned() }
}

fn templates(path: &str, texts: &[String], problems: &mut Vec<Problem>) -> Vec<Template> {
    let mut templates = Vec::with_capacity(texts.len());
    for (at, text) in texts.iter().enumerate() {
        match Template::parse(text) {
            Ok(template) => templates.push(template),
            Err(message) => problems.push(problem(&format!("{path}[{at}]"), &message)),
        }
    }
    templates
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, expected: &[(&str, &str)]) {
        let problems = Config::parse(config.as_bytes()).map_or_else(|problems| problems, |_| Vec::new());
        let found: Vec<_> = problems.iter().map(|problem| (&*problem.path, &*problem.message)).collect();
        assert_eq!(found, expected, "{config}");
    }

    #[test]
    fn the_least_configuration_passes_over_the_bookkeeping() {
        let config = Config::parse(br#"{"cache": "c", "keys": ["{id}"]}"#).unwrap();
        assert_eq!(config.skip_ids, ["pillowtop_corehq.pillows"]);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        check(
            r#"{"cache": "", "skip_ids": [""]}"#,
            &[
                ("cache", "must not be empty"),
                ("keys", "is missing: without `keys` and `generations` nothing would be dropped"),
                ("skip_ids", "must not hold an empty text: every id begins with it"),
            ],
        );
        check(
            r#"{"cache": "c", "keys": ["{id}"], "generation_cache": ""}"#,
            &[
                ("generation_cache", "must not be empty"),
                ("generation_cache", "is for `generations`, which are not given"),
            ],
        );
        check(
            r#"{"cache": "c", "keys": ["{id}", "{colour}"], "generations": {"Group": [], "User": ["{"]}}"#,
            &[
                ("keys[1]", "names {colour}; there are {id}, {type}, {domain} and {source}"),
                ("generations.Group", "must not be empty"),
                ("generations.User[0]", "has a { without its }"),
            ],
        );
        check(
            r#"{"cache": "c", "keys": ["{id}"], "key": 1}"#,
            &[(
                "",
                "unknown field `key`, expected one of `cache`, `generation_cache`, `keys`, `generations`, `skip_ids` at line 1 column 38",
            )],
        );
    }
}

//! Reads files: definitions of data sources as JSON or YAML, documents as JSON.

use std::path::Path;

use anyhow::Context as _;
use ucr::DataSource;
use ucr::data_source::read_definitions;
use ucr::value::{JsonError, Value, parse};

use crate::yaml;

pub(crate) fn read(file: &Path) -> anyhow::Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("could not read {}", file.display()))
}

/// What is wrong with a file.
pub(crate) fn wrong(file: &Path, problem: &str) -> anyhow::Error {
    anyhow::anyhow!("{}: {problem}", file.display())
}

/// The data sources that a file defines; none, when it is wrong, and what is wrong was printed.
///
/// # Errors
/// The file cannot be read, or is neither JSON nor YAML.
pub(crate) fn sources(file: &Path) -> anyhow::Result<Option<Vec<DataSource>>> {
    let text = read(file)?;
    let json = yaml::as_json(file, &text).map_err(|error| wrong(file, &error.to_string()))?;
    let mut sources = Vec::new();
    for (_, definition) in definitions(&json).map_err(|problem| wrong(file, &problem))? {
        match read_definitions(&definition, None) {
            Ok(read) => sources.extend(read.sources),
            Err(error) => {
                for problem in error.problems {
                    eprintln!("error: {}: {problem}", file.display());
                }
                return Ok(None);
            }
        }
    }
    Ok(Some(sources))
}

/// What look-ups find, as text; nothing without a file, and that is said where data sources look something up.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn related(file: Option<&Path>, sources: &[DataSource]) -> anyhow::Result<String> {
    if file.is_none() && sources.iter().any(|source| !source.look_ups.is_empty()) {
        eprintln!("note: look-ups find nothing here; --related gives what they are to find");
    }
    file.map_or_else(|| Ok("{}".to_owned()), read)
}

/// The definitions in a file, each with its place there: one, or a list of them.
///
/// # Errors
/// The file is no JSON; it says where.
pub(crate) fn definitions(text: &str) -> Result<Vec<(String, Value<'_>)>, String> {
    let value = parse(text).map_err(|error| located(text, &error))?;
    Ok(match value.as_list() {
        Some(list) => {
            list.iter().enumerate().map(|(index, definition)| (format!("[{index}]"), definition.clone())).collect()
        }
        None => vec![(String::new(), value)],
    })
}

/// The documents in a file: one, a list of them, or one a line.
///
/// # Errors
/// The file is none of that; it says where.
pub(crate) fn documents(text: &str) -> Result<Vec<Value<'_>>, String> {
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    match parse(text) {
        Ok(value) => Ok(value.as_list().map_or_else(|| vec![value.clone()], <[Value<'_>]>::to_vec)),
        // A document written over several lines does not end on its first.
        Err(error) if text.lines().find(|line| !line.trim().is_empty()).is_none_or(|line| parse(line).is_err()) => {
            Err(located(text, &error))
        }
        Err(_) => {
            let document = |(at, line)| parse(line).map_err(|error| format!("line {}: {}", at + 1, error.problem));
            lines.map(document).collect()
        }
    }
}

/// A place that an editor can go to.
fn located(text: &str, error: &JsonError) -> String {
    let before = text.get(..error.at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |line| line.chars().count()) + 1;
    format!("line {line}, column {column}: it is no JSON: {}", error.problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_one_a_list_or_lines() {
        for (text, count) in [("{\n}", 1), ("[{}, {}]", 2), ("{}\n\n{}\n{}\n", 3)] {
            assert_eq!(documents(text).unwrap().len(), count, "{text}");
        }
    }

    #[test]
    fn what_is_no_json_is_named_with_its_place() {
        let check = |text: &str, place: &str| {
            let error = documents(text).unwrap_err();
            assert!(error.starts_with(place), "{error}");
        };
        check("{\n  \"a\": ,\n}", "line 2, column 8");
        check("{}\n{\n", "line 2:");
        assert!(definitions("[{},\n x]").unwrap_err().starts_with("line 2, column 2"));
    }
}

//! `ucr check`: everything that is wrong with definitions of data sources.

use serde_json::json;
use ucr::data_source::read_definitions;

use crate::yaml;

use super::super::Outcome;
use super::super::args::{Arguments, UcrCheck};
use super::super::output::say_line;
use super::files;

pub(crate) fn run(arguments: &Arguments, wanted: &UcrCheck) -> anyhow::Result<Outcome> {
    let mut problems = Vec::new();
    let mut count = 0;
    for file in &wanted.files {
        let name = file.display().to_string();
        let text = files::read(file)?;
        let json = match yaml::as_json(file, &text) {
            Ok(json) => json,
            Err(error) => {
                problems.push((name, String::new(), error.to_string()));
                continue;
            }
        };
        match files::definitions(&json) {
            Ok(definitions) => {
                for (place, definition) in definitions {
                    match read_definitions(&definition, None) {
                        Ok(read) => count += read.sources.len(),
                        Err(error) => problems.extend(
                            error
                                .problems
                                .into_iter()
                                .map(|problem| (name.clone(), joined(&place, &problem.path), problem.message)),
                        ),
                    }
                }
            }
            Err(problem) => problems.push((name, String::new(), problem)),
        }
    }
    let is_fine = problems.is_empty();
    if arguments.json {
        let problem = |(file, path, message)| json!({ "file": file, "path": path, "message": message });
        let problems: Vec<_> = problems.into_iter().map(problem).collect();
        say_line(&json!({ "data_sources": count, "problems": problems }).to_string());
    } else {
        for (file, path, message) in &problems {
            let colon = if path.is_empty() { "" } else { ": " };
            eprintln!("error: {file}: {path}{colon}{message}");
        }
        match problems.len() {
            0 => say_line(&format!("{count} data sources, no problems")),
            1 => say_line(&format!("{count} data sources without problems, 1 problem")),
            number => say_line(&format!("{count} data sources without problems, {number} problems")),
        }
    }
    Ok(if is_fine { Outcome::Done } else { Outcome::WrongInput })
}

fn joined(place: &str, path: &str) -> String {
    let dot = if place.is_empty() || path.is_empty() { "" } else { "." };
    format!("{place}{dot}{path}")
}

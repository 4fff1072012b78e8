//! `seeds FOLDER [FILE…]`: writes what fuzzing begins with, a folder per target. The files are configurations of data
//! sources, or vectors, one a line, to begin with beside the documentation's examples.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use ucr_fuzz::seeds;

/// Vectors beyond so many of a file are left out: they are much alike.
const MOST_OF_A_FILE: usize = 1_500;

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let folder = arguments.next().unwrap_or_else(|| PathBuf::from("corpus"));
    let mut inputs: BTreeSet<(&str, String)> = BTreeSet::new();
    for example in seeds::examples() {
        inputs.insert(("json", example.clone()));
        if let Ok(example) = serde_json::from_str(&example) {
            add(&example, &mut inputs);
        }
    }
    for file in arguments {
        let text = std::fs::read_to_string(&file)?;
        if let Ok(configuration) = serde_json::from_str::<Value>(&text) {
            let document = seeds::document_for(&configuration);
            add(&json!({ "data_source": configuration, "document": document }), &mut inputs);
        } else {
            let lines: Vec<&str> = text.lines().collect();
            let step = lines.len().div_ceil(MOST_OF_A_FILE).max(1);
            let vectors = lines.iter().step_by(step).filter_map(|line| serde_json::from_str(line).ok());
            vectors.for_each(|vector: Value| add(&example_of(&vector), &mut inputs));
        }
    }
    for pattern in ["(?=a)(a+)+\\1b\0aaaaaaaaaaaaaaaa", "^(a|aa)+$\0aaaab\0x\\1", "(?P<x>é)(?i)\0éÉ\0\\g<x>"] {
        inputs.insert(("regex", pattern.to_owned()));
    }
    for (at, (target, input)) in inputs.iter().enumerate() {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(format!("seed-{at:05}")), input)?;
    }
    println!("{} seeds in {}", inputs.len(), Path::new(&folder).display());
    Ok(())
}

/// A vector in the form of the documentation's examples.
fn example_of(vector: &Value) -> Value {
    let given = |key: &str| vector.get(key).cloned().unwrap_or_default();
    let kind = if vector["kind"] == "datasource" { "data_source" } else { vector["kind"].as_str().unwrap_or_default() };
    json!({
        kind: given("spec"), "document": given("doc"), "related": given("related_docs"),
        "named_expressions": given("named_expressions"), "named_filters": given("named_filters"),
    })
}

fn add(example: &Value, inputs: &mut BTreeSet<(&'static str, String)>) {
    if let Some(rows) = seeds::rows(example) {
        inputs.insert(("configuration", rows["configuration"].to_string()));
        inputs.insert(("rows", rows.to_string()));
    }
    if let Some(definition) = example.get("definition") {
        inputs.insert(("configuration", definition.to_string()));
    }
    let mut texts = Vec::new();
    seeds::texts(example, "", &mut texts);
    for (key, text) in texts {
        match key {
            "statement" => inputs.insert(("evaluator", text.to_owned())),
            "jsonpath" => inputs.insert(("jsonpath", text.to_owned())),
            "property_value" if example.to_string().contains("regex") => inputs.insert(("regex", text.to_owned())),
            _ => false,
        };
    }
}

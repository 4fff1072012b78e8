//! Which data sources are measured: the project's own few, and the real ones of other people where they lie beside the
//! checkout.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::super::built::workspace;

/// Names a folder with configurations of data sources, one a file.
const VARIABLE: &str = "PILLOWTOP_UCR_DATA_SOURCES";
/// Where they are looked for otherwise, from the checkout.
const BESIDE: &str = "../shared/data/ucr-data-sources";
/// The project's own, from the checkout.
const OWN: &str = "tests/bench/ucr/own";

/// Data sources that belong together.
pub(crate) struct Configurations {
    pub(crate) what: String,
    pub(crate) all: Vec<Value>,
}

/// The project's own.
pub(crate) fn own() -> Configurations {
    let all = read(&workspace().join(OWN));
    Configurations { what: format!("{} own data sources", all.len()), all }
}

/// The real ones, or where they were looked for in vain.
pub(crate) fn real() -> Result<Configurations, String> {
    let given = std::env::var_os(VARIABLE).map(PathBuf::from);
    let given = given.or_else(|| {
        // A checkout may be a worktree somewhere below.
        workspace().ancestors().map(|folder| folder.join(BESIDE)).find(|folder| folder.is_dir())
    });
    let Some(folder) = given else {
        return Err(format!("the real data sources are not here: neither {VARIABLE} nor {BESIDE} leads to a folder"));
    };
    let all = read(&folder);
    Ok(Configurations { what: format!("{} real data sources", all.len()), all })
}

/// In the order of their files' names.
fn read(folder: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    let mut all: Vec<Value> =
        files.iter().map(|file| serde_json::from_slice(&fs::read(file).unwrap()).unwrap()).collect();
    all.iter_mut().for_each(unwrapped);
    // What is computed later costs the same then.
    all.iter_mut().for_each(|definition| definition["asynchronous"] = json!(false));
    // Two of one table would be one too many in a processor.
    for at in 1..all.len() {
        if all[..at].iter().any(|other| other["table_id"] == all[at]["table_id"]) {
            all[at]["table_id"] = json!(format!("{}-{at}", all[at]["table_id"].as_str().unwrap()));
        }
    }
    all
}

/// Static ones have their configuration within, and their domains beside it.
fn unwrapped(definition: &mut Value) {
    if definition["config"].is_object() {
        let mut config = definition["config"].take();
        config["domain"] = definition["domains"][0].clone();
        *definition = config;
    }
}

/// The same data source with other documents and another table: of the form namespace or case type `subtype`.
pub(crate) fn renamed(config: &Value, table: usize, subtype: &str) -> Value {
    let mut renamed = config.clone();
    renamed["table_id"] = json!(format!("{}-{table}", config["table_id"].as_str().unwrap()));
    let property = if config["referenced_doc_type"] == "CommCareCase" { "type" } else { "xmlns" };
    renamed["configured_filter"] = json!({
        "type": "boolean_expression", "operator": "eq", "property_value": subtype,
        "expression": { "type": "property_name", "property_name": property },
    });
    renamed
}

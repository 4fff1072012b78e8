//! Where fuzzing begins: the examples of the documentation, and what else of the kind is given.

use std::path::Path;

use serde_json::{Map, Value, json};

/// The fenced JSON of the documentation.
pub fn examples() -> Vec<String> {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/ucr");
    let mut examples = Vec::new();
    let Ok(pages) = std::fs::read_dir(docs) else { return examples };
    for page in pages.flatten() {
        let text = std::fs::read_to_string(page.path()).unwrap_or_default();
        for fenced in text.split("```json\n").skip(1) {
            examples.extend(fenced.split("\n```").next().map(str::to_owned));
        }
    }
    examples
}

/// An example as input of the target `rows`.
pub fn rows(example: &Value) -> Option<Value> {
    let given = |key: &str| example.get(key).cloned();
    let configuration = match given("data_source") {
        Some(configuration) => configuration,
        None => around(example)?,
    };
    let mut document = given("document").unwrap_or(Value::Null);
    if let (Value::Object(document), Value::Object(configuration)) = (&mut document, &configuration) {
        for (key, of) in [("domain", "domain"), ("doc_type", "referenced_doc_type"), ("_id", "table_id")] {
            if let (false, Some(value)) = (document.contains_key(key), configuration.get(of)) {
                document.insert(key.to_owned(), value.clone());
            }
        }
    }
    let related = given("related").unwrap_or_else(|| json!({}));
    Some(json!({ "configuration": configuration, "documents": [document], "related": related }))
}

/// A data source that has an expression, a filter or an indicator.
fn around(example: &Value) -> Option<Value> {
    let given = |key: &str| example.get(key).cloned();
    let indicator = match (given("expression"), given("filter"), given("indicator")) {
        (Some(expression), _, _) => {
            json!({ "type": "expression", "column_id": "c", "datatype": "string", "expression": expression })
        }
        (_, Some(filter), _) => json!({ "type": "boolean", "column_id": "c", "filter": filter }),
        (_, _, Some(indicator)) => indicator,
        _ => return None,
    };
    let mut source = json!({
        "domain": "d", "table_id": "t", "referenced_doc_type": "CommCareCase", "configured_indicators": [indicator],
    });
    if let Value::Object(source) = &mut source {
        for key in ["named_expressions", "named_filters"] {
            source.extend(given(key).map(|names| (key.to_owned(), names)));
        }
    }
    Some(source)
}

/// All texts of a value, with the key that each stands under.
pub fn texts<'v>(value: &'v Value, key: &'v str, found: &mut Vec<(&'v str, &'v str)>) {
    match value {
        Value::String(text) => found.push((key, text)),
        Value::Array(elements) => elements.iter().for_each(|element| texts(element, key, found)),
        Value::Object(entries) => entries.iter().for_each(|(key, value)| texts(value, key, found)),
        _ => {}
    }
}

/// A document that a configuration takes, as far as its domain and type go.
pub fn document_for(configuration: &Value) -> Value {
    let config = configuration.get("config").unwrap_or(configuration);
    let domain = config.get("domain").or_else(|| configuration.pointer("/domains/0")).cloned();
    let mut document = Map::new();
    document.insert("_id".to_owned(), json!("d1"));
    document.insert("domain".to_owned(), domain.unwrap_or_default());
    document.insert("doc_type".to_owned(), config.get("referenced_doc_type").cloned().unwrap_or_default());
    let mut found = Vec::new();
    texts(config, "", &mut found);
    for (key, text) in found {
        match key {
            "property_name" => {
                document.insert(text.to_owned(), json!("2015-01-31"));
            }
            "property_value" => {
                document.insert("type".to_owned(), json!(text));
                document.insert("xmlns".to_owned(), json!(text));
            }
            _ => {}
        }
    }
    let mut form: Value = json!({});
    for path in paths(config) {
        put(&mut form, &path);
    }
    if let Value::Object(form) = form {
        document.extend(form);
    }
    Value::Object(document)
}

fn paths(value: &Value) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    match value {
        Value::Array(elements) => elements.iter().for_each(|element| found.extend(paths(element))),
        Value::Object(entries) => {
            for (key, value) in entries {
                match value.as_array().filter(|_| key == "property_path") {
                    Some(path) => found.push(path.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
                    None => found.extend(paths(value)),
                }
            }
        }
        _ => {}
    }
    found
}

fn put(into: &mut Value, path: &[String]) {
    let Some((name, rest)) = path.split_first() else {
        if *into == json!({}) {
            *into = json!("12");
        }
        return;
    };
    if let Value::Object(entries) = into {
        put(entries.entry(name.clone()).or_insert_with(|| json!({})), rest);
    }
}

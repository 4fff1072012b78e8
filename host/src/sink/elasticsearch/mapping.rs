//! Mappings as JSON: in the spelling of today's servers, and compared with what an index has.

use serde_json::{Map, Value};

/// What the server keeps of a property for good, and what it takes where nothing is said. What else may differ is
/// either changed by a new mapping or refused by the server when it is put.
const FIXED: [(&str, &str); 5] = [
    ("type", "object"),
    ("index", "true"),
    ("analyzer", "default"),
    ("normalizer", ""),
    ("format", "strict_date_optional_time||epoch_millis"),
];

/// A mapping in the spelling of Elasticsearch 7 and later: `string` and `multi_field` are of older ones.
///
/// # Errors
/// When it is not a JSON object.
pub(super) fn modern(mapping: &[u8]) -> Result<Map<String, Value>, String> {
    let value: Value = serde_json::from_slice(mapping).map_err(|error| format!("the mapping is not JSON: {error}"))?;
    match value {
        Value::Object(mut mapping) => {
            modern_properties(&mut mapping, "properties");
            Ok(mapping)
        }
        _ => Err("the mapping is not a JSON object".to_owned()),
    }
}

/// What keeps an index of the mapping `known` from becoming one of `declared`: one line for each property.
pub(super) fn differences(known: &Map<String, Value>, declared: &Map<String, Value>) -> Vec<String> {
    let mut problems = Vec::new();
    compare(known, declared, "", &mut problems);
    problems
}

/// Whether an index of the mapping `known` has all of `declared` already.
pub(super) fn covers(known: &Value, declared: &Value) -> bool {
    match (known, declared) {
        (Value::Object(known), Value::Object(declared)) => declared.iter().all(|(name, declared)| {
            known.get(name).map_or_else(|| is_default(name, declared), |known| covers(known, declared))
        }),
        (known, declared) => text(known) == text(declared),
    }
}

/// Puts what `more` has into `mapping`; where both say something, `more` counts.
pub(super) fn extend(mapping: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, value) in more {
        match (mapping.get_mut(name), value) {
            (Some(Value::Object(known)), Value::Object(more)) => extend(known, more),
            _ => {
                mapping.insert(name.clone(), value.clone());
            }
        }
    }
}

fn modern_properties(object: &mut Map<String, Value>, key: &str) {
    let Some(Value::Object(properties)) = object.get_mut(key) else { return };
    for (name, property) in properties {
        if let Value::Object(property) = property {
            modern_property(name, property);
        }
    }
}

fn modern_property(name: &str, property: &mut Map<String, Value>) {
    modern_properties(property, "properties");
    modern_properties(property, "fields");
    let whole = property.get("index").is_some_and(|index| index == "not_analyzed");
    match property.get("type").and_then(Value::as_str) {
        Some("string") => {
            property.insert("type".to_owned(), if whole { "keyword" } else { "text" }.into());
        }
        // The sub-field with the property's own name is the property.
        Some("multi_field") => {
            if let Some(Value::Object(mut fields)) = property.remove("fields")
                && let Some(Value::Object(own)) = fields.remove(name)
            {
                *property = own;
                if !fields.is_empty() {
                    property.insert("fields".to_owned(), Value::Object(fields));
                }
            }
        }
        _ => {}
    }
    match property.get("index").and_then(Value::as_str) {
        Some("no" | "false") => {
            property.insert("index".to_owned(), false.into());
        }
        Some(_) => {
            property.remove("index");
        }
        None => {}
    }
}

fn compare(known: &Map<String, Value>, declared: &Map<String, Value>, path: &str, problems: &mut Vec<String>) {
    for key in ["properties", "fields"] {
        let Some(Value::Object(declared)) = declared.get(key) else { continue };
        let Some(Value::Object(known)) = known.get(key) else { continue };
        for (name, declared) in declared {
            let (Some(Value::Object(known)), Value::Object(declared)) = (known.get(name), declared) else { continue };
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            compare_property(known, declared, &path, problems);
        }
    }
}

fn compare_property(known: &Map<String, Value>, declared: &Map<String, Value>, path: &str, problems: &mut Vec<String>) {
    let said = |property: &Map<String, Value>, key: &str, default: &str| {
        property.get(key).map_or_else(|| default.to_owned(), text)
    };
    for (key, default) in FIXED {
        let (is, wanted) = (said(known, key, default), said(declared, key, default));
        if is == wanted {
            continue;
        }
        problems.push(match key {
            "type" => format!("property {path} is {is} and cannot become {wanted}"),
            _ => format!("property {path}: {key} is {is:?} and cannot become {wanted:?}"),
        });
        // The rest of another type means nothing.
        if key == "type" {
            return;
        }
    }
    compare(known, declared, path, problems);
}

/// Servers leave out what is the default.
fn is_default(key: &str, value: &Value) -> bool {
    let defaults = [("dynamic", "true"), ("date_detection", "true"), ("enabled", "true"), ("coerce", "true")];
    let empty = value.as_object().is_some_and(Map::is_empty);
    empty || FIXED.iter().chain(&defaults).any(|(name, default)| *name == key && text(value) == *default)
}

/// Servers give flags and numbers as texts.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn old_spellings_become_today_s() {
        let old = json!({"dynamic": false, "properties": {
            "name": {"type": "string"},
            "id": {"type": "string", "index": "not_analyzed"},
            "raw": {"type": "string", "index": "no"},
            "o": {"properties": {"n": {"type": "multi_field", "fields": {
                "n": {"type": "string", "index": "analyzed"}, "exact": {"type": "string", "index": "not_analyzed"}}}}},
        }});
        let new = json!({"dynamic": false, "properties": {
            "name": {"type": "text"},
            "id": {"type": "keyword"},
            "raw": {"type": "text", "index": false},
            "o": {"properties": {"n": {"type": "text", "fields": {"exact": {"type": "keyword"}}}}},
        }});
        assert_eq!(modern(old.to_string().as_bytes()), Ok(object(new)));
        assert!(modern(b"[]").is_err());
    }

    #[test]
    fn what_cannot_change_is_named_by_its_path() {
        let known = json!({"properties": {
            "a": {"type": "long"}, "d": {"type": "date", "format": "x"}, "o": {"properties": {"k": {"type": "keyword"}}},
            "n": {"type": "nested", "properties": {}}, "t": {"type": "text", "fields": {"e": {"type": "keyword"}}},
        }});
        let declared = json!({"properties": {
            "a": {"type": "date"}, "d": {"type": "date"}, "o": {"properties": {"k": {"type": "keyword", "index": false}}},
            "n": {"properties": {}}, "t": {"type": "text", "fields": {"e": {"type": "text"}}}, "new": {"type": "long"},
        }});
        assert_eq!(
            differences(&object(known.clone()), &object(declared)),
            [
                "property a is long and cannot become date",
                r#"property d: format is "x" and cannot become "strict_date_optional_time||epoch_millis""#,
                "property n is nested and cannot become object",
                r#"property o.k: index is "true" and cannot become "false""#,
                "property t.e is keyword and cannot become text",
            ]
        );
        assert_eq!(differences(&object(known.clone()), &object(known)), [""; 0]);
    }

    #[test]
    fn what_a_server_leaves_out_is_covered() {
        let known = json!({"dynamic": "false", "properties": {"a": {"type": "long"}, "o": {"type": "object"}}});
        let declared = json!({"dynamic": false, "date_detection": true, "properties": {
            "a": {"type": "long", "coerce": true, "index": true}, "o": {"type": "object", "properties": {}}}});
        assert!(covers(&known, &declared));
        assert!(!covers(&known, &json!({"properties": {"b": {"type": "long"}}})));
        assert!(!covers(&known, &json!({"dynamic": "strict"})));
    }
}

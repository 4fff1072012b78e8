//! What of a document is searchable: its values by path, as the mapping says, or why it does not fit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::mapping::{Dynamic, Field, Kind, MOST_FIELDS, Mapping, Object, Property, join};
use super::values;

/// The most bytes of one keyword, as Lucene has it (`IndexWriter.MAX_TERM_LENGTH`). A longer one is refused.
const LONGEST_KEYWORD: usize = 32_766;

/// The values of one document.
#[derive(Debug, PartialEq, Default)]
pub(super) struct Extracted {
    /// Values that are searched as a whole.
    pub(super) exact: BTreeMap<String, Vec<Exact>>,
    /// Texts that are searched by their words.
    pub(super) text: BTreeMap<String, Vec<String>>,
}

/// A value that is searched as a whole.
#[derive(Debug, PartialEq)]
pub(super) enum Exact {
    Text(String),
    Number(i64),
}

/// The searchable values of `document`.
///
/// # Errors
/// The field and the value that do not fit.
pub(super) fn extract(mapping: &Mapping, document: &Map<String, Value>) -> Result<Extracted, String> {
    let mut extracted = Extracted::default();
    walk(&mapping.root, Dynamic::Learn, document, "", &mut extracted)?;
    Ok(extracted)
}

/// The mapping with the properties that `document` brings; the same one unless `dynamic` allows and there are any.
///
/// # Errors
/// A property that cannot be mapped.
pub(super) fn learn<'a>(mapping: &'a Mapping, document: &Map<String, Value>) -> Result<Cow<'a, Mapping>, String> {
    let mut news = Vec::new();
    find_news(&mapping.root, Dynamic::Learn, document, "", &mut news);
    if news.is_empty() {
        return Ok(Cow::Borrowed(mapping));
    }
    let mut learned = mapping.clone();
    for (path, value) in news {
        add(&mut learned.root, &path, &path, value, mapping.date_detection)?;
    }
    let count = learned.searchable().len();
    if count > MOST_FIELDS {
        return Err(format!("{count} fields would be mapped, and the limit is {MOST_FIELDS}"));
    }
    Ok(Cow::Owned(learned))
}

fn walk(
    object: &Object,
    around: Dynamic,
    document: &Map<String, Value>,
    path: &str,
    extracted: &mut Extracted,
) -> Result<(), String> {
    if !object.enabled {
        return Ok(());
    }
    let dynamic = object.dynamic.unwrap_or(around);
    for (name, value) in document {
        entry(object, dynamic, name, value, path, extracted)?;
    }
    Ok(())
}

fn entry(
    object: &Object,
    dynamic: Dynamic,
    name: &str,
    value: &Value,
    path: &str,
    extracted: &mut Extracted,
) -> Result<(), String> {
    match object.properties.get(name) {
        Some(Property::Object(inner)) => inside(inner, dynamic, value, &join(path, name), extracted),
        Some(Property::Field(field)) => values(field, value, &join(path, name), extracted),
        None => match name.split_once('.') {
            // `{"a.b": 1}` means `{"a": {"b": 1}}`, as in Elasticsearch.
            Some((head, rest)) if object.properties.contains_key(head) => match &object.properties[head] {
                Property::Object(inner) if inner.enabled => {
                    entry(inner, inner.dynamic.unwrap_or(dynamic), rest, value, &join(path, head), extracted)
                }
                Property::Object(_) => Ok(()),
                Property::Field(_) => Err(format!("field {} is not an object, and {name} is given", join(path, head))),
            },
            _ if dynamic == Dynamic::Strict => {
                Err(format!("field {} is not mapped, and the mapping is strict", join(path, name)))
            }
            _ => Ok(()),
        },
    }
}

fn inside(
    object: &Object,
    around: Dynamic,
    value: &Value,
    path: &str,
    extracted: &mut Extracted,
) -> Result<(), String> {
    match value {
        _ if !object.enabled => Ok(()),
        Value::Null => Ok(()),
        Value::Object(document) => walk(object, around, document, path, extracted),
        Value::Array(values) => values.iter().try_for_each(|value| inside(object, around, value, path, extracted)),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            Err(format!("field {path} is an object, and {} is not", shown(value)))
        }
    }
}

fn values(field: &Field, value: &Value, path: &str, extracted: &mut Extracted) -> Result<(), String> {
    match value {
        _ if matches!(field.kind, Kind::StoredOnly(_)) => Ok(()),
        Value::Array(elements) => elements.iter().try_for_each(|value| values(field, value, path, extracted)),
        Value::Null => field.null_value.as_ref().map_or(Ok(()), |value| one(field, value, path, extracted)),
        value => one(field, value, path, extracted),
    }
}

fn one(field: &Field, value: &Value, path: &str, extracted: &mut Extracted) -> Result<(), String> {
    for (name, field) in &field.fields {
        one(field, value, &join(path, name), extracted)?;
    }
    let exact = match (field.kind, values::text(value)) {
        (Kind::Keyword | Kind::Text, None) => {
            return Err(format!("field {path} is {}, and {} is an object", field.kind.as_str(), shown(value)));
        }
        (_, Some(text)) if field.ignore_above.is_some_and(|bound| text.chars().count() > bound) => return Ok(()),
        (Kind::Text, Some(text)) => {
            if field.indexed {
                extracted.text.entry(path.to_owned()).or_default().push(text);
            }
            return Ok(());
        }
        (Kind::Keyword, Some(text)) if text.len() > LONGEST_KEYWORD => {
            return Err(format!("field {path} is keyword, and {} has more than {LONGEST_KEYWORD} bytes", shown(value)));
        }
        (Kind::Keyword, Some(text)) => Exact::Text(text),
        (kind, _) => match values::number(kind, value, field.coerce) {
            Ok(Some(number)) => Exact::Number(number),
            Ok(None) => return Ok(()),
            Err(_) if field.ignore_malformed => return Ok(()),
            Err(reason) => return Err(format!("field {path} is {}, and {} is {reason}", kind.as_str(), shown(value))),
        },
    };
    if field.indexed {
        extracted.exact.entry(path.to_owned()).or_default().push(exact);
    }
    Ok(())
}

/// A value in an error: short enough for a line.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 80;
    let text = value.to_string();
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// Collects values without a property, where the mapping may grow.
fn find_news<'a>(
    object: &Object,
    around: Dynamic,
    document: &'a Map<String, Value>,
    path: &str,
    news: &mut Vec<(String, &'a Value)>,
) {
    let dynamic = object.dynamic.unwrap_or(around);
    if !object.enabled {
        return;
    }
    for (name, value) in document {
        match object.properties.get(name) {
            Some(Property::Field(_)) => {}
            Some(Property::Object(inner)) => objects(value, &mut |inside| {
                find_news(inner, dynamic, inside, &join(path, name), news);
            }),
            None if dynamic == Dynamic::Learn => news.push((join(path, name), value)),
            None => {}
        }
    }
}

fn objects<'a>(value: &'a Value, each: &mut impl FnMut(&'a Map<String, Value>)) {
    match value {
        Value::Object(object) => each(object),
        Value::Array(values) => values.iter().for_each(|value| objects(value, each)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Maps `value` at the dotted `path` below `object`, unless it is mapped there by now.
fn add(object: &mut Object, path: &str, whole: &str, value: &Value, date_detection: bool) -> Result<(), String> {
    let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
    if name.is_empty() || name.contains(['\\', '\0', '\u{1}']) {
        return Err(format!("field {whole:?} has a name that cannot be mapped"));
    }
    // An object inside may say for itself that it does not learn; its properties came here through a dotted name.
    if !object.enabled || matches!(object.dynamic, Some(Dynamic::Ignore | Dynamic::Strict)) {
        return Ok(());
    }
    let value = match value {
        Value::Array(values) => {
            return values.iter().try_for_each(|value| add(object, path, whole, value, date_detection));
        }
        Value::Null => return Ok(()),
        value => value,
    };
    let is_object = rest.is_some() || value.is_object();
    if !object.properties.contains_key(name) {
        let property = if is_object {
            Property::Object(Object { dynamic: None, enabled: true, nested: false, properties: BTreeMap::new() })
        } else {
            Property::Field(guess(value, date_detection))
        };
        object.properties.insert(name.to_owned(), property);
    }
    let Some(Property::Object(inner)) = object.properties.get_mut(name) else {
        // Whether the value fits what is there is for `extract` to say.
        return Ok(());
    };
    match (rest, value) {
        (Some(rest), value) => add(inner, rest, whole, value, date_detection),
        (None, Value::Object(document)) => {
            document.iter().try_for_each(|(name, value)| add(inner, name, &join(whole, name), value, date_detection))
        }
        (None, _) => Ok(()),
    }
}

/// What Elasticsearch maps a new scalar to.
fn guess(value: &Value, date_detection: bool) -> Field {
    match value {
        Value::Bool(_) => Field::new(Kind::Boolean),
        Value::Number(number) if number.is_f64() => Field::new(Kind::Float),
        Value::Number(_) => Field::new(Kind::Long),
        Value::String(text) if date_detection && values::looks_like_a_date(text) => Field::new(Kind::Date),
        _ => {
            let mut keyword = Field::new(Kind::Keyword);
            keyword.ignore_above = Some(256);
            let mut field = Field::new(Kind::Text);
            field.fields.insert("keyword".to_owned(), keyword);
            field
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(mapping: &Value, document: &Value) -> Result<String, String> {
        let mapping = Mapping::parse(mapping.to_string().as_bytes()).unwrap();
        let document = document.as_object().unwrap();
        let mapping = learn(&mapping, document)?.into_owned();
        let extracted = extract(&mapping, document)?;
        let mut lines = Vec::new();
        for (path, values) in extracted.exact {
            lines.extend(values.into_iter().map(|value| match value {
                Exact::Text(text) => format!("{path}={text}"),
                Exact::Number(number) => format!("{path}#{number}"),
            }));
        }
        for (path, texts) in extracted.text {
            lines.extend(texts.into_iter().map(|text| format!("{path}~{text}")));
        }
        Ok(lines.join(" "))
    }

    fn check(properties: Value, document: Value, expected: Result<&str, &str>) {
        let found = run(&json!({"dynamic": false, "properties": properties}), &document);
        assert_eq!(found.as_deref().map_err(String::as_str), expected, "{document}");
    }

    #[test]
    fn mapped_values_are_found_wherever_they_stand() {
        let properties = json!({
            "name": {"type": "text", "fields": {"exact": {"type": "keyword"}}},
            "actions": {"type": "nested", "properties": {"n": {"type": "long"}}},
        });
        let document =
            json!({"name": "Ada L", "actions": [{"n": 1}, {"n": [2, "3"]}, null], "actions.n": 4, "x": {"y": 1}});
        check(properties, document, Ok("actions.n#1 actions.n#2 actions.n#3 actions.n#4 name.exact=Ada L name~Ada L"));
    }

    #[test]
    fn what_is_only_stored_is_not_looked_at() {
        let properties = json!({"place": {"type": "geo_point"}, "raw": {"enabled": false}, "o": {"properties": {
            "deep": {"type": "object", "enabled": false}}}, "off": {"type": "keyword", "index": false}});
        check(properties, json!({"place": "nowhere", "raw": 5, "o": {"deep": 7, "deep.x": 1}, "off": "x"}), Ok(""));
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_field() {
        let properties = json!({"o": {"properties": {"age": {"type": "long"}}}, "k": {"type": "keyword"}});
        check(
            properties.clone(),
            json!({"o": {"age": "old"}}),
            Err(r#"field o.age is long, and "old" is not an integer"#),
        );
        check(properties.clone(), json!({"o": 3}), Err("field o is an object, and 3 is not"));
        check(properties, json!({"k": {"a": 1}}), Err(r#"field k is keyword, and {"a":1} is an object"#));
    }

    #[test]
    fn malformed_values_may_be_ignored_and_nulls_may_have_a_value() {
        let properties = json!({"age": {"type": "long", "ignore_malformed": true},
            "k": {"type": "keyword", "null_value": "NONE", "ignore_above": 4}});
        check(properties, json!({"age": ["old", 3], "k": [null, "too long", "fits"]}), Ok("age#3 k=NONE k=fits"));
    }

    #[test]
    fn a_strict_mapping_refuses_what_it_does_not_know() {
        let mapping =
            json!({"dynamic": "strict", "properties": {"o": {"properties": {}}, "loose": {"dynamic": false}}});
        assert_eq!(run(&mapping, &json!({"loose": {"x": 1}})), Ok(String::new()));
        let refused = run(&mapping, &json!({"o": {"x": 1}}));
        assert_eq!(refused, Err("field o.x is not mapped, and the mapping is strict".to_owned()));
    }

    #[test]
    fn a_dynamic_mapping_learns_from_the_document() {
        let document =
            json!({"s": "a b", "n": 1, "f": 1.5, "b": true, "d": "2024-02-01", "o": [{"x": 1}, {"y.z": 2}], "e": []});
        let found = run(&json!({}), &document).unwrap();
        assert_eq!(found, "b#1 d#1706745600000000 f#4609434218613702656 n#1 o.x#1 o.y.z#2 s.keyword=a b s~a b");
        let mixed = run(&json!({}), &json!({"a": [{"x": 1}, {"x": "one"}]}));
        assert_eq!(mixed, Err(r#"field a.x is long, and "one" is not an integer"#.to_owned()));
    }

    #[test]
    fn a_dynamic_mapping_does_not_grow_for_ever() {
        let document: Map<String, Value> = (0..=MOST_FIELDS).map(|n| (format!("n{n}"), json!(n))).collect();
        assert_eq!(
            run(&json!({}), &document.into()),
            Err("1001 fields would be mapped, and the limit is 1000".to_owned())
        );
    }
}

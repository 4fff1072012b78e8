//! Mappings: what Elasticsearch calls so, as a checked value, and how one grows into another.
//!
//! Understood are `properties`, `dynamic` (true, false, strict), `date_detection`, `enabled`, `type`, `index`,
//! `fields`, `coerce`, `ignore_malformed`, `ignore_above` and `null_value`, in the spelling of Elasticsearch 1 to 9
//! (`string` with `not_analyzed` is `keyword`, `multi_field` is `fields`). What only tunes storage or analysis there
//! (`doc_values`, `analyzer`, `format`, `norms`, …) is accepted and has no effect.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The most properties that dynamic mapping makes of one index, as `index.mapping.total_fields.limit` has it; a
/// document with more of them is refused.
pub(super) const MOST_FIELDS: usize = 1000;

/// The longest name of a property's path. What is longer is refused.
const LONGEST_PATH: usize = 1024;

/// A checked mapping.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    pub(super) root: Object,
    pub(super) date_detection: bool,
}

/// An object and its properties.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Object {
    /// None: as the object around it says.
    pub(super) dynamic: Option<Dynamic>,
    /// Whether its inside is looked at, at all.
    pub(super) enabled: bool,
    /// Whether it is declared `nested`; its fields are flattened all the same.
    pub(super) nested: bool,
    pub(super) properties: BTreeMap<String, Property>,
}

/// What happens to a property that is not mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dynamic {
    /// It is mapped.
    Learn,
    /// It stands in the stored document alone.
    Ignore,
    /// The document is refused.
    Strict,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Property {
    Object(Object),
    Field(Field),
}

/// A property with values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Field {
    pub(super) kind: Kind,
    pub(super) indexed: bool,
    pub(super) coerce: bool,
    pub(super) ignore_malformed: bool,
    /// Texts of more characters are not indexed.
    pub(super) ignore_above: Option<usize>,
    /// What is indexed for an explicit null.
    pub(super) null_value: Option<Value>,
    /// The same values indexed in other ways, under `path.name`.
    pub(super) fields: BTreeMap<String, Self>,
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Keyword,
    Text,
    Date,
    Long,
    Integer,
    Short,
    Byte,
    Double,
    Float,
    Boolean,
    /// Kept in the document and not searchable.
    StoredOnly(&'static str),
}

const KINDS: [(&str, Kind); 16] = [
    ("keyword", Kind::Keyword),
    ("text", Kind::Text),
    ("date", Kind::Date),
    ("date_nanos", Kind::Date),
    ("long", Kind::Long),
    ("integer", Kind::Integer),
    ("short", Kind::Short),
    ("byte", Kind::Byte),
    ("double", Kind::Double),
    ("float", Kind::Float),
    ("half_float", Kind::Float),
    ("boolean", Kind::Boolean),
    ("geo_point", Kind::StoredOnly("geo_point")),
    ("geo_shape", Kind::StoredOnly("geo_shape")),
    ("point", Kind::StoredOnly("point")),
    ("binary", Kind::StoredOnly("binary")),
];

impl Mapping {
    /// Reads a mapping.
    ///
    /// # Errors
    /// One line for each thing that is wrong, with the path of its property.
    pub fn parse(text: &[u8]) -> Result<Self, Vec<String>> {
        let value: Value = match serde_json::from_slice(text) {
            Ok(value) => value,
            Err(error) => return Err(vec![format!("the mapping is not JSON: {error}")]),
        };
        let Value::Object(object) = value else {
            return Err(vec!["the mapping is not a JSON object".to_owned()]);
        };
        let mut problems = Vec::new();
        let root = parse_object(&object, "", &mut problems);
        let date_detection = flag(&object, "date_detection", true, "", &mut problems);
        if problems.is_empty() { Ok(Self { root, date_detection }) } else { Err(problems) }
    }

    /// The mapping as JSON, in today's spelling.
    pub fn to_json(&self) -> Value {
        let mut json = object_json(&self.root);
        json.insert("date_detection".to_owned(), self.date_detection.into());
        Value::Object(json)
    }

    /// Every searchable field by its path.
    pub(super) fn searchable(&self) -> Vec<(String, Kind)> {
        let mut fields = Vec::new();
        collect(&self.root, "", &mut fields);
        fields
    }
}

impl Field {
    pub(super) fn new(kind: Kind) -> Self {
        Self {
            kind,
            indexed: true,
            coerce: true,
            ignore_malformed: false,
            ignore_above: None,
            null_value: None,
            fields: BTreeMap::new(),
        }
    }
}

impl Kind {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::StoredOnly(name) => name,
            kind => KINDS.iter().find(|(_, known)| *known == kind).map_or("?", |(name, _)| name),
        }
    }
}

impl Property {
    pub(super) fn describe(&self) -> &'static str {
        match self {
            Self::Object(object) if object.nested => "nested",
            Self::Object(_) => "object",
            Self::Field(field) => field.kind.as_str(),
        }
    }
}

/// `path` and `name` as one path.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A place in a mapping, for people.
pub(super) fn named(path: &str) -> String {
    if path.is_empty() { "the mapping".to_owned() } else { format!("property {path}") }
}

fn parse_object(json: &Map<String, Value>, path: &str, problems: &mut Vec<String>) -> Object {
    let dynamic = match json.get("dynamic") {
        None | Some(Value::Null) => None,
        Some(Value::Bool(true)) => Some(Dynamic::Learn),
        Some(Value::Bool(false)) => Some(Dynamic::Ignore),
        Some(Value::String(text)) if text == "true" => Some(Dynamic::Learn),
        Some(Value::String(text)) if text == "false" => Some(Dynamic::Ignore),
        Some(Value::String(text)) if text == "strict" => Some(Dynamic::Strict),
        Some(other) => {
            problems.push(format!("{}: dynamic is {other}, not true, false or \"strict\"", named(path)));
            None
        }
    };
    let enabled = flag(json, "enabled", true, path, problems);
    let mut properties = BTreeMap::new();
    match json.get("properties") {
        None | Some(Value::Null) => {}
        Some(Value::Object(declared)) => {
            for (name, property) in declared {
                let path = join(path, name);
                if name.is_empty() || name.contains(['.', '\\', '\0', '\u{1}', '*']) || path.len() > LONGEST_PATH {
                    problems.push(format!("{}: {name:?} cannot name a property", named(&path)));
                } else if let Some(property) = parse_property(property, name, &path, problems) {
                    properties.insert(name.clone(), property);
                }
            }
        }
        Some(_) => problems.push(format!("{}: properties is not an object", named(path))),
    }
    let nested = json.get("type").is_some_and(|kind| kind == "nested");
    Object { dynamic, enabled, nested, properties }
}

fn parse_property(json: &Value, name: &str, path: &str, problems: &mut Vec<String>) -> Option<Property> {
    let Value::Object(declared) = json else {
        problems.push(format!("{}: it is not an object", named(path)));
        return None;
    };
    match declared.get("type") {
        Some(Value::String(kind)) if kind == "object" || kind == "nested" => {
            Some(Property::Object(parse_object(declared, path, problems)))
        }
        None if declared.keys().any(|key| ["properties", "dynamic", "enabled"].contains(&key.as_str())) => {
            Some(Property::Object(parse_object(declared, path, problems)))
        }
        Some(Value::String(kind)) if kind == "multi_field" => parse_multi_field(declared, name, path, problems),
        Some(Value::String(kind)) => parse_field(declared, kind, path, problems).map(Property::Field),
        _ => {
            problems.push(format!("{}: it has no type", named(path)));
            None
        }
    }
}

/// The `multi_field` of Elasticsearch 1: the sub-field with the property's own name is the property.
fn parse_multi_field(
    declared: &Map<String, Value>,
    name: &str,
    path: &str,
    problems: &mut Vec<String>,
) -> Option<Property> {
    let mut fields = parse_fields(declared, path, problems);
    let Some(mut main) = fields.remove(name) else {
        problems.push(format!("{}: a multi_field needs a field of its own name", named(path)));
        return None;
    };
    main.fields = fields;
    Some(Property::Field(main))
}

fn parse_fields(declared: &Map<String, Value>, path: &str, problems: &mut Vec<String>) -> BTreeMap<String, Field> {
    let mut fields = BTreeMap::new();
    let Some(Value::Object(declared)) = declared.get("fields") else {
        return fields;
    };
    for (name, field) in declared {
        match parse_property(field, name, &join(path, name), problems) {
            Some(Property::Field(field)) => {
                fields.insert(name.clone(), field);
            }
            Some(Property::Object(_)) => problems.push(format!("{}: a sub-field is an object", named(path))),
            None => {}
        }
    }
    fields
}

fn parse_field(declared: &Map<String, Value>, kind: &str, path: &str, problems: &mut Vec<String>) -> Option<Field> {
    let index = declared.get("index");
    let kind = match KINDS.iter().find(|(known, _)| *known == kind) {
        Some((_, kind)) => *kind,
        None if kind == "string" && index.is_some_and(|index| index == "not_analyzed") => Kind::Keyword,
        None if kind == "string" => Kind::Text,
        None => {
            let known: Vec<&str> = KINDS.iter().map(|(known, _)| *known).collect();
            problems.push(format!(
                "{}: type {kind:?} is not supported; there are object, nested, string, {}",
                named(path),
                known.join(", "),
            ));
            return None;
        }
    };
    let mut field = Field::new(kind);
    field.indexed = match index {
        Some(Value::Bool(indexed)) => *indexed,
        Some(Value::String(text)) => text != "no" && text != "false",
        _ => true,
    };
    field.coerce = flag(declared, "coerce", true, path, problems);
    field.ignore_malformed = flag(declared, "ignore_malformed", false, path, problems);
    field.ignore_above = match declared.get("ignore_above") {
        None | Some(Value::Null) => None,
        Some(bound) => {
            let bound = bound.as_u64().and_then(|bound| usize::try_from(bound).ok());
            if bound.is_none() {
                problems.push(format!("{}: ignore_above is not a count of characters", named(path)));
            }
            bound
        }
    };
    field.null_value = declared.get("null_value").filter(|value| !value.is_null()).cloned();
    field.fields = parse_fields(declared, path, problems);
    Some(field)
}

fn flag(json: &Map<String, Value>, name: &str, default: bool, path: &str, problems: &mut Vec<String>) -> bool {
    match json.get(name) {
        None | Some(Value::Null) => default,
        Some(Value::Bool(flag)) => *flag,
        Some(Value::String(text)) if text == "true" => true,
        Some(Value::String(text)) if text == "false" => false,
        Some(other) => {
            problems.push(format!("{}: {name} is {other}, not true or false", named(path)));
            default
        }
    }
}

fn object_json(object: &Object) -> Map<String, Value> {
    let mut json = Map::new();
    if object.nested {
        json.insert("type".to_owned(), "nested".into());
    }
    match object.dynamic {
        Some(Dynamic::Learn) => json.insert("dynamic".to_owned(), true.into()),
        Some(Dynamic::Ignore) => json.insert("dynamic".to_owned(), false.into()),
        Some(Dynamic::Strict) => json.insert("dynamic".to_owned(), "strict".into()),
        None => None,
    };
    if !object.enabled {
        json.insert("enabled".to_owned(), false.into());
    }
    let properties = object.properties.iter().map(|(name, property)| {
        let json = match property {
            Property::Object(object) => object_json(object),
            Property::Field(field) => field_json(field),
        };
        (name.clone(), Value::Object(json))
    });
    json.insert("properties".to_owned(), Value::Object(properties.collect()));
    json
}

fn field_json(field: &Field) -> Map<String, Value> {
    let mut json = Map::new();
    json.insert("type".to_owned(), field.kind.as_str().into());
    for (name, value, default) in [
        ("index", field.indexed, true),
        ("coerce", field.coerce, true),
        ("ignore_malformed", field.ignore_malformed, false),
    ] {
        if value != default {
            json.insert(name.to_owned(), value.into());
        }
    }
    if let Some(bound) = field.ignore_above {
        json.insert("ignore_above".to_owned(), json!(bound));
    }
    if let Some(value) = &field.null_value {
        json.insert("null_value".to_owned(), value.clone());
    }
    if !field.fields.is_empty() {
        let fields = field.fields.iter().map(|(name, field)| (name.clone(), Value::Object(field_json(field))));
        json.insert("fields".to_owned(), Value::Object(fields.collect()));
    }
    json
}

fn collect(object: &Object, path: &str, fields: &mut Vec<(String, Kind)>) {
    if !object.enabled {
        return;
    }
    for (name, property) in &object.properties {
        let path = join(path, name);
        match property {
            Property::Object(object) => collect(object, &path, fields),
            Property::Field(field) => collect_field(field, path, fields),
        }
    }
}

fn collect_field(field: &Field, path: String, fields: &mut Vec<(String, Kind)>) {
    for (name, field) in &field.fields {
        collect_field(field, join(&path, name), fields);
    }
    if field.indexed && !matches!(field.kind, Kind::StoredOnly(_)) {
        fields.push((path, field.kind));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(json: Value) -> Mapping {
        Mapping::parse(json.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn a_mapping_survives_being_stored() {
        let original = mapping(json!({"dynamic": "strict", "date_detection": false, "properties": {
            "name": {"type": "string", "fields": {"exact": {"type": "string", "index": "not_analyzed"}}},
            "when": {"type": "date", "ignore_malformed": true, "null_value": "1970-01-01"},
            "tag": {"type": "keyword", "ignore_above": 10, "index": false},
            "actions": {"type": "nested", "properties": {"n": {"type": "long", "coerce": false}}},
            "raw": {"enabled": false},
            "place": {"type": "geo_point"},
        }}));
        assert_eq!(mapping(original.to_json()), original);
    }

    #[test]
    fn old_and_new_spellings_mean_the_same() {
        let old = json!({"properties": {"a": {"type": "string"}, "b": {"type": "multi_field", "fields": {
            "b": {"type": "string", "index": "analyzed"}, "exact": {"type": "string", "index": "not_analyzed"}}}}});
        let new = json!({"properties": {"a": {"type": "text"},
            "b": {"type": "text", "fields": {"exact": {"type": "keyword"}}}}});
        assert_eq!(mapping(old), mapping(new));
    }

    #[test]
    fn everything_wrong_in_a_mapping_is_said_at_once() {
        let text = json!({"dynamic": "runtime", "properties": {
            "a": {"type": "ip"}, "b": {}, "c.d": {"type": "long"}, "e": {"type": "keyword", "ignore_above": -1}}});
        insta::assert_snapshot!(Mapping::parse(text.to_string().as_bytes()).unwrap_err().join("\n"), @r#"
        the mapping: dynamic is "runtime", not true, false or "strict"
        property a: type "ip" is not supported; there are object, nested, string, keyword, text, date, date_nanos, long, integer, short, byte, double, float, half_float, boolean, geo_point, geo_shape, point, binary
        property b: it has no type
        property c.d: "c.d" cannot name a property
        property e: ignore_above is not a count of characters
        "#);
    }
}

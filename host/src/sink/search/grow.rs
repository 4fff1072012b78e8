//! How a mapping grows: new properties are added, and what is there stays what it is.

use super::mapping::{Field, Mapping, Object, Property, join, named};

impl Mapping {
    /// This mapping with what `declared` adds.
    ///
    /// # Errors
    /// One line for each property that is there and is declared to be something else.
    pub fn extended(&self, declared: &Self) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut extended = self.clone();
        extended.date_detection = declared.date_detection;
        extend_object(&mut extended.root, &declared.root, "", &mut problems);
        if problems.is_empty() { Ok(extended) } else { Err(problems) }
    }
}

fn extend_object(known: &mut Object, declared: &Object, path: &str, problems: &mut Vec<String>) {
    if known.enabled != declared.enabled {
        problems.push(format!("{}: enabled is {} and cannot become {}", named(path), known.enabled, declared.enabled));
    }
    known.dynamic = declared.dynamic;
    for (name, property) in &declared.properties {
        let path = join(path, name);
        match (known.properties.get_mut(name), property) {
            (None, property) => {
                known.properties.insert(name.clone(), property.clone());
            }
            (Some(Property::Object(known)), Property::Object(declared)) if known.nested == declared.nested => {
                extend_object(known, declared, &path, problems);
            }
            (Some(Property::Field(known)), Property::Field(declared)) if known.kind == declared.kind => {
                extend_field(known, declared, &path, problems);
            }
            (Some(known), declared) => problems.push(format!(
                "{} is {} and cannot become {}",
                named(&path),
                known.describe(),
                declared.describe()
            )),
        }
    }
}

fn extend_field(known: &mut Field, declared: &Field, path: &str, problems: &mut Vec<String>) {
    if known.indexed != declared.indexed {
        problems.push(format!("{}: index is {} and cannot become {}", named(path), known.indexed, declared.indexed));
    }
    known.coerce = declared.coerce;
    known.ignore_malformed = declared.ignore_malformed;
    known.ignore_above = declared.ignore_above;
    known.null_value.clone_from(&declared.null_value);
    for (name, declared) in &declared.fields {
        let path = join(path, name);
        match known.fields.get_mut(name) {
            None => {
                known.fields.insert(name.clone(), declared.clone());
            }
            Some(known) if known.kind == declared.kind => extend_field(known, declared, &path, problems),
            Some(known) => problems.push(format!(
                "{} is {} and cannot become {}",
                named(&path),
                known.kind.as_str(),
                declared.kind.as_str()
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn mapping(json: Value) -> Mapping {
        Mapping::parse(json.to_string().as_bytes()).unwrap()
    }

    fn refused(known: Value, declared: Value) -> Vec<String> {
        mapping(json!({"properties": known})).extended(&mapping(json!({"properties": declared}))).unwrap_err()
    }

    #[test]
    fn new_properties_are_added_and_old_ones_stay() {
        let known =
            mapping(json!({"properties": {"a": {"type": "date"}, "o": {"properties": {"x": {"type": "long"}}}}}));
        let declared =
            mapping(json!({"properties": {"b": {"type": "text"}, "o": {"properties": {"y": {"type": "text"}}}}}));
        let fields: Vec<String> =
            known.extended(&declared).unwrap().searchable().into_iter().map(|(path, _)| path).collect();
        assert_eq!(fields, ["a", "b", "o.x", "o.y"]);
    }

    #[test]
    fn a_property_that_would_change_is_refused_by_its_path() {
        assert_eq!(
            refused(
                json!({"o": {"properties": {"x": {"type": "long"}}}, "k": {"type": "keyword"}, "p": {"type": "object"}}),
                json!({"o": {"properties": {"x": {"type": "date"}}}, "k": {"type": "keyword", "index": false},
                    "p": {"type": "nested"}}),
            ),
            [
                "property k: index is true and cannot become false",
                "property o.x is long and cannot become date",
                "property p is object and cannot become nested",
            ]
        );
    }
}

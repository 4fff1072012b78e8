//! The mappings of the indices, as Elasticsearch writes them.
//!
//! Form and case indices search only the fields that are listed; the rest stays in the stored document. Dates, numbers
//! and points that cannot be read are passed over by the index (`ignore_malformed`), so that they do not cost the
//! document.

use serde_json::{Map, Value, json};

use crate::plain::{Settings, Unlisted};

/// The mapping of the case index.
pub const CASE: &str = include_str!("mappings/case.json");

/// The mapping of the form index.
pub const FORM: &str = include_str!("mappings/form.json");

/// The formats of dates in documents: the ISO 8601 of phones and servers, also with a space for the `T`.
const DATE_FORMAT: &str = "strict_date_optional_time||yyyy-MM-dd HH:mm:ss||yyyy-MM-dd HH:mm:ss.SSSSSS";

/// What a listed field of a plain document holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Keyword,
    Text,
    Date,
    Boolean,
    Long,
    Double,
    GeoPoint,
    Object,
    Nested,
}

impl FieldKind {
    /// All kinds with the names that Elasticsearch has for them.
    pub const ALL: [(&'static str, Self); 9] = [
        ("keyword", Self::Keyword),
        ("text", Self::Text),
        ("date", Self::Date),
        ("boolean", Self::Boolean),
        ("long", Self::Long),
        ("double", Self::Double),
        ("geo_point", Self::GeoPoint),
        ("object", Self::Object),
        ("nested", Self::Nested),
    ];

    /// The kind of that name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(candidate, _)| *candidate == name).map(|(_, kind)| *kind)
    }

    fn mapping(self) -> Value {
        match self {
            // Longer terms than 32,766 bytes are refused by Lucene, and with them the document.
            Self::Keyword => json!({"type": "keyword", "ignore_above": 8191}),
            Self::Text => json!({"type": "text"}),
            Self::Date => json!({"type": "date", "format": DATE_FORMAT, "ignore_malformed": true}),
            Self::Boolean => json!({"type": "boolean"}),
            Self::Long => json!({"type": "long", "ignore_malformed": true}),
            Self::Double => json!({"type": "double", "ignore_malformed": true}),
            Self::GeoPoint => json!({"type": "geo_point", "ignore_malformed": true}),
            Self::Object => json!({"type": "object", "dynamic": true}),
            Self::Nested => json!({"type": "nested", "dynamic": true}),
        }
    }
}

/// The mapping of an index of plain documents.
pub fn plain(settings: &Settings) -> String {
    let mut properties = Map::new();
    for (path, kind) in &settings.fields {
        insert(&mut properties, path, *kind);
    }
    let dynamic = settings.unlisted == Unlisted::Dynamic;
    json!({"dynamic": dynamic, "date_detection": false, "properties": properties}).to_string()
}

fn insert(properties: &mut Map<String, Value>, path: &str, kind: FieldKind) {
    match path.split_once('.') {
        None => {
            properties.insert(path.to_owned(), kind.mapping());
        }
        Some((parent, rest)) => {
            let parent = properties.entry(parent).or_insert_with(|| json!({"properties": {}}));
            if let Some(Value::Object(properties)) = parent.get_mut("properties") {
                insert(properties, rest, kind);
            }
        }
    }
}

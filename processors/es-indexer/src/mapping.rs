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

/// The mapping of the index in which cases are searched by any property.
pub const CASE_SEARCH: &str = include_str!("mappings/case_search.json");

/// The mapping of the user index.
pub const USER: &str = include_str!("mappings/user.json");

/// The mapping of the domain index.
pub const DOMAIN: &str = include_str!("mappings/domain.json");

/// The mapping of the index of applications.
pub const APP: &str = include_str!("mappings/app.json");

/// The mapping of the group index.
pub const GROUP: &str = include_str!("mappings/group.json");

/// What groups write into the user index.
pub const GROUP_MEMBERS: &str = include_str!("mappings/group_members.json");

/// The mapping of the index of text messages.
pub const SMS: &str = include_str!("mappings/sms.json");

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

/// The names of a mapping's fields, without those inside of objects.
pub fn top_level(mapping: &str) -> Vec<String> {
    let mapping: Value = serde_json::from_str(mapping).unwrap_or_default();
    mapping["properties"].as_object().map(|fields| fields.keys().cloned().collect()).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [&str; 9] = [FORM, CASE, CASE_SEARCH, USER, DOMAIN, APP, GROUP, GROUP_MEMBERS, SMS];

    fn type_of(mapping: &str, path: &[&str]) -> String {
        let mapping: Value = serde_json::from_str(mapping).unwrap();
        let field = path.iter().fold(&mapping, |at, name| &at["properties"][name]);
        field["type"].as_str().unwrap_or("none").to_owned()
    }

    #[test]
    fn what_the_transforms_add_can_be_searched() {
        for (mapping, path, expected) in [
            (CASE, &["owner_type"][..], "keyword"),
            (CASE, &["inserted_at"], "date"),
            (CASE, &["backend_id"], "keyword"),
            (CASE, &["actions"], "nested"),
            (CASE, &["closed"], "boolean"),
            (CASE, &["indices", "referenced_id"], "keyword"),
            (FORM, &["user_type"], "keyword"),
            (FORM, &["inserted_at"], "date"),
            (FORM, &["backend_id"], "keyword"),
            (FORM, &["__retrieved_case_ids"], "keyword"),
            (FORM, &["form", "meta", "geo_point"], "geo_point"),
            (FORM, &["form", "meta", "timeStart"], "date"),
            (FORM, &["form", "meta", "commcare_version"], "keyword"),
            (FORM, &["form", "meta", "app_build_version"], "integer"),
            (FORM, &["form", "case", "@date_modified"], "date"),
            (FORM, &["form", "case", "update"], "object"),
            (CASE_SEARCH, &["case_properties"], "nested"),
            (CASE_SEARCH, &["case_properties", "key"], "keyword"),
            (CASE_SEARCH, &["case_properties", "value"], "text"),
            (CASE_SEARCH, &["case_properties", "geopoint_value"], "geo_point"),
            (CASE_SEARCH, &["indices"], "nested"),
            (CASE_SEARCH, &["@indexed_on"], "date"),
            (USER, &["base_username"], "text"),
            (USER, &["__group_ids"], "keyword"),
            (USER, &["user_data_es", "key"], "keyword"),
            (DOMAIN, &["subscription"], "keyword"),
            (DOMAIN, &["deployment", "countries"], "keyword"),
            (APP, &["@indexed_on"], "date"),
            (GROUP, &["removed_users"], "keyword"),
            (SMS, &["date"], "date"),
        ] {
            assert_eq!(type_of(mapping, path), expected, "{path:?}");
        }
    }

    #[test]
    fn unlisted_fields_are_not_searched() {
        for mapping in ALL {
            let mapping: Value = serde_json::from_str(mapping).unwrap();
            assert_eq!((&mapping["dynamic"], &mapping["date_detection"]), (&json!(false), &json!(false)));
        }
    }

    #[test]
    fn dates_have_one_format_everywhere() {
        for mapping in [CASE, FORM, CASE_SEARCH, USER, DOMAIN, APP, SMS] {
            assert_eq!(mapping.matches("\"date\",").count(), mapping.matches(DATE_FORMAT).count());
            assert!(mapping.contains(DATE_FORMAT));
        }
    }

    #[test]
    fn groups_and_users_mean_the_same_by_the_fields_that_both_know() {
        let of = |mapping: &str, field: &str| {
            let mapping: Value = serde_json::from_str(mapping).unwrap();
            mapping["properties"][field].clone()
        };
        for field in top_level(GROUP_MEMBERS) {
            assert_eq!(of(GROUP_MEMBERS, &field), of(USER, &field));
        }
    }

    #[test]
    fn listed_fields_of_plain_documents_lead_into_objects() {
        let fields = vec![("a.b".to_owned(), FieldKind::Long), ("a.c.d".to_owned(), FieldKind::Keyword)];
        let mapping: Value = serde_json::from_str(&plain(&Settings { fields, unlisted: Unlisted::Dynamic })).unwrap();
        assert_eq!(
            mapping,
            json!({"dynamic": true, "date_detection": false, "properties": {"a": {"properties": {
                "b": {"type": "long", "ignore_malformed": true},
                "c": {"properties": {"d": {"type": "keyword", "ignore_above": 8191}}},
            }}}})
        );
    }
}

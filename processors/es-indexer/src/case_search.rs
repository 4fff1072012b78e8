//! The document of a case in the index in which people search cases by any of their properties.

use std::borrow::Cow;

use crate::geo;
use crate::lookups::Lookups;
use crate::object::{self, Name, Object, quoted};

/// What the configuration says about searching for cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whose cases are in the index.
    pub domains: Domains,
    /// The look-up that finds something for a domain whose cases are.
    pub domain_lookup: Option<String>,
    /// Properties that hold points on Earth.
    pub geo_properties: Vec<String>,
}

/// Whose cases are in the index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Domains {
    /// Everybody's.
    All,
    /// Those of these domains.
    Only(Vec<String>),
    /// Those of all but these domains.
    Except(Vec<String>),
}

/// Fields that are taken over as they stand.
const PLAIN: [&str; 16] = [
    "closed",
    "closed_by",
    "closed_on",
    "doc_type",
    "domain",
    "external_id",
    "indices",
    "location_id",
    "modified_on",
    "name",
    "opened_by",
    "opened_on",
    "owner_id",
    "server_modified_on",
    "type",
    "user_id",
];

/// Fields of a case that are no properties people gave it, beside those of [`PLAIN`].
const OF_THE_CASE: [&str; 18] = [
    "actions",
    "backend_id",
    "case_attachments",
    "case_id",
    "case_json",
    "computed_",
    "computed_modified_on_",
    "deleted",
    "deleted_on",
    "deletion_date",
    "deletion_id",
    "export_tag",
    "external_blobs",
    "initial_processing_complete",
    "inserted_at",
    "referrals",
    "version",
    "xform_ids",
];

/// Whether the cases of `domain` are in the index; with none the case is skipped.
pub fn reason_to_skip(
    domain: Option<&str>,
    settings: &Settings,
    lookups: &mut Lookups<'_, '_>,
) -> Option<&'static str> {
    let Some(domain) = domain.filter(|domain| !domain.is_empty()) else {
        return Some("case without domain");
    };
    let listed = |domains: &[String]| domains.iter().any(|listed| listed == domain);
    let is_wanted = match &settings.domains {
        Domains::All => true,
        Domains::Only(domains) => listed(domains),
        Domains::Except(domains) => !listed(domains),
    };
    // Asked last: a domain that the configuration rules out costs no look-up.
    let is_wanted = is_wanted
        && settings.domain_lookup.as_deref().is_none_or(|lookup| {
            let found = lookups.first(lookup, domain).is_some();
            found || lookups.are_wanting()
        });
    (!is_wanted).then_some("a domain without case search")
}

/// The document for the index. `id` is the case's.
pub fn transform(case: &Object<'_>, id: &str, time: &str, settings: &Settings) -> String {
    let mut out = format!("{{\"_id\":{}", quoted(id));
    for name in PLAIN {
        add(&mut out, name, case.get(name).unwrap_or("null"));
    }
    add(&mut out, "@indexed_on", &quoted(time));
    let mut properties = specials(case, id);
    let case_json = case.get("case_json").and_then(|properties| Object::parse(properties).ok());
    match &case_json {
        Some(case_json) => properties.extend(case_json.fields().map(|field| dynamic(field, settings))),
        // A case that was not taken apart holds its properties among its own fields.
        None => {
            let own = case.fields().filter(|(name, _)| is_dynamic(name));
            properties.extend(own.map(|field| dynamic(field, settings)));
        }
    }
    add(&mut out, "case_properties", &format!("[{}]", properties.join(",")));
    out.push('}');
    out
}

fn add(out: &mut String, name: &str, value: &str) {
    out.push(',');
    out.push_str(&quoted(name));
    out.push(':');
    out.push_str(value);
}

fn pair(key: &str, value: &str) -> String {
    format!("{{\"key\":{},\"value\":{value}}}", quoted(key))
}

/// What every case can be searched by.
fn specials(case: &Object<'_>, id: &str) -> Vec<String> {
    let of = |name: &str| text_of(case.get(name).unwrap_or("null")).into_owned();
    let is_closed = !matches!(case.get("closed"), None | Some("false" | "null"));
    let external_id =
        case.get("external_id").filter(|value| !object::is_empty(Some(value))).map_or(Cow::Borrowed("\"\""), text_of);
    vec![
        pair("@case_id", &quoted(id)),
        pair("@case_type", &of("type")),
        pair("@owner_id", &of("owner_id")),
        pair("@status", &quoted(if is_closed { "closed" } else { "open" })),
        pair("name", &of("name")),
        pair("case_name", &of("name")),
        pair("external_id", &external_id),
        pair("date_opened", &of("opened_on")),
        pair("closed_on", &of("closed_on")),
        pair("last_modified", &of("modified_on")),
    ]
}

fn is_dynamic(name: &Name<'_>) -> bool {
    let name = name.as_str();
    !PLAIN.contains(&name) && !OF_THE_CASE.contains(&name) && !name.starts_with(['_', '@', '#'])
}

fn dynamic((name, value): (&Name<'_>, &str), settings: &Settings) -> String {
    let name = name.as_str();
    let text = text_of(value);
    if !settings.geo_properties.iter().any(|property| property == name) {
        return pair(name, &text);
    }
    let point = object::text(value).and_then(|text| geo::point(&text)).unwrap_or_else(|| "null".to_owned());
    format!("{{\"key\":{},\"value\":{text},\"geopoint_value\":{point}}}", quoted(name))
}

/// A value as JSON text: what is no text is written as one, so that the index has one kind of value.
fn text_of(json: &str) -> Cow<'_, str> {
    match json {
        "null" => Cow::Borrowed("null"),
        // As Python writes them, which the original is made of.
        "true" => Cow::Borrowed("\"True\""),
        "false" => Cow::Borrowed("\"False\""),
        _ if json.starts_with('"') => Cow::Borrowed(json),
        _ => Cow::Owned(quoted(json)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lookups::{Want, nothing};

    fn settings() -> Settings {
        Settings { domains: Domains::All, domain_lookup: None, geo_properties: vec!["gps".to_owned()] }
    }

    fn indexed(case: &Value) -> Value {
        let text = case.to_string();
        let document = transform(&Object::parse(&text).unwrap(), "c", "T", &settings());
        serde_json::from_str(&document).unwrap()
    }

    fn property(case: &Value, key: &str) -> Vec<Value> {
        let properties = indexed(case)["case_properties"].as_array().unwrap().clone();
        properties.into_iter().filter(|property| property["key"] == key).collect()
    }

    #[test]
    fn a_case_has_its_own_fields_and_every_property_as_a_pair() {
        // Acceptance case 98.
        let case = json!({
            "_id": "c", "doc_type": "CommCareCase", "domain": "d", "type": "t", "name": "n", "owner_id": "o",
            "closed": false, "opened_on": "2026-01-01T00:00:00Z", "modified_on": "2026-01-02T00:00:00Z",
            "actions": [1], "case_json": {"age": 7, "alive": true, "gone": null, "village": "Bela"},
        });
        let document = indexed(&case);
        assert_eq!((&document["_id"], &document["domain"], &document["name"]), (&json!("c"), &json!("d"), &json!("n")));
        assert_eq!((&document["@indexed_on"], &document["closed_by"]), (&json!("T"), &Value::Null));
        assert_eq!(document.get("actions"), None);
        let pairs = |pairs: &[(&str, Value)]| -> Value {
            pairs.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        };
        let expected = pairs(&[
            ("@case_id", json!("c")),
            ("@case_type", json!("t")),
            ("@owner_id", json!("o")),
            ("@status", json!("open")),
            ("name", json!("n")),
            ("case_name", json!("n")),
            ("external_id", json!("")),
            ("date_opened", json!("2026-01-01T00:00:00Z")),
            ("closed_on", Value::Null),
            ("last_modified", json!("2026-01-02T00:00:00Z")),
            ("age", json!("7")),
            ("alive", json!("True")),
            ("gone", Value::Null),
            ("village", json!("Bela")),
        ]);
        assert_eq!(document["case_properties"].to_string(), expected.to_string());
    }

    #[test]
    fn properties_may_stand_among_the_fields_of_the_case() {
        let case = json!({"_id": "c", "_rev": "1", "type": "t", "xform_ids": ["f"], "village": "Bela"});
        assert_eq!(property(&case, "village"), [json!({"key": "village", "value": "Bela"})]);
        assert_eq!(indexed(&case)["case_properties"].as_array().unwrap().len(), 11);
    }

    #[test]
    fn a_point_is_a_point_beside_its_text() {
        let case = |gps: &str| json!({"case_json": {"gps": gps}});
        let expected = json!({"key": "gps", "value": "42.7 -21 0 0", "geopoint_value": {"lat": 42.7, "lon": -21}});
        assert_eq!(property(&case("42.7 -21 0 0"), "gps"), [expected]);
        assert_eq!(property(&case("x"), "gps"), [json!({"key": "gps", "value": "x", "geopoint_value": null})]);
    }

    #[test]
    fn a_closed_case_says_so() {
        assert_eq!(property(&json!({"closed": true}), "@status")[0]["value"], "closed");
        assert_eq!(property(&json!({"external_id": "e"}), "external_id")[0]["value"], "e");
    }

    #[test]
    fn only_the_cases_of_domains_that_need_it_are_indexed() {
        let check = |domains: Domains, domain: Option<&str>, expected: Option<&str>| {
            let settings = Settings { domains, ..settings() };
            assert_eq!(
                reason_to_skip(domain, &settings, &mut Lookups::new(&nothing)),
                expected,
                "{settings:?} {domain:?}"
            );
        };
        let list = || vec!["d".to_owned()];
        check(Domains::All, Some("d"), None);
        check(Domains::Only(list()), Some("d"), None);
        check(Domains::Only(list()), Some("e"), Some("a domain without case search"));
        check(Domains::Except(list()), Some("d"), Some("a domain without case search"));
        check(Domains::Except(list()), Some("e"), None);
        check(Domains::All, None, Some("case without domain"));
    }

    #[test]
    fn a_look_up_may_say_which_domains_need_it() {
        let settings = Settings { domain_lookup: Some("search".to_owned()), ..settings() };
        let mut lookups = Lookups::new(&nothing);
        assert_eq!(reason_to_skip(Some("d"), &settings, &mut lookups), None);
        assert_eq!(lookups.into_wants(), [Want { lookup: "search".to_owned(), key: "d".to_owned() }]);
        let check = |found: &[Vec<u8>], expected: Option<&str>| {
            let find = |_: &str, _: &str| Some(found);
            assert_eq!(reason_to_skip(Some("d"), &settings, &mut Lookups::new(&find)), expected);
        };
        check(&[b"{}".to_vec()], None);
        check(&[], Some("a domain without case search"));
    }
}

//! Whatever a document is, the indexer answers: it never panics, and what it indexes is JSON that keeps every field.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the exemption for tests does not cover helper functions")]

use es_indexer::config::Config;
use es_indexer::indexer::{Action, Change, Document, action};
use es_indexer::lookups::nothing;
use proptest::prelude::*;
use serde_json::{Map, Value};

/// Names that the transforms look at, so that odd values stand where they hurt.
const NAMES: [&str; 34] = [
    "deployment",
    "countries",
    "username",
    "user_data",
    "case_json",
    "closed",
    "external_id",
    "_id",
    "doc_type",
    "domain",
    "xmlns",
    "form",
    "meta",
    "case",
    "@case_id",
    "case_id",
    "@date_modified",
    "date_modified",
    "index",
    "update",
    "owner_id",
    "user_id",
    "backend_id",
    "actions",
    "timeStart",
    "timeEnd",
    "appVersion",
    "#text",
    "location",
    "userID",
    "build_id",
    "version",
    "copy_of",
    "other \"name\"\n",
];

const PROFILES: [&str; 10] =
    ["form", "case", "case-search", "user", "domain", "app", "group", "group-members", "sms", "plain"];

const TEXTS: [&str; 12] = [
    "",
    "demo_user",
    "42.7 -21 0 0",
    "2024-02-29T13:54:07.25Z",
    "13:54Z",
    "version \"2.27.2\"(414569). App v56. 2.27",
    "\"\"\"\" (",
    "App v b[ #",
    "XFormInstance-Deleted",
    "统一码 \u{0} \\ \"",
    "1",
    "case",
];

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|eighths| Value::from(f64::from(eighths) / 8.0)),
        ".{0,12}".prop_map(Value::from),
        prop::sample::select(&TEXTS[..]).prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, |inner| {
        prop_oneof![prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from), object_of(inner),]
    })
}

fn object_of(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    prop::collection::vec((prop::sample::select(&NAMES[..]), inner), 0..8)
        .prop_map(|fields| Value::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
}

/// A document that gets past the filters more often than by chance.
fn document() -> impl Strategy<Value = Value> {
    (object_of(value()), object_of(value()), object_of(value()), any::<bool>()).prop_map(
        |(document, mut form, meta, whole)| {
            let mut document = document;
            if let (true, Value::Object(fields), Value::Object(form_fields)) = (whole, &mut document, &mut form) {
                form_fields.insert("meta".to_owned(), meta);
                fields.insert("domain".to_owned(), Value::from("d"));
                fields.insert("doc_type".to_owned(), Value::from("XFormInstance"));
                fields.insert("form".to_owned(), form);
            }
            document
        },
    )
}

fn decide(profile: &str, document: &[u8]) -> Option<Action> {
    let config = format!(r#"{{"profile": "{profile}", "index": "i"}}"#);
    let config = Config::parse(config.as_bytes()).unwrap();
    let change = Change {
        id: "c",
        domain: None,
        deleted: false,
        document: Document::Present(document),
        time: "T",
        find: &nothing,
    };
    action(&config, &change).ok()
}

fn fields(json: &str) -> Map<String, Value> {
    match serde_json::from_str(json) {
        Ok(Value::Object(fields)) => fields,
        other => panic!("not an object: {other:?} in {json}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_case_of_any_shape_keeps_its_fields(document in document()) {
        let text = document.to_string();
        if let Some(Action::Index(indexed)) = decide("case", text.as_bytes()) {
            let indexed = fields(&indexed);
            prop_assert_eq!(&indexed["inserted_at"], "T");
            for (name, value) in fields(&text) {
                prop_assert!(indexed[&name] == value || name == "owner_id", "{} of {}", name, text);
            }
        }
    }

    #[test]
    fn a_form_of_any_shape_keeps_its_fields(document in document()) {
        let text = document.to_string();
        if let Some(Action::Index(indexed)) = decide("form", text.as_bytes()) {
            let indexed = fields(&indexed);
            prop_assert!(indexed["__retrieved_case_ids"].is_array());
            for (name, value) in fields(&text) {
                prop_assert!(indexed[&name] == value || name == "form", "{} of {}", name, text);
            }
            // What was put right is right. (Twice, because an empty date becomes null first and is left out then.)
            let again = |form: Map<String, Value>| match decide("form", Value::Object(form).to_string().as_bytes()) {
                Some(Action::Index(indexed)) => fields(&indexed),
                other => panic!("not indexed again: {other:?}"),
            };
            let twice = again(indexed);
            prop_assert_eq!(again(twice.clone()), twice);
        }
    }

    #[test]
    fn documents_of_any_shape_keep_their_fields(document in document()) {
        let text = document.to_string();
        for profile in ["user", "domain", "app", "group", "sms"] {
            if let Some(Action::Index(indexed)) = decide(profile, text.as_bytes()) {
                let indexed = fields(&indexed);
                for (name, value) in fields(&text) {
                    prop_assert!(indexed[&name] == value || name == "deployment", "{} of {} in {}", name, text, profile);
                }
            }
        }
        if let Some(Action::Index(indexed)) = decide("case-search", text.as_bytes()) {
            prop_assert!(fields(&indexed)["case_properties"].as_array().is_some_and(|list| list.len() >= 10));
        }
    }

    #[test]
    fn bytes_that_are_no_json_are_refused_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for profile in PROFILES {
            if let Some(Action::Index(indexed)) = decide(profile, &bytes) {
                fields(&indexed);
            }
        }
    }

    #[test]
    fn a_configuration_of_any_shape_is_answered(config in value()) {
        let _answer = Config::parse(config.to_string().as_bytes());
    }
}

#[test]
fn nesting_of_any_depth_is_answered() {
    for around in [r#"{"domain":"d","form":"#, r#"{"domain":"d","form":{"case":"#, r#"{"domain":"d","form":{"meta":"#] {
        for (open, close) in [("[", "]"), (r#"{"case":"#, "}"), (r#"{"x":"#, "}")] {
            let closing = "}".repeat(around.matches('{').count());
            let text = format!("{around}{}{}{}{closing}", open.repeat(50_000), "1", close.repeat(50_000));
            for profile in PROFILES {
                decide(profile, text.as_bytes());
            }
        }
    }
}

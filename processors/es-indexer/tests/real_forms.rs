//! Real forms of CommCare go through the transform whenever their file is there: it is not ours to copy.
//!
//! `PILLOWTOP_SHARED` names the folder with `data/commcare/forms.jsonl`; else `shared` beside the repository is tried.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the exemption for tests does not cover helper functions")]

use std::io::Write as _;
use std::path::PathBuf;

use es_indexer::config::Config;
use es_indexer::indexer::{Action, Change, Document, action};
use es_indexer::lookups::nothing;
use serde_json::{Value, json};

#[test]
fn real_forms_are_indexed() {
    let shared = std::env::var_os("PILLOWTOP_SHARED")
        .map_or_else(|| PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")), PathBuf::from);
    let file = shared.join("data/commcare/forms.jsonl");
    let Ok(lines) = std::fs::read_to_string(&file) else {
        // Straight to the stream, which the harness does not capture: who reads it must know that nothing was proved.
        writeln!(std::io::stderr(), "no real forms at {}: nothing was tried", file.display()).unwrap();
        return;
    };
    let config = Config::parse(br#"{"profile": "form", "index": "forms-20230524"}"#).unwrap();
    let mut seen = 0;
    for line in lines.lines() {
        let form: Value = serde_json::from_str(line).unwrap();
        check(&config, form["name"].as_str().unwrap(), &form["document"]);
        seen += 1;
    }
    assert!(seen > 0, "{} is empty", file.display());
}

fn check(config: &Config, name: &str, document: &Value) {
    let text = document.to_string();
    let change = Change {
        id: "c",
        domain: None,
        deleted: false,
        document: Document::Present(text.as_bytes()),
        time: "T",
        find: &nothing,
    };
    let Ok(Action::Index(indexed)) = action(config, &change) else { panic!("{name} was not indexed") };
    let mut indexed: Value = serde_json::from_str(&indexed).unwrap();
    assert_eq!(indexed["user_type"], "unknown", "{name}");
    if let Some((commcare, build, cases)) = expected(name) {
        let meta = &indexed["form"]["meta"];
        assert_eq!((&meta["commcare_version"], &meta["app_build_version"]), (&commcare, &build), "{name}");
        assert_eq!(indexed["__retrieved_case_ids"], cases, "{name}");
    }
    // Without what was added, and with the text of the app's version put back, it is the form as it came.
    let meta = &mut indexed["form"]["meta"];
    if let Some(meta) = meta.as_object_mut() {
        for added in ["commcare_version", "app_build_version", "geo_point"] {
            meta.remove(added);
        }
        let original = &document["form"]["meta"]["appVersion"];
        if original.is_object() {
            assert_eq!(meta["appVersion"], original["#text"], "{name}");
            meta.insert("appVersion".to_owned(), original.clone());
        }
    }
    if document["form"]["meta"].is_null() {
        indexed["form"].as_object_mut().unwrap().remove("meta");
    }
    for added in ["user_type", "inserted_at", "backend_id", "__retrieved_case_ids"] {
        indexed.as_object_mut().unwrap().remove(added);
    }
    assert_eq!(&indexed, document, "{name}");
}

/// CommCare's version, the build's version and the cases of forms whose shape is known.
fn expected(name: &str) -> Option<(Value, Value, Value)> {
    match name {
        "cloudant-template" | "cloudant-template-tz" => Some((json!("2.2.0"), json!(303), json!(["{case_id}"]))),
        // The block named `case` in these is a question group without a case's id.
        "meta" | "decimalmeta" | "duplicate" => Some((Value::Null, Value::Null, json!([]))),
        _ => None,
    }
}

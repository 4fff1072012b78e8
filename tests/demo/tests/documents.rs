//! The made-up documents have what real ones have, and the indexer takes all of them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the exemption for tests does not cover helper functions")]

use std::collections::{BTreeMap, BTreeSet};

use es_indexer::config::Config;
use es_indexer::indexer::{Action, Change, Document, action};
use es_indexer::lookups::nothing;
use serde_json::Value;

fn generated(documents: u64, seed: u64) -> String {
    let mut out = Vec::new();
    pillowtop_demo::generate(documents, seed, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn parsed(documents: u64, seed: u64) -> Vec<Value> {
    generated(documents, seed).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_seed_gives_the_same_documents_again_and_another_one_others() {
    assert_eq!(generated(500, 7), generated(500, 7));
    assert_ne!(generated(500, 7), generated(500, 8));
}

#[test]
fn there_are_as_many_documents_as_asked_for() {
    for documents in [0, 1, 2, 333] {
        assert_eq!(generated(documents, 1).lines().count() as u64, documents);
    }
}

#[test]
fn every_document_says_what_it_is_and_where() {
    for document in parsed(3_000, 1) {
        for field in ["_id", "doc_type", "domain"] {
            assert!(document[field].as_str().is_some_and(|text| !text.is_empty()), "{field} of {document}");
        }
    }
}

#[test]
fn all_that_happens_to_documents_happens() {
    let mut happened: BTreeMap<String, u32> = BTreeMap::new();
    let mut versions: BTreeMap<String, u32> = BTreeMap::new();
    let mut count = |what: &str| *happened.entry(what.to_owned()).or_default() += 1;
    for document in parsed(3_000, 1) {
        let doc_type = document["doc_type"].as_str().unwrap();
        *versions.entry(document["_id"].to_string()).or_default() += 1;
        if document["_deleted"] == true {
            count("hard deletion");
            continue;
        }
        count(doc_type);
        match &document["form"]["member"] {
            Value::Object(_) => count("repeat of one"),
            Value::Array(_) => count("repeat of many"),
            _ => {}
        }
        if document["edited_on"].is_string() {
            count("edit");
        }
        if document["closed"] == true {
            count("closed case");
        }
        if document["indices"][0]["referenced_id"].is_string() {
            count("case with parent");
        }
        if document["form"]["open_pregnancy"]["case"]["@case_id"].is_string() {
            count("nested case block");
        }
    }
    for what in [
        "XFormInstance",
        "XFormArchived",
        "XFormInstance-Deleted",
        "CommCareCase",
        "CommCareCase-Deleted",
        "hard deletion",
        "repeat of one",
        "repeat of many",
        "edit",
        "closed case",
        "case with parent",
        "nested case block",
    ] {
        assert!(happened.get(what).is_some_and(|times| *times >= 5), "{what}: {happened:?}");
    }
    assert!(versions.values().any(|versions| *versions >= 4), "some document changes several times");
}

#[test]
fn nothing_happens_to_a_document_after_its_deletion() {
    let mut gone = BTreeSet::new();
    for document in parsed(5_000, 3) {
        let id = document["_id"].to_string();
        assert!(!gone.contains(&id), "{document}");
        if document["doc_type"].as_str().unwrap().ends_with("-Deleted") {
            gone.insert(id);
        }
    }
}

#[test]
fn the_indexer_takes_every_document() {
    let config = |profile| Config::parse(format!(r#"{{"profile": "{profile}", "index": "i"}}"#).as_bytes()).unwrap();
    let (forms, cases) = (config("form"), config("case"));
    let mut answers: BTreeMap<&str, u32> = BTreeMap::new();
    let (mut points, mut versions, mut with_cases) = (0, BTreeSet::new(), 0);
    for line in generated(3_000, 1).lines() {
        let config = if line.contains(r#""doc_type":"CommCareCase"#) { &cases } else { &forms };
        let document = Document::Present(line.as_bytes());
        let change = Change { id: "d", domain: None, deleted: false, document, time: "T", find: &nothing };
        let indexed = match action(config, &change) {
            Ok(Action::Index(indexed)) => indexed,
            Ok(Action::Delete) => {
                *answers.entry("delete").or_default() += 1;
                continue;
            }
            Ok(Action::Skip(reason)) => {
                *answers.entry(reason).or_default() += 1;
                continue;
            }
            other => panic!("{other:?} for {line}"),
        };
        let indexed: Value = serde_json::from_str(&indexed).unwrap();
        let meta = &indexed["form"]["meta"];
        points += u32::from(meta["geo_point"].is_object());
        with_cases += u32::from(indexed["__retrieved_case_ids"].as_array().is_some_and(|ids| !ids.is_empty()));
        versions.insert((meta["commcare_version"].to_string(), meta["app_build_version"].to_string()));
        *answers.entry("index").or_default() += 1;
    }
    assert!(answers["index"] > 2_000 && answers["delete"] > 20 && answers["device report"] > 5, "{answers:?}");
    assert!(points > 100, "{points} points");
    assert!(with_cases > 500, "{with_cases} forms with cases");
    assert!(versions.len() > 20, "{versions:?}");
}

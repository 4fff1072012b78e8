//! The examples of the processor's page in the documentation are true.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the exemption for tests does not cover helper functions")]

use es_indexer::EsIndexer;
use pillowtop_sdk::testing::{Fixture, Harness};
use serde_json::Value;

const PAGE: &str = include_str!("../../../docs/processors/es-indexer.md");

#[test]
fn the_examples_of_the_page_are_true() {
    let examples: Vec<_> = PAGE.split("```json example\n").skip(1).collect();
    for example in &examples {
        let (example, _) = example.split_once("```").unwrap();
        check(&serde_json::from_str(example).unwrap_or_else(|error| panic!("{error} in {example}")));
    }
    assert_eq!(examples.len(), PAGE.matches("```json").count(), "every block of JSON is an example");
    assert!(!examples.is_empty());
}

#[test]
fn the_page_names_every_key_of_the_configuration() {
    let keys = [
        "profile",
        "index",
        "backend_id",
        "user_lookup",
        "build_lookup",
        "drop_form_fields",
        "domains",
        "except_domains",
        "domain_lookup",
        "geo_properties",
        "group_lookup",
        "shared",
        "subscription_lookup",
        "fields",
        "dynamic",
    ];
    let documented: Vec<_> =
        PAGE.split("## What happens").next().unwrap().lines().filter_map(|line| line.strip_prefix("| `")).collect();
    let documented: Vec<_> = documented.iter().map(|line| line.split('`').next().unwrap()).collect();
    assert_eq!(documented, keys);
}

fn check(example: &Value) {
    let configured = Harness::<EsIndexer>::configure(example["config"].clone());
    let mut harness = configured.unwrap_or_else(|problems| panic!("{problems:?} in {example}"));
    for found in example["found"].as_array().into_iter().flatten() {
        let documents = found["documents"].as_array().unwrap().clone();
        harness.answer(found["lookup"].as_str().unwrap(), found["key"].as_str().unwrap(), documents);
    }
    let change = &example["change"];
    let id = change["id"].as_str().unwrap();
    let fixture = match (change.get("document"), change["state"].as_str()) {
        (Some(document), None) => Fixture::present(id, document.clone()),
        (None, Some("missing")) => Fixture::missing(id),
        (None, Some("stale")) => Fixture::stale(id),
        (None, Some("deleted")) => Fixture::deleted(id),
        _ => panic!("neither a document nor a state in {change}"),
    };
    let fixture = if change["deleted"] == true { fixture.marked_deleted() } else { fixture };
    assert_eq!(harness.process_one(fixture), example["answer"], "{change}");
}

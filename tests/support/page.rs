//! Proves the examples of a processor's page in the documentation: each block `json example` says with which
//! configuration a change leads to which answer.

use pillowtop_sdk::Processor;
use pillowtop_sdk::testing::{Fixture, Harness};
use serde_json::Value;

/// Runs every example of `page`. Every block of JSON has to be one.
pub(crate) fn check_examples<P: Processor>(page: &str) {
    let examples: Vec<_> = page.split("```json example\n").skip(1).collect();
    for example in &examples {
        let (example, _) = example.split_once("```").unwrap();
        check::<P>(&serde_json::from_str(example).unwrap_or_else(|error| panic!("{error} in {example}")));
    }
    assert_eq!(examples.len(), page.matches("```json").count(), "every block of JSON is an example");
    assert!(!examples.is_empty());
}

/// The keys of the configuration that the page's first table names, in order.
pub(crate) fn documented_keys(page: &str) -> Vec<&str> {
    let lines = page.split("## What happens").next().unwrap().lines();
    lines.filter_map(|line| line.strip_prefix("| `")).map(|line| line.split('`').next().unwrap()).collect()
}

fn check<P: Processor>(example: &Value) {
    let configured = Harness::<P>::configure(example["config"].clone());
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

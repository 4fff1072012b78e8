//! Runs every example of `docs/ucr.md`.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

use ucr::value::{Value, parse};
use ucr::vectors::{run_line, to_json};

/// The fenced JSON of the page, each with the heading it stands under.
fn examples(page: &str) -> Vec<(&str, String)> {
    let mut examples = Vec::new();
    let mut heading = "";
    let mut open: Option<String> = None;
    for line in page.lines() {
        match (&mut open, line) {
            (None, "```json") => open = Some(String::new()),
            (None, line) if line.starts_with('#') => heading = line.trim_start_matches(['#', ' ']),
            (None, _) => {}
            (Some(_), "```") => examples.extend(open.take().map(|text| (heading, text))),
            (Some(text), line) => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    examples
}

/// An example as a vector; an example of a filter has the key `filter` instead of `expression`.
fn vector(example: &Value<'_>) -> String {
    let json = |key: &str| example.property(key).map(to_json);
    let kind = if example.property("filter").is_some() { "filter" } else { "expression" };
    let expected = match (json("value"), example.property("fails").and_then(Value::as_str)) {
        (Some(value), None) => format!(r#"{{"value": {value}}}"#),
        (None, Some("document")) => r#"{"error": {"phase": "eval"}}"#.to_owned(),
        (None, Some("configuration")) => r#"{"error": {"phase": "build"}}"#.to_owned(),
        _ => panic!("an example has a value, or fails"),
    };
    let named = json("named_expressions").unwrap_or_else(|| "{}".to_owned());
    format!(
        r#"{{"id": "docs", "kind": "{kind}", "spec": {}, "doc": {}, "root_doc": "$doc", "has_context": true, "iteration": 0,
            "related_docs": {{}}, "domain": "test-domain", "named_expressions": {named}, "named_filters": {{}},
            "json_doc": true, "expected": {expected}}}"#,
        json(kind).unwrap(),
        json("document").unwrap(),
    )
}

#[test]
fn the_examples_of_the_page_are_true() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/ucr.md")).unwrap();
    let examples = examples(&page);
    assert!(examples.len() > 30, "the page has lost its examples: {}", examples.len());
    for (heading, text) in examples {
        let example = parse(&text).unwrap_or_else(|problem| panic!("{heading}: {problem}\n{text}"));
        let verdict = run_line(&vector(&example)).unwrap();
        assert!(verdict.result.is_ok(), "{heading}: {:?}\n{text}", verdict.result);
    }
}

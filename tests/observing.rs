//! Keeps what operators look at true: the table of metrics, and the dashboard that draws them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test: helpers outside of test functions are not exempt")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::Arc;

use pillowtop::metrics::{FEED_TYPES, Kind, Metrics};
use pillowtop::model::{Change, Partition, PillowName, Position, ProcessorName};
use serde_json::Value;

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(file)).unwrap()
}

/// The names of the samples of everything that is declared.
fn samples() -> BTreeSet<String> {
    let metrics = Metrics::new();
    let endings = |kind| match kind {
        Kind::Counter => ["_total"].as_slice(),
        Kind::Gauge => &[""],
        Kind::Histogram => &["_bucket", "_sum", "_count"],
    };
    let declared = metrics.declared().iter();
    declared.flat_map(|one| endings(one.kind).iter().map(move |ending| format!("{}{ending}", one.name))).collect()
}

/// Metrics of which each has a first member, so that it shows its labels.
fn touched() -> Metrics {
    let metrics = Metrics::new();
    let (pillow, processor) = (PillowName::new("p"), ProcessorName::new("r"));
    metrics.pillow(&pillow);
    metrics.processor(&pillow, &processor);
    metrics.calls(&pillow, &processor);
    metrics.sink(&pillow, "s");
    metrics.lane(&pillow, &Partition::new("t", 0));
    let change = br#"{"document_id":"a","data_source_name":"s"}"#;
    let changes = [Arc::new(Change::decode(change, Position::number(0)).unwrap())];
    let original = metrics.original();
    original.read(&pillow, &changes);
    original.succeeded(&pillow, &changes);
    original.failed(&pillow, "trap");
    original.lag(&pillow, "t", Some(0), 1.0);
    original.chunk_lag(&pillow, 1.0);
    original.processed(&pillow, 1, 1.0);
    original.checkpoint(&pillow, "t", Some(0), &Position::number(1));
    original.error_queue(&pillow, 1);
    let (checkpoint, end) = (Position::number(1), Position::number(3));
    original.compared(&pillow, FEED_TYPES[0], &Partition::new("t", 0), (&checkpoint, &end, Some(2)));
    metrics
}

/// The labels of every sample, but for the bound of a bucket.
fn labels(metrics: &Metrics) -> BTreeMap<String, Vec<String>> {
    let mut labels = BTreeMap::new();
    for line in metrics.encode().lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, rest) = series.split_once('{').unwrap_or((series, ""));
        let keys = rest.split("\",").filter_map(|pair| pair.split_once("=\"")).map(|(key, _)| key.to_owned());
        labels.insert(name.to_owned(), keys.filter(|key| key != "le").collect());
    }
    labels
}

/// The rows of the tables below `## Metrics`, their cells without backticks.
fn documented() -> Vec<Vec<String>> {
    let page = read("docs/operating.md");
    let section = page.split_once("\n## Metrics\n").unwrap().1.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().replace('`', "")).collect()).collect()
}

#[test]
fn every_metric_is_documented_with_its_kind_its_labels_and_its_help() {
    let metrics = touched();
    let labels = labels(&metrics);
    let rows = documented();
    for declared in metrics.declared() {
        let (ending, sample, kind) = match declared.kind {
            Kind::Counter => ("_total", "_total", "counter"),
            Kind::Gauge => ("", "", "gauge"),
            Kind::Histogram => ("", "_sum", "histogram"),
        };
        let name = format!("{}{ending}", declared.name);
        let row = rows.iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("{name} is not documented"));
        let own = match labels[&format!("{}{sample}", declared.name)].as_slice() {
            [] => "none".to_owned(),
            keys => keys.join(", "),
        };
        let mut expected = vec![name, kind.to_owned(), own, format!("{}.", declared.help)];
        if declared.name.starts_with("commcare_") {
            expected.insert(1, declared.dotted.clone());
        }
        assert_eq!(*row, expected);
    }
    assert_eq!(rows.len(), metrics.declared().len(), "a row is of a metric that is not there");
}

/// Everything in the dashboard that names metrics.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value {
                    Value::String(text) if matches!(key.as_str(), "expr" | "query" | "definition") => {
                        found.push(text.clone());
                    }
                    _ => expressions(value, found),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| expressions(value, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn names(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '_'));
    words.filter(|word| word.starts_with("pillowtop_") || word.starts_with("commcare_"))
}

#[test]
fn the_dashboard_draws_metrics_that_are_declared_by_labels_that_they_have() {
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/pillowtop.json")).unwrap();
    let mut found = Vec::new();
    expressions(&dashboard, &mut found);
    let (samples, labels) = (samples(), labels(&touched()));
    let mut drawn = BTreeSet::new();
    for expression in &found {
        for name in names(expression) {
            assert!(samples.contains(name), "{name} is not declared: {expression}");
            drawn.insert(name.to_owned());
            for group in expression.split("by (").skip(1) {
                for key in group.split(')').next().unwrap().split(", ").filter(|key| *key != "le") {
                    assert!(labels[name].iter().any(|label| label == key), "{name} has no {key}: {expression}");
                }
            }
        }
    }
    // What operators need is drawn: each of our own metrics somewhere.
    let metrics = Metrics::new();
    for declared in metrics.declared().iter().filter(|declared| declared.name.starts_with("pillowtop_")) {
        assert!(drawn.iter().any(|name| name.starts_with(&declared.name)), "{} is not drawn", declared.name);
    }
    let mut places = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(panel["title"].is_string() && panel["type"].is_string(), "{panel}");
        assert!(places.insert(panel["id"].as_u64().unwrap()), "two panels have one id");
    }
}

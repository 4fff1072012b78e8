//! Runs every example of `docs/ucr.md` and of the pages that it leads to, and follows its links.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of a test")]

use std::path::{Path, PathBuf};

use ucr::data_source::read_definitions;
use ucr::value::{Value, parse};
use ucr::vectors::{answer, same, to_json};

/// Fewer mean that a page has lost its examples.
const FEWEST_EXAMPLES: usize = 250;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

/// The pages, each with its name within the documentation.
fn pages() -> Vec<(String, String)> {
    let read = |name: String| {
        let text = std::fs::read_to_string(docs().join(&name)).unwrap();
        (name, text)
    };
    let mut names: Vec<String> = std::fs::read_dir(docs().join("ucr"))
        .unwrap()
        .map(|entry| format!("ucr/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    names.push("ucr.md".to_owned());
    names.sort();
    names.into_iter().map(read).collect()
}

/// The fenced JSON of a page, each with the heading it stands under.
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
    assert!(open.is_none(), "{heading}: an example has no end");
    examples
}

const KINDS: [&str; 4] = ["data_source", "expression", "filter", "indicator"];
const GIVEN: [&str; 8] =
    ["definition", "document", "environment", "iteration", "named_expressions", "named_filters", "related", "root"];

/// The example as a question for [`answer`].
fn question(example: &Value<'_>) -> String {
    let json = |key: &str, default: &str| example.property(key).map_or_else(|| default.to_owned(), to_json);
    let kind = KINDS.into_iter().find(|kind| example.property(kind).is_some()).unwrap_or_else(|| {
        panic!("an example has one of {}", KINDS.join(", "));
    });
    let (document, expressions, filters) =
        (json("document", "null"), json("named_expressions", "{}"), json("named_filters", "{}"));
    format!(
        r#"{{"kind": "{}", "spec": {}, "doc": {document}, "root_doc": {}, "iteration": {}, "related_docs": {},
            "named_expressions": {expressions}, "named_filters": {filters}}}"#,
        kind.replace('_', ""),
        json(kind, ""),
        json("root", &document),
        json("iteration", "0"),
        json("related", "{}"),
    )
}

fn property<'v, 'a>(value: &'v Value<'a>, path: &[&str]) -> &'v Value<'a> {
    path.iter().fold(value, |value, key| value.property(key).unwrap_or(&Value::Null))
}

/// A list of objects as one object, from one of their properties to another.
fn table(rows: &Value<'_>, key: &str, value: &str) -> String {
    let entry = |row: &Value<'_>| format!("{}:{}", to_json(property(row, &[key])), to_json(property(row, &[value])));
    let entries: Vec<String> = rows.as_list().unwrap_or_default().iter().map(entry).collect();
    format!("{{{}}}", entries.join(","))
}

/// A property of each object of a list.
fn each(rows: &Value<'_>, key: &str) -> String {
    let row = |row: &Value<'_>| to_json(property(row, &[key]));
    format!("[{}]", rows.as_list().unwrap_or_default().iter().map(row).collect::<Vec<_>>().join(","))
}

/// Whether the row has these values, beside others.
fn has(row: &Value<'_>, wanted: &Value<'_>) -> bool {
    let mut entries = wanted.as_dict().unwrap().iter();
    entries.all(|(key, value)| row.property(key.as_str().unwrap()).is_some_and(|found| same(value, found)))
}

/// What becomes of an example: the answer to its question, or what a file would define.
fn outcome(example: &Value<'_>) -> String {
    let Some(definition) = example.property("definition") else { return answer(&question(example)).unwrap() };
    let texts = |texts: &[String]| to_json(&Value::list(texts.iter().map(|text| Value::text(text.clone())).collect()));
    match read_definitions(definition, example.property("environment").and_then(Value::as_str)) {
        Err(_) => r#"{"error": {"phase": "build"}}"#.to_owned(),
        Ok(read) => {
            let ids: Vec<String> = read.sources.iter().filter_map(|source| source.id.clone()).collect();
            let mirrored: Vec<String> = read.sources.iter().map(|source| texts(&source.mirrored_engine_ids)).collect();
            format!(r#"{{"ids": {}, "mirrored": [{}]}}"#, texts(&ids), mirrored.join(","))
        }
    }
}

/// Whether the answer is what the example says under a key.
fn is_met(example: &Value<'_>, key: &str, wanted: &Value<'_>, got: &Value<'_>) -> bool {
    let equals = |found: &Value<'_>| same(wanted, found);
    let made = |json: String| equals(&parse(&json).unwrap());
    match key {
        "value" => got.property("value").is_some_and(equals),
        "fails" => {
            let refused = property(got, &["error", "phase"]).as_str() == Some("build");
            match wanted.as_str() {
                Some("configuration") => refused,
                Some("document") => {
                    let errors = ["error", "rows_error", "filter_error"];
                    !refused && errors.iter().any(|error| got.property(error).is_some())
                }
                _ => false,
            }
        }
        "columns" if example.property("indicator").is_some() => made(table(property(got, &["columns"]), "id", "value")),
        "columns" => made(table(property(got, &["ddl", "columns"]), "name", "type")),
        "rows" => {
            let (wanted, rows) = (wanted.as_list().unwrap(), got.property("rows").and_then(Value::as_list));
            rows.is_some_and(|rows| {
                rows.len() == wanted.len() && rows.iter().zip(wanted).all(|(row, wanted)| has(row, wanted))
            })
        }
        "ids" | "mirrored" => got.property(key).is_some_and(equals),
        "taken" => equals(property(got, &["filter"])),
        "invalid" => made(each(property(got, &["invalid_data"]), "validation_text")),
        "table" => equals(property(got, &["table_name"])),
        "primary_key" => equals(property(got, &["primary_key"])),
        "indexes" => made(each(property(got, &["ddl", "indexes"]), "columns")),
        other => panic!("an example has no key {other}"),
    }
}

#[test]
fn the_examples_of_the_pages_are_true() {
    let mut count = 0;
    let mut wrong = Vec::new();
    for (name, page) in pages() {
        for (heading, text) in examples(&page) {
            let example = parse(&text).unwrap_or_else(|problem| panic!("{name}, {heading}: {problem}\n{text}"));
            let outcome = outcome(&example);
            let got = parse(&outcome).unwrap();
            let entries = example.as_dict().unwrap().iter().map(|(key, value)| (key.as_str().unwrap(), value));
            let says: Vec<_> = entries.filter(|(key, _)| !KINDS.contains(key) && !GIVEN.contains(key)).collect();
            assert!(!says.is_empty(), "{name}, {heading}: an example says what comes out\n{text}");
            if !says.iter().all(|(key, wanted)| is_met(&example, key, wanted, &got)) {
                wrong.push(format!("{name}, {heading}:\n{text}gives {outcome}"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(count >= FEWEST_EXAMPLES, "only {count} examples");
}

/// The names that a wrong one is answered with.
fn names(kind: &str, spec: &str) -> Vec<String> {
    let question = format!(r#"{{"kind": "{kind}", "spec": {spec}, "doc": {{}}}}"#);
    let answer = answer(&question).unwrap();
    let got = parse(&answer).unwrap();
    let message = property(&got, &["error", "message"]).as_str().unwrap();
    let (_, names) = message.split_once("there are: ").unwrap_or_else(|| panic!("{message}"));
    names.split(", ").map(str::to_owned).collect()
}

#[test]
fn the_contents_lead_to_every_type() {
    let pages = pages();
    let (_, index) = pages.iter().find(|(name, _)| name == "ucr.md").unwrap();
    let transform = |transform: &str| {
        format!(
            r#"{{"type": "expression", "column_id": "c", "datatype": "string", "expression": 1, "transform": {transform}}}"#
        )
    };
    let operator = r#"{"type": "boolean_expression", "expression": 1, "operator": "#;
    let reduce = r#"{"type": "reduce_items", "items_expression": [], "aggregation_fn": "#;
    for (kind, spec) in [
        ("expression", r#"{"type": "?"}"#.to_owned()),
        ("expression", format!(r#"{reduce}"?"}}"#)),
        ("filter", r#"{"type": "?"}"#.to_owned()),
        ("filter", format!(r#"{operator}"?", "property_value": 1}}"#)),
        ("indicator", r#"{"type": "?"}"#.to_owned()),
        ("indicator", transform(r#"{"type": "?"}"#)),
        ("indicator", transform(r#"{"type": "custom", "custom_type": "?"}"#)),
    ] {
        for name in names(kind, &spec) {
            assert!(index.contains(&format!("[{name}](")), "the contents do not name {name}");
        }
    }
}

/// What a link to a heading ends with.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_')).collect::<String>().replace(' ', "-")
}

/// The lines under a heading, up to the next one of its level.
fn section<'p>(page: &'p str, place: &str) -> Vec<&'p str> {
    let level = |line: &str| line.len() - line.trim_start_matches('#').len();
    let mut lines = page.lines().skip_while(|line| level(line) == 0 || anchor(line.trim_start_matches('#')) != place);
    let Some(heading) = lines.next() else { return Vec::new() };
    let is_within = |line: &&str| !(1..=level(heading)).contains(&level(line));
    std::iter::once(heading).chain(lines.take_while(is_within)).collect()
}

#[test]
fn links_lead_to_entries_with_examples() {
    let pages = pages();
    for (name, page) in &pages {
        for link in page.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, place) = link.split_once('#').unwrap_or((link, ""));
            let target = match (file, name.as_str()) {
                ("", _) => name.clone(),
                ("../ucr.md", _) => "ucr.md".to_owned(),
                (file, "ucr.md") => file.to_owned(),
                (file, _) => format!("ucr/{file}"),
            };
            let Some((_, text)) = pages.iter().find(|(name, _)| *name == target) else {
                let other = file.trim_start_matches("../");
                assert!(docs().join(other).exists(), "{name} leads to {link}");
                continue;
            };
            if place.is_empty() {
                continue;
            }
            let section = section(text, place);
            assert!(!section.is_empty(), "{name} leads to {link}, and there is no such heading");
            assert!(section.contains(&"```json"), "{name} leads to {link}, where there is no example");
        }
    }
}

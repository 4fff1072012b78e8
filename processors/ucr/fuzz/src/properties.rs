//! What holds for every input, however wrong: one function per fuzz target, which panics where it does not hold.
//!
//! That an input ends in time and within its memory is the fuzzer's to see, with its own limits. The project's tests
//! run these functions as well, on the seeds and on what fuzzing found.

use std::collections::BTreeSet;

use jiff::civil::date;
use ucr::data_source::read_definitions;
use ucr::evaluator::{Program, format_template, format_value};
use ucr::jsonpath::Path;
use ucr::regex::Pattern;
use ucr::value::{Moment, Value, equal, parse};
use ucr::vectors::{Related, to_json};
use ucr::{Context, DataSource, EmptyWorld, Limits, NoNames, Outcome};

/// Columns of a table, at most.
const MOST_COLUMNS: usize = 1_600;
/// Bytes of a name in PostgreSQL, at most.
const MOST_NAME_BYTES: usize = 63;

fn now() -> Moment {
    Moment::naive(date(2021, 6, 15).at(12, 34, 56, 789_012_000))
}

/// Any text is refused with problems, or gives data sources whose tables PostgreSQL would make.
pub fn configuration(input: &str) {
    let Ok(definition) = parse(input) else { return };
    match read_definitions(&definition, Some("production")) {
        Ok(read) => read.sources.iter().for_each(makes_a_table),
        Err(error) => assert!(!error.problems.is_empty(), "refused without a reason"),
    }
}

fn makes_a_table(source: &DataSource) {
    assert!(source.columns.len() <= MOST_COLUMNS, "{} columns", source.columns.len());
    assert!(source.table_name.len() <= MOST_NAME_BYTES, "{}", source.table_name);
    let mut ids = BTreeSet::new();
    for column in &source.columns {
        assert!(ids.insert(&column.id), "two columns are {}", column.id);
        assert!(column.name.len() <= MOST_NAME_BYTES, "{}", column.name);
    }
    for name in source.primary_key.iter() {
        assert!(source.columns.iter().any(|column| column.name == *name), "the key has no column {name}");
    }
}

/// `{"configuration": …, "documents": […], "related": {…}}`: a document fails, is not taken, with a reason, or gives
/// rows of as many values as there are columns; and gives the same when it comes again.
pub fn rows(input: &str) {
    let Ok(input) = parse(input) else { return };
    let part = |key: &str| input.property(key).unwrap_or(&Value::Null);
    let Ok(read) = read_definitions(part("configuration"), None) else { return };
    let world = Related(part("related"));
    for source in read.sources.iter().take(3) {
        for document in part("documents").as_list().unwrap_or_default().iter().take(3) {
            let outcome = source.process(document, now(), &world);
            match &outcome {
                Ok(Outcome::Rows(rows)) => {
                    let width = source.columns.len();
                    assert!(rows.iter().all(|row| row.len() == width), "a row is not {width} wide");
                    rows.iter().flatten().for_each(can_be_written);
                }
                Ok(Outcome::Invalid(failed)) => assert!(!failed.is_empty(), "invalid without a reason"),
                Ok(Outcome::NotTaken) => {
                    let refusals = source.refusals(document, now(), &world);
                    assert!(refusals.is_ok_and(|refusals| !refusals.is_empty()), "not taken without a reason");
                }
                Err(_) => {}
            }
            assert!(source.process(document, now(), &world) == outcome || has_nan(&outcome), "not the same again");
        }
    }
}

fn can_be_written(value: &Value<'_>) {
    let _text = value.to_string();
    let _json = to_json(value);
}

/// Not a number is not equal to itself.
fn has_nan(outcome: &Result<Outcome<'_>, ucr::EvalError>) -> bool {
    format!("{outcome:?}").contains("NaN")
}

/// Any statement gives a value or an error; its result can be written, and its text be a format.
pub fn evaluator(statement: &str) {
    let json = r#"{"a": 5, "b": 2.5, "s": "text", "d": "2020-01-31", "l": [1, [2], {"k": null}], "n": null,
        "o": {"x": "1", "y": [0.1, "é"]}}"#;
    let Ok(item) = parse(json) else { return };
    let limits = Limits::default();
    let context = Context {
        root: Some(&item),
        iteration: Some(0),
        now: now(),
        world: &EmptyWorld,
        named: &NoNames,
        limits: &limits,
    };
    if let Ok(Some(value)) = Program::compile(statement).run(None, &item, &context) {
        can_be_written(&value);
        if statement.len() < 50 {
            let _formatted = format_value(&value, statement);
            let _template = format_template(statement, &value);
        }
    }
}

/// Any path is refused, or finds or fails.
pub fn jsonpath(path: &str) {
    let json = r#"{"a": [{"a": 1, "b": "x"}, {"a": "x", "b": [3, 1, 2]}, null, 2.5, true], "b": {"a": [[1, 2], 3.5], "c": "p q r"},
        "form": {"case": {"@case_id": "c1", "name": "n"}, "meta": {"timeEnd": "2020-01-01"}}}"#;
    let (Ok(value), Ok(path)) = (parse(json), Path::compile(path)) else { return };
    for found in path.find(&value).unwrap_or_default() {
        can_be_written(&found);
    }
}

/// `pattern NUL text NUL replacement`, of which the last two may be absent: any pattern is refused, or searches; what
/// matches nowhere replaces nothing.
pub fn regex(input: &str) {
    let mut parts = input.splitn(3, '\0');
    let Ok(pattern) = Pattern::compile(parts.next().unwrap_or_default()) else { return };
    let text = parts.next().unwrap_or("The quick brown fox, born 2015-01-31, jumps\nover é and \u{1F600}.\n");
    let replacement = parts.next().unwrap_or(r"<\g<0>>");
    let found = pattern.is_match(text);
    let replaced = pattern.replace_all(text, replacement);
    if let (Ok(false), Ok(replaced)) = (found, replaced) {
        assert_eq!(replaced, text, "replaced what is not there");
    }
}

/// What was read is read again from what is written of it.
pub fn json_is_written_and_read(input: &str) {
    let Ok(value) = parse(input) else { return };
    let json = to_json(&value);
    // What is infinite has no form in JSON, and is written as an object.
    if !json.contains("$float") {
        assert!(parse(&json).is_ok_and(|again| equal(&value, &again)), "{input} became {json}");
    }
}

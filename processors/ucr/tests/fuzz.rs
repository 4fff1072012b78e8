//! What fuzzing tries to break holds for what it begins with: the examples of the documentation.
#![expect(clippy::unwrap_used, reason = "helpers of a test")]

#[expect(unreachable_pub, reason = "the fuzz targets are crates of their own")]
#[path = "../fuzz/src/properties.rs"]
mod properties;

use std::path::Path;

use properties::{configuration, evaluator, json_is_written_and_read, jsonpath, regex, rows};
use ucr::value::{Value, parse};
use ucr::vectors::to_json;

fn examples() -> Vec<String> {
    let pages = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/ucr");
    let mut examples = Vec::new();
    for page in std::fs::read_dir(pages).unwrap() {
        let text = std::fs::read_to_string(page.unwrap().path()).unwrap();
        examples.extend(text.split("```json\n").skip(1).map(|rest| rest.split("\n```").next().unwrap().to_owned()));
    }
    examples
}

#[test]
fn the_examples_of_the_documentation_break_nothing() {
    let examples = examples();
    assert!(examples.len() > 200, "{} examples", examples.len());
    for example in examples {
        json_is_written_and_read(&example);
        let example = parse(&example).unwrap();
        let part = |key: &str| example.property(key).map(to_json);
        if let Some(source) = part("data_source") {
            configuration(&source);
            let (document, related) =
                (part("document").unwrap_or_default(), part("related").unwrap_or("{}".to_owned()));
            rows(&format!(r#"{{"configuration": {source}, "documents": [{document}], "related": {related}}}"#));
        }
        part("definition").iter().for_each(|definition| configuration(definition));
        let expression = example.property("expression").unwrap_or(&Value::Null);
        let text = |key: &str| expression.property(key).and_then(Value::as_str);
        text("statement").iter().for_each(|statement| evaluator(statement));
        text("jsonpath").iter().for_each(|path| jsonpath(path));
    }
    ["a", "^(a+)+$\0aaaab", "(?P<x>é)\0aé\0<\\g<x>>"].iter().for_each(|input| regex(input));
}

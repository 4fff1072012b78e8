//! The vectors that lie beside the checkout, and how results are compared.

use std::path::PathBuf;

use super::{Miss, Report, Vector, answer, run_line, same};
use crate::value::parse;
use crate::vectors::typed::decoded;

/// The files that `UCR_VECTORS` names, with colons between them, or those in `../shared/ucr-vectors`.
fn files() -> Vec<PathBuf> {
    if let Ok(files) = std::env::var("UCR_VECTORS") {
        return files.split(':').map(PathBuf::from).collect();
    }
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/ucr-vectors");
    let files = ["public.jsonl", "modern-docs.jsonl"].map(|file| folder.join(file));
    files.into_iter().filter(|file| file.is_file()).collect()
}

#[test]
fn vectors_of_the_original_pass() {
    let files = files();
    if files.is_empty() {
        println!("no vectors were run: neither UCR_VECTORS nor ../shared/ucr-vectors has any");
        return;
    }
    let mut report = Report::default();
    let mut first = Vec::new();
    for file in files {
        for line in std::fs::read_to_string(&file).unwrap().lines().filter(|line| !line.trim().is_empty()) {
            let verdict = run_line(line).unwrap();
            report.count(&verdict);
            if let (Err(Miss::Failed { expected, got }), true) = (&verdict.result, first.len() < 20) {
                first.push(format!("{} {}\n  expected {expected}\n  got      {got}", verdict.kind, verdict.id));
            }
        }
    }
    assert_eq!(report.failed, 0, "{}\n{}", first.join("\n"), report.table());
}

#[test]
fn results_are_compared_by_value_and_errors_by_their_class() {
    let check = |a: &str, b: &str, expected: bool| {
        let (a, b) = (parse(a).unwrap(), parse(b).unwrap());
        assert_eq!(same(&decoded(&a), &decoded(&b)), expected, "{a} {b}");
    };
    check("2", "2.0", true);
    check("1", "true", false);
    check(r#"{"$decimal": "1.50"}"#, r#"{"$decimal": "1.5"}"#, true);
    check(r#"{"$float": "nan"}"#, r#"{"$float": "nan"}"#, true);
    check(r#"{"$date": "2015-01-20"}"#, "\"2015-01-20\"", false);
    check(r#"{"$datetime": "2015-01-20T00:00:00"}"#, r#"{"$date": "2015-01-20"}"#, false);
    check(r#"{"error": {"phase": "wrap", "type": "A"}}"#, r#"{"error": {"phase": "build"}}"#, true);
    check(r#"{"error": {"phase": "eval"}}"#, r#"{"error": {"phase": "build"}}"#, false);
    check(r#"{"value": null}"#, r#"{"error": {"phase": "build"}}"#, false);
}

#[test]
fn a_vector_that_cannot_be_run_is_skipped_with_the_reason() {
    let verdict = run_line(r#"{"id": "1", "kind": "pillow", "expected": {}}"#).unwrap();
    assert!(matches!(verdict.result, Err(Miss::Skipped("needs a database"))));
}

#[test]
fn a_question_holds_no_expectation_and_its_answer_is_judged() {
    let line = r#"{"id": "1", "kind": "naming", "spec": {"column_id": "a b"}, "expected": {"database_column_name": "x"},
        "accept": [{"database_column_name": "a b"}]}"#;
    let vector = Vector::read(line).unwrap();
    assert_eq!(vector.skipped(), None);
    let question = vector.question();
    assert_eq!(question, r#"{"id":"1","kind":"naming","spec":{"column_id":"a b"}}"#);
    let answered = answer(&question).unwrap();
    assert!(vector.judge(&answered).result.is_ok(), "{answered}");
    assert!(vector.judge("{}").result.is_err());
    assert!(matches!(vector.judge("nothing").result, Err(Miss::Failed { got, .. }) if got == "nothing"));
}

//! The rules of filters; those of operators stand beside the operators.

use crate::testing::filter;

const YES: &str = r#"{"type": "boolean_expression", "expression": 1, "operator": "eq", "property_value": 1}"#;
const NO: &str = r#"{"type": "boolean_expression", "expression": 1, "operator": "eq", "property_value": 2}"#;
/// Loses the document when it is asked.
const FAILS: &str = r#"{"type": "boolean_expression", "expression": 5, "operator": "in_multi", "property_value": "a"}"#;

fn check(spec: &str, document: &str, expected: &str) {
    assert_eq!(filter(spec, document), expected, "{spec} on {document}");
}

fn refused(spec: &str, place: &str) {
    let result = filter(spec, "{}");
    let at = result.strip_prefix("config: ").unwrap_or_else(|| panic!("{spec} is accepted and gives {result}"));
    assert!(at.starts_with(place), "{spec}: {at}");
}

#[test]
fn and_and_or_stop_at_the_first_that_decides() {
    let combined =
        |kind: &str, filters: &[&str]| format!(r#"{{"type": "{kind}", "filters": [{}]}}"#, filters.join(","));
    check(&combined("and", &[YES, YES]), "{}", "true");
    check(&combined("and", &[YES, NO, FAILS]), "{}", "false");
    check(&combined("or", &[NO, YES, FAILS]), "{}", "true");
    check(&combined("or", &[NO, NO]), "{}", "false");
    check(&combined("or", &[NO, FAILS]), "{}", "error: a int cannot be split into choices");
    refused(&combined("and", &[]), "filters: ");
    refused(&combined("xor", &[YES]), "type: ");
    refused(r#"{"type": "and", "filters": {}}"#, "filters: ");
}

#[test]
fn not_takes_one_filter() {
    check(&format!(r#"{{"type": "not", "filter": {NO}}}"#), "{}", "true");
    refused(&format!(r#"{{"type": "not", "filter": [{NO}]}}"#), "filter: ");
    refused(r#"{"type": "not"}"#, "filter: ");
    refused(r#"{"type": "not", "filter": {}}"#, "filter: ");
}

#[test]
fn a_type_error_is_false_so_that_its_negation_is_true() {
    let less =
        r#"{"type": "boolean_expression", "expression": {"type": "identity"}, "operator": "lt", "property_value": 5}"#;
    check(less, "null", "false");
    check(&format!(r#"{{"type": "not", "filter": {less}}}"#), "null", "true");
}

#[test]
fn the_keys_of_a_comparison_are_checked() {
    let spec = |more: &str| format!(r#"{{"type": "boolean_expression", "operator": "eq"{more}}}"#);
    refused(&spec(r#", "expression": 1"#), "property_value: ");
    refused(&spec(r#", "property_value": 1"#), "expression: ");
    refused(&spec(r#", "expression": 1, "property_value": 1, "value": 2"#), "value: ");
    check(&spec(r#", "expression": {"type": "identity"}, "property_value": null, "comment": "why""#), "null", "true");
    refused(r#"{"type": "boolean_expression", "expression": 1, "operator": "EQ", "property_value": 1}"#, "operator: ");
    refused("[]", "must be a filter");
}

#[test]
fn constants_that_look_like_dates_equal_dates_only() {
    let spec = |datatype: &str| {
        format!(
            r#"{{"type": "boolean_expression", "operator": "eq", "property_value": "2015-01-20",
                "expression": {{"type": "property_name", "property_name": "d"{datatype}}}}}"#
        )
    };
    check(&spec(""), r#"{"d": "2015-01-20"}"#, "false");
    check(&spec(r#", "datatype": "date""#), r#"{"d": "2015-01-20"}"#, "true");
}

#[test]
fn a_property_match_names_one_property() {
    let spec = |more: &str| format!(r#"{{"type": "property_match"{more}}}"#);
    check(&spec(r#", "property_name": "a", "property_value": 1"#), r#"{"a": 1.0}"#, "true");
    check(&spec(r#", "property_path": ["a", "b"], "property_value": null"#), "{}", "true");
    refused(&spec(r#", "property_name": "a""#), "property_value: ");
    refused(&spec(r#", "property_value": 1"#), "needs exactly one");
    refused(&spec(r#", "property_name": "a", "property_path": ["a"], "property_value": 1"#), "needs exactly one");
}

#[test]
fn a_wrong_regular_expression_loses_the_documents_and_not_the_configuration() {
    let spec = |pattern: &str| {
        format!(
            r#"{{"type": "boolean_expression", "operator": "regex", "property_value": {pattern},
                "expression": {{"type": "identity"}}}}"#
        )
    };
    check(&spec("\"b+\""), "\"abbc\"", "true");
    check(&spec("\"^b\""), "\"abbc\"", "false");
    check(&spec("\"b\""), "5", "false");
    check(&spec("\"2015-01-20\""), "\"2015-01-20\"", "false");
    assert!(filter(&spec("\"[\""), "\"a\"").starts_with("error: "));
    assert!(filter(&spec("\"[\""), "5").starts_with("error: "));
}

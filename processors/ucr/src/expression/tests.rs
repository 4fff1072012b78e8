//! The rules of expressions, each with its edges.

use crate::QueryKind;
use crate::testing::{Known, expression, expression_in};

fn check(spec: &str, document: &str, expected: &str) {
    assert_eq!(expression(spec, document), expected, "{spec} on {document}");
}

fn refused(spec: &str, place: &str) {
    let result = expression(spec, "{}");
    let at = result.strip_prefix("config: ").unwrap_or_else(|| panic!("{spec} is accepted and gives {result}"));
    assert!(at.starts_with(&format!("{place}: ")), "{spec}: {at}");
}

#[test]
fn everything_but_an_object_is_a_literal() {
    for (spec, expected) in [
        ("5", "5"),
        ("null", "None"),
        ("[1, \"2015-01-20\"]", "[1, datetime.date(2015, 1, 20)]"),
        ("\"1.50\"", "Decimal('1.50')"),
        (r#"{"type": "constant", "constant": {"a": "x"}}"#, "{'a': 'x'}"),
        (r#"{"type": "constant", "constant": null}"#, "None"),
    ] {
        check(spec, "{}", expected);
    }
    refused(r#"{"type": "constant"}"#, "constant");
    refused(r#"{"constant": 5}"#, "type");
    refused(r#"{"type": ["constant"], "constant": 5}"#, "type");
    refused(r#"{"type": "Constant", "constant": 5}"#, "type");
}

/// Fails whenever it is evaluated.
const FAILS: &str =
    r#"{"type": "split_string", "string_expression": {"type": "constant", "constant": "a"}, "delimiter": ""}"#;

#[test]
fn what_is_not_needed_is_not_evaluated() {
    check(FAILS, "{}", "error: an empty delimiter splits nothing");
    let index =
        |array: &str| format!(r#"{{"type": "array_index", "array_expression": {array}, "index_expression": {FAILS}}}"#);
    check(&index(r#"{"type": "constant", "constant": 5}"#), "{}", "None");
    check(&index(r#"{"type": "constant", "constant": [1]}"#), "{}", "error: an empty delimiter splits nothing");
    let name = format!(r#"{{"type": "property_name", "property_name": {FAILS}}}"#);
    check(&name, "5", "None");
    check(&name, "{}", "error: an empty delimiter splits nothing");
}

#[test]
fn a_statement_that_fails_is_null_whatever_the_datatype() {
    let evaluator = |statement: &str| {
        let variables = r#"{"a": 1, "b": 0}"#;
        format!(
            r#"{{"type": "evaluator", "statement": "{statement}", "context_variables": {variables}, "datatype": "array"}}"#
        )
    };
    check(&evaluator("a / b"), "{}", "None");
    check(&evaluator("a +"), "{}", "None");
    check(&evaluator("None"), "{}", "[None]");
    check(&evaluator("b / a"), "{}", "[0.0]");
}

#[test]
fn lists_and_objects_are_no_keys_of_look_ups() {
    let key = r#"{"type": "property_name", "property_name": "l"}"#;
    for spec in [
        format!(r#"{{"type": "get_case_forms", "case_id_expression": {key}}}"#),
        format!(
            r#"{{"type": "related_doc", "related_doc_type": "CommCareCase", "doc_id_expression": {key},
                "value_expression": {{"type": "identity"}}}}"#
        ),
        format!(r#"{{"type": "ancestor_location", "location_id": "x", "location_type": {key}}}"#),
        format!(r#"{{"type": "location_type_name", "location_id_expression": {key}}}"#),
    ] {
        check(&spec, r#"{"domain": "d", "l": ["c1"]}"#, "error: a list is no key of a look-up");
    }
}

#[test]
fn locations_need_a_domain_that_may_be_empty() {
    let ancestor = r#"{"type": "ancestor_location", "location_id": {"type": "property_name", "property_name": "x"},
        "location_type": "state"}"#;
    check(ancestor, "{}", "error: the root document has no domain");
    check(ancestor, r#"{"domain": "d"}"#, "None");
    let name =
        r#"{"type": "location_type_name", "location_id_expression": {"type": "property_name", "property_name": "x"}}"#;
    check(name, r#"{"domain": "", "x": "l1"}"#, "None");
    check(name, r#"{"x": "l1"}"#, "error: the root document has no domain");
}

#[test]
fn an_index_that_is_no_list_is_the_only_one() {
    let kind = QueryKind::Document { doc_type: "CommCareCase".to_owned() };
    let world = Known::default().with(kind, "c2", r#"{"_id": "c2", "domain": "d"}"#);
    let spec = r#"{"type": "indexed_case", "case_expression": {"type": "identity"}}"#;
    let document = r#"{"domain": "d", "indices": {"identifier": "parent", "referenced_id": "c2"}}"#;
    assert_eq!(expression_in(&world, spec, document), "{'_id': 'c2', 'domain': 'd'}");
}

#[test]
fn a_misspelt_type_gets_a_suggestion() {
    let result = expression(r#"{"type": "propert_name"}"#, "{}");
    assert_eq!(result, r#"config: type: there is no expression type "propert_name"; did you mean "property_name"?"#);
}

#[test]
fn all_problems_are_reported_with_their_places() {
    let result = expression(
        r#"{"type": "conditional",
            "test": {"type": "and", "filters": [{"type": "boolean_expression", "operator": "eqq", "expression": 1}]},
            "expression_if_true": {"type": "property_name", "property_name": "p", "datatype": "boolean"}}"#,
        "{}",
    );
    for place in [
        "test.filters[0].operator: ",
        "test.filters[0].property_value: ",
        "expression_if_true.datatype: ",
        "expression_if_false: ",
    ] {
        assert!(result.contains(place), "{place} is missing in {result}");
    }
}

#[test]
fn a_property_is_looked_up_in_dicts_only_and_then_coerced() {
    let name = |name: &str| format!(r#"{{"type": "property_name", "property_name": {name}}}"#);
    check(&name("\"p\""), r#"{"p": 5}"#, "5");
    check(&name("\"p\""), "[5]", "None");
    check(&name("\"a.b\""), r#"{"a": {"b": 1}}"#, "None");
    check(&name("\"\""), r#"{"": 1}"#, "1");
    check(&name("\"2015-01-20\""), r#"{"2015-01-20": 1}"#, "None");
    check(&name(r#"{"type": "property_name", "property_name": "k"}"#), r#"{"k": "v", "v": 2}"#, "2");
    check(&name("[1]"), "{}", "error: a list is no name of a property");
    check(&name("[1]"), "5", "None");
    refused(&name("null"), "property_name");
    check(r#"{"type": "property_name", "property_name": "p", "datatype": "array"}"#, "{}", "[None]");
    refused(r#"{"type": "property_name", "property_name": "p", "datatype": ""}"#, "datatype");
}

#[test]
fn a_path_goes_through_dicts_only() {
    let path = |path: &str| format!(r#"{{"type": "property_path", "property_path": {path}}}"#);
    check(&path(r#"["a", "b"]"#), r#"{"a": {"b": 1}}"#, "1");
    check(&path(r#"["a", "b"]"#), r#"{"a": [{"b": 1}]}"#, "None");
    check(&path(r#"["a", "0"]"#), r#"{"a": "x"}"#, "None");
    for wrong in ["\"a\"", "[]", "null"] {
        refused(&path(wrong), "property_path");
    }
    refused(&path("[5]"), "property_path[0]");
}

#[test]
fn only_the_chosen_branch_is_evaluated() {
    let fails =
        r#"{"type": "split_string", "string_expression": {"type": "constant", "constant": "x"}, "delimiter": ""}"#;
    let test =
        r#"{"type": "boolean_expression", "expression": {"type": "identity"}, "operator": "eq", "property_value": 1}"#;
    let spec = format!(
        r#"{{"type": "conditional", "test": {test}, "expression_if_true": "yes", "expression_if_false": {fails}}}"#
    );
    check(&spec, "1", "'yes'");
    check(&spec, "2", "error: an empty delimiter splits nothing");
}

#[test]
fn cases_of_a_switch_are_texts() {
    let switch = |cases: &str| {
        format!(r#"{{"type": "switch", "switch_on": {{"type": "identity"}}, "cases": {cases}, "default": "other"}}"#)
    };
    check(&switch(r#"{"5": "five", "a": "letter"}"#), "\"5\"", "'five'");
    check(&switch(r#"{"5": "five", "a": "letter"}"#), "5", "'other'");
    check(&switch("{}"), "\"a\"", "'other'");
    refused(&switch("[]"), "cases");
    refused(&switch("null"), "cases");
}

#[test]
fn indexes_are_integers_and_count_from_the_end_when_negative() {
    let index = |index: &str| {
        format!(r#"{{"type": "array_index", "array_expression": {{"type": "identity"}}, "index_expression": {index}}}"#)
    };
    for (at, expected) in [
        ("0", "'a'"),
        ("-1", "'c'"),
        ("true", "'b'"),
        ("1.0", "None"),
        ("\"1\"", "None"),
        ("3", "None"),
        ("-4", "None"),
    ] {
        check(&index(at), r#"["a", "b", "c"]"#, expected);
    }
    check(&index("0"), "\"abc\"", "None");
    refused(r#"{"type": "array_index", "array_expression": [1], "index_expression": 0}"#, "array_expression");
}

#[test]
fn texts_are_split_at_white_space_or_a_delimiter() {
    let split =
        |more: &str| format!(r#"{{"type": "split_string", "string_expression": {{"type": "identity"}}{more}}}"#);
    check(&split(""), r#"" a\t\nb  c ""#, "['a', 'b', 'c']");
    check(&split(r#", "delimiter": " ""#), "\"a  b\"", "['a', '', 'b']");
    check(&split(r#", "delimiter": ",", "index_expression": -1"#), "\"a,b\"", "'b'");
    check(&split(r#", "index_expression": "0""#), "\"a b\"", "None");
    check(&split(r#", "index_expression": 5"#), "\"a b\"", "None");
    check(&split(r#", "delimiter": "", "index_expression": 0"#), "\"a\"", "error: an empty delimiter splits nothing");
    check(&split(r#", "delimiter": "", "index_expression": "0""#), "\"a\"", "None");
    check(&split(""), "5", "None");
}

#[test]
fn an_iterator_tests_its_values_without_a_context() {
    let not_null = r#"{"type": "boolean_expression", "expression": {"type": "identity"}, "operator": "not_eq", "property_value": null}"#;
    let spec = format!(r#"{{"type": "iterator", "expressions": [1, null, "x"], "test": {not_null}}}"#);
    check(&spec, "{}", "[1, 'x']");
    let root = r#"{"type": "boolean_expression", "expression": {"type": "root_doc", "expression": {"type": "identity"}}, "operator": "eq", "property_value": null}"#;
    check(&format!(r#"{{"type": "iterator", "expressions": [1], "test": {root}}}"#), "{}", "[1]");
    let number = r#"{"type": "boolean_expression", "expression": {"type": "base_iteration_number"}, "operator": "eq", "property_value": 0}"#;
    check(
        &format!(r#"{{"type": "iterator", "expressions": [1], "test": {number}}}"#),
        "{}",
        "error: there is no iteration here",
    );
    refused(r#"{"type": "iterator", "expressions": []}"#, "expressions");
}

#[test]
fn nested_dict_root_and_iteration() {
    let property = r#"{"type": "property_name", "property_name": "a"}"#;
    check(
        &format!(r#"{{"type": "nested", "argument_expression": {property}, "value_expression": {property}}}"#),
        r#"{"a": {"a": 3}}"#,
        "3",
    );
    check(
        &format!(r#"{{"type": "dict", "properties": {{"x": {property}, "y": 1}}}}"#),
        r#"{"a": 2}"#,
        "{'x': 2, 'y': 1}",
    );
    check(&format!(r#"{{"type": "root_doc", "expression": {property}}}"#), r#"{"a": 2}"#, "2");
    check(r#"{"type": "base_iteration_number"}"#, "{}", "7");
    refused(r#"{"type": "dict", "properties": {}}"#, "properties");
    refused(
        r#"{"type": "nested", "argument_expression": "x", "value_expression": {"type": "identity"}}"#,
        "argument_expression",
    );
}

#[test]
fn coalesce_replaces_null_and_the_empty_text_only() {
    let spec = r#"{"type": "coalesce", "expression": {"type": "identity"}, "default_expression": {"type": "constant", "constant": "d"}}"#;
    for (item, expected) in
        [("null", "'d'"), ("\"\"", "'d'"), ("0", "0"), ("false", "False"), ("[]", "[]"), ("\" \"", "' '")]
    {
        check(spec, item, expected);
    }
}

#[test]
fn dates_are_counted_and_null_where_an_argument_is_none() {
    let add = |kind: &str, key: &str, count: &str| {
        format!(r#"{{"type": "{kind}", "date_expression": {{"type": "identity"}}, "{key}": {count}}}"#)
    };
    check(&add("add_days", "count_expression", "\"-1\""), "\"2015-03-01\"", "datetime.date(2015, 2, 28)");
    check(&add("add_months", "months_expression", "1"), "\"2016-01-31\"", "datetime.date(2016, 2, 29)");
    check(&add("add_hours", "count_expression", "1.9"), "\"2015-01-20\"", "datetime.datetime(2015, 1, 20, 1, 0)");
    check(&add("add_days", "count_expression", "1"), "\"soon\"", "None");
    check(&add("add_days", "count_expression", "\"x\""), "\"2015-03-01\"", "None");
    assert!(expression(&add("add_days", "count_expression", "99999999"), "\"2015-03-01\"").starts_with("error: "));
    let span =
        r#"{"type": "diff_days", "from_date_expression": "2015-01-20", "to_date_expression": {"type": "identity"}}"#;
    check(span, "\"2015-01-22T23:00:00Z\"", "2");
    check(span, "\"2015-01-19\"", "-1");
    check(span, "5", "None");
    check(
        r#"{"type": "month_end_date", "date_expression": {"type": "identity"}}"#,
        "\"2016-02-03\"",
        "datetime.date(2016, 2, 29)",
    );
    check(
        r#"{"type": "month_start_date", "date_expression": {"type": "identity"}}"#,
        "\"2016-02-03\"",
        "datetime.date(2016, 2, 1)",
    );
    check(r#"{"type": "utcnow"}"#, "{}", "datetime.datetime(2021, 6, 15, 12, 34, 56, 789012)");
}

#[test]
fn lists_that_are_none_count_as_empty() {
    let reduce = |function: &str| {
        format!(
            r#"{{"type": "reduce_items", "items_expression": {{"type": "identity"}}, "aggregation_fn": "{function}"}}"#
        )
    };
    for (function, items, expected) in [
        ("count", "{}", "0"),
        ("sum", "[]", "0"),
        ("max", "[]", "None"),
        ("first_item", "[]", "None"),
        ("last_item", "[1, 2]", "2"),
        ("sum", "[1, true, 0.5]", "2.5"),
        ("sum", "[1, \"2\"]", "None"),
        ("sum", "[9223372036854775807, 1]", "9223372036854775808"),
        ("min", "[2, 1.5]", "1.5"),
        ("max", "[\"9\", \"10\"]", "'9'"),
        ("max", "[1, null]", "None"),
    ] {
        check(&reduce(function), items, expected);
    }
    refused(&reduce("average"), "aggregation_fn");
    let flatten = r#"{"type": "flatten", "items_expression": {"type": "identity"}}"#;
    check(flatten, "[[1], [2, [3]]]", "[1, 2, [3]]");
    check(flatten, "[[1], 2]", "[]");
    let map = r#"{"type": "map_items", "items_expression": {"type": "identity"}, "map_expression": {"type": "property_name", "property_name": "a"}}"#;
    check(map, r#"[{"a": 1}, 5]"#, "[1, None]");
    let filter = r#"{"type": "filter_items", "items_expression": {"type": "identity"}, "filter_expression":
        {"type": "boolean_expression", "expression": {"type": "identity"}, "operator": "gt", "property_value": 1}}"#;
    check(filter, "[1, 2, null, 3]", "[2, 3]");
}

#[test]
fn sorting_is_stable_and_puts_null_first() {
    let sort = |order: &str| {
        format!(
            r#"{{"type": "sort_items", "items_expression": {{"type": "identity"}},
                "sort_expression": {{"type": "property_name", "property_name": "k"}}{order}}}"#
        )
    };
    let items = r#"[{"k": 2, "n": 1}, {"n": 2}, {"k": 1}, {"k": 2, "n": 3}]"#;
    check(&sort(""), items, "[{'n': 2}, {'k': 1}, {'k': 2, 'n': 1}, {'k': 2, 'n': 3}]");
    check(&sort(r#", "order": "DESC""#), items, "[{'k': 2, 'n': 1}, {'k': 2, 'n': 3}, {'k': 1}, {'n': 2}]");
    check(&sort(""), r#"[{"k": 2}, {"k": "x"}]"#, "[]");
    check(&sort(""), r#"[{"k": {"a": 1}}, {"k": {"a": 1}}]"#, "[{'k': {'a': 1}}, {'k': {'a': 1}}]");
    refused(&sort(r#", "order": "asc""#), "order");
}

#[test]
fn a_related_document_of_another_domain_is_not_there() {
    let world = Known::default()
        .document("CommCareCase", "c1", r#"{"_id": "c1", "domain": "d", "name": "one"}"#)
        .document("CommCareCase", "c2", r#"{"_id": "c2", "domain": "other", "name": "two"}"#);
    let related = |value: &str| {
        format!(
            r#"{{"type": "related_doc", "related_doc_type": "CommCareCase",
                "doc_id_expression": {{"type": "property_name", "property_name": "case"}}, "value_expression": {value}}}"#
        )
    };
    let name = related(r#"{"type": "property_name", "property_name": "name"}"#);
    let in_world = |spec: &str, document: &str| expression_in(&world, spec, document);
    assert_eq!(in_world(&name, r#"{"domain": "d", "case": "c1"}"#), "'one'");
    assert_eq!(in_world(&name, r#"{"domain": "d", "case": "c2"}"#), "None");
    assert_eq!(in_world(&name, r#"{"domain": "d", "case": ""}"#), "None");
    assert!(in_world(&name, r#"{"case": "c1"}"#).starts_with("error: "));
    assert!(in_world(&name, r#"{"case": "c1", "domain": ""}"#).starts_with("error: "));
    // The value expression is evaluated all the same, with the document that was found as its root.
    let constant = related(r#"{"type": "constant", "constant": 5}"#);
    assert_eq!(in_world(&constant, r#"{"domain": "d", "case": "none"}"#), "5");
    let root = related(r#"{"type": "root_doc", "expression": {"type": "property_name", "property_name": "_id"}}"#);
    assert_eq!(in_world(&root, r#"{"domain": "d", "case": "c1"}"#), "'c1'");
    let iteration = related(r#"{"type": "base_iteration_number"}"#);
    assert_eq!(in_world(&iteration, r#"{"domain": "d", "case": "c1"}"#), "0");
}

#[test]
fn an_indexed_case_is_found_through_the_indices_of_a_case() {
    let world = Known::default().document("CommCareCase", "mother", r#"{"_id": "mother", "domain": "d"}"#);
    let indexed =
        |index: &str| format!(r#"{{"type": "indexed_case", "case_expression": {{"type": "identity"}}{index}}}"#);
    let child = r#"{"domain": "d", "indices": [{"identifier": "parent", "referenced_id": "mother"}]}"#;
    assert_eq!(expression_in(&world, &indexed(""), child), "{'_id': 'mother', 'domain': 'd'}");
    assert_eq!(expression_in(&world, &indexed(r#", "index": "host""#), child), "None");
}

#[test]
fn forms_and_sub_cases_are_of_the_same_domain() {
    let world = Known::default()
        .with(
            QueryKind::CaseForms,
            "c",
            r#"[{"domain": "d", "xmlns": "x"}, {"domain": "d", "xmlns": "y"}, {"domain": "e", "xmlns": "x"}]"#,
        )
        .with(QueryKind::Subcases, "c", r#"[{"domain": "d", "_id": "s"}]"#);
    let forms = |more: &str| format!(r#"{{"type": "get_case_forms", "case_id_expression": "c"{more}}}"#);
    let in_world = |spec: &str| expression_in(&world, spec, r#"{"domain": "d"}"#);
    assert_eq!(in_world(&forms("")), "[{'domain': 'd', 'xmlns': 'x'}, {'domain': 'd', 'xmlns': 'y'}]");
    assert_eq!(in_world(&forms(r#", "xmlns": ["y"]"#)), "[{'domain': 'd', 'xmlns': 'y'}]");
    assert_eq!(in_world(r#"{"type": "get_subcases", "case_id_expression": "c"}"#), "[{'domain': 'd', '_id': 's'}]");
    assert_eq!(in_world(r#"{"type": "get_subcases", "case_id_expression": ""}"#), "[]");
}

#[test]
fn of_several_ancestors_of_a_type_the_lowest_wins() {
    let world = Known::default()
        .with(QueryKind::Location, "a", r#"{"domain": "d", "_id": "a", "location_type": "state", "lineage": []}"#)
        .with(
            QueryKind::Location,
            "b",
            r#"{"domain": "d", "_id": "b", "location_type": "state", "parent_location_id": "a"}"#,
        )
        .with(
            QueryKind::Location,
            "c",
            r#"{"domain": "d", "_id": "c", "location_type": "state", "parent_location_id": "b"}"#,
        );
    let ancestor = |id: &str, more: &str| {
        format!(r#"{{"type": "ancestor_location", "location_id": "{id}", "location_type": "state"{more}}}"#)
    };
    let in_world = |spec: &str| expression_in(&world, spec, r#"{"domain": "d"}"#);
    assert_eq!(in_world(&ancestor("c", r#", "location_property": "_id""#)), "'b'");
    assert_eq!(in_world(&ancestor("b", "")), "{'domain': 'd', '_id': 'a', 'location_type': 'state'}");
    assert_eq!(in_world(&ancestor("a", "")), "None");
}

#[test]
fn nesting_and_steps_are_limited() {
    let mut spec = "1".to_owned();
    for _ in 0..80 {
        spec = format!(r#"{{"type": "dict", "properties": {{"a": {spec}}}}}"#);
    }
    assert!(expression(&spec, "{}").starts_with("{'a': "));
    let mut spec = "1".to_owned();
    for _ in 0..150 {
        spec = format!(
            r#"{{"type": "root_doc", "expression": {{"type": "coalesce", "expression": {{"type": "identity"}}, "default_expression": {spec}}}}}"#
        );
        if spec.matches('{').count() > 190 {
            break;
        }
    }
    assert!(expression(&spec, "{}").contains("is nested deeper than 100 levels"));
    let mut spec = r#"{"type": "identity"}"#.to_owned();
    for _ in 0..7 {
        spec = format!(
            r#"{{"type": "map_items", "items_expression": {{"type": "root_doc", "expression": {{"type": "identity"}}}}, "map_expression": {spec}}}"#
        );
    }
    let items = format!("[{}0]", "0,".repeat(60));
    assert_eq!(expression(&spec, &items), "error: more steps than a document may take");
}

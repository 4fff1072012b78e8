//! The rules of data sources: which documents, which rows, which table.

use super::{DataSource, Outcome, read_definitions};
use crate::EmptyWorld;
use crate::testing::now;
use crate::value::{Value, parse, parse_parts};

const COLUMN: &str = r#"{"type": "expression", "column_id": "a", "datatype": "string", "expression": {"type": "property_name", "property_name": "x"}}"#;

/// A configuration with these keys beside the required ones.
fn config(more: &str) -> String {
    format!(
        r#"{{"domain": "d", "referenced_doc_type": "XFormInstance", "table_id": "t",
            "configured_indicators": [{COLUMN}]{more}}}"#
    )
}

fn compiled(more: &str) -> DataSource {
    DataSource::compile(&parse(&config(more)).unwrap()).unwrap()
}

fn refused(config: &str, place: &str) {
    let error = DataSource::compile(&parse(config).unwrap()).unwrap_err().to_string();
    assert!(error.starts_with(place), "{error}");
}

/// What a document gives, also where it has no more than what is read of it: its rows without the first two columns.
fn rows(source: &DataSource, document: &str) -> String {
    let whole = given(source, &parse(document).unwrap());
    assert_eq!(given(source, &parse_parts(document, &source.reads()).unwrap()), whole, "{document}");
    whole
}

fn given(source: &DataSource, document: &Value<'_>) -> String {
    match source.process(document, now(), &EmptyWorld) {
        Ok(Outcome::NotTaken) => "not taken".to_owned(),
        Ok(Outcome::Invalid(failed)) => format!("invalid: {}", failed.first().unwrap().error_message),
        Ok(Outcome::Rows(rows)) => {
            let row = |row: &Vec<Value<'_>>| row.iter().skip(2).map(Value::repr).collect::<Vec<_>>().join(" ");
            rows.iter().map(row).collect::<Vec<_>>().join(" | ")
        }
        Err(error) => format!("error: {error}"),
    }
}

fn form(more: &str) -> String {
    format!(r#"{{"_id": "1", "domain": "d", "doc_type": "XFormInstance"{more}}}"#)
}

#[test]
fn documents_of_the_domain_and_type_are_taken_when_the_filter_says_so() {
    let source = compiled("");
    assert_eq!(rows(&source, &form(r#", "x": 5"#)), "'5'");
    assert_eq!(rows(&source, r#"{"domain": "e", "doc_type": "XFormInstance"}"#), "not taken");
    assert_eq!(rows(&source, r#"{"doc_type": "XFormInstance"}"#), "not taken");
    assert_eq!(rows(&source, r#"{"domain": "d", "doc_type": "XFormArchived"}"#), "not taken");
    assert!(source.is_deletion(&parse(r#"{"domain": "d", "doc_type": "XFormArchived"}"#).unwrap()));
    assert!(!source.is_deletion(&parse(r#"{"domain": "e", "doc_type": "XFormArchived"}"#).unwrap()));
    let filter = r#", "configured_filter": {"type": "boolean_expression", "operator": "eq", "property_value": 1,
        "expression": {"type": "property_name", "property_name": "x"}}"#;
    assert_eq!(rows(&compiled(filter), &form(r#", "x": 2"#)), "not taken");
    assert_eq!(rows(&compiled(filter), &form(r#", "x": 1"#)), "'1'");
}

#[test]
fn each_repeat_item_gives_a_row_and_only_null_gives_none() {
    let source = compiled(r#", "base_item_expression": {"type": "property_name", "property_name": "items"}"#);
    assert_eq!(rows(&source, &form(r#", "items": [{"x": 1}, 5, null]"#)), "0 '1' | 1 None | 2 None");
    assert_eq!(rows(&source, &form(r#", "items": []"#)), "");
    assert_eq!(rows(&source, &form("")), "");
    assert_eq!(rows(&source, &form(r#", "items": """#)), "0 None");
    assert_eq!(rows(&source, &form(r#", "items": {"x": 2}"#)), "0 '2'");
    assert_eq!(source.primary_key, ["doc_id", "repeat_iteration"]);
}

#[test]
fn an_invalid_document_gives_no_rows() {
    let source = compiled(
        r#", "validations": [{"name": "v", "error_message": "x is missing", "expression": {"type": "boolean_expression",
            "operator": "not_eq", "property_value": null, "expression": {"type": "property_name", "property_name": "x"}}}]"#,
    );
    assert_eq!(rows(&source, &form("")), "invalid: x is missing");
    assert_eq!(rows(&source, &form(r#", "x": 1"#)), "'1'");
    let late = compiled(r#", "validations": [{"name": "v", "error_message": "m", "expression": {"type": "no"}}]"#);
    assert!(rows(&late, &form("")).starts_with("error: "));
    refused(&config(r#", "validations": [{"name": "v", "error_message": "m"}]"#), "validations[0].expression: ");
}

#[test]
fn an_error_loses_the_rows_of_the_document() {
    let integer = COLUMN.replace("string", "integer");
    let source = compiled("");
    assert_eq!(rows(&source, &form(r#", "x": "inf""#)), "'inf'");
    let config = config("").replace(COLUMN, &integer);
    let source = DataSource::compile(&parse(&config).unwrap()).unwrap();
    assert_eq!(rows(&source, &form(r#", "x": "inf""#)), "error: an infinite number has no integer");
}

#[test]
fn what_is_required_is_asked_for_all_at_once() {
    let error =
        DataSource::compile(&parse(r#"{"configured_indicators": [{"type": "nope"}], "engine_id": 5}"#).unwrap());
    let error = error.unwrap_err().to_string();
    for place in ["domain: ", "referenced_doc_type: ", "table_id: ", "configured_indicators[0].type: ", "engine_id: "] {
        assert!(error.contains(place), "{place} is missing in {error}");
    }
    refused(&config("").replace("XFormInstance", "Bogus"), "referenced_doc_type: ");
    refused(&config(r#", "named_expressions": []"#), "named_expressions: ");
    refused(&config(r#", "base_item_expression": "x""#), "base_item_expression: ");
    assert_eq!(compiled(r#", "mirrored_engine_ids": ["x", "ucr"]"#).mirrored_engine_ids, ["x"]);
    refused(&config(r#", "named_filters": null"#), "named_filters: ");
    refused(&config(r#", "sql_settings": null"#), "sql_settings: ");
    compiled(r#", "description": 5, "named_expressions": null"#);
    refused("[]", "must be a data source");
}

#[test]
fn column_ids_are_unique_and_some_are_taken() {
    let two =
        |id: &str| config("").replace(COLUMN, &format!("{COLUMN}, {}", COLUMN.replace("\"a\"", &format!("{id:?}"))));
    refused(&two("a"), "configured_indicators: make more than one column of the id a;");
    refused(&two("inserted_at"), "configured_indicators: ");
    assert!(DataSource::compile(&parse(&two("A")).unwrap()).is_ok());
}

#[test]
fn the_primary_key_can_be_ordered_but_not_changed() {
    let key = COLUMN.replace("\"column_id\"", "\"is_primary_key\": true, \"column_id\"");
    let with = |order: &str| config(&format!(r#", "sql_settings": {{"primary_key": {order}}}"#)).replace(COLUMN, &key);
    let source = DataSource::compile(&parse(&with(r#"["a", "doc_id"]"#)).unwrap()).unwrap();
    assert_eq!(source.primary_key, ["a", "doc_id"]);
    let source = DataSource::compile(&parse(&with("[]")).unwrap()).unwrap();
    assert_eq!(source.primary_key, ["doc_id", "a"]);
    refused(&with(r#"["a"]"#), "sql_settings.primary_key: ");
    refused(&with(r#"["a", "doc_id", "x"]"#), "sql_settings.primary_key: ");
}

#[test]
fn indexes_over_columns_that_do_not_exist_are_left_out() {
    let source = compiled(r#", "sql_column_indexes": [{"column_ids": ["a", "doc_id"]}, {"column_ids": ["nope"]}]"#);
    let names: Vec<&str> = source.indexes.iter().map(|index| index.name.as_str()).collect();
    assert_eq!(names.len(), 1);
    assert!(names.first().unwrap().starts_with(&format!("ix_{}_a,doc_id", source.table_name)), "{names:?}");
}

#[test]
fn named_expressions_may_use_each_other_in_any_order_but_not_in_a_circle() {
    let named = |expressions: &str| {
        config(&format!(
            r#", "named_expressions": {expressions}, "configured_filter": {{"type": "boolean_expression",
                "operator": "eq", "property_value": 5, "expression": {{"type": "named", "name": "a"}}}}"#
        ))
    };
    let source =
        DataSource::compile(&parse(&named(r#"{"a": {"type": "named", "name": "b"}, "b": 5}"#)).unwrap()).unwrap();
    assert_eq!(rows(&source, &form(r#", "x": 1"#)), "'1'");
    let circle = named(r#"{"a": {"type": "named", "name": "b"}, "b": {"type": "named", "name": "a"}}"#);
    refused(&circle, "named_expressions.a.name: uses, directly or through others, itself: a, b");
    refused(
        &named(r#"{"a": {"type": "named", "name": "c"}}"#),
        "named_expressions.a.name: there is no named expression",
    );
    let filters =
        r#"{"type": "filter_items", "items_expression": [], "filter_expression": {"type": "named", "name": "f"}}"#;
    refused(&named(&format!(r#"{{"a": {filters}}}"#)), "named_expressions.a.filter_expression.name: ");
}

#[test]
fn named_filters_may_use_named_expressions_and_not_each_other() {
    let is_five = r#"{"type": "boolean_expression", "operator": "eq", "property_value": 5, "expression": {"type": "named", "name": "x"}}"#;
    let with = |filters: &str| {
        config(&format!(
            r#", "named_expressions": {{"x": {{"type": "property_name", "property_name": "x"}}}}, "named_filters": {filters},
                "configured_filter": {{"type": "named", "name": "f"}}"#
        ))
    };
    let source = DataSource::compile(&parse(&with(&format!(r#"{{"f": {is_five}}}"#))).unwrap()).unwrap();
    assert_eq!(rows(&source, &form(r#", "x": 5"#)), "'5'");
    assert_eq!(rows(&source, &form(r#", "x": 6"#)), "not taken");
    refused(&with(&format!(r#"{{"g": {is_five}, "f": {{"type": "named", "name": "g"}}}}"#)), "named_filters.f.name: ");
    refused(&with("{}"), "configured_filter.name: ");
}

#[test]
fn a_filter_that_names_the_kinds_of_documents_says_so() {
    let with = |filter: &str| compiled(&format!(r#", "configured_filter": {filter}"#));
    let by = |operator: &str, value: &str| {
        format!(
            r#"{{"type": "boolean_expression", "operator": "{operator}", "property_value": {value},
                "expression": {{"type": "property_name", "property_name": "xmlns"}}}}"#
        )
    };
    assert_eq!(with(&by("eq", "\"x\"")).subtypes(), Some(&[Value::text("x")][..]));
    let all = format!(r#"{{"type": "and", "filters": [{}, {}]}}"#, by("not_eq", "\"y\""), by("in", r#"["x", "y"]"#));
    assert_eq!(with(&all).subtypes().map(<[_]>::len), Some(2));
    assert_eq!(with(&by("not_eq", "\"x\"")).subtypes(), None);
    assert_eq!(compiled("").subtypes(), None);
    // A text stands for each of its parts, and with a datatype for others that are equal to it.
    assert_eq!(with(&by("in", "\"x,y\"")).subtypes(), None);
    let dates =
        by("eq", "\"2015-01-20\"").replace("\"property_name\": \"", "\"datatype\": \"date\", \"property_name\": \"");
    assert_eq!(with(&dates).subtypes(), None);
}

#[test]
fn a_registry_has_a_column_for_the_project() {
    let source = compiled(
        r#", "doc_type": "RegistryDataSourceConfiguration", "registry_slug": "r", "$data_domains": ["d", "e"],
            "referenced_doc_type": "CommCareCase""#,
    );
    let document = r#"{"domain": "e", "doc_type": "CommCareCase", "x": 1}"#;
    assert_eq!(rows(&source, document), "'e' '1'");
    assert_eq!(rows(&source, r#"{"domain": "f", "doc_type": "CommCareCase"}"#), "not taken");
}

#[test]
fn a_static_data_source_stands_for_one_per_domain() {
    let config = config("").replace(r#""domain": "d","#, "");
    let definition = format!(
        r#"{{"domains": ["a", "b"], "server_environment": ["production"], "config": {config},
            "mirrored_engine_ids": [{{"server_environment": "production", "engine_ids": ["second"]}}]}}"#
    );
    let definitions = read_definitions(&parse(&definition).unwrap(), Some("production")).unwrap();
    let ids: Vec<&str> = definitions.sources.iter().filter_map(|source| source.id.as_deref()).collect();
    assert_eq!(ids, ["static-a-t", "static-b-t"]);
    assert_eq!(definitions.server_environments, ["production"]);
    assert!(definitions.sources.iter().all(|source| source.mirrored_engine_ids == ["second"]));
    let wrong = definition.replace("XFormInstance", "Bogus");
    let error = read_definitions(&parse(&wrong).unwrap(), None).unwrap_err().to_string();
    assert!(error.starts_with("config.referenced_doc_type: "), "{error}");
}

#[test]
fn a_document_that_is_not_taken_is_told_which_part_of_the_filter_says_no() {
    let filter = r#", "named_filters": {"young": {"type": "boolean_expression", "operator": "lt", "property_value": 5,
            "expression": {"type": "property_name", "property_name": "age"}}},
        "configured_filter": {"type": "and", "filters": [
            {"type": "not", "filter": {"type": "property_match", "property_name": "x", "property_value": 1}},
            {"type": "or", "filters": [
                {"type": "boolean_expression", "operator": "eq", "property_value": "a",
                    "expression": {"type": "property_name", "property_name": "kind"}},
                {"type": "named", "name": "young"}]}]}"#;
    let source = compiled(filter);
    let check = |document: &str, expected: &[(&str, &str)]| {
        let refusals = source.refusals(&parse(document).unwrap(), now(), &EmptyWorld).unwrap();
        let found: Vec<_> = refusals.iter().map(|refusal| (refusal.path.as_str(), refusal.reason.as_str())).collect();
        assert_eq!(found, expected, "{document}");
    };
    check(&form(r#", "kind": "a""#), &[]);
    check(&form(r#", "x": 1"#), &[("configured_filter.filters[0]", "its filter holds")]);
    let second = "configured_filter.filters[1].filters";
    check(
        &form(r#", "kind": "b", "age": 7"#),
        &[
            (&format!("{second}[0]"), r#"kind is "b", wanted eq "a""#),
            (&format!("{second}[1] = named_filters.young"), "found 7, wanted lt 5"),
        ],
    );
    check(r#"{"domain": "e"}"#, &[("domain", r#"the document's domain is "e", not d"#)]);
    check(r#"{"domain": "d"}"#, &[("referenced_doc_type", "the document's doc_type is missing, not XFormInstance")]);
}

#[test]
fn what_an_expression_looks_at_as_a_whole_is_read_as_a_whole() {
    let column = |expression: &str| {
        let column = format!(
            r#"{{"domain": "d", "referenced_doc_type": "XFormInstance", "table_id": "t",
                "named_expressions": {{"y": {{"type": "property_name", "property_name": "y"}}}},
                "configured_indicators": [{{"type": "expression", "column_id": "a", "datatype": "string",
                "expression": {expression}}}]}}"#
        );
        DataSource::compile(&parse(&column).unwrap()).unwrap()
    };
    let identity = r#"{"type": "identity"}"#;
    let y = r#"{"type": "property_name", "property_name": "y"}"#;
    for (expression, expected) in [
        (y, "'{'z': 7, 'w': 'v'}'"),
        (r#"{"type": "property_path", "property_path": ["y", "z"]}"#, "'7'"),
        (r#"{"type": "named", "name": "y"}"#, "'{'z': 7, 'w': 'v'}'"),
        (r#"{"type": "jsonpath", "jsonpath": "y.z"}"#, "'7'"),
        (r#"{"type": "evaluator", "statement": "y['z'] + 1"}"#, "'8'"),
        (r#"{"type": "evaluator", "statement": "root_context()['y']['z'] + a", "context_variables": {"a": 1}}"#, "'8'"),
        (
            r#"{"type": "evaluator", "statement": "named('y', root_context())['z']", "context_variables": {"a": 1}}"#,
            "'7'",
        ),
        (
            &format!(r#"{{"type": "nested", "argument_expression": {identity}, "value_expression": {y}}}"#),
            "'{'z': 7, 'w': 'v'}'",
        ),
        (
            r#"{"type": "property_name", "property_name": {"type": "property_name", "property_name": "name"}}"#,
            "'{'z': 7, 'w': 'v'}'",
        ),
    ] {
        let document = form(r#", "name": "y", "y": {"z": 7, "w": "v"}, "other": 1"#);
        let given = rows(&column(expression), &document).replace("\"", "'");
        assert_eq!(given, expected, "{expression}");
    }
}

#[test]
fn lists_of_the_configuration_are_no_variables_also_by_their_name() {
    let column = r#"{"type": "expression", "column_id": "a", "datatype": "string", "expression": {"type": "evaluator",
        "statement": "1", "context_variables": {"v": {"type": "named", "name": "n"}}}}"#;
    for (named, expected) in [("[1, 2]", "None"), ("5", "'1'")] {
        let config = config(&format!(r#", "named_expressions": {{"n": {named}}}"#)).replace(COLUMN, column);
        let source = DataSource::compile(&parse(&config).unwrap()).unwrap();
        assert_eq!(rows(&source, &form("")), expected, "{named}");
    }
}

//! The processor on documents, as the host would call it.

use pillowtop_sdk::testing::{Fixture, Harness};
use serde_json::{Value, json};

use super::UcrRowBuilder;

fn source(table_id: &str) -> Value {
    json!({
        "domain": "d", "referenced_doc_type": "XFormInstance", "table_id": table_id,
        "configured_filter": {
            "type": "boolean_expression", "operator": "eq", "property_value": "visit",
            "expression": {"type": "property_name", "property_name": "xmlns"},
        },
        "configured_indicators": [{
            "type": "expression", "column_id": "age", "datatype": "integer",
            "expression": {"type": "property_name", "property_name": "age"},
        }],
    })
}

fn harness(sources: &[Value]) -> Harness<UcrRowBuilder> {
    Harness::configure(json!({"data-sources": sources})).unwrap()
}

fn form(more: Value) -> Value {
    let mut form = json!({"_id": "f", "domain": "d", "doc_type": "XFormInstance", "xmlns": "visit", "age": "30"});
    form.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    form
}

fn table(table_id: &str) -> String {
    ucr::names::table_name("d", table_id)
}

fn row(age: Value) -> Value {
    json!({"doc_id": "f", "inserted_at": "2026-01-02T03:04:05.000000Z", "age": age})
}

#[test]
fn a_document_replaces_its_rows_in_each_table() {
    let answer = harness(&[source("a"), source("b")]).process_one(Fixture::present("f", form(json!({}))));
    let replaced = |id| json!({"replace_rows": {"table": table(id), "rows": [row(json!(30))]}});
    assert_eq!(answer, json!({"writes": [replaced("a"), replaced("b")]}));
}

#[test]
fn a_document_that_is_other_than_announced_is_read_as_a_whole() {
    let mut other = source("b");
    other["configured_filter"]["property_value"] = json!("other");
    other["configured_indicators"][0]["expression"]["property_name"] = json!("height");
    let sources = [source("a"), other];
    let document = form(json!({"xmlns": "other", "height": 170}));
    let expected = json!({"writes": [
        {"delete_rows": {"table": table("a")}}, {"replace_rows": {"table": table("b"), "rows": [row(json!(170))]}},
    ]});
    for announced in ["visit", ""] {
        let fixture = Fixture::present("f", document.clone()).document_subtype(announced);
        assert_eq!(harness(&sources).process_one(fixture), expected, "{announced}");
    }
    let alone = harness(&sources).process_one(Fixture::present("f", document));
    assert_eq!(alone, json!({"writes": [expected["writes"][1]]}));
}

#[test]
fn a_document_that_is_no_longer_taken_loses_its_rows() {
    let deleted = json!({"writes": [{"delete_rows": {"table": table("a")}}]});
    let archived = Fixture::present("f", form(json!({"doc_type": "XFormArchived"})));
    assert_eq!(harness(&[source("a")]).process_one(archived), deleted);
    assert_eq!(harness(&[source("a")]).process_one(Fixture::deleted("f")), deleted);
}

#[test]
fn a_change_that_announces_a_document_without_domain_is_passed_over() {
    let mut harness = harness(&[source("a")]);
    let without = Fixture::present("f", form(json!({}))).domain("");
    assert_eq!(harness.process_one(without), json!({"skip": "the change names no domain"}));
    let replaced = json!({"writes": [{"replace_rows": {"table": table("a"), "rows": [row(json!(30))]}}]});
    assert_eq!(harness.process_one(Fixture::present("f", form(json!({}))).domain("d")), replaced);
}

#[test]
fn documents_that_are_no_longer_of_a_namespace_lose_their_rows_where_the_change_may_be_of_it() {
    let other = form(json!({"xmlns": "other"}));
    let deleted = json!({"writes": [{"delete_rows": {"table": table("a")}}]});
    let unknown = Fixture::present("f", other.clone());
    for fixture in [unknown.document_subtype(""), Fixture::present("f", other).document_subtype("visit")] {
        assert_eq!(harness(&[source("a")]).process_one(fixture), deleted);
    }
}

#[test]
fn a_document_of_the_queue_that_is_invalid_loses_its_row() {
    let mut validating = source("a");
    validating["asynchronous"] = json!(true);
    validating["validations"] = json!([{
        "name": "v", "error_message": "never",
        "expression": {"type": "boolean_expression", "operator": "eq", "property_value": 1, "expression": 2},
    }]);
    let answer = harness(&[validating]).process_one(Fixture::present("f", form(json!({}))).attempts(1));
    assert_eq!(answer["writes"][0], json!({"delete_rows": {"table": table("a")}}), "{answer}");
    assert!(answer["writes"][1]["upsert_row"].is_object(), "{answer}");
}

#[test]
fn documents_that_left_the_domain_or_have_an_unknown_type_lose_their_rows() {
    let deleted = json!({"writes": [{"delete_rows": {"table": table("a")}}]});
    for changed in [
        json!({"domain": "e"}),
        json!({"domain": null}),
        json!({"doc_type": "XFormInstance-Deleted-Deleted"}),
        json!({"doc_type": "Something"}),
        json!({"doc_type": null}),
    ] {
        let fixture = Fixture::present("f", form(changed.clone())).domain("d");
        assert_eq!(harness(&[source("a")]).process_one(fixture), deleted, "{changed}");
    }
    // What another domain announces is not written into the tables of this one.
    let mut other = source("b");
    other["domain"] = json!("e");
    let answer = harness(&[source("a"), other]).process_one(Fixture::present("f", form(json!({}))).domain("e"));
    assert!(
        answer["writes"][0]["delete_rows"]["table"].as_str().is_some_and(|table| table.starts_with("ucr_e_b")),
        "{answer}"
    );
    assert_eq!(answer["writes"].as_array().map(Vec::len), Some(1), "{answer}");
}

#[test]
fn numbers_are_written_without_exponents_and_refused_when_they_are_too_long() {
    let mut decimals = source("a");
    decimals["configured_indicators"][0]["datatype"] = json!("decimal");
    let check = |age: &str, expected: Option<&str>| {
        let answer = harness(&[decimals.clone()]).process_one(Fixture::present("f", form(json!({"age": age}))));
        let found = &answer["writes"][0]["replace_rows"]["rows"][0]["age"];
        assert_eq!(found.as_str(), expected, "{age}: {answer}");
    };
    check("1.50", Some("1.50"));
    check("1e-17", Some("0.00000000000000001"));
    check("-2e3", Some("-2000"));
    check("0e99", Some("0"));
    check("1e47", Some(&format!("1{}", "0".repeat(47))));
    check("1e48", None);
    check("inf", Some("NaN"));
}

#[test]
fn documents_of_other_domains_types_and_namespaces_ask_no_data_source() {
    for other in [json!({"domain": "e"}), json!({"doc_type": "CommCareCase"}), json!({"xmlns": "other"})] {
        let answer = harness(&[source("a")]).process_one(Fixture::present("f", form(other)));
        assert!(answer.get("skip").is_some(), "{answer}");
    }
}

#[test]
fn a_data_source_that_fails_for_a_document_leaves_the_others_alone() {
    let mut failing = source("b");
    failing["configured_indicators"][0]["datatype"] = json!("small_integer");
    let answer = harness(&[source("a"), failing]).process_one(Fixture::present("f", form(json!({"age": 40_000}))));
    assert_eq!(answer["writes"], json!([{"replace_rows": {"table": table("a"), "rows": [row(json!(40_000))]}}]));
    assert_eq!(answer["failures"].as_array().map(Vec::len), Some(1), "{answer}");
    assert!(answer.to_string().contains("column age: the integer is out of range"), "{answer}");
}

#[test]
fn look_ups_are_asked_for_and_then_used() {
    let mut looking = source("a");
    looking["configured_indicators"][0]["expression"] = json!({
        "type": "related_doc", "related_doc_type": "CommCareCase",
        "doc_id_expression": {"type": "constant", "constant": "c"},
        "value_expression": {"type": "property_name", "property_name": "age"},
    });
    let mut harness = harness(&[looking]);
    let answer = harness.process_one(Fixture::present("f", form(json!({}))));
    assert_eq!(answer, json!({"need": [{"lookup": "documents", "key": "CommCareCase/c"}]}));
}

#[test]
fn an_invalid_document_is_noted_and_gives_no_rows() {
    let mut validating = source("a");
    validating["validations"] = json!([{
        "name": "old", "error_message": "too old",
        "expression": {
            "type": "boolean_expression", "operator": "lt", "property_value": 20,
            "expression": {"type": "property_name", "property_name": "age", "datatype": "integer"},
        },
    }]);
    let answer = harness(&[validating]).process_one(Fixture::present("f", form(json!({}))));
    assert_eq!(answer["writes"].as_array().map(Vec::len), Some(1));
    let noted = &answer["writes"][0]["upsert_row"];
    assert_eq!(noted["table"], "invalid_ucr_data");
    assert_eq!(noted["row"]["validation_text"], "too old");
}

#[test]
fn a_configuration_without_data_sources_is_refused() {
    let problems = Harness::<UcrRowBuilder>::configure(json!({})).unwrap_err();
    assert_eq!(problems.iter().map(pillowtop_sdk::Problem::path).collect::<Vec<_>>(), ["data-sources"]);
}

#[test]
fn a_wrong_data_source_is_left_out_and_reported() {
    let mut wrong = source("b");
    wrong["configured_indicators"][0]["type"] = json!("no");
    let answer = harness(&[source("a"), wrong]).process_one(Fixture::present("f", form(json!({}))));
    assert_eq!(answer["writes"].as_array().map(Vec::len), Some(1), "{answer}");
}

#[test]
fn a_test_vector_is_answered_on_the_topic() {
    let mut harness = Harness::<UcrRowBuilder>::configure(json!({"vectors": "answers"})).unwrap();
    let vector = json!({"kind": "expression", "spec": {"type": "identity"}, "doc": 1, "root_doc": "$doc"});
    let answer = harness.process_one(Fixture::present("v", vector)).to_string();
    assert!(answer.contains("answers") && answer.contains("value"), "{answer}");
}

/// The name of the district that the document's place is in.
fn district() -> Value {
    let mut looking = source("a");
    looking["configured_indicators"][0]["datatype"] = json!("string");
    looking["configured_indicators"][0]["expression"] = json!({
        "type": "ancestor_location", "location_id": {"type": "property_name", "property_name": "place"},
        "location_type": "district", "location_property": "name",
    });
    looking
}

#[test]
fn a_location_that_comes_with_those_above_it_needs_no_further_look_up() {
    let location = |id: &str, kind: &str, parent: Value| json!({"_id": id, "domain": "d", "location_type": kind, "parent_location_id": parent, "name": format!("{kind} {id}")});
    let all = [
        location("v", "village", json!("w")),
        location("w", "ward", json!("x")),
        location("x", "district", json!(null)),
    ];
    let rows = json!([{"replace_rows": {"table": table("a"), "rows": [row(json!("district x"))]}}]);
    let asked = |answers: &[(&str, &[Value])]| {
        let mut harness = harness(&[district()]);
        for (key, documents) in answers {
            harness.answer("locations", key, documents.iter().cloned());
        }
        harness.process_one(Fixture::present("f", form(json!({"place": "v"}))))
    };
    assert_eq!(asked(&[("v", &all)])["writes"], rows);
    // Otherwise each level is asked for when the one below it is known.
    assert_eq!(asked(&[("v", &all[..1])]), json!({"need": [{"lookup": "locations", "key": "w"}]}));
    assert_eq!(asked(&[("v", &all[..1]), ("w", &all[1..2]), ("x", &all[2..])])["writes"], rows);
}

#[test]
fn a_data_source_whose_look_ups_are_not_granted_is_left_out() {
    let configured =
        Harness::<UcrRowBuilder>::configure_granted(json!({"data-sources": [district(), source("b")]}), &["documents"]);
    let description = configured.unwrap().description();
    assert_eq!(description["lookups"], json!([]));
    assert_eq!(description["parts"], json!([table("b")]));
    let problems = description["problems"].to_string();
    assert!(problems.contains("data source a needs the look-up locations, and it is not granted"), "{problems}");
}

#[test]
fn an_asynchronous_data_source_is_deferred_and_computed_when_the_document_comes_again() {
    let mut later = source("a");
    later["asynchronous"] = json!(true);
    let mut harness = harness(&[later, source("b")]);
    let fixture = || Fixture::present("f", form(json!({"age": 5})));
    let written = |name: &str| json!({"replace_rows": {"table": table(name), "rows": [row(json!(5))]}});
    let first = harness.process_one(fixture());
    assert_eq!(first["writes"], json!([written("b")]));
    assert_eq!(first["failures"].as_array().map(Vec::len), Some(1), "{first}");
    assert!(first["failures"].to_string().contains("deferred"), "{first}");
    let again = harness.process_one(fixture().attempts(1));
    assert_eq!(again["writes"], json!([written("a"), written("b")]));
    assert_eq!(again.get("failures").and_then(Value::as_array).map_or(0, Vec::len), 0, "{again}");
    // What the filter does not take need not wait.
    let archived = Fixture::present("f", form(json!({"age": 5, "doc_type": "XFormArchived"})));
    let gone = harness.process_one(archived);
    assert!(gone["writes"].as_array().unwrap().contains(&json!({"delete_rows": {"table": table("a")}})), "{gone}");
}

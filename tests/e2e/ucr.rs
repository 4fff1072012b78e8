//! User configurable reports through the real program: rows in tables, and the commands around them.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::documents::lines;
use crate::support::guests::{guest, workspace};
use crate::support::pillows;
use crate::support::site::{Site, read};

/// A pillow over forms and cases with these data sources.
pub(crate) fn reports(sources: &[Value]) -> String {
    let config = json!(sources).to_string();
    pillows::reads("form-sql\", \"case-sql")
        + &format!(
            r#"
[[processors]]
name = "reports"
module = "{{ucr-row-builder}}"
grants = ["log"]
tables = "tables"

[processors.config]
data-sources = {}
"#,
            inline(&serde_json::from_str(&config).unwrap())
        )
}

/// JSON as a value of TOML.
pub(crate) fn inline(value: &Value) -> String {
    match value {
        Value::Object(entries) => {
            let entries: Vec<String> =
                entries.iter().map(|(key, value)| format!("{} = {}", json!(key), inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(elements) => format!("[{}]", elements.iter().map(inline).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

pub(crate) fn source(table_id: &str, doc_type: &str, column: &str, datatype: &str) -> Value {
    json!({
        "domain": "clinic", "referenced_doc_type": doc_type, "table_id": table_id,
        "configured_indicators": [{
            "type": "expression", "column_id": column, "datatype": datatype,
            "expression": {"type": "property_name", "property_name": column},
        }],
    })
}

/// One row for each visit of a form.
fn visits() -> Value {
    let mut visits = source("visits", "XFormInstance", "age", "integer");
    visits["base_item_expression"] = json!({"type": "property_path", "property_path": ["form", "visit"]});
    visits
}

/// Open cases.
fn open_cases() -> Value {
    let mut cases = source("open", "CommCareCase", "name", "string");
    cases["configured_filter"] = json!({
        "type": "boolean_expression", "operator": "not_eq", "property_value": true,
        "expression": {"type": "property_name", "property_name": "closed"},
    });
    cases
}

/// The table of a data source.
pub(crate) fn table(table_id: &str) -> String {
    ::ucr::names::table_name("clinic", table_id)
}

fn form(id: &str, visits: Value) -> Value {
    json!({"_id": id, "doc_type": "XFormInstance", "domain": "clinic", "form": {"visit": visits}})
}

fn case(id: &str, name: &str, closed: bool) -> Value {
    json!({"_id": id, "doc_type": "CommCareCase", "domain": "clinic", "name": name, "closed": closed})
}

async fn send(site: &Site, documents: &[Value]) {
    site.publish(&lines(documents)).await;
    site.catch_up().await;
}

async fn visit_rows(site: &Site) -> Vec<Value> {
    let sql = "select json_array(doc_id, repeat_iteration, age) from";
    site.rows(&format!("{sql} \"{}\" order by doc_id, repeat_iteration", table("visits"))).await
}

async fn case_rows(site: &Site) -> Vec<Value> {
    site.rows(&format!("select json_array(doc_id, name) from \"{}\" order by doc_id", table("open"))).await
}

#[tokio::test]
async fn rows_of_reports_appear_change_and_disappear_with_their_documents() {
    let site = Site::embedded();
    site.pillow("reports", &reports(&[visits(), open_cases()]));
    let elsewhere = json!({"_id": "f9", "doc_type": "XFormInstance", "domain": "other", "form": {"visit": [{}]}});
    let two = json!([{"age": "3"}, {"age": 4.9}]);
    send(&site, &[form("f1", two.clone()), form("f2", json!({"age": "x"})), elsewhere, case("c1", "Ada", false)]).await;
    let of_f1 = [json!(["f1", 0, 3]), json!(["f1", 1, 4])];
    assert_eq!(visit_rows(&site).await, [of_f1[0].clone(), of_f1[1].clone(), json!(["f2", 0, null])]);
    assert_eq!(case_rows(&site).await, [json!(["c1", "Ada"])]);

    // Fewer items, other values; a case is renamed, another one is new.
    send(&site, &[form("f1", json!([{"age": 5}])), case("c1", "Eve", false), case("c2", "Bela", false)]).await;
    assert_eq!(visit_rows(&site).await, [json!(["f1", 0, 5]), json!(["f2", 0, null])]);
    assert_eq!(case_rows(&site).await, [json!(["c1", "Eve"]), json!(["c2", "Bela"])]);

    // No items any more; a case that the filter does not take any more.
    send(&site, &[form("f1", json!([])), case("c1", "Eve", true)]).await;
    assert_eq!(visit_rows(&site).await, [json!(["f2", 0, null])]);
    assert_eq!(case_rows(&site).await, [json!(["c2", "Bela"])]);

    // Archived, and deleted.
    let mut archived = form("f2", two);
    archived["doc_type"] = json!("XFormArchived");
    send(&site, &[archived, json!({"_id": "c2", "doc_type": "CommCareCase-Deleted", "domain": "clinic"})]).await;
    assert_eq!(visit_rows(&site).await, [] as [Value; 0]);
    assert_eq!(case_rows(&site).await, [] as [Value; 0]);
    assert!(site.parked().await.is_empty());
}

#[tokio::test]
async fn a_row_that_does_not_fit_parks_only_its_own_data_source() {
    let site = Site::embedded();
    let (narrow, wide) =
        (source("narrow", "CommCareCase", "size", "small_integer"), source("wide", "CommCareCase", "size", "integer"));
    site.pillow("reports", &reports(&[narrow, wide]));
    let sized = |id: &str, size: u32| json!({"_id": id, "doc_type": "CommCareCase", "domain": "clinic", "size": size});
    let rows = async |table_id: &str| {
        site.rows(&format!("select json_array(doc_id, size) from \"{}\" order by doc_id", table(table_id))).await
    };
    send(&site, &[sized("c1", 1), sized("c2", 2)]).await;
    send(&site, &[sized("c1", 40_000), sized("c2", 3)]).await;
    // The old row stays where the new one failed; nothing else is held up.
    assert_eq!(rows("narrow").await, [json!(["c1", 1]), json!(["c2", 3])]);
    assert_eq!(rows("wide").await, [json!(["c1", 40_000]), json!(["c2", 3])]);
    let parked = site.parked().await;
    let [failure] = parked.as_slice() else { panic!("{parked:#?}") };
    assert_eq!((&failure["document"], &failure["part"]), (&json!("c1"), &json!(table("narrow"))));
    assert_eq!(failure["message"], "column size: the integer is out of range");
    // A version that fits settles it.
    send(&site, &[sized("c1", 7)]).await;
    assert_eq!(rows("narrow").await, [json!(["c1", 7]), json!(["c2", 3])]);
    assert_eq!(site.parked().await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_data_source_that_is_wrong_is_left_out_and_the_others_run() {
    let site = Site::embedded();
    let wrong = source("wrong", "CommCareCase", "size", "number");
    site.pillow("reports", &reports(&[wrong, open_cases()]));
    send(&site, &[case("c1", "Ada", false)]).await;
    assert_eq!(case_rows(&site).await, [json!(["c1", "Ada"])]);
}

/// The files that `UCR_VECTORS` names, with colons between them, or those beside the checkout.
fn shared_vectors() -> Vec<PathBuf> {
    if let Ok(files) = std::env::var("UCR_VECTORS") {
        return files.split(':').map(PathBuf::from).collect();
    }
    let folder = workspace().join("../shared/ucr-vectors");
    let files = ["public.jsonl", "modern-docs.jsonl"].map(|file| folder.join(file));
    files.into_iter().filter(|file| file.is_file()).collect()
}

#[tokio::test]
async fn vectors_of_the_original_pass_through_the_component() {
    let files = shared_vectors();
    if files.is_empty() {
        println!("no vectors were run: neither UCR_VECTORS nor ../shared/ucr-vectors has any");
        return;
    }
    let module = guest("ucr-row-builder");
    let mut arguments = vec!["ucr", "vectors", "--json", "--module", module.to_str().unwrap()];
    arguments.extend(files.iter().map(|file| file.to_str().unwrap()));
    let ran = Site::embedded().run(&arguments).await.well();
    let report: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
    assert_eq!(report["failed"], 0, "{report}");
    assert!(report["passed"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test]
async fn vectors_are_told_apart_through_the_component_as_within_the_program() {
    let site = Site::embedded();
    let constant = json!({"type": "constant", "constant": 1});
    let vector = |id: &str, kind: &str, spec: &Value, expected: Value| json!({"id": id, "kind": kind, "spec": spec, "doc": {}, "root_doc": "$doc", "expected": expected});
    let mut lenient = vector("accepted", "expression", &constant, json!({"value": 2}));
    lenient["accept"] = json!([{"value": 1.0}]);
    let vectors = [
        vector("right", "expression", &constant, json!({"value": 1})),
        lenient,
        vector(
            "refused",
            "filter",
            &json!({"type": "nope"}),
            json!({"error": {"phase": "build", "type": "BadSpecError"}}),
        ),
        vector("wrong", "expression", &constant, json!({"value": 2})),
        vector("other error", "filter", &json!({"type": "nope"}), json!({"error": {"phase": "eval", "type": "X"}})),
        vector("tables", "pillow", &json!({}), json!({"tables": {}})),
    ];
    site.write("vectors.jsonl", &lines(&vectors));
    let module = guest("ucr-row-builder").display().to_string();
    let run = async |more: &[&str]| {
        let ran = site.run(&[&["ucr", "vectors", "vectors.jsonl"], more].concat()).await;
        assert_eq!(ran.code(), Some(1), "{ran:?}");
        assert_eq!(ran.err, "error: 2 of 5 vectors failed\n");
        ran.out
    };
    let through_wasm = run(&["--json", "--module", &module]).await;
    assert_eq!(through_wasm, run(&["--json", "--through", "native"]).await);
    let said: Vec<Value> = through_wasm.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let expected = json!({
        "passed": 3, "failed": 2, "skipped": 1,
        "by_kind": {
            "expression": {"passed": 2, "failed": 1, "skipped": 0},
            "filter": {"passed": 1, "failed": 1, "skipped": 0},
            "pillow": {"passed": 0, "failed": 0, "skipped": 1},
        },
    });
    assert_eq!(said.last(), Some(&expected));
    assert_eq!(
        said[0],
        json!({"id": "wrong", "kind": "expression", "type": "constant", "expected": r#"{"value":2}"#, "got": r#"{"value":1}"#})
    );
    let table = run(&["--module", &module]).await;
    assert!(
        table.contains("FAILED expression constant wrong") && table.contains("skipped 1: needs a database"),
        "{table}"
    );

    // A module that is no row builder, and none at all.
    let other = guest("visit-rows").display().to_string();
    for named in [other.as_str(), "nowhere.wasm"] {
        let ran = site.run(&["ucr", "vectors", "vectors.jsonl", "--module", named]).await;
        assert_eq!(ran.code(), Some(1), "{ran:?}");
        assert!(ran.err.starts_with("error: "), "{ran:?}");
    }
}

/// Specifications, documents and what comes of them, which would take years, all of memory, or the stack.
fn endless() -> [Value; 6] {
    let identity = json!({"type": "identity"});
    let twice = json!({"type": "iterator", "expressions": [identity, identity]});
    let nest = |inner: Value, _| json!({"type": "nested", "argument_expression": twice, "value_expression": inner});
    let deeper = |inner: Value, _| json!({"type": "root_doc", "expression": inner});
    let evaluated = |statement: &str| json!({"type": "evaluator", "statement": statement});
    let list = json!({"type": "root_doc", "expression": {"type": "property_name", "property_name": "list"}});
    let mapped = |inner: Value| json!({"type": "map_items", "items_expression": list, "map_expression": inner});
    let pattern = json!({
        "type": "conditional", "expression_if_true": 1, "expression_if_false": 0,
        "test": {
            "type": "boolean_expression", "operator": "regex", "property_value": r"(?=a)(a+)+\1c",
            "expression": {"type": "property_name", "property_name": "text"},
        },
    });
    let vector = |id: &str, spec: Value, doc: Value, expected: Value| json!({"id": id, "kind": "expression", "spec": spec, "doc": doc, "root_doc": "$doc", "expected": expected});
    let fails = json!({"error": {"phase": "eval"}});
    let nested = format!("{}1{}", "(".repeat(5_000), ")".repeat(5_000));
    [
        vector("large when written", (0..40).fold(twice.clone(), nest), json!({}), fails.clone()),
        // Too long a text is null, as in the original.
        vector("a long text", evaluated("'x' * 10**9"), json!({}), json!({"value": null})),
        vector("deep in parentheses", evaluated(&nested), json!({}), fails.clone()),
        // As deep as a configuration may be.
        vector("deep in itself", (0..99).fold(identity.clone(), deeper), json!({"a": 1}), json!({"value": {"a": 1}})),
        vector(
            "many times many",
            mapped(mapped(identity)),
            json!({"list": (0..3_000).collect::<Vec<i32>>()}),
            fails.clone(),
        ),
        vector("going back for ever", pattern, json!({"text": "a".repeat(20_000)}), fails),
    ]
}

#[tokio::test]
async fn what_would_never_end_is_answered_by_the_component() {
    let site = Site::embedded();
    site.write("vectors.jsonl", &lines(&endless()));
    let module = guest("ucr-row-builder").display().to_string();
    for through in [["--module", &module], ["--through", "native"]] {
        let ran = site.run(&[&["ucr", "vectors", "--json", "vectors.jsonl"], &through[..]].concat()).await.well();
        let report: Value = serde_json::from_str(ran.out.lines().last().unwrap()).unwrap();
        assert_eq!((&report["passed"], &report["failed"]), (&json!(6), &json!(0)), "{}", ran.out);
    }
}

#[tokio::test]
async fn the_cost_of_a_data_source_is_shown_part_by_part() {
    let site = Site::embedded();
    let mut cases = open_cases();
    cases["configured_indicators"].as_array_mut().unwrap().push(json!({
        "type": "expression", "column_id": "parent", "datatype": "string",
        "expression": {
            "type": "related_doc", "related_doc_type": "CommCareCase",
            "doc_id_expression": {"type": "property_name", "property_name": "parent_id"},
            "value_expression": {"type": "property_name", "property_name": "name"},
        },
    }));
    site.write("sources.json", &json!([visits(), cases]).to_string());
    let mut child = case("c1", "Ada", false);
    child["parent_id"] = json!("c0");
    let documents = [child.clone(), child, case("c2", "Eve", true), form("f1", json!([{"age": "3"}, {}]))];
    site.write("documents.jsonl", &lines(&documents));
    site.write("related.json", &json!({"documents": {"CommCareCase/c0": case("c0", "Eva", false)}}).to_string());
    let arguments = ["ucr", "profile", "--config", "sources.json", "--document", "documents.jsonl", "--repeat", "3"];
    let ran = site.run(&[&arguments[..], &["--related", "related.json", "--json"]].concat()).await.well();
    let said: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [visits, cases] = said.as_slice() else { panic!("{ran:?}") };
    assert_eq!((&visits["rows"], &visits["not_taken"]), (&json!(2), &json!(3)));
    assert_eq!((&cases["rows"], &cases["not_taken"], &cases["failed"]), (&json!(2), &json!(2), &json!(0)));
    assert_eq!(cases["look_ups"], json!([{"name": "documents", "calls": 2, "keys": 1}]));
    let calls = |profile: &Value, table: &str, name: &str| {
        let lines = profile[table].as_array().unwrap();
        let times: Vec<f64> = lines.iter().map(|line| line["us"].as_f64().unwrap()).collect();
        assert!(times.is_sorted_by(|a, b| a >= b) && times.iter().all(|time| *time > 0.0), "{times:?}");
        lines.iter().find(|line| line["name"] == name).unwrap_or_else(|| panic!("{name}: {profile}"))["calls"].clone()
    };
    assert_eq!(calls(visits, "parts", "base_item_expression"), 1);
    assert_eq!(calls(visits, "parts", "age"), 2);
    assert_eq!(calls(cases, "parts", "configured_filter"), 3);
    assert_eq!(calls(cases, "parts", "parent"), 2);
    assert_eq!(calls(cases, "types", "related_doc"), 2);
    assert_eq!(calls(cases, "types", "boolean_expression"), 3);

    // The same for people; without documents to look up, that is said.
    let ran = site.run(&arguments).await.well();
    assert_eq!(ran.err, "note: look-ups find nothing here; --related gives what they are to find\n");
    let lines: Vec<Vec<&str>> = ran.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(lines.contains(&vec!["KIND", "PART", "CALLS", "µs", "%"]), "{}", ran.out);
    assert!(lines.iter().any(|words| words.starts_with(&["expression", "related_doc", "2"])), "{}", ran.out);
    assert!(lines.contains(&vec!["documents", "2", "1"]), "{}", ran.out);
}

#[tokio::test]
async fn a_data_source_is_checked_and_tried_without_a_pipeline() {
    let site = Site::embedded();
    let mut wrong = visits();
    wrong["referenced_doc_type"] = json!("XForm");
    wrong["configured_indicators"][0]["datatype"] = json!("number");
    site.write("sources.json", &json!([visits(), open_cases()]).to_string());
    site.write("wrong.json", &json!([open_cases(), wrong]).to_string());
    site.write("broken.json", "{\n  \"domain\": ,\n}");
    let checked = site.run(&["ucr", "check", "sources.json"]).await.well();
    assert_eq!(checked.out, "2 data sources, no problems\n");
    let checked = site.run(&["ucr", "check", "sources.json", "wrong.json", "broken.json"]).await;
    assert_eq!(checked.code(), Some(2), "{checked:?}");
    for place in [
        "error: wrong.json: [1].referenced_doc_type: ",
        "error: wrong.json: [1].configured_indicators[0].datatype: ",
        "error: broken.json: line 2, column 13: it is no JSON",
    ] {
        assert!(checked.err.contains(place), "{place}: {}", checked.err);
    }

    site.write(
        "documents.jsonl",
        &lines(&[form("f1", json!([{"age": "3"}, {}])), form("f2", json!([])), case("c1", "Ada", true)]),
    );
    let rows = site.run(&["ucr", "rows", "--json", "--config", "sources.json", "--document", "documents.jsonl"]).await;
    let answers: Vec<Value> = rows.well().out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |document: &str, table_id: &str| {
        let (document, table) = (json!(document), json!(table(table_id)));
        answers.iter().find(|answer| answer["document"] == document && answer["table"] == table).unwrap()
    };
    let ages: Vec<&Value> = of("f1", "visits")["rows"].as_array().unwrap().iter().map(|row| &row["age"]).collect();
    assert_eq!(ages, [&json!(3), &Value::Null]);
    let because = |document: &str, table_id: &str| of(document, table_id)["because"][0].clone();
    assert_eq!(because("f1", "open")["path"], "referenced_doc_type");
    assert_eq!(because("f2", "visits"), json!({"path": "base_item_expression", "reason": "there are no items"}));
    assert_eq!(because("c1", "open"), json!({"path": "configured_filter", "reason": "found true, wanted not_eq true"}));
}

/// The shipped manifest of reports, with the tables in the database at `url`.
fn shipped(url: &str) -> Site {
    let site = Site::embedded();
    let shipped = workspace().join("pipelines/reports");
    let settings = read(&shipped.join("pillowtop.toml")).replace("sqlite:reports.db", url);
    site.write("pillowtop.toml", &settings);
    let module = guest("ucr-row-builder").display().to_string();
    let manifest = read(&shipped.join("reports.toml")).replace("modules/ucr_row_builder.wasm", &module);
    site.write("pipelines/reports.toml", &manifest);
    for file in ["people", "children"].map(|name| format!("sources/{name}.json")) {
        site.write(&format!("pipelines/{file}"), &read(&shipped.join(&file)));
    }
    site
}

async fn check_shipped(site: &Site) {
    let mut person = case("p1", "Ada", false);
    (person["type"], person["dob"]) = (json!("person"), json!("1987-06-07"));
    let mut visit = form("f1", Value::Null);
    visit["xmlns"] = json!("http://openrosa.org/formdesigner/household-visit");
    visit["received_on"] = json!("2026-02-03T10:00:00.250000Z");
    visit["form"] = json!({"child": [{"weight": "2.450", "sex": "girl"}, {"weight": "", "sex": "boy"}]});
    send(site, &[person, case("c1", "no person", false), visit]).await;
    let ask = async |sql: String| site.run(&["--json", "sql", &sql]).await.json();
    let people = ask(format!("select doc_id, name, cast(born as text) as born from \"{}\"", table("people"))).await;
    assert_eq!(people, json!([{"doc_id": "p1", "name": "Ada", "born": "1987-06-07"}]));
    let children = ask(format!(
        "select repeat_iteration, cast(weight as text) as weight, sex_girl, sex_boy, received_on from \"{}\"
         order by repeat_iteration",
        table("children")
    ))
    .await;
    let [first, second] = children.as_array().unwrap().as_slice() else { panic!("{children}") };
    assert_eq!((&first["sex_girl"], &first["sex_boy"]), (&json!(1), &json!(0)));
    assert!(first["weight"].as_str().unwrap().starts_with("2.45"), "{first}");
    assert_eq!((&second["sex_girl"], &second["sex_boy"], &second["weight"]), (&json!(0), &json!(1), &Value::Null));
    assert!(first["received_on"].as_str().unwrap().starts_with("2026-02-03"), "{first}");
    assert_eq!(site.parked().await, [] as [Value; 0]);
}

#[tokio::test]
async fn the_shipped_reports_fill_tables_in_sqlite() {
    check_shipped(&shipped("sqlite:reports.db")).await;
}

#[tokio::test]
async fn the_shipped_reports_fill_tables_in_postgres() {
    check_shipped(&shipped(&crate::postgres::database().await)).await;
}

#[tokio::test]
async fn vectors_of_whole_runs_are_compared_in_postgres() {
    let site = Site::embedded();
    let name = table("visits");
    let change = |id: &str, visits: Value| json!({"id": id, "domain": "clinic", "deleted": false, "document_subtype": null, "doc": form(id, visits)});
    let row = |id: &str, number: &str, age: Value| json!({"doc_id": id, "inserted_at": "2021-06-15 12:34:56.789012", "repeat_iteration": number, "age": age});
    let vector = |id: &str, rows: Value, errors: Value| {
        json!({
            "id": id, "kind": "pillow", "configs": [visits()],
            "changes": [
                change("f1", json!([{"age": "3"}, {}])),
                change("f2", json!({"age": 4})),
                change("f2", json!({"age": 3_000_000_000_u32})),
                {"id": "f3", "domain": "clinic", "deleted": true, "document_subtype": null, "doc": null},
            ],
            "expected": {"tables": {(name.clone()): rows}, "errors": errors},
        })
    };
    let rows = json!([row("f2", "0", json!("4")), row("f1", "0", json!("3")), row("f1", "1", Value::Null)]);
    let error = json!([{"doc_id": "f2", "table": "visits", "type": "DataError", "pgcode": "22003"}]);
    let vectors = [
        vector("right", rows.clone(), error.clone()),
        vector("rows", json!([]), error),
        vector("errors", rows, json!([])),
    ];
    site.write("vectors.jsonl", &lines(&vectors));
    let (module, url) = (guest("ucr-row-builder").display().to_string(), crate::postgres::database().await);
    let run = site.run(&["--json", "ucr", "vectors", "vectors.jsonl", "--module", &module, "--database", &url]).await;
    let said: Vec<Value> = run.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [rows, errors, report] = said.as_slice() else { panic!("{run:?}") };
    assert_eq!((&rows["id"], &errors["id"]), (&json!("rows"), &json!("errors")));
    assert_eq!((&report["passed"], &report["failed"], &report["skipped"]), (&json!(1), &json!(2), &json!(0)));
}

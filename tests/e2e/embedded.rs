//! Without a server: change log, documents, tables and checkpoints in one SQLite file, indices beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::documents::{Expected, VISIT, id, lines, made_up, visit_form};
use crate::support::guests::{guest, workspace};
use crate::support::pillows;
use crate::support::site::{Site, read};

const VISITS: &str = "select json_array(form_id, number, case_id, domain, user_id, visited_at, received_at) from visits \
                      order by form_id, number";
const LAST_VISITS: &str = "select json_array(case_id, visited_at) from last_visits order by case_id";

/// The hits of an answer: each document by its id.
fn hits(answer: &Value) -> BTreeMap<&str, &Value> {
    let hits: BTreeMap<&str, &Value> =
        answer["hits"].as_array().unwrap().iter().map(|hit| (hit["id"].as_str().unwrap(), &hit["source"])).collect();
    assert_eq!(json!(hits.len()), answer["total"], "every hit is another document");
    hits
}

fn ids<'a, V>(of: &BTreeMap<&'a str, V>) -> BTreeSet<&'a str> {
    of.keys().copied().collect()
}

/// A query, and whether it is to find a document.
type Query<'a> = (&'a str, fn(&Value) -> bool);

/// Each query finds the documents for which its test holds.
async fn check_queries(site: &Site, index: &str, documents: &BTreeMap<&str, &Value>, queries: &[Query<'_>]) {
    for (query, holds) in queries {
        let answer = site.search(index, query).await;
        let expected: BTreeSet<&str> =
            documents.iter().filter(|(_, document)| holds(document)).map(|(id, _)| *id).collect();
        assert!(!expected.is_empty(), "{query}: the documents give it nothing to find");
        assert_eq!(ids(&hits(&answer)), expected, "{index}: {query}");
    }
}

async fn check(site: &Site, expected: &Expected) {
    assert_eq!(site.rows(VISITS).await, expected.visits());
    assert_eq!(site.rows(LAST_VISITS).await, expected.last_visits());
    let parked = site.parked().await;
    assert!(parked.is_empty(), "{parked:#?}");

    let forms = expected.forms();
    check_queries(
        site,
        "forms",
        &forms,
        &[
            ("doc_type:XFormArchived", |form| form["doc_type"] == "XFormArchived"),
            (r#"xmlns:"http://openrosa.org/formdesigner/household-visit" AND NOT doc_type:XFormArchived"#, |form| {
                form["xmlns"] == VISIT && form["doc_type"] == "XFormInstance"
            }),
            ("received_on:>=2018-01-01", |form| form["received_on"].as_str().unwrap() >= "2018-01-01"),
            ("_exists_:edited_on", |form| form["edited_on"].is_string()),
        ],
    )
    .await;
    let answer = site.search("forms", "*").await;
    let found = hits(&answer);
    assert_eq!(ids(&found), ids(&forms));
    for (id, form) in &forms {
        check_form(found[id], form);
    }

    let cases = expected.cases();
    check_queries(
        site,
        "cases",
        &cases,
        &[
            ("type:pregnancy AND closed:true", |case| case["type"] == "pregnancy" && case["closed"] == true),
            ("type:(child OR person)", |case| case["type"] == "child" || case["type"] == "person"),
            ("opened_on:[2015-01-01 TO 2016-12-31]", |case| {
                let opened_on = &case["opened_on"].as_str().unwrap()[..10];
                ("2015-01-01"..="2016-12-31").contains(&opened_on)
            }),
        ],
    )
    .await;
    let answer = site.search("cases", "*").await;
    let found = hits(&answer);
    assert_eq!(ids(&found), ids(&cases));
    for (id, case) in &cases {
        check_case(found[id], case);
    }
}

/// What is indexed is the document, but for what the processor is there to change.
fn check_form(indexed: &Value, form: &Value) {
    let without = |document: &Value, names: &[&str]| {
        let mut document = document.as_object().unwrap().clone();
        names.iter().for_each(|name| {
            document.remove(*name);
        });
        Value::from(document)
    };
    const ADDED: [&str; 5] = ["form", "user_type", "inserted_at", "backend_id", "__retrieved_case_ids"];
    assert_eq!(without(indexed, &ADDED), without(form, &["form"]), "{}", form["_id"]);
    for (name, value) in form["form"].as_object().unwrap() {
        if name != "meta" && !value.to_string().contains("@case_id") {
            assert_eq!(&indexed["form"][name], value, "{}: form.{name}", form["_id"]);
        }
    }
}

fn check_case(indexed: &Value, case: &Value) {
    for (name, value) in case.as_object().unwrap() {
        // Nobody owns a case of an old phone, but whoever sent it.
        let value = if name == "owner_id" && *value == json!("") { &case["user_id"] } else { value };
        assert_eq!(&indexed[name], value, "{}: {name}", case["_id"]);
    }
}

/// Changes of `later` to documents of `earlier`, by kind.
fn later_changes(earlier: &[Value], later: &[Value]) -> (usize, usize, usize) {
    let earlier: BTreeSet<&str> = earlier.iter().map(id).collect();
    let (mut updates, mut soft, mut hard) = (0, 0, 0);
    for document in later.iter().filter(|document| earlier.contains(id(document))) {
        if document["_deleted"] == true {
            hard += 1;
        } else if document["doc_type"].as_str().unwrap().ends_with("-Deleted") {
            soft += 1;
        } else {
            updates += 1;
        }
    }
    (updates, soft, hard)
}

#[tokio::test]
async fn rows_and_search_results_equal_what_the_documents_say() {
    let site = Site::embedded();
    site.pillow("forms", &pillows::forms());
    site.pillow("cases", &pillows::cases());
    let documents = made_up(1600, 7);
    let (earlier, later) = documents.split_at(900);
    let (updates, soft, hard) = later_changes(earlier, later);
    assert!(updates >= 20 && soft >= 5 && hard >= 2, "{updates} updates, {soft} soft, {hard} hard deletions");

    let mut expected = Expected::default();
    for part in [earlier, later] {
        let published = site.publish(&lines(part)).await;
        let deletions = part.iter().filter(|document| document["_deleted"] == true).count();
        assert_eq!(published["deletions"], json!(deletions), "{published}");
        assert_eq!(published["documents"], json!(part.len() - deletions), "{published}");
        let summary = site.catch_up().await;
        for pillow in summary["pillows"].as_array().unwrap() {
            let topic = if pillow["pillow"] == "forms" { "form-sql" } else { "case-sql" };
            let counts = &pillow["status"]["counts"];
            assert_eq!(
                (&counts["read"], &counts["settled"]),
                (&published["topics"][topic], &counts["read"]),
                "{pillow}"
            );
        }
        expected.change(part);
        check(&site, &expected).await;
    }
}

/// Everything that a run could change, but for heartbeats and epochs.
async fn everything(site: &Site) -> Vec<Value> {
    let mut all = site.rows(VISITS).await;
    all.extend(site.rows(LAST_VISITS).await);
    all.extend(site.parked().await);
    all.extend(site.rows("select json_array(pillow, topic, partition_number, position_first, position_second, moved_at) from pillowtop_checkpoints order by 1").await);
    for index in ["forms", "cases"] {
        // The best come first, and all are equally good: the order may differ.
        all.extend(hits(&site.search(index, "*").await).into_iter().map(|(id, source)| json!([id, source])));
    }
    all
}

#[tokio::test]
async fn a_second_run_does_nothing() {
    let site = Site::embedded();
    site.pillow("forms", &pillows::forms());
    site.pillow("cases", &pillows::cases());
    site.publish(&lines(&made_up(300, 3))).await;
    site.catch_up().await;
    let before = everything(&site).await;
    let summary = site.catch_up().await;
    for pillow in summary["pillows"].as_array().unwrap() {
        let counts = pillow["status"]["counts"].as_object().unwrap();
        assert!(counts.values().all(|count| *count == 0), "{pillow}");
    }
    assert_eq!(everything(&site).await, before);
}

#[tokio::test]
async fn documents_come_back_after_a_deletion() {
    let site = Site::embedded();
    site.pillow("forms", &pillows::forms());
    let form = visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z");
    let mut soft = form.clone();
    soft["doc_type"] = json!("XFormInstance-Deleted");
    let hard = json!({"_id": "f1", "_deleted": true});
    for gone in [soft, hard] {
        for (document, count) in [(&form, 1), (&gone, 0)] {
            site.publish(&lines(std::slice::from_ref(document))).await;
            site.catch_up().await;
            assert_eq!(site.search("forms", "*").await["total"], count, "{document}");
            assert_eq!(site.rows(VISITS).await.len(), count, "{document}");
        }
    }
    // Nobody knows the visit before the last one.
    assert_eq!(site.rows(LAST_VISITS).await, [json!(["c1", "2026-02-03T10:00:00.000000Z"])]);
}

#[tokio::test]
async fn real_forms_are_found_as_they_are() {
    let shared = std::env::var_os("PILLOWTOP_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let file = shared.join("data/commcare/forms.jsonl");
    let Ok(text) = fs::read_to_string(&file) else {
        // Straight to the stream, which the harness does not capture: who reads it must know that nothing was proved.
        writeln!(std::io::stderr(), "no real forms at {}: nothing was tried", file.display()).unwrap();
        return;
    };
    let site = Site::embedded();
    site.pillow("forms", &(pillows::forms() + &pillows::hostile("stamp")));
    let mut forms: BTreeMap<String, Value> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let mut form = serde_json::from_str::<Value>(line).unwrap()["document"].take();
        // Several have the same id, or none: templates, and old exports.
        form["_id"] = json!(format!("real-{at}"));
        forms.insert(id(&form).to_owned(), form);
    }
    assert!(!forms.is_empty(), "{} is empty", file.display());
    site.publish(&forms.values().map(|form| format!("{form}\n")).collect::<String>()).await;
    site.catch_up().await;
    let parked = site.parked().await;
    assert!(parked.is_empty(), "{parked:#?}");
    let answer = site.search("forms", "*").await;
    let found = hits(&answer);
    assert_eq!(found.len(), forms.len());
    for (id, form) in &forms {
        check_form(found[id.as_str()], form);
    }
    assert_eq!(site.rows("select json_array(count(*)) from hostile_rows").await, [json!([forms.len()])]);
}

#[tokio::test]
async fn a_processor_that_fails_neither_stops_nor_repeats_the_others_and_is_retried_alone() {
    let site = Site::embedded();
    site.pillow("forms", &(pillows::forms() + &pillows::hostile("trap")));
    let mut forms: Vec<Value> =
        (0..40).map(|n| visit_form(&format!("f{n:02}"), &format!("c{n}"), "2026-02-03T10:00:00.000000Z")).collect();
    forms[13]["form"]["note"] = json!("poison");
    forms[31]["form"]["note"] = json!("poison, too");
    site.publish(&lines(&forms)).await;
    site.catch_up().await;

    assert_eq!(site.rows(VISITS).await.len(), 40);
    assert_eq!(site.search("forms", "*").await["total"], 40);
    assert_eq!(site.search("hostile", "*").await["total"], 38);
    assert_eq!(site.rows("select json_array(count(*)) from hostile_rows").await, [json!([38])]);
    let parked = site.parked().await;
    let facts = |entry: &Value| json!([entry["processor"], entry["document"], entry["kind"], entry["attempts"]]);
    let mut found: Vec<Value> = parked.iter().map(facts).collect();
    found.sort_by_key(Value::to_string);
    assert_eq!(found, [json!(["hostile", "f13", "trap", 1]), json!(["hostile", "f31", "trap", 1])]);

    // The mended processor takes over, and what was parked is tried again: with it alone.
    site.execute(
        "create table seen (form_id text);
         create trigger watch after insert on visits begin insert into seen values (new.form_id); end",
    )
    .await;
    site.pillow("forms", &(pillows::forms() + &pillows::hostile("stamp")));
    site.run(&["errors", "retry", "--all"]).await.well();
    assert!(site.parked().await.is_empty());
    assert_eq!(site.search("hostile", "version:stamp").await["total"], 2);
    assert_eq!(site.rows("select json_array(count(*)) from hostile_rows").await, [json!([40])]);
    assert_eq!(site.rows("select json_array(form_id) from seen").await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_document_that_travels_in_its_change_is_processed_in_each_of_its_states() {
    let site = Site::embedded();
    let inline = pillows::forms().replace("default = \"store\"", "default = \"inline\"");
    site.pillow("forms", &format!("collapse = \"none\"\n{inline}"));
    let change = |form: &Value| {
        json!({
            "document_id": form["_id"], "document_type": form["doc_type"], "data_source_type": "sql",
            "data_source_name": "form-sql", "domain": form["domain"], "document": form,
        })
    };
    // The later state has the earlier visit: that both were seen shows in the last visit.
    let states = [
        visit_form("f1", "c1", "2026-02-03T12:00:00.000000Z"),
        visit_form("f1", "c1", "2026-02-03T10:00:00.000000Z"),
        visit_form("f2", "c2", "2026-02-03T11:00:00.000000Z"),
    ];
    let published = site.publish(&lines(&states.each_ref().map(change))).await;
    assert_eq!(published["changes"], 3);
    site.catch_up().await;
    let expected = [(&states[1], 10), (&states[2], 11)].map(|(form, hour)| {
        let time = format!("2026-02-03T{hour}:00:00.000000Z");
        json!([form["_id"], 0, form["form"]["case"]["@case_id"], "clinic", "u1", time, time])
    });
    assert_eq!(site.rows(VISITS).await, expected);
    let last = [json!(["c1", "2026-02-03T12:00:00.000000Z"]), json!(["c2", "2026-02-03T11:00:00.000000Z"])];
    assert_eq!(site.rows(LAST_VISITS).await, last);
    let answer = site.search("forms", "*").await;
    let found = hits(&answer);
    check_form(found["f1"], &states[1]);
    check_form(found["f2"], &states[2]);
    assert!(site.parked().await.is_empty());
}

/// The entries of a folder; none where there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn every_shipped_manifest_loads_with_its_processors() {
    let pipelines = workspace().join("pipelines");
    let database = crate::postgres::database().await;
    let mut sets = 0;
    for set in fs::read_dir(&pipelines).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir()) {
        let site = Site::embedded();
        let mut manifests = 0;
        for list in files(&set.join("sources")) {
            site.write(&format!("set/sources/{}", list.file_name().unwrap().to_str().unwrap()), &read(&list));
        }
        for file in files(&set) {
            if file.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            // Where a set wants addresses of servers, any will do, but for the database: modules are checked beside it.
            let text = read(&file)
                .replace("${POSTGRES}", &database)
                .replace("${KAFKA}", "localhost:9092")
                .replace("${OPENSEARCH}", "http://localhost:9200");
            for name in text.lines().filter_map(|line| line.strip_prefix("module = \"modules/")) {
                let name = name.strip_suffix(".wasm\"").unwrap();
                let module = site.path(&format!("set/modules/{name}.wasm"));
                fs::create_dir_all(module.parent().unwrap()).unwrap();
                fs::copy(guest(&name.replace('_', "-")), module).unwrap();
                manifests += 1;
            }
            site.write(&format!("set/{}", file.file_name().unwrap().to_str().unwrap()), &text);
        }
        assert!(manifests > 0, "{} has no manifest with a module", set.display());
        let checked = site.run(&["check", "--settings", "set/pillowtop.toml", "--pipelines", "set"]).await.well();
        assert!(checked.out.ends_with("pillows, no problems\n"), "{checked:?}");
        sets += 1;
    }
    assert!(sets > 0, "{} is empty", pipelines.display());
}

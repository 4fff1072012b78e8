//! Data sources of reports that live in files, databases and CouchDB: they come, change and go while the host runs.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::couchdb::Couch;
use crate::postgres;
use crate::service::Service;
use crate::support::documents::lines;
use crate::support::pillows;
use crate::support::site::{Running, Site, count};
use crate::support::wait::until;

/// A pillow over cases with data sources from elsewhere.
pub(crate) fn reports(lists: &str) -> String {
    let processor =
        "\n[[processors]]\nname = \"rows\"\nmodule = \"{ucr-row-builder}\"\ngrants = [\"log\"]\ntables = \"tables\"\n";
    pillows::reads("case-sql") + processor + lists
}

pub(crate) const FILES: &str =
    "\n[[processors.config-lists]]\nkey = \"data-sources\"\nfiles = [\"../sources/*.json\"]\n";

/// A row with one column for each case of this type.
pub(crate) fn source(table_id: &str, case_type: &str, column: &str) -> Value {
    json!({
        "domain": "clinic", "referenced_doc_type": "CommCareCase", "table_id": table_id,
        "configured_filter": {
            "type": "boolean_expression", "operator": "eq", "property_value": case_type,
            "expression": {"type": "property_name", "property_name": "type"},
        },
        "configured_indicators": [{
            "type": "expression", "column_id": column, "datatype": "string",
            "expression": {"type": "property_name", "property_name": column},
        }],
    })
}

pub(crate) fn table(table_id: &str) -> String {
    format!("\"{}\"", ::ucr::names::table_name("clinic", table_id))
}

pub(crate) fn case(id: &str) -> Value {
    let more = json!({"name": format!("name of {id}"), "village": format!("village of {id}")});
    let mut case = json!({"_id": id, "doc_type": "CommCareCase", "domain": "clinic", "type": "person"});
    case.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    case
}

/// The status of a pillow; null while none is known.
pub(crate) async fn status(site: &Site, pillow: &str) -> Value {
    let rows = site.run(&["--json", "status"]).await.json();
    let row = rows.as_array().unwrap().iter().find(|row| row["pillow"] == pillow && row["alive"] == true);
    row.map(|row| row["status"].clone()).unwrap_or_default()
}

/// Waits until the pillow of reports runs this generation.
pub(crate) async fn generation(site: &Site, number: u64) {
    until(&format!("generation {number}"), async || {
        let status = status(site, "reports").await;
        (status["generation"] == number && status["state"] == "running").then_some(())
    })
    .await;
}

/// Publishes a case, and waits until it is settled.
async fn send(site: &Site, id: &str) {
    let before = status(site, "reports").await["counts"]["settled"].as_u64().unwrap_or(0);
    site.publish(&lines(&[case(id)])).await;
    until(&format!("{id} is settled"), async || {
        let now = status(site, "reports").await["counts"]["settled"].as_u64();
        (now > Some(before)).then_some(())
    })
    .await;
}

/// The ids of the documents that have rows.
pub(crate) async fn ids(site: &Site, table_id: &str) -> Vec<String> {
    let table = table(table_id);
    if count(&mut site.database().await, &table).await.is_none() {
        return Vec::new();
    }
    let rows = site.rows(&format!("select json_array(doc_id) from {table} order by doc_id")).await;
    rows.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect()
}

/// Waits until the status of the pillow says so.
pub(crate) async fn says(site: &Site, words: &str) -> Value {
    until(words, async || {
        let status = status(site, "reports").await;
        status.to_string().contains(words).then_some(status)
    })
    .await
}

/// What the table of people has when its rebuild is over.
async fn villages(site: &Site) -> Vec<Value> {
    until("the table is rebuilt", async || {
        (site.rows("select json_array(count(*)) from pillowtop_rebuilds").await == [json!([0])]).then_some(())
    })
    .await;
    site.rows(&format!("select json_array(doc_id, village) from {} order by doc_id", table("people"))).await
}

fn village(id: &str) -> Value {
    json!([id, format!("village of {id}")])
}

pub(crate) async fn stop(host: Running) {
    host.signal("TERM");
    let ran = host.ended().await;
    assert_eq!(ran.code(), Some(0), "{ran:?}");
}

/// Two data sources in one file; what both have stands there once.
const YAML: &str = "\
# People, and those who registered since May.
- domains: [clinic]
  config: &people
    referenced_doc_type: CommCareCase
    table_id: people
    configured_filter: &type
      {type: boolean_expression, operator: eq, property_value: person, expression: {type: property_name, property_name: type}}
    configured_indicators:
      - {type: expression, column_id: name, datatype: string, expression: {type: property_name, property_name: name}}
- domains: [clinic]
  config:
    <<: *people
    table_id: late
    configured_filter:
      type: and
      filters:
        - *type
        - type: boolean_expression
          operator: gte
          property_value: 2026-05-01
          expression: {type: property_name, property_name: registered, datatype: date}
";

#[tokio::test]
async fn static_data_sources_may_be_yaml() {
    let site = Site::embedded();
    site.write("sources/static.yaml", YAML);
    site.write(
        "sources/twice.yml",
        &YAML.replace("- domains: [clinic]\n  config:\n    <<", "- domains: [1:30]\n  config:\n    <<"),
    );
    site.write("sources/broken.yaml", "domains: [a\nconfig: {}\n");
    let checked = site.run(&["ucr", "check", "sources/static.yaml"]).await.well();
    assert_eq!(checked.out, "2 data sources, no problems\n");
    let checked = site.run(&["ucr", "check", "sources/static.yaml", "sources/twice.yml", "sources/broken.yaml"]).await;
    assert_eq!(checked.code(), Some(2), "{checked:?}");
    for place in ["error: sources/twice.yml: [1].domains", "error: sources/broken.yaml: line 2, column "] {
        assert!(checked.err.contains(place), "{place}: {}", checked.err);
    }
    std::fs::remove_file(site.path("sources/twice.yml")).unwrap();

    // In a pillow: what is broken is reported, the others run; mended, it counts at once.
    site.pillow("reports", &reports(&FILES.replace("*.json", "*.y*ml")));
    let checked = site.run(&["check"]).await;
    assert!(checked.err.contains("broken.yaml: line 2, column "), "{checked:?}");
    let mut late = case("late");
    late["registered"] = json!("2026-05-01");
    site.publish("").await;
    let host = site.start(&["run"]);
    generation(&site, 1).await;
    says(&site, "broken.yaml: line 2, column ").await;
    site.publish(&lines(&[case("a"), late])).await;
    until("both have rows", async || (ids(&site, "people").await == ["a", "late"]).then_some(())).await;
    assert_eq!(ids(&site, "late").await, ["late"]);
    site.write("sources/broken.yaml", &source("more", "person", "name").to_string());
    generation(&site, 2).await;
    send(&site, "b").await;
    assert_eq!(ids(&site, "more").await, ["b"]);
    stop(host).await;
}

#[tokio::test]
async fn data_sources_in_files_come_change_and_go_while_the_host_runs() {
    let site = Site::embedded();
    site.pillow("reports", &reports(FILES));
    site.pillow("beside", &(pillows::reads("case-sql") + &pillows::search("case", "cases")));
    site.write("sources/people.json", &source("people", "person", "name").to_string());
    site.publish("").await;
    let host = site.start(&["run"]);
    generation(&site, 1).await;
    send(&site, "c1").await;
    assert_eq!(ids(&site, "people").await, ["c1"]);

    // One more, in a file with a list of which one is static and for two domains.
    let mut homes = source("homes", "person", "village");
    homes.as_object_mut().unwrap().remove("domain");
    let homes = json!({"domains": ["clinic", "school"], "config": homes});
    site.write("sources/more.json", &json!([homes, source("dogs", "dog", "name")]).to_string());
    generation(&site, 2).await;
    send(&site, "c2").await;
    assert_eq!(
        (ids(&site, "people").await, ids(&site, "homes").await),
        (vec!["c1".into(), "c2".into()], vec!["c2".into()])
    );
    assert_eq!(ids(&site, "dogs").await, [] as [&str; 0]);

    // A change of one, which now has another column in the place of its own: a new table takes the place of the old one.
    site.write("sources/people.json", &source("people", "person", "village").to_string());
    generation(&site, 3).await;
    send(&site, "c3").await;
    assert_eq!(villages(&site).await, ["c1", "c2", "c3"].map(village));

    // One is deactivated, the other removed.
    let mut people = source("people", "person", "village");
    people["is_deactivated"] = json!(true);
    site.write("sources/people.json", &people.to_string());
    generation(&site, 4).await;
    send(&site, "c4").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (3, 3));
    std::fs::remove_file(site.path("sources/more.json")).unwrap();
    generation(&site, 5).await;
    send(&site, "c5").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (3, 3));

    assert_eq!(status(&site, "beside").await["generation"], 1, "nothing else is touched");
    assert_eq!(site.parked().await, [] as [Value; 0]);
    stop(host).await;
}

#[tokio::test]
async fn a_data_source_that_is_wrong_is_named_with_its_file_and_the_others_run() {
    let site = Site::embedded();
    site.pillow("reports", &reports(FILES));
    site.write("sources/a.json", &source("people", "person", "name").to_string());
    let mut wrong = source("wrong", "person", "name");
    wrong["configured_indicators"][0]["datatype"] = json!("number");
    site.write("sources/b.json", &json!([source("homes", "person", "village"), wrong]).to_string());
    let checked = site.run(&["check"]).await;
    assert_eq!(checked.code(), Some(2), "{checked:?}");
    let named = "b.json: [1]: configured_indicators[0].datatype: ";
    assert!(checked.err.contains(named), "{}", checked.err);

    site.publish("").await;
    let mut host = site.start(&["run"]);
    assert!(host.says("left out").await.contains(named));
    generation(&site, 1).await;
    send(&site, "c1").await;
    assert_eq!((ids(&site, "people").await, ids(&site, "homes").await), (vec!["c1".into()], vec!["c1".into()]));
    let said = status(&site, "reports").await;
    assert!(said["processors"][0]["problems"].to_string().contains(named), "{said}");
    assert_eq!(said["lists"][0]["elements"], 3, "{said}");

    // Half of a file takes nothing out of force; the folder, neither.
    site.write("sources/a.json", "{\"domain\": ");
    let said = says(&site, "a.json: it is no JSON").await;
    assert_eq!((&said["generation"], &said["lists"][0]["elements"]), (&json!(1), &json!(3)), "{said}");
    let checked = site.run(&["check"]).await;
    assert!(checked.err.contains("a.json: it is no JSON"), "{}", checked.err);
    std::fs::rename(site.path("sources"), site.path("gone")).unwrap();
    host.says("could not read the folder").await;
    send(&site, "c2").await;
    assert_eq!(ids(&site, "people").await, ["c1", "c2"]);
    // What is right again counts again.
    site.write("gone/b.json", &source("homes", "person", "village").to_string());
    site.write("gone/a.json", "[]");
    std::fs::rename(site.path("gone"), site.path("sources")).unwrap();
    generation(&site, 2).await;
    send(&site, "c3").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (2, 3));
    let said = status(&site, "reports").await;
    assert_eq!((&said["processors"][0]["problems"], &said["lists"][0]["problems"]), (&json!([]), &json!([])), "{said}");
    stop(host).await;
}

const TABLE: &str = r#"
[[processors.config-lists]]
key = "data-sources"
query = "select id, definition from data_sources where not deactivated order by id"
changed = "select count(*), max(modified) from data_sources"
poll = "100 ms"
"#;

/// Writes a data source into the table.
async fn write(site: &Site, source: &Value, modified: u32) {
    let id = source["table_id"].as_str().unwrap();
    let definition = source.to_string().replace('\'', "''");
    let sql = format!("insert or replace into data_sources values ('{id}', '{definition}', false, {modified})");
    site.execute(&sql).await;
}

#[tokio::test]
async fn data_sources_in_a_table_of_sqlite_come_change_and_go_while_the_host_runs() {
    let site = Site::embedded();
    site.pillow("reports", &reports(TABLE));
    site.publish("").await;
    let host = site.start(&["run"]);
    // Their table is not there yet: the pillow waits, and says for what.
    let said = says(&site, "no such table: data_sources").await;
    assert_eq!(said["state"], "failed");
    let reason = said["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("processor rows: list `data-sources` from a query of database main cannot be read"),
        "{said}"
    );
    site.execute(
        "create table data_sources (id text primary key, definition text, deactivated bool, modified integer)",
    )
    .await;
    generation(&site, 1).await;
    send(&site, "c1").await;

    write(&site, &source("people", "person", "name"), 1).await;
    generation(&site, 2).await;
    send(&site, "c2").await;
    assert_eq!(ids(&site, "people").await, ["c2"]);
    write(&site, &source("people", "person", "village"), 2).await;
    generation(&site, 3).await;
    send(&site, "c3").await;
    assert_eq!(villages(&site).await, ["c1", "c2", "c3"].map(village), "also of documents from before the data source");

    // A row that is none is named, and the others count.
    write(&site, &source("homes", "person", "village"), 3).await;
    site.execute("insert into data_sources values ('bad', '{', false, 4), ('none', null, false, 5)").await;
    let said = says(&site, "row none of database main: it is null").await;
    assert!(said["lists"].to_string().contains("row bad of database main: it is no JSON"), "{said}");
    until("both are there", async || (status(&site, "reports").await["lists"][0]["elements"] == 2).then_some(())).await;

    // The table goes away: the last list stays in force.
    site.execute("alter table data_sources rename to away").await;
    says(&site, "no such table").await;
    send(&site, "c4").await;
    assert_eq!(ids(&site, "people").await, ["c1", "c2", "c3", "c4"]);
    site.execute("update away set deactivated = id <> 'people', modified = 9; alter table away rename to data_sources")
        .await;
    until("the others are gone", async || (status(&site, "reports").await["lists"][0]["elements"] == 1).then_some(()))
        .await;
    until("nothing is wrong", async || {
        (status(&site, "reports").await["lists"][0]["problems"] == json!([])).then_some(())
    })
    .await;
    let before = ids(&site, "homes").await.len();
    send(&site, "c5").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (5, before));
    stop(host).await;
}

#[tokio::test]
async fn data_sources_in_a_table_of_postgresql_are_followed() {
    let url = postgres::database().await;
    let mut connection = PgConnection::connect(&url).await.unwrap();
    let mut execute = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut connection).await.unwrap();
    };
    let definition = |source: Value| source.to_string().replace('\'', "''");
    execute("create table data_sources (definition jsonb, modified timestamptz default clock_timestamp())".to_owned())
        .await;
    let people = definition(source("people", "person", "name"));
    execute(format!("insert into data_sources (definition) values ('{people}')")).await;
    let site = Site::with_settings(&format!("[databases.reports]\nurl = \"{url}\"\n"));
    site.pillow(
        "reports",
        &reports(
            r#"
[[processors.config-lists]]
key = "data-sources"
database = "reports"
query = "select definition from data_sources"
changed = "select count(*), max(modified) from data_sources"
poll = "100 ms"
"#,
        ),
    );
    site.publish("").await;
    let host = site.start(&["run"]);
    generation(&site, 1).await;
    let homes = definition(source("homes", "person", "village"));
    execute(format!("insert into data_sources (definition) values ('{homes}')")).await;
    generation(&site, 2).await;
    send(&site, "c1").await;
    assert_eq!((ids(&site, "people").await, ids(&site, "homes").await), (vec!["c1".into()], vec!["c1".into()]));
    execute("delete from data_sources where definition->>'table_id' = 'people'".to_owned()).await;
    generation(&site, 3).await;
    send(&site, "c2").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (1, 2));
    stop(host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_sources_in_couchdb_are_followed_and_stay_in_force_while_it_is_away() {
    let server = tokio::task::spawn_blocking(|| Service::own("couchdb")).await.unwrap();
    let couch = Couch::on(&server.address).await;
    let site = Site::with_settings(&format!(
        "[documents.meta]\nkind = \"couchdb\"\nurl = \"{}\"\ndatabase = \"{}\"\n",
        couch.server, couch.database
    ));
    site.pillow(
        "reports",
        &reports(
            r#"
[[processors.config-lists]]
key = "data-sources"
store = "meta"
where = { doc_type = "DataSourceConfiguration" }
poll = "100 ms"
"#,
        ),
    );
    let configuration = |table_id: &str, column: &str| {
        let mut source = source(table_id, "person", column);
        source["doc_type"] = json!("DataSourceConfiguration");
        source
    };
    couch.put("one", None, configuration("people", "name")).await;
    couch.put("report", None, json!({"doc_type": "ReportConfiguration"})).await;

    // It begins while the server is away.
    tokio::task::block_in_place(|| server.kill());
    site.publish("").await;
    let host = site.start(&["run"]);
    let said = says(&site, "list `data-sources` from document store meta cannot be read").await;
    assert_eq!(said["state"], "failed", "{said}");
    tokio::task::block_in_place(|| server.start_again());
    // It keeps nothing when it ends.
    couch.create().await;
    couch.put("one", None, configuration("people", "name")).await;
    until("the pillow has the data source", async || {
        let status = status(&site, "reports").await;
        (status["lists"][0]["elements"] == 1 && status["state"] == "running").then_some(())
    })
    .await;
    send(&site, "c1").await;
    assert_eq!(ids(&site, "people").await, ["c1"]);
    let number = status(&site, "reports").await["generation"].as_u64().unwrap();

    // What is no data source swaps nothing; a new one and a change of the first do.
    couch.put("report", None, json!({"doc_type": "ReportConfiguration", "title": "another"})).await;
    couch.put("two", None, configuration("homes", "village")).await;
    generation(&site, number + 1).await;
    send(&site, "c2").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (2, 1));
    couch.put("one", None, json!({"doc_type": "DataSourceConfiguration-Deleted"})).await;
    generation(&site, number + 2).await;
    send(&site, "c3").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (2, 2));

    // Away again: the last list stays in force.
    tokio::task::block_in_place(|| server.kill());
    says(&site, "does not answer").await;
    send(&site, "c4").await;
    assert_eq!((ids(&site, "people").await.len(), ids(&site, "homes").await.len()), (2, 3));
    stop(host).await;
}

//! Asynchronous data sources through the real program.

use serde_json::{Value, json};

use crate::admin::{ADMIN, Endpoint};
use crate::support::documents::lines;
use crate::support::site::Site;
use crate::support::wait::until;
use crate::ucr::{reports, source, table};

/// Everything that waits is due.
const ALL_DUE: &str = "update pillowtop_parked set due_at = '2000-01-01T00:00:00.000000Z' where due_at is not null";

/// Data sources `later` and, at once, `now`, both over the size of cases.
fn site() -> Site {
    with_settings("[metrics]\nfile = \"metrics.prom\"\n")
}

fn with_settings(more: &str) -> Site {
    let site = Site::with_settings(more);
    let mut later = source("later", "CommCareCase", "size", "small_integer");
    later["asynchronous"] = json!(true);
    later["validations"] = json!([{
        "name": "positive", "error_message": "a size below zero",
        "expression": {
            "type": "boolean_expression", "operator": "gte", "property_value": 0,
            "expression": {"type": "property_name", "property_name": "size", "datatype": "integer"},
        },
    }]);
    later["configured_filter"] = json!({
        "type": "boolean_expression", "operator": "not_eq", "property_value": true,
        "expression": {"type": "property_name", "property_name": "closed"},
    });
    let manifest = reports(&[later, source("now", "CommCareCase", "size", "integer")]);
    site.pillow("reports", &manifest.replacen("[[processors]]", "[queue]\ndelay = \"1 h\"\n\n[[processors]]", 1));
    site
}

fn case(id: &str, size: i64) -> Value {
    json!({"_id": id, "doc_type": "CommCareCase", "domain": "clinic", "size": size})
}

async fn rows(site: &Site, table_id: &str) -> Vec<Value> {
    site.rows(&format!("select json_array(doc_id, size) from \"{}\" order by doc_id", table(table_id))).await
}

/// Documents that wait, with how often they failed.
async fn queued(site: &Site) -> Vec<Value> {
    let sql = "select json_array(document, attempts) from pillowtop_parked where due_at is not null order by document";
    site.rows(sql).await
}

async fn send(site: &Site, documents: &[Value]) {
    site.publish(&lines(documents)).await;
    site.catch_up().await;
}

#[tokio::test]
async fn an_asynchronous_data_source_is_computed_when_the_queue_is_run() {
    let site = site();
    // However often it changes, it is one entry, and there is no row yet; the other data source does not wait.
    send(&site, &[case("a", 1)]).await;
    send(&site, &[case("a", 2)]).await;
    send(&site, &[case("a", 3), case("big", 70_000), case("neg", -1), case("gone", 4)]).await;
    assert_eq!(queued(&site).await, ["a", "big", "gone", "neg"].map(|id| json!([id, 0])));
    assert_eq!(rows(&site, "later").await, [] as [Value; 0]);
    assert_eq!(rows(&site, "now").await.len(), 4);
    assert_eq!(site.parked().await, [] as [Value; 0]);
    // What the filter does not take any more need not wait.
    let mut closed = case("gone", 4);
    closed["closed"] = json!(true);
    send(&site, &[closed]).await;
    assert_eq!(queued(&site).await, ["a", "big", "neg"].map(|id| json!([id, 0])));

    // The run of the queue: a row; a failure that stays, and is none of the pillow's; an invalid document that is noted.
    site.execute(ALL_DUE).await;
    let mut host = site.start(&["run"]);
    let row = [json!(["a", 3])];
    until("the queue is run", async || (rows(&site, "later").await == row).then_some(())).await;
    until("what failed waits again", async || (queued(&site).await == [json!(["big", 1])]).then_some(())).await;
    assert_eq!(site.parked().await, [] as [Value; 0]);
    let invalid = site.rows("select json_array(doc_id, validation_name) from invalid_ucr_data").await;
    assert_eq!(invalid, [json!(["neg", "positive"])]);
    // Status and metrics know what waits.
    let status = until("the queue is counted", async || {
        let status = site.run(&["--json", "status"]).await.json();
        let queue = status[0]["status"]["queue"].clone();
        let queue = if queue.is_null() { status[0]["queue"].clone() } else { queue };
        (queue["length"] == 1 && queue["oldest"].is_string()).then_some(status)
    });
    status.await;
    let said = site.run(&["status"]).await.well().out;
    assert!(said.contains("queue: 1 deferred, the oldest since 20"), "{said}");
    let metrics = async || std::fs::read_to_string(site.path("metrics.prom")).unwrap_or_default();
    until("metrics are written", async || {
        metrics().await.contains("pillowtop_queue{pillow=\"reports\"} 1\n").then_some(())
    })
    .await;

    // A version that fits, and one that loses its row: both through the queue.
    site.publish(&lines(&[case("big", 7)])).await;
    until("the change is deferred", async || (queued(&site).await == [json!(["big", 0])]).then_some(())).await;
    site.execute(ALL_DUE).await;
    until("it has its row", async || (rows(&site, "later").await.len() == 2).then_some(())).await;
    assert_eq!(queued(&site).await, [] as [Value; 0]);
    host.signal("TERM");
    host.says("stopped").await;
    assert!(host.ended().await.status.success());
}

#[tokio::test]
async fn a_document_that_fails_in_the_queue_too_often_is_parked() {
    let site = site();
    send(&site, &[case("big", 70_000)]).await;
    site.execute(&ALL_DUE.replace("set ", "set attempts = 19, ")).await;
    let host = site.start(&["run"]);
    until("it is given up", async || (queued(&site).await.is_empty()).then_some(())).await;
    let [parked] = site.parked().await.try_into().unwrap();
    assert_eq!(parked["message"], "column size: the integer is out of range");
    assert_eq!((&parked["attempts"], &parked["part"]), (&json!(20), &json!(table("later"))));
    host.signal("TERM");
    host.ended().await;
}

#[tokio::test]
async fn what_waits_is_listed_by_the_command_and_over_http() {
    let site = with_settings(ADMIN);
    let none = site.run(&["queue", "reports"]).await.well();
    assert_eq!(none.out, "nothing waits\n");
    // One that failed when it was due, and waits on; two that are due in an hour.
    send(&site, &[case("big", 70_000)]).await;
    site.execute(ALL_DUE).await;
    let host = site.start(&["run"]);
    until("it failed", async || (queued(&site).await == [json!(["big", 1])]).then_some(())).await;
    host.signal("TERM");
    host.ended().await.well();
    send(&site, &[case("a", 1), case("b", 2)]).await;
    site.execute("update pillowtop_parked set due_at = '2999-01-01T00:00:00.000000Z' where document = 'a'").await;

    let listed = site.run(&["--json", "queue", "reports"]).await.json();
    assert_eq!((&listed["pillow"], &listed["length"]), (&json!("reports"), &json!(3)));
    let of = |entry: &Value| json!([entry["document"], entry["attempts"], entry["message"]]);
    let entries: Vec<Value> = listed["entries"].as_array().unwrap().iter().map(of).collect();
    let failed = "column size: the integer is out of range";
    assert_eq!(entries, [json!(["big", 1, failed]), json!(["b", 0, null]), json!(["a", 0, null])], "as they are due");
    assert_eq!(listed["oldest"], listed["entries"][0]["since"]);
    let first = &listed["entries"][0];
    assert_eq!((&first["processor"], &first["part"]), (&json!("reports"), &json!(table("later"))));
    assert!(first["since"].as_str().unwrap() < first["due_at"].as_str().unwrap(), "{first}");
    assert_eq!(listed["entries"][2]["due_at"], "2999-01-01T00:00:00.000000Z");

    let shown = site.run(&["queue", "reports", "--limit", "2"]).await.well().out;
    let shown: Vec<&str> = shown.lines().collect();
    let [length, headings, big, b, more] = shown.as_slice() else { panic!("{shown:#?}") };
    let expected = format!("3 waiting, the oldest since {}", listed["oldest"].as_str().unwrap());
    assert_eq!((*length, *more), (expected.as_str(), "and 1 more: --limit shows them"));
    assert!(headings.starts_with("PROCESSOR") && big.ends_with(failed), "{shown:#?}");
    assert!(
        b.starts_with(&format!("reports/{}", table("later"))) && b.contains("/b ") && b.ends_with('-'),
        "{shown:#?}"
    );

    // Without a pillow, how much waits of each.
    let lengths = site.run(&["--json", "queue"]).await.json();
    assert_eq!(lengths, json!([{"pillow": "reports", "length": 3, "oldest": listed["oldest"]}]));
    let lengths = site.run(&["queue"]).await.well().out;
    assert!(lengths.starts_with("PILLOW ") && lengths.contains("\nreports  3 "), "{lengths}");
    let unknown = site.run(&["queue", "nobody"]).await;
    assert_eq!(unknown.code(), Some(1));
    assert!(unknown.err.contains("there is no pillow `nobody`"), "{unknown:?}");

    let endpoint = Endpoint::start(&site).await;
    assert_eq!(endpoint.get("/pillows/reports/queue").await.json(), listed);
    let limited = endpoint.get("/pillows/reports/queue?limit=1").await.json();
    assert_eq!(
        (&limited["length"], limited["entries"].as_array().unwrap().as_slice()),
        (&json!(3), &[first.clone()][..])
    );
    endpoint.stop().await;
    // What waits of a pillow whose manifest is gone is still told.
    std::fs::remove_file(site.path("pipelines/reports.toml")).unwrap();
    assert_eq!(site.run(&["--json", "queue", "reports"]).await.json()["length"], 3);
}

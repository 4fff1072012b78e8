//! Asynchronous data sources through the real program.

use serde_json::{Value, json};

use crate::support::documents::lines;
use crate::support::site::Site;
use crate::support::wait::until;
use crate::ucr::{reports, source, table};

/// Everything that waits is due.
const ALL_DUE: &str = "update pillowtop_parked set due_at = '2000-01-01T00:00:00.000000Z' where due_at is not null";

/// Data sources `later` and, at once, `now`, both over the size of cases.
fn site() -> Site {
    let site = Site::with_settings("[metrics]\nfile = \"metrics.prom\"\n");
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

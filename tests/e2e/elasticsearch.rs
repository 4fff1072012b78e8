//! From the change log to an index on OpenSearch, while the server is frozen, killed and comes back.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::service::Service;
use crate::support::documents::{cases, id, lines};
use crate::support::pillows;
use crate::support::site::Site;
use crate::support::wait::until;

/// The same cases to both kinds of index, each by a pillow of its own.
fn site(server: &Service) -> Site {
    let sink = format!(
        "\n[sinks.server]\nkind = \"elasticsearch\"\nurls = [\"{}\"]\ntimeout = \"1 s\"\ngzip = true\n\
         request-count = 20\nindex-settings = {{ number_of_replicas = 0 }}\n",
        server.address
    );
    let site = Site::with_settings(&sink);
    let pillow = pillows::reads("case-sql") + &pillows::batches(10, 4) + &pillows::search("case", "cases");
    site.pillow("near", &pillow);
    site.pillow("far", &pillow.replace("indices = \"search\"", "indices = \"server\""));
    site
}

/// The documents of an index by id, without what says when they were indexed.
async fn documents(site: &Site, sink: &str) -> BTreeMap<String, Value> {
    let answer = site.run(&["--json", "search", "cases", "*", "--limit", "10000", "--sink", sink]).await.json();
    let hits = answer["hits"].as_array().unwrap().iter();
    let documents = hits.map(|hit| {
        let mut source = hit["source"].clone();
        assert!(source.as_object_mut().unwrap().remove("inserted_at").is_some(), "{source}");
        // A server holds it beside the document only.
        source.as_object_mut().unwrap().remove("_id");
        (hit["id"].as_str().unwrap().to_owned(), source)
    });
    documents.collect()
}

/// What the running host says of a pillow.
async fn status(site: &Site, pillow: &str) -> Value {
    let rows = site.run(&["--json", "status"]).await.json();
    let row = rows.as_array().unwrap().iter().find(|row| row["pillow"] == pillow && row["alive"] == true);
    row.map_or(Value::Null, |row| row["status"].clone())
}

async fn until_settled(site: &Site, pillow: &str, count: usize) {
    until(&format!("{pillow} has settled {count}"), async || {
        (status(site, pillow).await["counts"]["settled"] == count).then_some(())
    })
    .await;
}

/// Waits until the far pillow says that its server is out, while the near one goes on.
async fn until_out(site: &Site, server: &Service, count: usize) {
    let out = until("the outage is seen", async || {
        let status = status(site, "far").await;
        (status["state"] == "waiting").then_some(status)
    })
    .await;
    assert!(out["reason"].as_str().unwrap().contains(&server.address), "{out}");
    until_settled(site, "near", count).await;
    let out = status(site, "far").await;
    assert!(out["counts"]["settled"].as_u64().unwrap() < count as u64, "it does not wait: {out}");
    assert_eq!(out["counts"]["parked"], 0, "{out}");
}

#[tokio::test]
async fn an_index_on_a_server_loses_nothing_while_the_server_is_frozen_and_killed() {
    let server = Service::own("opensearch");
    let site = site(&server);
    let cases = cases(600, 31);
    let (first, rest) = cases.split_at(200);
    let (second, third) = rest.split_at(200);
    let mut host = site.start(&["run"]);
    site.publish(&lines(first)).await;
    until_settled(&site, "far", 200).await;

    server.pause();
    site.publish(&lines(second)).await;
    until_out(&site, &server, 400).await;
    server.resume();
    until_settled(&site, "far", 400).await;

    site.publish(&lines(third)).await;
    server.kill();
    until_out(&site, &server, 600).await;
    server.start_again();
    until_settled(&site, "far", 600).await;
    assert!(!host.has_ended(), "it waits for a lost server");

    let expected = documents(&site, "search").await;
    let ids: std::collections::BTreeSet<&str> = cases.iter().map(id).collect();
    assert_eq!(expected.len(), ids.len());
    until("a refresh makes all of it visible", async || {
        (documents(&site, "server").await.len() == ids.len()).then_some(())
    })
    .await;
    assert_eq!(documents(&site, "server").await, expected);
    assert_eq!(site.parked().await, [] as [Value; 0]);
    host.kill();
}

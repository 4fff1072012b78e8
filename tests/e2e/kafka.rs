//! From a topic of Apache Kafka to rows and an index, while the broker and the host come and go.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::support::documents::{Expected, id, lines, visit_forms};
use crate::support::pillows;
use crate::support::site::{Site, count};
use crate::support::wait::until;

/// Publishes the stubs of forms; a document is always in the same partition.
fn publish_stubs(broker: &Broker, forms: &[Value]) {
    let mut partitions = [Vec::new(), Vec::new()];
    for form in forms {
        let stub = json!({
            "document_id": form["_id"], "data_source_type": "sql", "data_source_name": "form-sql",
            "document_type": form["doc_type"], "document_subtype": form["xmlns"], "domain": form["domain"],
            "is_deletion": false,
        });
        let last = id(form).bytes().last().unwrap();
        partitions[usize::from(last % 2)].push(stub.to_string());
    }
    for (number, stubs) in (0..).zip(&partitions) {
        broker.publish("forms", number, stubs.iter().map(String::as_str));
    }
}

#[tokio::test]
async fn what_is_on_a_topic_is_written_once_while_broker_and_host_come_and_go() {
    let broker = Broker::own();
    broker.create_topic("forms", 2).await;
    let site = Site::with_settings(&format!("\n[feeds.kafka]\nkind = \"kafka\"\nbrokers = \"{}\"\n", broker.address));
    let reads = pillows::reads("forms").replace("from = \"log\"", "from = \"kafka\"");
    let pillow = reads + &pillows::batches(5, 2) + &pillows::search("form", "forms") + &pillows::visits();
    site.pillow("forms", &pillow);
    let forms: Vec<Value> = {
        // A visit at no time would be parked; here only one message is.
        let has_time = |form: &Value| form["form"]["meta"]["timeEnd"].as_str().is_some_and(|time| !time.is_empty());
        visit_forms(500, 21).into_iter().filter(has_time).take(420).collect()
    };
    site.publish(&lines(&forms)).await;
    let mut database = site.database().await;
    let (first, rest) = forms.split_at(60);
    let (second, third) = rest.split_at(60);

    let mut host = site.start(&["run"]);
    publish_stubs(&broker, first);
    broker.publish("forms", 1, ["{\"document_id\": \"cut\u{1}"]);
    until("the first forms are written", async || {
        assert!(!host.has_ended());
        (count(&mut database, "visits").await == Some(60)).then_some(())
    })
    .await;
    site.execute(
        "create table applied (form_id text);
         create trigger watch after insert on visits begin insert into applied values (new.form_id); end",
    )
    .await;

    broker.kill();
    host.says(&broker.address).await;
    broker.start_again();
    publish_stubs(&broker, second);
    until("the next forms are written after the broker came back", async || {
        assert!(!host.has_ended(), "it waits for a lost broker");
        (count(&mut database, "visits").await == Some(120)).then_some(())
    })
    .await;

    publish_stubs(&broker, third);
    until("some of the last forms are written", async || {
        (count(&mut database, "visits").await >= Some(150)).then_some(())
    })
    .await;
    host.kill();
    assert_eq!(host.ended().await.signal(), Some(9));
    let written = count(&mut database, "visits").await.unwrap();
    assert!(written < 420, "it was killed too late");
    site.catch_up().await;

    let mut expected = Expected::default();
    expected.change(&forms);
    let rows = "select json_array(form_id, number, case_id, domain, user_id, visited_at, received_at) from visits
                order by form_id, number";
    assert_eq!(site.rows(rows).await, expected.visits());
    let last = "select json_array(case_id, visited_at) from last_visits order by case_id";
    assert_eq!(site.rows(last).await, expected.last_visits());
    let twice = "select json_array(form_id) from applied group by form_id having count(*) > 1";
    assert_eq!(site.rows(twice).await, [] as [Value; 0], "written twice");
    assert_eq!(site.rows("select json_array(count(*)) from applied").await, [json!([360])]);
    let answer = site.search("forms", "*").await;
    let found: BTreeSet<&str> =
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect();
    assert_eq!((found, &answer["total"]), (forms.iter().map(id).collect(), &json!(420)));

    let parked = site.parked().await;
    let [entry] = &parked[..] else { panic!("{parked:#?}") };
    assert_eq!(entry["bytes"], "{\"document_id\": \"cut\u{1}");
    assert_eq!((&entry["processor"], &entry["kind"]), (&Value::Null, &json!("invalid-input")), "{entry}");
    assert_eq!((&entry["partition"], &entry["attempts"]), (&json!("forms:1"), &json!(1)), "{entry}");

    let summary = site.catch_up().await;
    assert_eq!(summary["pillows"][0]["status"]["counts"]["read"], 0, "{summary}");
}

#[tokio::test]
async fn what_a_processor_publishes_is_on_its_topic_before_the_change_is_settled() {
    let broker = Broker::own();
    broker.create_topic("forms", 2).await;
    broker.create_topic("published", 1).await;
    let site = Site::with_settings(&format!(
        "\n[feeds.kafka]\nkind = \"kafka\"\nbrokers = \"{0}\"\n\n[sinks.out]\nkind = \"kafka\"\nbrokers = \"{0}\"\n\
         \n[sinks.out.options]\n\"message.timeout.ms\" = 2000\n",
        broker.address
    ));
    let processor =
        pillows::hostile("publish").replace("indices = \"search\"\ntables = \"tables\"", "topics = \"out\"");
    let reads = pillows::reads("forms").replace("from = \"log\"", "from = \"kafka\"");
    site.pillow("forms", &(reads + &pillows::batches(5, 2) + &processor));
    let all = visit_forms(42, 5);
    let (forms, late) = all.split_at(40);
    site.publish(&lines(&all)).await;
    publish_stubs(&broker, &forms[..20]);
    site.catch_up().await;
    let published = |broker: &Broker| broker.messages("published", 0);
    let expected =
        |forms: &[Value]| -> BTreeSet<String> { forms.iter().map(|form| format!("{}={form}", id(form))).collect() };
    let found = published(&broker);
    assert_eq!((found.len(), found.into_iter().collect::<BTreeSet<_>>()), (20, expected(&forms[..20])));

    // The broker goes, and what it has not acknowledged is not settled.
    publish_stubs(&broker, &forms[20..]);
    let host = site.start(&["run"]);
    broker.kill();
    broker.start_again();
    until("all are published", async || {
        let found: BTreeSet<String> = published(&broker).into_iter().collect();
        (found == expected(forms)).then_some(())
    })
    .await;
    host.signal("TERM");
    assert!(host.ended().await.status.success());
    assert!(site.parked().await.is_empty());

    // A host that starts while the broker is away says what it waits for, and begins when it is back.
    broker.kill();
    let host = site.start(&["run"]);
    until("it waits for the feed", async || {
        let status = site.run(&["--json", "status"]).await.json();
        let reason = status[0]["status"]["reason"].as_str().unwrap_or_default();
        (status[0]["status"]["state"] == "waiting" && reason.starts_with("feed: ")).then_some(())
    })
    .await;
    broker.start_again();
    publish_stubs(&broker, late);
    until("the late ones are published", async || {
        let found: BTreeSet<String> = published(&broker).into_iter().collect();
        (found == expected(&all)).then_some(())
    })
    .await;
    host.signal("TERM");
    assert!(host.ended().await.status.success());
    assert_eq!(site.catch_up().await["pillows"][0]["status"]["counts"]["read"], 0);
}

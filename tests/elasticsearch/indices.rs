//! Indices that are made, that are there, and that will not do.

use pillowtop::model::chain;
use pillowtop::sink::Sink as _;
use serde_json::{Value, json};

use super::searching::{Apart, Server, opensearch};
use super::{CASES, declared, index, mapping, write};

fn apart() -> Apart {
    Apart::new(Server { url: opensearch() })
}

async fn described(sink: &Apart) -> Value {
    let described = sink.server.done("GET", &format!("/{}", sink.named(CASES)), None).await;
    described.as_object().unwrap().values().next().unwrap().clone()
}

async fn refusal(sink: &Apart, mapping: &Value) -> String {
    chain(&sink.prepare(&[], &[declared(mapping, &[])]).await.unwrap_err())
}

#[tokio::test]
async fn an_index_is_made_as_declared_under_an_alias() {
    let server = Server { url: opensearch() };
    let mut settings = server.settings();
    settings.index_settings.clear();
    settings.index_settings.insert("number_of_shards".to_owned(), json!(3));
    let sink = Apart::with(server, settings, super::searching::unique());
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    let made = described(&sink).await;
    assert_eq!(made["mappings"]["properties"], mapping()["properties"]);
    assert_eq!(made["mappings"]["dynamic"], "false");
    assert_eq!(made["settings"]["index"]["number_of_shards"], "3");
    assert_eq!(made["settings"]["index"]["analysis"]["analyzer"]["default"]["tokenizer"], "whitespace");
    assert_eq!(made["settings"]["index"]["provided_name"], format!("{}-000001", sink.named(CASES)));
    assert_eq!(made["aliases"][sink.named(CASES)]["is_write_index"], true);
}

#[tokio::test]
async fn an_index_that_is_there_is_used_and_extended() {
    let sink = apart();
    let name = sink.named(CASES);
    let theirs = json!({"mappings": {"properties": {"age": {"type": "long"}, "theirs": {"type": "date"}}}});
    sink.server.done("PUT", &format!("/{name}"), Some(theirs)).await;
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    write(&sink, &[index(1, "a", &json!({"name": "x"}))]).await;
    let now = described(&sink).await;
    let names: Vec<&String> = now["mappings"]["properties"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["age", "name", "theirs"]);
    assert_eq!(now["settings"]["index"]["gc_deletes"], "3600000ms");
    assert_eq!(now["aliases"], json!({}));
    assert_eq!(sink.count(CASES).await, 1);
}

#[tokio::test]
async fn an_index_that_will_not_do_is_refused_and_left_as_it_is() {
    let sink = apart();
    let name = sink.named(CASES);
    let theirs = json!({
        "settings": {"index.translog.durability": "async"},
        "mappings": {"properties": {"age": {"type": "date"}}},
    });
    sink.server.done("PUT", &format!("/{name}"), Some(theirs)).await;
    let before = described(&sink).await;
    let said = refusal(&sink, &mapping()).await;
    assert!(said.contains(&format!("index {name}: property age is date and cannot become long")), "{said}");
    assert!(said.contains("index.translog.durability"), "{said}");
    assert_eq!(described(&sink).await, before);
}

#[tokio::test]
async fn what_only_the_server_knows_to_be_wrong_is_said_in_its_words() {
    let said = refusal(&apart(), &json!({"properties": {"age": {"type": "longish"}}})).await;
    assert!(said.contains("longish"), "{said}");
}

#[tokio::test]
async fn an_alias_of_two_indices_is_refused() {
    let sink = apart();
    let name = sink.named(CASES);
    for part in ["one", "two"] {
        let body = json!({"aliases": {&name: {}}});
        sink.server.done("PUT", &format!("/{name}-{part}"), Some(body)).await;
    }
    let said = refusal(&sink, &mapping()).await;
    assert!(said.contains(&format!("it is an alias of {name}-one, {name}-two")), "{said}");
}

#[tokio::test]
async fn whole_documents_and_shared_ones_do_not_mix() {
    let sink = apart();
    sink.prepare(&[], &[declared(&mapping(), &["age"])]).await.unwrap();
    let said = refusal(&Apart::with(sink.server, sink.server.settings(), sink.prefix.clone()), &mapping()).await;
    assert!(said.contains("it is shared by fields and cannot become one of whole documents"), "{said}");
}

#[tokio::test]
async fn hosts_that_start_together_make_one_index() {
    let sink = apart();
    let hosts: Vec<Apart> =
        (0..4).map(|_| Apart::with(sink.server, sink.server.settings(), sink.prefix.clone())).collect();
    let wanted = [declared(&mapping(), &[])];
    for prepared in futures_util::future::join_all(hosts.iter().map(|host| host.prepare(&[], &wanted))).await {
        prepared.unwrap();
    }
    for (version, host) in (1..).zip(&hosts) {
        write(host, &[index(version, "a", &json!({"age": version}))]).await;
    }
    assert_eq!(sink.get(CASES, "a").await, Some(json!({"age": 4})));
}

#[tokio::test]
async fn what_others_keep_in_a_mapping_s_meta_stays() {
    let sink = apart();
    let name = sink.named(CASES);
    let theirs = json!({"mappings": {"_meta": {"made_by": "them", "pillowtop": {"owners": [["age"]]}}}});
    sink.server.done("PUT", &format!("/{name}"), Some(theirs)).await;
    sink.prepare(&[], &[declared(&mapping(), &["name"])]).await.unwrap();
    let meta = described(&sink).await["mappings"]["_meta"].clone();
    assert_eq!(meta, json!({"made_by": "them", "pillowtop": {"owners": [["age"], ["name"]]}}));
}

#[tokio::test]
async fn an_index_that_was_dropped_is_not_made_again_by_a_document() {
    let sink = apart();
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    sink.server.done("DELETE", &format!("/{}-000001", sink.named(CASES)), None).await;
    let outage = sink.write(&[index(1, "a", &json!({}))]).await.unwrap_err();
    let said = chain(&outage);
    assert!(said.contains("any more; a reload of the pillow makes it again"), "{said}");
    let (status, _) = sink.server.ask("GET", &format!("/{}", sink.named(CASES)), None).await;
    assert_eq!(status, 404);
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    write(&sink, &[index(1, "a", &json!({}))]).await;
}

#[tokio::test]
async fn an_id_inside_of_a_document_is_left_out() {
    let sink = apart();
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    write(&sink, &[index(1, "a", &json!({"_id": "a", "_rev": "1", "name": "x", "deeper": {"_id": 1}}))]).await;
    assert_eq!(sink.get(CASES, "a").await, Some(json!({"_rev": "1", "name": "x", "deeper": {"_id": 1}})));
}

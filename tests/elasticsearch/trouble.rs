//! What is said, and what becomes of writes, when a server cannot write.

use pillowtop::model::{RetryHelps, chain};
use pillowtop::sink::elasticsearch::{Credentials, ElasticsearchSink, Settings};
use pillowtop::sink::{PrepareError, Sink};
use serde_json::{Value, json};

use super::searching::{Apart, Server, opensearch};
use super::stand_in::{Reply, StandIn};
use super::{CASES, declared, delete, index, mapping, merge, write};

async fn blocked(block: &str) -> String {
    let sink = Apart::new(Server { url: opensearch() });
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    let path = format!("/{}/_settings", sink.named(CASES));
    sink.server.done("PUT", &path, Some(json!({ block: true }))).await;
    let said = chain(&sink.write(&[index(1, "a", &json!({}))]).await.unwrap_err());
    sink.server.done("PUT", &path, Some(json!({ block: null }))).await;
    write(&sink, &[index(1, "a", &json!({}))]).await;
    said
}

#[tokio::test]
async fn a_full_disk_and_an_operator_s_block_are_outages_told_apart() {
    let disk = blocked("index.blocks.read_only_allow_delete").await;
    assert!(disk.contains("a disk is nearly full, the flood-stage watermark"), "{disk}");
    let operator = blocked("index.blocks.read_only").await;
    assert!(operator.contains("it is set read-only (index.blocks.read_only)"), "{operator}");
    let writes = blocked("index.blocks.write").await;
    assert!(writes.contains("it is set read-only (index.blocks.write)"), "{writes}");
}

#[tokio::test]
async fn of_several_writes_to_one_document_only_the_one_that_does_not_fit_is_refused() {
    for owned in [&[][..], &["name", "age"]] {
        let sink = Apart::new(Server { url: opensearch() });
        sink.prepare(&[], &[declared(&mapping(), owned)]).await.unwrap();
        let writes = [
            index(1, "a", &json!({"name": "x"})),
            merge(1, "a", &json!({"age": "old"})),
            merge(1, "b", &json!({"age": 1})),
            merge(1, "a", &json!({"name": "y"})),
        ];
        let rejected = sink.write(&writes).await.unwrap();
        assert_eq!(rejected.iter().map(|rejected| rejected.at).collect::<Vec<_>>(), [1]);
        assert!(rejected[0].reason.contains("age"), "{}", rejected[0].reason);
        assert_eq!(sink.get(CASES, "a").await, Some(json!({"name": "y"})));
        assert_eq!(sink.get(CASES, "b").await, Some(json!({"age": 1})));
    }
}

/// A sink on a stand-in, prepared.
async fn on(stand_in: &StandIn) -> ElasticsearchSink {
    let sink = ElasticsearchSink::new(stand_in.settings()).unwrap();
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    sink
}

fn three() -> Vec<pillowtop::sink::Versioned> {
    vec![index(1, "a", &json!({})), index(1, "b", &json!({})), delete(1, "c")]
}

fn error(status: u16, kind: &str) -> Value {
    json!({"status": status, "error": {"type": kind, "reason": "r"}})
}

#[tokio::test]
async fn only_what_was_pushed_back_is_sent_again() {
    let stand_in = StandIn::start(vec![
        Reply::items(&[json!({"status": 200}), error(429, "es_rejected_execution_exception"), json!({"status": 404})]),
        Reply::items(&[error(503, "unavailable_shards_exception")]),
    ])
    .await;
    let sink = on(&stand_in).await;
    write(&sink, &three()).await;
    assert_eq!(stand_in.written(), [vec!["a", "b", "c"], vec!["b"], vec!["b"]]);
}

#[tokio::test]
async fn a_later_write_of_the_same_id_goes_again_too() {
    let pushed_back = error(429, "es_rejected_execution_exception");
    let done = json!({"status": 200});
    let stand_in = StandIn::start(vec![Reply::items(&[pushed_back, done.clone(), done])]).await;
    let sink = on(&stand_in).await;
    write(&sink, &[index(1, "a", &json!({})), index(1, "b", &json!({})), delete(2, "a")]).await;
    assert_eq!(stand_in.written(), [vec!["a", "b", "a"], vec!["a", "a"]]);
}

/// The clock is not paused: it would run ahead while a request is under way.
async fn pushed_back(kind: &str) -> String {
    let stand_in = StandIn::start(vec![Reply::items(&[error(429, kind)]); 20]).await;
    let said = chain(&on(&stand_in).await.write(&[index(1, "a", &json!({}))]).await.unwrap_err());
    assert_eq!(stand_in.written().len(), 8);
    said
}

#[tokio::test]
async fn a_server_that_pushes_back_for_long_is_an_outage_that_says_why() {
    let (memory, queue) =
        tokio::join!(pushed_back("circuit_breaking_exception"), pushed_back("rejected_execution_exception"));
    assert!(memory.contains("short of memory (circuit breaker)"), "{memory}");
    assert!(queue.contains("more writes to do than it takes"), "{queue}");
}

#[tokio::test]
async fn a_document_that_breaks_the_server_each_time_is_refused_for_now() {
    let stand_in = StandIn::start(vec![Reply::items(&[error(500, "null_pointer_exception")]); 20]).await;
    let sink = on(&stand_in).await;
    let rejected = sink.write(&[index(1, "a", &json!({}))]).await.unwrap();
    assert_eq!((rejected.len(), rejected[0].retry), (1, RetryHelps::Perhaps));
}

#[tokio::test]
async fn a_request_that_is_too_large_is_sent_in_parts() {
    let too_large = Reply { status: 413, body: "too large".to_owned() };
    let stand_in = StandIn::start(vec![too_large.clone(), too_large]).await;
    let sink = on(&stand_in).await;
    let rejected = sink.write(&three()).await.unwrap();
    assert_eq!(stand_in.written(), [vec!["a", "b", "c"], vec!["a"], vec!["b", "c"]]);
    assert_eq!((rejected.len(), rejected[0].at), (1, 0));
}

#[tokio::test]
async fn a_user_who_may_not_write_holds_the_pillow_and_parks_nothing() {
    let stand_in = StandIn::start(vec![Reply::items(&[error(403, "security_exception")])]).await;
    let sink = on(&stand_in).await;
    let said = chain(&sink.write(&[index(1, "a", &json!({}))]).await.unwrap_err());
    assert!(said.contains("does not let this user write"), "{said}");
}

#[tokio::test]
async fn credentials_are_sent_and_never_said() {
    let stand_in = StandIn::start(vec![Reply { status: 401, body: "{}".to_owned() }]).await;
    let basic = Credentials::Basic { username: "me".to_owned(), password: "hunter2".to_owned() };
    for (credentials, header) in
        [(basic, "Basic bWU6aHVudGVyMg=="), (Credentials::ApiKey("a2V5".to_owned()), "ApiKey a2V5")]
    {
        let settings = Settings { credentials: Some(credentials), ..stand_in.settings() };
        assert!(!format!("{settings:?}").contains("hunter2"));
        let sink = ElasticsearchSink::new(settings).unwrap();
        sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
        let said = sink.write(&[index(1, "a", &json!({}))]).await.map_err(|outage| chain(&outage));
        assert!(said.is_ok() || said.is_err_and(|said| said.contains("refuses the credentials")));
        assert_eq!(stand_in.authorization().as_deref(), Some(header));
    }
}

#[tokio::test]
async fn another_node_takes_over_and_without_any_it_is_an_outage() {
    let stand_in = StandIn::start(vec![]).await;
    let nobody = "http://127.0.0.1:1".to_owned();
    let mut settings = stand_in.settings();
    settings.urls.insert(0, nobody.clone());
    let sink = ElasticsearchSink::new(settings).unwrap();
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    write(&sink, &three()).await;
    let alone = ElasticsearchSink::new(Settings::new(nobody)).unwrap();
    let outage = alone.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap_err();
    assert!(matches!(outage, PrepareError::Outage(_)));
    assert!(chain(&outage).contains("search server http://127.0.0.1:1 does not answer"), "{}", chain(&outage));
}

#[tokio::test]
async fn a_server_of_an_unknown_version_is_refused_by_name() {
    let stand_in = StandIn::saying("6.8.23").await;
    let sink = ElasticsearchSink::new(stand_in.settings()).unwrap();
    let refused = sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap_err();
    assert!(chain(&refused).contains("it is Elasticsearch 6.8.23"), "{}", chain(&refused));
}

#[tokio::test]
async fn bounds_of_requests_are_kept_and_compressed_ones_are_understood() {
    let server = Server { url: opensearch() };
    let mut settings = server.settings();
    settings.gzip = true;
    settings.request_count = 7.try_into().unwrap();
    settings.request_bytes = 4096.try_into().unwrap();
    let sink = Apart::with(server, settings, super::searching::unique());
    sink.prepare(&[], &[declared(&mapping(), &[])]).await.unwrap();
    let text = "x".repeat(600);
    let writes: Vec<_> = (0..600).map(|n| index(1, &format!("d{n}"), &json!({"name": n, "text": text}))).collect();
    write(&sink, &writes).await;
    assert_eq!(sink.count(CASES).await, 600);
}

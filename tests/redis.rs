//! The cache in a real Redis.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the lint's exemption for tests does not cover their helpers")]

#[path = "support/service.rs"]
mod service;

use std::sync::OnceLock;
use std::time::Duration;

use pillowtop::model::{DocumentKey, Outage, ProcessorName, RetryHelps, Write, WriteVersion};
use pillowtop::sink::redis::{RedisSink, Settings};
use pillowtop::sink::{Sink as _, Versioned};
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;
use service::Service;

fn server() -> &'static Service {
    static SHARED: OnceLock<Service> = OnceLock::new();
    SHARED.get_or_init(|| Service::shared("redis"))
}

async fn shared() -> &'static Service {
    tokio::task::spawn_blocking(server).await.unwrap()
}

/// A sink whose keys begin with `prefix`: tests share the server.
fn sink(server: &Service, prefix: &str) -> RedisSink {
    RedisSink::new(Settings {
        url: server.address.clone(),
        prefix: prefix.to_owned(),
        counters: ["generations".into()].into(),
    })
}

async fn connection(server: &Service) -> MultiplexedConnection {
    redis::Client::open(server.address.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap()
}

fn invalidate(cache: &str, keys: &[&str]) -> Versioned {
    written(Write::Invalidate { cache: cache.into(), keys: keys.iter().map(|key| (*key).to_owned()).collect() })
}

fn written(write: Write) -> Versioned {
    Versioned {
        processor: ProcessorName::new("p"),
        document: DocumentKey::new("s", "d"),
        version: WriteVersion(1),
        write,
        table: None,
    }
}

#[tokio::test]
async fn keys_are_removed_and_others_stay() {
    let server = shared().await;
    let mut client = connection(server).await;
    for key in ["rm:a", "rm:b", "rm:c", "a"] {
        let () = client.set(key, "value").await.unwrap();
    }
    let sink = sink(server, "rm:");
    sink.prepare(&[], &[]).await.unwrap();
    let writes =
        [invalidate("documents", &["a", "absent"]), invalidate("documents", &[]), invalidate("documents", &["b"])];
    assert_eq!(sink.write(&writes).await.unwrap(), []);
    let left: Vec<Option<String>> = client.mget(&["rm:a", "rm:b", "rm:c", "a"]).await.unwrap();
    assert_eq!(left, [None, None, Some("value".to_owned()), Some("value".to_owned())]);
    // Again, as after a crash.
    assert_eq!(sink.write(&writes).await.unwrap(), []);
}

#[tokio::test]
async fn keys_of_a_cache_of_generations_are_counted_up() {
    let server = shared().await;
    let mut client = connection(server).await;
    let () = client.set("up:users", 41).await.unwrap();
    let sink = sink(server, "up:");
    assert_eq!(sink.write(&[invalidate("generations", &["users", "groups"])]).await.unwrap(), []);
    let left: Vec<i64> = client.mget(&["up:users", "up:groups"]).await.unwrap();
    assert_eq!(left, [42, 1]);
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_alone() {
    let server = shared().await;
    let mut client = connection(server).await;
    let () = client.lpush("odd:list", "value").await.unwrap();
    let () = client.set("odd:word", "value").await.unwrap();
    let sink = sink(server, "odd:");
    let writes = [
        invalidate("generations", &["list"]),
        invalidate("generations", &["good"]),
        invalidate("generations", &["word", "list"]),
        written(Write::Delete { index: "i".into(), id: "d".into() }),
    ];
    let rejected = sink.write(&writes).await.unwrap();
    let refused: Vec<(usize, RetryHelps)> = rejected.iter().map(|rejected| (rejected.at, rejected.retry)).collect();
    assert_eq!(refused, [(0, RetryHelps::Perhaps), (2, RetryHelps::Perhaps), (3, RetryHelps::No)], "{rejected:?}");
    let good: i64 = client.get("odd:good").await.unwrap();
    assert_eq!(good, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_an_outage_until_it_is_back() {
    let server = tokio::task::spawn_blocking(|| Service::own("redis")).await.unwrap();
    let sink = sink(&server, "");
    assert_eq!(sink.write(&[invalidate("generations", &["a"])]).await.unwrap(), []);
    tokio::task::block_in_place(|| server.kill());
    let outage: Outage = sink.write(&[invalidate("generations", &["a"])]).await.unwrap_err();
    assert!(outage.to_string().contains("Redis"), "{outage}");
    tokio::task::block_in_place(|| server.start_again());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while let Err(outage) = sink.write(&[invalidate("generations", &["a"])]).await {
        assert!(tokio::time::Instant::now() < deadline, "{outage}");
        tokio::task::yield_now().await;
    }
    let mut client = connection(&server).await;
    let counted: i64 = client.get("a").await.unwrap();
    assert!(counted >= 2, "{counted}");
}

//! The Kafka sink against a real Apache Kafka, and the parts of the sinks' contract that hold for messages.

use std::collections::BTreeMap;
use std::time::Duration;

use pillowtop::model::{DocumentKey, ProcessorName, Publish, RetryHelps, Write, WriteVersion, chain};
use pillowtop::sink::kafka::KafkaSink;
use pillowtop::sink::{Sink as _, Versioned};

use crate::broker::Broker;

fn sink(broker: &Broker) -> KafkaSink {
    KafkaSink::new(broker.address.clone(), &BTreeMap::new()).unwrap()
}

fn versioned(write: Write) -> Versioned {
    Versioned {
        processor: ProcessorName::new("p"),
        document: DocumentKey::new("s", "d"),
        version: WriteVersion(1),
        write,
        table: None,
    }
}

fn publish(topic: &str, key: Option<&str>, value: Option<&str>) -> Versioned {
    let bytes = |text: &str| text.to_owned().into();
    versioned(Write::Publish(Publish { topic: topic.into(), key: key.map(bytes), value: value.map(bytes) }))
}

#[tokio::test]
async fn messages_are_acknowledged_in_order_when_the_write_returns() {
    let broker = Broker::shared();
    broker.create_topic("published", 1).await;
    let sink = sink(broker);
    sink.prepare(&[], &[]).await.unwrap();
    let mut writes: Vec<Versioned> =
        (0..500).map(|at| publish("published", Some("k"), Some(&at.to_string()))).collect();
    writes.push(publish("published", Some("gone"), None));
    writes.push(publish("published", None, Some("no key")));
    assert_eq!(sink.write(&writes).await.unwrap(), []);
    sink.flush().await.unwrap();
    let mut expected: Vec<String> = (0..500).map(|at| format!("k={at}")).collect();
    expected.extend(["gone=-".to_owned(), "-=no key".to_owned()]);
    assert_eq!(broker.messages("published", 0), expected);
}

#[tokio::test]
async fn messages_of_a_key_go_where_other_clients_send_them() {
    let broker = Broker::shared();
    broker.create_topic("keyed", 10).await;
    assert_eq!(sink(broker).write(&[publish("keyed", Some("foobar"), Some("x"))]).await.unwrap(), []);
    // Murmur2 of `foobar`, as Kafka's Java client has it in its own tests: -790332482, without its sign modulo 10.
    let partition = (-790_332_482_i32 & 0x7fff_ffff) % 10;
    assert_eq!(broker.messages("keyed", partition), ["foobar=x"]);
}

#[tokio::test]
async fn what_is_wrong_with_one_message_is_refused_alone() {
    let broker = Broker::shared();
    broker.create_topic("sound", 1).await;
    broker.create_topic_with("narrow", &[("max.message.bytes", "1000")]).await;
    let large = "x".repeat(2_000_000);
    let writes = [
        publish("sound", None, Some("a")),
        publish("sound", None, Some(&large)),
        publish("narrow", None, Some(&"x".repeat(5000))),
        publish("not-there", None, Some("b")),
        publish("no topic!", None, Some("c")),
        versioned(Write::Delete { index: "i".into(), id: "d".into() }),
        publish("sound", None, Some("d")),
    ];
    let rejected = sink(broker).write(&writes).await.unwrap();
    let refused: Vec<(usize, RetryHelps)> = rejected.iter().map(|rejected| (rejected.at, rejected.retry)).collect();
    let expected =
        [(1, RetryHelps::No), (2, RetryHelps::No), (3, RetryHelps::Perhaps), (4, RetryHelps::No), (5, RetryHelps::No)];
    assert_eq!(refused, expected, "{rejected:#?}");
    assert!(rejected[2].reason.starts_with("kafka topic not-there: "), "{rejected:#?}");
    assert_eq!(broker.messages("sound", 0), ["-=a", "-=d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_gone_is_an_outage_until_it_is_back() {
    let broker = Broker::own();
    broker.create_topic("away", 1).await;
    let options = BTreeMap::from([("message.timeout.ms".to_owned(), "5000".to_owned())]);
    let sink = KafkaSink::new(broker.address.clone(), &options).unwrap();
    assert_eq!(sink.write(&[publish("away", None, Some("before"))]).await.unwrap(), []);
    tokio::task::block_in_place(|| broker.kill());
    let outage = sink.write(&[publish("away", None, Some("lost?"))]).await.unwrap_err();
    assert!(chain(&outage).starts_with("could not publish at kafka brokers 127.0.0.1:"), "{}", chain(&outage));
    tokio::task::block_in_place(|| broker.start_again());
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    while let Err(outage) = sink.write(&[publish("away", None, Some("after"))]).await {
        assert!(tokio::time::Instant::now() < deadline, "{}", chain(&outage));
    }
    let found = broker.messages("away", 0);
    assert_eq!(found.first().map(String::as_str), Some("-=before"), "{found:?}");
    assert_eq!(found.last().map(String::as_str), Some("-=after"), "{found:?}");
}

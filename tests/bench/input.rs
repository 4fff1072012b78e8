//! The input: what any engine reads from a topic of Apache Kafka, and nothing of who reads it.
//!
//! Document `number` is made of the number alone, so that what becomes of it can be checked without the input.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::KafkaError;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};
use serde_json::{Value, json};

use super::broker::{Broker, LIMIT};

/// Documents of about 1 KB as their messages carry them, spread over the partitions in turn.
pub(crate) fn publish(broker: &Broker, topic: &str, partitions: i32, documents: usize) {
    send(broker, topic, partitions, (0..documents).map(|number| message(topic, number, &document(number))));
}

/// Publishes messages, to one partition after the other, and waits until the broker has them; how many bytes they have.
pub(crate) fn send(
    broker: &Broker,
    topic: &str,
    partitions: i32,
    messages: impl IntoIterator<Item = Vec<u8>>,
) -> usize {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &broker.address)
        .set("linger.ms", "20")
        .set("queue.buffering.max.kbytes", "262144")
        .create()
        .unwrap();
    let mut bytes = 0;
    for (message, partition) in messages.into_iter().zip((0..partitions).cycle()) {
        bytes += message.len();
        let mut record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(topic).partition(partition).payload(&message);
        while let Err((error, refused)) = producer.send(record) {
            assert!(matches!(error, KafkaError::MessageProduction(_)), "{error}");
            producer.poll(Duration::from_millis(10));
            record = refused;
        }
    }
    producer.flush(LIMIT).unwrap();
    bytes
}

/// A document.
pub(crate) fn document(number: usize) -> Value {
    json!({
        "name": format!("visit {number}"), "domain": domain(number), "owner": format!("{:032x}", number % 977),
        "kind": "visit", "village": format!("village {}", number % 311), "number": number,
        "weight": 0.5 + (number % 90) as f64, "closed": number.is_multiple_of(3),
        "opened_on": "2026-02-03T10:00:00.123456Z", "notes": "x".repeat(560),
    })
}

/// The message that carries a document.
pub(crate) fn message(topic: &str, number: usize, document: &Value) -> Vec<u8> {
    let message = json!({
        "document_id": format!("{number:032x}"), "data_source_type": "sql", "data_source_name": topic,
        "document_type": "Visit", "domain": domain(number), "is_deletion": false,
        "publish_timestamp": "2026-02-03T10:00:00.123456Z", "document": document,
    });
    serde_json::to_vec(&message).unwrap()
}

/// A message of 1 KB without a document, with every field.
pub(crate) fn stub(number: usize) -> Vec<u8> {
    let stub = json!({
        "document_id": format!("{number:032x}"), "document_rev": null, "data_source_type": "sql",
        "data_source_name": "form-sql", "document_type": "XFormInstance",
        "document_subtype": "http://openrosa.example/visit", "domain": domain(number),
        "is_deletion": false, "publish_timestamp": "2026-02-03T10:00:00.123456Z", "attempts": 0,
        "original_publication_datetime": "2026-02-03T10:00:00.123456Z", "associated_document_id": null,
        "filler": "x".repeat(580),
    });
    serde_json::to_vec(&stub).unwrap()
}

fn domain(number: usize) -> String {
    format!("clinic-{}", number % 50)
}

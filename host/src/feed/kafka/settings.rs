//! The settings of a Kafka feed as librdkafka's: our defaults, what the user may change, and what is ours to decide.

use std::collections::BTreeMap;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::KafkaError;

use crate::feed::Error;

/// Bytes that one feed may hold unread, over all its partitions; what is being received comes on top.
const BUFFER_BYTES: usize = 32 * 1024 * 1024;

/// Messages that one feed may hold unread. librdkafka spends some 400 bytes on each beside its content.
const BUFFER_MESSAGES: usize = 64 * 1024;

/// The least share of a partition, however many there are: below it every fetch would bring only a few messages.
const LEAST_BYTES: usize = 128 * 1024;
const LEAST_MESSAGES: usize = 256;

/// What a broker sends of one partition at once. Whole batches come, so a larger one is received all the same.
const MOST_FETCH_BYTES: usize = 1024 * 1024;

/// Options on which the engine's promises stand, and why a user may not set them.
const OURS: [(&str, &str); 8] = [
    ("bootstrap.servers", "give the addresses as `brokers`"),
    ("metadata.broker.list", "give the addresses as `brokers`"),
    ("enable.auto.commit", "progress is kept in pillowtop's checkpoints, never in Kafka"),
    ("auto.commit.enable", "progress is kept in pillowtop's checkpoints, never in Kafka"),
    ("enable.auto.offset.store", "progress is kept in pillowtop's checkpoints, never in Kafka"),
    ("auto.offset.reset", "a missing offset is an error here, never skipped; `start` says where a new pillow begins"),
    ("enable.partition.eof", "the end of a partition has to be known"),
    ("partition.assignment.strategy", "partitions move one by one between the hosts of a group: cooperative-sticky"),
];

/// What a new client is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// Questions only.
    Asking,
    /// Reading so many partitions.
    Reading(usize),
    /// Reading those of so many partitions that a group gives.
    Member(usize, &'a str),
}

/// The configuration of a client.
///
/// # Errors
/// An option that librdkafka does not know, or with a value that it does not take, or that is ours; named.
pub(super) fn config(
    brokers: &str,
    options: &BTreeMap<String, String>,
    purpose: Purpose<'_>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::new();
    config.set("client.id", "pillowtop");
    config.set("isolation.level", "read_committed");
    config.set("allow.auto.create.topics", "false");
    config.set("socket.keepalive.enable", "true");
    // The default of 10 s would be how much later we come back than the broker does.
    config.set("reconnect.backoff.max.ms", "1000");
    if let Purpose::Reading(partitions) | Purpose::Member(partitions, _) = purpose {
        // librdkafka wants a group for any assignment; it is never joined, and nothing is committed to it.
        config.set("group.id", "pillowtop");
        // How soon a group notices new topics and partitions. The default is five minutes.
        config.set("topic.metadata.refresh.interval.ms", "10000");
        let share = |total: usize, least: usize| (total / partitions.max(1)).max(least);
        let bytes = share(BUFFER_BYTES, LEAST_BYTES);
        config.set("queued.max.messages.kbytes", (bytes / 1024).to_string());
        config.set("queued.min.messages", share(BUFFER_MESSAGES, LEAST_MESSAGES).to_string());
        config.set("fetch.message.max.bytes", bytes.min(MOST_FETCH_BYTES).to_string());
        // How long a partition rests when its queue was full. The default of 1 s is longer than the queue lasts.
        config.set("fetch.queue.backoff.ms", "10");
        // A broker answers one request of a connection after the other, and a fetch waits for so long when there is
        // nothing. With the default of 500 ms an idle feed cannot be told in time where its partitions end.
        config.set("fetch.wait.max.ms", "100");
    }
    for (name, value) in options {
        if let Some((_, why)) = OURS.iter().find(|(ours, _)| ours == name) {
            return Err(Error::Refused(format!("kafka option {name} cannot be set: {why}")));
        }
        if purpose == Purpose::Asking && name.as_str() == "group.id" {
            continue;
        }
        config.set(name, value);
    }
    if let Purpose::Member(_, group) = purpose {
        // What the options say is for all pillows of the feed; a group is one pillow's.
        config.set("group.id", group);
        config.set("partition.assignment.strategy", "cooperative-sticky");
    }
    config.set("bootstrap.servers", brokers);
    config.set("enable.auto.commit", "false");
    config.set("enable.auto.offset.store", "false");
    config.set("auto.offset.reset", "error");
    config.set("enable.partition.eof", "true");
    config.set_log_level(RDKafkaLogLevel::Info);
    config.create_native_config().map_err(|error| refused(&error))?;
    Ok(config)
}

/// What librdkafka has against a configuration. Values are not repeated: some are secrets.
pub(super) fn refused(error: &KafkaError) -> Error {
    Error::Refused(match error {
        KafkaError::ClientConfig(_, why, name, _) => format!("kafka option {name}: {why}"),
        KafkaError::ClientCreation(why) => format!("kafka options: {why}"),
        other => format!("kafka options: {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, value: &str) -> Result<ClientConfig, String> {
        let options = BTreeMap::from([(name.to_owned(), value.to_owned())]);
        config("127.0.0.1:1", &options, Purpose::Reading(4)).map_err(|error| error.to_string())
    }

    #[test]
    fn any_setting_of_librdkafka_passes_through_and_overrides_ours() {
        let config = check("isolation.level", "read_uncommitted").unwrap();
        assert_eq!(config.get("isolation.level"), Some("read_uncommitted"));
        assert_eq!(check("fetch.wait.max.ms", "20").unwrap().get("fetch.wait.max.ms"), Some("20"));
    }

    #[test]
    fn security_passes_through_to_every_client() {
        let options: BTreeMap<String, String> = [
            ("security.protocol", "sasl_ssl"),
            ("sasl.mechanisms", "SCRAM-SHA-512"),
            ("sasl.username", "pillowtop"),
            ("sasl.password", "s3cret"),
            ("ssl.endpoint.identification.algorithm", "https"),
            ("ssl.cipher.suites", "TLS_AES_256_GCM_SHA384"),
            ("enable.ssl.certificate.verification", "true"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        for purpose in [Purpose::Asking, Purpose::Reading(2), Purpose::Member(2, "g")] {
            let config = config("b:1", &options, purpose).unwrap();
            for (name, value) in &options {
                assert_eq!(config.get(name), Some(value.as_str()), "{name} {purpose:?}");
            }
        }
    }

    #[test]
    fn the_group_is_the_pillows_own_and_moves_partitions_one_by_one() {
        let options = BTreeMap::from([("group.id".to_owned(), "of-the-feed".to_owned())]);
        let member = config("b:1", &options, Purpose::Member(2, "pillowtop-forms")).unwrap();
        assert_eq!(member.get("group.id"), Some("pillowtop-forms"));
        assert_eq!(member.get("partition.assignment.strategy"), Some("cooperative-sticky"));
        let alone = config("b:1", &options, Purpose::Reading(2)).unwrap();
        assert_eq!((alone.get("group.id"), alone.get("partition.assignment.strategy")), (Some("of-the-feed"), None));
    }

    #[test]
    fn a_wrong_setting_is_refused_by_name() {
        let unknown = check("ftech.min.bytes", "1").unwrap_err();
        assert_eq!(unknown, "kafka option ftech.min.bytes: No such configuration property: \"ftech.min.bytes\"");
        let value = check("security.protocol", "carrier-pigeon").unwrap_err();
        assert!(value.starts_with("kafka option security.protocol: Invalid value"), "{value}");
    }

    #[test]
    fn what_the_engine_promises_cannot_be_set_away() {
        for (name, _) in OURS {
            assert!(check(name, "true").unwrap_err().starts_with(&format!("kafka option {name} cannot be set: ")));
        }
    }

    #[test]
    fn the_buffer_is_shared_by_the_partitions_and_never_too_small() {
        let kbytes = |partitions| {
            let config = config("b:1", &BTreeMap::new(), Purpose::Reading(partitions)).unwrap();
            config.get("queued.max.messages.kbytes").unwrap().parse::<usize>().unwrap()
        };
        assert_eq!((kbytes(1), kbytes(4), kbytes(1000)), (32 * 1024, 8 * 1024, 128));
    }
}

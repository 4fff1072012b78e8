//! The Kafka feed against a real Apache Kafka.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test says what is wrong by panicking, its helpers too")]

mod broker;
mod brokers;
mod hosts;
mod reading;
mod sink;
#[path = "../support/service.rs"]
mod service;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::FutureExt as _;
use pillowtop::feed::kafka::KafkaSource;
use pillowtop::feed::{Error, Event, Limits, Source as _, Start};
use pillowtop::model::{Checkpoint, Entry, Partition, Position, chain};
use rdkafka::producer::{BaseRecord, Producer as _};
use tokio::time::timeout;

use broker::{Broker, LIMIT, send};
use reading::{ALL, Checkpoints, Reading, begin, open, source, stub};

/// Publishes changes of documents named by the words.
fn publish(broker: &Broker, topic: &str, partition: i32, ids: &str) {
    let stubs: Vec<String> = ids.split(' ').map(stub).collect();
    broker.publish(topic, partition, stubs.iter().map(String::as_str));
}

async fn from_start(broker: &Broker, topics: &[&str]) -> Reading {
    begin(broker, topics, Start::Earliest, &Checkpoints::new()).await.unwrap()
}

fn refusal<T>(result: Result<T, Error>) -> String {
    chain(&result.err().expect("a refusal"))
}

// Acceptance case 20: exactly the subscribed topics are seen.
#[tokio::test]
async fn every_partition_of_the_topics_is_read_in_order_and_no_other_topic() {
    let broker = Broker::shared();
    for (topic, partitions) in [("order-form", 2), ("order-case", 1), ("order-other", 1)] {
        broker.create_topic(topic, partitions).await;
    }
    publish(broker, "order-form", 0, "a b c");
    publish(broker, "order-form", 1, "d");
    publish(broker, "order-case", 0, "e f");
    publish(broker, "order-other", 0, "x");

    let mut feed = open(broker, &["order-form", "order-case"], Start::Earliest).await.unwrap();
    let names: Vec<String> = feed.partitions().await.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(names, ["order-case:0", "order-form:0", "order-form:1"]);

    let mut reading = from_start(broker, &["order-form", "order-case"]).await;
    reading.read_to_end().await.unwrap();
    assert_eq!(reading.seen("order-form", 0), "0=a 1=b 2=c");
    assert_eq!(reading.seen("order-form", 1), "0=d");
    assert_eq!(reading.seen("order-case", 0), "0=e 1=f");
    assert_eq!(reading.seen.len(), 3);

    // The end is said once; what comes later is read, and the end said again.
    publish(broker, "order-case", 0, "g");
    reading.read_to_end().await.unwrap();
    assert_eq!(reading.seen("order-case", 0), "0=e 1=f 2=g");
    assert_eq!(reading.feed.next(ALL).now_or_never().map(Result::unwrap), None);
}

// Acceptance cases 22 and 24.
#[tokio::test]
async fn latest_begins_after_what_is_there_and_its_place_is_pinned_at_once() {
    let broker = Broker::shared();
    broker.create_topic("latest", 2).await;
    publish(broker, "latest", 0, "a b");
    let mut reading = begin(broker, &["latest"], Start::Latest, &Checkpoints::new()).await.unwrap();
    reading.read_to_end().await.unwrap();
    assert_eq!((reading.seen("latest", 0), reading.seen("latest", 1)), (String::new(), String::new()));
    // A host that stops here goes on here, although nothing came.
    assert_eq!((reading.at("latest", 0), reading.at("latest", 1)), (2, 0));

    let stored = reading.checkpoints();
    drop(reading);
    publish(broker, "latest", 0, "c");
    let mut again = begin(broker, &["latest"], Start::Latest, &stored).await.unwrap();
    again.read_to_end().await.unwrap();
    assert_eq!(again.seen("latest", 0), "2=c");
    // Never beyond the end.
    assert_eq!((again.at("latest", 0), again.lag("latest", 0).await), (3, 0));
    assert!(!again.progress.contains_key(&Partition::new("latest", 1)), "an idle partition stays where it was");
}

// Acceptance case 23.
#[tokio::test]
async fn a_feed_resumes_exactly_after_what_was_settled() {
    let broker = Broker::shared();
    broker.create_topic("resume", 1).await;
    publish(broker, "resume", 0, "a b c d e");
    let two = Limits { count: NonZeroUsize::new(2).unwrap(), ..ALL };

    let mut stored = Checkpoints::new();
    let mut all = Vec::new();
    for _ in 0..3 {
        let mut reading = begin(broker, &["resume"], Start::Earliest, &stored).await.unwrap();
        reading.next(two).await.unwrap();
        all.push(reading.seen("resume", 0));
        stored = reading.checkpoints();
    }
    assert_eq!(all, ["0=a 1=b", "2=c 3=d", "4=e"]);
    let mut reading = begin(broker, &["resume"], Start::Earliest, &stored).await.unwrap();
    reading.read_to_end().await.unwrap();
    assert_eq!(reading.seen("resume", 0), "");
}

#[tokio::test]
async fn a_read_keeps_to_its_limits_and_a_larger_message_comes_alone() {
    let broker = Broker::shared();
    broker.create_topic("limits", 1).await;
    let large = stub(&"x".repeat(1000));
    broker.publish("limits", 0, [stub("a").as_str(), &stub("b"), &large, &stub("c")]);
    let limits = Limits { count: NonZeroUsize::new(10).unwrap(), bytes: NonZeroUsize::new(200).unwrap() };
    let mut reading = from_start(broker, &["limits"]).await;
    let mut counts = Vec::new();
    while let Event::Read(read) = reading.next(limits).await.unwrap() {
        counts.push(read.entries.len());
    }
    assert_eq!(counts, [2, 1, 1]);
}

#[tokio::test]
async fn control_records_and_aborted_messages_are_gaps_that_progress_moves_over() {
    let broker = Broker::shared();
    broker.create_topic("transactions", 1).await;
    let producer = broker.transactions("transactions");
    for (ids, commit) in [("a b", true), ("x y", false), ("c", true)] {
        producer.begin_transaction().unwrap();
        ids.split(' ').for_each(|id| send(&producer, "transactions", 0, &stub(id)));
        if commit {
            producer.commit_transaction(LIMIT).unwrap();
        } else {
            producer.flush(LIMIT).unwrap();
            producer.abort_transaction(LIMIT).unwrap();
        }
    }
    let mut reading = from_start(broker, &["transactions"]).await;
    reading.read_to_end().await.unwrap();
    // 2, 5 and 7 are control records, 3 and 4 were aborted.
    assert_eq!(reading.seen("transactions", 0), "0=a 1=b 6=c");
    assert_eq!((reading.at("transactions", 0), reading.lag("transactions", 0).await), (8, 0));

    // What is not committed yet is not there yet, and not passed either.
    producer.begin_transaction().unwrap();
    send(&producer, "transactions", 0, &stub("d"));
    producer.flush(LIMIT).unwrap();
    let mut second = begin(broker, &["transactions"], Start::Earliest, &reading.checkpoints()).await.unwrap();
    second.read_to_end().await.unwrap();
    assert_eq!(second.seen("transactions", 0), "");
    producer.commit_transaction(LIMIT).unwrap();
    second.until(&Partition::new("transactions", 0), 1).await;
    assert_eq!(second.seen("transactions", 0), "8=d");
    second.read_to_end().await.unwrap();
    assert_eq!(second.at("transactions", 0), 10);
}

// Acceptance case 21.
#[tokio::test]
async fn messages_that_are_gone_are_an_error_with_both_offsets() {
    let broker = Broker::shared();
    broker.create_topic("gone", 1).await;
    publish(broker, "gone", 0, "a b c d");
    let mut reading = from_start(broker, &["gone"]).await;
    reading.read_to_end().await.unwrap();
    let mut stored = reading.checkpoints();
    broker.delete_before("gone", 0, 3).await;

    let at = |stored: &mut Checkpoints, position| {
        stored.values_mut().for_each(|checkpoint| checkpoint.position = Position::number(position));
    };
    at(&mut stored, 2);
    let refused = refusal(begin(broker, &["gone"], Start::Earliest, &stored).await);
    assert_eq!(refused, "First available topic offset for gone:0 is 3 but needed 2.");

    at(&mut stored, 3);
    let mut exact = begin(broker, &["gone"], Start::Earliest, &stored).await.unwrap();
    exact.read_to_end().await.unwrap();
    assert_eq!(exact.seen("gone", 0), "3=d");

    // All that was ever there is gone, but all of it was read: nothing is lost.
    broker.delete_before("gone", 0, 4).await;
    let mut at_end = begin(broker, &["gone"], Start::Earliest, &exact.checkpoints()).await.unwrap();
    at_end.read_to_end().await.unwrap();
    assert_eq!(at_end.seen("gone", 0), "");

    at(&mut stored, 9);
    let refused = refusal(begin(broker, &["gone"], Start::Earliest, &stored).await);
    assert!(
        refused.contains("ends at 4") && refused.contains("pillowtop checkpoint set PILLOW gone:0 4 --why"),
        "{refused}"
    );
}

#[tokio::test]
async fn messages_that_go_while_reading_are_an_error_too() {
    let broker = Broker::shared();
    broker.create_topic("cut", 1).await;
    let stubs: Vec<String> = (0..40).map(|at| stub(&format!("{at}-{}", "x".repeat(50_000)))).collect();
    broker.publish("cut", 0, stubs.iter().map(String::as_str));
    // One message at a time is fetched ahead, so that the cut comes before the rest.
    let mut slow = source(broker);
    slow.options = [("queued.min.messages", "1"), ("fetch.message.max.bytes", "1000")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    let mut feed = slow.open(&["cut".into()], Start::Earliest).await.unwrap();
    let from = pillowtop::feed::From { partition: Partition::new("cut", 0), checkpoint: None };
    feed.start(vec![from]).await.unwrap();
    let mut reading = Reading { feed, seen: BTreeMap::new(), progress: BTreeMap::new() };
    let one = Limits { count: NonZeroUsize::MIN, ..ALL };
    reading.next(one).await.unwrap();
    broker.delete_before("cut", 0, 40).await;
    publish(broker, "cut", 0, "after");
    let error = loop {
        if let Err(error) = reading.next(one).await {
            break error.to_string();
        }
    };
    let expected = format!("First available topic offset for cut:0 is 40 but needed {}.", reading.at("cut", 0));
    assert_eq!(error, expected);
}

// Acceptance case 26: the pause is the end of what there is, said once.
#[tokio::test]
async fn a_pause_between_messages_is_said_once_each_time() {
    let broker = Broker::shared();
    broker.create_topic("pauses", 1).await;
    let mut reading = from_start(broker, &["pauses"]).await;
    let mut said = Vec::new();
    for ids in ["1 2", "3 4", "5"] {
        publish(broker, "pauses", 0, ids);
        let before = reading.seen.values().map(Vec::len).sum::<usize>();
        reading.until(&Partition::new("pauses", 0), before + ids.split(' ').count()).await;
        reading.read_to_end().await.unwrap();
        assert_eq!(reading.feed.next(ALL).now_or_never().map(Result::unwrap), None, "said once");
        said.push(reading.seen("pauses", 0));
    }
    assert_eq!(said, ["0=1 1=2", "0=1 1=2 2=3 3=4", "0=1 1=2 2=3 3=4 4=5"]);
}

// Acceptance case 27: progress is there to commit where something was consumed, and nowhere else.
#[tokio::test]
async fn only_a_partition_that_was_read_further_has_progress_to_commit() {
    let broker = Broker::shared();
    broker.create_topic("idle", 2).await;
    publish(broker, "idle", 0, "a b c");
    let mut reading = from_start(broker, &["idle"]).await;
    reading.read_to_end().await.unwrap();
    let stored = reading.checkpoints();
    publish(broker, "idle", 0, "d e");
    let mut again = begin(broker, &["idle"], Start::Earliest, &stored).await.unwrap();
    again.read_to_end().await.unwrap();
    let moved: Vec<_> = again.progress.values().map(|moved| (moved.partition.number, moved.next.as_number())).collect();
    assert_eq!(moved, [(0, 5)]);
    // Committed as far as it is consumed: nothing moves any more.
    let mut idle = begin(broker, &["idle"], Start::Earliest, &again.checkpoints()).await.unwrap();
    idle.read_to_end().await.unwrap();
    assert!(idle.progress.is_empty());
}

#[tokio::test]
async fn a_new_pillow_may_begin_at_a_time() {
    let broker = Broker::shared();
    broker.create_topic("times", 2).await;
    let producer = broker.producer();
    for (at, id) in [(1_000, "a"), (2_000, "b"), (3_000, "c")] {
        let stub = stub(id);
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to("times").partition(0).payload(stub.as_bytes()).timestamp(at);
        producer.send(record).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(LIMIT).unwrap();
    let time = "1970-01-01T00:00:01.5Z".parse().unwrap();
    let mut reading = begin(broker, &["times"], Start::At(time), &Checkpoints::new()).await.unwrap();
    reading.read_to_end().await.unwrap();
    assert_eq!(reading.seen("times", 0), "1=b 2=c");
    // Nothing is there at or after the time: it begins at the end, and keeps that.
    let late = "2100-01-01T00:00:00Z".parse().unwrap();
    let mut reading = begin(broker, &["times"], Start::At(late), &Checkpoints::new()).await.unwrap();
    reading.read_to_end().await.unwrap();
    assert_eq!((reading.seen("times", 0), reading.at("times", 0), reading.at("times", 1)), (String::new(), 3, 0));
}

#[tokio::test]
async fn a_compacted_topic_is_read_over_its_gaps_and_its_tombstones_are_deletions() {
    let broker = Broker::shared();
    let settings = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("min.compaction.lag.ms", "0"),
        ("delete.retention.ms", "3600000"),
    ];
    broker.create_topic_with("compacted", &settings).await;
    let producer = broker.producer();
    let send_keyed = |id: &str, stub: Option<&str>| {
        let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to("compacted").partition(0).key(id.as_bytes());
        let record = match stub {
            Some(stub) => record.payload(stub.as_bytes()),
            None => record,
        };
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.flush(LIMIT).unwrap();
    };
    for _ in 0..3 {
        ["a", "b"].iter().for_each(|id| send_keyed(id, Some(&stub(id))));
    }
    send_keyed("b", None);
    // The cleaner comes when it likes, and only for segments that are closed: each look adds a message that closes one.
    let mut looks = 0;
    let reading = loop {
        send_keyed("last", Some(&stub("last")));
        looks += 1;
        let mut reading = from_start(broker, &["compacted"]).await;
        reading.read_to_end().await.unwrap();
        let seen = reading.seen("compacted", 0);
        if !seen.contains("0=a") && !seen.contains("5=b") {
            break reading;
        }
        assert!(looks < 300, "never compacted: {seen}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let seen = reading.seen("compacted", 0);
    assert!(seen.starts_with("4=a 6=b "), "{seen}");
    assert_eq!(reading.at("compacted", 0), 7 + looks, "progress goes to the end");
}

// Acceptance case 28.
#[tokio::test]
async fn what_is_no_change_is_handed_out_with_its_bytes_and_unknown_fields_are_no_reason() {
    let broker = Broker::shared();
    broker.create_topic("foreign", 1).await;
    let newer = r#"{"document_id":"a","data_source_name":"form-sql","shiny_new_field":{"x":1}}"#;
    broker.publish("foreign", 0, [newer, "{\"document_id\":", "\u{1}\u{2}"]);
    let producer = broker.producer();
    let tombstone: BaseRecord<'_, [u8], [u8]> = BaseRecord::to("foreign").key(b"gone-1");
    producer.send(tombstone).map_err(|(error, _)| error).unwrap();
    producer.flush(LIMIT).unwrap();

    let mut reading = from_start(broker, &["foreign"]).await;
    let mut entries = Vec::new();
    while let Event::Read(read) = reading.next(ALL).await.unwrap() {
        entries.extend(read.entries);
    }
    let [Entry::Change(newer), Entry::Undecodable(cut), Entry::Undecodable(noise), Entry::Change(deleted)] =
        &entries[..]
    else {
        panic!("{entries:?}")
    };
    assert_eq!(newer.key.id.as_ref(), "a");
    assert!(newer.published_at.is_some(), "the broker's time stands in");
    assert_eq!((cut.position.as_number(), &cut.bytes[..]), (1, &b"{\"document_id\":"[..]));
    assert!(cut.reason.starts_with("not a change message: EOF"), "{}", cut.reason);
    assert_eq!((noise.position.as_number(), &noise.bytes[..]), (2, &b"\x01\x02"[..]));
    assert_eq!((deleted.key.to_string(), deleted.deleted), ("foreign/gone-1".to_owned(), true));
}

#[tokio::test]
async fn a_cancelled_wait_loses_nothing() {
    let broker = Broker::shared();
    broker.create_topic("cancel", 2).await;
    let mut reading = from_start(broker, &["cancel"]).await;
    let producer = broker.producer();
    let few = Limits { count: NonZeroUsize::new(3).unwrap(), ..ALL };
    let mut cancelled = 0;
    for at in 0..200 {
        send(&producer, "cancel", at % 2, &stub(&at.to_string()));
        producer.poll(Duration::ZERO);
        // Given up at once, and given up in the middle of waiting.
        match reading.feed.next(few).now_or_never() {
            Some(event) => reading.note(&event.unwrap()),
            None => cancelled += 1,
        }
        match timeout(Duration::from_millis(1), reading.feed.next(few)).await {
            Ok(event) => reading.note(&event.unwrap()),
            Err(_elapsed) => cancelled += 1,
        }
    }
    producer.flush(LIMIT).unwrap();
    for number in 0..2 {
        reading.until(&Partition::new("cancel", number), 100).await;
        let expected: Vec<String> = (0..100).map(|at| format!("{at}={}", 2 * at + number)).collect();
        assert_eq!(reading.seen("cancel", number), expected.join(" "));
    }
    assert!(cancelled > 50, "only {cancelled} waits were cancelled");
}

#[tokio::test]
async fn a_busy_partition_does_not_starve_a_quiet_one() {
    let broker = Broker::shared();
    broker.create_topic("fair", 2).await;
    let busy: Vec<String> = (0..20_000).map(|at| stub(&at.to_string())).collect();
    broker.publish("fair", 0, busy.iter().map(String::as_str));
    let mut reading = from_start(broker, &["fair"]).await;
    let some = Limits { count: NonZeroUsize::new(100).unwrap(), ..ALL };
    reading.next(some).await.unwrap();
    publish(broker, "fair", 1, "quiet");
    reading.until(&Partition::new("fair", 1), 1).await;
    let busy = Partition::new("fair", 0);
    assert!(reading.seen[&busy].len() < 20_000, "the quiet one came before the busy one was done");
    reading.until(&busy, 20_000).await;
}

// The engine gives up on an answer after half a second: it reads nothing while it waits for it.
#[tokio::test]
async fn an_idle_feed_is_told_in_time_where_its_partitions_end() {
    let broker = Broker::shared();
    broker.create_topic("told-in-time", 1).await;
    publish(broker, "told-in-time", 0, "a b");
    let mut reading = from_start(broker, &["told-in-time"]).await;
    reading.read_to_end().await.unwrap();
    for _ in 0..5 {
        // Idle: the broker holds a fetch.
        assert!(timeout(Duration::from_millis(300), reading.feed.next(ALL)).await.is_err());
        let lag = timeout(Duration::from_millis(500), reading.lag("told-in-time", 0)).await;
        assert_eq!(lag, Ok(0));
    }
}

#[tokio::test]
async fn a_topic_that_was_made_again_is_refused_with_the_command_that_resolves_it() {
    let broker = Broker::shared();
    broker.create_topic("again", 1).await;
    publish(broker, "again", 0, "a");
    let mut reading = from_start(broker, &["again"]).await;
    reading.read_to_end().await.unwrap();
    let stored = reading.checkpoints();

    broker.delete_topic("again").await;
    broker.create_topic("again", 1).await;
    publish(broker, "again", 0, "new-0 new-1 new-2");

    // While it is read: found when the ends are asked for, and then also by whoever reads.
    let at = [(Partition::new("again", 0), Position::number(1))];
    assert!(matches!(reading.feed.ends(&at).await, Err(Error::Incarnation { .. })));
    let error = loop {
        if let Err(error) = reading.next(ALL).await {
            break error;
        }
    };
    assert!(matches!(error, Error::Incarnation { .. }), "{error}");

    // And when it is started.
    let old = &stored[&Partition::new("again", 0)].incarnation;
    let mut feed = open(broker, &["again"], Start::Earliest).await.unwrap();
    let from = |checkpoint| vec![pillowtop::feed::From { partition: Partition::new("again", 0), checkpoint }];
    let refused = refusal(feed.start(from(Some(stored[&Partition::new("again", 0)].clone()))).await);
    let (before, command) = refused.split_once(": pillowtop checkpoint set PILLOW again:0 0 --incarnation ").unwrap();
    let (incarnation, _) = command.split_once(" --why").unwrap();
    assert!(before.contains(&**old), "{refused}");

    // What the command would store is accepted.
    let fixed = Checkpoint { incarnation: incarnation.into(), position: Position::number(0) };
    feed.start(from(Some(fixed))).await.unwrap();
    let mut reading = Reading { feed, seen: BTreeMap::new(), progress: BTreeMap::new() };
    reading.read_to_end().await.unwrap();
    assert_eq!(reading.seen("again", 0), "0=new-0 1=new-1 2=new-2");
}

#[tokio::test]
async fn an_unknown_topic_is_refused_with_those_that_there_are() {
    let broker = Broker::shared();
    broker.create_topic("known", 1).await;
    let refused = refusal(open(broker, &["unknown"], Start::Earliest).await);
    assert!(refused.starts_with("topic unknown does not exist; there are: "), "{refused}");
    assert!(refused.contains("known"), "{refused}");
}

#[tokio::test]
async fn a_wrong_option_is_refused_by_name_and_its_value_is_not_shown() {
    let mut source = source(Broker::shared());
    source.options.insert("sasl.pasword".to_owned(), "s3cret".to_owned());
    let refused = refusal(source.open(&["known".into()], Start::Earliest).await);
    assert_eq!(refused, "kafka option sasl.pasword: No such configuration property: \"sasl.pasword\"");
    assert!(!format!("{source:?}").contains("s3cret"));
}

#[tokio::test]
async fn a_cluster_that_nobody_answers_for_is_an_outage_that_names_it() {
    let source = KafkaSource::new("127.0.0.1:1".to_owned(), BTreeMap::new());
    let outage = refusal(source.open(&["form".into()], Start::Earliest).await);
    assert!(
        outage.starts_with("feed is unavailable: could not ask for topics at kafka brokers 127.0.0.1:1: "),
        "{outage}"
    );
    assert!(outage.contains("refused"), "{outage}");
}

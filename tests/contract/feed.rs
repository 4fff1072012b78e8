//! What every feed promises, run against every adapter.
//!
//! An adapter takes part with a [`Subject`]: a log that tests append to, and a source over it. The cases are functions
//! of a subject; `contract!` makes one module of tests for each adapter, so a new one is a subject and one line.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the lint's exemption for tests does not cover their helpers")]

#[path = "../kafka/broker.rs"]
mod broker;
#[path = "couch_subject.rs"]
mod couch_subject;
#[path = "../support/couchdb.rs"]
mod couchdb;
#[path = "kafka_subject.rs"]
mod kafka_subject;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "postgres_subject.rs"]
mod postgres_subject;
#[path = "../support/service.rs"]
mod service;
#[path = "sqlite_subject.rs"]
mod sqlite_subject;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt;
use pillowtop::feed::memory::MemoryLog;
use pillowtop::feed::{Error, Event, Feed, From, Limits, Read, Source, Start};
use pillowtop::model::{Checkpoint, Entry, Partition, Position};
use tokio::time::timeout;

/// The bound of every wait; a healthy adapter takes a hundredth of it.
const PATIENCE: Duration = Duration::from_secs(20);

/// The topic that cases read, with [`PARTITIONS`] partitions; `other` is a second one that they do not read.
const TOPIC: &str = "form";
const OTHER: &str = "case";
const PARTITIONS: u32 = 3;

/// An adapter under test.
#[async_trait]
trait Subject: Send + Sync {
    /// Appends messages to a partition, in one go. A document of the log is called `name`, or `name-…` where the
    /// adapter needs to choose ids by itself.
    async fn append(&self, topic: &str, partition: u32, names: &[&str]);

    /// Appends something that is no change message.
    async fn append_garbage(&self, topic: &str, partition: u32);

    /// Waits until what was appended counts as there: a log that other work shares may hold it back for a moment.
    async fn quiet(&self) {}

    /// Removes the oldest entries of a partition, but for so many.
    async fn keep_last(&self, topic: &str, partition: u32, count: usize);

    /// Makes the log again: same names, nothing in it.
    async fn make_again(&self);

    /// A position beyond the end of the log, where `position` is the end of one of its partitions.
    fn beyond(&self, position: &Position) -> Position {
        Position::number(position.as_number() + 5)
    }

    /// A source over the log.
    fn source(&self) -> Arc<dyn Source>;
}

fn partition(number: u32) -> Partition {
    Partition::new(TOPIC, number)
}

fn limits(count: usize, bytes: usize) -> Limits {
    Limits { count: NonZeroUsize::new(count).unwrap(), bytes: NonZeroUsize::new(bytes).unwrap() }
}

const WIDE: usize = 1 << 20;

async fn open(subject: &dyn Subject, start: Start) -> Box<dyn Feed> {
    subject.source().open(&[Arc::from(TOPIC)], start).await.unwrap()
}

async fn started(subject: &dyn Subject, start: Start) -> Box<dyn Feed> {
    let mut feed = open(subject, start).await;
    let from = feed.partitions().await.unwrap().into_iter();
    feed.start(from.map(|partition| From { partition, checkpoint: None }).collect()).await.unwrap();
    feed
}

async fn resumed(subject: &dyn Subject, partition: Partition, checkpoint: Checkpoint) -> Result<Box<dyn Feed>, Error> {
    let mut feed = open(subject, Start::Earliest).await;
    feed.start(vec![From { partition, checkpoint: Some(checkpoint) }]).await?;
    Ok(feed)
}

async fn next(feed: &mut Box<dyn Feed>) -> Event {
    next_within(feed, limits(1000, WIDE)).await
}

async fn next_within(feed: &mut Box<dyn Feed>, limits: Limits) -> Event {
    timeout(PATIENCE, feed.next(limits)).await.expect("the feed says something in time").unwrap()
}

async fn next_read(feed: &mut Box<dyn Feed>) -> Read {
    loop {
        if let Event::Read(read) = next(feed).await {
            return read;
        }
    }
}

/// Reads until the end is said.
async fn rest(feed: &mut Box<dyn Feed>, limits: Limits) -> Vec<Read> {
    let mut reads = Vec::new();
    while let Event::Read(read) = next_within(feed, limits).await {
        reads.push(read);
    }
    reads
}

fn names(read: &Read) -> Vec<String> {
    let name = |entry: &Entry| match entry {
        Entry::Change(change) => change.key.id.split('-').next().unwrap().to_owned(),
        Entry::Undecodable(_) => "?".to_owned(),
    };
    read.entries.iter().map(name).collect()
}

fn names_by_partition(reads: &[Read]) -> BTreeMap<u32, Vec<String>> {
    let mut found: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for read in reads {
        found.entry(read.progress.partition.number).or_default().extend(names(read));
    }
    found
}

fn after(read: &Read) -> Checkpoint {
    Checkpoint { incarnation: Arc::clone(&read.progress.incarnation), position: read.progress.next.clone() }
}

/// Each read starts where the one before it in its partition ended, and holds what lies between.
fn assert_connected(reads: &[Read]) {
    let mut ends: BTreeMap<Partition, Position> = BTreeMap::new();
    for Read { progress, entries } in reads {
        if let Some(end) = ends.insert(progress.partition.clone(), progress.next.clone()) {
            assert_eq!(end, progress.from, "{}", progress.partition);
        }
        let mut at = progress.from.clone();
        for entry in entries {
            let position = match entry {
                Entry::Change(change) => &change.position,
                Entry::Undecodable(undecodable) => &undecodable.position,
            };
            assert!(at <= *position && *position < progress.next, "{position} in {progress:?}");
            at = position.clone();
        }
    }
}

async fn partitions_are_all_of_the_topic_in_order(subject: &dyn Subject) {
    let mut feed = open(subject, Start::Earliest).await;
    assert_eq!(feed.partitions().await.unwrap(), [partition(0), partition(1), partition(2)]);
}

async fn every_partition_is_read_in_order_and_other_topics_are_not(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a", "b"]).await;
    subject.append(OTHER, 0, &["x"]).await;
    subject.append(TOPIC, 2, &["c"]).await;
    subject.append(TOPIC, 0, &["d"]).await;
    let reads = rest(&mut started(subject, Start::Earliest).await, limits(1000, WIDE)).await;
    assert_connected(&reads);
    let expected = BTreeMap::from([(0, vec!["a", "b", "d"]), (2, vec!["c"])]);
    assert_eq!(format!("{:?}", names_by_partition(&reads)), format!("{expected:?}"));
}

async fn a_read_holds_no_more_than_the_limits(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a", "b", "c", "d", "e"]).await;
    let mut by_count = started(subject, Start::Earliest).await;
    let reads = rest(&mut by_count, limits(2, WIDE)).await;
    assert_eq!(reads.iter().map(names).collect::<Vec<_>>(), [vec!["a", "b"], vec!["c", "d"], vec!["e"]]);
    assert_connected(&reads);
    // An entry that is larger than the limit is read alone.
    let mut by_bytes = started(subject, Start::Earliest).await;
    let reads = rest(&mut by_bytes, limits(1000, 1)).await;
    assert_eq!(reads.iter().map(|read| read.entries.len()).collect::<Vec<_>>(), [1; 5]);
    assert_connected(&reads);
}

async fn partitions_take_turns(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a"; 400]).await;
    subject.append(TOPIC, 1, &["b"; 2]).await;
    let mut feed = started(subject, Start::Earliest).await;
    let reads = rest(&mut feed, limits(2, WIDE)).await;
    let number = |read: &Read| read.progress.partition.number;
    let neighbour = reads.iter().position(|read| number(read) == 1).unwrap();
    let last = reads.iter().rposition(|read| number(read) == 0).unwrap();
    assert!(neighbour < last, "a long backlog held back its neighbour until read {neighbour} of {}", reads.len());
}

async fn the_end_is_said_once_until_there_is_more(subject: &dyn Subject) {
    let mut feed = started(subject, Start::Earliest).await;
    assert_eq!(next(&mut feed).await, Event::AtEnd);
    let again = timeout(Duration::from_millis(50), feed.next(limits(1000, WIDE))).await;
    assert!(again.is_err(), "{again:?}");
    subject.append(TOPIC, 1, &["a"]).await;
    assert_eq!(names(&next_read(&mut feed).await), ["a"]);
    assert_eq!(next(&mut feed).await, Event::AtEnd);
}

async fn a_lone_change_is_handed_out_to_who_waits_for_it(subject: &dyn Subject) {
    let mut feed = started(subject, Start::Earliest).await;
    assert_eq!(next(&mut feed).await, Event::AtEnd);
    for name in ["a", "b", "c"] {
        let one = [name];
        let (event, ()) = tokio::join!(next(&mut feed), subject.append(TOPIC, 1, &one));
        let Event::Read(read) = event else { panic!("the end was said again") };
        assert_eq!(names(&read), one);
        assert_eq!(next(&mut feed).await, Event::AtEnd);
    }
}

async fn latest_begins_after_what_is_there(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a", "b"]).await;
    subject.quiet().await;
    let mut feed = started(subject, Start::Latest).await;
    // The place where it begins is handed out, so that it is kept; it holds no entry.
    let reads = rest(&mut feed, limits(1000, WIDE)).await;
    assert!(reads.iter().all(|read| read.entries.is_empty()), "{reads:?}");
    let mut begun: Vec<Partition> = reads.iter().map(|read| read.progress.partition.clone()).collect();
    begun.sort();
    assert_eq!(begun, [partition(0), partition(1), partition(2)]);
    subject.append(TOPIC, 0, &["c"]).await;
    assert_eq!(names(&next_read(&mut feed).await), ["c"]);
    // Whoever settled it and begins again skips nothing.
    let begin = reads.iter().find(|read| read.progress.partition == partition(0)).map(after).unwrap();
    let mut again = resumed(subject, partition(0), begin).await.unwrap();
    assert_eq!(names(&next_read(&mut again).await), ["c"]);
}

async fn a_feed_resumes_where_the_progress_says(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a", "b", "c"]).await;
    let Event::Read(read) = next_within(&mut started(subject, Start::Earliest).await, limits(2, WIDE)).await else {
        panic!("there is something to read")
    };
    assert_eq!(names(&read), ["a", "b"]);
    let mut feed = resumed(subject, partition(0), after(&read)).await.unwrap();
    let reads = rest(&mut feed, limits(1000, WIDE)).await;
    assert_eq!(names_by_partition(&reads), BTreeMap::from([(0, vec!["c".to_owned()])]));
    assert_eq!(reads[0].progress.from, read.progress.next);
    // At the very end there is nothing, and that is no error.
    let mut feed = resumed(subject, partition(0), after(&reads[reads.len() - 1])).await.unwrap();
    assert_eq!(next(&mut feed).await, Event::AtEnd);
}

async fn what_is_no_change_is_handed_out_with_its_bytes_in_its_place(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a"]).await;
    subject.append_garbage(TOPIC, 0).await;
    subject.append(TOPIC, 0, &["b"]).await;
    let reads = rest(&mut started(subject, Start::Earliest).await, limits(1000, WIDE)).await;
    assert_eq!(names_by_partition(&reads)[&0], ["a", "?", "b"]);
    let undecodable = reads.iter().flat_map(|read| &read.entries).find_map(|entry| match entry {
        Entry::Undecodable(undecodable) => Some(undecodable),
        Entry::Change(_) => None,
    });
    let undecodable = undecodable.unwrap();
    assert_eq!(undecodable.bytes.as_ref(), b"garbage");
    assert!(undecodable.reason.starts_with("not a change message"), "{}", undecodable.reason);
}

async fn nothing_is_lost_when_next_is_cancelled(subject: &dyn Subject) {
    let all: Vec<String> = (0..200).map(|number| format!("n{number}")).collect();
    let mut feed = started(subject, Start::Earliest).await;
    let (mut found, mut polls) = (Vec::new(), 0);
    for names_now in all.chunks(20) {
        subject.append(TOPIC, 0, &names_now.iter().map(String::as_str).collect::<Vec<_>>()).await;
        let expected = found.len() + names_now.len();
        let reading = async {
            while found.len() < expected {
                // Polled a few times and dropped wherever it stands then.
                polls += 1;
                let mut attempt = feed.next(limits(7, WIDE)).boxed();
                for _ in 0..polls % 5 + 1 {
                    if let Some(event) = (&mut attempt).now_or_never() {
                        if let Event::Read(read) = event.unwrap() {
                            found.extend(names(&read));
                        }
                        break;
                    }
                    tokio::time::sleep(Duration::from_micros(200)).await;
                }
            }
        };
        timeout(PATIENCE, reading).await.expect("everything is read in time");
    }
    assert_eq!(found, all);
}

async fn an_entry_that_was_cut_off_unread_is_missed_by_name(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a", "b", "c"]).await;
    let reads = rest(&mut started(subject, Start::Earliest).await, limits(1, WIDE)).await;
    let places: Vec<Checkpoint> = reads.iter().filter(|read| !read.entries.is_empty()).map(after).collect();
    subject.keep_last(TOPIC, 0, 1).await;
    // Acceptance case 21: one before the first that there is, then exactly it.
    let refused = resumed(subject, partition(0), places[0].clone()).await.err().unwrap().to_string();
    let needed = format!("but needed {}.", places[0].position);
    assert!(refused.starts_with("First available topic offset for form:0 is "), "{refused}");
    assert!(refused.ends_with(&needed), "{refused}");
    let mut feed = resumed(subject, partition(0), places[1].clone()).await.unwrap();
    assert_eq!(names(&next_read(&mut feed).await), ["c"]);
    // Who has no checkpoint begins with what is left.
    assert_eq!(names(&next_read(&mut started(subject, Start::Earliest).await).await), ["c"]);
}

async fn another_log_of_the_same_name_is_recognised(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a"]).await;
    let read = next_read(&mut started(subject, Start::Earliest).await).await;
    subject.make_again().await;
    subject.append(TOPIC, 0, &["a", "b"]).await;
    let refused = resumed(subject, partition(0), after(&read)).await.err().unwrap();
    assert!(matches!(refused, Error::Incarnation { .. }), "{refused:?}");
}

async fn a_checkpoint_beyond_the_end_is_refused(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a"]).await;
    let read = next_read(&mut started(subject, Start::Earliest).await).await;
    let beyond = subject.beyond(&read.progress.next);
    let checkpoint = Checkpoint { incarnation: read.progress.incarnation, position: beyond };
    let refused = resumed(subject, partition(0), checkpoint).await.err().unwrap();
    assert!(matches!(refused, Error::Incarnation { .. }), "{refused:?}");
}

async fn lag_is_counted_from_the_given_place(subject: &dyn Subject) {
    subject.append(TOPIC, 0, &["a", "b", "c"]).await;
    let mut feed = started(subject, Start::Earliest).await;
    let Event::Read(read) = next_within(&mut feed, limits(1, WIDE)).await else { panic!("there is something to read") };
    let places =
        [(partition(0), read.progress.from), (partition(0), read.progress.next), (partition(1), Position::number(0))];
    let ends = feed.ends(&places).await.unwrap();
    assert_eq!(ends.iter().map(|end| end.lag).collect::<Vec<_>>(), [Some(3), Some(2), Some(0)]);
    let last = rest(&mut feed, limits(1000, WIDE)).await.pop().unwrap();
    assert_eq!(ends[0].position, last.progress.next);
    let ends = feed.ends(&[(partition(0), last.progress.next)]).await.unwrap();
    assert_eq!(ends[0].lag, Some(0));
}

macro_rules! contract {
    ($adapter:ident, $subject:expr) => {
        contract!($adapter, $subject; [
            partitions_are_all_of_the_topic_in_order
            every_partition_is_read_in_order_and_other_topics_are_not
            a_read_holds_no_more_than_the_limits
            the_end_is_said_once_until_there_is_more
            a_lone_change_is_handed_out_to_who_waits_for_it
            latest_begins_after_what_is_there
            a_feed_resumes_where_the_progress_says
            what_is_no_change_is_handed_out_with_its_bytes_in_its_place
            nothing_is_lost_when_next_is_cancelled
            an_entry_that_was_cut_off_unread_is_missed_by_name
            another_log_of_the_same_name_is_recognised
            a_checkpoint_beyond_the_end_is_refused
            lag_is_counted_from_the_given_place
        ]);
    };
    ($adapter:ident, $subject:expr; [$($case:ident)*]) => {
        mod $adapter {
            $(#[tokio::test]
            async fn $case() {
                super::$case(&$subject.await).await;
            })*
        }
    };
}

contract!(memory, super::memory());
contract!(changelog, super::sqlite_subject::sqlite_log());
contract!(postgres_changelog, super::postgres_subject::postgres_log());
contract!(kafka, super::kafka_subject::kafka());
// One partition, whose changes are never cut off and never garbage; tests/couchdb.rs has what is its own.
contract!(couch, super::couch_subject::databases(); [
    a_read_holds_no_more_than_the_limits
    the_end_is_said_once_until_there_is_more
    a_lone_change_is_handed_out_to_who_waits_for_it
    a_feed_resumes_where_the_progress_says
    nothing_is_lost_when_next_is_cancelled
    another_log_of_the_same_name_is_recognised
    a_checkpoint_beyond_the_end_is_refused
]);

async fn memory() -> MemoryLog {
    MemoryLog::new(&[TOPIC, OTHER], PARTITIONS)
}

#[async_trait]
impl Subject for MemoryLog {
    async fn append(&self, topic: &str, partition: u32, names: &[&str]) {
        for name in names {
            let message = format!(r#"{{"document_id":"{name}","data_source_name":"{topic}"}}"#);
            self.push(&Partition::new(topic, partition), message);
        }
    }

    async fn append_garbage(&self, topic: &str, partition: u32) {
        self.push(&Partition::new(topic, partition), "garbage");
    }

    async fn keep_last(&self, topic: &str, partition: u32, count: usize) {
        let partition = Partition::new(topic, partition);
        let end = self.end(&partition).as_number();
        self.truncate(&partition, &Position::number(end - count as u64));
    }

    async fn make_again(&self) {
        self.reset();
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.clone())
    }
}

// Only of feeds that have their whole backlog at hand; Kafka's arrives partition by partition, and its own suite holds
// that partitions take turns there.
#[tokio::test]
async fn partitions_of_a_memory_log_take_turns() {
    partitions_take_turns(&memory().await).await;
}

#[tokio::test]
async fn partitions_of_a_change_log_take_turns() {
    partitions_take_turns(&sqlite_subject::sqlite_log().await).await;
}

#[tokio::test]
async fn partitions_of_a_change_log_in_postgres_take_turns() {
    partitions_take_turns(&postgres_subject::postgres_log().await).await;
}

//! What the tests do with a feed: open it, start it where they say, and read.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use pillowtop::feed::kafka::KafkaSource;
use pillowtop::feed::{Error, Event, Feed, From, Limits, Source, Start};
use pillowtop::model::{Checkpoint, Entry, Partition, Progress};
use tokio::time::timeout;

use crate::broker::Broker;

/// No event may take longer.
pub(crate) const EVENT_LIMIT: Duration = Duration::from_secs(60);

/// As much as a test will ever publish.
pub(crate) const ALL: Limits =
    Limits { count: NonZeroUsize::new(100_000).unwrap(), bytes: NonZeroUsize::new(1 << 30).unwrap() };

/// A started feed, and what came of it.
pub(crate) struct Reading {
    pub(crate) feed: Box<dyn Feed>,
    /// What was read, by partition, as `offset=document id`.
    pub(crate) seen: BTreeMap<Partition, Vec<String>>,
    /// The last progress of each partition.
    pub(crate) progress: BTreeMap<Partition, Progress>,
}

/// Where a reading begins.
pub(crate) type Checkpoints = BTreeMap<Partition, Checkpoint>;

pub(crate) fn source(broker: &Broker) -> KafkaSource {
    KafkaSource::new(broker.address.clone(), BTreeMap::new())
}

pub(crate) async fn open(broker: &Broker, topics: &[&str], start: Start) -> Result<Box<dyn Feed>, Error> {
    let topics: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
    source(broker).open(&topics, start).await
}

pub(crate) async fn begin(
    broker: &Broker,
    topics: &[&str],
    start: Start,
    checkpoints: &Checkpoints,
) -> Result<Reading, Error> {
    let mut feed = open(broker, topics, start).await?;
    let from = |partition: Partition| From { checkpoint: checkpoints.get(&partition).cloned(), partition };
    let from = feed.partitions().await?.into_iter().map(from).collect();
    feed.start(from).await?;
    Ok(Reading { feed, seen: BTreeMap::new(), progress: BTreeMap::new() })
}

impl Reading {
    pub(crate) async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        let event = timeout(EVENT_LIMIT, self.feed.next(limits)).await.expect("an event within the limit")?;
        self.note(&event);
        Ok(event)
    }

    /// Notes what an event brought; progress must join without gap or overlap.
    pub(crate) fn note(&mut self, event: &Event) {
        let Event::Read(read) = event else { return };
        let partition = &read.progress.partition;
        if let Some(before) = self.progress.get(partition) {
            assert_eq!(read.progress.from, before.next, "{partition}: progress joins");
            assert_eq!(read.progress.incarnation, before.incarnation);
        }
        self.progress.insert(partition.clone(), read.progress.clone());
        let seen = self.seen.entry(partition.clone()).or_default();
        for entry in &read.entries {
            let (position, what) = match entry {
                Entry::Change(change) => (&change.position, change.key.id.to_string()),
                Entry::Undecodable(undecodable) => (&undecodable.position, "?".to_owned()),
            };
            assert!(*position >= read.progress.from && *position < read.progress.next, "{partition}:{position}");
            seen.push(format!("{position}={what}"));
        }
    }

    /// Reads until the feed says that it is at the end.
    pub(crate) async fn read_to_end(&mut self) -> Result<(), Error> {
        while self.next(ALL).await? != Event::AtEnd {}
        Ok(())
    }

    /// Reads until a partition has shown so many entries.
    pub(crate) async fn until(&mut self, partition: &Partition, count: usize) {
        while self.seen.get(partition).map_or(0, Vec::len) < count {
            self.next(ALL).await.unwrap();
        }
    }

    pub(crate) fn seen(&self, topic: &str, number: u32) -> String {
        self.seen.get(&Partition::new(topic, number)).map(|seen| seen.join(" ")).unwrap_or_default()
    }

    /// The position that the next reading would begin with.
    pub(crate) fn at(&self, topic: &str, number: u32) -> u64 {
        self.progress[&Partition::new(topic, number)].next.as_number()
    }

    /// What would be stored if all that was read were settled.
    pub(crate) fn checkpoints(&self) -> Checkpoints {
        let stored = |progress: &Progress| Checkpoint {
            incarnation: Arc::clone(&progress.incarnation),
            position: progress.next.clone(),
        };
        self.progress.iter().map(|(partition, progress)| (partition.clone(), stored(progress))).collect()
    }

    /// The lag of a partition.
    pub(crate) async fn lag(&mut self, topic: &str, number: u32) -> u64 {
        let partition = Partition::new(topic, number);
        let at = self.progress[&partition].next.clone();
        self.feed.ends(&[(partition, at)]).await.unwrap()[0].lag.unwrap()
    }
}

/// A change message.
pub(crate) fn stub(id: &str) -> String {
    format!(r#"{{"document_id":"{id}","data_source_type":"sql","data_source_name":"form-sql"}}"#)
}

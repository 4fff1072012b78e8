//! The feed itself: starts the lanes, takes turns between them, and finds out why one could not go on.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::KafkaSource;
use super::client::{Client, ask_bounds, ask_ends, ask_names, ask_topics, number_of, serve};
use super::describe::Described;
use super::lane::{Lane, Origin, Step};
use super::place::{other_topic, place};
use super::queue::PartitionQueue;
use super::settings::Purpose;
use crate::feed::{End, Error, Event, Feed, From, Limits, Start};
use crate::model::{Outage, Partition, Position};

/// How often librdkafka's news beside messages are looked at while none come: brokers lost, log lines.
const SERVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a cluster that did not answer is left alone before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// Names listed beside a topic that does not exist.
const MOST_NAMES: usize = 20;

/// A feed over topics of one cluster.
pub(super) struct KafkaFeed {
    lanes: Vec<Lane>,
    client: Arc<Client>,
    topics: Vec<(Arc<str>, Described)>,
    start: Start,
    /// Notified by every lane's queue.
    wake: Arc<Notify>,
    /// The lane to look at first, so that a busy one does not starve the others.
    turn: usize,
    /// Whether the end was said and nothing came since.
    said_end: bool,
    /// Why reading stopped, until the cause is found.
    stuck: Option<RDKafkaErrorCode>,
    /// Something found beside reading that ends it.
    verdict: Option<Error>,
}

impl KafkaFeed {
    /// Finds the topics and prepares to read them.
    ///
    /// # Errors
    /// A topic that is not there, a wrong option, or an outage when the cluster does not answer.
    pub(super) async fn open(source: &KafkaSource, topics: &[Arc<str>], start: Start) -> Result<Self, Error> {
        let mut names = topics.to_vec();
        names.sort();
        names.dedup();
        if names.is_empty() {
            return Err(Error::Refused("a kafka feed needs at least one topic".to_owned()));
        }
        let asking = source.connect(Purpose::Asking).await?;
        let topics = known_topics(&asking, names).await?;
        let partitions = topics.iter().map(|(_, described)| described.partitions as usize).sum();
        // The bounds of the queues depend on the number of partitions, and are fixed when a client is made.
        let client = source.connect(Purpose::Reading(partitions)).await?;
        Ok(Self {
            lanes: Vec::new(),
            client,
            topics,
            start,
            wake: Arc::new(Notify::new()),
            turn: 0,
            said_end: false,
            stuck: None,
            verdict: None,
        })
    }

    /// What there is now, beginning with the lane whose turn it is.
    fn scan(&mut self, limits: Limits) -> Option<Event> {
        let count = self.lanes.len();
        for index in (self.turn..count).chain(0..self.turn.min(count)) {
            match self.lanes[index].read(limits) {
                Step::Nothing => {}
                Step::Read(read) => {
                    self.client.context().heard();
                    self.turn = (index + 1) % count;
                    self.said_end = false;
                    return Some(Event::Read(read));
                }
                Step::Failed(error) => {
                    self.stuck = Some(error);
                    return None;
                }
            }
        }
        if !self.said_end && self.lanes.iter().all(Lane::is_at_end) {
            self.said_end = true;
            return Some(Event::AtEnd);
        }
        None
    }

    /// Finds out why reading stopped; waits for a cluster that does not answer. Cancel-safe: nothing is changed.
    async fn cause(&mut self, stuck: RDKafkaErrorCode) -> Error {
        loop {
            match self.check_places().await {
                // All is as it should be, so a fresh start will do.
                Ok(()) => return Error::Outage(Outage::new("reading from kafka stopped", stuck)),
                Err(Error::Outage(_)) => sleep(ASK_AGAIN).await,
                Err(cause) => return cause,
            }
        }
    }

    /// Whether every lane could be started where it stands.
    async fn check_places(&mut self) -> Result<(), Error> {
        let names = self.topics.iter().map(|(name, _)| Arc::clone(name)).collect();
        let topics = known_topics(&self.client, names).await?;
        let partitions = self.lanes.iter().map(|lane| lane.partition().clone()).collect();
        let bounds = ask_bounds(&self.client, partitions).await?;
        for (lane, bounds) in self.lanes.iter().zip(bounds) {
            let Some(described) = find(&topics, &lane.partition().topic) else { continue };
            let at = lane.checkpoint();
            place(lane.partition(), &described.id, bounds, Some(&at), self.start)?;
        }
        Ok(())
    }

    /// What changed about the topics since they were opened, as far as it ends reading.
    fn compare(&self, topics: &[(Arc<str>, Described)]) -> Option<Error> {
        for ((name, known), (_, now)) in self.topics.iter().zip(topics) {
            if known.id != now.id {
                return Some(other_topic(&Partition::new(name, 0), &known.id, &now.id, 0));
            }
            if known.partitions < now.partitions {
                let what = format!("topic {name} grew from {} to {} partitions", known.partitions, now.partitions);
                return Some(Error::Outage(Outage { operation: what, source: None }));
            }
        }
        None
    }
}

#[async_trait]
impl Feed for KafkaFeed {
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error> {
        let of = |(name, described): &(Arc<str>, Described)| {
            let topic = Arc::clone(name);
            (0..described.partitions).map(move |number| Partition { topic: Arc::clone(&topic), number })
        };
        Ok(self.topics.iter().flat_map(of).collect())
    }

    async fn start(&mut self, from: Vec<From>) -> Result<(), Error> {
        let bounds = ask_bounds(&self.client, from.iter().map(|from| from.partition.clone()).collect()).await?;
        let mut assignment = TopicPartitionList::with_capacity(from.len());
        let mut lanes = Vec::with_capacity(from.len());
        for (From { partition, checkpoint }, bounds) in from.into_iter().zip(bounds) {
            let Some(described) = find(&self.topics, &partition.topic) else {
                return Err(Error::Refused(format!("topic {} is not one of this feed", partition.topic)));
            };
            let next = place(&partition, &described.id, bounds, checkpoint.as_ref(), self.start)?;
            let number = number_of(&partition);
            let Some(queue) = PartitionQueue::open(&self.client, &partition.topic, number, Arc::clone(&self.wake))
            else {
                return Err(Error::Refused(format!("{partition} is no partition that kafka can have")));
            };
            let offset = Offset::Offset(i64::try_from(next).unwrap_or(i64::MAX));
            let assigned = assignment.add_partition_offset(&partition.topic, number, offset);
            assigned.map_err(|error| Error::Refused(format!("{partition} at {next}: {error}")))?;
            let origin = match (checkpoint, self.start) {
                (None, Start::Latest) => Origin::ChosenNow,
                _ => Origin::Fixed,
            };
            lanes.push(Lane::new(partition, Arc::clone(&described.id), queue, next, origin));
        }
        let assigned = self.client.assign(&assignment);
        assigned.map_err(|error| Error::Outage(Outage::new("could not assign partitions", error)))?;
        self.lanes = lanes;
        Ok(())
    }

    async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        loop {
            serve(&self.client).map_err(Error::Outage)?;
            if let Some(verdict) = self.verdict.take() {
                return Err(verdict);
            }
            if let Some(stuck) = self.stuck {
                return Err(self.cause(stuck).await);
            }
            if let Some(event) = self.scan(limits) {
                return Ok(event);
            }
            if self.stuck.is_none() {
                // Elapsed or woken, there is something to look at. A wake between `scan` and here is kept by `wake`.
                timeout(SERVE_INTERVAL, self.wake.notified()).await.ok();
            }
        }
    }

    async fn ends(&mut self, at: &[(Partition, Position)]) -> Result<Vec<End>, Error> {
        let names = self.topics.iter().map(|(name, _)| Arc::clone(name)).collect();
        let topics = known_topics(&self.client, names).await?;
        // librdkafka goes on with a new topic of the same name where it stood in the old one. It is found here.
        self.verdict = self.compare(&topics);
        if let Some(verdict @ Error::Incarnation { .. }) = self.compare(&topics) {
            return Err(verdict);
        }
        let ends = ask_ends(&self.client, at.iter().map(|(partition, _)| partition.clone()).collect()).await?;
        let end = |((partition, position), end): (&(Partition, Position), u64)| End {
            partition: partition.clone(),
            position: Position::number(end),
            lag: Some(end.saturating_sub(position.as_number())),
        };
        Ok(at.iter().zip(ends).map(end).collect())
    }
}

impl Drop for KafkaFeed {
    fn drop(&mut self) {
        let lanes = std::mem::take(&mut self.lanes);
        let client = Arc::clone(&self.client);
        // Closing a client waits up to 100 ms for its threads. The runtime waits for that when it ends.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || drop((lanes, client)));
        }
    }
}

/// The topics with these names, in their order.
///
/// # Errors
/// One that is not there or may not be read; an outage when the cluster cannot say.
async fn known_topics(client: &Arc<Client>, names: Vec<Arc<str>>) -> Result<Vec<(Arc<str>, Described)>, Error> {
    let answers = ask_topics(client, names.clone()).await?;
    let mut topics = Vec::with_capacity(names.len());
    let mut missing = Vec::new();
    for (name, answer) in names.into_iter().zip(answers) {
        match answer {
            Ok(described) => topics.push((name, described)),
            Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => missing.push(name),
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(Error::Refused(format!("kafka does not let us read topic {name}")));
            }
            Err(error @ RDKafkaErrorCode::InvalidTopic) => {
                return Err(Error::Refused(format!("{name:?} is no name of a topic: {error}")));
            }
            Err(error) => return Err(Error::Outage(Outage::new(format!("could not ask for topic {name}"), error))),
        }
    }
    if missing.is_empty() {
        return Ok(topics);
    }
    Err(Error::Refused(unknown_topics(&missing, &ask_names(client).await?)))
}

fn unknown_topics(missing: &[Arc<str>], there: &[String]) -> String {
    let subject = match missing {
        [one] => format!("topic {one} does not exist"),
        several => format!("topics {} do not exist", several.join(", ")),
    };
    if there.is_empty() {
        return format!("{subject}; the cluster has no topics that we may see");
    }
    let shown = there[..there.len().min(MOST_NAMES)].join(", ");
    match there.len().saturating_sub(MOST_NAMES) {
        0 => format!("{subject}; there are: {shown}"),
        more => format!("{subject}; there are: {shown}, and {more} more"),
    }
}

fn find<'a>(topics: &'a [(Arc<str>, Described)], topic: &Arc<str>) -> Option<&'a Described> {
    topics.iter().find(|(name, _)| name == topic).map(|(_, described)| described)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(missing: &[&str], there: &[&str], expected: &str) {
        let missing: Vec<Arc<str>> = missing.iter().map(|name| Arc::from(*name)).collect();
        let there: Vec<String> = there.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(unknown_topics(&missing, &there), expected);
    }

    #[test]
    fn an_unknown_topic_is_told_with_those_that_there_are() {
        check(&["forms"], &["case", "form"], "topic forms does not exist; there are: case, form");
        check(&["a", "b"], &[], "topics a, b do not exist; the cluster has no topics that we may see");
    }
}

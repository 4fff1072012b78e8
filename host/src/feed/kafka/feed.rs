//! The feed itself: starts the lanes, takes turns between them, and finds out why one could not go on.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::KafkaSource;
use super::assignment::{Assigned, Assignment};
use super::client::{Bounds, Client, ask_bounds, ask_ends, number_of, serve};
use super::lane::{Lane, Origin, Step};
use super::place::{other_topic, place};
use super::queue::{PartitionQueue, Taking};
use super::settings::Purpose;
use super::topics::{Found, Wanted, describe, refuse};
use crate::feed::{End, Ends, Error, Event, Feed, From, Limits, Start};
use crate::model::{Outage, Partition, Position, chain};

/// How often librdkafka's news beside messages are looked at while none come: brokers lost, log lines.
const SERVE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a cluster that did not answer is left alone before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// When there was nothing more to read, messages are gathered for so long from the last read on. Each would be a batch of
/// its own otherwise, with all that a batch costs: at a few thousand messages a second that was ten times the work of
/// the messages themselves, and whoever waits for a busy core waits longer than this.
const GATHERED: Duration = Duration::from_millis(5);

/// What the cluster said of partitions that are to be read: what topics there are, and the bounds of each.
type Answer = (Vec<From>, Result<(Found, Vec<Bounds>), Error>);

/// A feed over topics of one cluster.
pub(super) struct KafkaFeed {
    lanes: Vec<Lane>,
    client: Arc<Client>,
    wanted: Wanted,
    found: Found,
    start: Start,
    assigned: Assigned,
    /// Partitions that are to be read as soon as the cluster says where they begin and end.
    starting: Vec<From>,
    /// Asks it for some of them. Beside `next`, which is given up and called again all the time.
    asking: JoinSet<Answer>,
    /// What topics there were when the ends were last asked for, until it is looked at.
    found_beside: Arc<Mutex<Option<Found>>>,
    /// The lane to look at first, so that a busy one does not starve the others.
    turn: usize,
    /// Whether the end was said and nothing came since.
    said_end: bool,
    /// When messages may be read again, since there were none any more.
    gathers_until: Option<Instant>,
    /// When messages were last read.
    last_read: Option<Instant>,
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
        let wanted = Wanted::new(topics)?;
        let asking = source.connect(Purpose::Asking).await?;
        let found = wanted.find(&asking).await?;
        // The bounds of the queues depend on the number of partitions, and are fixed when a client is made.
        let partitions = found.partitions().count();
        let purpose = match &source.assignment {
            Assignment::Static(_) => Purpose::Reading(partitions),
            Assignment::Group(group) => Purpose::Member(partitions, group),
        };
        let client = source.connect(purpose).await?;
        let assigned = Assigned::new(source.assignment.clone());
        let mut feed = Self {
            lanes: Vec::new(),
            client,
            wanted,
            found: Found::default(),
            start,
            assigned,
            starting: Vec::new(),
            asking: JoinSet::new(),
            found_beside: Arc::default(),
            turn: 0,
            said_end: false,
            gathers_until: None,
            last_read: None,
            stuck: None,
            verdict: None,
        };
        feed.know(found);
        Ok(feed)
    }

    /// Takes note of what topics there are; one that is missing is said once.
    fn know(&mut self, found: Found) {
        if found.missing != self.found.missing && !found.missing.is_empty() {
            tracing::warn!(topics = found.missing.join(", "), "topics do not exist yet; the others are read");
        }
        self.found = found;
    }

    /// What there is now, beginning with the lane whose turn it is.
    fn scan(&mut self, limits: Limits) -> Option<Event> {
        let count = self.lanes.len();
        for index in (self.turn..count).chain(0..self.turn.min(count)) {
            match self.lanes[index].read(limits) {
                Step::Nothing => {}
                Step::Read(read) => {
                    self.client.context().heard();
                    self.last_read = Some(Instant::now());
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
        if !self.said_end
            && self.assigned.is_steady()
            && self.starting.is_empty()
            && self.lanes.iter().all(Lane::is_at_end)
        {
            self.said_end = true;
            return Some(Event::AtEnd);
        }
        None
    }

    /// Looks at everything beside messages: what the group wants, and what is to begin. Does not wait.
    fn look(&mut self) -> Result<Option<Event>, Error> {
        serve(&self.client).map_err(Error::Outage)?;
        while let Some(rebalance) = self.client.context().next_rebalance() {
            self.assigned.rebalance(&self.client, rebalance).map_err(|error| not_assigned(&error))?;
        }
        self.look_at_topics();
        if let Some(verdict) = self.verdict.take() {
            return Err(verdict);
        }
        if let Some(event) = self.assigned.news() {
            if let Event::Revoked(partitions) | Event::Lost(partitions) = &event {
                self.leave_out(partitions);
            }
            return Ok(Some(event));
        }
        if let Some(answer) = self.asking.try_join_next() {
            let (from, answer) = answer.map_err(|error| Error::Outage(Outage::new("asking kafka failed", error)))?;
            match answer {
                Ok((found, bounds)) => self.start_lanes(from, found, bounds)?,
                // The cluster does not answer; it is asked again.
                Err(Error::Outage(outage)) => {
                    tracing::debug!(error = %chain(&outage), "partitions are not begun yet");
                }
                Err(error) => return Err(error),
            }
        }
        if self.asking.is_empty() && !self.starting.is_empty() {
            let (wanted, client, start) = (self.wanted.clone(), Arc::clone(&self.client), self.start);
            let (from, found) = (self.starting.clone(), self.found.clone());
            self.asking.spawn(async move {
                let answer = ask(&wanted, &client, &from, found, start).await;
                if answer.is_err() {
                    sleep(ASK_AGAIN).await;
                }
                client.context().wake().notify_one();
                (from, answer)
            });
        }
        Ok(None)
    }

    /// Takes note of what topics there are now. librdkafka goes on with a new topic of the same name where it stood in
    /// the old one; it is found here.
    fn look_at_topics(&mut self) {
        let Some(found) = self.found_beside.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if let Some(verdict) = made_again(&self.topic_ids(), &found) {
            self.verdict = Some(verdict);
            return;
        }
        self.assigned.deal(found.partitions());
        self.know(found);
    }

    /// The partitions that are read, with the ids of their topics.
    fn topic_ids(&self) -> Vec<(Partition, Arc<str>)> {
        self.lanes.iter().map(|lane| (lane.partition().clone(), lane.checkpoint().incarnation)).collect()
    }

    /// Begins to read what was asked for and is still to be read.
    fn start_lanes(&mut self, from: Vec<From>, found: Found, bounds: Vec<Bounds>) -> Result<(), Error> {
        self.know(found);
        let mut offsets = Vec::with_capacity(bounds.len());
        let mut lanes = Vec::with_capacity(bounds.len());
        for (from, bounds) in from.into_iter().zip(bounds) {
            let Some(at) = self.starting.iter().position(|starting| *starting == from) else { continue };
            let From { partition, checkpoint } = self.starting.remove(at);
            let Some(described) = self.found.topics.get(&partition.topic) else {
                return Err(Error::Refused(format!("topic {} is not one of this feed", partition.topic)));
            };
            let next = place(&partition, &described.id, bounds, checkpoint.as_ref())?;
            let taking = if self.assigned.is_group() { Taking::Single } else { Taking::Batch };
            let Some(queue) = PartitionQueue::open(&self.client, &partition.topic, number_of(&partition), taking)
            else {
                return Err(Error::Refused(format!("{partition} is no partition that kafka can have")));
            };
            offsets.push((partition.clone(), next));
            let origin = match (checkpoint, self.start) {
                (None, Start::Latest | Start::At(_)) => Origin::ChosenNow,
                _ => Origin::Fixed,
            };
            lanes.push(Lane::new(partition, Arc::clone(&described.id), queue, next, origin));
        }
        if lanes.is_empty() {
            return Ok(());
        }
        self.assigned.started(&self.client, &offsets).map_err(|error| not_assigned(&error))?;
        self.lanes.extend(lanes);
        self.said_end = false;
        Ok(())
    }

    fn leave_out(&mut self, partitions: &[Partition]) {
        self.lanes.retain(|lane| !partitions.contains(lane.partition()));
        self.starting.retain(|from| !partitions.contains(&from.partition));
        self.said_end = false;
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
        let mut names: Vec<Arc<str>> = self.lanes.iter().map(|lane| Arc::clone(&lane.partition().topic)).collect();
        names.sort();
        names.dedup();
        let found = describe(&self.client, names).await?;
        if !found.missing.is_empty() {
            return Err(refuse(&self.client, &found.missing).await);
        }
        let partitions = self.lanes.iter().map(|lane| lane.partition().clone()).collect();
        let bounds = ask_bounds(&self.client, partitions, Start::Earliest).await?;
        for (lane, bounds) in self.lanes.iter().zip(bounds) {
            let Some(described) = found.topics.get(&lane.partition().topic) else { continue };
            let at = lane.checkpoint();
            place(lane.partition(), &described.id, bounds, Some(&at))?;
        }
        Ok(())
    }
}

#[async_trait]
impl Feed for KafkaFeed {
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error> {
        Ok(self.assigned.begin(self.found.partitions()))
    }

    async fn start(&mut self, from: Vec<From>) -> Result<(), Error> {
        if self.assigned.is_group() {
            let subscription = self.wanted.subscription();
            let subscription: Vec<&str> = subscription.iter().map(String::as_str).collect();
            return self.client.subscribe(&subscription).map_err(|error| not_assigned(&error));
        }
        let (found, bounds) = ask(&self.wanted, &self.client, &from, self.found.clone(), self.start).await?;
        self.starting.clone_from(&from);
        self.start_lanes(from, found, bounds)
    }

    async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.look()? {
                return Ok(event);
            }
            if let Some(stuck) = self.stuck {
                return Err(self.cause(stuck).await);
            }
            if let Some(until) = self.gathers_until {
                sleep_until(until).await;
                self.gathers_until = None;
            }
            if let Some(event) = self.scan(limits) {
                return Ok(event);
            }
            // A member of a group has the group's wishes to see to between messages.
            let last_read = self.last_read.take().filter(|_| !self.assigned.is_group());
            self.gathers_until = last_read.map(|read| read + GATHERED);
            if self.stuck.is_none() {
                // Elapsed or woken, there is something to look at. A wake between `scan` and here is kept by `wake`.
                timeout(SERVE_INTERVAL, self.client.context().wake().notified()).await.ok();
            }
        }
    }

    async fn attend(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.look()? {
                return Ok(event);
            }
            // Messages wake as well, and stay where they are.
            timeout(SERVE_INTERVAL, self.client.context().wake().notified()).await.ok();
        }
    }

    fn add(&mut self, from: Vec<From>) -> Result<(), Error> {
        // What was taken away meanwhile is known to whoever will be told of it.
        self.starting.extend(from.into_iter().filter(|from| self.assigned.is_held(&from.partition)));
        self.client.context().wake().notify_one();
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) {
        self.leave_out(partitions);
        if let Err(error) = self.assigned.released(&self.client, partitions) {
            self.verdict = Some(not_assigned(&error));
        }
    }

    fn ends(&mut self, at: &[(Partition, Position)]) -> Ends {
        let (wanted, client, at) = (self.wanted.clone(), Arc::clone(&self.client), at.to_vec());
        let (topic_ids, found_beside) = (self.topic_ids(), Arc::clone(&self.found_beside));
        Box::pin(async move {
            let found = wanted.find(&client).await?;
            let verdict = made_again(&topic_ids, &found);
            *found_beside.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
            client.context().wake().notify_one();
            if let Some(verdict) = verdict {
                return Err(verdict);
            }
            let ends = ask_ends(&client, at.iter().map(|(partition, _)| partition.clone()).collect()).await?;
            let end = |((partition, position), end): ((Partition, Position), u64)| {
                let lag = Some(end.saturating_sub(position.as_number()));
                End { partition, position: Position::number(end), lag }
            };
            Ok(at.into_iter().zip(ends).map(end).collect())
        })
    }

    fn trouble(&self) -> Option<String> {
        self.client.context().trouble()
    }
}

/// A topic that is being read and is another one now.
fn made_again(known: &[(Partition, Arc<str>)], found: &Found) -> Option<Error> {
    known.iter().find_map(|(partition, known)| {
        let now = &found.topics.get(&partition.topic)?.id;
        (known != now).then(|| other_topic(partition, known, now, 0))
    })
}

/// Asks for all that has to be known before partitions can be read.
async fn ask(
    wanted: &Wanted,
    client: &Arc<Client>,
    from: &[From],
    found: Found,
    start: Start,
) -> Result<(Found, Vec<Bounds>), Error> {
    let found = match from.iter().all(|from| found.topics.contains_key(&from.partition.topic)) {
        true => found,
        // The group noticed a topic before we did.
        false => wanted.find(client).await?,
    };
    let bounds = ask_bounds(client, from.iter().map(|from| from.partition.clone()).collect(), start).await?;
    Ok((found, bounds))
}

fn not_assigned(error: &KafkaError) -> Error {
    Error::Outage(Outage::new("could not assign partitions", error.to_string()))
}

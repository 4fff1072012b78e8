//! A feed in memory, with several partitions and injected trouble, for tests of what reads feeds.
//!
//! A [`MemoryLog`] is the server: tests append to it and break it. It is a [`Source`], and every feed opened from it
//! reads the same entries. A [`MemoryLog::member`] reads the partitions that tests give and take, as a member of a group
//! does. Nothing here takes time, so tests may pause the clock.

use std::collections::{BTreeMap, VecDeque};
use std::future::{pending, ready};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::model::{Change, Entry, Partition, Position, Progress, Undecodable, chain};

use super::{End, Ends, Error, Event, Feed, From, Limits, Read, Source, Start};

/// A log in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryLog {
    shared: Arc<Shared>,
    member: Option<Arc<Mutex<Member>>>,
}

/// One of several hosts that share the partitions.
#[derive(Debug, Default)]
struct Member {
    /// What its feed is to be told.
    news: VecDeque<Event>,
    released: Vec<Partition>,
}

#[derive(Debug)]
struct Shared {
    log: Mutex<Log>,
    grown: watch::Sender<u64>,
}

#[derive(Debug)]
struct Log {
    made: u64,
    partitions: BTreeMap<Partition, Entries>,
    errors: VecDeque<Error>,
    /// Whether it hands out nothing and answers nothing.
    silent: bool,
    /// The questions for the ends that get no answer; none where they get one.
    unanswered: Option<Vec<oneshot::Sender<()>>>,
}

/// A partition's entries in order, each with its position and size.
#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<(u64, usize, Entry)>,
    first: u64,
    end: u64,
}

/// A feed over some topics of a [`MemoryLog`].
#[derive(Debug)]
struct MemoryFeed {
    shared: Arc<Shared>,
    member: Option<Arc<Mutex<Member>>>,
    grown: watch::Receiver<u64>,
    topics: Vec<Arc<str>>,
    start: Start,
    incarnation: Arc<str>,
    lanes: Vec<Lane>,
    turn: usize,
    said_end: bool,
}

/// One partition being read.
#[derive(Debug)]
struct Lane {
    partition: Partition,
    next: u64,
    /// The place was chosen here and is still to be said, so that it is kept.
    chosen_now: bool,
}

impl MemoryLog {
    /// An empty log, in which each topic has so many partitions.
    pub fn new(topics: &[&str], partitions: u32) -> Self {
        let numbered = |topic| (0..partitions).map(move |number| Partition::new(topic, number));
        let partitions = topics.iter().flat_map(numbered).map(|partition| (partition, Entries::default())).collect();
        let log = Log { made: 1, partitions, errors: VecDeque::new(), silent: false, unanswered: None };
        let log = Mutex::new(log);
        Self { shared: Arc::new(Shared { log, grown: watch::channel(0).0 }), member: None }
    }

    /// The same log for a host that reads what it is given by [`Self::tell`].
    #[must_use]
    pub fn member(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), member: Some(Arc::default()) }
    }

    /// Has this member's feed say so, also one that is opened later.
    ///
    /// # Panics
    /// When this is no member: a mistake of the test.
    pub fn tell(&self, event: Event) {
        lock(self.member.as_ref().expect("tests tell members")).news.push_back(event);
        self.wake();
    }

    /// What this member's feed gave back, in order.
    pub fn released(&self) -> Vec<Partition> {
        self.member.as_ref().map(|member| lock(member).released.clone()).unwrap_or_default()
    }

    /// Appends a message as it would stand on a topic; what cannot be decoded becomes such an entry.
    ///
    /// # Panics
    /// When the log has no such partition: a mistake of the test.
    pub fn push(&self, partition: &Partition, message: impl AsRef<[u8]>) -> Position {
        self.push_entry(partition, message.as_ref().len(), |position| {
            match Change::decode(message.as_ref(), position.clone()) {
                Ok(change) => Entry::Change(change),
                Err(error) => Entry::Undecodable(Undecodable {
                    position,
                    bytes: Bytes::copy_from_slice(message.as_ref()),
                    reason: chain(&error),
                }),
            }
        })
    }

    /// Appends a change; its position is set.
    ///
    /// # Panics
    /// When the log has no such partition: a mistake of the test.
    pub fn push_change(&self, partition: &Partition, change: Change) -> Position {
        let size = change.size();
        self.push_entry(partition, size, |position| Entry::Change(Change { position, ..change }))
    }

    fn push_entry(&self, partition: &Partition, size: usize, make: impl FnOnce(Position) -> Entry) -> Position {
        let mut log = self.lock();
        let entries = log.entries(partition);
        let at = entries.end;
        entries.kept.push_back((at, size, make(Position::number(at))));
        entries.end += 1;
        drop(log);
        self.wake();
        Position::number(at)
    }

    /// Leaves out so many positions, as the control records of transactions and compaction do.
    ///
    /// # Panics
    /// When the log has no such partition: a mistake of the test.
    pub fn skip(&self, partition: &Partition, count: u64) {
        self.lock().entries(partition).end += count;
        self.wake();
    }

    /// Cuts off everything before `position`, as retention does.
    ///
    /// # Panics
    /// When the log has no such partition: a mistake of the test.
    pub fn truncate(&self, partition: &Partition, position: &Position) {
        let mut log = self.lock();
        let entries = log.entries(partition);
        entries.first = position.as_number();
        entries.kept.retain(|(at, ..)| *at >= position.as_number());
        drop(log);
        self.wake();
    }

    /// The position after the last entry.
    ///
    /// # Panics
    /// When the log has no such partition: a mistake of the test.
    pub fn end(&self, partition: &Partition) -> Position {
        Position::number(self.lock().entries(partition).end)
    }

    /// Makes the log again: same topics, no entries, another incarnation.
    pub fn reset(&self) {
        let mut log = self.lock();
        log.made += 1;
        log.partitions.values_mut().for_each(|entries| *entries = Entries::default());
        drop(log);
        self.wake();
    }

    /// Has the next call to [`Feed::next`] of any feed, also one that waits, end in `error`; several queue up.
    pub fn fail(&self, error: Error) {
        self.lock().errors.push_back(error);
        self.wake();
    }

    /// Has it hand out nothing and answer nothing, as a log whose server is away, or go on.
    pub fn silence(&self, silent: bool) {
        self.lock().silent = silent;
        self.wake();
    }

    /// Has no feed answer any more where the partitions end.
    pub fn withhold_ends(&self) {
        self.lock().unanswered.get_or_insert_default();
    }

    /// How many such questions are being waited for.
    pub fn open_questions(&self) -> usize {
        self.lock().unanswered.iter().flatten().filter(|question| !question.is_closed()).count()
    }

    fn lock(&self) -> MutexGuard<'_, Log> {
        self.shared.lock()
    }

    fn wake(&self) {
        self.shared.grown.send_modify(|wakes| *wakes += 1);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Log {
    fn entries(&mut self, partition: &Partition) -> &mut Entries {
        self.partitions.get_mut(partition).expect("tests append to partitions that they made")
    }

    fn incarnation(&self) -> Arc<str> {
        Arc::from(format!("memory-{}", self.made))
    }
}

#[async_trait]
impl Source for MemoryLog {
    async fn open(&self, topics: &[Arc<str>], start: Start) -> Result<Box<dyn Feed>, Error> {
        let log = self.lock();
        if let Some(unknown) = topics.iter().find(|topic| !log.partitions.keys().any(|known| known.topic == **topic)) {
            return Err(Error::Refused(format!("there is no topic {unknown}")));
        }
        Ok(Box::new(MemoryFeed {
            shared: Arc::clone(&self.shared),
            member: self.member.clone(),
            grown: self.shared.grown.subscribe(),
            topics: topics.to_vec(),
            start,
            incarnation: log.incarnation(),
            lanes: Vec::new(),
            turn: 0,
            said_end: false,
        }))
    }
}

#[async_trait]
impl Feed for MemoryFeed {
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error> {
        if self.member.is_some() {
            return Ok(Vec::new());
        }
        let log = self.shared.lock();
        Ok(log.partitions.keys().filter(|partition| self.topics.contains(&partition.topic)).cloned().collect())
    }

    async fn start(&mut self, from: Vec<From>) -> Result<(), Error> {
        self.incarnation = self.shared.lock().incarnation();
        self.add(from)
    }

    async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        loop {
            self.grown.mark_unchanged();
            let silent = self.shared.lock().silent;
            if !silent && let Some(event) = self.news().map_or_else(|| self.take(limits), |news| Ok(Some(news)))? {
                return Ok(event);
            }
            // The sender lives in what this feed shares, so this cannot end in an error.
            if self.grown.changed().await.is_err() {
                return Err(Error::Refused("the log is gone".to_owned()));
            }
        }
    }

    async fn attend(&mut self) -> Result<Event, Error> {
        loop {
            self.grown.mark_unchanged();
            if let Some(event) = self.news() {
                return Ok(event);
            }
            if self.grown.changed().await.is_err() {
                return Err(Error::Refused("the log is gone".to_owned()));
            }
        }
    }

    fn add(&mut self, from: Vec<From>) -> Result<(), Error> {
        let mut log = self.shared.lock();
        let mut lanes = Vec::with_capacity(from.len());
        for From { partition, checkpoint } in from {
            let Some(entries) = log.partitions.get_mut(&partition) else {
                return Err(Error::Refused(format!("there is no partition {partition}")));
            };
            let chosen_now = checkpoint.is_none() && self.start == Start::Latest;
            let next = match checkpoint {
                Some(checkpoint) if checkpoint.incarnation != self.incarnation => {
                    let (expected, found) = (&checkpoint.incarnation, &self.incarnation);
                    let what = format!("the checkpoint belongs to log {expected}, but this is log {found}");
                    return Err(Error::Incarnation { partition, what });
                }
                Some(checkpoint) => entries.check(&partition, checkpoint.position.as_number())?,
                None if self.start == Start::Latest => entries.end,
                None => entries.first,
            };
            lanes.push(Lane { partition, next, chosen_now });
        }
        drop(log);
        self.lanes.extend(lanes);
        self.said_end = false;
        Ok(())
    }

    fn release(&mut self, partitions: &[Partition]) {
        self.leave_out(partitions);
        if let Some(member) = &self.member {
            lock(member).released.extend_from_slice(partitions);
        }
    }

    fn ends(&mut self, at: &[(Partition, Position)]) -> Ends {
        let mut log = self.shared.lock();
        if log.silent {
            return Box::pin(pending());
        }
        if let Some(unanswered) = &mut log.unanswered {
            let (question, answer) = oneshot::channel();
            unanswered.push(question);
            return Box::pin(async move {
                drop(answer.await);
                pending().await
            });
        }
        let end = |(partition, position): &(Partition, Position)| {
            let entries = log.entries(partition);
            let lag = entries.kept.len() - entries.index_of(position.as_number());
            End { partition: partition.clone(), position: Position::number(entries.end), lag: Some(lag as u64) }
        };
        Box::pin(ready(Ok(at.iter().map(end).collect())))
    }
}

impl MemoryFeed {
    /// What this member is to be told of its partitions. Nothing is handed out of one that leaves.
    fn news(&mut self) -> Option<Event> {
        let event = lock(self.member.as_ref()?).news.pop_front()?;
        if let Event::Revoked(partitions) | Event::Lost(partitions) = &event {
            self.leave_out(partitions);
        }
        Some(event)
    }

    fn leave_out(&mut self, partitions: &[Partition]) {
        self.lanes.retain(|lane| !partitions.contains(&lane.partition));
        self.said_end = false;
    }

    /// The next event, if there is one now.
    fn take(&mut self, limits: Limits) -> Result<Option<Event>, Error> {
        let mut log = self.shared.lock();
        if let Some(error) = log.errors.pop_front() {
            return Err(error);
        }
        let found = log.incarnation();
        for step in 0..self.lanes.len() {
            let at = (self.turn + step) % self.lanes.len();
            let lane = &mut self.lanes[at];
            let (partition, from) = (lane.partition.clone(), lane.next);
            if found != self.incarnation {
                let what = format!("the log was {}, but is {found} now", self.incarnation);
                return Err(Error::Incarnation { partition, what });
            }
            let entries = log.entries(&partition);
            entries.check(&partition, from)?;
            let (kept, next) = match std::mem::take(&mut lane.chosen_now) {
                true => (Vec::new(), from),
                false if entries.end == from => continue,
                false => entries.read(from, limits),
            };
            lane.next = next;
            self.turn = at + 1;
            self.said_end = false;
            let incarnation = Arc::clone(&self.incarnation);
            let (from, next) = (Position::number(from), Position::number(next));
            let progress = Progress { partition, incarnation, from, next };
            return Ok(Some(Event::Read(Read { progress, entries: kept })));
        }
        if self.said_end {
            return Ok(None);
        }
        self.said_end = true;
        Ok(Some(Event::AtEnd))
    }
}

impl Entries {
    fn index_of(&self, position: u64) -> usize {
        self.kept.partition_point(|(at, ..)| *at < position)
    }

    fn check(&self, partition: &Partition, next: u64) -> Result<u64, Error> {
        if next < self.first {
            let (available, needed) = (Position::number(self.first), Position::number(next));
            return Err(Error::Unavailable { partition: partition.clone(), available, needed });
        }
        if next > self.end {
            let what = format!("the checkpoint is at {next}, but the log ends at {}", self.end);
            return Err(Error::Incarnation { partition: partition.clone(), what });
        }
        Ok(next)
    }

    /// The entries from `from` within the limits, and the position after them; the gap before the end is inside.
    fn read(&self, from: u64, limits: Limits) -> (Vec<Entry>, u64) {
        let mut bytes = 0;
        let mut read = Vec::new();
        for (at, size, entry) in self.kept.range(self.index_of(from)..) {
            bytes += size;
            if read.len() == limits.count.get() || (!read.is_empty() && bytes > limits.bytes.get()) {
                return (read, *at);
            }
            read.push(entry.clone());
        }
        (read, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Outage;
    use std::num::NonZeroUsize;
    use std::time::Duration;
    use tokio::time::{sleep, timeout};

    const LIMITS: Limits = Limits { count: NonZeroUsize::new(10).unwrap(), bytes: NonZeroUsize::new(1 << 20).unwrap() };

    async fn waiting_feed(log: &MemoryLog) -> Box<dyn Feed> {
        let mut feed = log.open(&["t".into()], Start::Earliest).await.unwrap();
        feed.start(vec![From { partition: Partition::new("t", 0), checkpoint: None }]).await.unwrap();
        assert_eq!(feed.next(LIMITS).await.unwrap(), Event::AtEnd);
        feed
    }

    #[tokio::test(start_paused = true)]
    async fn an_injected_error_reaches_a_feed_that_waits_and_the_feed_goes_on() {
        let log = MemoryLog::new(&["t"], 1);
        let mut feed = waiting_feed(&log).await;
        let outage = || Error::Outage(Outage { operation: "it is down".to_owned(), source: None });
        let (event, ()) = tokio::join!(feed.next(LIMITS), async {
            sleep(Duration::from_secs(3600)).await;
            log.fail(outage());
        });
        assert_eq!(event.unwrap_err().to_string(), outage().to_string());
        assert!(timeout(Duration::from_secs(3600), feed.next(LIMITS)).await.is_err());
        log.push(&Partition::new("t", 0), r#"{"document_id":"a","data_source_name":"s"}"#);
        assert!(matches!(feed.next(LIMITS).await.unwrap(), Event::Read(_)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_gap_at_the_end_is_progress_without_entries() {
        let log = MemoryLog::new(&["t"], 1);
        let mut feed = waiting_feed(&log).await;
        log.skip(&Partition::new("t", 0), 3);
        let Event::Read(read) = feed.next(LIMITS).await.unwrap() else { panic!("the gap moves the progress") };
        assert_eq!((read.entries.len(), read.progress.next), (0, Position::number(3)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_log_that_is_made_again_stops_a_feed_that_waits() {
        let log = MemoryLog::new(&["t"], 1);
        let mut feed = waiting_feed(&log).await;
        log.reset();
        let error = feed.next(LIMITS).await.unwrap_err();
        assert_eq!(error.to_string(), "t:0: the log was memory-1, but is memory-2 now");
    }
}

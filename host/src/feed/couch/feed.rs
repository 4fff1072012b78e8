//! The feed: what the readers of its databases bring, database by database in turn.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::feed::{End, Ends, Error, Event, Feed, From, Limits, Read, Start};
use crate::http::Server;
use crate::model::{Checkpoint, Outage, Partition, Position, Progress};

use super::identity::{self, outage, refused};
use super::reader::{self, Reader};
use super::rows::{self, Page, Sized, number_of, text_of};
use super::source::Settings;

/// Pages that each reader may have read ahead.
const AHEAD: usize = 2;

/// A feed over some databases of one server.
pub(super) struct CouchFeed {
    asked: Asked,
    databases: Vec<Arc<str>>,
    start: Start,
    lanes: Vec<Lane>,
    receiver: mpsc::Receiver<(usize, reader::Read)>,
    sender: mpsc::Sender<(usize, reader::Read)>,
    readers: JoinSet<()>,
    turn: usize,
    said_end: bool,
}

/// Who is asked, and how.
#[derive(Clone)]
struct Asked {
    server: Server,
    settings: Arc<Settings>,
}

/// One database being read.
struct Lane {
    partition: Partition,
    identity: Arc<str>,
    /// Where the next read begins.
    at: Position,
    /// Read ahead, in order.
    entries: VecDeque<Sized>,
    /// Where reading goes on after them.
    next: Position,
    /// The place was chosen here and is still to be said, so that it is kept.
    chosen_now: bool,
    at_end: bool,
}

#[derive(Deserialize)]
struct Info<'a> {
    #[serde(borrow)]
    update_seq: &'a RawValue,
}

impl CouchFeed {
    pub(super) fn new(server: Server, settings: Arc<Settings>, databases: Vec<Arc<str>>, start: Start) -> Self {
        let (sender, receiver) = mpsc::channel(AHEAD * databases.len().max(1));
        Self {
            asked: Asked { server, settings },
            databases,
            start,
            lanes: Vec::new(),
            receiver,
            sender,
            readers: JoinSet::new(),
            turn: 0,
            said_end: false,
        }
    }

    /// Where a database is read from, and whether that was decided just now.
    async fn place(&self, from: &From, identity: &Arc<str>) -> Result<(Position, bool), Error> {
        let database = &from.partition.topic;
        match (&from.checkpoint, self.start) {
            (Some(checkpoint), _) => {
                self.check(&from.partition, checkpoint, identity).await?;
                Ok((checkpoint.position.clone(), false))
            }
            (None, Start::Latest) => {
                let page = self.asked.ask(database, &[("since", "now"), ("limit", "1")], &Position::number(0)).await?;
                Ok((page.next, true))
            }
            (None, Start::Earliest) => Ok((Position::number(0), false)),
            (None, Start::At(_)) => {
                Err(Error::Refused("CouchDB knows no times: begin at `earliest` or `latest`".to_owned()))
            }
        }
    }

    async fn check(&self, partition: &Partition, checkpoint: &Checkpoint, identity: &Arc<str>) -> Result<(), Error> {
        let named = |what: String| {
            let remedy = format!("to read all of it again: pillowtop checkpoint set PILLOW {partition} 0");
            Error::Incarnation { partition: partition.clone(), what: format!("{what}; {remedy}") }
        };
        let expected = &checkpoint.incarnation;
        if expected != identity {
            return Err(named(format!("the checkpoint belongs to database {expected}, but this one is {identity}")));
        }
        let (at, end) = (checkpoint.position.to_string(), self.asked.end(&partition.topic).await?);
        if number_of(&at) > number_of(&end) {
            return Err(named(format!("the checkpoint is at {at}, but the database ends at {end}")));
        }
        Ok(())
    }

    fn follow(&mut self, number: usize) {
        let lane = &self.lanes[number];
        let reader = Reader {
            number,
            server: self.asked.server.clone(),
            settings: Arc::clone(&self.asked.settings),
            partition: lane.partition.clone(),
            identity: Arc::clone(&lane.identity),
            at: lane.at.clone(),
            sender: self.sender.clone(),
        };
        self.readers.spawn(reader.run());
    }

    /// The next event, if there is one at hand.
    fn take(&mut self, limits: Limits) -> Option<Event> {
        for step in 0..self.lanes.len() {
            let number = (self.turn + step) % self.lanes.len();
            if let Some(read) = self.lanes[number].take(limits) {
                self.turn = number + 1;
                self.said_end = false;
                return Some(Event::Read(read));
            }
        }
        let at_end = !self.said_end && self.lanes.iter().all(|lane| lane.at_end);
        self.said_end |= at_end;
        at_end.then_some(Event::AtEnd)
    }
}

impl Asked {
    /// The latest sequence of a database.
    async fn end(&self, database: &Arc<str>) -> Result<String, Error> {
        let failed = |error: reqwest::Error| outage(&self.server, database, error);
        let answer = self.server.request(Method::GET, &[database], &[]).send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {}
            status => return Err(refused(&self.server, database, status)),
        }
        let text = answer.bytes().await.map_err(failed)?;
        let info: Info<'_> = serde_json::from_slice(&text)
            .map_err(|error| Error::Refused(format!("{}/{database} is no database: {error}", self.server.place())))?;
        Ok(text_of(info.update_seq))
    }

    async fn ask(&self, database: &Arc<str>, query: &[(&str, &str)], since: &Position) -> Result<Page, Error> {
        let failed = |error: reqwest::Error| outage(&self.server, database, error);
        let query: Vec<_> = query.iter().copied().chain(self.settings.filtering()).collect();
        let request = self.server.request(Method::GET, &[database, "_changes"], &query);
        let answer = request.send().await.map_err(failed)?;
        match answer.status() {
            StatusCode::OK => {}
            status => return Err(refused(&self.server, database, status)),
        }
        let text = answer.bytes().await.map_err(failed)?;
        rows::page(database, since, &text).map_err(|error| {
            let operation = format!("could not read the changes of {}/{database}", self.server.place());
            Error::Outage(Outage::new(operation, error))
        })
    }
}

impl Lane {
    fn take(&mut self, limits: Limits) -> Option<Read> {
        let (mut entries, mut bytes) = (Vec::new(), 0);
        let mut next = self.at.clone();
        while let Some(sized) = self.entries.front() {
            bytes += sized.bytes;
            if entries.len() == limits.count.get() || (!entries.is_empty() && bytes > limits.bytes.get()) {
                break;
            }
            let Some(sized) = self.entries.pop_front() else { break };
            next = sized.next;
            entries.push(sized.entry);
        }
        if self.entries.is_empty() {
            // Rows that a filter left out are behind us too.
            next = self.next.clone();
        }
        if next == self.at && !std::mem::take(&mut self.chosen_now) {
            return None;
        }
        let from = std::mem::replace(&mut self.at, next.clone());
        let (partition, incarnation) = (self.partition.clone(), Arc::clone(&self.identity));
        Some(Read { progress: Progress { partition, incarnation, from, next }, entries })
    }
}

#[async_trait]
impl Feed for CouchFeed {
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error> {
        let mut partitions = Vec::with_capacity(self.databases.len());
        for database in &self.databases {
            identity::exists(&self.asked.server, database).await?;
            partitions.push(Partition::new(Arc::clone(database), 0));
        }
        Ok(partitions)
    }

    async fn start(&mut self, from: Vec<From>) -> Result<(), Error> {
        let mut lanes = Vec::with_capacity(from.len());
        for from in from {
            let identity = identity::of(&self.asked.server, &from.partition.topic).await?;
            let (at, chosen_now) = self.place(&from, &identity).await?;
            let (next, entries) = (at.clone(), VecDeque::new());
            lanes.push(Lane { partition: from.partition, identity, at, entries, next, chosen_now, at_end: false });
        }
        self.lanes = lanes;
        (0..self.lanes.len()).for_each(|number| self.follow(number));
        Ok(())
    }

    async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.take(limits) {
                return Ok(event);
            }
            // Cancel-safe: what was received is kept at once. The feed holds a sender, so this never ends.
            let Some((number, read)) = self.receiver.recv().await else {
                return Err(Error::Refused("the feed was closed".to_owned()));
            };
            let lane = &mut self.lanes[number];
            match read {
                reader::Read::Page(page) => {
                    lane.at_end = false;
                    lane.entries.extend(page.entries);
                    lane.next = page.next;
                }
                reader::Read::AtEnd => lane.at_end = true,
                reader::Read::Failed(error) => return Err(error),
            }
        }
    }

    fn ends(&mut self, at: &[(Partition, Position)]) -> Ends {
        let (asked, at) = (self.asked.clone(), at.to_vec());
        Box::pin(async move {
            let mut ends = Vec::with_capacity(at.len());
            for (partition, position) in at {
                let (since, end) = (position.to_string(), asked.end(&partition.topic).await?);
                let page = asked.ask(&partition.topic, &[("since", &since), ("limit", "1")], &position).await?;
                // Servers that do not count what is left (before CouchDB 2.0) have numbers that do.
                let numbers = number_of(&end).saturating_sub(number_of(&since));
                let lag = page.pending.map_or(numbers, |pending| pending + page.entries.len() as u64);
                let position = rows::after(&Position::number(0), &end);
                ends.push(End { partition, position, lag: Some(lag) });
            }
            Ok(ends)
        })
    }
}

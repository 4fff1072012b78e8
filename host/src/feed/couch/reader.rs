//! Follows one database: pages until the end, then what comes, for as long as somebody listens.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::feed::Error;
use crate::http::Server;
use crate::model::{Outage, Partition, Position, chain};

use super::identity::{self, outage, refused};
use super::rows::{self, Page};
use super::source::{Mode, Settings};

/// Rows of one page while catching up.
const PAGE: usize = 1000;
/// Rows that a continuous answer may bring before they are handed on together.
const TOGETHER: usize = 1000;
/// The first and the longest wait before a lost server is asked again.
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LONGEST: Duration = Duration::from_secs(10);
/// A row that is longer than this is no row; a document of CouchDB is at most 4 GiB, by default 8 MB.
const LONGEST_ROW: usize = 256 << 20;

/// What a reader hands on.
#[derive(Debug)]
pub(super) enum Read {
    /// Rows, or a place without rows.
    Page(Page),
    /// Nothing more is there for now.
    AtEnd,
    /// It cannot go on.
    Failed(Error),
}

/// One database to follow.
pub(super) struct Reader {
    /// Which of the feed's databases it is.
    pub(super) number: usize,
    pub(super) server: Server,
    pub(super) settings: Arc<Settings>,
    pub(super) partition: Partition,
    /// Of the database that was there at the start.
    pub(super) identity: Arc<str>,
    pub(super) at: Position,
    pub(super) sender: mpsc::Sender<(usize, Read)>,
}

/// Why following stopped.
enum Stop {
    /// Nobody listens any more.
    Unheard,
    /// The server is gone, or said something odd; ask again.
    Again(Error),
    /// It makes no sense to ask again.
    ForGood(Error),
}

impl Reader {
    /// Reads until nobody listens, or until it cannot go on.
    pub(super) async fn run(mut self) {
        let mut wait = RETRY_FIRST;
        loop {
            let before = self.at.clone();
            match self.follow().await {
                Ok(()) | Err(Stop::Unheard) => return,
                Err(Stop::ForGood(error)) => {
                    // Whoever no longer listens needs no reason.
                    drop(self.sender.send((self.number, Read::Failed(error))).await);
                    return;
                }
                Err(Stop::Again(error)) => {
                    tracing::warn!(database = %self.partition.topic, error = chain(&error), "changes feed was lost; asks again");
                }
            }
            wait = if self.at == before { wait.saturating_mul(2).min(RETRY_LONGEST) } else { RETRY_FIRST };
            tokio::select! {
                () = sleep(wait) => {}
                () = self.sender.closed() => return,
            }
        }
    }

    async fn follow(&mut self) -> Result<(), Stop> {
        self.check_identity().await?;
        let limit = PAGE.to_string();
        loop {
            let page = self.page(&[("limit", &limit)]).await?;
            let is_last = page.entries.len() < PAGE;
            self.hand_on(page).await?;
            if is_last {
                break;
            }
        }
        self.send(Read::AtEnd).await?;
        match self.settings.mode {
            Mode::LongPoll => loop {
                let page =
                    self.page(&[("feed", "longpoll"), ("limit", &limit), ("heartbeat", &self.heartbeat())]).await?;
                let is_last = page.entries.len() < PAGE;
                self.hand_on(page).await?;
                if is_last {
                    self.send(Read::AtEnd).await?;
                }
            },
            Mode::Continuous => self.continuous().await,
        }
    }

    /// While nobody was connected, the database may have been deleted and made again.
    async fn check_identity(&self) -> Result<(), Stop> {
        match identity::of(&self.server, &self.partition.topic).await {
            Ok(found) if found == self.identity => Ok(()),
            Ok(found) => {
                let what = format!("the database was {}, but is {found} now", self.identity);
                Err(Stop::ForGood(Error::Incarnation { partition: self.partition.clone(), what }))
            }
            Err(error @ Error::Outage(_)) => Err(Stop::Again(error)),
            Err(error) => Err(Stop::ForGood(error)),
        }
    }

    async fn continuous(&mut self) -> Result<(), Stop> {
        let heartbeat = self.heartbeat();
        let mut response = self.ask(&[("feed", "continuous"), ("heartbeat", &heartbeat)]).await?;
        let mut buffer: Vec<u8> = Vec::new();
        loop {
            let chunk = response.chunk().await.map_err(|error| self.lost(error))?;
            let Some(chunk) = chunk else {
                let operation = format!("{}/{} ended its answer", self.server.place(), self.partition.topic);
                return Err(Stop::Again(Error::Outage(Outage { operation, source: None })));
            };
            buffer.extend_from_slice(&chunk);
            if buffer.len() > LONGEST_ROW {
                let operation = format!("{}/{} sends a row without end", self.server.place(), self.partition.topic);
                return Err(Stop::Again(Error::Outage(Outage { operation, source: None })));
            }
            let Some(end) = buffer.iter().rposition(|byte| *byte == b'\n') else { continue };
            let lines: Vec<u8> = buffer.drain(..=end).collect();
            self.lines(&lines).await?;
        }
    }

    /// Hands on the rows of whole lines; empty ones are the server's heart.
    async fn lines(&mut self, lines: &[u8]) -> Result<(), Stop> {
        let mut entries = Vec::new();
        let mut at = self.at.clone();
        for line in lines.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty()) {
            let entry = rows::entry(&self.partition.topic, &at, line).map_err(|error| self.odd(error))?;
            at = entry.next.clone();
            entries.push(entry);
            if entries.len() == TOGETHER {
                let entries = std::mem::take(&mut entries);
                self.hand_on(Page { entries, next: at.clone(), pending: None }).await?;
            }
        }
        if !entries.is_empty() {
            self.hand_on(Page { entries, next: at, pending: None }).await?;
        }
        // The next row may be on its way, but it is not here.
        self.send(Read::AtEnd).await
    }

    async fn page(&self, query: &[(&str, &str)]) -> Result<Page, Stop> {
        let answer = self.ask(query).await?.bytes().await.map_err(|error| self.lost(error))?;
        rows::page(&self.partition.topic, &self.at, &answer).map_err(|error| self.odd(error))
    }

    async fn ask(&self, query: &[(&str, &str)]) -> Result<Response, Stop> {
        let since = self.at.to_string();
        let mut query = query.to_vec();
        query.push(("since", &since));
        if self.settings.include_docs {
            query.push(("include_docs", "true"));
        }
        query.extend(self.settings.filtering());
        let request = self.server.request(Method::GET, &[&self.partition.topic, "_changes"], &query);
        let response = request.send().await.map_err(|error| self.lost(error))?;
        match response.status() {
            StatusCode::OK => Ok(response),
            status => match refused(&self.server, &self.partition.topic, status) {
                error @ Error::Outage(_) => Err(Stop::Again(error)),
                error => Err(Stop::ForGood(error)),
            },
        }
    }

    async fn hand_on(&mut self, page: Page) -> Result<(), Stop> {
        if page.next == self.at {
            return Ok(());
        }
        let next = page.next.clone();
        self.send(Read::Page(page)).await?;
        self.at = next;
        Ok(())
    }

    async fn send(&self, read: Read) -> Result<(), Stop> {
        match self.sender.send((self.number, read)).await {
            Ok(()) => Ok(()),
            Err(_unheard) => Err(Stop::Unheard),
        }
    }

    fn heartbeat(&self) -> String {
        self.settings.heartbeat.as_millis().to_string()
    }

    fn lost(&self, error: reqwest::Error) -> Stop {
        Stop::Again(outage(&self.server, &self.partition.topic, error))
    }

    fn odd(&self, error: rows::NoChanges) -> Stop {
        let operation = format!("could not read the changes of {}/{}", self.server.place(), self.partition.topic);
        Stop::Again(Error::Outage(Outage::new(operation, error)))
    }
}

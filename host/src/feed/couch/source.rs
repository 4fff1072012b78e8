//! Where the feeds come from: the settings, and how a feed is opened.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::feed::{Error, Feed, Source, Start};
use crate::http::Server;
use crate::model::Outage;

use super::feed::CouchFeed;

/// How a reader waits for the next change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// One answer that never ends, a line for each change.
    #[default]
    Continuous,
    /// A request for each wait; for servers behind proxies that collect answers.
    LongPoll,
}

/// What the feeds of one server share.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The server, perhaps with user and password.
    pub url: String,
    /// How readers wait.
    pub mode: Mode,
    /// How often the server says that it is still there while nothing changes; after three of them without a word the
    /// connection counts as lost.
    pub heartbeat: Duration,
    /// A filter of the server, as `design/name` or `_selector` and its like, with its parameters.
    pub filter: Option<String>,
    /// Further parameters of the request.
    pub parameters: Vec<(String, String)>,
    /// Whether documents travel in the changes.
    pub include_docs: bool,
}

impl Settings {
    /// What of the query chooses changes.
    pub(super) fn filtering(&self) -> impl Iterator<Item = (&str, &str)> {
        let filter = self.filter.as_deref().map(|filter| ("filter", filter));
        filter.into_iter().chain(self.parameters.iter().map(|(key, value)| (key.as_str(), value.as_str())))
    }
}

/// Opens feeds over databases of one server.
#[derive(Debug)]
pub struct CouchSource {
    server: Server,
    settings: Arc<Settings>,
}

impl CouchSource {
    /// A source over the server that the settings name; nothing is asked of it yet.
    ///
    /// # Errors
    /// When the address cannot be one of a server.
    pub fn new(settings: Settings) -> Result<Self, Outage> {
        let server = Server::new(&settings.url, settings.heartbeat.saturating_mul(3))?;
        Ok(Self { server, settings: Arc::new(settings) })
    }
}

#[async_trait]
impl Source for CouchSource {
    async fn open(&self, topics: &[Arc<str>], start: Start) -> Result<Box<dyn Feed>, Error> {
        Ok(Box::new(CouchFeed::new(self.server.clone(), Arc::clone(&self.settings), topics.to_vec(), start)))
    }
}

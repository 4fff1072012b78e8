//! What the sink is told about its server.

use std::fmt;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

/// Where the server is and how it is spoken to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Addresses of nodes, `http://…` or `https://…`; the next one is tried when one does not answer.
    pub urls: Vec<String>,
    /// Who asks.
    pub credentials: Option<Credentials>,
    /// A file of certificates, PEM, beside those that the system trusts.
    pub ca_file: Option<PathBuf>,
    /// Whether requests are compressed.
    pub gzip: bool,
    /// The most bytes of one request, before compression; one document alone may be larger.
    pub request_bytes: NonZeroUsize,
    /// The most writes of one request.
    pub request_count: NonZeroUsize,
    /// Requests that wait for an answer at once, of all pillows together.
    pub requests_in_flight: NonZeroUsize,
    /// How long an answer may take.
    pub timeout: Duration,
    /// When what was written can be found.
    pub refresh: Refresh,
    /// How long the server remembers the version of a deletion, `index.gc_deletes`.
    pub gc_deletes: Duration,
    /// Settings of indices that are made, as the server spells them.
    pub index_settings: Map<String, Value>,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// A user and a password.
    Basic {
        /// The user.
        username: String,
        /// The password.
        password: String,
    },
    /// An API key as Elasticsearch gives it, encoded.
    ApiKey(String),
}

/// When what was written can be found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Refresh {
    /// At the index's next refresh, by default within a second.
    #[default]
    Interval,
    /// At the index's next refresh, and the write waits for it.
    Wait,
    /// At once; costly.
    Now,
}

impl Refresh {
    /// As a parameter of a request.
    pub(super) fn parameter(self) -> &'static str {
        match self {
            Self::Interval => "",
            Self::Wait => "&refresh=wait_for",
            Self::Now => "&refresh=true",
        }
    }
}

impl Settings {
    /// A server at this address, with the defaults for everything else.
    pub fn new(url: impl Into<String>) -> Self {
        const fn count(count: usize) -> NonZeroUsize {
            NonZeroUsize::new(count).expect("it is not zero")
        }
        Self {
            urls: vec![url.into()],
            credentials: None,
            ca_file: None,
            gzip: false,
            request_bytes: const { count(5 << 20) },
            request_count: const { count(2000) },
            requests_in_flight: const { count(4) },
            timeout: Duration::from_secs(30),
            refresh: Refresh::default(),
            gc_deletes: Duration::from_hours(1),
            index_settings: Map::new(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Credentials(…)")
    }
}

//! The checked settings: what `pillowtop.toml` defines for every pillow.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Secret;
use super::observe::Observe;
use super::read_lookups::LookupStore;
use crate::sink::elasticsearch;

/// The name of the database that holds the checkpoints.
pub const MAIN: &str = "main";

/// The settings. Holding them proves that they were checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    pub(super) databases: BTreeMap<Arc<str>, Database>,
    pub(super) feeds: BTreeMap<Arc<str>, Feed>,
    pub(super) documents: BTreeMap<Arc<str>, Documents>,
    pub(super) sinks: BTreeMap<Arc<str>, Sink>,
    pub(super) limits: Limits,
    pub(super) log: Log,
    pub(super) observe: Observe,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// Its address; may hold a password.
    pub url: Secret,
}

/// A feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Feed {
    /// A change log table.
    Changelog {
        /// The database that holds it.
        database: Arc<str>,
        /// Over how many partitions documents are spread.
        partitions: NonZeroUsize,
    },
    /// Databases of CouchDB.
    Couch {
        /// The server; may hold a password.
        url: Secret,
        /// Whether readers ask again for each wait.
        long_poll: bool,
        /// How often the server says that it is still there.
        heartbeat: Duration,
        /// The server's filter.
        filter: Option<String>,
        /// Further parameters of the request.
        parameters: BTreeMap<String, String>,
        /// Whether documents travel in the changes.
        include_docs: bool,
    },
    /// Apache Kafka.
    Kafka {
        /// Where to begin: `host:port`, with commas between several.
        brokers: String,
        /// Further settings of librdkafka; any of them may be a secret.
        options: BTreeMap<String, Secret>,
    },
}

/// A document store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Documents {
    /// A query that takes many ids.
    Sql {
        /// The database to ask.
        database: Arc<str>,
        /// The query, with `:ids` where the ids go.
        query: String,
        /// The query for all ids, for a backfill.
        ids: Option<String>,
    },
    /// CouchDB.
    Couch {
        /// The server; may hold a password.
        url: Secret,
        /// The database; none: the one that each change names.
        database: Option<Arc<str>>,
    },
    /// An address for each document.
    Http {
        /// With `{id}` in it.
        url: Secret,
        /// The header `Authorization`.
        authorization: Option<Secret>,
        /// How many are asked for at once.
        at_once: NonZeroUsize,
    },
    /// The document is in the change.
    Inline,
    /// Nothing but look-ups.
    Lookup(LookupStore),
}

/// A sink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// Tables.
    Sql {
        /// The database that holds them.
        database: Arc<str>,
    },
    /// The embedded search index.
    Search {
        /// Where it keeps its files.
        folder: PathBuf,
    },
    /// A cache in Redis.
    Redis {
        /// Its address; may hold a password.
        url: Secret,
        /// Stands before every key.
        prefix: String,
        /// The caches whose keys are counted up instead of removed.
        counters: BTreeSet<Arc<str>>,
    },
    /// Elasticsearch or OpenSearch.
    Elasticsearch(Box<elasticsearch::Settings>),
    /// Topics of Apache Kafka.
    Kafka {
        /// Where to begin: `host:port`, with commas between several.
        brokers: String,
        /// Further settings of librdkafka; any of them may be a secret.
        options: BTreeMap<String, Secret>,
    },
    /// Forgets everything at exit.
    Memory,
}

/// Bounds of the whole process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Threads that run processors; none: as many as the machine has cores.
    pub workers: Option<NonZeroUsize>,
    /// Memory of one instance in bytes; one that wants more fails the change.
    pub memory: NonZeroUsize,
    /// An instance that holds more bytes than this after a call is replaced by a fresh one.
    pub memory_mark: NonZeroUsize,
    /// CPU time of one call of a processor; beyond it the change fails.
    pub cpu_deadline: Duration,
    /// Time of one call by the clock on the wall, look-ups included.
    pub wall_limit: Duration,
    /// Batches of all pillows that are fetched, processed or settled at once; feeds wait beyond it.
    pub batches_in_flight: NonZeroUsize,
    /// Where compiled modules are kept.
    pub module_cache: PathBuf,
    /// How long a stopping host settles what is in hand before it gives up.
    pub grace_period: Duration,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Log {
    /// From which level on.
    pub level: Level,
    /// How a line looks.
    pub format: Format,
}

/// Levels of the log, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Level {
    /// Someone must act.
    Error,
    /// It recovers.
    Warn,
    /// Steps in a life.
    #[default]
    Info,
    /// Per batch.
    Debug,
    /// Everything.
    Trace,
}

/// How a line of the log looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// A name in the settings that a pillow depends on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Used {
    /// `[databases.NAME]`, or [`MAIN`].
    Database(Arc<str>),
    /// `[feeds.NAME]`.
    Feed(Arc<str>),
    /// `[documents.NAME]`.
    Documents(Arc<str>),
    /// `[sinks.NAME]`.
    Sink(Arc<str>),
}

impl Settings {
    /// The database that holds the checkpoints.
    pub fn main(&self) -> &Database {
        self.databases.get(MAIN).expect("settings are not made without it")
    }

    /// All databases by name, [`MAIN`] among them.
    pub fn databases(&self) -> &BTreeMap<Arc<str>, Database> {
        &self.databases
    }

    /// All feeds by name.
    pub fn feeds(&self) -> &BTreeMap<Arc<str>, Feed> {
        &self.feeds
    }

    /// All document stores by name.
    pub fn documents(&self) -> &BTreeMap<Arc<str>, Documents> {
        &self.documents
    }

    /// All sinks by name.
    pub fn sinks(&self) -> &BTreeMap<Arc<str>, Sink> {
        &self.sinks
    }

    /// The bounds of the process. They take effect at its start.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The log. It takes effect at the start of the process.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// How the host is watched from outside. It takes effect at the start of the process.
    pub fn observe(&self) -> &Observe {
        &self.observe
    }

    /// Whether these settings and `other` say the same of `used`.
    pub fn agrees(&self, other: &Self, used: &Used) -> bool {
        match used {
            Used::Database(name) => self.databases.get(name) == other.databases.get(name),
            Used::Feed(name) => self.feeds.get(name) == other.feeds.get(name),
            Used::Documents(name) => {
                self.documents.get(name) == other.documents.get(name)
                    && self.routed(name).all(|name| self.documents.get(name) == other.documents.get(name))
            }
            Used::Sink(name) => self.sinks.get(name) == other.sinks.get(name),
        }
    }

    /// The stores that a store of kind `by-type` passes its keys on to.
    fn routed(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        let routes = match self.documents.get(name) {
            Some(Documents::Lookup(LookupStore::ByType { types, other })) => Some(types.values().chain(other)),
            _ => None,
        };
        routes.into_iter().flatten()
    }

    /// The databases that an entry stands on.
    pub(super) fn databases_of(&self, used: &Used) -> Vec<Arc<str>> {
        let routed: Vec<Used> = match used {
            Used::Documents(name) => self.routed(name).cloned().map(Used::Documents).collect(),
            Used::Database(_) | Used::Feed(_) | Used::Sink(_) => Vec::new(),
        };
        [used].into_iter().chain(&routed).filter_map(|used| self.database_of(used)).collect()
    }

    fn database_of(&self, used: &Used) -> Option<Arc<str>> {
        let database = match used {
            Used::Database(name) => name,
            Used::Feed(name) => match self.feeds.get(name)? {
                Feed::Changelog { database, .. } => database,
                Feed::Couch { .. } | Feed::Kafka { .. } => return None,
            },
            Used::Documents(name) => match self.documents.get(name)? {
                Documents::Sql { database, .. } | Documents::Lookup(LookupStore::Sql { database, .. }) => database,
                Documents::Couch { .. } | Documents::Http { .. } | Documents::Inline | Documents::Lookup(_) => {
                    return None;
                }
            },
            Used::Sink(name) => match self.sinks.get(name)? {
                Sink::Sql { database } => database,
                Sink::Search { .. }
                | Sink::Elasticsearch(_)
                | Sink::Kafka { .. }
                | Sink::Redis { .. }
                | Sink::Memory => return None,
            },
        };
        Some(Arc::clone(database))
    }
}

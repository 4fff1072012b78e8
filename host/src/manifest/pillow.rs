//! The checked manifest of one pillow.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::lists::ConfigList;
use super::settings::{MAIN, Settings, Used};
use crate::feed::{Limits, Start};
use crate::model::{Collapse, Digest, PillowName, ProcessorName};

/// One pillow, as declared. Holding it proves that it was checked against the settings.
///
/// Two are equal when they declare the same; where the file lies does not count.
#[derive(Debug, Clone)]
pub struct Manifest {
    pub(super) file: PathBuf,
    pub(super) uses: BTreeSet<Used>,
    pub(super) pillow: Pillow,
}

/// What a manifest declares.
#[derive(Debug, Clone, PartialEq)]
pub struct Pillow {
    /// Its name: the identity of its checkpoints.
    pub name: PillowName,
    /// Whether the file says that it does not run.
    pub paused: bool,
    /// What it reads.
    pub feed: FeedUse,
    /// Where its documents are.
    pub documents: DocumentsUse,
    /// Whether several changes of a document in a batch are one.
    pub collapse: Collapse,
    /// How its batches close.
    pub batch: Batches,
    /// When it halts.
    pub failures: Failures,
    /// How long what its processors defer waits in its queue.
    pub queue_delay: Duration,
    /// What it runs, at least one, in the order of the file.
    pub processors: Vec<Processor>,
}

/// What a pillow reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedUse {
    /// The feed.
    pub from: Arc<str>,
    /// Its topics, at least one.
    pub topics: Vec<Arc<str>>,
    /// Where to begin a partition without checkpoint.
    pub start: Start,
    /// The group that deals out the partitions; none: each host reads its share, or all.
    pub group: Option<Arc<str>>,
}

/// Where a pillow's documents are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentsUse {
    /// The store of every source that is not named.
    pub default: Arc<str>,
    /// Stores by source.
    pub sources: BTreeMap<Arc<str>, Arc<str>>,
}

/// How batches close.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batches {
    /// Entries and bytes of one batch.
    pub limits: Limits,
    /// Batches of one lane that are fetched, processed or settled at once.
    pub in_flight: NonZeroUsize,
}

/// When a pillow halts because too much of what it does fails.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Failures {
    /// The share of failed changes, above 0 and at most 1, beyond which it halts.
    pub halt_above: f64,
    /// Over how many of the latest changes the share is taken.
    pub window: NonZeroUsize,
    /// How many changes there must be before the share counts; at most the window.
    pub minimum: NonZeroUsize,
}

/// A processor of a pillow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processor {
    /// Its name within the pillow.
    pub name: ProcessorName,
    /// The file of its code.
    pub module: PathBuf,
    /// Whether it may write to the log.
    pub may_log: bool,
    /// Look-ups that it may use, with the document store of each.
    pub lookups: BTreeMap<Arc<str>, Arc<str>>,
    /// The sink of its tables.
    pub tables: Option<Arc<str>>,
    /// The sinks of tables that name databases, by those names.
    pub engines: BTreeMap<Arc<str>, Arc<str>>,
    /// The sink of its indices.
    pub indices: Option<Arc<str>>,
    /// The sink of what it publishes.
    pub topics: Option<Arc<str>>,
    /// The sink of what it invalidates.
    pub caches: Option<Arc<str>>,
    /// Its configuration.
    pub config: Configuration,
    /// Lists of the configuration that come from elsewhere.
    pub lists: Vec<ConfigList>,
}

/// A processor's configuration as JSON text. It may hold secrets: `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Configuration(pub(super) Arc<str>);

impl Manifest {
    /// The file, as it was given.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The name of the pillow.
    pub fn name(&self) -> &PillowName {
        &self.pillow.name
    }

    /// What is declared.
    pub fn pillow(&self) -> &Pillow {
        &self.pillow
    }

    /// Everything in the settings that the pillow depends on, databases of its feed, stores and sinks included.
    pub fn uses(&self) -> &BTreeSet<Used> {
        &self.uses
    }

    /// Whether a change of the settings concerns this pillow.
    pub fn is_concerned(&self, before: &Settings, after: &Settings) -> bool {
        self.uses.iter().any(|used| !before.agrees(after, used))
    }

    /// The SHA-256 of what is declared, the same on every host and whatever the text looks like.
    pub fn fingerprint(&self) -> Digest {
        let text = self.pillow.canonical().to_string();
        Digest(Sha256::digest(text.as_bytes()).into())
    }
}

impl PartialEq for Manifest {
    fn eq(&self, other: &Self) -> bool {
        self.pillow == other.pillow && self.uses == other.uses
    }
}

impl Pillow {
    /// Whether `other` differs in nothing but its processors, so that running batches may go on beside it: a swap does,
    /// where a changed feed, store or bound needs a restart.
    pub fn can_swap_to(&self, other: &Self) -> bool {
        let as_here = Self { processors: self.processors.clone(), ..other.clone() };
        *self == as_here
    }

    /// Every document store, look-ups included, and every sink by name; and the feed.
    pub(super) fn names(&self) -> BTreeSet<Used> {
        let mut names = BTreeSet::from([Used::Database(Arc::from(MAIN)), Used::Feed(Arc::clone(&self.feed.from))]);
        let lookups = self.processors.iter().flat_map(|processor| processor.lookups.values());
        let stores = self.documents.sources.values().chain([&self.documents.default]).chain(lookups);
        names.extend(stores.cloned().map(Used::Documents));
        for Processor { tables, engines, indices, topics, caches, lists, .. } in &self.processors {
            names.extend(engines.values().cloned().map(Used::Sink));
            names.extend([tables, indices, topics, caches].into_iter().flatten().cloned().map(Used::Sink));
            names.extend(lists.iter().filter_map(ConfigList::used));
        }
        names
    }

    /// Everything by value, in one order. The patterns name every field, so that none is forgotten.
    fn canonical(&self) -> Value {
        let Self { name, paused, feed, documents, collapse, batch, failures, queue_delay, processors } = self;
        let FeedUse { from, topics, start, group } = feed;
        let DocumentsUse { default, sources } = documents;
        let Batches { limits: Limits { count, bytes }, in_flight } = batch;
        let Failures { halt_above, window, minimum } = failures;
        json!({
            "name": name.as_str(),
            "paused": paused,
            "feed": [
                **from,
                topics.iter().map(|topic| &**topic).collect::<Vec<_>>(),
                match start {
                    Start::Earliest => "earliest".to_owned(),
                    Start::Latest => "latest".to_owned(),
                    Start::At(time) => time.to_string(),
                },
                group.as_deref(),
            ],
            "documents": [**default, plain(sources)],
            "collapse": match collapse { Collapse::ByDocument => "by-document", Collapse::None => "none" },
            "batch": [count, bytes, in_flight],
            "failures": [halt_above, window, minimum],
            "queue": queue_delay.as_millis().to_string(),
            "processors": processors.iter().map(Processor::canonical).collect::<Vec<_>>(),
        })
    }
}

impl Processor {
    fn canonical(&self) -> Value {
        let Self { name, module, may_log, lookups, tables, engines, indices, topics, caches, config, lists } = self;
        json!({
            "name": name.as_str(),
            "module": module.to_string_lossy(),
            "log": may_log,
            "lookups": plain(lookups),
            "engines": plain(engines),
            "sinks": [tables.as_deref(), indices.as_deref(), topics.as_deref(), caches.as_deref()],
            "config": config.json(),
            "lists": lists.iter().map(ConfigList::canonical).collect::<Vec<_>>(),
        })
    }
}

fn plain(map: &BTreeMap<Arc<str>, Arc<str>>) -> Value {
    map.iter().map(|(key, value)| (key.to_string(), Value::from(&**value))).collect()
}

impl Configuration {
    /// The JSON text.
    pub fn json(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Configuration {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Configuration(…)")
    }
}

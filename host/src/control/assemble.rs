//! Makes adapters of settings and manifests: the only file that names them all.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroU16;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::{Mutex, Semaphore};

use crate::checkpoint::CheckpointStore;
use crate::checkpoint::postgres::PostgresStore;
use crate::checkpoint::sqlite::SqliteStore;
use crate::documents::DocumentStore;
use crate::documents::by_type::ByType;
use crate::documents::couch::CouchDocuments;
use crate::documents::couch_view;
use crate::documents::http::HttpDocuments;
use crate::documents::http_lookup::HttpLookup;
use crate::documents::inline::InlineDocuments;
use crate::documents::sql::{QueryError, SqlDocuments, SqlLookup};
use crate::feed::{self, changelog, couch, kafka};
use crate::manifest::{Documents, Feed, FeedUse, LookupStore, MAIN, Manifest, Secret, Settings, Sink as SinkSettings};
use crate::metrics::{CaseTypes, FEED_TYPES, Metrics};
use crate::model::{Clock, Outage};
use crate::pipeline::{FailureLimit, Fetcher, Pillow, Status, Tuning, Workers};
use crate::processor::wasm;
use crate::sink::Sink;
use crate::sink::elasticsearch::{self, ElasticsearchSink};
use crate::sink::kafka::KafkaSink;
use crate::sink::memory::MemorySink;
use crate::sink::redis::{self, RedisSink};
use crate::sink::search::SearchSink;
use crate::sink::sql::SqlSink;
use crate::sql::Database;
use crate::traces::Traces;

/// Everything that pillows share: opened when first needed, once.
pub struct Resources {
    /// Compiles and runs modules.
    pub(super) engine: wasm::Engine,
    /// Compiled code on disk.
    pub(super) cache: wasm::Cache,
    /// Bounds of processors.
    pub(super) limits: wasm::Limits,
    /// Call processors.
    pub(super) workers: Workers,
    /// Keeps progress.
    pub(super) checkpoints: Arc<dyn CheckpointStore>,
    metrics: Arc<Metrics>,
    traces: Traces,
    settings: Settings,
    /// What this host reads of feeds that several hosts share by number.
    share: feed::Share,
    /// Bounds the batches of all pillows.
    in_flight: Arc<Semaphore>,
    databases: Mutex<HashMap<Arc<str>, Database>>,
    sources: Mutex<HashMap<Arc<str>, Arc<dyn feed::Source>>>,
    stores: Mutex<HashMap<Arc<str>, Arc<dyn DocumentStore>>>,
    sinks: Mutex<HashMap<Arc<str>, Arc<dyn Sink>>>,
}

impl Resources {
    /// Opens the checkpoint database, the engine and the workers.
    ///
    /// # Errors
    /// When one of them cannot be had.
    pub async fn open(settings: &Settings) -> Result<Self, Outage> {
        let main = Database::open(settings.main().url.reveal()).await?;
        let checkpoints = open_checkpoints(&main).await?;
        let limits = settings.limits();
        let workers = limits.workers.map_or_else(cores, |workers| workers.get());
        Ok(Self {
            engine: wasm::Engine::new().map_err(|error| Outage::new("could not start the WASM engine", error))?,
            cache: wasm::Cache::open(&limits.module_cache)
                .map_err(|error| Outage::new("could not open the module cache", error))?,
            limits: wasm::Limits {
                memory_bytes: limits.memory.get(),
                memory_mark_bytes: limits.memory_mark.get(),
                cpu: limits.cpu_deadline,
                wall: limits.wall_limit,
                ..wasm::Limits::default()
            },
            workers: Workers::start(workers)
                .map_err(|error| Outage::new("could not start the threads that run processors", error))?,
            checkpoints,
            metrics: Arc::new(Metrics::with(match settings.observe().metrics.case_types {
                true => CaseTypes::Apart,
                false => CaseTypes::Together,
            })),
            traces: Traces::default(),
            share: feed::Share::WHOLE,
            in_flight: Arc::new(Semaphore::new(limits.batches_in_flight.get().min(Semaphore::MAX_PERMITS))),
            databases: Mutex::new(HashMap::from([(Arc::from(MAIN), main)])),
            sources: Mutex::default(),
            stores: Mutex::default(),
            sinks: Mutex::default(),
            settings: settings.clone(),
        })
    }

    /// The same for a host that reads this share of the partitions.
    #[must_use]
    pub fn with_share(mut self, share: feed::Share) -> Self {
        self.share = share;
        self
    }

    /// The checkpoint store.
    pub fn checkpoints(&self) -> &Arc<dyn CheckpointStore> {
        &self.checkpoints
    }

    /// Everything that this process counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Has the batches of its pillows traced.
    pub(super) fn trace_with(&mut self, traces: Traces) {
        self.traces = traces;
    }

    /// A database of the settings.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn database(&self, name: &str) -> Result<Database, Outage> {
        let mut databases = self.databases.lock().await;
        if let Some(database) = databases.get(name) {
            return Ok(database.clone());
        }
        let settings = self.settings.databases().get(name).ok_or_else(|| unknown("database", name))?;
        let database = Database::open(settings.url.reveal()).await?;
        databases.insert(Arc::from(name), database.clone());
        Ok(database)
    }

    /// The address of a database of the settings.
    ///
    /// # Errors
    /// When the settings do not define it.
    pub(super) fn database_url(&self, name: &str) -> Result<&Secret, Outage> {
        self.settings.databases().get(name).map(|database| &database.url).ok_or_else(|| unknown("database", name))
    }

    /// What a pillow runs on, but for its processors.
    pub(super) async fn pillow(&self, manifest: &Manifest) -> Result<Pillow, Outage> {
        let declared = manifest.pillow();
        let mut by_source = HashMap::new();
        for (source, store) in &declared.documents.sources {
            by_source.insert(Arc::clone(source), self.documents(store).await?);
        }
        Ok(Pillow {
            name: declared.name.clone(),
            source: self.source(&declared.feed).await?,
            topics: declared.feed.topics.clone(),
            start: declared.feed.start,
            fetcher: Fetcher { default: self.documents(&declared.documents.default).await?, by_source },
            checkpoints: Arc::clone(&self.checkpoints),
            workers: self.workers.clone(),
            tuning: Tuning {
                limits: declared.batch.limits,
                in_flight: declared.batch.in_flight.get(),
                collapse: declared.collapse,
                failures: FailureLimit {
                    share: declared.failures.halt_above,
                    window: declared.failures.window.get(),
                    minimum: declared.failures.minimum.get(),
                },
                queue_delay: declared.queue_delay,
                gathering: Tuning::GATHERING,
            },
            in_flight: Arc::clone(&self.in_flight),
            clock: Clock::System,
            status: Arc::new(
                Status::new(Clock::System.now(), declared.name.clone(), Arc::clone(&self.metrics))
                    .traced(self.traces.clone())
                    .fed_by(self.feed_type(&declared.feed.from)),
            ),
        })
    }

    /// The type of a feed, as metrics name it.
    fn feed_type(&self, name: &str) -> &'static str {
        let [couch, kafka, changelog] = FEED_TYPES;
        match self.settings.feeds().get(name) {
            Some(Feed::Kafka { .. }) => kafka,
            Some(Feed::Changelog { .. }) => changelog,
            // One that is not there is not opened either.
            Some(Feed::Couch { .. }) | None => couch,
        }
    }

    /// What a pillow reads, as far as this host does.
    async fn source(&self, declared: &FeedUse) -> Result<Arc<dyn feed::Source>, Outage> {
        let name = &*declared.from;
        if let Some(Feed::Kafka { brokers, options }) = self.settings.feeds().get(name) {
            let options = options.iter().map(|(key, value)| (key.clone(), value.reveal().to_owned())).collect();
            let assignment = match &declared.group {
                Some(group) => kafka::Assignment::Group(group.to_string()),
                None => kafka::Assignment::Static(self.share),
            };
            return Ok(Arc::new(kafka::KafkaSource {
                assignment,
                ..kafka::KafkaSource::new(brokers.clone(), options)
            }));
        }
        let source = self.fixed_source(name).await?;
        Ok(if self.share.is_whole() { source } else { Arc::new(feed::Shared::new(source, self.share)) })
    }

    /// A feed whose partitions are fixed; it is the same for all pillows.
    async fn fixed_source(&self, name: &str) -> Result<Arc<dyn feed::Source>, Outage> {
        let mut sources = self.sources.lock().await;
        if let Some(source) = sources.get(name) {
            return Ok(Arc::clone(source));
        }
        let settings = self.settings.feeds().get(name).ok_or_else(|| unknown("feed", name))?;
        let source: Arc<dyn feed::Source> = match settings {
            Feed::Changelog { database, partitions } => {
                let database = self.database(database).await?;
                let partitions = NonZeroU16::try_from(*partitions).unwrap_or(NonZeroU16::MAX);
                // So that an application can write into it before anything was published.
                changelog::create_tables(&database, partitions).await?;
                Arc::new(changelog::ChangelogSource::new(database))
            }
            Feed::Couch { url, long_poll, heartbeat, filter, parameters, include_docs } => {
                Arc::new(couch::CouchSource::new(couch::Settings {
                    url: url.reveal().to_owned(),
                    mode: if *long_poll { couch::Mode::LongPoll } else { couch::Mode::Continuous },
                    heartbeat: *heartbeat,
                    filter: filter.clone(),
                    parameters: parameters.clone().into_iter().collect(),
                    include_docs: *include_docs,
                })?)
            }
            // Each pillow has its own: see `source`.
            Feed::Kafka { .. } => return Err(unknown("feed of fixed partitions", name)),
        };
        sources.insert(Arc::from(name), Arc::clone(&source));
        Ok(source)
    }

    /// A document store of the settings.
    pub(super) async fn documents(&self, name: &str) -> Result<Arc<dyn DocumentStore>, Outage> {
        if let Some(Documents::Lookup(LookupStore::ByType { types, other })) = self.settings.documents().get(name) {
            if let Some(store) = self.stores.lock().await.get(name) {
                return Ok(Arc::clone(store));
            }
            let mut by_type = BTreeMap::new();
            for (kind, store) in types {
                by_type.insert(Arc::clone(kind), self.store(store).await?);
            }
            let other = match other {
                Some(store) => Some(self.store(store).await?),
                None => None,
            };
            // Of two that come at once the first counts: what one batch found is known by its store.
            let made: Arc<dyn DocumentStore> = Arc::new(ByType::new(by_type, other));
            return Ok(Arc::clone(self.stores.lock().await.entry(Arc::from(name)).or_insert(made)));
        }
        self.store(name).await
    }

    /// One that is no mere way to others.
    async fn store(&self, name: &str) -> Result<Arc<dyn DocumentStore>, Outage> {
        let mut stores = self.stores.lock().await;
        if let Some(store) = stores.get(name) {
            return Ok(Arc::clone(store));
        }
        let failed = |error: QueryError| Outage::new("could not open a document store", error);
        let settings = self.settings.documents().get(name).ok_or_else(|| unknown("document store", name))?;
        let store: Arc<dyn DocumentStore> = match settings {
            Documents::Inline => Arc::new(InlineDocuments),
            Documents::Couch { url, database } => Arc::new(CouchDocuments::new(url.reveal(), database.clone())?),
            Documents::Http { url, authorization, at_once } => {
                let authorization = authorization.as_ref().map(|secret| secret.reveal().to_owned());
                Arc::new(HttpDocuments::new(url.reveal(), authorization, at_once.get())?)
            }
            Documents::Sql { database, query, ids } => {
                let database = self.database(database).await?;
                let store = SqlDocuments::new(&database, name, query).await.map_err(failed)?;
                Arc::new(match ids {
                    Some(ids) => store.listing(ids).await.map_err(failed)?,
                    None => store,
                })
            }
            Documents::Lookup(LookupStore::Sql { database, query }) => {
                let database = self.database(database).await?;
                Arc::new(SqlLookup::new(&database, name, query).await.map_err(failed)?)
            }
            Documents::Lookup(LookupStore::CouchView { url, database, design, view, include_docs }) => {
                let (database, design, name) = (Arc::clone(database), design.clone(), view.clone());
                let view = couch_view::View { database, design, name, include_docs: *include_docs };
                Arc::new(couch_view::CouchView::new(url.reveal(), view)?)
            }
            Documents::Lookup(LookupStore::Http { url, authorization }) => {
                let authorization = authorization.as_ref().map(|secret| secret.reveal().to_owned());
                Arc::new(HttpLookup::new(url.reveal(), authorization)?)
            }
            Documents::Lookup(LookupStore::ByType { .. }) => return Err(unknown("document store of its own", name)),
        };
        stores.insert(Arc::from(name), Arc::clone(&store));
        Ok(store)
    }

    /// A sink of the settings.
    pub(super) async fn sink(&self, name: &str) -> Result<Arc<dyn Sink>, Outage> {
        let mut sinks = self.sinks.lock().await;
        if let Some(sink) = sinks.get(name) {
            return Ok(Arc::clone(sink));
        }
        let settings = self.settings.sinks().get(name).ok_or_else(|| unknown("sink", name))?;
        let sink: Arc<dyn Sink> = match settings {
            SinkSettings::Sql { database } => {
                let beside_checkpoint = database.as_ref() == MAIN;
                Arc::new(SqlSink::new(self.database(database).await?, beside_checkpoint))
            }
            SinkSettings::Search { folder } => Arc::new(SearchSink::open(folder)),
            SinkSettings::Redis { url, prefix, counters } => Arc::new(RedisSink::new(redis::Settings {
                url: url.reveal().to_owned(),
                prefix: prefix.clone(),
                counters: counters.clone(),
            })),
            SinkSettings::Elasticsearch(settings) => Arc::new(ElasticsearchSink::new(settings.as_ref().clone())?),
            SinkSettings::Kafka { brokers, options } => {
                let options = options.iter().map(|(key, value)| (key.clone(), value.reveal().to_owned())).collect();
                let sink = KafkaSink::new(brokers.clone(), &options);
                Arc::new(sink.map_err(|error| Outage::new(format!("could not open sink {name}"), error))?)
            }
            SinkSettings::Memory => Arc::new(MemorySink::default()),
        };
        sinks.insert(Arc::from(name), Arc::clone(&sink));
        Ok(sink)
    }
}

/// The store of checkpoints that the main database holds.
///
/// # Errors
/// When the database does not answer.
pub async fn open_checkpoints(main: &Database) -> Result<Arc<dyn CheckpointStore>, Outage> {
    match main {
        Database::Sqlite(sqlite) => Ok(Arc::new(SqliteStore::open(sqlite.clone(), Clock::System).await?)),
        Database::Postgres(postgres) => Ok(Arc::new(PostgresStore::open(postgres.clone(), Clock::System).await?)),
    }
}

/// Where a search sink keeps its indices.
#[derive(Debug, Clone, Copy)]
pub enum Indices<'a> {
    /// In a folder.
    Folder(&'a Path),
    /// On a server.
    Server(&'a elasticsearch::Settings),
}

/// Where a search sink keeps its indices; the only one when no name is given.
///
/// # Errors
/// A sentence that says what there is instead.
pub fn search_indices<'a>(settings: &'a Settings, name: Option<&str>) -> Result<Indices<'a>, String> {
    let mut all = settings.sinks().iter().filter_map(|(sink, settings)| match settings {
        SinkSettings::Search { folder } => Some((sink.as_ref(), Indices::Folder(folder))),
        SinkSettings::Elasticsearch(settings) => Some((sink.as_ref(), Indices::Server(settings))),
        SinkSettings::Sql { .. } | SinkSettings::Kafka { .. } | SinkSettings::Redis { .. } | SinkSettings::Memory => {
            None
        }
    });
    if let Some(name) = name {
        let found = all.find(|(sink, _)| *sink == name);
        return found.map(|(_, indices)| indices).ok_or_else(|| format!("the settings define no search sink `{name}`"));
    }
    match (all.next(), all.next()) {
        (Some((_, indices)), None) => Ok(indices),
        (None, _) => Err("the settings define no sink of kind `search` or `elasticsearch`".to_owned()),
        (Some(_), Some(_)) => Err("the settings define several search sinks: choose one with --sink".to_owned()),
    }
}

/// The address of the database that holds the tables of a SQL sink; of the only one when no name is given.
///
/// # Errors
/// A sentence that says what there is instead.
pub fn tables_url<'a>(settings: &'a Settings, name: Option<&str>) -> Result<&'a Secret, String> {
    let mut databases: Vec<&Arc<str>> = Vec::new();
    for (sink, kind) in settings.sinks() {
        if let SinkSettings::Sql { database } = kind
            && name.is_none_or(|name| name == sink.as_ref())
            && !databases.contains(&database)
        {
            databases.push(database);
        }
    }
    match (databases.as_slice(), name) {
        ([database], _) => Ok(&settings.databases()[*database].url),
        ([], Some(name)) => Err(format!("the settings define no SQL sink `{name}`")),
        ([], None) => Err("the settings define no sink of kind `sql`".to_owned()),
        (_, _) => Err("the settings define SQL sinks in several databases: choose one with --sink".to_owned()),
    }
}

/// As many threads as cores; one when the system does not say.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// The manifest was checked against the settings, so this means that they changed in between.
fn unknown(kind: &str, name: &str) -> Outage {
    Outage { operation: format!("the settings define no {kind} `{name}`"), source: None }
}

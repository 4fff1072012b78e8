//! Makes a generation of what the manifest names: loads, checks and prepares everything before anything takes over.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::manifest::{Manifest, Processor as ProcessorEntry, Settings};
use crate::model::{Outage, PillowName, Table, chain, timestamp_text};
use crate::pipeline::{Generation, LookupStores, Pillow, Stage, StageCounts};
use crate::processor::{Processor, StartError, wasm};
use crate::sink::{Differing, Owner, PrepareError, Sink, Standing};

use super::assemble::Resources;
use super::plan::Shape;
use super::{lists, modules};

/// What came of the latest attempt to change a pillow's processors.
#[derive(Debug, Clone, Default)]
pub(super) enum LastSwap {
    /// There was none since the pillow started.
    #[default]
    None,
    /// The new generation took over.
    Done(Timestamp),
    /// The running one was kept, and why.
    Failed(Timestamp, String),
}

/// A generation on its way, or why there is none.
pub(super) struct Built {
    /// What it was made from.
    pub(super) manifest: Manifest,
    /// The same with the modules as they were read: a file may change between the look and the build.
    pub(super) shape: Shape,
    /// The generation.
    pub(super) result: Result<Ready, BuildError>,
}

/// A generation that can take over.
pub(super) struct Ready {
    pub(super) generation: Arc<Generation>,
    /// What it runs in; none for a swap, which goes on in what is there.
    pub(super) frame: Option<Box<Pillow>>,
}

/// How much is to be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// The processors.
    Processors,
    /// The processors and all that they run in.
    Everything,
}

/// When what could not be built is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Retry {
    /// After a wait: the same files may do then.
    Later,
    /// When its files change.
    WhenChanged,
}

/// Why a generation cannot take over. Whatever ran before still does.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    /// A processor cannot be loaded.
    #[error("processor {processor}")]
    Processor {
        /// Which.
        processor: String,
        /// Why.
        source: StartError,
    },
    /// A list of its configuration is not there.
    #[error("processor {processor}: {reason}")]
    List {
        /// Which.
        processor: String,
        /// Which list, and why.
        reason: String,
    },
    /// It writes to something that the manifest gives no sink for.
    #[error("processor {processor} declares {what}, but the manifest names no sink for it: add `{key} = \"…\"`")]
    NoSink {
        /// Which.
        processor: String,
        /// Tables, indices, topics or caches, with their names.
        what: String,
        /// The key of the manifest.
        key: &'static str,
    },
    /// It asks for a look-up that is not granted.
    #[error("processor {processor} asks for look-up `{lookup}`, which is not granted: add it to `lookups`")]
    NotGranted {
        /// Which.
        processor: String,
        /// The look-up.
        lookup: String,
    },
    /// A sink refuses the declared tables or indices.
    #[error("processor {processor}: a sink refuses its tables or indices")]
    Refused {
        /// Which.
        processor: String,
        /// Why.
        source: PrepareError,
    },
    /// The settings' part of it cannot be opened.
    #[error("could not be assembled")]
    Resources(#[source] Outage),
    /// The thread that loads modules died, which is a defect of the host.
    #[error("loading a module failed: {0}")]
    Loader(String),
}

impl BuildError {
    /// Whether something beside the files was in the way.
    pub(super) fn retry(&self) -> Retry {
        match self {
            Self::Resources(_) | Self::Loader(_) | Self::Refused { source: PrepareError::Outage(_), .. } => {
                Retry::Later
            }
            Self::Processor { .. }
            | Self::List { .. }
            | Self::NoSink { .. }
            | Self::NotGranted { .. }
            | Self::Refused { .. } => Retry::WhenChanged,
        }
    }
}

impl LastSwap {
    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::None => Value::Null,
            Self::Done(at) => json!({ "at": timestamp_text(*at), "ok": true }),
            Self::Failed(at, error) => json!({ "at": timestamp_text(*at), "ok": false, "error": error }),
        }
    }
}

/// Loads and configures the manifest's processors, checks them against the sinks, and makes their tables and indices:
/// the sinks come last, so a module that does not start or does not fit changes nothing.
pub(super) async fn build(
    manifest: Manifest,
    lists: Vec<Vec<lists::Found>>,
    number: u64,
    scope: Scope,
    resources: &Resources,
) -> Built {
    let contents = read(&manifest).await;
    let found = |content: &std::io::Result<Vec<u8>>| match content {
        Ok(bytes) => Ok(modules::digest(bytes)),
        Err(error) => Err(error.kind()),
    };
    let shape = Shape { pillow: manifest.pillow().clone(), modules: contents.iter().map(found).collect(), lists };
    let result = make(&manifest, contents, &shape.lists, number, scope, resources).await;
    Built { manifest, shape, result }
}

async fn make(
    manifest: &Manifest,
    contents: Vec<std::io::Result<Vec<u8>>>,
    lists: &[Vec<lists::Found>],
    number: u64,
    scope: Scope,
    resources: &Resources,
) -> Result<Ready, BuildError> {
    let mut loaded = Vec::new();
    for ((entry, content), lists) in manifest.pillow().processors.iter().zip(contents).zip(lists) {
        // What could not be read is read again there, where the error is told with the file's name.
        let processor = load(manifest, (entry, lists), content.ok(), resources).await?;
        bind(entry, processor.as_ref())?;
        loaded.push((entry, processor));
    }
    let frame = match scope {
        Scope::Processors => None,
        Scope::Everything => Some(Box::new(resources.pillow(manifest).await.map_err(BuildError::Resources)?)),
    };
    let mut stages = Vec::new();
    for (entry, processor) in loaded {
        let stage = prepare(manifest.name(), entry, processor, resources).await?;
        let (metrics, pillow) = (resources.metrics(), manifest.name());
        let sink = |name: &Option<Arc<str>>| name.as_ref().map(|name| metrics.sink(pillow, name)).unwrap_or_default();
        stages.push(stage.counted(StageCounts {
            calls: metrics.calls(pillow, &entry.name),
            tables: sink(&entry.tables),
            indices: sink(&entry.indices),
            topics: sink(&entry.topics),
            caches: sink(&entry.caches),
        }));
    }
    Ok(Ready { generation: Arc::new(Generation { number, stages }), frame })
}

/// The content of the manifest's modules, in their order.
async fn read(manifest: &Manifest) -> Vec<std::io::Result<Vec<u8>>> {
    let mut contents = Vec::new();
    for entry in &manifest.pillow().processors {
        contents.push(tokio::fs::read(&entry.module).await);
    }
    contents
}

async fn load(
    manifest: &Manifest,
    (entry, lists): (&ProcessorEntry, &[lists::Found]),
    content: Option<Vec<u8>>,
    resources: &Resources,
) -> Result<Arc<dyn Processor>, BuildError> {
    let path = entry.module.clone();
    let names = wasm::Names { pillow: manifest.name().clone(), processor: entry.name.clone() };
    let grants = wasm::Grants { log: entry.may_log, lookups: entry.lookups.keys().map(ToString::to_string).collect() };
    let config = lists::config(entry, lists)
        .map_err(|reason| BuildError::List { processor: entry.name.to_string(), reason })?
        .into_bytes();
    let limits = resources.limits.clone();
    let (engine, cache) = (resources.engine.clone(), resources.cache.clone());
    let loaded = tokio::task::spawn_blocking(move || {
        let source = wasm::Source { path: &path, bytes: content.as_deref(), names, grants, config, limits };
        wasm::load(&engine, source, Some(&cache))
    })
    .await;
    match loaded {
        Ok(Ok(processor)) => Ok(Arc::new(processor)),
        Ok(Err(source)) => Err(BuildError::Processor { processor: entry.name.to_string(), source }),
        Err(error) => Err(BuildError::Loader(error.to_string())),
    }
}

/// Checks what the processor declares against what the manifest gives it.
fn bind(entry: &ProcessorEntry, processor: &dyn Processor) -> Result<(), BuildError> {
    let name = || entry.name.to_string();
    let description = processor.description();
    if let Some(lookup) = description.lookups.iter().find(|lookup| !entry.lookups.contains_key(lookup.as_str())) {
        return Err(BuildError::NotGranted { processor: name(), lookup: lookup.clone() });
    }
    let tables: Vec<&str> = description.tables.iter().map(|table| table.name.as_str()).collect();
    let indices: Vec<&str> = description.indices.iter().map(|index| index.name.as_str()).collect();
    let topics: Vec<&str> = description.topics.iter().map(String::as_str).collect();
    let caches: Vec<&str> = description.caches.iter().map(String::as_str).collect();
    for (declared, sink, key) in [
        (tables, &entry.tables, "tables"),
        (indices, &entry.indices, "indices"),
        (topics, &entry.topics, "topics"),
        (caches, &entry.caches, "caches"),
    ] {
        if !declared.is_empty() && sink.is_none() {
            return Err(BuildError::NoSink { processor: name(), what: format!("{key} {}", declared.join(", ")), key });
        }
    }
    Ok(())
}

/// Binds a processor to its sinks and stores, and has the sinks make what it declares.
async fn prepare(
    pillow: &PillowName,
    entry: &ProcessorEntry,
    processor: Arc<dyn Processor>,
    resources: &Resources,
) -> Result<Stage, BuildError> {
    let description = processor.description();
    let tables = sink(resources, entry.tables.as_deref(), description.tables.is_empty()).await?;
    let indices = sink(resources, entry.indices.as_deref(), description.indices.is_empty()).await?;
    // What is published and invalidated is declared to nobody: there is nothing to make beforehand.
    let topics = sink(resources, entry.topics.as_deref(), description.topics.is_empty()).await?;
    let caches = sink(resources, entry.caches.as_deref(), description.caches.is_empty()).await?;
    let mut engines = BTreeMap::new();
    for (engine, name) in &entry.engines {
        engines.insert(Arc::clone(engine), resources.sink(name).await.map_err(BuildError::Resources)?);
    }
    let mut stores = HashMap::new();
    for (lookup, store) in &entry.lookups {
        stores.insert(Arc::clone(lookup), resources.documents(store).await.map_err(BuildError::Resources)?);
    }
    let (lookups, workers) = (Arc::new(LookupStores::new(stores)), resources.workers.count());
    let mut stage = Stage::new(entry.name.clone(), processor, lookups, tables, indices, workers);
    (stage.topics, stage.caches, stage.engines) = (topics, caches, engines);
    let refused = |source| BuildError::Refused { processor: entry.name.to_string(), source };
    stage.left_out = make_tables(pillow, &stage).await.map_err(refused)?;
    if let Some(sink) = &stage.indices {
        sink.prepare(&[], &stage.processor.description().indices).await.map_err(refused)?;
    }
    Ok(stage)
}

/// Makes the tables of a stage; says which are left out, because they stay as they are.
async fn make_tables(pillow: &PillowName, stage: &Stage) -> Result<Vec<Differing>, PrepareError> {
    let owner = Owner { pillow: pillow.clone(), processor: stage.name.clone() };
    let mut left_out = Vec::new();
    for (sink, tables) in tables_by_sink(stage) {
        for differing in sink.prepare_tables(&owner, &tables).await? {
            let Differing { table, differences, standing, .. } = &differing;
            let differences = differences.join("; ");
            match standing {
                Standing::Rebuilding => {
                    tracing::info!(pillow = %pillow, table, differences, "a new table is filled and takes its place");
                }
                Standing::Kept => {
                    tracing::error!(pillow = %pillow, table, differences, "the table stays as it is and is left out");
                    left_out.push(differing);
                }
            }
        }
    }
    Ok(left_out)
}

/// The declared tables of each sink that has some.
pub(super) fn tables_by_sink(stage: &Stage) -> Vec<(Arc<dyn Sink>, Vec<Table>)> {
    let mut by_sink: Vec<(Arc<dyn Sink>, Vec<Table>)> = Vec::new();
    for table in stage.tables_declared() {
        for sink in stage.table_sinks(table) {
            match by_sink.iter_mut().find(|(known, _)| Arc::ptr_eq(known, sink)) {
                Some((_, tables)) => tables.push(Table::clone(table)),
                None => by_sink.push((Arc::clone(sink), vec![Table::clone(table)])),
            }
        }
    }
    by_sink
}

/// The sink by its name; none when nothing is declared for it.
async fn sink(
    resources: &Resources,
    configured: Option<&str>,
    nothing_declared: bool,
) -> Result<Option<Arc<dyn Sink>>, BuildError> {
    match configured {
        Some(name) if !nothing_declared => resources.sink(name).await.map(Some).map_err(BuildError::Resources),
        _ => Ok(None),
    }
}

/// A table that a processor of a pillow declares, and where it is.
pub struct DeclaredTable {
    /// Whose it is.
    pub owner: Owner,
    /// The declaration.
    pub table: Table,
    /// The sinks that hold it.
    pub sinks: Vec<Arc<dyn Sink>>,
    /// The whole configuration of its processor, with its lists, as JSON.
    pub config: Arc<str>,
}

/// The tables that the processors of a manifest declare, without making any.
///
/// # Errors
/// When a module does not start, or a database cannot be opened: in a sentence.
pub async fn declared_tables(settings: &Settings, manifest: &Manifest) -> Result<Vec<DeclaredTable>, String> {
    let resources = Resources::open(settings).await.map_err(|outage| chain(&outage))?;
    let mut found = Vec::new();
    let read = lists::read(manifest, &resources).await;
    for (entry, lists) in manifest.pillow().processors.iter().zip(&read) {
        let processor = load(manifest, (entry, lists), None, &resources).await.map_err(|error| chain(&error))?;
        bind(entry, processor.as_ref()).map_err(|error| chain(&error))?;
        let lookups = Arc::new(LookupStores::new(HashMap::new()));
        let mut stage = Stage::new(entry.name.clone(), processor, lookups, None, None, 1);
        stage.tables = sink(&resources, entry.tables.as_deref(), false).await.map_err(|error| chain(&error))?;
        for (engine, name) in &entry.engines {
            let sink = resources.sink(name).await.map_err(|outage| chain(&outage))?;
            stage.engines.insert(Arc::clone(engine), sink);
        }
        let owner = Owner { pillow: manifest.name().clone(), processor: entry.name.clone() };
        let config: Arc<str> = lists::config(entry, lists)?.into();
        for table in stage.tables_declared() {
            let sinks = stage.table_sinks(table).into_iter().cloned().collect();
            let (owner, config) = (owner.clone(), Arc::clone(&config));
            found.push(DeclaredTable { owner, table: Table::clone(table), sinks, config });
        }
    }
    Ok(found)
}

/// Loads every module of the manifests, reads their lists, and says what is wrong, without touching a sink.
///
/// # Errors
/// When the engine or the module cache cannot be had.
pub async fn check_modules(settings: &Settings, manifests: &[Manifest]) -> Result<Vec<String>, Outage> {
    let resources = Resources::open(settings).await?;
    let mut problems = Vec::new();
    for manifest in manifests {
        let file = manifest.file().display();
        let read = lists::read(manifest, &resources).await;
        for (entry, lists) in manifest.pillow().processors.iter().zip(&read) {
            let troubles = lists::troubles(lists);
            problems.extend(troubles.into_iter().map(|trouble| format!("{file}: processor {}: {trouble}", entry.name)));
            let checked = match load(manifest, (entry, lists), None, &resources).await {
                Ok(processor) => {
                    let left_out = lists::problems(entry, lists, &processor.description().problems);
                    problems.extend(left_out.iter().map(|line| format!("{file}: processor {}: {line}", entry.name)));
                    bind(entry, processor.as_ref())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = checked {
                problems.push(format!("{file}: {}", chain(&error)));
            }
        }
    }
    Ok(problems)
}

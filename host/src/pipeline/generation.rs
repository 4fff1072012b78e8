//! The processors of a pillow that run together, and their instances.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::metrics::{CallMetrics, SinkMetrics};
use crate::model::{ProcessorName, Table, Write};
use crate::processor::{Instance, Processor, StartError};
use crate::sink::{Differing, Sink};

use super::lookups::{InstanceLookups, LookupStores};

/// A pillow's processors, as one value: a swap is a new generation for the batches that close after it. It is dropped,
/// with its instances, when the last batch that it was pinned by has settled.
pub struct Generation {
    /// Counts up within the pillow, from 1.
    pub number: u64,
    /// The processors, in the order of the manifest.
    pub stages: Vec<Stage>,
}

/// One processor within its generation.
pub struct Stage {
    /// Its name in the manifest.
    pub name: ProcessorName,
    /// The code.
    pub processor: Arc<dyn Processor>,
    /// Answers its look-ups.
    pub lookups: Arc<LookupStores>,
    /// Where its rows go; none when it has no tables.
    pub tables: Option<Arc<dyn Sink>>,
    /// Where rows of tables that name databases go, by those names.
    pub engines: BTreeMap<Arc<str>, Arc<dyn Sink>>,
    /// Where its index writes go; none when it has no indices.
    pub indices: Option<Arc<dyn Sink>>,
    /// Where its messages go; none when it has no topics.
    pub topics: Option<Arc<dyn Sink>>,
    /// What its keys are dropped from; none when it has no caches.
    pub caches: Option<Arc<dyn Sink>>,
    /// Tables that stay as they are although they are declared otherwise, each with what differs: nothing is written to
    /// them.
    pub left_out: Vec<Differing>,
    /// What it counts.
    pub counts: StageCounts,
    /// The declared tables, shared with the rows on their way.
    declared: Vec<Arc<Table>>,
    /// One place per worker: an instance is used by one thread, and goes with its generation.
    instances: Vec<Mutex<Option<Running>>>,
}

/// What a processor counts within its generation. The default counts for nobody.
#[derive(Debug, Clone, Default)]
pub struct StageCounts {
    /// Its calls.
    pub calls: CallMetrics,
    /// Its writes to tables.
    pub tables: SinkMetrics,
    /// Its writes to indices.
    pub indices: SinkMetrics,
    /// Its messages.
    pub topics: SinkMetrics,
    /// Its keys to invalidate.
    pub caches: SinkMetrics,
}

impl StageCounts {
    /// Where a write is counted.
    pub(super) fn of(&self, write: &Write) -> &SinkMetrics {
        match write {
            Write::Rows { .. } => &self.tables,
            Write::Index(_) | Write::Merge { .. } | Write::Delete { .. } => &self.indices,
            Write::Publish(_) => &self.topics,
            Write::Invalidate { .. } => &self.caches,
        }
    }
}

/// An instance with the look-ups that it was started with.
pub(super) struct Running {
    pub(super) instance: Box<dyn Instance>,
    pub(super) lookups: Arc<InstanceLookups>,
}

impl Stage {
    /// A stage whose instances are made when a worker first needs one; `workers` says how many there are. Without sinks
    /// for topics and caches until they are set.
    pub fn new(
        name: ProcessorName,
        processor: Arc<dyn Processor>,
        lookups: Arc<LookupStores>,
        tables: Option<Arc<dyn Sink>>,
        indices: Option<Arc<dyn Sink>>,
        workers: usize,
    ) -> Self {
        let declared = processor.description().tables.iter().cloned().map(Arc::new).collect();
        let instances = (0..workers).map(|_| Mutex::new(None)).collect();
        let counts = StageCounts::default();
        let engines = BTreeMap::new();
        Self {
            name,
            processor,
            lookups,
            tables,
            engines,
            indices,
            topics: None,
            caches: None,
            left_out: Vec::new(),
            counts,
            declared,
            instances,
        }
    }

    /// The same, which counts here.
    #[must_use]
    pub fn counted(self, counts: StageCounts) -> Self {
        Self { counts, ..self }
    }

    /// The declared table of this name.
    pub fn table(&self, name: &str) -> Option<&Arc<Table>> {
        self.declared.iter().find(|table| table.name == name)
    }

    /// All declared tables.
    pub fn tables_declared(&self) -> &[Arc<Table>] {
        &self.declared
    }

    /// Whether a write is for a table that nothing is written to.
    pub(super) fn leaves_out(&self, write: &Write) -> bool {
        match write {
            Write::Rows { table, .. } => self.left_out.iter().any(|kept| *kept.table == **table),
            _ => false,
        }
    }

    /// Where a table is: in the databases that it names and the manifest knows, each once. The first one that it names
    /// is where the manifest has its tables, unless it says otherwise.
    pub fn table_sinks(&self, table: &Table) -> Vec<&Arc<dyn Sink>> {
        let first = table.engines.first().and_then(|engine| self.engines.get(engine.as_str())).or(self.tables.as_ref());
        let mut sinks: Vec<&Arc<dyn Sink>> = first.into_iter().collect();
        for sink in table.engines.iter().skip(1).filter_map(|engine| self.engines.get(engine.as_str())) {
            if !sinks.iter().any(|known| Arc::ptr_eq(known, sink)) {
                sinks.push(sink);
            }
        }
        sinks
    }

    /// Where a write goes.
    pub(super) fn sink(&self, write: &Write) -> Option<&Arc<dyn Sink>> {
        let sink = match write {
            Write::Rows { table, .. } if !self.engines.is_empty() => {
                return self.table_sinks(self.table(table)?).first().copied();
            }
            Write::Rows { .. } => &self.tables,
            Write::Index(_) | Write::Merge { .. } | Write::Delete { .. } => &self.indices,
            Write::Publish(_) => &self.topics,
            Write::Invalidate { .. } => &self.caches,
        };
        sink.as_ref()
    }

    /// Where a write goes as well: rows of a table that is in several databases.
    pub(super) fn further_sinks(&self, write: &Write) -> Vec<&Arc<dyn Sink>> {
        match write {
            Write::Rows { table, .. } if !self.engines.is_empty() => {
                self.table(table).map_or_else(Vec::new, |table| self.table_sinks(table).split_off(1))
            }
            _ => Vec::new(),
        }
    }

    /// The part that a write belongs to: that of its table or index, where the processor declared one.
    pub(super) fn part(&self, write: &Write) -> Option<String> {
        let index = match write {
            Write::Rows { table, .. } => return self.table(table)?.part.clone(),
            Write::Index(target) | Write::Merge { target, .. } => &target.index,
            Write::Delete { index, .. } => index,
            Write::Publish(_) | Write::Invalidate { .. } => return None,
        };
        self.processor.description().indices.iter().find(|declared| *declared.name == **index)?.part.clone()
    }

    /// Lends the worker its instance, a fresh one where it has none. What is not given back is gone: after a fault
    /// the borrower drops it.
    ///
    /// # Errors
    /// When a fresh instance does not start.
    pub(super) fn take_instance(&self, worker: usize) -> Result<Running, StartError> {
        let kept = self.instances[worker].lock().unwrap_or_else(PoisonError::into_inner).take();
        match kept {
            Some(running) if !running.instance.is_spent() => Ok(running),
            _ => {
                let lookups = self.lookups.counted(self.counts.calls.clone());
                let instance = self.processor.start(Arc::<InstanceLookups>::clone(&lookups))?;
                Ok(Running { instance, lookups })
            }
        }
    }

    /// Takes the instance back for the worker's next call.
    pub(super) fn give_back(&self, worker: usize, running: Running) {
        *self.instances[worker].lock().unwrap_or_else(PoisonError::into_inner) = Some(running);
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<String> =
            self.stages.iter().map(|stage| format!("{}@{}", stage.name, stage.processor.digest().short())).collect();
        write!(formatter, "Generation {} [{}]", self.number, names.join(", "))
    }
}

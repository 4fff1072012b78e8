//! The declarations: one line per metric. Names get the prefix `pillowtop_`, their unit, and `_total` for counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::{OfLane, OfPillow, OfPillowResult, OfProcessor, OfProcessorResult, OfSink, OfSinkResult, SecondsCounter};

/// What the names begin with.
const PREFIX: &str = "pillowtop";

/// Histograms by label, all with the same buckets.
pub(super) type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// A metric that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name in the OpenMetrics format, without the endings of samples (`_total`, `_bucket`, …).
    pub name: String,
    /// Its name for DogStatsD.
    pub dotted: String,
    /// What kind it is.
    pub kind: Kind,
    /// What it says.
    pub help: String,
}

/// The kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Grows and falls.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Every metric, by its labels.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) read: Family<OfPillow, Counter>,
    pub(super) collapsed: Family<OfPillow, Counter>,
    pub(super) undecodable: Family<OfPillow, Counter>,
    pub(super) settled: Family<OfPillow, Counter>,
    pub(super) processed: Family<OfProcessorResult, Counter>,
    pub(super) parked: Family<OfProcessorResult, Counter>,
    pub(super) parked_now: Family<OfPillow, Gauge>,
    pub(super) queue: Family<OfPillow, Gauge>,
    pub(super) queue_age: Family<OfPillow, Gauge>,
    pub(super) retries: Family<OfProcessorResult, Counter>,
    pub(super) calls: Family<OfProcessor, Counter>,
    pub(super) cpu_seconds: Family<OfProcessor, SecondsCounter>,
    pub(super) faults: Family<OfProcessorResult, Counter>,
    pub(super) lookup_rounds: Family<OfProcessor, Counter>,
    pub(super) lookup_queries: Family<OfProcessor, Counter>,
    pub(super) lookup_keys: Family<OfProcessor, Counter>,
    pub(super) sink_writes: Family<OfSinkResult, Counter>,
    pub(super) sink_outage_seconds: Family<OfSink, SecondsCounter>,
    pub(super) batches: Family<OfPillow, Counter>,
    pub(super) batch_entries: Histograms<OfPillow>,
    pub(super) batch_seconds: Histograms<OfPillow>,
    pub(super) fetch_seconds: Histograms<OfPillow>,
    pub(super) settle_seconds: Histograms<OfPillow>,
    pub(super) commits: Family<OfPillow, Counter>,
    pub(super) outage_retries: Family<OfPillow, Counter>,
    pub(super) restarts: Family<OfPillow, Counter>,
    pub(super) swaps: Family<OfPillowResult, Counter>,
    pub(super) generation: Family<OfPillow, Gauge>,
    pub(super) halted: Family<OfPillow, Gauge>,
    pub(super) lag: Family<OfLane, Gauge>,
    pub(super) queued_batches: Family<OfLane, Gauge>,
    pub(super) dropped_spans: Counter,
}

impl Families {
    #[rustfmt::skip] // One line each: they are read as a table.
    pub(super) fn declare(registry: &mut Registry, declared: &mut Vec<Declared>) -> Self {
        let add = &mut Declaring { registry: registry.sub_registry_with_prefix(PREFIX), declared };
        Self {
            read: add.counter("changes_read", "Entries read from the feed, before collapsing"),
            collapsed: add.counter("changes_collapsed", "Changes made superfluous by a later change of the same document in their batch"),
            undecodable: add.counter("changes_undecodable", "Entries that could not be decoded, and were parked"),
            settled: add.counter("changes_settled", "Entries read from the feed that are settled"),
            processed: add.counter("changes_processed", "Changes that a processor was given, by result: written, skipped or failed"),
            parked: add.counter("failures_parked", "Failures that were parked, by their kind as result"),
            parked_now: add.gauge("parked", "Failures that are parked now, as counted every 15 seconds"),
            queue: add.gauge("queue", "Documents that wait in the queue because a processor deferred them, once for each part, as counted every 5 seconds"),
            queue_age: add.gauge_of("queue_age", "seconds", "How long the oldest document of the queue waits"),
            retries: add.counter("retries", "Retries of parked changes, by result: resolved or failed"),
            calls: add.counter("processor_calls", "Calls of a processor, with those that a fault makes necessary"),
            cpu_seconds: add.seconds_counter("processor_cpu", "CPU time of the calls of a processor"),
            faults: add.counter("processor_faults", "Calls of a processor that did not come to an answer, by result: trap, limit or bad-answer"),
            lookup_rounds: add.counter("lookup_rounds", "Rounds of look-ups, each for all changes of a batch that need more"),
            lookup_queries: add.counter("lookup_queries", "Queries that look-ups made to their stores"),
            lookup_keys: add.counter("lookup_keys", "Keys in the queries of look-ups"),
            sink_writes: add.counter("sink_writes", "Writes for a sink, by result: taken or rejected"),
            sink_outage_seconds: add.seconds_counter("sink_outage", "Time that a pillow waited because a sink did not answer"),
            batches: add.counter("batches", "Batches that were settled"),
            batch_entries: add.entries("batch_entries", "Entries of one batch, before collapsing"),
            batch_seconds: add.seconds("batch", "Time from the close of a batch to its settle"),
            fetch_seconds: add.seconds("fetch", "Time of one bulk fetch of documents"),
            settle_seconds: add.seconds("settle", "Time of one settle"),
            commits: add.counter("checkpoint_commits", "Settles that committed"),
            outage_retries: add.counter("outage_retries", "Further tries of what met an outage"),
            restarts: add.counter("restarts", "Runs of a pillow that ended and are begun again"),
            swaps: add.counter("swaps", "Swaps to another generation of processors, by result: ok or failed"),
            generation: add.gauge("generation", "The number of the running generation of processors"),
            halted: add.gauge("halted", "Whether the pillow is halted because too much of what it does failed: 1 or 0"),
            lag: add.gauge_of("lag", "changes", "Changes between the checkpoint and the end of the partition"),
            queued_batches: add.gauge("queued_batches", "Batches that were read and are not settled"),
            dropped_spans: add.counter("trace_spans_dropped", "Spans of traces that were not sent, because the collector was down or too slow"),
        }
    }
}

/// Registers metrics and notes what was registered.
struct Declaring<'a> {
    registry: &'a mut Registry,
    declared: &'a mut Vec<Declared>,
}

impl Declaring<'_> {
    fn counter<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(name, None, Kind::Counter, help, M::default())
    }

    fn seconds_counter<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(name, Some(Unit::Seconds), Kind::Counter, help, M::default())
    }

    fn gauge<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(name, None, Kind::Gauge, help, M::default())
    }

    fn gauge_of<M: Metric + Clone + Default>(&mut self, name: &str, unit: &str, help: &str) -> M {
        self.add(name, Some(Unit::Other(unit.to_owned())), Kind::Gauge, help, M::default())
    }

    fn seconds<S: Labels>(&mut self, name: &str, help: &str) -> Histograms<S> {
        // From a quarter of a millisecond, about one local commit, to 65 s, where something is down.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 4.0, 10));
        self.add(name, Some(Unit::Seconds), Kind::Histogram, help, Family::new_with_constructor(buckets))
    }

    fn entries<S: Labels>(&mut self, name: &str, help: &str) -> Histograms<S> {
        // From a lone change to more than any manifest may ask for.
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(1.0, 4.0, 9));
        self.add(name, None, Kind::Histogram, help, Family::new_with_constructor(buckets))
    }

    fn add<M: Metric + Clone>(&mut self, name: &str, unit: Option<Unit>, kind: Kind, help: &str, metric: M) -> M {
        let whole = match &unit {
            Some(unit) => format!("{name}_{}", unit.as_str()),
            None => name.to_owned(),
        };
        self.declared.push(Declared {
            name: format!("{PREFIX}_{whole}"),
            dotted: format!("{PREFIX}.{whole}"),
            kind,
            help: help.to_owned(),
        });
        match unit {
            Some(unit) => self.registry.register_with_unit(name, help, unit, metric.clone()),
            None => self.registry.register(name, help, metric.clone()),
        }
        metric
    }
}

/// What labels have to be.
trait Labels: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static {}

impl<S: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static> Labels for S {}

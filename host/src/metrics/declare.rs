//! The declarations: one line per metric. Names get the prefix `pillowtop_`, their unit, and `_total` for counters.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry, Unit};

use super::{OfLane, OfPillow, OfPillowResult, OfProcessorResult};

/// Histograms by label, all with the same buckets.
pub(super) type Histograms<S> = Family<S, Histogram, fn() -> Histogram>;

/// Every metric, by its labels.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) read: Family<OfPillow, Counter>,
    pub(super) collapsed: Family<OfPillow, Counter>,
    pub(super) undecodable: Family<OfPillow, Counter>,
    pub(super) processed: Family<OfProcessorResult, Counter>,
    pub(super) parked: Family<OfProcessorResult, Counter>,
    pub(super) retries: Family<OfProcessorResult, Counter>,
    pub(super) batches: Family<OfPillow, Counter>,
    pub(super) batch_seconds: Histograms<OfPillow>,
    pub(super) fetch_seconds: Histograms<OfPillow>,
    pub(super) settle_seconds: Histograms<OfPillow>,
    pub(super) commits: Family<OfPillow, Counter>,
    pub(super) outage_retries: Family<OfPillow, Counter>,
    pub(super) swaps: Family<OfPillowResult, Counter>,
    pub(super) generation: Family<OfPillow, Gauge>,
    pub(super) halted: Family<OfPillow, Gauge>,
    pub(super) lag: Family<OfLane, Gauge>,
    pub(super) queued_batches: Family<OfLane, Gauge>,
}

impl Families {
    #[rustfmt::skip] // One line each: they are read as a table.
    pub(super) fn declare(registry: &mut Registry) -> Self {
        let add = registry;
        Self {
            read: plain(add, "changes_read", "Entries read from the feed, before collapsing"),
            collapsed: plain(add, "changes_collapsed", "Changes made superfluous by a later change of the same document in their batch"),
            undecodable: plain(add, "changes_undecodable", "Entries that could not be decoded, and were parked"),
            processed: plain(add, "changes_processed", "Changes that a processor was given, by result: written, skipped or failed"),
            parked: plain(add, "failures_parked", "Failures that were parked, by their kind as result"),
            retries: plain(add, "retries", "Retries of parked changes, by result: resolved or failed"),
            batches: plain(add, "batches", "Batches that were settled"),
            batch_seconds: seconds(add, "batch", "Time from the close of a batch to its settle"),
            fetch_seconds: seconds(add, "fetch", "Time of one bulk fetch of documents"),
            settle_seconds: seconds(add, "settle", "Time of one settle"),
            commits: plain(add, "checkpoint_commits", "Settles that committed"),
            outage_retries: plain(add, "outage_retries", "Further tries of what met an outage"),
            swaps: plain(add, "swaps", "Swaps to another generation of processors, by result: ok or failed"),
            generation: plain(add, "generation", "The number of the running generation of processors"),
            halted: plain(add, "halted", "Whether the pillow is halted because too much of what it does failed: 1 or 0"),
            lag: with_unit(add, "lag", Unit::Other("changes".to_owned()), Family::default(), "Changes between the checkpoint and the end of the partition"),
            queued_batches: plain(add, "queued_batches", "Batches that were read and are not settled"),
        }
    }
}

fn plain<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn with_unit<M: Metric + Clone>(registry: &mut Registry, name: &str, unit: Unit, metric: M, help: &str) -> M {
    registry.register_with_unit(name, help, unit, metric.clone());
    metric
}

fn seconds<S>(registry: &mut Registry, name: &str, help: &str) -> Histograms<S>
where
    S: EncodeLabelSet + Clone + std::fmt::Debug + Eq + std::hash::Hash + Send + Sync + 'static,
{
    // From a quarter of a millisecond, about one local commit, to 65 s, where something is down.
    let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 4.0, 10));
    with_unit(registry, name, Unit::Seconds, Family::new_with_constructor(buckets), help)
}

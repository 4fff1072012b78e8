//! Every metric, declared once: name, unit, labels, help.
//!
//! A stage asks for its handle once ([`Metrics::pillow`], [`Metrics::processor`], [`Metrics::lane`]) and counts on it without looking labels up again. Labels are names from the settings and
//! manifests, topics and fixed words: never ids, never text of a guest or a server.

mod declare;
mod original;
mod statsd;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::model::{FailureKind, Partition, PillowName, ProcessorName};

pub use declare::{Declared, Kind};
pub use original::{CaseTypes, FEED_TYPES, Original};
pub use statsd::{Statsd, push};

/// A counter of seconds.
pub type SecondsCounter = Counter<f64, AtomicU64>;

/// All metrics of a process. Handed around in an `Arc`.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    declared: Vec<Declared>,
    families: declare::Families,
    original: Original,
}

/// The metrics of one pillow.
#[derive(Debug, Clone)]
pub struct PillowMetrics {
    /// Entries read, before collapsing.
    pub read: Counter,
    /// Changes that a later change of the same document in their batch made superfluous.
    pub collapsed: Counter,
    /// Entries that could not be decoded, and were parked.
    pub undecodable: Counter,
    /// Entries that are settled.
    pub settled: Counter,
    /// Batches that were settled.
    pub batches: Counter,
    /// Entries of one batch, before collapsing.
    pub batch_entries: Histogram,
    /// Runs that ended and are begun again: an outage, a halt, another host.
    pub restarts: Counter,
    /// Failures that are parked now, as last counted.
    pub parked: Gauge,
    /// Entries that wait in its queue of deferred documents, as last counted.
    pub queue: Gauge,
    /// Seconds that the oldest of them waits.
    pub queue_age: Gauge,
    /// Seconds from the close of a batch to its settle.
    pub batch_seconds: Histogram,
    /// Seconds of one bulk fetch.
    pub fetch_seconds: Histogram,
    /// Seconds of one settle.
    pub settle_seconds: Histogram,
    /// Settles that committed.
    pub commits: Counter,
    /// Tries of something that met an outage.
    pub outage_retries: Counter,
    /// Swaps that took over.
    pub swaps_ok: Counter,
    /// Swaps that were refused; what ran before runs on.
    pub swaps_failed: Counter,
    /// The number of the running generation.
    pub generation: Gauge,
    /// Whether it is halted, because too much of what it does failed: 1 or 0.
    pub halted: Gauge,
}

/// The metrics of one processor of a pillow.
#[derive(Debug, Clone)]
pub struct ProcessorMetrics {
    /// Changes with writes.
    pub written: Counter,
    /// Changes that it had nothing to do for.
    pub skipped: Counter,
    /// Changes that failed, as a whole or in a part.
    pub failed: Counter,
    /// Retries of parked changes that succeeded.
    pub retries_resolved: Counter,
    /// Retries of parked changes that failed again.
    pub retries_failed: Counter,
    parked: [Counter; FailureKind::ALL.len()],
}

/// What the calls of a processor cost. The default counts for nobody.
#[derive(Debug, Clone, Default)]
pub struct CallMetrics {
    /// Calls, with those that a fault makes necessary.
    pub calls: Counter,
    /// CPU time of the calls.
    pub cpu: SecondsCounter,
    /// Calls that ended with a crash.
    pub traps: Counter,
    /// Calls that took more than they may.
    pub limits: Counter,
    /// Calls whose answer the contract does not allow.
    pub bad_answers: Counter,
    /// Calls for several changes that did not come to an answer, under the original's name.
    pub batch_exceptions: Counter,
    /// Rounds of look-ups: of all changes of a batch that asked at once.
    pub lookup_rounds: Counter,
    /// Queries to stores for them.
    pub lookup_queries: Counter,
    /// Keys in these queries.
    pub lookup_keys: Counter,
}

/// The metrics of what a pillow does with one sink. The default counts for nobody.
#[derive(Debug, Clone, Default)]
pub struct SinkMetrics {
    /// The sink's name in the settings.
    pub name: Arc<str>,
    /// Writes that the sink took, and operations on rows that were committed.
    pub taken: Counter,
    /// Writes that it refused.
    pub rejected: Counter,
    /// How long the pillow waited because it did not answer.
    pub outage: SecondsCounter,
}

/// The metrics of one partition of a pillow.
#[derive(Debug, Clone)]
pub struct LaneMetrics {
    /// Changes between the checkpoint and the end.
    pub lag: Gauge,
    /// Batches that were read and are not settled.
    pub queued_batches: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPillow {
    pillow: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPillowResult {
    pillow: String,
    result: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProcessorResult {
    pillow: String,
    processor: String,
    result: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProcessor {
    pillow: String,
    processor: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSink {
    pillow: String,
    sink: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSinkResult {
    pillow: String,
    sink: String,
    result: Word,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfLane {
    pillow: String,
    topic: String,
    partition: u32,
}

/// A label that is one of a few words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Word(&'static str);

impl EncodeLabelValue for Word {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        self.0.encode(encoder)
    }
}

impl Metrics {
    /// Declares all metrics; nothing is counted yet.
    pub fn new() -> Self {
        Self::with(CaseTypes::Together)
    }

    /// The same; `case_types` says how changes of cases are counted.
    pub fn with(case_types: CaseTypes) -> Self {
        let mut registry = Registry::default();
        let mut declared = Vec::new();
        let families = declare::Families::declare(&mut registry, &mut declared);
        let original = Original::declare(&mut registry, &mut declared, case_types);
        Self { registry, declared, families, original }
    }

    /// All that is declared, also what nothing was counted of yet.
    pub fn declared(&self) -> &[Declared] {
        &self.declared
    }

    /// The metrics under the names that the original has for them.
    pub fn original(&self) -> &Original {
        &self.original
    }

    /// The handle of a pillow.
    pub fn pillow(&self, name: &PillowName) -> PillowMetrics {
        let all = &self.families;
        let label = OfPillow { pillow: name.to_string() };
        let swaps = |result| all.swaps.get_or_create_owned(&OfPillowResult { pillow: name.to_string(), result });
        PillowMetrics {
            read: all.read.get_or_create_owned(&label),
            collapsed: all.collapsed.get_or_create_owned(&label),
            undecodable: all.undecodable.get_or_create_owned(&label),
            settled: all.settled.get_or_create_owned(&label),
            batches: all.batches.get_or_create_owned(&label),
            batch_entries: all.batch_entries.get_or_create_owned(&label),
            restarts: all.restarts.get_or_create_owned(&label),
            parked: all.parked_now.get_or_create_owned(&label),
            queue: all.queue.get_or_create_owned(&label),
            queue_age: all.queue_age.get_or_create_owned(&label),
            batch_seconds: all.batch_seconds.get_or_create_owned(&label),
            fetch_seconds: all.fetch_seconds.get_or_create_owned(&label),
            settle_seconds: all.settle_seconds.get_or_create_owned(&label),
            commits: all.commits.get_or_create_owned(&label),
            outage_retries: all.outage_retries.get_or_create_owned(&label),
            swaps_ok: swaps(Word("ok")),
            swaps_failed: swaps(Word("failed")),
            generation: all.generation.get_or_create_owned(&label),
            halted: all.halted.get_or_create_owned(&label),
        }
    }

    /// The handle of a processor.
    pub fn processor(&self, pillow: &PillowName, processor: &ProcessorName) -> ProcessorMetrics {
        let all = &self.families;
        let with = |family: &Family<OfProcessorResult, Counter>, result| {
            let (pillow, processor) = (pillow.to_string(), processor.to_string());
            family.get_or_create_owned(&OfProcessorResult { pillow, processor, result: Word(result) })
        };
        ProcessorMetrics {
            written: with(&all.processed, "written"),
            skipped: with(&all.processed, "skipped"),
            failed: with(&all.processed, "failed"),
            retries_resolved: with(&all.retries, "resolved"),
            retries_failed: with(&all.retries, "failed"),
            parked: FailureKind::ALL.map(|kind| with(&all.parked, kind.as_str())),
        }
    }

    /// The handle of a processor's calls.
    pub fn calls(&self, pillow: &PillowName, processor: &ProcessorName) -> CallMetrics {
        let all = &self.families;
        let label = OfProcessor { pillow: pillow.to_string(), processor: processor.to_string() };
        let faults = |result| {
            let OfProcessor { pillow, processor } = label.clone();
            all.faults.get_or_create_owned(&OfProcessorResult { pillow, processor, result: Word(result) })
        };
        CallMetrics {
            calls: all.calls.get_or_create_owned(&label),
            cpu: all.cpu_seconds.get_or_create_owned(&label),
            traps: faults("trap"),
            limits: faults("limit"),
            bad_answers: faults("bad-answer"),
            batch_exceptions: self.original.batch_exceptions(pillow, processor.as_str()),
            lookup_rounds: all.lookup_rounds.get_or_create_owned(&label),
            lookup_queries: all.lookup_queries.get_or_create_owned(&label),
            lookup_keys: all.lookup_keys.get_or_create_owned(&label),
        }
    }

    /// The handle of a pillow's use of a sink, by the name that the settings give it.
    pub fn sink(&self, pillow: &PillowName, sink: &str) -> SinkMetrics {
        let all = &self.families;
        let label = OfSink { pillow: pillow.to_string(), sink: sink.to_owned() };
        let writes = |result| {
            let OfSink { pillow, sink } = label.clone();
            all.sink_writes.get_or_create_owned(&OfSinkResult { pillow, sink, result: Word(result) })
        };
        SinkMetrics {
            name: Arc::from(sink),
            taken: writes("taken"),
            rejected: writes("rejected"),
            outage: all.sink_outage_seconds.get_or_create_owned(&label),
        }
    }

    /// The handle of a partition. [`Metrics::forget_lane`] ends it.
    pub fn lane(&self, pillow: &PillowName, partition: &Partition) -> LaneMetrics {
        let label = of_lane(pillow, partition);
        LaneMetrics {
            lag: self.families.lag.get_or_create_owned(&label),
            queued_batches: self.families.queued_batches.get_or_create_owned(&label),
        }
    }

    /// Stops saying anything of a partition that this host no longer reads: its last lag would stand there for ever.
    pub fn forget_lane(&self, pillow: &PillowName, partition: &Partition) {
        let label = of_lane(pillow, partition);
        for gauges in [&self.families.lag, &self.families.queued_batches] {
            gauges.remove(&label);
        }
        self.original.forget(pillow, partition);
    }

    /// Spans that were not sent, because the collector was down or too slow.
    pub fn dropped_spans(&self) -> &Counter {
        &self.families.dropped_spans
    }

    /// All of them in the OpenMetrics text format, 1.0.0.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        text::encode(&mut out, &self.registry).expect("a String takes any text");
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl ProcessorMetrics {
    /// Failures that were parked, by kind.
    pub fn parked(&self, kind: FailureKind) -> &Counter {
        let at = FailureKind::ALL.iter().position(|other| *other == kind).unwrap_or_default();
        &self.parked[at]
    }
}

fn of_lane(pillow: &PillowName, partition: &Partition) -> OfLane {
    OfLane { pillow: pillow.to_string(), topic: partition.topic.to_string(), partition: partition.number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_types_units_and_help_are_stable() {
        // A family says nothing of itself before it has a first member.
        let metrics = Metrics::new();
        let pillow = PillowName::new("cases");
        metrics.pillow(&pillow);
        metrics.processor(&pillow, &ProcessorName::new("rows"));
        metrics.lane(&pillow, &Partition::new("case", 0));
        metrics.sink(&pillow, "tables");
        metrics.calls(&pillow, &ProcessorName::new("rows"));
        let text: String =
            metrics.encode().lines().filter(|line| line.starts_with('#')).map(|line| format!("{line}\n")).collect();
        insta::assert_snapshot!("names", text);
    }

    #[test]
    fn what_is_counted_is_said_with_its_labels() {
        let metrics = Metrics::new();
        let (pillow, processor) = (PillowName::new("cases"), ProcessorName::new("rows"));
        metrics.pillow(&pillow).read.inc_by(7);
        metrics.pillow(&pillow).swaps_failed.inc();
        metrics.pillow(&pillow).settle_seconds.observe(0.003);
        metrics.processor(&pillow, &processor).parked(FailureKind::Trap).inc();
        let text = metrics.encode();
        for line in [
            "pillowtop_changes_read_total{pillow=\"cases\"} 7",
            "pillowtop_swaps_total{pillow=\"cases\",result=\"failed\"} 1",
            "pillowtop_settle_seconds_count{pillow=\"cases\"} 1",
            "pillowtop_failures_parked_total{pillow=\"cases\",processor=\"rows\",result=\"trap\"} 1",
            "pillowtop_failures_parked_total{pillow=\"cases\",processor=\"rows\",result=\"limit\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn a_forgotten_lane_is_no_longer_said() {
        let metrics = Metrics::new();
        let (pillow, partition) = (PillowName::new("cases"), Partition::new("case", 3));
        let line = "pillowtop_lag_changes{pillow=\"cases\",topic=\"case\",partition=\"3\"} 5";
        metrics.lane(&pillow, &partition).lag.set(5);
        assert!(metrics.encode().contains(line));
        metrics.forget_lane(&pillow, &partition);
        assert!(!metrics.encode().contains("partition=\"3\""));
    }
}

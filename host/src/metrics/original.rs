//! The metrics of the original's change feeds, under its names and with its tags, so that dashboards and alarms that
//! stand go on. In the OpenMetrics format dots are underscores, as in the original's own Prometheus back end.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Metric, Registry};

use crate::model::{Change, Partition, PillowName, Position};

use super::{Declared, Kind, SecondsCounter};

/// Names of sources and types of cases come from messages, so anybody can make up more of them. Beyond this many they
/// are counted together, as [`OTHER`].
const MOST_VALUES: usize = 200;
const OTHER: &str = "other";
/// The type of what is no case, and of every case where types are not told apart.
const NO_TYPE: &str = "NA";
const CASE: &str = "CommCareCase";
/// What the original names as host and group of what it measures from outside of its pillows.
const MONITOR: &str = "celery";
/// The types of feeds; the first is the original's other one.
pub const FEED_TYPES: [&str; 3] = ["couch", "kafka", "changelog"];

/// How changes of cases are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaseTypes {
    /// All of them together.
    #[default]
    Together,
    /// Each type by itself, as the original does in its enterprise mode.
    Apart,
}

type SecondsGauge = Gauge<f64, std::sync::atomic::AtomicU64>;

/// The original's metrics.
#[derive(Debug)]
pub struct Original {
    case_types: CaseTypes,
    known: Mutex<HashSet<String>>,
    changes: Family<OfCaseType, Counter>,
    success: Family<OfSource, Counter>,
    exceptions: Family<OfException, Counter>,
    batch_exceptions: Family<OfProcessor, Counter>,
    lag: Family<OfTopic, SecondsGauge>,
    chunk_lag: Family<OfPillow, SecondsGauge>,
    processing_total: Family<OfPillow, SecondsCounter>,
    processing_count: Family<OfPillow, Counter>,
    checkpoints: Family<OfPillow, Counter>,
    offsets: Family<OfTopic, Gauge>,
    current: Family<OfFeed, Gauge>,
    processed_to: Family<OfFeed, Gauge>,
    need: Family<OfFeed, Gauge>,
    error_queue: Family<OfMonitored, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPillow {
    pillow_name: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSource {
    pillow_name: String,
    datasource: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCaseType {
    pillow_name: String,
    datasource: String,
    case_type: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfException {
    pillow_name: String,
    exception_type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfProcessor {
    pillow_name: String,
    processor: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTopic {
    pillow_name: String,
    topic: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfMonitored {
    pillow_name: String,
    host: &'static str,
    group: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfFeed {
    pillow_name: String,
    feed_type: &'static str,
    host: &'static str,
    group: &'static str,
    topic: String,
}

impl Original {
    #[rustfmt::skip] // One line each: they are read as a table.
    pub(super) fn declare(registry: &mut Registry, declared: &mut Vec<Declared>, case_types: CaseTypes) -> Self {
        let add = &mut Declaring { registry: registry.sub_registry_with_prefix("commcare"), declared };
        Self {
            case_types,
            known: Mutex::default(),
            changes: add.counter("change_feed.changes.count", "Changes that were read, by source, and by type of case where that is asked for"),
            success: add.counter("change_feed.changes.success", "Changes that were processed without a failure"),
            exceptions: add.counter("change_feed.changes.exceptions", "Failures, by their kind"),
            batch_exceptions: add.counter("change_feed.batch_processor_exceptions", "Calls of a processor for several changes that did not come to an answer"),
            lag: add.gauge("change_feed.change_lag", "Seconds from the publishing of the latest settled change to its settle"),
            chunk_lag: add.gauge("change_feed.chunked.max_change_lag", "The same, of the first change of the latest batch"),
            processing_total: add.counter("change_feed.processing_time.total", "Seconds from the close of a batch to its settle, divided by its changes"),
            processing_count: add.counter("change_feed.processing_time.count", "Batches that were added to the total"),
            checkpoints: add.counter("change_feed.change_feed.checkpoint", "Checkpoints that were written"),
            offsets: add.gauge("change_feed.checkpoint_offsets", "Where the checkpoint of a partition stands"),
            current: add.gauge("change_feed.current_offsets", "Where a partition ends"),
            processed_to: add.gauge("change_feed.processed_offsets", "Where the checkpoint of a partition stands, as compared with its end"),
            need: add.gauge("change_feed.need_processing", "Changes between the two"),
            error_queue: add.gauge("pillowtop.error_queue", "Failures that are parked now"),
        }
    }

    /// Counts changes that were read, before they are collapsed.
    pub fn read(&self, pillow: &PillowName, changes: &[Arc<Change>]) {
        let apart = matches!(self.case_types, CaseTypes::Apart);
        let of = |change: &'_ Change| apart && change.document_type.as_deref() == Some(CASE);
        let counted =
            tally(changes, |change| (&*change.key.source, change.document_subtype.as_deref().filter(|_| of(change))));
        for ((source, case_type), count) in counted {
            let label = OfCaseType {
                pillow_name: pillow.to_string(),
                datasource: self.bounded(source),
                case_type: case_type.map_or_else(|| NO_TYPE.to_owned(), |text| self.bounded(text)),
            };
            self.changes.get_or_create(&label).inc_by(count);
        }
    }

    /// Counts changes that settled without a failure.
    pub fn succeeded<'a>(&self, pillow: &PillowName, changes: impl IntoIterator<Item = &'a Arc<Change>>) {
        for (source, count) in tally(changes, |change| &*change.key.source) {
            let label = OfSource { pillow_name: pillow.to_string(), datasource: self.bounded(source) };
            self.success.get_or_create(&label).inc_by(count);
        }
    }

    /// Counts a failure of this kind.
    pub fn failed(&self, pillow: &PillowName, kind: &'static str) {
        self.exceptions.get_or_create(&OfException { pillow_name: pillow.to_string(), exception_type: kind }).inc();
    }

    /// Counts calls of a processor for several changes that did not come to an answer.
    pub(super) fn batch_exceptions(&self, pillow: &PillowName, processor: &str) -> Counter {
        let label = OfProcessor { pillow_name: pillow.to_string(), processor: processor.to_owned() };
        self.batch_exceptions.get_or_create_owned(&label)
    }

    /// Says how old the latest change of a partition is; none stands for a topic that has no partitions.
    pub fn lag(&self, pillow: &PillowName, topic: &str, partition: Option<u32>, seconds: f64) {
        self.lag.get_or_create(&of_topic(pillow, topic, partition)).set(seconds);
    }

    /// Says how old the first change of the latest batch is.
    pub fn chunk_lag(&self, pillow: &PillowName, seconds: f64) {
        self.chunk_lag.get_or_create(&of_pillow(pillow)).set(seconds);
    }

    /// Adds a batch of so many changes that took so long.
    pub fn processed(&self, pillow: &PillowName, changes: u32, seconds: f64) {
        let label = of_pillow(pillow);
        self.processing_total.get_or_create(&label).inc_by(seconds.max(0.0) / f64::from(changes.max(1)));
        self.processing_count.get_or_create(&label).inc();
    }

    /// Says where the checkpoint of a partition stands, which was just written.
    pub fn checkpoint(&self, pillow: &PillowName, topic: &str, partition: Option<u32>, position: &Position) {
        self.checkpoints.get_or_create(&of_pillow(pillow)).inc();
        self.offsets.get_or_create(&of_topic(pillow, topic, partition)).set(position.order[0].cast_signed());
    }

    /// Says how many failures are parked.
    pub fn error_queue(&self, pillow: &PillowName, count: i64) {
        let label = OfMonitored { pillow_name: pillow.to_string(), host: MONITOR, group: MONITOR };
        self.error_queue.get_or_create(&label).set(count);
    }

    /// Says how far a checkpoint is from the end of its partition, of a feed of this type.
    pub fn compared(
        &self,
        pillow: &PillowName,
        feed_type: &'static str,
        partition: &Partition,
        (checkpoint, end, lag): (&Position, &Position, Option<u64>),
    ) {
        let label = of_feed(pillow, feed_type, partition);
        self.current.get_or_create(&label).set(end.order[0].cast_signed());
        self.processed_to.get_or_create(&label).set(checkpoint.order[0].cast_signed());
        if let Some(lag) = lag {
            self.need.get_or_create(&label).set(lag.cast_signed());
        }
    }

    /// Stops saying anything of a partition that is read no more.
    pub(super) fn forget(&self, pillow: &PillowName, partition: &Partition) {
        for feed_type in FEED_TYPES {
            let label = of_feed(pillow, feed_type, partition);
            for gauges in [&self.current, &self.processed_to, &self.need] {
                gauges.remove(&label);
            }
        }
        let label = of_topic(pillow, &partition.topic, Some(partition.number));
        self.lag.remove(&label);
        self.offsets.remove(&label);
    }

    /// The text, unless there are too many different ones already.
    fn bounded(&self, text: &str) -> String {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains(text) {
            if known.len() >= MOST_VALUES {
                return OTHER.to_owned();
            }
            known.insert(text.to_owned());
        }
        text.to_owned()
    }
}

/// How many there are of each. A batch has few different ones, so a list is searched faster than a map.
fn tally<'a, K: PartialEq>(
    changes: impl IntoIterator<Item = &'a Arc<Change>>,
    key: impl Fn(&'a Change) -> K,
) -> Vec<(K, u64)> {
    let mut tally: Vec<(K, u64)> = Vec::new();
    for change in changes {
        let found = key(change);
        match tally.iter_mut().find(|(known, _)| *known == found) {
            Some((_, count)) => *count += 1,
            None => tally.push((found, 1)),
        }
    }
    tally
}

fn of_pillow(pillow: &PillowName) -> OfPillow {
    OfPillow { pillow_name: pillow.to_string() }
}

fn of_topic(pillow: &PillowName, topic: &str, partition: Option<u32>) -> OfTopic {
    let topic = partition.map_or_else(|| topic.to_owned(), |number| format!("{topic}-{number}"));
    OfTopic { pillow_name: pillow.to_string(), topic }
}

fn of_feed(pillow: &PillowName, feed_type: &'static str, partition: &Partition) -> OfFeed {
    let OfTopic { pillow_name, topic } = of_topic(pillow, &partition.topic, Some(partition.number));
    OfFeed { pillow_name, feed_type, host: MONITOR, group: MONITOR, topic }
}

/// Registers metrics by their dotted names.
struct Declaring<'a> {
    registry: &'a mut Registry,
    declared: &'a mut Vec<Declared>,
}

impl Declaring<'_> {
    fn counter<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(name, Kind::Counter, help)
    }

    fn gauge<M: Metric + Clone + Default>(&mut self, name: &str, help: &str) -> M {
        self.add(name, Kind::Gauge, help)
    }

    fn add<M: Metric + Clone + Default>(&mut self, name: &str, kind: Kind, help: &str) -> M {
        let metric = M::default();
        let plain = name.replace('.', "_");
        // A counter's sample ends with `_total`, once.
        let plain = match kind {
            Kind::Counter => plain.strip_suffix("_total").unwrap_or(&plain).to_owned(),
            Kind::Gauge | Kind::Histogram => plain,
        };
        self.declared.push(Declared {
            name: format!("commcare_{plain}"),
            dotted: format!("commcare.{name}"),
            kind,
            help: help.to_owned(),
        });
        self.registry.register(plain, help, metric.clone());
        metric
    }
}

#[cfg(test)]
mod tests {
    use super::super::Metrics;
    use super::super::statsd::Reader;
    use super::*;

    fn change(source: &str, document_type: &str, subtype: &str) -> Arc<Change> {
        let message = format!(
            r#"{{"document_id":"a","data_source_name":"{source}","document_type":"{document_type}",
            "document_subtype":"{subtype}"}}"#
        );
        Arc::new(Change::decode(message.as_bytes(), Position::number(0)).unwrap())
    }

    /// What is said of the original's pillow in both formats, sorted; times are not.
    fn check(metrics: &Metrics, text: &[&str], statsd: &[&str]) {
        let encoded = metrics.encode();
        for line in text {
            assert!(encoded.lines().any(|found| found == *line), "{line}\n{encoded}");
        }
        let lines = Reader::new(metrics).lines(metrics);
        for line in statsd {
            assert!(lines.iter().any(|found| found == line), "{line}\n{lines:#?}");
        }
    }

    fn pillow() -> PillowName {
        PillowName::new("fake pillow")
    }

    #[test]
    fn one_change_is_counted_as_the_original_does() {
        let metrics = Metrics::new();
        let original = metrics.original();
        original.read(&pillow(), &[change("test_commcarehq", "CommCareCase", "person")]);
        original.lag(&pillow(), "case", None, 1.5);
        original.processed(&pillow(), 1, 0.25);
        check(
            &metrics,
            &[
                "commcare_change_feed_changes_count_total{pillow_name=\"fake pillow\",datasource=\"test_commcarehq\",\
                 case_type=\"NA\"} 1",
                "commcare_change_feed_change_lag{pillow_name=\"fake pillow\",topic=\"case\"} 1.5",
                "commcare_change_feed_processing_time_total{pillow_name=\"fake pillow\"} 0.25",
                "commcare_change_feed_processing_time_count_total{pillow_name=\"fake pillow\"} 1",
            ],
            &[
                "commcare.change_feed.changes.count:1|c|#pillow_name:fake pillow,datasource:test_commcarehq,\
                 case_type:NA",
                "commcare.change_feed.change_lag:1.5|g|#pillow_name:fake pillow,topic:case",
                "commcare.change_feed.processing_time.total:0.25|c|#pillow_name:fake pillow",
                "commcare.change_feed.processing_time.count:1|c|#pillow_name:fake pillow",
            ],
        );
    }

    #[test]
    fn a_partition_is_part_of_the_topic() {
        let metrics = Metrics::new();
        metrics.original().lag(&pillow(), "case", Some(1), 2.0);
        check(
            &metrics,
            &["commcare_change_feed_change_lag{pillow_name=\"fake pillow\",topic=\"case-1\"} 2.0"],
            &["commcare.change_feed.change_lag:2|g|#pillow_name:fake pillow,topic:case-1"],
        );
    }

    #[test]
    fn types_of_cases_are_told_apart_where_that_is_asked_for() {
        let metrics = Metrics::with(CaseTypes::Apart);
        metrics.original().read(&pillow(), &[change("test_commcarehq", "CommCareCase", "person")]);
        check(
            &metrics,
            &[],
            &["commcare.change_feed.changes.count:1|c|#pillow_name:fake pillow,datasource:test_commcarehq,\
               case_type:person"],
        );
    }

    #[test]
    fn a_batch_counts_each_type_and_source_for_itself() {
        let batch: Vec<Arc<Change>> = [
            ("CommCareCase", "person"),
            ("CommCareCase", "cat"),
            ("XFormInstance", "http://openrosa.example/visit"),
            ("CommCareCase", "person"),
        ]
        .map(|(document_type, subtype)| change("test_commcarehq", document_type, subtype))
        .into();
        let count = |case_type: &str, count: u32| {
            format!(
                "commcare.change_feed.changes.count:{count}|c|#pillow_name:fake pillow,datasource:test_commcarehq,\
                 case_type:{case_type}"
            )
        };
        let metrics = Metrics::with(CaseTypes::Apart);
        metrics.original().read(&pillow(), &batch);
        let lines = Reader::new(&metrics).lines(&metrics);
        let counted: Vec<&String> = lines.iter().filter(|line| line.contains("changes.count")).collect();
        assert_eq!(counted.len(), 3, "{counted:?}");
        check(&metrics, &[], &[&count("person", 2), &count("cat", 1), &count("NA", 1)]);

        let metrics = Metrics::new();
        let mut mixed = batch;
        mixed.push(change("other_source", "CommCareCase", "person"));
        metrics.original().read(&pillow(), &mixed);
        metrics.original().succeeded(&pillow(), &mixed[1..]);
        // Each source is credited with its own changes, not with all of the batch.
        check(
            &metrics,
            &[],
            &[
                &count("NA", 4),
                &count("NA", 1).replace("test_commcarehq", "other_source"),
                "commcare.change_feed.changes.success:3|c|#pillow_name:fake pillow,datasource:test_commcarehq",
                "commcare.change_feed.changes.success:1|c|#pillow_name:fake pillow,datasource:other_source",
            ],
        );
    }

    #[test]
    fn what_alarms_stand_on_has_the_tags_of_the_original() {
        let metrics = Metrics::new();
        let original = metrics.original();
        let (checkpoint, end) = (Position::number(7), Position::number(12));
        let partition = Partition::new("case-sql", 3);
        original.compared(&pillow(), "kafka", &partition, (&checkpoint, &end, Some(5)));
        original.error_queue(&pillow(), 2);
        check(
            &metrics,
            &["commcare_change_feed_need_processing{pillow_name=\"fake pillow\",feed_type=\"kafka\",host=\"celery\",\
               group=\"celery\",topic=\"case-sql-3\"} 5"],
            &[
                "commcare.change_feed.current_offsets:12|g|#pillow_name:fake pillow,feed_type:kafka,host:celery,\
                 group:celery,topic:case-sql-3",
                "commcare.change_feed.processed_offsets:7|g|#pillow_name:fake pillow,feed_type:kafka,host:celery,\
                 group:celery,topic:case-sql-3",
                "commcare.pillowtop.error_queue:2|g|#pillow_name:fake pillow,host:celery,group:celery",
            ],
        );
        metrics.forget_lane(&pillow(), &partition);
        assert!(!metrics.encode().contains("case-sql-3"));
    }

    #[test]
    fn text_of_messages_makes_a_bounded_number_of_labels() {
        let metrics = Metrics::with(CaseTypes::Apart);
        let many: Vec<Arc<Change>> =
            (0..MOST_VALUES + 50).map(|n| change("s", "CommCareCase", &format!("type-{n}"))).collect();
        metrics.original().read(&pillow(), &many);
        let lines = Reader::new(&metrics).lines(&metrics);
        let counted = lines.iter().filter(|line| line.contains("changes.count")).count();
        // The source took one of the places.
        assert_eq!(counted, MOST_VALUES);
        assert!(lines.iter().any(|line| line.contains("changes.count:51|c") && line.ends_with("case_type:other")));
    }
}

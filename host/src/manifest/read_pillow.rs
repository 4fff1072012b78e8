//! From the text of a manifest to a [`Pillow`].

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::names::{Group, name};
use super::pillow::{Batches, Configuration, DocumentsUse, Failures, FeedUse, Pillow, Processor};
use super::problem::Code;
use super::read_lookups::{DOCUMENT_KINDS, LOOKUP_KINDS};
use super::read_settings::Defined;
use super::report::Report;
use super::section::{Section, Text, Value};
use super::{non_zero, read_feed, read_lists, shapes};
use crate::feed::Limits;
use crate::model::{Collapse, PillowName, ProcessorName};

/// A batch that holds more changes than this no longer fits the caches of a processor's thread, by far.
const MOST_CHANGES: usize = 100_000;
const CHANGES: NonZeroUsize = non_zero(256);
/// One batch is held in memory whole, several times.
const BATCH_BYTES: RangeInclusive<usize> = 1 << 10..=64 << 20;
const BYTES: NonZeroUsize = non_zero(512 << 10);
const MOST_IN_FLIGHT: usize = 256;
const IN_FLIGHT: NonZeroUsize = non_zero(8);

const HALT_ABOVE: f64 = 0.5;
/// The outcome of each change of the window is remembered.
const WIDEST_WINDOW: usize = 1_000_000;
const WINDOW: NonZeroUsize = non_zero(1000);
const MINIMUM: NonZeroUsize = non_zero(100);

/// How long a deferred document waits: changes that follow each other closely are done once, and a report is not late.
const QUEUE_DELAY: Duration = Duration::from_secs(30);
const QUEUE_DELAYS: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_secs(7 * 24 * 3600);

/// A pillow's name with its place, which is known also where the rest has problems.
pub(super) type Named = (Arc<str>, std::ops::Range<usize>);

/// Reads the whole file. Without `defined` the settings could not be read, and references are not followed. The pillow
/// counts if the report is clean afterwards.
pub(super) fn read(
    report: &Report<'_>,
    table: &DeTable<'_>,
    defined: Option<&Defined>,
) -> (Option<Named>, Option<Pillow>) {
    let root = Section::root(report, table, &shapes::pillow::ROOT);
    let named = root.required_text("name").and_then(|text| Some((name(&root, &text)?, text.span)));
    let reader = Reader { root: &root, defined };
    let paused = root.flag("paused", false);
    let collapses = [("by-document", Collapse::ByDocument), ("none", Collapse::None)];
    let collapse = root.choice("collapse", &collapses, Collapse::default());
    let feed = reader.feed();
    let documents = reader.documents();
    let batch = reader.batch();
    let failures = reader.failures();
    let queue = root.section("queue", &shapes::pillow::QUEUE);
    let queue_delay = queue.map_or(QUEUE_DELAY, |queue| queue.duration("delay", QUEUE_DELAYS, QUEUE_DELAY));
    let processors = reader.processors();
    let complete = || {
        let name = PillowName::new(&named.as_ref()?.0);
        Some(Pillow {
            name,
            paused,
            feed: feed?,
            documents: documents?,
            collapse,
            batch,
            failures,
            queue_delay,
            processors,
        })
    };
    let pillow = complete();
    (named, pillow)
}

/// The name alone, from a file that cannot be read as a whole.
pub(super) fn name_of(table: &DeTable<'_>) -> Option<Arc<str>> {
    table.get("name").and_then(|value| value.get_ref().as_str()).map(Arc::from)
}

struct Reader<'a, 's> {
    root: &'s Section<'a>,
    defined: Option<&'s Defined>,
}

impl<'a> Reader<'a, '_> {
    fn feed(&self) -> Option<FeedUse> {
        let section = self.root.required_section("feed", &shapes::pillow::FEED)?;
        let from = section.required_text("from").and_then(|text| self.reference(&text, |defined| &defined.feeds, &[]));
        let topics: Vec<Arc<str>> = section.texts("topics").into_iter().map(|text| Arc::from(text.value)).collect();
        match section.value("topics").map(|value| (value.span(), value.get_ref())) {
            None => section.missing("topics"),
            Some((span, DeValue::Array(items))) if items.is_empty() => {
                section.report.problem(span, Code::Empty, "`topics` is empty: the pillow would read nothing");
            }
            Some(_) => {}
        }
        let start = read_feed::start(&section);
        let named = self.root.text("name").map(|text| text.value);
        let group = read_feed::group(&section, named.as_deref());
        let kind = from.as_ref().and_then(|from| self.defined?.feeds.kinds.get(from).copied().flatten());
        read_feed::check_kind(&section, kind, start);
        Some(FeedUse { from: from?, topics, start, group })
    }

    fn documents(&self) -> Option<DocumentsUse> {
        let section = self.root.required_section("documents", &shapes::pillow::DOCUMENTS)?;
        let default = section.required_text("default").and_then(|text| self.store(&text, &DOCUMENT_KINDS));
        let sources = self.stores(&section, "sources", "documents.sources", &shapes::pillow::SOURCES, &DOCUMENT_KINDS);
        Some(DocumentsUse { default: default?, sources })
    }

    fn batch(&self) -> Batches {
        let section = self.root.section("batch", &shapes::pillow::BATCH);
        let Some(section) = section else {
            return Batches { limits: Limits { count: CHANGES, bytes: BYTES }, in_flight: IN_FLIGHT };
        };
        Batches {
            limits: Limits {
                count: section.count("count", 1..=MOST_CHANGES, CHANGES),
                bytes: section.size("bytes", BATCH_BYTES, BYTES),
            },
            in_flight: section.count("in-flight", 1..=MOST_IN_FLIGHT, IN_FLIGHT),
        }
    }

    fn failures(&self) -> Failures {
        let Some(section) = self.root.section("failures", &shapes::pillow::FAILURES) else {
            return Failures { halt_above: HALT_ABOVE, window: WINDOW, minimum: MINIMUM };
        };
        let halt_above = section.share("halt-above", HALT_ABOVE);
        let window = section.count("window", 1..=WIDEST_WINDOW, WINDOW);
        // A window of less than the default's minimum brings its own.
        let minimum = section.count("minimum", 1..=WIDEST_WINDOW, MINIMUM.min(window));
        if let (true, Some(value)) = (minimum > window, section.value("minimum")) {
            section.report.problem(value.span(), Code::OutOfRange, "`minimum` must not be above `window`");
        }
        Failures { halt_above, window, minimum }
    }

    fn processors(&self) -> Vec<Processor> {
        if self.root.value("processors").is_none() {
            let message = "the top level lacks a `[[processors]]`: the pillow would do nothing".to_owned();
            self.root.report.problem(self.root.span.clone(), Code::MissingKey, message);
        }
        let mut processors: Vec<Processor> = Vec::new();
        let mut names: Vec<Arc<str>> = Vec::new();
        for section in self.root.sections("processors", &shapes::pillow::PROCESSOR) {
            let text = section.required_text("name");
            let named = text.as_ref().and_then(|text| name(&section, text));
            if let (Some(text), Some(named)) = (text, &named) {
                if names.contains(named) {
                    let message = format!("processor `{named}` stands here twice");
                    section.report.problem(text.span, Code::Duplicate, message);
                }
                names.push(Arc::clone(named));
            }
            processors.extend(self.processor(&section, named));
        }
        processors
    }

    fn processor(&self, section: &Section<'a>, named: Option<Arc<str>>) -> Option<Processor> {
        let module = section.required_text("module").map(|text| section.report.beside(&text.value));
        let may_log =
            section.texts("grants").iter().filter_map(|text| section.chosen("grants", text, &[("log", ())])).count()
                > 0;
        let lookups = self.stores(section, "lookups", "processors.lookups", &shapes::pillow::LOOKUPS, &LOOKUP_KINDS);
        let tables = self.sink(section, "tables", &["sql", "memory"]);
        let engines = self.engines(section);
        let indices = self.sink(section, "indices", &["search", "elasticsearch", "memory"]);
        let topics = self.sink(section, "topics", &["kafka", "memory"]);
        let caches = self.sink(section, "caches", &["redis", "memory"]);
        let config = config(section);
        let lists = read_lists::lists(section, self.defined, config.as_ref());
        let (name, module, config) = (ProcessorName::new(named?), module?, config?);
        Some(Processor { name, module, may_log, lookups, tables, engines, indices, topics, caches, config, lists })
    }

    fn sink(&self, section: &Section<'_>, key: &str, kinds: &[&'static str]) -> Option<Arc<str>> {
        self.reference(&section.text(key)?, |defined| &defined.sinks, kinds)
    }

    /// The sinks of databases that tables name.
    fn engines(&self, section: &Section<'a>) -> BTreeMap<Arc<str>, Arc<str>> {
        let shape = &shapes::pillow::ENGINES;
        let table = section.value("engines").and_then(|value| section.section_of("processors.engines", value, shape));
        let mut engines = BTreeMap::new();
        for (key, value) in table.iter().flat_map(Section::entries) {
            let sink = section.text_of(&key.value, value);
            let sink = sink.and_then(|text| self.reference(&text, |defined| &defined.sinks, &["sql", "memory"]));
            engines.extend(sink.map(|sink| (Arc::from(key.value), sink)));
        }
        engines
    }

    fn store(&self, text: &Text, kinds: &[&'static str]) -> Option<Arc<str>> {
        self.reference(text, |defined| &defined.documents, kinds)
    }

    /// A table of names with a document store for each.
    fn stores(
        &self,
        section: &Section<'a>,
        key: &str,
        path: &str,
        shape: &'static shapes::Shape,
        kinds: &[&'static str],
    ) -> BTreeMap<Arc<str>, Arc<str>> {
        let table = section.value(key).and_then(|value| section.section_of(path, value, shape));
        let mut stores = BTreeMap::new();
        for (key, value) in table.iter().flat_map(Section::entries) {
            let store = section.text_of(&key.value, value).and_then(|text| self.store(&text, kinds));
            stores.extend(store.map(|store| (Arc::from(key.value), store)));
        }
        stores
    }

    fn reference(&self, text: &Text, group: fn(&Defined) -> &Group, kinds: &[&'static str]) -> Option<Arc<str>> {
        group(self.defined?).find(self.root.report, text, kinds)
    }
}

/// The configuration, from the manifest or from a file of its own; an empty object when neither is given.
fn config(section: &Section<'_>) -> Option<Configuration> {
    let report = section.report;
    if let (Some(inline), Some(file)) = (section.value("config"), section.value("config-file")) {
        let later = if inline.span().start > file.span().start { inline.span() } else { file.span() };
        report.problem(later, Code::ConflictingKeys, "both `config` and `config-file` are given");
        return None;
    }
    if let Some(text) = section.text("config-file") {
        let json = report.read(&text)?;
        return match serde_json::from_str::<&RawValue>(&json) {
            Ok(json) => Some(Configuration(Arc::from(json.get()))),
            Err(error) => {
                report.problem(text.span, Code::UnusableFile, format!("this file is not JSON: {error}"));
                None
            }
        };
    }
    if section.value("config-file").is_some() {
        return None;
    }
    let Some(value) = section.value("config") else { return Some(Configuration(Arc::from("{}"))) };
    let DeValue::Table(_) = value.get_ref() else { return section.wrong_type("config", value, "a table") };
    Some(Configuration(Arc::from(json(section, value)?.to_string())))
}

/// TOML as JSON; dates become texts.
pub(super) fn json(section: &Section<'_>, value: &Value<'_>) -> Option<serde_json::Value> {
    let invalid = |what: &str| {
        let message = format!("{what} has no place in JSON, which the configuration becomes");
        section.report.problem(value.span(), Code::InvalidValue, message);
        None
    };
    Some(match value.get_ref() {
        DeValue::String(text) => section.report.resolve(text, value.span())?.into(),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => number.into(),
            Err(_) => return invalid("a number of more than 64 bits"),
        },
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(serde_json::Number::from_f64);
            match number {
                Some(number) => number.into(),
                None => return invalid("a number that is not finite"),
            }
        }
        DeValue::Boolean(flag) => (*flag).into(),
        DeValue::Datetime(time) => time.to_string().into(),
        // Every element is looked at before the first problem ends it.
        DeValue::Array(items) => {
            let items: Vec<Option<serde_json::Value>> = items.iter().map(|item| json(section, item)).collect();
            items.into_iter().collect::<Option<Vec<_>>>()?.into()
        }
        DeValue::Table(table) => {
            let entries: Vec<(String, Option<serde_json::Value>)> =
                table.iter().map(|(key, value)| (key.get_ref().to_string(), json(section, value))).collect();
            let entries = entries.into_iter().map(|(key, value)| Some((key, value?)));
            serde_json::Value::Object(entries.collect::<Option<_>>()?)
        }
    })
}

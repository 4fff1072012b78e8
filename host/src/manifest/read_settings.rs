//! From the text of `pillowtop.toml` to [`Settings`], and to the names that manifests may refer to.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{Group, name};
use super::observe::Observe;
use super::problem::Code;
use super::read_lookups::{LookupStore, Routes, couch_view};
use super::report::Report;
use super::section::{Section, Text, Value};
use super::settings::{Database, Documents, Feed, Format, Level, Limits, Log, MAIN, Settings, Sink};
use super::{Secret, non_zero, read_elasticsearch, shapes};
use crate::sql::is_postgres;

/// Documents are hashed over the partitions; more lanes than this only cost memory.
const MOST_PARTITIONS: usize = 1024;
const PARTITIONS: NonZeroUsize = non_zero(4);

/// librdkafka's settings that the host depends on and sets itself.
const HOST_OPTIONS: [&str; 8] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.auto.commit",
    "auto.commit.enable",
    "enable.auto.offset.store",
    "auto.offset.reset",
    "enable.partition.eof",
    "partition.assignment.strategy",
];

/// The same of a sink.
const HOST_SINK_OPTIONS: [&str; 6] = [
    "bootstrap.servers",
    "metadata.broker.list",
    "enable.idempotence",
    "acks",
    "request.required.acks",
    "transactional.id",
];

/// Parameters of CouchDB's changes that the host depends on and sets itself.
const HOST_PARAMETERS: [&str; 7] = ["since", "feed", "limit", "heartbeat", "timeout", "include_docs", "filter"];

/// How often CouchDB may be asked to say that it is there; three times as long is a lost connection.
const HEARTBEATS: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(60);
const DEFAULT_HEARTBEAT: Duration = Duration::from_secs(10);

/// What queries of stores look like, for those who wrote another one.
const SOME_DOCUMENTS: &str = "select id, document, revision, deleted from documents where id in (:ids)";
const SOME_LOOKUP: &str = "select parent as key, document from cases where parent in (:ids)";

/// What the settings define, for the references in manifests.
#[derive(Debug)]
pub(super) struct Defined {
    pub(super) feeds: Group,
    pub(super) documents: Group,
    pub(super) sinks: Group,
    pub(super) databases: Group,
}

/// Reads the whole file. What it defines is known also where it has problems; the settings count if it has none.
pub(super) fn read(report: &Report<'_>, table: &DeTable<'_>) -> (Settings, Defined) {
    let root = Section::root(report, table, &shapes::settings::ROOT);
    let mut reader = Reader {
        root: &root,
        names: Group::new("database"),
        settings: Settings {
            databases: BTreeMap::new(),
            feeds: BTreeMap::new(),
            documents: BTreeMap::new(),
            sinks: BTreeMap::new(),
            limits: Limits::beside(report),
            log: Log::default(),
            observe: Observe::default(),
        },
    };
    reader.databases();
    let feeds = reader.feeds();
    let documents = reader.documents();
    let sinks = reader.sinks();
    reader.limits();
    reader.log();
    reader.settings.observe = Observe::read(&root);
    (reader.settings, Defined { feeds, documents, sinks, databases: reader.names })
}

/// `'a` is the tables' life, `'s` the shorter one of the top level's section.
struct Reader<'a, 's> {
    root: &'s Section<'a>,
    /// The databases that were named so far, also those with problems.
    names: Group,
    settings: Settings,
}

impl<'a> Reader<'a, '_> {
    fn databases(&mut self) {
        let mut urls: Vec<(Secret, Arc<str>)> = Vec::new();
        self.names.kinds.insert(Arc::from(MAIN), None);
        if let Some(section) = self.root.required_section("database", &shapes::settings::DATABASE) {
            self.database(&section, Arc::from(MAIN), &mut urls);
        }
        for (path, name, value) in self.entries("databases", &shapes::settings::DATABASES) {
            let Some(section) = self.root.section_of(&path, value, &shapes::settings::DATABASES_NAME) else { continue };
            if &*name.value == MAIN {
                let message = format!("`{MAIN}` is the name of `[database]`, which holds the checkpoints");
                self.root.report.problem(name.span, Code::Duplicate, message);
                continue;
            }
            let name: Arc<str> = Arc::from(name.value);
            self.names.kinds.insert(Arc::clone(&name), None);
            self.database(&section, name, &mut urls);
        }
    }

    fn database(&mut self, section: &Section<'_>, name: Arc<str>, urls: &mut Vec<(Secret, Arc<str>)>) {
        let Some((secret, span)) = section.secret("url") else { return };
        let Some(url) = self.database_url(&secret, &span) else { return };
        if let Some((_, other)) = urls.iter().find(|(known, _)| *known == url) {
            // Under another name nothing would know that it is the same file, and rows would not share its transaction.
            let message = format!("database `{name}` is the same as `{other}`");
            self.root.report.problem_with_help(span, Code::Duplicate, message, format!("refer to `{other}` instead"));
        }
        urls.push((url.clone(), Arc::clone(&name)));
        self.settings.databases.insert(name, Database { url });
    }

    /// The address, that of SQLite with its file beside the settings. The messages quote nothing of it.
    fn database_url(&self, url: &Secret, span: &Range<usize>) -> Option<Secret> {
        if is_postgres(url.reveal()) {
            return Some(url.clone());
        }
        let report = self.root.report;
        let rest = url.reveal().strip_prefix("sqlite:").map(|rest| rest.strip_prefix("//").unwrap_or(rest));
        let Some(rest) = rest else {
            let message = "this is no address of a database that the host can open".to_owned();
            report.problem_with_help(
                span.clone(),
                Code::InvalidValue,
                message,
                "write `sqlite:` and the path of a file, or `postgres://user:password@host/database`",
            );
            return None;
        };
        let (file, parameters) = rest.split_once('?').map_or((rest, None), |(file, rest)| (file, Some(rest)));
        if file.is_empty() || file == ":memory:" || parameters.is_some_and(|text| text.contains("mode=memory")) {
            let message = "the database needs a file: one in memory is not shared by its connections".to_owned();
            report.problem(span.clone(), Code::InvalidValue, message);
            return None;
        }
        if Path::new(file).is_absolute() {
            return Some(url.clone());
        }
        // The driver decodes percent signs in the path; those of the folder are meant as they are.
        let folder = report.beside("").display().to_string().replace('%', "%25").replace('?', "%3f");
        let path = Path::new(&folder).join(file).display().to_string();
        let parameters = parameters.map(|text| format!("?{text}")).unwrap_or_default();
        Some(Secret::new(format!("sqlite:{path}{parameters}")))
    }

    fn feeds(&mut self) -> Group {
        let mut group = Group::new("feed");
        for (path, name, value) in self.entries("feeds", &shapes::settings::FEEDS) {
            let name: Arc<str> = Arc::from(name.value);
            let opened = self.root.section_of_kind(&path, value, &shapes::settings::FEED);
            group.kinds.insert(Arc::clone(&name), opened.as_ref().map(|(kind, _)| *kind));
            let feed = match opened {
                Some(("changelog", section)) => {
                    let partitions = section.count("partitions", 1..=MOST_PARTITIONS, PARTITIONS);
                    self.database_reference(&section).map(|database| Feed::Changelog { database, partitions })
                }
                Some(("couchdb", section)) => Self::couch(&path, &section),
                Some((_, section)) => Self::kafka(&path, &section, &shapes::settings::OPTIONS, &HOST_OPTIONS)
                    .map(|(brokers, options)| Feed::Kafka { brokers, options }),
                None => None,
            };
            self.settings.feeds.extend(feed.map(|feed| (name, feed)));
        }
        group
    }

    fn couch(path: &str, section: &Section<'a>) -> Option<Feed> {
        let shown = format!("{path}.parameters");
        let given = section.value("parameters");
        let given = given.and_then(|value| section.section_of(&shown, value, &shapes::settings::PARAMETERS));
        let mut parameters = BTreeMap::new();
        for (key, value) in given.iter().flat_map(Section::entries) {
            if HOST_PARAMETERS.contains(&key.value.as_str()) {
                let message = format!("`{}` is set by the host", key.value);
                section.report.problem(key.span, Code::ForbiddenKey, message);
                continue;
            }
            parameters.extend(section.text_of(&key.value, value).map(|text| (key.value, text.value)));
        }
        let waits = [("continuous", false), ("longpoll", true)];
        Some(Feed::Couch {
            long_poll: section.choice("wait", &waits, false),
            heartbeat: section.duration("heartbeat", HEARTBEATS, DEFAULT_HEARTBEAT),
            filter: section.text("filter").map(|text| text.value),
            parameters,
            include_docs: section.flag("include-docs", false),
            url: Self::http_url(section)?,
        })
    }

    /// The key `url`, as the address of a server that speaks HTTP.
    fn http_url(section: &Section<'_>) -> Option<Secret> {
        let (url, span) = section.secret("url")?;
        if !["http://", "https://"].iter().any(|scheme| url.reveal().starts_with(scheme)) {
            let message = "this is no address of a server".to_owned();
            section.report.problem_with_help(span, Code::InvalidValue, message, "write `http://…` or `https://…`");
            return None;
        }
        Some(url)
    }

    /// Brokers and options, of which the host sets some itself.
    fn kafka(
        path: &str,
        section: &Section<'a>,
        shape: &'static shapes::Shape,
        host_options: &[&str],
    ) -> Option<(String, BTreeMap<String, Secret>)> {
        let mut options = BTreeMap::new();
        let shown = format!("{path}.options");
        let given = section.value("options").and_then(|value| section.section_of(&shown, value, shape));
        for (key, value) in given.iter().flat_map(Section::entries) {
            if host_options.contains(&key.value.as_str()) {
                let message = format!("`{}` is set by the host", key.value);
                section.report.problem(key.span, Code::ForbiddenKey, message);
                continue;
            }
            let secret = match value.get_ref() {
                DeValue::Boolean(flag) => Some(Secret::new(flag.to_string())),
                DeValue::Integer(integer) if integer.radix() == 10 => Some(Secret::new(integer.as_str())),
                DeValue::Float(float) => Some(Secret::new(float.as_str())),
                _ => section.secret_of(&key.value, value),
            };
            let setting = ["-file", "_file"].iter().find_map(|end| key.value.strip_suffix(end)).unwrap_or(&key.value);
            if let Some(secret) = secret
                && options.insert(setting.to_owned(), secret).is_some()
            {
                let message = format!("`{setting}` is given twice, once as a file");
                section.report.problem(key.span, Code::ConflictingKeys, message);
            }
        }
        let brokers = section.required_text("brokers")?;
        let list: Vec<&str> = brokers.value.split(',').map(str::trim).collect();
        let is_broker = |broker: &&str| {
            let (host, port) = broker.rsplit_once(':').unwrap_or((*broker, "9092"));
            !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok()
        };
        if !list.iter().all(is_broker) {
            let message = format!("`brokers` cannot be read: \"{}\"", brokers.written);
            let help = "write `host:port`, with commas between several";
            section.report.problem_with_help(brokers.span, Code::InvalidValue, message, help);
        }
        Some((list.join(","), options))
    }

    fn documents(&mut self) -> Group {
        let mut group = Group::new("document store");
        let mut routes = Routes::default();
        for (path, name, value) in self.entries("documents", &shapes::settings::DOCUMENTS) {
            let name: Arc<str> = Arc::from(name.value);
            let opened = self.root.section_of_kind(&path, value, &shapes::settings::STORE);
            group.kinds.insert(Arc::clone(&name), opened.as_ref().map(|(kind, _)| *kind));
            let documents = match opened {
                Some(("inline", _)) => Some(Documents::Inline),
                Some(("couchdb", section)) => Self::http_url(&section).map(|url| {
                    let database = section.text("database").map(|text| Arc::from(text.value));
                    Documents::Couch { url, database }
                }),
                Some(("http", section)) => Self::http_documents(&section),
                Some(("by-type", section)) => Some(Documents::Lookup(routes.read(&path, &section))),
                Some(("couchdb-view", section)) => {
                    couch_view(&section, Self::http_url(&section)).map(Documents::Lookup)
                }
                Some(("http-lookup", section)) => {
                    let authorization = section.optional_secret("authorization").map(|(secret, _)| secret);
                    Self::http_url(&section).map(|url| Documents::Lookup(LookupStore::Http { url, authorization }))
                }
                Some(("sql-lookup", section)) => {
                    let database = self.database_reference(&section);
                    let query = section.required_text("query").map(|query| Self::query(&section, query, SOME_LOOKUP));
                    let lookup = database.zip(query).map(|(database, query)| LookupStore::Sql { database, query });
                    lookup.map(Documents::Lookup)
                }
                Some((_, section)) => {
                    let database = self.database_reference(&section);
                    let query =
                        section.required_text("query").map(|query| Self::query(&section, query, SOME_DOCUMENTS));
                    let ids = section.text("ids").map(|ids| ids.value);
                    database.zip(query).map(|(database, query)| Documents::Sql { database, query, ids })
                }
                None => None,
            };
            self.settings.documents.extend(documents.map(|documents| (name, documents)));
        }
        routes.check(self.root.report, &group);
        group
    }

    fn http_documents(section: &Section<'_>) -> Option<Documents> {
        let authorization = section.optional_secret("authorization");
        let at_once = section.count("at-once", 1..=256, non_zero(16));
        let url = Self::http_url(section)?;
        if !url.reveal().contains("{id}") {
            let span = section.value("url").map(Spanned::span)?;
            let message = "`url` must hold `{id}`, where the id of a document goes".to_owned();
            section.report.problem(span, Code::InvalidValue, message);
        }
        Some(Documents::Http { url, authorization: authorization.map(|(secret, _)| secret), at_once })
    }

    fn query(section: &Section<'_>, query: Text, example: &str) -> String {
        let word_goes_on = |at: usize| {
            query.value[at + ":ids".len()..].starts_with(|next: char| next.is_alphanumeric() || next == '_')
        };
        let places = query.value.match_indices(":ids").filter(|(at, _)| !word_goes_on(*at)).count();
        if places != 1 {
            let message = format!("`query` must hold `:ids` once, where the ids go, and holds it {places} times");
            let help = format!("such as `{example}`");
            section.report.problem_with_help(query.span, Code::InvalidValue, message, help);
        }
        query.value
    }

    fn sinks(&mut self) -> Group {
        let mut group = Group::new("sink");
        let mut folders: BTreeMap<PathBuf, Arc<str>> = BTreeMap::new();
        for (path, name, value) in self.entries("sinks", &shapes::settings::SINKS) {
            let name: Arc<str> = Arc::from(name.value);
            let opened = self.root.section_of_kind(&path, value, &shapes::settings::SINK);
            group.kinds.insert(Arc::clone(&name), opened.as_ref().map(|(kind, _)| *kind));
            let sink = match opened {
                Some(("sql", section)) => self.database_reference(&section).map(|database| Sink::Sql { database }),
                Some(("search", section)) => section.required_text("folder").map(|text| {
                    let folder = section.report.beside(&text.value);
                    if let Some(other) = folders.insert(folder.clone(), Arc::clone(&name)) {
                        let message = format!("sink `{other}` has the same folder, and only one can write there");
                        section.report.problem(text.span, Code::Duplicate, message);
                    }
                    Sink::Search { folder }
                }),
                Some(("redis", section)) => Self::redis(&section),
                Some(("elasticsearch", section)) => {
                    read_elasticsearch::read(&path, &section).map(|settings| Sink::Elasticsearch(Box::new(settings)))
                }
                Some(("kafka", section)) => {
                    Self::kafka(&path, &section, &shapes::settings::SINK_OPTIONS, &HOST_SINK_OPTIONS)
                        .map(|(brokers, options)| Sink::Kafka { brokers, options })
                }
                Some(_) => Some(Sink::Memory),
                None => None,
            };
            self.settings.sinks.extend(sink.map(|sink| (name, sink)));
        }
        group
    }

    fn redis(section: &Section<'_>) -> Option<Sink> {
        let prefix = section.text("prefix").map(|text| text.value).unwrap_or_default();
        let counters = section.texts("counters").into_iter().map(|text| Arc::from(text.value)).collect();
        let (url, span) = section.secret("url")?;
        if !["redis://", "rediss://"].iter().any(|scheme| url.reveal().starts_with(scheme)) {
            let message = "this is no address of a Redis server".to_owned();
            let help = "write `redis://host:port/number`, or `rediss:` for TLS";
            section.report.problem_with_help(span, Code::InvalidValue, message, help);
            return None;
        }
        Some(Sink::Redis { url, prefix, counters })
    }

    fn limits(&mut self) {
        let Some(section) = self.root.section("limits", &shapes::settings::LIMITS) else { return };
        let limits = &mut self.settings.limits;
        if section.value("workers").is_some() {
            limits.workers = Some(section.count("workers", 1..=1024, non_zero(1)));
        }
        limits.memory = section.size("memory", 1 << 20..=4 << 30, limits.memory);
        limits.memory_mark = section.size("memory-mark", 1 << 20..=4 << 30, limits.memory_mark.min(limits.memory));
        let seconds = Duration::from_secs;
        limits.cpu_deadline =
            section.duration("cpu-deadline", Duration::from_millis(10)..=seconds(600), limits.cpu_deadline);
        let wall_limit = limits.wall_limit.max(limits.cpu_deadline);
        limits.wall_limit = section.duration("wall-limit", Duration::from_millis(10)..=seconds(3600), wall_limit);
        limits.batches_in_flight = section.count("batches-in-flight", 1..=10_000, limits.batches_in_flight);
        if let Some(folder) = section.text("module-cache") {
            limits.module_cache = section.report.beside(&folder.value);
        }
        limits.grace_period = section.duration("grace-period", seconds(1)..=seconds(3600), limits.grace_period);

        let check = |wrong: bool, key: &str, message: &str| {
            if let (true, Some(value)) = (wrong, section.value(key)) {
                section.report.problem(value.span(), Code::OutOfRange, message);
            }
        };
        check(limits.memory_mark > limits.memory, "memory-mark", "`memory-mark` must not be above `memory`");
        check(limits.wall_limit < limits.cpu_deadline, "wall-limit", "`wall-limit` must not be below `cpu-deadline`");
    }

    fn log(&mut self) {
        let Some(section) = self.root.section("log", &shapes::settings::LOG) else { return };
        let levels = [
            ("error", Level::Error),
            ("warn", Level::Warn),
            ("info", Level::Info),
            ("debug", Level::Debug),
            ("trace", Level::Trace),
        ];
        let level = section.choice("level", &levels, Level::default());
        let format = section.choice("format", &[("text", Format::Text), ("json", Format::Json)], Format::default());
        self.settings.log = Log { level, format };
    }

    /// The entries `[key.NAME]` with their paths; those that cannot be names are reported and left out.
    fn entries(&self, key: &str, shape: &'static shapes::Shape) -> Vec<(String, Text, &'a Value<'a>)> {
        let Some(section) = self.root.section(key, shape) else { return Vec::new() };
        let entries = section.entries().into_iter().filter(|(text, _)| name(&section, text).is_some());
        entries.map(|(text, value)| (format!("{key}.{}", text.value), text, value)).collect()
    }

    fn database_reference(&self, section: &Section<'_>) -> Option<Arc<str>> {
        match section.value("database") {
            Some(_) => self.names.find(section.report, &section.text("database")?, &[]),
            None => Some(Arc::from(MAIN)),
        }
    }
}

impl Limits {
    /// The defaults; the module cache lies beside the settings.
    fn beside(report: &Report<'_>) -> Self {
        Self {
            workers: None,
            memory: non_zero(256 << 20),
            memory_mark: non_zero(64 << 20),
            cpu_deadline: Duration::from_secs(5),
            wall_limit: Duration::from_secs(30),
            batches_in_flight: non_zero(64),
            module_cache: report.beside(".pillowtop/modules"),
            grace_period: Duration::from_secs(30),
        }
    }
}

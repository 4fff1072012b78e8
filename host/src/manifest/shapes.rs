//! Every key that the files may hold, table by table. What is not listed here is an unknown key; `docs/manifest.md`
//! must name each of them, which a test holds.

/// One table: where it stands, of which kind, and its keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Shape {
    /// Where, as a reader writes it; `NAME` stands for a name of the reader's choice, nothing for the top level.
    pub(super) path: &'static str,
    /// The `kind` that has these keys, where a table comes in several.
    pub(super) kind: Option<&'static str>,
    /// The keys. None: the table is the reader's own, and holds any.
    pub(super) keys: Option<&'static [&'static str]>,
    /// Those of the keys that are secrets; each may also be given as `KEY-file` or `KEY_file`.
    pub(super) secrets: &'static [&'static str],
}

/// A table with these keys.
const fn shape(path: &'static str, keys: &'static [&'static str]) -> Shape {
    Shape { path, kind: None, keys: Some(keys), secrets: &[] }
}

/// A table that has these keys when it says `kind`.
const fn kind(path: &'static str, kind: &'static str, keys: &'static [&'static str]) -> Shape {
    Shape { path, kind: Some(kind), keys: Some(keys), secrets: &[] }
}

/// A table of the reader's own names.
const fn names(path: &'static str) -> Shape {
    Shape { path, kind: None, keys: None, secrets: &[] }
}

/// The tables of `pillowtop.toml`.
pub(super) mod settings {
    use super::{Shape, kind, names, shape};

    pub(in super::super) static ROOT: Shape = shape(
        "",
        &["database", "databases", "feeds", "documents", "sinks", "limits", "log", "metrics", "admin", "traces"],
    );
    pub(in super::super) static DATABASE: Shape = Shape { secrets: &["url"], ..shape("database", &["url"]) };
    pub(in super::super) static DATABASES: Shape = names("databases");
    pub(in super::super) static DATABASES_NAME: Shape =
        Shape { secrets: &["url"], ..shape("databases.NAME", &["url"]) };
    pub(in super::super) static FEEDS: Shape = names("feeds");
    pub(in super::super) static FEED: [Shape; 3] = [
        kind("feeds.NAME", "changelog", &["kind", "database", "partitions"]),
        kind("feeds.NAME", "kafka", &["kind", "brokers", "options"]),
        Shape {
            secrets: &["url"],
            ..kind(
                "feeds.NAME",
                "couchdb",
                &["kind", "url", "wait", "heartbeat", "filter", "parameters", "include-docs"],
            )
        },
    ];
    pub(in super::super) static OPTIONS: Shape = names("feeds.NAME.options");
    pub(in super::super) static PARAMETERS: Shape = names("feeds.NAME.parameters");
    pub(in super::super) static DOCUMENTS: Shape = names("documents");
    pub(in super::super) static STORE: [Shape; 8] = [
        kind("documents.NAME", "sql", &["kind", "database", "query", "ids"]),
        Shape { secrets: &["url"], ..kind("documents.NAME", "couchdb", &["kind", "url", "database"]) },
        Shape {
            secrets: &["url", "authorization"],
            ..kind("documents.NAME", "http", &["kind", "url", "authorization", "at-once"])
        },
        kind("documents.NAME", "inline", &["kind"]),
        kind("documents.NAME", "sql-lookup", &["kind", "database", "query"]),
        Shape {
            secrets: &["url"],
            ..kind("documents.NAME", "couchdb-view", &["kind", "url", "database", "view", "include-docs"])
        },
        Shape {
            secrets: &["url", "authorization"],
            ..kind("documents.NAME", "http-lookup", &["kind", "url", "authorization"])
        },
        kind("documents.NAME", "by-type", &["kind", "types", "other"]),
    ];
    pub(in super::super) static TYPES: Shape = names("documents.NAME.types");
    pub(in super::super) static SINKS: Shape = names("sinks");
    pub(in super::super) static SINK: [Shape; 6] = [
        kind("sinks.NAME", "sql", &["kind", "database"]),
        kind("sinks.NAME", "search", &["kind", "folder"]),
        Shape { secrets: &["url"], ..kind("sinks.NAME", "redis", &["kind", "url", "prefix", "counters"]) },
        kind("sinks.NAME", "kafka", &["kind", "brokers", "options"]),
        kind("sinks.NAME", "memory", &["kind"]),
        Shape {
            secrets: &["password", "api-key"],
            ..kind(
                "sinks.NAME",
                "elasticsearch",
                &[
                    "kind",
                    "urls",
                    "username",
                    "password",
                    "api-key",
                    "ca-file",
                    "gzip",
                    "request-bytes",
                    "request-count",
                    "requests-in-flight",
                    "timeout",
                    "refresh",
                    "gc-deletes",
                    "index-settings",
                ],
            )
        },
    ];
    pub(in super::super) static INDEX_SETTINGS: Shape = names("sinks.NAME.index-settings");
    pub(in super::super) static SINK_OPTIONS: Shape = names("sinks.NAME.options");
    pub(in super::super) static LIMITS: Shape = shape(
        "limits",
        &[
            "workers",
            "memory",
            "memory-mark",
            "cpu-deadline",
            "wall-limit",
            "batches-in-flight",
            "module-cache",
            "grace-period",
        ],
    );
    pub(in super::super) static LOG: Shape = shape("log", &["level", "format"]);
    pub(in super::super) static METRICS: Shape = shape("metrics", &["file", "statsd", "case-types"]);
    pub(in super::super) static ADMIN: Shape = Shape { secrets: &["token"], ..shape("admin", &["listen", "token"]) };
    pub(in super::super) static TRACES: Shape = shape("traces", &["endpoint", "sample"]);

    /// All of them.
    pub(in super::super) fn all() -> Vec<&'static Shape> {
        let single = [
            &ROOT,
            &DATABASE,
            &DATABASES,
            &DATABASES_NAME,
            &FEEDS,
            &OPTIONS,
            &PARAMETERS,
            &DOCUMENTS,
            &TYPES,
            &SINKS,
            &INDEX_SETTINGS,
            &SINK_OPTIONS,
            &LIMITS,
            &LOG,
            &METRICS,
            &ADMIN,
            &TRACES,
        ];
        single.into_iter().chain(&FEED).chain(&STORE).chain(&SINK).collect()
    }
}

/// The tables of `pipelines/*.toml`.
pub(super) mod pillow {
    use super::{Shape, names, shape};

    pub(in super::super) static ROOT: Shape =
        shape("", &["name", "paused", "collapse", "feed", "documents", "batch", "failures", "queue", "processors"]);
    pub(in super::super) static FEED: Shape = shape("feed", &["from", "topics", "start", "assignment", "group"]);
    pub(in super::super) static DOCUMENTS: Shape = shape("documents", &["default", "sources"]);
    pub(in super::super) static SOURCES: Shape = names("documents.sources");
    pub(in super::super) static BATCH: Shape = shape("batch", &["count", "bytes", "in-flight"]);
    pub(in super::super) static FAILURES: Shape = shape("failures", &["halt-above", "window", "minimum"]);
    pub(in super::super) static QUEUE: Shape = shape("queue", &["delay"]);
    pub(in super::super) static PROCESSOR: Shape = shape(
        "processors",
        &[
            "name",
            "module",
            "grants",
            "lookups",
            "tables",
            "engines",
            "indices",
            "topics",
            "caches",
            "config",
            "config-file",
            "config-lists",
        ],
    );
    pub(in super::super) static ENGINES: Shape = names("processors.engines");
    pub(in super::super) static LOOKUPS: Shape = names("processors.lookups");
    pub(in super::super) static CONFIG: Shape = names("processors.config");
    pub(in super::super) static CONFIG_LISTS: Shape = shape(
        "processors.config-lists",
        &["key", "files", "database", "query", "changed", "store", "where", "refresh", "poll"],
    );
    pub(in super::super) static WHERE: Shape = names("processors.config-lists.where");

    /// All of them.
    pub(in super::super) fn all() -> Vec<&'static Shape> {
        let processor = [&PROCESSOR, &ENGINES, &LOOKUPS, &CONFIG, &CONFIG_LISTS, &WHERE];
        [&ROOT, &FEED, &DOCUMENTS, &SOURCES, &BATCH, &FAILURES, &QUEUE].into_iter().chain(processor).collect()
    }
}

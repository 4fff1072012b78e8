//! Lists inside a processor's configuration that the host brings from where they live.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::Used;

/// One source of a list; several may bring parts of the same one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigList {
    /// The key of the configuration: the elements follow those that the manifest itself has there.
    pub key: Arc<str>,
    /// Where they are.
    pub from: ListSource,
}

/// Where the elements of a list are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListSource {
    /// JSON files, each an element or a list of them. In a pattern `*` and `?` stand for parts of a name.
    Files(Vec<PathBuf>),
    /// Rows of a query, each an element as JSON.
    Query {
        /// The database that is asked.
        database: Arc<str>,
        /// The query.
        query: String,
        /// A cheap query whose answer differs when that of the other one may differ.
        changed: Option<String>,
        /// When it is asked again.
        times: Times,
    },
    /// Documents of a store.
    Store {
        /// The store.
        store: Arc<str>,
        /// What fields of a document must be, or one of a list, for it to be an element.
        wanted: BTreeMap<String, Value>,
        /// When it is asked again.
        times: Times,
    },
}

/// When a list is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Whole.
    pub refresh: Duration,
    /// How often the source is asked whether something changed, where it can tell.
    pub poll: Duration,
}

impl ConfigList {
    /// What of the settings it uses.
    pub(super) fn used(&self) -> Option<Used> {
        match &self.from {
            ListSource::Files(_) => None,
            ListSource::Query { database, .. } => Some(Used::Database(Arc::clone(database))),
            ListSource::Store { store, .. } => Some(Used::Documents(Arc::clone(store))),
        }
    }

    /// Everything by value.
    pub(super) fn canonical(&self) -> Value {
        let times = |times: &Times| {
            let Times { refresh, poll } = times;
            json!([refresh.as_millis().to_string(), poll.as_millis().to_string()])
        };
        let from = match &self.from {
            ListSource::Files(patterns) => {
                json!({ "files": patterns.iter().map(|pattern| pattern.to_string_lossy()).collect::<Vec<_>>() })
            }
            ListSource::Query { database, query, changed, times: when } => {
                json!({ "query": [**database, query, changed, times(when)] })
            }
            ListSource::Store { store, wanted, times: when } => json!({ "store": [**store, wanted, times(when)] }),
        };
        json!([*self.key, from])
    }
}

/// As messages name it.
impl fmt::Display for ListSource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(patterns) => {
                let patterns: Vec<String> = patterns.iter().map(|pattern| pattern.display().to_string()).collect();
                formatter.write_str(&patterns.join(", "))
            }
            Self::Query { database, .. } => write!(formatter, "a query of database {database}"),
            Self::Store { store, .. } => write!(formatter, "document store {store}"),
        }
    }
}

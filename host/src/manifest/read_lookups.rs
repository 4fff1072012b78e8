//! Stores that answer look-ups and nothing else: what `[documents.NAME]` says of them, checked.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::Secret;
use super::names::Group;
use super::problem::Code;
use super::report::Report;
use super::section::{Section, Text};
use super::shapes;

/// The kinds of stores that have the documents of changes.
pub(super) const DOCUMENT_KINDS: [&str; 4] = ["sql", "couchdb", "http", "inline"];

/// The kinds of stores that find something for a key. Documents that travel in changes have none.
pub(super) const LOOKUP_KINDS: [&str; 7] =
    ["sql", "couchdb", "http", "sql-lookup", "couchdb-view", "http-lookup", "by-type"];

/// A store that answers look-ups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LookupStore {
    /// A query over keys.
    Sql {
        /// The database to ask.
        database: Arc<str>,
        /// The query, with `:ids` where the keys go.
        query: String,
    },
    /// A view of CouchDB.
    CouchView {
        /// The server; may hold a password.
        url: Secret,
        /// The database.
        database: Arc<str>,
        /// The design document, without `_design/`.
        design: String,
        /// The view in it.
        view: String,
        /// Whether its documents are the answer, rather than its values.
        include_docs: bool,
    },
    /// An address that takes many keys.
    Http {
        /// The address.
        url: Secret,
        /// The header `Authorization`.
        authorization: Option<Secret>,
    },
    /// Stores by the type in the key.
    ByType {
        /// The store of each type.
        types: BTreeMap<Arc<str>, Arc<str>>,
        /// The store of every other type.
        other: Option<Arc<str>>,
    },
}

/// The stores that a store of kind `by-type` names, with their places: they may be defined after it.
#[derive(Debug, Default)]
pub(super) struct Routes {
    named: Vec<Text>,
}

impl Routes {
    /// Reads one store of the kind.
    pub(super) fn read(&mut self, path: &str, section: &Section<'_>) -> LookupStore {
        let mut types = BTreeMap::new();
        let shown = format!("{path}.types");
        let table =
            section.value("types").and_then(|value| section.section_of(&shown, value, &shapes::settings::TYPES));
        for (kind, value) in table.iter().flat_map(Section::entries) {
            if let Some(store) = section.text_of(&kind.value, value) {
                types.insert(Arc::from(kind.value), Arc::from(store.value.as_str()));
                self.named.push(store);
            }
        }
        let other = section.text("other").map(|store| {
            let name = Arc::from(store.value.as_str());
            self.named.push(store);
            name
        });
        if types.is_empty() && other.is_none() {
            section.missing("types");
        }
        LookupStore::ByType { types, other }
    }

    /// Checks the names when all stores are known.
    pub(super) fn check(&self, report: &Report<'_>, stores: &Group) {
        let kinds: Vec<&'static str> = LOOKUP_KINDS.into_iter().filter(|kind| *kind != "by-type").collect();
        for store in &self.named {
            stores.find(report, store, &kinds);
        }
    }
}

/// A view of CouchDB at a server whose address was read.
pub(super) fn couch_view(section: &Section<'_>, url: Option<Secret>) -> Option<LookupStore> {
    let database = section.required_text("database").map(|text| Arc::from(text.value));
    let view = section.required_text("view");
    let include_docs = section.flag("include-docs", true);
    let (view, span) = view.map(|text| (text.value, text.span))?;
    let (design, view) = design_and_view(section, &view, span)?;
    Some(LookupStore::CouchView { url: url?, database: database?, design, view, include_docs })
}

fn design_and_view(section: &Section<'_>, text: &str, span: Range<usize>) -> Option<(String, String)> {
    match text.trim_start_matches("_design/").replacen("/_view/", "/", 1).split_once('/') {
        Some((design, view)) if !design.is_empty() && !view.is_empty() => Some((design.to_owned(), view.to_owned())),
        _ => {
            let message = "`view` must name a design document and a view in it".to_owned();
            section.report.problem_with_help(span, Code::InvalidValue, message, "such as `cases/by_parent`");
            None
        }
    }
}

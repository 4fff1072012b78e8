//! Reads lists from databases and document stores.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use tokio::time::timeout;

use super::content::{Content, Element, MOST_BYTES, MOST_ELEMENTS, json};
use crate::documents::{DocumentStore, ListError};
use crate::manifest::{ListSource, Secret};
use crate::model::{Change, Document, DocumentKey, Position, Value, chain};
use crate::sql::{self, Answer};

use super::super::assemble::Resources;

/// A query that takes longer is given up, and tried again.
const QUERY_LIMIT: Duration = Duration::from_secs(60);
/// Documents that are fetched at once.
const PAGE: NonZeroUsize = NonZeroUsize::new(500).expect("not 0");

/// How much is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// What changed, where the source can tell.
    Changes,
    /// Everything.
    Whole,
}

/// A source and what is remembered of it between two looks.
pub(super) enum Reader {
    Query {
        url: Secret,
        database: Arc<str>,
        query: String,
        changed: Option<String>,
        /// The last answer of the query that tells of changes.
        mark: Option<Vec<Vec<Value>>>,
    },
    Store {
        store: Arc<dyn DocumentStore>,
        name: Arc<str>,
        wanted: BTreeMap<String, Json>,
        mark: Option<Arc<str>>,
        elements: BTreeMap<Arc<str>, Arc<str>>,
    },
}

impl Reader {
    /// # Errors
    /// When what the settings name cannot be opened.
    pub(super) async fn open(source: &ListSource, resources: &Resources) -> Result<Self, String> {
        match source {
            ListSource::Query { database, query, changed, .. } => Ok(Self::Query {
                url: resources.database_url(database).map_err(|outage| chain(&outage))?.clone(),
                database: Arc::clone(database),
                query: query.clone(),
                changed: changed.clone(),
                mark: None,
            }),
            ListSource::Store { store, wanted, .. } => Ok(Self::Store {
                store: resources.documents(store).await.map_err(|outage| chain(&outage))?,
                name: Arc::clone(store),
                wanted: wanted.clone(),
                mark: None,
                elements: BTreeMap::new(),
            }),
            ListSource::Files(_) => Err("files are read elsewhere".to_owned()),
        }
    }

    /// The list as it is now; none when it was read before and nothing says that it changed.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) async fn look(&mut self, extent: Extent) -> Result<Option<Content>, String> {
        match self {
            Self::Query { url, database, query, changed, mark } => {
                // Asked before the list: what changes in between is found at the next look.
                let found = match &changed {
                    Some(changed) => Some(ask(url, changed).await?.rows),
                    None => None,
                };
                if extent == Extent::Changes && (found.is_none() || *mark == found) {
                    return Ok(None);
                }
                let content = rows(ask(url, query).await?, database)?;
                *mark = found;
                Ok(Some(content))
            }
            Self::Store { store, name, wanted, mark, elements } => {
                let found = store.mark().await.map_err(|error| told(&error))?;
                let read = match (extent, &mark, &found) {
                    (Extent::Changes, _, None) => return Ok(None),
                    (Extent::Changes, Some(before), Some(now)) if before == now => return Ok(None),
                    (Extent::Changes, Some(before), Some(_)) => {
                        let before = Arc::clone(before);
                        changes(store.as_ref(), before, wanted, elements).await?
                    }
                    _ => None,
                };
                match read {
                    Some(now) => *mark = Some(now),
                    None => {
                        *elements = all(store.as_ref(), wanted).await?;
                        *mark = found;
                    }
                }
                let element = |(id, json): (&Arc<str>, &Arc<str>)| Element {
                    origin: Arc::from(format!("document {id} of {name}")),
                    json: Arc::clone(json),
                };
                Content::new(elements.iter().map(element).collect(), Vec::new()).map(Some)
            }
        }
    }
}

async fn ask(url: &Secret, statement: &str) -> Result<Answer, String> {
    let asked = timeout(QUERY_LIMIT, sql::ask(url.reveal(), statement, MOST_ELEMENTS)).await;
    let answer = match asked {
        Ok(answer) => answer.map_err(|error| chain(&error))?,
        Err(_late) => return Err(format!("no answer within {QUERY_LIMIT:?}")),
    };
    if answer.more { Err(format!("it has more than {MOST_ELEMENTS} rows")) } else { Ok(answer) }
}

/// One element in each row; a column `id` beside it names the row in messages.
fn rows(answer: Answer, database: &str) -> Result<Content, String> {
    let id = answer.columns.iter().position(|column| column.eq_ignore_ascii_case("id"));
    let mut others = (0..answer.columns.len()).filter(|at| Some(*at) != id);
    let column = match (others.next(), others.next(), id) {
        (Some(column), None, _) => column,
        // A single column may have any name.
        (None, _, Some(id)) => id,
        _ if answer.rows.is_empty() => 0,
        _ => {
            let found = answer.columns.join(", ");
            return Err(format!("its query selects {found}, but must select one column beside `id`"));
        }
    };
    let mut elements = Vec::new();
    let mut troubles = Vec::new();
    for (at, row) in answer.rows.iter().enumerate() {
        let named = id.filter(|id| *id != column).and_then(|id| row.get(id)).and_then(name);
        let which = named.map_or_else(|| format!("row {}", at + 1), |id| format!("row {id}"));
        let origin = format!("{which} of database {database}");
        let text = match row.get(column) {
            Some(Value::Text(text) | Value::Json(text)) => json(text),
            Some(Value::Bytes(bytes)) => {
                std::str::from_utf8(bytes).map_err(|error| format!("it is no JSON: {error}")).and_then(json)
            }
            Some(Value::Null) | None => Err("it is null".to_owned()),
            Some(_) => Err("it is no text".to_owned()),
        };
        match text {
            Ok(json) => elements.push(Element { origin: Arc::from(origin), json }),
            Err(problem) => troubles.push(format!("{origin}: {problem}")),
        }
    }
    Content::new(elements, troubles)
}

fn name(value: &Value) -> Option<String> {
    match value {
        Value::Text(text) | Value::Decimal(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Takes over what changed after the mark; none when that cannot be told, because the store was made anew.
async fn changes(
    store: &dyn DocumentStore,
    mut mark: Arc<str>,
    wanted: &BTreeMap<String, Json>,
    elements: &mut BTreeMap<Arc<str>, Arc<str>>,
) -> Result<Option<Arc<str>>, String> {
    let mut any = false;
    loop {
        let changed = store.changed(&mark, PAGE).await.map_err(|error| told(&error))?;
        any |= !changed.documents.is_empty() || changed.mark != mark;
        for (id, document) in changed.documents {
            match document.as_deref().and_then(|document| element(document, wanted)) {
                Some(json) => elements.insert(id, json),
                None => elements.remove(&id),
            };
        }
        mark = changed.mark;
        if !changed.more {
            return Ok(any.then_some(mark));
        }
    }
}

/// Every element of the store.
async fn all(
    store: &dyn DocumentStore,
    wanted: &BTreeMap<String, Json>,
) -> Result<BTreeMap<Arc<str>, Arc<str>>, String> {
    let mut elements = BTreeMap::new();
    let mut bytes = 0;
    let mut after: Option<Arc<str>> = None;
    loop {
        let page = store.list(after.as_deref(), PAGE).await.map_err(|error| told(&error))?;
        let stub = |listed: &crate::documents::ListedDocument| {
            let source = listed.source.clone().unwrap_or_else(|| Arc::from("list"));
            Arc::new(Change::of(DocumentKey { source, id: Arc::clone(&listed.id) }, Position::number(0)))
        };
        let stubs: Vec<Arc<Change>> = page.documents.iter().map(stub).collect();
        let documents = store.fetch(&stubs).await.map_err(|outage| chain(&outage))?;
        for (stub, document) in stubs.iter().zip(documents) {
            let Document::Present(document) = document else { continue };
            if let Some(json) = element(&document, wanted) {
                bytes += json.len();
                elements.insert(Arc::clone(&stub.key.id), json);
            }
        }
        if bytes > MOST_BYTES || elements.len() > MOST_ELEMENTS {
            return Err(format!("it has more than {MOST_ELEMENTS} elements or {} MiB", MOST_BYTES >> 20));
        }
        after = page.next;
        if after.is_none() {
            return Ok(elements);
        }
    }
}

/// The document as an element, if its fields are as wanted.
fn element(document: &[u8], wanted: &BTreeMap<String, Json>) -> Option<Arc<str>> {
    let document = std::str::from_utf8(document).ok()?;
    if !wanted.is_empty() {
        let fields: BTreeMap<String, Json> = serde_json::from_str(document).ok()?;
        let fits = |(field, value): (&String, &Json)| match (value, fields.get(field)) {
            (Json::Array(values), Some(found)) => values.contains(found),
            (value, Some(found)) => value == found,
            // What a document leaves out is as good as false and null.
            (value, None) => matches!(value, Json::Null | Json::Bool(false)),
        };
        if !wanted.iter().all(fits) {
            return None;
        }
    }
    json(document).ok()
}

fn told(error: &ListError) -> String {
    chain(error)
}

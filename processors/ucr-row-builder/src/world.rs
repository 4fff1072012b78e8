//! What lies outside the document, as the host found it.

use std::cell::RefCell;
use std::collections::HashMap;

use pillowtop_sdk::{Change, Config};
use ucr::value::{Value, parse};
use ucr::{DataSource, EvalError, LookUpKind, Query, QueryKind, World};

/// The answers that came with a change, each read once.
pub(crate) struct Lookups<'c, 'a> {
    change: &'c Change<'a>,
    read: RefCell<HashMap<Query, Value<'a>>>,
}

impl<'c, 'a> Lookups<'c, 'a> {
    pub(crate) fn new(change: &'c Change<'a>) -> Self {
        Self { change, read: RefCell::default() }
    }
}

impl<'a> World<'a> for Lookups<'_, 'a> {
    fn look_up(&self, query: &Query) -> Result<Value<'a>, EvalError> {
        if let Some(known) = self.read.borrow().get(query) {
            return Ok(known.clone());
        }
        let Some(found) = self.change.found(query.look_up().name(), &query.full_key()) else {
            return Err(EvalError::Need(Box::new([query.clone()])));
        };
        let mut documents = Vec::with_capacity(found.len());
        for bytes in found {
            let text = std::str::from_utf8(bytes).map_err(|error| unreadable(query, &error.to_string()))?;
            documents.push(parse(text).map_err(|error| unreadable(query, &error.to_string()))?);
        }
        if query.kind == QueryKind::Location {
            self.note_ancestors(&documents);
        }
        let answer =
            if query.wants_list() { Value::list(documents) } else { documents.into_iter().next().unwrap_or_default() };
        self.read.borrow_mut().insert(query.clone(), answer.clone());
        Ok(answer)
    }
}

impl<'a> Lookups<'_, 'a> {
    /// A store may answer for a location with its ancestors behind it: then nobody has to ask for them.
    fn note_ancestors(&self, locations: &[Value<'a>]) {
        let mut read = self.read.borrow_mut();
        for ancestor in locations.iter().skip(1) {
            let id = ["location_id", "_id"].iter().find_map(|key| ancestor.property(key).and_then(Value::as_str));
            if let Some(id) = id {
                let query = Query { kind: QueryKind::Location, key: id.to_owned() };
                read.entry(query).or_insert_with(|| ancestor.clone());
            }
        }
    }
}

/// What is missing, if a data source needs a look-up that the manifest does not grant.
pub(crate) fn not_granted(source: &DataSource, config: &Config<'_>) -> Option<String> {
    let names = source.look_ups.iter().copied().map(LookUpKind::name);
    let missing: Vec<&str> = names.filter(|name| !config.grants_lookup(name)).collect();
    let (last, others) = missing.split_last()?;
    let (what, it) = if others.is_empty() { ("the look-up", "it is") } else { ("the look-ups", "they are") };
    let named = missing.join(", ");
    Some(format!(
        "data source {} needs {what} {named}, and {it} not granted: give the processor `lookups = {{ {last} = \"STORE\" }}` \
         in its manifest",
        source.table_id,
    ))
}

fn unreadable(query: &Query, problem: &str) -> EvalError {
    EvalError::Value(
        format!("the answer of {} for {} is no document: {problem}", query.look_up().name(), query.key).into(),
    )
}

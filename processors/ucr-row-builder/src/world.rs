//! What lies outside the document, as the host found it.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;

use pillowtop_sdk::{Change, Config};
use ucr::value::{Value, parse};
use ucr::{DataSource, EvalError, LookUpKind, QueryKind, World};

/// The answers that came with a change, each read once.
pub(crate) struct Lookups<'a> {
    answers: Vec<Answer<'a>>,
    /// Where each stands, by its key, when they are many.
    places: HashMap<&'a str, Vec<usize>>,
    /// Locations that came behind others, by their ids.
    ancestors: RefCell<HashMap<String, Value<'a>>>,
}

struct Answer<'a> {
    look_up: &'a str,
    key: &'a str,
    documents: &'a [Vec<u8>],
    read: OnceCell<Value<'a>>,
}

/// So many answers are gone through one by one, which is quicker than hashing.
const FEW: usize = 24;

impl<'a> Lookups<'a> {
    pub(crate) fn new(change: &Change<'a>) -> Self {
        let answer = |(look_up, key, documents)| Answer { look_up, key, documents, read: OnceCell::new() };
        let answers: Vec<Answer<'a>> = change.answers().map(answer).collect();
        let mut places: HashMap<&'a str, Vec<usize>> = HashMap::new();
        if answers.len() > FEW {
            for (at, answer) in answers.iter().enumerate() {
                places.entry(answer.key).or_default().push(at);
            }
        }
        Self { answers, places, ancestors: RefCell::default() }
    }

    fn answer(&self, kind: &QueryKind, key: &str) -> Option<&Answer<'a>> {
        let look_up = kind.look_up().name();
        let is_it = |answer: &&Answer<'a>| kind.is_full_key(answer.key, key) && answer.look_up == look_up;
        if self.places.is_empty() {
            return self.answers.iter().find(is_it);
        }
        let places = self.places.get(kind.with_key(key).full_key().as_str())?;
        places.iter().filter_map(|at| self.answers.get(*at)).find(is_it)
    }
}

impl<'a> World<'a> for Lookups<'a> {
    fn look_up(&self, kind: &QueryKind, key: &str) -> Result<Value<'a>, EvalError> {
        let Some(answer) = self.answer(kind, key) else {
            let is_location = *kind == QueryKind::Location;
            let ancestor = is_location.then(|| self.ancestors.borrow().get(key).cloned()).flatten();
            return ancestor.ok_or_else(|| EvalError::Need(Box::new([kind.with_key(key)])));
        };
        if let Some(read) = answer.read.get() {
            return Ok(read.clone());
        }
        let mut documents = Vec::with_capacity(answer.documents.len());
        for bytes in answer.documents {
            let text = std::str::from_utf8(bytes).map_err(|error| unreadable(kind, key, &error.to_string()))?;
            documents.push(parse(text).map_err(|error| unreadable(kind, key, &error.to_string()))?);
        }
        if *kind == QueryKind::Location {
            self.note_ancestors(&documents);
        }
        let read =
            if kind.wants_list() { Value::list(documents) } else { documents.into_iter().next().unwrap_or_default() };
        Ok(answer.read.get_or_init(|| read).clone())
    }
}

impl<'a> Lookups<'a> {
    /// A store may answer for a location with its ancestors behind it: then nobody has to ask for them.
    fn note_ancestors(&self, locations: &[Value<'a>]) {
        let mut ancestors = self.ancestors.borrow_mut();
        for ancestor in locations.iter().skip(1) {
            let id = ["location_id", "_id"].iter().find_map(|key| ancestor.property(key).and_then(Value::as_str));
            if let Some(id) = id {
                ancestors.entry(id.to_owned()).or_insert_with(|| ancestor.clone());
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

fn unreadable(kind: &QueryKind, key: &str, problem: &str) -> EvalError {
    EvalError::Value(format!("the answer of {} for {key} is no document: {problem}", kind.look_up().name()).into())
}

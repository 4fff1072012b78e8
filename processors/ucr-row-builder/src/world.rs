//! What lies outside the document, as the host found it.

use std::cell::RefCell;
use std::collections::HashMap;

use pillowtop_sdk::Change;
use ucr::value::{Value, parse};
use ucr::{EvalError, Query, World};

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
        let answer =
            if query.wants_list() { Value::list(documents) } else { documents.into_iter().next().unwrap_or_default() };
        self.read.borrow_mut().insert(query.clone(), answer.clone());
        Ok(answer)
    }
}

fn unreadable(query: &Query, problem: &str) -> EvalError {
    EvalError::Value(
        format!("the answer of {} for {} is no document: {problem}", query.look_up().name(), query.key).into(),
    )
}

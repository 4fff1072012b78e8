//! Reads specifications key by key, and collects what is wrong with them instead of stopping at the first problem.
//!
//! Each reading function gives something to go on with, also where it noted a problem; whoever holds the result of a
//! compilation without problems holds no such stand-in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::rc::Rc;

use crate::LookUpKind;
use crate::coerce::Datatype;
use crate::error::Problem;
use crate::expression::Expression;
use crate::filter::Filter;
use crate::value::{Dict, Value};

/// Problems beyond this many are not collected.
pub(crate) const MOST_PROBLEMS: usize = 100;

/// Expressions and filters nested in each other; deeper ones are refused, so that reading and evaluating them stays
/// within the stack of a component.
const MOST_NESTING: usize = 100;

#[derive(Debug, Default)]
pub(crate) struct Compiler<'n> {
    pub(crate) problems: Vec<Problem>,
    path: String,
    nesting: usize,
    /// The kinds of look-ups that were read.
    pub(crate) look_ups: BTreeSet<LookUpKind>,
    pub(crate) expressions: Option<&'n [(String, Rc<Expression>)]>,
    pub(crate) filters: Option<&'n [(String, Rc<Filter>)]>,
    /// Numbers of the named expressions that will be known later.
    pub(crate) coming: Option<&'n BTreeMap<&'n str, usize>>,
    /// Those that are needed first, each with the place of its use.
    pub(crate) needed: Vec<(usize, String)>,
}

impl<'n> Compiler<'n> {
    pub(crate) fn new(
        expressions: Option<&'n [(String, Rc<Expression>)]>,
        filters: Option<&'n [(String, Rc<Filter>)]>,
    ) -> Self {
        Self { expressions, filters, ..Self::default() }
    }

    /// Notes a problem with what is being read.
    pub(crate) fn problem(&mut self, message: impl Into<String>) {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(Problem { path: self.path.clone(), message: message.into() });
        }
    }

    /// Notes that a named expression has to be read first.
    pub(crate) fn needs(&mut self, key: &str, number: usize) {
        self.at_key(key, |compiler| compiler.needed.push((number, compiler.path.clone())));
    }

    /// Notes a problem with a key of what is being read.
    pub(crate) fn problem_at(&mut self, key: &str, message: impl Into<String>) {
        self.at_key(key, |compiler| compiler.problem(message));
    }

    pub(crate) fn at_key<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        self.path.push_str(key);
        let result = read(self);
        self.path.truncate(length);
        result
    }

    pub(crate) fn at_index<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        // Writing to a text cannot fail.
        if write!(self.path, "[{index}]").is_err() {
            self.path.truncate(length);
        }
        let result = read(self);
        self.path.truncate(length);
        result
    }

    /// Reads one level deeper; `None`, and a problem, where that is too deep.
    pub(crate) fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.nesting == MOST_NESTING {
            self.problem(format!("is nested deeper than {MOST_NESTING} levels"));
            return None;
        }
        self.nesting += 1;
        let result = read(self);
        self.nesting -= 1;
        Some(result)
    }

    /// A required expression or literal.
    pub(crate) fn any(&mut self, spec: &Dict<'_>, key: &str) -> Expression {
        self.at_key(key, |compiler| match spec.get(key) {
            None | Some(Value::Null) => {
                compiler.problem("is required: an expression or a literal other than null");
                Expression::null()
            }
            Some(value) => compiler.expression(value),
        })
    }

    /// An expression or literal that may be absent or null.
    pub(crate) fn optional_any(&mut self, spec: &Dict<'_>, key: &str) -> Option<Expression> {
        let value = spec.get(key).filter(|value| !value.is_null())?;
        Some(self.at_key(key, |compiler| compiler.expression(value)))
    }

    /// A required expression that has to be an object.
    pub(crate) fn object(&mut self, spec: &Dict<'_>, key: &str) -> Expression {
        self.at_key(key, |compiler| match spec.get(key) {
            Some(value @ Value::Dict(dict)) if !dict.is_empty() => compiler.expression(value),
            other => {
                compiler.problem(required_object("an expression", other));
                Expression::null()
            }
        })
    }

    /// A required filter.
    pub(crate) fn required_filter(&mut self, spec: &Dict<'_>, key: &str) -> Filter {
        self.at_key(key, |compiler| match spec.get(key) {
            Some(value @ Value::Dict(dict)) if !dict.is_empty() => compiler.filter(value),
            other => {
                compiler.problem(required_object("a filter", other));
                Filter::nothing()
            }
        })
    }

    /// A required text; the empty one is accepted.
    pub(crate) fn text(&mut self, spec: &Dict<'_>, key: &str) -> String {
        match spec.get(key) {
            Some(Value::Str(text)) => text.to_string(),
            None | Some(Value::Null) => {
                self.problem_at(key, "is required: a text");
                String::new()
            }
            Some(other) => {
                self.problem_at(key, format!("must be a text, not {}", described(other)));
                String::new()
            }
        }
    }

    pub(crate) fn optional_text(&mut self, spec: &Dict<'_>, key: &str) -> Option<String> {
        match spec.get(key) {
            None | Some(Value::Null) => None,
            Some(_) => Some(self.text(spec, key)),
        }
    }

    pub(crate) fn optional_flag(&mut self, spec: &Dict<'_>, key: &str, default: bool) -> bool {
        match spec.get(key) {
            None | Some(Value::Null) => default,
            Some(Value::Bool(flag)) => *flag,
            Some(other) => {
                self.problem_at(key, format!("must be true or false, not {}", described(other)));
                default
            }
        }
    }

    pub(crate) fn optional_datatype(&mut self, spec: &Dict<'_>) -> Option<Datatype> {
        match spec.get("datatype") {
            None | Some(Value::Null) => None,
            Some(_) => self.datatype(spec),
        }
    }

    pub(crate) fn datatype(&mut self, spec: &Dict<'_>) -> Option<Datatype> {
        let value = spec.get("datatype");
        let datatype = value.and_then(Value::as_str).and_then(Datatype::from_name);
        if datatype.is_none() {
            let found = value.map_or_else(|| "is required".to_owned(), |value| format!("is {}", described(value)));
            self.problem_at("datatype", format!("{found}; it must be {}", Datatype::NAMES));
        }
        datatype
    }

    /// A list that may be absent or null.
    pub(crate) fn optional_list<'v, 'a>(&mut self, spec: &'v Dict<'a>, key: &str) -> &'v [Value<'a>] {
        match spec.get(key) {
            None | Some(Value::Null) => &[],
            Some(Value::List(elements)) => elements,
            Some(other) => {
                self.problem_at(key, format!("must be a list, not {}", described(other)));
                &[]
            }
        }
    }

    /// An object that may be absent or null.
    pub(crate) fn optional_dict<'v, 'a>(&mut self, spec: &'v Dict<'a>, key: &str) -> Option<&'v Dict<'a>> {
        match spec.get(key) {
            None | Some(Value::Null) => None,
            Some(Value::Dict(dict)) => Some(dict),
            Some(other) => {
                self.problem_at(key, format!("must be an object, not {}", described(other)));
                None
            }
        }
    }

    /// Notes a problem where the original takes an absent key, but not null.
    pub(crate) fn not_null(&mut self, spec: &Dict<'_>, key: &str, wanted: &str) {
        if matches!(spec.get(key), Some(Value::Null)) {
            self.problem_at(key, format!("must be {wanted}, not null"));
        }
    }

    /// A required list of texts with at least one element.
    pub(crate) fn texts(&mut self, spec: &Dict<'_>, key: &str) -> Vec<String> {
        if matches!(spec.get(key), None | Some(Value::Null))
            || matches!(spec.get(key), Some(Value::List(l)) if l.is_empty())
        {
            self.problem_at(key, "is required: a list of texts with at least one element");
            return Vec::new();
        }
        self.optional_texts(spec, key)
    }

    pub(crate) fn optional_texts(&mut self, spec: &Dict<'_>, key: &str) -> Vec<String> {
        let elements = self.optional_list(spec, key);
        self.at_key(key, |compiler| {
            let mut texts = Vec::with_capacity(elements.len());
            for (index, element) in elements.iter().enumerate() {
                match element {
                    Value::Str(text) => texts.push(text.to_string()),
                    other => compiler.at_index(index, |compiler| {
                        compiler.problem(format!("must be a text, not {}", described(other)));
                    }),
                }
            }
            texts
        })
    }

    /// Refuses keys that nobody reads, and comments that are no texts.
    pub(crate) fn only_keys(&mut self, spec: &Dict<'_>, known: &[&str]) {
        self.optional_text(spec, "comment");
        for (key, _) in spec.iter() {
            let Some(key) = key.as_str() else { continue };
            if !known.contains(&key) && !matches!(key, "type" | "comment") {
                let known = known.join(", ");
                self.problem_at(key, format!("no such key here; there are type, comment, {known}"));
            }
        }
    }
}

fn required_object(what: &str, found: Option<&Value<'_>>) -> String {
    match found {
        None | Some(Value::Null) => format!("is required: {what}, as an object"),
        Some(Value::Dict(_)) => format!("must be {what}; this object is empty"),
        Some(other) => format!("must be {what}, as an object, not {}", described(other)),
    }
}

/// A value as it is shown in a problem.
pub(crate) fn described(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Str(text) if text.len() <= 60 => format!("{:?}", &**text),
        Value::Str(_) => "a long text".to_owned(),
        Value::List(_) => "a list".to_owned(),
        Value::Dict(_) => "an object".to_owned(),
        other => format!("{other:.60}"),
    }
}

/// Among more names, and longer ones, no similar one is looked for.
const MOST_COMPARED: usize = 200;

/// What is said about a name that does not exist: the most similar one, or all.
pub(crate) fn unknown<'k>(what: &str, name: &str, known: impl Iterator<Item = &'k str> + Clone) -> String {
    let similarity = |candidate: &str| strsim::jaro(name, candidate);
    let nearest = known
        .clone()
        .take(MOST_COMPARED)
        .filter(|known| known.len() <= MOST_COMPARED)
        .max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    match nearest.filter(|nearest| similarity(nearest) > 0.75) {
        Some(nearest) => format!("there is no {what} {name:?}; did you mean {nearest:?}?"),
        None => {
            let all: Vec<&str> = known.take(60).collect();
            let all = if all.is_empty() { "none".to_owned() } else { all.join(", ") };
            format!("there is no {what} {name:?}; there are: {all}")
        }
    }
}

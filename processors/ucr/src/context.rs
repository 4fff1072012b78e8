//! What an evaluation knows beside the item it is applied to.

use std::cell::Cell;

use crate::EvalError;
use crate::value::{Moment, Value};
use crate::watch::{During, Part, Watcher};

/// Steps that one document may take in one data source. A step is an expression or filter evaluated, or an element
/// made; real configurations stay below a few thousand for a document of usual size.
pub const MOST_STEPS: u64 = 5_000_000;

/// Expressions nested at run time: within each other, and through names.
pub const MOST_NESTING: u32 = 150;

/// What lies outside the document. Implementations remember answers for as long as the document takes.
pub trait World<'a> {
    /// Answers a query: a document or null for [`QueryKind::Document`] and [`QueryKind::Location`], else a list.
    ///
    /// # Errors
    ///
    /// [`EvalError::Need`] when the answer has to be fetched first.
    fn look_up(&self, kind: &QueryKind, key: &str) -> Result<Value<'a>, EvalError>;
}

/// A look-up by one key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Query {
    pub kind: QueryKind,
    pub key: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum QueryKind {
    /// A document of a type, by its id.
    Document {
        doc_type: String,
    },
    /// The forms that touched a case, by its id.
    CaseForms,
    /// The cases with an index to a case, by its id.
    Subcases,
    /// Groups of a mobile worker, by the user's id.
    CaseSharingGroups,
    ReportingGroups,
    /// A location, by its id.
    Location,
    /// `{section_id, product_id, balance}` of a case, by its id.
    Ledgers,
    /// `{product_id, code, domain}` of any domain, by their code.
    Products,
    /// A user, by its id.
    User,
}

/// A kind of look-up, without its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LookUpKind {
    Documents,
    CaseForms,
    Subcases,
    CaseSharingGroups,
    ReportingGroups,
    Locations,
    Ledgers,
    Products,
    Users,
}

impl LookUpKind {
    /// The name that a processor declares it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Documents => "documents",
            Self::CaseForms => "case-forms",
            Self::Subcases => "subcases",
            Self::CaseSharingGroups => "case-sharing-groups",
            Self::ReportingGroups => "reporting-groups",
            Self::Locations => "locations",
            Self::Ledgers => "ledgers",
            Self::Products => "products",
            Self::Users => "users",
        }
    }
}

impl Query {
    /// The key as it is sent: of a document its type and id, `CommCareCase/abc`.
    pub fn full_key(&self) -> String {
        match &self.kind {
            QueryKind::Document { doc_type } => format!("{doc_type}/{}", self.key),
            _ => self.key.clone(),
        }
    }
}

impl QueryKind {
    pub fn look_up(&self) -> LookUpKind {
        match self {
            Self::Document { .. } => LookUpKind::Documents,
            Self::CaseForms => LookUpKind::CaseForms,
            Self::Subcases => LookUpKind::Subcases,
            Self::CaseSharingGroups => LookUpKind::CaseSharingGroups,
            Self::ReportingGroups => LookUpKind::ReportingGroups,
            Self::Location => LookUpKind::Locations,
            Self::Ledgers => LookUpKind::Ledgers,
            Self::Products => LookUpKind::Products,
            Self::User => LookUpKind::Users,
        }
    }

    /// Whether `sent` is what [`Query::full_key`] makes of `key`.
    pub fn is_full_key(&self, sent: &str, key: &str) -> bool {
        match self {
            Self::Document { doc_type } => {
                sent.strip_suffix(key).and_then(|start| start.strip_suffix('/')) == Some(doc_type)
            }
            _ => sent == key,
        }
    }

    /// Whether the answer is a list; otherwise it is one document or null.
    pub fn wants_list(&self) -> bool {
        !matches!(self, Self::Document { .. } | Self::Location | Self::User)
    }

    pub fn with_key(&self, key: &str) -> Query {
        Query { kind: self.clone(), key: key.to_owned() }
    }
}

/// The named expressions of a data source, for names that are only known when they are used.
pub trait NamedExpressions {
    /// `None` for a name that does not exist.
    fn evaluate<'a>(
        &self,
        name: &str,
        item: &Value<'a>,
        context: &Context<'_, 'a>,
    ) -> Option<Result<Value<'a>, EvalError>>;
}

#[derive(Clone, Copy)]
pub struct Context<'c, 'a> {
    /// The document that changed; `None` where the original evaluates without a context.
    pub root: Option<&'c Value<'a>>,
    /// Number of the repeat item, from 0; `None` where the original evaluates without a context.
    pub iteration: Option<i64>,
    /// The instant that all of this document's expressions read, UTC.
    pub now: Moment,
    pub world: &'c dyn World<'a>,
    pub named: &'c dyn NamedExpressions,
    pub limits: &'c Limits,
}

/// What is left of an evaluation's limits.
#[derive(Debug)]
pub struct Limits {
    steps: Cell<u64>,
    nesting: Cell<u32>,
    watcher: Watcher,
}

impl Default for Limits {
    fn default() -> Self {
        Self { steps: Cell::new(MOST_STEPS), nesting: Cell::new(0), watcher: Watcher::default() }
    }
}

impl Limits {
    #[cfg(feature = "profile")]
    pub(crate) fn watched(watcher: Watcher) -> Self {
        Self { watcher, ..Self::default() }
    }

    /// Lets whoever watches know of a part, which lasts until the answer is dropped.
    #[inline(always)]
    pub(crate) fn during(&self, part: impl FnOnce() -> Part) -> During<'_> {
        self.watcher.during(part)
    }

    /// Counts steps: one for whatever is evaluated, and one for each element that is made or looked at.
    ///
    /// # Errors
    ///
    /// [`EvalError::Limit`] when [`MOST_STEPS`] are used up.
    pub fn spend(&self, steps: usize) -> Result<(), EvalError> {
        let left = u64::try_from(steps).ok().and_then(|steps| self.steps.get().checked_sub(steps));
        self.steps.set(left.unwrap_or(0));
        if left.is_some() { Ok(()) } else { Err(EvalError::limit("more steps than a document may take")) }
    }

    /// Counts what going through a value once takes, and nothing for what is no list, object or text.
    ///
    /// # Errors
    ///
    /// As for [`Limits::spend`].
    pub(crate) fn look_through(&self, value: &Value<'_>) -> Result<(), EvalError> {
        match value {
            Value::Str(text) => self.spend(text.len() / 64),
            Value::List(_) | Value::Tuple(_) | Value::Set(_) | Value::Dict(_) => self.weigh(value),
            _ => Ok(()),
        }
    }

    /// Counts all that a list or object holds, at any depth. Shared parts can make one far larger than what it took to
    /// build, so that whoever makes one, or would walk through all of it, asks here first.
    ///
    /// # Errors
    ///
    /// As for [`Limits::spend`].
    pub(crate) fn weigh(&self, value: &Value<'_>) -> Result<(), EvalError> {
        match value {
            Value::List(elements) | Value::Tuple(elements) | Value::Set(elements) => {
                self.spend(1 + elements.len())?;
                elements.iter().try_for_each(|element| self.weigh_element(element))
            }
            Value::Dict(dict) => {
                self.spend(1 + dict.len())?;
                dict.iter().try_for_each(|(_, element)| self.weigh_element(element))
            }
            _ => Ok(()),
        }
    }

    fn weigh_element(&self, element: &Value<'_>) -> Result<(), EvalError> {
        match element {
            Value::Str(text) => self.spend(text.len() / 16),
            element => self.weigh(element),
        }
    }

    /// Runs one level deeper, and counts a step.
    ///
    /// # Errors
    ///
    /// [`EvalError::Limit`] beyond [`MOST_NESTING`] levels.
    pub fn deeper<T>(&self, run: impl FnOnce() -> Result<T, EvalError>) -> Result<T, EvalError> {
        self.spend(1)?;
        let nesting = self.nesting.get();
        if nesting == MOST_NESTING {
            return Err(EvalError::limit("expressions nested too deep"));
        }
        self.nesting.set(nesting + 1);
        let result = run();
        self.nesting.set(nesting);
        result
    }
}

impl<'c, 'a> Context<'c, 'a> {
    /// Where the original passes no context on: there is no root document and no iteration.
    #[must_use]
    pub fn without_root(&self) -> Self {
        Self { root: None, iteration: None, ..*self }
    }

    /// With another document as root, at iteration 0.
    #[must_use]
    pub fn rooted(&self, root: &'c Value<'a>) -> Self {
        Self { root: Some(root), iteration: Some(0), ..*self }
    }
}

/// A world in which nothing exists.
#[derive(Debug)]
pub struct EmptyWorld;

impl<'a> World<'a> for EmptyWorld {
    fn look_up(&self, kind: &QueryKind, _: &str) -> Result<Value<'a>, EvalError> {
        Ok(if kind.wants_list() { Value::list(Vec::new()) } else { Value::Null })
    }
}

/// No named expressions.
#[derive(Debug)]
pub struct NoNames;

impl NamedExpressions for NoNames {
    fn evaluate<'a>(&self, _: &str, _: &Value<'a>, _: &Context<'_, 'a>) -> Option<Result<Value<'a>, EvalError>> {
        None
    }
}

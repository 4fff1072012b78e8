//! Takes the time of parts of evaluations, and counts look-ups.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ucr::value::Value;
use ucr::{EvalError, LookUpKind, Part, QueryKind, Watch, World};

/// What a part took, all times together.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Taken {
    pub(crate) calls: u64,
    /// With the parts within it.
    pub(crate) whole: Duration,
    /// Without them.
    pub(crate) own: Duration,
}

#[derive(Debug)]
struct Running {
    part: Part,
    start: Instant,
    inner: Duration,
}

/// The times of all parts of some evaluations.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch {
    running: RefCell<Vec<Running>>,
    taken: RefCell<BTreeMap<Part, Taken>>,
}

impl Stopwatch {
    pub(crate) fn taken(&self) -> BTreeMap<Part, Taken> {
        self.taken.borrow().clone()
    }
}

impl Watch for Stopwatch {
    fn begins(&self, part: Part) {
        self.running.borrow_mut().push(Running { part, start: now(), inner: Duration::ZERO });
    }

    fn ends(&self) {
        let end = now();
        let mut running = self.running.borrow_mut();
        let Some(Running { part, start, inner }) = running.pop() else { return };
        let whole = end.duration_since(start);
        if let Some(outer) = running.last_mut() {
            outer.inner += whole;
        }
        let mut taken = self.taken.borrow_mut();
        let taken = taken.entry(part).or_default();
        taken.calls += 1;
        taken.whole += whole;
        taken.own += whole.saturating_sub(inner);
    }
}

#[expect(clippy::disallowed_methods, reason = "computing is measured, which no test can pause")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Look-ups of a kind.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked {
    pub(crate) calls: u64,
    pub(crate) keys: BTreeSet<String>,
}

/// Counts what is looked up in another world.
pub(crate) struct Counted<'w, 'a> {
    world: &'w dyn World<'a>,
    asked: RefCell<BTreeMap<LookUpKind, Asked>>,
}

impl<'w, 'a> Counted<'w, 'a> {
    pub(crate) fn new(world: &'w dyn World<'a>) -> Self {
        Self { world, asked: RefCell::default() }
    }

    pub(crate) fn asked(self) -> BTreeMap<LookUpKind, Asked> {
        self.asked.into_inner()
    }
}

impl<'a> World<'a> for Counted<'_, 'a> {
    fn look_up(&self, kind: &QueryKind, key: &str) -> Result<Value<'a>, EvalError> {
        let mut asked = self.asked.borrow_mut();
        let asked = asked.entry(kind.look_up()).or_default();
        asked.calls += 1;
        asked.keys.insert(kind.with_key(key).full_key());
        self.world.look_up(kind, key)
    }
}

//! Rehearsed crashes: named points where the process kills itself when the environment asks for it.
//!
//! `PILLOWTOP_FAULT=settle.before-commit=3` aborts at the third passage of that point, without unwinding, flushing or
//! answering, as a power cut would. Operators rehearse a recovery with it, and the tests prove that one loses nothing.
//! Without the variable a point is one load from memory.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// The environment variable, `POINT` or `POINT=COUNT`; read once, at the first point that is passed.
pub const VARIABLE: &str = "PILLOWTOP_FAULT";

/// A crash that was asked for.
#[derive(Debug)]
struct Fault {
    point: String,
    passages_left: AtomicU64,
}

/// Aborts the process if this passage of `name` is the one that [`VARIABLE`] asks for.
pub fn point(name: &str) {
    static FAULT: OnceLock<Option<Fault>> = OnceLock::new();
    let asked = FAULT.get_or_init(|| {
        let text = std::env::var(VARIABLE).ok()?;
        let fault = Fault::parse(&text);
        if fault.is_none() {
            tracing::error!(value = text, "PILLOWTOP_FAULT is not POINT or POINT=COUNT, no crash will happen");
        }
        fault
    });
    if asked.as_ref().is_some_and(|fault| fault.strikes(name)) {
        tracing::error!(point = name, "aborting as PILLOWTOP_FAULT asks");
        std::process::abort();
    }
}

impl Fault {
    fn parse(text: &str) -> Option<Self> {
        let (point, count) = match text.split_once('=') {
            Some((point, count)) => (point, count.parse().ok()?),
            None => (text, 1),
        };
        (count > 0 && !point.is_empty()).then(|| Self { point: point.to_owned(), passages_left: AtomicU64::new(count) })
    }

    fn strikes(&self, name: &str) -> bool {
        // The counter wraps after the last passage; in a real run nobody is left to see it.
        self.point == name && self.passages_left.fetch_sub(1, Ordering::Relaxed) == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_strikes_at_the_asked_passage_of_the_asked_point() {
        let fault = Fault::parse("settle.before-commit=3").unwrap();
        let passages = ["settle.begin", "settle.before-commit", "settle.before-commit", "settle.before-commit"];
        assert_eq!(passages.map(|name| fault.strikes(name)), [false, false, false, true]);
    }

    #[test]
    fn a_point_alone_means_its_first_passage() {
        assert!(Fault::parse("settle.begin").unwrap().strikes("settle.begin"));
    }

    #[test]
    fn what_cannot_be_read_asks_for_nothing() {
        for text in ["", "=2", "settle.begin=", "settle.begin=0", "settle.begin=often"] {
            assert!(Fault::parse(text).is_none(), "{text}");
        }
    }
}

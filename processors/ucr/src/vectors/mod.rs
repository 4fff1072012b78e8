//! Runs vectors: cases of configuration and document with the result that the original gave.
//!
//! A vector is a JSON object with `kind`, `spec`, `doc`, `expected` and so on, one a line. Results have the same form as
//! expectations, so that comparing is one function; of errors only their class is compared, configuration or document.

mod compare;
mod run;
#[cfg(test)]
mod tests;
mod typed;
mod world;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::value::{JsonError, Value, parse};

pub use compare::same;
pub use typed::to_json;
pub use world::Related;

/// What became of one vector.
#[derive(Clone, Debug)]
pub struct Verdict {
    pub id: String,
    pub kind: String,
    /// The type of the outermost expression, filter or indicator.
    pub spec_type: String,
    pub result: Result<(), Miss>,
}

#[derive(Clone, Debug)]
pub enum Miss {
    /// Not run, and why.
    Skipped(&'static str),
    /// Expected and got, as JSON.
    Failed { expected: String, got: String },
}

/// A case, with what is expected of it.
#[derive(Clone, Debug)]
pub struct Vector<'a>(Value<'a>);

const NEEDS_DATABASE: &str = "needs a database";

/// What only the one who compares may see.
const EXPECTATIONS: [&str; 4] = ["expected", "expected_2020", "accept", "quirk"];

impl<'a> Vector<'a> {
    /// Reads the vector on a line.
    ///
    /// # Errors
    ///
    /// The line is no JSON.
    pub fn read(line: &'a str) -> Result<Self, JsonError> {
        parse(line).map(Self)
    }

    /// All of it.
    pub fn value(&self) -> &Value<'a> {
        &self.0
    }

    /// Whether it is about tables in a database, and expects something that should be met.
    pub fn needs_database(&self) -> bool {
        self.skipped() == Some(NEEDS_DATABASE)
    }

    /// Why it cannot be run here, if so.
    pub fn skipped(&self) -> Option<&'static str> {
        match self.0.property("kind").and_then(Value::as_str) {
            _ if self.0.property("quirk").is_some() => Some("a quirk of the original"),
            _ if self.0.property("expected").is_none() => Some("expects nothing"),
            Some("expression" | "filter" | "indicator" | "datasource" | "naming") => None,
            Some("pillow") => Some(NEEDS_DATABASE),
            _ => Some("of an unknown kind"),
        }
    }

    /// The vector as JSON, without its expectations: what [`answer`] takes.
    pub fn question(&self) -> String {
        let Some(entries) = self.0.as_dict() else { return to_json(&self.0) };
        let asked = |key: &Value<'_>| key.as_str().is_none_or(|key| !EXPECTATIONS.contains(&key));
        let asked = entries.iter().filter(|(key, _)| asked(key));
        to_json(&Value::dict(asked.map(|(key, value)| (key.clone(), value.clone())).collect()))
    }

    /// Compares what [`answer`] gave, wherever that ran, with the expectations.
    pub fn judge(&self, answer: &str) -> Verdict {
        match parse(answer) {
            Ok(got) => self.compare(&typed::decoded(&got).into_owned()),
            Err(_) => self.broken(answer),
        }
    }

    /// The verdict where there was no answer, for the reason given.
    pub fn broken(&self, reason: &str) -> Verdict {
        let expected = self.0.property("expected").map(to_json).unwrap_or_default();
        self.verdict(Err(Miss::Failed { expected, got: reason.to_owned() }))
    }

    /// The verdict of one that came out as expected.
    pub fn pass(&self) -> Verdict {
        self.verdict(Ok(()))
    }

    /// The verdict of one that is not run.
    pub fn skip(&self, reason: &'static str) -> Verdict {
        self.verdict(Err(Miss::Skipped(reason)))
    }

    fn compare(&self, got: &Value<'static>) -> Verdict {
        let Some(expected) = self.0.property("expected") else { return self.skip("expects nothing") };
        let also = self.0.property("accept").and_then(Value::as_list).unwrap_or_default();
        let decode = |expected: &Value<'_>| typed::decoded(expected).into_owned();
        let is_met = |expected: &Value<'_>| same(&decode(expected), &fitted(got, expected));
        let miss = || Miss::Failed { expected: to_json(&decode(expected)), got: to_json(&fitted(got, expected)) };
        self.verdict(if std::iter::once(expected).chain(also).any(is_met) { Ok(()) } else { Err(miss()) })
    }

    fn verdict(&self, result: Result<(), Miss>) -> Verdict {
        let text = |key| self.0.property(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let spec_type = self.0.property("spec").and_then(|spec| spec.property("type"));
        let spec_type = spec_type.map_or_else(|| "-".to_owned(), |name| format!("{name:.40}"));
        Verdict { id: text("id"), kind: text("kind"), spec_type, result }
    }
}

/// What a question comes to, as JSON in the form of an expectation.
///
/// # Errors
///
/// The question is no JSON.
pub fn answer(question: &str) -> Result<String, JsonError> {
    Ok(to_json(&run::run(&parse(question)?)))
}

/// Runs the vector on a line, here.
///
/// # Errors
///
/// The line is no JSON.
pub fn run_line(line: &str) -> Result<Verdict, JsonError> {
    let vector = Vector::read(line)?;
    Ok(match vector.skipped() {
        Some(reason) => vector.skip(reason),
        None => vector.compare(&run::run(&vector.0)),
    })
}

/// The result without what an expectation may leave out: all but errors and failed validations.
fn fitted(got: &Value<'static>, expected: &Value<'_>) -> Value<'static> {
    let Some(entries) = got.as_dict() else { return got.clone() };
    let matters = |key: &str| {
        expected.property(key).is_some() || matches!(key, "error" | "rows_error" | "filter_error" | "invalid_data")
    };
    let kept = entries.iter().filter(|(key, _)| key.as_str().is_some_and(matters));
    Value::dict(kept.map(|(key, value)| (key.clone(), value.clone())).collect())
}

/// The numbers of a run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
    pub by_kind: BTreeMap<String, Counts>,
    pub by_type: BTreeMap<(String, String), Counts>,
    pub skipped_because: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Report {
    pub fn count(&mut self, verdict: &Verdict) {
        let kinds = self.by_kind.entry(verdict.kind.clone()).or_default();
        let types = self.by_type.entry((verdict.kind.clone(), verdict.spec_type.clone())).or_default();
        let (all, counts) = match &verdict.result {
            Ok(()) => (&mut self.passed, [&mut kinds.passed, &mut types.passed]),
            Err(Miss::Failed { .. }) => (&mut self.failed, [&mut kinds.failed, &mut types.failed]),
            Err(Miss::Skipped(reason)) => {
                *self.skipped_because.entry(reason).or_default() += 1;
                (&mut self.skipped, [&mut kinds.skipped, &mut types.skipped])
            }
        };
        *all += 1;
        counts.into_iter().for_each(|count| *count += 1);
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let mut table = format!("{:<12} {:<34} {:>7} {:>7} {:>7}\n", "kind", "type", "passed", "failed", "skipped");
        let mut row = |kind: &str, name: &str, counts: &Counts| {
            let Counts { passed, failed, skipped } = counts;
            let written = writeln!(table, "{kind:<12} {name:<34} {passed:>7} {failed:>7} {skipped:>7}");
            debug_assert!(written.is_ok(), "writing to a text cannot fail");
        };
        for ((kind, name), counts) in &self.by_type {
            row(kind, name, counts);
        }
        for (kind, counts) in &self.by_kind {
            row(kind, "", counts);
        }
        row("all", "", &Counts { passed: self.passed, failed: self.failed, skipped: self.skipped });
        for (reason, count) in &self.skipped_because {
            let written = writeln!(table, "skipped {count}: {reason}");
            debug_assert!(written.is_ok(), "writing to a text cannot fail");
        }
        table
    }

    /// `{"passed": …, "failed": …, "skipped": …, "by_kind": {…}}`.
    pub fn json(&self) -> String {
        let counts = |counts: &Counts| {
            let Counts { passed, failed, skipped } = counts;
            format!("\"passed\":{passed},\"failed\":{failed},\"skipped\":{skipped}")
        };
        let kinds: Vec<String> = self
            .by_kind
            .iter()
            .map(|(kind, of_kind)| format!("{}:{{{}}}", to_json(&Value::text(kind.as_str())), counts(of_kind)))
            .collect();
        let all = Counts { passed: self.passed, failed: self.failed, skipped: self.skipped };
        format!("{{{},\"by_kind\":{{{}}}}}", counts(&all), kinds.join(","))
    }
}

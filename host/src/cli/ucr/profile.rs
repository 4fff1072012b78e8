//! `ucr profile`: what the rows of documents cost, by column and by type of expression.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::tz::Offset;
use serde_json::{Value as Json, json};
use ucr::value::{Moment, Value, parse};
use ucr::vectors::Related;
use ucr::{DataSource, LookUpKind, Outcome as Rows, Part};

use crate::model::Clock;

use super::super::args::{Arguments, UcrProfile};
use super::super::output::{say, say_line};
use super::super::{Outcome, table};
use super::files;
use super::stopwatch::{Asked, Counted, Stopwatch, Taken, now};

pub(crate) fn run(arguments: &Arguments, wanted: &UcrProfile) -> anyhow::Result<Outcome> {
    let Some(sources) = files::sources(&wanted.rows.config)? else { return Ok(Outcome::WrongInput) };
    let text = files::read(&wanted.rows.document)?;
    let documents = files::documents(&text).map_err(|problem| files::wrong(&wanted.rows.document, &problem))?;
    let related = files::related(wanted.rows.related.as_deref(), &sources)?;
    let related = parse(&related).context("the related documents are no JSON")?;
    for source in &sources {
        let profile = profile(source, &documents, &Related(&related), wanted.repeat.get());
        if arguments.json { say_line(&profile.json().to_string()) } else { profile.print() }
    }
    Ok(Outcome::Done)
}

/// What all documents took in a data source, once.
struct Profile<'s> {
    source: &'s DataSource,
    counts: Counts,
    /// Without measuring the parts.
    plain: Duration,
    /// While measuring them.
    measured: Duration,
    repeat: u32,
    taken: BTreeMap<Part, Taken>,
    asked: BTreeMap<LookUpKind, Asked>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Counts {
    documents: usize,
    rows: usize,
    not_taken: usize,
    invalid: usize,
    failed: usize,
}

fn profile<'s>(source: &'s DataSource, documents: &[Value<'_>], world: &Related<'_, '_>, repeat: u32) -> Profile<'s> {
    let instant = Moment::naive(Offset::UTC.to_datetime(Clock::System.now()));
    let mut counts = Counts { documents: documents.len(), ..Counts::default() };
    let counted = Counted::new(world);
    for document in documents {
        match source.process(document, instant, &counted) {
            Ok(Rows::Rows(rows)) => counts.rows += rows.len(),
            Ok(Rows::NotTaken) => counts.not_taken += 1,
            Ok(Rows::Invalid(_)) => counts.invalid += 1,
            Err(_) => counts.failed += 1,
        }
    }
    let start = now();
    for document in std::iter::repeat_n(documents, repeat as usize).flatten() {
        std::hint::black_box(source.process(document, instant, world)).ok();
    }
    let plain = start.elapsed() / repeat;
    let stopwatch = Rc::new(Stopwatch::default());
    let start = now();
    for document in std::iter::repeat_n(documents, repeat as usize).flatten() {
        let watch = Rc::clone(&stopwatch);
        std::hint::black_box(source.process_watched(document, instant, world, watch)).ok();
    }
    let measured = start.elapsed() / repeat;
    Profile { source, counts, plain, measured, repeat, taken: stopwatch.taken(), asked: counted.asked() }
}

/// A line of a table: what it is, how often it was evaluated, and how long that took.
struct Line {
    kind: &'static str,
    name: String,
    calls: u64,
    time: Duration,
}

impl Profile<'_> {
    /// Filter, items, validations and columns, with all that lies within them; the longest first.
    fn parts(&self) -> Vec<Line> {
        let indicators: Vec<String> = self.source.indicators().map(|columns| named(&columns)).collect();
        let validations: Vec<&str> = self.source.validations().collect();
        let line = |(part, taken): (&Part, &Taken)| {
            let (kind, name) = match part {
                Part::ConfiguredFilter => ("filter", "configured_filter".to_owned()),
                Part::BaseItem => ("items", "base_item_expression".to_owned()),
                Part::Validation(number) => ("validation", (*validations.get(*number)?).to_owned()),
                Part::Indicator(number) => ("column", indicators.get(*number)?.clone()),
                Part::Expression(_) | Part::Filter(_) => return None,
            };
            Some(self.line(kind, name, taken.calls, taken.whole))
        };
        longest_first(self.taken.iter().filter_map(line).collect())
    }

    /// Types of expressions and filters, without what lies within them; the longest first.
    fn types(&self) -> Vec<Line> {
        let line = |(part, taken): (&Part, &Taken)| {
            let (kind, name) = match part {
                Part::Expression(name) => ("expression", *name),
                Part::Filter(name) => ("filter", *name),
                _ => return None,
            };
            Some(self.line(kind, name.to_owned(), taken.calls, taken.own))
        };
        longest_first(self.taken.iter().filter_map(line).collect())
    }

    fn line(&self, kind: &'static str, name: String, calls: u64, time: Duration) -> Line {
        Line { kind, name, calls: calls / u64::from(self.repeat), time: time / self.repeat }
    }

    fn json(&self) -> Json {
        let Counts { documents, rows, not_taken, invalid, failed } = self.counts;
        let lines = |lines: Vec<Line>| -> Vec<Json> {
            let json = |line: &Line| json!({ "kind": line.kind, "name": line.name, "calls": line.calls, "us": micros(line.time) });
            lines.iter().map(json).collect()
        };
        let look_up = |(kind, asked): (&LookUpKind, &Asked)| json!({ "name": kind.name(), "calls": asked.calls, "keys": asked.keys.len() });
        json!({
            "table": self.source.table_name, "documents": documents, "rows": rows, "not_taken": not_taken,
            "invalid": invalid, "failed": failed, "us": micros(self.plain), "us_while_measured": micros(self.measured),
            "parts": lines(self.parts()), "types": lines(self.types()),
            "look_ups": self.asked.iter().map(look_up).collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        let Counts { documents, rows, not_taken, invalid, failed } = self.counts;
        say_line(&format!(
            "{}: {documents} documents, {rows} rows, {not_taken} not taken, {invalid} invalid, {failed} failed",
            self.source.table_name
        ));
        say_line(&format!(
            "{:.1} µs once, {:.1} µs while its parts are measured, natively\n",
            micros(self.plain),
            micros(self.measured)
        ));
        for (heading, lines) in [("PART", self.parts()), ("TYPE", self.types())] {
            let row = |line: &Line| {
                let share = 100.0 * line.time.as_secs_f64() / self.measured.as_secs_f64().max(f64::MIN_POSITIVE);
                let (time, share) = (format!("{:.2}", micros(line.time)), format!("{share:.1}"));
                vec![line.kind.to_owned(), line.name.clone(), line.calls.to_string(), time, share]
            };
            let rows: Vec<Vec<String>> = lines.iter().map(row).collect();
            say(&table::render(&["KIND", heading, "CALLS", "µs", "%"], &rows));
            say("\n");
        }
        if !self.asked.is_empty() {
            let row = |(kind, asked): (&LookUpKind, &Asked)| {
                vec![kind.name().to_owned(), asked.calls.to_string(), asked.keys.len().to_string()]
            };
            say(&table::render(&["LOOK-UP", "CALLS", "KEYS"], &self.asked.iter().map(row).collect::<Vec<_>>()));
            say("\n");
        }
    }
}

fn longest_first(mut lines: Vec<Line>) -> Vec<Line> {
    lines.sort_by_key(|line| std::cmp::Reverse(line.time));
    lines
}

/// The columns of an indicator; only the first of many.
fn named(columns: &[&str]) -> String {
    match columns {
        [first, _, _, _, ..] => format!("{first} and {} more", columns.len() - 1),
        few => few.join(", "),
    }
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

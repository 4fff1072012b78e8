//! `ucr vectors`: runs test vectors through the compiled row builder, or natively.

use anyhow::Context as _;
use serde_json::json;
use tokio::runtime::Handle;
use ucr::vectors::{Miss, Report, Vector, Verdict, run_line};

use super::super::Outcome;
use super::super::args::{Through, UcrVectors};
use super::super::output::{say, say_line};
use super::component::{self, Component};
use super::files;
use super::pillow::Tables;

/// Vectors of one call: few enough that they stay far below its limit of time.
const BATCH: usize = 64;

pub(crate) fn run(json: bool, wanted: &UcrVectors) -> anyhow::Result<Outcome> {
    let mut component = match wanted.through {
        Through::Wasm => Some(Component::load(&component::find(wanted.module.as_deref())?)?),
        Through::Native => None,
    };
    let tables = component.as_ref().zip(wanted.database.as_deref());
    let tables = tables.map(|(component, url)| Tables::new(url, component));
    let mut report = Report::default();
    let mut keep = |verdict: &Verdict| {
        report.count(verdict);
        if let Err(Miss::Failed { expected, got }) = &verdict.result {
            say_failure(json, verdict, expected, got);
        }
    };
    for file in &wanted.files {
        let text = files::read(file)?;
        let lines: Vec<(usize, &str)> = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()).collect();
        for lines in lines.chunks(BATCH) {
            let place = |at: usize| format!("{}:{}", file.display(), at + 1);
            match &mut component {
                None => {
                    for (at, line) in lines {
                        keep(&run_line(line).with_context(|| place(*at))?);
                    }
                }
                Some(component) => {
                    let mut vectors = Vec::with_capacity(lines.len());
                    for (at, line) in lines {
                        vectors.push(Vector::read(line).with_context(|| place(*at))?);
                    }
                    for (vector, verdict) in vectors.iter().zip(ask(component, &vectors)?) {
                        match tables.as_ref().filter(|_| vector.needs_database()) {
                            Some(tables) => keep(&Handle::current().block_on(tables.run(vector))?),
                            None => keep(&verdict),
                        }
                    }
                }
            }
        }
    }
    if json {
        say_line(&report.json());
    } else {
        say(&report.table());
    }
    anyhow::ensure!(report.failed == 0, "{} of {} vectors failed", report.failed, report.passed + report.failed);
    Ok(Outcome::Done)
}

fn ask(component: &mut Component, vectors: &[Vector<'_>]) -> anyhow::Result<Vec<Verdict>> {
    let questions: Vec<String> =
        vectors.iter().filter(|vector| vector.skipped().is_none()).map(Vector::question).collect();
    let mut answers = component.ask(&questions)?.into_iter();
    let judged = vectors.iter().map(|vector| match vector.skipped() {
        Some(reason) => vector.skip(reason),
        None => match answers.next() {
            Some(Ok(answer)) => vector.judge(&answer),
            Some(Err(problem)) => vector.broken(&problem),
            None => vector.broken("there is no answer"),
        },
    });
    Ok(judged.collect())
}

fn say_failure(json: bool, verdict: &Verdict, expected: &str, got: &str) {
    let Verdict { id, kind, spec_type, .. } = verdict;
    if json {
        let failed = json!({ "id": id, "kind": kind, "type": spec_type, "expected": expected, "got": got });
        say_line(&failed.to_string());
    } else {
        say(&format!("FAILED {kind} {spec_type} {id}\n  expected {expected}\n  got      {got}\n"));
    }
}

//! `status`: what every host says of its pillows, from the heartbeats in the database.

use serde_json::{Value, json};

use crate::checkpoint::{HEARTBEAT_LIFETIME, Heartbeat};
use crate::control::status_rows;
use crate::model::{Clock, PillowName};

use super::args::Arguments;
use super::context::Context;
use super::output::{say, say_line};
use super::{Outcome, table};

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    let beats = context.checkpoints.heartbeats().await?;
    let now = Clock::System.now();
    let is_alive = |beat: &Heartbeat| now.duration_since(beat.at).unsigned_abs() < HEARTBEAT_LIFETIME;
    let idle = context
        .manifests
        .iter()
        .filter(|manifest| beats.iter().all(|beat| beat.pillow != *manifest.name() || !is_alive(beat)));
    if arguments.json {
        let known: Vec<PillowName> = context.manifests.iter().map(|manifest| manifest.name().clone()).collect();
        say_line(&format!("{}", json!(status_rows(&beats, &known, now))));
        return Ok(Outcome::Done);
    }
    let mut rows: Vec<Vec<String>> = beats.iter().filter(|beat| is_alive(beat)).map(row).collect();
    rows.extend(idle.map(|manifest| {
        let mut row = vec![manifest.name().to_string(), "not running".to_owned()];
        row.resize(HEADINGS.len(), "-".to_owned());
        row
    }));
    say(&table::render(&HEADINGS, &rows));
    for beat in beats.iter().filter(|beat| is_alive(beat)) {
        for line in remarks(&beat.status) {
            say_line(&format!("{}: {line}", beat.pillow));
        }
    }
    Ok(Outcome::Done)
}

const HEADINGS: [&str; 9] =
    ["PILLOW", "STATE", "LAG", "RATE/S", "SETTLED", "WRITTEN", "PARKED", "GENERATION", "PROCESSORS"];

fn row(beat: &Heartbeat) -> Vec<String> {
    let status = &beat.status;
    let text = |pointer: &str| match status.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    };
    let lanes = status["lanes"].as_object().into_iter().flatten();
    let lag: Option<u64> = lanes.map(|(_, lane)| lane["lag"].as_u64()).sum();
    let processors = status["processors"].as_array().into_iter().flatten();
    let processors: Vec<String> = processors
        .map(|processor| {
            let digest = processor["digest"].as_str().unwrap_or_default();
            format!("{}@{}", processor["name"].as_str().unwrap_or("?"), digest.get(..12).unwrap_or(digest))
        })
        .collect();
    vec![
        beat.pillow.to_string(),
        text("/state"),
        lag.map_or_else(|| "?".to_owned(), |lag| lag.to_string()),
        status["rate"].as_f64().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.0}")),
        text("/counts/settled"),
        text("/counts/written"),
        text("/counts/parked"),
        text("/generation"),
        processors.join(" "),
    ]
}

/// Why a pillow does not run, what came of the last swap, and what of its configuration is left out.
fn remarks(status: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(reason) = status["reason"].as_str() {
        lines.push(reason.to_owned());
    }
    for cause in status["causes"].as_array().into_iter().flatten() {
        lines.push(format!("cause: {}", cause.as_str().unwrap_or_default()));
    }
    for processor in status["processors"].as_array().into_iter().flatten() {
        let name = processor["name"].as_str().unwrap_or("?");
        let problems = processor["problems"].as_array().into_iter().flatten().filter_map(Value::as_str);
        lines.extend(problems.map(|problem| format!("{name} leaves out: {problem}")));
    }
    if let Some(length @ 1..) = status.pointer("/queue/length").and_then(Value::as_u64) {
        let oldest = status.pointer("/queue/oldest").and_then(Value::as_str).unwrap_or("?");
        lines.push(format!("queue: {length} deferred, the oldest since {oldest}"));
    }
    if let Some(error) = status.pointer("/last_swap/error").and_then(Value::as_str) {
        lines.push(format!("the running processors were kept: {error}"));
    }
    let texts = |value: &Value| -> Vec<String> {
        value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    for list in status["lists"].as_array().into_iter().flatten() {
        let of = list["key"].as_str().unwrap_or("?");
        lines.extend(texts(&list["problems"]).iter().map(|problem| format!("list `{of}`: {problem}")));
    }
    for processor in status["processors"].as_array().into_iter().flatten() {
        let of = processor["name"].as_str().unwrap_or("?");
        lines.extend(texts(&processor["problems"]).iter().map(|problem| format!("{of} leaves out {problem}")));
    }
    lines
}

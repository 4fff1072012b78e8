//! `queue`: what waits because a processor deferred it.

use std::collections::HashMap;

use serde_json::json;

use crate::checkpoint::{Parked, QueueLength};
use crate::control::{queue_failure, queue_report, read_queue};
use crate::model::{PillowName, timestamp_text};

use super::args::{Arguments, Queue};
use super::context::Context;
use super::output::{say, say_line};
use super::{Outcome, table};

pub(crate) async fn run(arguments: &Arguments, wanted: &Queue) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    let Some(name) = &wanted.pillow else {
        print_lengths(arguments, &context, &context.checkpoints.queue_lengths().await?);
        return Ok(Outcome::Done);
    };
    let pillow = PillowName::new(name);
    let (length, entries) = read_queue(&*context.checkpoints, &pillow, wanted.limit).await?;
    let is_declared = context.manifests.iter().any(|manifest| *manifest.name() == pillow);
    // What waits of a pillow whose manifest is gone is there all the same.
    anyhow::ensure!(is_declared || length.is_some(), "there is no pillow `{pillow}`: `pillowtop status` lists them");
    let length = length.unwrap_or_default();
    if arguments.json {
        say_line(&queue_report(&pillow, length, &entries).to_string());
        return Ok(Outcome::Done);
    }
    match length.oldest {
        None => say_line("nothing waits"),
        Some(oldest) => say_line(&format!("{} waiting, the oldest since {}", length.entries, timestamp_text(oldest))),
    }
    if !entries.is_empty() {
        let rows: Vec<Vec<String>> = entries.iter().map(row).collect();
        say(&table::render(&["PROCESSOR", "DOCUMENT", "SINCE", "DUE", "FAILED", "MESSAGE"], &rows));
    }
    let more = length.entries.saturating_sub(entries.len() as u64);
    if more > 0 {
        say_line(&format!("and {more} more: --limit shows them"));
    }
    Ok(Outcome::Done)
}

fn print_lengths(arguments: &Arguments, context: &Context, lengths: &HashMap<PillowName, QueueLength>) {
    let mut pillows: Vec<&PillowName> = lengths.keys().collect();
    pillows.extend(context.manifests.iter().map(crate::manifest::Manifest::name));
    pillows.sort_unstable();
    pillows.dedup();
    let length = |pillow: &PillowName| lengths.get(pillow).copied().unwrap_or_default();
    let oldest = |pillow: &PillowName| length(pillow).oldest.map(timestamp_text);
    if arguments.json {
        let one = |pillow: &&PillowName| json!({ "pillow": pillow.as_str(), "length": length(pillow).entries, "oldest": oldest(pillow) });
        say_line(&json!(pillows.iter().map(one).collect::<Vec<_>>()).to_string());
        return;
    }
    let row = |pillow: &&PillowName| {
        let oldest = oldest(pillow).unwrap_or_else(|| "-".to_owned());
        vec![pillow.to_string(), length(pillow).entries.to_string(), oldest]
    };
    let rows: Vec<Vec<String>> = pillows.iter().map(row).collect();
    say(&table::render(&["PILLOW", "WAITING", "OLDEST"], &rows));
}

fn row(entry: &Parked) -> Vec<String> {
    let id = &entry.failure.id;
    let processor = id.processor.as_ref().map_or("-", |name| name.as_str());
    let message = queue_failure(entry).and_then(|message| message.lines().next()).unwrap_or("-");
    vec![
        id.part.as_ref().map_or_else(|| processor.to_owned(), |part| format!("{processor}/{part}")),
        id.document.to_string(),
        timestamp_text(entry.first_at),
        entry.due_at.map_or_else(|| "-".to_owned(), timestamp_text),
        entry.attempts.to_string(),
        message.chars().take(80).collect(),
    ]
}

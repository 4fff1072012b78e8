//! `errors list|show|retry|drop`.

use anyhow::Context as _;
use serde_json::json;

use crate::checkpoint::{Parked, ParkedFilter};
use crate::model::{PillowName, RetryHelps, timestamp_text};

use super::args::{Arguments, ErrorsCommand, Which};
use super::context::Context;
use super::output::{say, say_line};
use super::{Outcome, WrongInput, retry, table};

pub(crate) async fn run(arguments: &Arguments, command: &ErrorsCommand) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    let store = &context.checkpoints;
    match command {
        ErrorsCommand::List { which, limit } => {
            let parked = store.parked(&ParkedFilter { limit: *limit, ..filter(which) }).await?;
            if arguments.json {
                say_line(&format!("{}", json!(parked.iter().map(parked_json).collect::<Vec<_>>())));
            } else {
                let rows: Vec<Vec<String>> = parked.iter().map(parked_row).collect();
                say(&table::render(&["NUMBER", "PILLOW", "PROCESSOR", "DOCUMENT", "KIND", "TRIES", "MESSAGE"], &rows));
            }
        }
        ErrorsCommand::Show { number } => {
            let parked = store.parked(&ParkedFilter { number: Some(*number), ..ParkedFilter::default() }).await?;
            let entry = parked.first().with_context(|| format!("there is no parked failure {number}"))?;
            let value = parked_json(entry);
            if arguments.json {
                say_line(&format!("{value}"));
            } else {
                for (key, value) in value.as_object().into_iter().flatten() {
                    say_line(&format!(
                        "{key:>12}  {}",
                        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
                    ));
                }
            }
        }
        ErrorsCommand::Retry(which) => {
            demand_choice(which)?;
            return retry::run(arguments, &context, &filter(which)).await;
        }
        ErrorsCommand::Drop(which) => {
            demand_choice(which)?;
            let dropped = store.drop_parked(&filter(which)).await?;
            report(arguments, "dropped", dropped, "gone for good");
        }
    }
    Ok(Outcome::Done)
}

fn demand_choice(which: &Which) -> anyhow::Result<()> {
    let chosen = which.all
        || which.number.is_some()
        || which.pillow.is_some()
        || which.processor.is_some()
        || which.document.is_some();
    if chosen {
        return Ok(());
    }
    let choices = "say which: a number, --pillow, --processor, --document, or --all";
    Err(WrongInput(choices.to_owned()).into())
}

fn filter(which: &Which) -> ParkedFilter {
    ParkedFilter {
        pillow: which.pillow.as_deref().map(PillowName::new),
        processor: which.processor.clone(),
        document_id: which.document.clone(),
        number: which.number,
        due: false,
        limit: 0,
    }
}

fn report(arguments: &Arguments, word: &str, count: u64, more: &str) {
    if arguments.json {
        say_line(&format!("{}", json!({ word: count })));
    } else {
        say_line(&format!("{count} {word}; {more}"));
    }
}

fn parked_row(entry: &Parked) -> Vec<String> {
    let failure = &entry.failure;
    let processor = failure.id.processor.as_ref().map_or("-", |name| name.as_str());
    vec![
        entry.number.to_string(),
        entry.pillow.to_string(),
        failure.id.part.as_ref().map_or_else(|| processor.to_owned(), |part| format!("{processor}/{part}")),
        failure.id.document.to_string(),
        failure.kind.to_string(),
        entry.attempts.to_string(),
        failure.message.lines().next().unwrap_or_default().chars().take(80).collect(),
    ]
}

fn parked_json(entry: &Parked) -> serde_json::Value {
    let failure = &entry.failure;
    json!({
        "number": entry.number,
        "pillow": entry.pillow.as_str(),
        "processor": failure.id.processor.as_ref().map(|name| name.as_str()),
        "part": failure.id.part,
        "source": failure.id.document.source.as_ref(),
        "document": failure.id.document.id.as_ref(),
        "partition": failure.partition.to_string(),
        "position": failure.position.to_string(),
        "kind": failure.kind.as_str(),
        "message": failure.message,
        "last_log": failure.last_log,
        "retry_can_help": failure.retry == RetryHelps::Perhaps,
        "digest": failure.digest.map(|digest| digest.to_string()),
        "bytes": failure.bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
        "attempts": entry.attempts,
        "first_at": timestamp_text(entry.first_at),
        "last_at": timestamp_text(entry.last_at),
        "due": entry.due,
    })
}

//! `checkpoint list|show|set`.

use std::sync::Arc;

use serde_json::json;

use crate::checkpoint::{Move, StoredCheckpoint};
use crate::model::{Checkpoint, Clock, PillowName, timestamp_text};

use super::args::{Arguments, CheckpointCommand};
use super::context::Context;
use super::output::{say, say_line};
use super::{Outcome, table};

pub(crate) async fn run(arguments: &Arguments, command: &CheckpointCommand) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    match command {
        CheckpointCommand::List => {
            let stored = context.checkpoints.checkpoints(None).await?;
            print_checkpoints(arguments, &stored);
        }
        CheckpointCommand::Show { pillow, moves } => {
            let name = PillowName::new(pillow);
            let stored = context.checkpoints.checkpoints(Some(&name)).await?;
            anyhow::ensure!(!stored.is_empty(), "pillow `{pillow}` has no checkpoint yet");
            let history = context.checkpoints.history(&name, *moves).await?;
            if arguments.json {
                let history: Vec<_> = history.iter().map(move_json).collect();
                let checkpoints: Vec<_> = stored.iter().map(stored_json).collect();
                say_line(&format!("{}", json!({ "checkpoints": checkpoints, "moves": history })));
            } else {
                print_checkpoints(arguments, &stored);
                let rows: Vec<Vec<String>> = history.iter().map(move_row).collect();
                say_line(&format!("\n{}", table::render(&["MOVED AT", "PARTITION", "TO", "WHO", "WHY"], &rows)));
            }
        }
        CheckpointCommand::Set { pillow, partition, position, incarnation, why } => {
            let name = PillowName::new(pillow);
            let stored = context.checkpoints.checkpoints(Some(&name)).await?;
            // A pillow whose manifest is gone still has its checkpoints.
            let is_declared = context.manifests.iter().any(|manifest| *manifest.name() == name);
            anyhow::ensure!(
                is_declared || !stored.is_empty(),
                "there is no pillow `{pillow}`: `pillowtop status` lists them"
            );
            let known = stored.iter().find(|stored| stored.partition == *partition);
            let incarnation = match (incarnation, known.and_then(|stored| stored.checkpoint.as_ref())) {
                (Some(incarnation), _) => Arc::from(incarnation.as_str()),
                (None, Some(checkpoint)) => Arc::clone(&checkpoint.incarnation),
                (None, None) => anyhow::bail!(
                    "{partition} has no checkpoint that says which log it belongs to: name it with --incarnation"
                ),
            };
            let checkpoint = Checkpoint { incarnation, position: position.clone() };
            let who = std::env::var("USER").unwrap_or_else(|_| "operator".to_owned());
            context.checkpoints.set(&name, partition, &checkpoint, &who, why, Clock::System.now()).await?;
            if arguments.json {
                say_line(&format!(
                    "{}",
                    json!({ "pillow": pillow, "partition": partition.to_string(), "position": position.to_string() })
                ));
            } else {
                say_line(&format!("{pillow} reads {partition} from {position} on"));
            }
        }
    }
    Ok(Outcome::Done)
}

fn print_checkpoints(arguments: &Arguments, stored: &[StoredCheckpoint]) {
    if arguments.json {
        let rows: Vec<_> = stored.iter().map(stored_json).collect();
        say_line(&format!("{}", json!(rows)));
        return;
    }
    let rows: Vec<Vec<String>> = stored
        .iter()
        .map(|stored| {
            let checkpoint = stored.checkpoint.as_ref();
            vec![
                stored.pillow.to_string(),
                stored.partition.to_string(),
                checkpoint.map_or_else(|| "-".to_owned(), |checkpoint| checkpoint.position.to_string()),
                checkpoint.map_or_else(|| "-".to_owned(), |checkpoint| checkpoint.incarnation.to_string()),
                stored.epoch.0.to_string(),
                stored.moved_at.map_or_else(|| "-".to_owned(), timestamp_text),
            ]
        })
        .collect();
    say(&table::render(&["PILLOW", "PARTITION", "NEXT", "LOG", "EPOCH", "MOVED AT"], &rows));
}

fn stored_json(stored: &StoredCheckpoint) -> serde_json::Value {
    json!({
        "pillow": stored.pillow.as_str(),
        "topic": stored.partition.topic.as_ref(),
        "partition": stored.partition.number,
        "position": stored.checkpoint.as_ref().map(|checkpoint| checkpoint.position.to_string()),
        "incarnation": stored.checkpoint.as_ref().map(|checkpoint| checkpoint.incarnation.as_ref()),
        "epoch": stored.epoch.0,
        "moved_at": stored.moved_at.map(timestamp_text),
    })
}

fn move_json(step: &Move) -> serde_json::Value {
    json!({
        "at": timestamp_text(step.at),
        "partition": step.partition.to_string(),
        "position": step.checkpoint.position.to_string(),
        "incarnation": step.checkpoint.incarnation.as_ref(),
        "who": step.who,
        "why": step.why,
    })
}

fn move_row(step: &Move) -> Vec<String> {
    vec![
        timestamp_text(step.at),
        step.partition.to_string(),
        step.checkpoint.position.to_string(),
        step.who.clone(),
        step.why.clone(),
    ]
}

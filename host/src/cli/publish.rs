//! `publish`: documents and changes into a change log.

use std::num::NonZeroU16;
use std::path::Path;

use anyhow::Context as _;
use indicatif::ProgressBar;
use serde_json::json;
use tokio::fs::File;
use tokio::io::{AsyncBufRead, BufReader, stdin};

use crate::feed::changelog::{self, PublishOptions, Published};
use crate::manifest::Feed;
use crate::sql::Database;

use super::Outcome;
use super::args::Arguments;
use super::context::Context;
use super::output::say_line;

pub(crate) async fn run(arguments: &Arguments, feed: &str, file: Option<&Path>) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    let feeds = context.settings.feeds();
    let Some(settings) = feeds.get(feed) else {
        let known: Vec<&str> = feeds.keys().map(AsRef::as_ref).collect();
        anyhow::bail!("the settings define no feed `{feed}`; there are: {}", known.join(", "));
    };
    let Feed::Changelog { database, partitions } = settings else {
        anyhow::bail!("feed `{feed}` is no change log: write to Kafka with a producer of your own");
    };
    let url = &context.settings.databases()[database].url;
    let database = Database::open(url.reveal()).await?;
    let partitions = NonZeroU16::try_from(*partitions).context("a change log has at most 65,535 partitions")?;
    changelog::create_tables(&database, partitions).await?;
    changelog::create_documents_table(&database).await?;
    let lines: Box<dyn AsyncBufRead + Unpin + Send> = match file {
        Some(file) => {
            let opened = File::open(file).await.with_context(|| format!("could not open {}", file.display()))?;
            Box::new(BufReader::new(opened))
        }
        None => Box::new(BufReader::new(stdin())),
    };
    // Shown on a terminal only.
    let bar = ProgressBar::new_spinner();
    let on_chunk = |published: &Published| {
        bar.set_message(format!("{} lines published", published.through_line));
        bar.tick();
    };
    let published = changelog::publish(&database, lines, &PublishOptions::default(), on_chunk).await?;
    bar.finish_and_clear();
    if arguments.json {
        say_line(&format!(
            "{}",
            json!({
                "documents": published.documents, "deletions": published.deletions, "changes": published.changes,
                "topics": published.by_topic,
            })
        ));
    } else {
        let topics: Vec<String> = published.by_topic.iter().map(|(topic, count)| format!("{topic} {count}")).collect();
        say_line(&format!(
            "{} documents, {} deletions, {} changes ({})",
            published.documents,
            published.deletions,
            published.changes,
            topics.join(", ")
        ));
    }
    Ok(Outcome::Done)
}

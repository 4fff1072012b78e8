//! `errors retry`: a running host does it; where none runs the pillow, this process does, without reading its feed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{HEARTBEAT_LIFETIME, Parked, ParkedFilter};
use crate::control::{Host, HostEnd, Options, Until};
use crate::feed::Share;
use crate::model::{Clock, PillowName};

use super::Outcome;
use super::args::Arguments;
use super::context::Context;
use super::output::say_line;

/// What came of the failures that were asked for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Came {
    resolved: usize,
    /// With the new message.
    failed_again: Vec<(i64, String)>,
    /// Still due: nobody could try them.
    untried: Vec<i64>,
}

pub(crate) async fn run(arguments: &Arguments, context: &Context, filter: &ParkedFilter) -> anyhow::Result<Outcome> {
    let store = &context.checkpoints;
    let marked = store.mark_due(filter).await?;
    let due = store.parked(&ParkedFilter { due: true, ..filter.clone() }).await?;
    let mut ours: BTreeMap<PillowName, Vec<Parked>> = BTreeMap::new();
    for entry in due {
        ours.entry(entry.pillow.clone()).or_default().push(entry);
    }
    let now = Clock::System.now();
    for beat in store.heartbeats().await? {
        if now.duration_since(beat.at).unsigned_abs() < HEARTBEAT_LIFETIME {
            ours.remove(&beat.pillow);
        }
    }
    let declared: BTreeSet<&PillowName> = context.manifests.iter().map(crate::manifest::Manifest::name).collect();
    let (ours, undeclared): (BTreeMap<_, _>, BTreeMap<_, _>) =
        ours.into_iter().partition(|(name, _)| declared.contains(name));
    let by_hosts = marked - (count(&ours) + count(&undeclared)).min(marked);

    let mut end = HostEnd::Done;
    if !ours.is_empty() {
        let options = Options {
            settings: arguments.settings.clone(),
            pipelines: arguments.pipelines.clone(),
            only: ours.keys().map(ToString::to_string).collect(),
            until: Until::Retried,
            share: Share::WHOLE,
        };
        let host = Host::open(options).await?;
        let stop = CancellationToken::new();
        let mut running = Box::pin(host.run(stop.clone(), watch::Sender::new(Vec::new())));
        end = loop {
            tokio::select! {
                end = &mut running => break end,
                // What is in hand is settled; what is left stays due.
                Ok(()) = tokio::signal::ctrl_c() => stop.cancel(),
            }
        };
    }
    let still = store.parked(&ParkedFilter { due: false, ..filter.clone() }).await?;
    let came = came(&ours, &still);
    print(arguments, (marked, by_hosts), &came, &undeclared);
    Outcome::of(end)
}

fn count(entries: &BTreeMap<PillowName, Vec<Parked>>) -> u64 {
    entries.values().map(|entries| entries.len() as u64).sum()
}

/// Compares what was due with what is still parked.
fn came(ours: &BTreeMap<PillowName, Vec<Parked>>, still: &[Parked]) -> Came {
    let mut came = Came::default();
    for entry in ours.values().flatten() {
        match still.iter().find(|parked| parked.number == entry.number) {
            None => came.resolved += 1,
            Some(parked) if parked.due => came.untried.push(parked.number),
            Some(parked) => came.failed_again.push((parked.number, parked.failure.message.clone())),
        }
    }
    came
}

fn print(
    arguments: &Arguments,
    (marked, by_hosts): (u64, u64),
    came: &Came,
    undeclared: &BTreeMap<PillowName, Vec<Parked>>,
) {
    if arguments.json {
        let failed: Vec<_> =
            came.failed_again.iter().map(|(number, message)| json!({ "number": number, "message": message })).collect();
        say_line(&format!(
            "{}",
            json!({
                "retried": marked, "by_running_hosts": by_hosts, "resolved": came.resolved, "failed_again": failed,
                "untried": came.untried, "without_manifest": undeclared.keys().map(PillowName::as_str).collect::<Vec<_>>(),
            })
        ));
        return;
    }
    if marked == 0 {
        say_line("there is nothing to try again");
    }
    if by_hosts > 0 {
        say_line(&format!("{by_hosts} retried by the running host within a second: `errors list` shows what is left"));
    }
    let tried = came.resolved + came.failed_again.len() + came.untried.len();
    if tried > 0 {
        say_line(&format!(
            "{tried} retried: {} resolved, {} failed again, {} not tried",
            came.resolved,
            came.failed_again.len(),
            came.untried.len()
        ));
    }
    for (number, message) in &came.failed_again {
        say_line(&format!("  {number}: {}", message.lines().next().unwrap_or_default()));
    }
    if !came.untried.is_empty() {
        let numbers: Vec<String> = came.untried.iter().map(ToString::to_string).collect();
        say_line(&format!("  not tried, because their processor or partition is gone: {}", numbers.join(", ")));
    }
    for (name, entries) in undeclared {
        say_line(&format!("{} of {name} wait: no manifest declares that pillow now", entries.len()));
    }
}

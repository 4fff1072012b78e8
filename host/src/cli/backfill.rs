//! `backfill`: asks for one, and follows it. A running host does it; where none runs the pillow, this process does,
//! without reading its feed.

use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{HEARTBEAT_LIFETIME, ParkedFilter};
use crate::control::{Host, HostEnd, Options, Until};
use crate::model::{Clock, PillowName};
use crate::replay::{Backfills, Request, RequestState, Wanted};
use crate::sql::Database;

use super::args::{Arguments, Backfill};
use super::context::Context;
use super::output::say_line;
use super::{Outcome, WrongInput};

/// How often the host's report is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Lines are read later, and by machines: fewer of them.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Where the work is done.
pub(super) enum Worker {
    /// By a host that runs the pillow.
    Host,
    /// By this process.
    Here,
}

pub(crate) async fn run(arguments: &Arguments, command: &Backfill) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    let pillow = PillowName::new(&command.pillow);
    let main = Database::open(context.settings.main().url.reveal()).await?;
    let backfills = Backfills::open(main).await?;
    if command.cancel {
        let cancelled = backfills.cancel(&pillow).await?;
        report(
            arguments,
            &json!({ "cancelled": cancelled }),
            match cancelled {
                true => "the backfill is cancelled; what it settled stays",
                false => "no backfill of that pillow is under way",
            },
        );
        return Ok(Outcome::Done);
    }
    check(&context, &pillow, command.processor.as_deref())?;
    let now = Clock::System.now();
    let wanted = Wanted { processor: command.processor.as_deref(), rate: command.rate, ..Wanted::default() };
    let asked = backfills.ask(&pillow, wanted, now).await?;
    let request = asked.context("the backfill came to its end at once")?;
    if (request.processor.as_deref(), request.rate) != (command.processor.as_deref(), command.rate) {
        let of = request.processor.as_deref().map_or(String::new(), |name| format!(" --processor {name}"));
        let rate = request.rate.map_or(String::new(), |rate| format!(" --rate {rate}"));
        let given = format!("pillowtop backfill {pillow}{of}{rate}");
        let open =
            format!("another backfill of {pillow} is under way: follow it with `{given}`, or end it with --cancel");
        return Err(WrongInput(open).into());
    }
    if matches!(worker(&context, &pillow).await?, Worker::Host) {
        if let Some(outcome) = follow(arguments, &context, &backfills, &request).await? {
            return Ok(outcome);
        }
        eprintln!("the host is gone: this command goes on with it");
    }
    work(arguments, &context, &backfills, &request).await
}

/// What can be known to be wrong before anybody is asked.
fn check(context: &Context, pillow: &PillowName, processor: Option<&str>) -> anyhow::Result<()> {
    let manifest = context.manifest(pillow.as_str())?;
    let processors: Vec<&str> = manifest.pillow().processors.iter().map(|one| one.name.as_str()).collect();
    match processor {
        Some(name) if !processors.contains(&name) => {
            let unknown = format!("pillow {pillow} has no processor `{name}`; it has: {}", processors.join(", "));
            Err(WrongInput(unknown).into())
        }
        _ => Ok(()),
    }
}

pub(super) async fn worker(context: &Context, pillow: &PillowName) -> anyhow::Result<Worker> {
    let now = Clock::System.now();
    let beats = context.checkpoints.heartbeats().await?;
    let fresh = beats
        .iter()
        .any(|beat| beat.pillow == *pillow && now.duration_since(beat.at).unsigned_abs() < HEARTBEAT_LIFETIME);
    Ok(if fresh { Worker::Host } else { Worker::Here })
}

/// Shows what the host reports, until the backfill has come to an end; none when the host is gone before that.
pub(super) async fn follow(
    arguments: &Arguments,
    context: &Context,
    backfills: &Backfills,
    request: &Request,
) -> anyhow::Result<Option<Outcome>> {
    let mut shown = Shown::new(request);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            Ok(()) = tokio::signal::ctrl_c() => {
                shown.bar.finish_and_clear();
                say_line(&format!(
                    "the host goes on with it: the same command follows it again, `pillowtop backfill {} --cancel` ends it",
                    request.pillow
                ));
                return Ok(Some(Outcome::Aborted));
            }
        }
        let request = backfills.get(request.number).await?.context("the backfill is not on the list any more")?;
        if request.state != RequestState::Open {
            shown.bar.finish_and_clear();
            return end(arguments, context, &request).await.map(Some);
        }
        shown.show(&request);
        if matches!(worker(context, &request.pillow).await?, Worker::Here) {
            shown.bar.finish_and_clear();
            return Ok(None);
        }
    }
}

/// Does it in this process.
pub(super) async fn work(
    arguments: &Arguments,
    context: &Context,
    backfills: &Backfills,
    request: &Request,
) -> anyhow::Result<Outcome> {
    let options = Options {
        settings: arguments.settings.clone(),
        pipelines: arguments.pipelines.clone(),
        only: vec![request.pillow.to_string()],
        until: Until::Backfilled,
        share: crate::feed::Share::WHOLE,
    };
    let host = Host::open(options).await?;
    let stop = CancellationToken::new();
    let mut running = Box::pin(host.run(stop.clone(), watch::Sender::new(Vec::new())));
    let mut shown = Shown::new(request);
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let ended = loop {
        tokio::select! {
            end = &mut running => break end,
            // What is in hand is settled; the next command, or a host, goes on from there.
            Ok(()) = tokio::signal::ctrl_c() => stop.cancel(),
            _ = ticks.tick() => if let Some(request) = backfills.get(request.number).await? {
                shown.show(&request);
            },
        }
    };
    shown.bar.finish_and_clear();
    let request = backfills.get(request.number).await?.context("the backfill is not on the list any more")?;
    match (request.state, ended) {
        (RequestState::Open, HostEnd::Done) => {
            say_line("stopped: the same command goes on, and so does a host that runs the pillow");
            Ok(Outcome::Aborted)
        }
        (RequestState::Open, ended) => Outcome::of(ended),
        (RequestState::Done | RequestState::Failed | RequestState::Cancelled, _) => {
            end(arguments, context, &request).await
        }
    }
}

/// What became of it.
async fn end(arguments: &Arguments, context: &Context, request: &Request) -> anyhow::Result<Outcome> {
    let filter = ParkedFilter { pillow: Some(request.pillow.clone()), ..ParkedFilter::default() };
    let parked = context.checkpoints.parked(&filter).await?.len();
    let summary = json!({
        "pillow": request.pillow.as_str(), "state": request.state.as_str(), "documents": request.done,
        "parked": parked, "reason": request.note,
    });
    match request.state {
        RequestState::Failed => {
            anyhow::bail!("the backfill cannot be done: {}", request.note.as_deref().unwrap_or("no reason is known"))
        }
        RequestState::Cancelled => report(arguments, &summary, "the backfill was cancelled"),
        RequestState::Open | RequestState::Done => {
            let failed = match parked {
                0 => String::new(),
                parked => format!("; {parked} failures of the pillow are parked: `pillowtop errors list` shows them"),
            };
            report(arguments, &summary, &format!("{} documents done{failed}", request.done));
        }
    }
    Ok(Outcome::Done)
}

fn report(arguments: &Arguments, summary: &serde_json::Value, text: &str) {
    if arguments.json {
        say_line(&summary.to_string());
    } else {
        say_line(text);
    }
}

/// A bar on a terminal, lines elsewhere.
struct Shown {
    bar: ProgressBar,
    began: (Instant, u64),
    line_at: Instant,
}

impl Shown {
    fn new(request: &Request) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        let now = Instant::now();
        Self { bar, began: (now, request.done), line_at: now }
    }

    fn show(&mut self, request: &Request) {
        let left = self.left(request);
        let waits = request.note.as_ref().map_or(String::new(), |note| format!(", waits for {note}"));
        if !self.bar.is_hidden() {
            if let Some(total) = request.total {
                self.bar.set_length(total.max(request.done));
            }
            self.bar.set_position(request.done);
            self.bar.set_message(format!("documents{left}{waits}"));
        } else if request.total.is_some() && self.line_at <= Instant::now() {
            self.line_at = Instant::now() + LINE_EVERY;
            let of = request.total.map_or(String::new(), |total| format!(" of about {}", total.max(request.done)));
            eprintln!("{}{of} documents{left}{waits}", request.done);
        }
    }

    /// How long the rest takes at the rate so far.
    fn left(&self, request: &Request) -> String {
        let (began, before) = self.began;
        let done = request.done.saturating_sub(before);
        let Some(rest) = request.total.map(|total| total.saturating_sub(request.done)).filter(|_| done > 0) else {
            return String::new();
        };
        let seconds = began.elapsed().as_secs_f64() * rest as f64 / done as f64;
        format!(", about {} left", indicatif::HumanDuration(Duration::from_secs_f64(seconds.min(1e9))))
    }
}

//! `run`: the host, until a signal or until all is caught up.

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::admin;
use crate::control::{Host, Options, Until};
use crate::manifest::{Format, Level};
use crate::model::PillowName;
use crate::pipeline::{Counts, Status};

use super::Outcome;
use super::args::{Arguments, Run};
use super::check;
use super::output::{say, say_line};

/// How often progress is shown: a bar on a terminal, a line elsewhere.
const SHOW_EVERY: Duration = Duration::from_millis(200);
/// Lines are read later, and by machines: fewer of them.
const LINE_EVERY: Duration = Duration::from_secs(10);

type Pillows = Vec<(PillowName, Arc<Status>)>;

pub(crate) async fn run(arguments: &Arguments, run: &Run) -> anyhow::Result<Outcome> {
    let loaded = crate::control::load_files(&arguments.settings, &arguments.pipelines)?;
    if !loaded.problems.is_empty() {
        check::print(arguments, &loaded)?;
    }
    let Some(settings) = &loaded.settings else { return Ok(Outcome::WrongInput) };
    let known: Vec<&str> = loaded.manifests.iter().map(|manifest| manifest.name().as_str()).collect();
    if let Some(unknown) = run.only.iter().find(|name| !known.contains(&name.as_str())) {
        eprintln!("error: there is no pillow `{unknown}`; the manifests declare: {}", known.join(", "));
        return Ok(Outcome::WrongInput);
    }
    if run.until_caught_up && !loaded.problems.is_empty() {
        return Ok(Outcome::WrongInput);
    }
    let share = match run.share() {
        Ok(share) => share,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(Outcome::WrongInput);
        }
    };
    start_log(settings.log())?;

    let options = Options {
        settings: arguments.settings.clone(),
        pipelines: arguments.pipelines.clone(),
        only: run.only.clone(),
        until: if run.until_caught_up { Until::CaughtUp } else { Until::Stopped },
        share,
    };
    let host = Host::open(options).await?;
    let mut endpoint = JoinSet::new();
    let stop_endpoint = CancellationToken::new();
    if let Some(settings) = &host.observe().admin {
        let server = admin::Server::bind(settings, host.console()).await?;
        tracing::info!(address = %server.address(), "the admin endpoint listens");
        endpoint.spawn(server.serve(stop_endpoint.clone()));
    }
    let stop = CancellationToken::new();
    let pillows = watch::Sender::new(Vec::new());
    let observed = pillows.subscribe();
    let started = Instant::now();
    let mut terminate = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let mut running = Box::pin(host.run(stop.clone(), pillows));
    let mut progress = Progress::new(observed.clone());
    let mut ticks = interval(if progress.bar.is_hidden() { LINE_EVERY } else { SHOW_EVERY });
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let end = loop {
        tokio::select! {
            end = &mut running => break end,
            _ = terminate.recv() => if stopped_twice(&stop) { return Ok(Outcome::Aborted) },
            _ = interrupt.recv() => if stopped_twice(&stop) { return Ok(Outcome::Aborted) },
            _ = ticks.tick() => progress.show(started),
        }
    };
    // It answered while what was in hand settled, so that others saw it.
    stop_endpoint.cancel();
    endpoint.join_all().await;
    progress.bar.finish_and_clear();
    summary(arguments, &observed.borrow(), started);
    Outcome::of(end)
}

/// The first signal stops in order; the second one aborts.
fn stopped_twice(stop: &CancellationToken) -> bool {
    let again = stop.is_cancelled();
    let word = if again { "aborting" } else { "stopping: what is in hand is settled; once more aborts" };
    tracing::info!("{word}");
    stop.cancel();
    again
}

fn start_log(log: &crate::manifest::Log) -> anyhow::Result<()> {
    let level = match log.level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    // RUST_LOG is what everybody tries first; it wins over the settings.
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(format!("warn,pillowtop={level}")));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match log.format {
        Format::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init(),
        Format::Json => builder.json().try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("could not start the log: {error}"))
}

struct Progress {
    bar: ProgressBar,
    pillows: watch::Receiver<Pillows>,
}

impl Progress {
    fn new(pillows: watch::Receiver<Pillows>) -> Self {
        // Hidden by itself where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template("{spinner} [{elapsed_precise}] {bar:30} {pos}/{len} {msg}") {
            bar.set_style(style);
        }
        Self { bar, pillows }
    }

    fn show(&mut self, started: Instant) {
        let (counts, lag) = totals(&self.pillows.borrow());
        if self.bar.is_hidden() {
            if started.elapsed() >= LINE_EVERY {
                tracing::info!(
                    settled = counts.settled,
                    written = counts.written,
                    parked = counts.parked,
                    lag,
                    "progress"
                );
            }
            return;
        }
        self.bar.set_length(counts.settled + lag);
        self.bar.set_position(counts.settled);
        self.bar.set_message(format!("changes settled, {} written, {} parked", counts.written, counts.parked));
    }
}

fn totals(pillows: &Pillows) -> (Counts, u64) {
    let mut totals = Counts::default();
    let mut lag = 0;
    for (_, status) in pillows {
        let snapshot = status.snapshot();
        totals = totals + snapshot.counts;
        lag += snapshot.lanes.values().filter_map(|lane| lane.lag).sum::<u64>();
    }
    (totals, lag)
}

/// What this run did, pillow by pillow.
fn summary(arguments: &Arguments, pillows: &Pillows, started: Instant) {
    let seconds = started.elapsed().as_secs_f64();
    if arguments.json {
        let rows: Vec<_> = pillows
            .iter()
            .map(|(name, status)| serde_json::json!({ "pillow": name.as_str(), "status": status.snapshot() }))
            .collect();
        say_line(&format!("{}", serde_json::json!({ "seconds": seconds, "pillows": rows })));
        return;
    }
    let headings = [
        "PILLOW",
        "READ",
        "COLLAPSED",
        "FETCHED",
        "WRITTEN",
        "SKIPPED",
        "PARKED",
        "SETTLED",
        "BATCHES",
        "LAG",
        "RATE/S",
    ];
    let rows: Vec<Vec<String>> = pillows
        .iter()
        .map(|(name, status)| {
            let snapshot = status.snapshot();
            let counts = snapshot.counts;
            let lag: u64 = snapshot.lanes.values().filter_map(|lane| lane.lag).sum();
            let rate = f64::from(u32::try_from(counts.settled).unwrap_or(u32::MAX)) / seconds;
            let numbers = [
                counts.read,
                counts.collapsed,
                counts.fetched,
                counts.written,
                counts.skipped,
                counts.parked,
                counts.settled,
                counts.batches,
                if snapshot.caught_up { 0 } else { lag },
            ];
            let mut row = vec![name.to_string()];
            row.extend(numbers.iter().map(u64::to_string));
            row.push(format!("{rate:.0}"));
            row
        })
        .collect();
    say(&super::table::render(&headings, &rows));
}

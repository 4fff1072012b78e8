//! Runs one pillow again and again: after an outage by itself, after a halt when an operator resumes it or its
//! processors are swapped, after another host took it when that host is gone.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{HEARTBEAT_LIFETIME, Parked, SettleError};
use crate::feed;
use crate::metrics::PillowMetrics;
use crate::model::{Outage, Partition, chain};
use crate::pipeline::{End, Generation, Pillow, Runner, State, Status};
use crate::replay::Order;

/// The first wait after a run that failed; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A topic that was made is noticed within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// A server that is back is noticed within this time.
const OUTAGE_WAIT: Duration = Duration::from_secs(1);
/// How often the database is asked whether what is waited for has come.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Retries on their way to the runner; more wait in the database.
const RETRY_QUEUE: usize = 4;

/// What keeps a pillow from reading, beside an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing.
    None,
    /// Its manifest says that it is paused.
    Manifest,
    /// It is here for its retries alone, also while it is paused or halted.
    RetriesOnly,
    /// It is here for its backfill alone, also while it is paused.
    BackfillOnly,
}

impl Hold {
    /// Whether the pillow runs for something else than its feed.
    fn is_alone(self) -> bool {
        matches!(self, Self::RetriesOnly | Self::BackfillOnly)
    }
}

/// What the host holds of a running pillow.
pub(super) struct Handle {
    pub(super) status: Arc<Status>,
    pub(super) generations: watch::Sender<Arc<Generation>>,
    pub(super) stop: CancellationToken,
    /// Where retries go now; each run has its own queue.
    pub(super) retries: watch::Receiver<Option<mpsc::Sender<Vec<Parked>>>>,
    /// The backfill that it is to do.
    pub(super) backfill: watch::Sender<Option<Arc<Order>>>,
    paused: watch::Sender<bool>,
    hold: Hold,
}

/// The other half, which runs.
pub(super) struct Supervisor {
    pillow: Pillow,
    /// The id of this host.
    host: Arc<str>,
    metrics: PillowMetrics,
    hold: Hold,
    generations: watch::Receiver<Arc<Generation>>,
    paused: watch::Sender<bool>,
    retries: watch::Sender<Option<mpsc::Sender<Vec<Parked>>>>,
    backfill: watch::Receiver<Option<Arc<Order>>>,
    stop: CancellationToken,
}

/// A pillow that begins with `generation`, and the handle on it.
pub(super) fn supervise(
    pillow: Pillow,
    generation: Arc<Generation>,
    (host, metrics): (Arc<str>, PillowMetrics),
    hold: Hold,
    stop: CancellationToken,
) -> (Handle, Supervisor) {
    let generations = watch::Sender::new(generation);
    // Until the database was asked.
    let paused = watch::Sender::new(true);
    let retries = watch::Sender::new(None);
    let backfill = watch::Sender::new(None);
    let orders = backfill.subscribe();
    let handle = Handle {
        status: Arc::clone(&pillow.status),
        generations: generations.clone(),
        paused: paused.clone(),
        stop: stop.clone(),
        retries: retries.subscribe(),
        backfill,
        hold,
    };
    let generations = generations.subscribe();
    (handle, Supervisor { pillow, host, metrics, hold, generations, paused, retries, backfill: orders, stop })
}

impl Handle {
    /// Passes on whether an operator wants the pillow paused.
    pub(super) fn pause(&self, by_operator: bool) {
        pause(&self.paused, by_operator, self.hold);
    }
}

/// What anybody wants together: one who pauses is enough.
fn pause(paused: &watch::Sender<bool>, by_operator: bool, hold: Hold) {
    let wanted = by_operator || hold != Hold::None;
    paused.send_if_modified(|known| std::mem::replace(known, wanted) != wanted);
}

impl Supervisor {
    /// Runs the pillow until it is told to stop.
    pub(super) async fn run(mut self) {
        self.metrics.halted.set(0);
        if !self.hold.is_alone() && self.as_it_was_left().await.is_none() {
            return self.pillow.status.set(State::Stopped);
        }
        let mut wait = FIRST_WAIT;
        while !self.stop.is_cancelled() {
            let started = tokio::time::Instant::now();
            let (sender, receiver) = mpsc::channel(RETRY_QUEUE);
            self.retries.send_replace(Some(sender));
            let paused = self.paused.subscribe();
            let runner = Runner::new(self.pillow.clone(), self.generations.clone(), paused, receiver)
                .with_backfills(self.backfill.clone());
            let end = Box::pin(runner.run(self.stop.clone())).await;
            self.retries.send_replace(None);
            if started.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            if !matches!(end, End::Stopped) {
                self.metrics.restarts.inc();
            }
            match end {
                End::Stopped => break,
                End::Halted(causes) => {
                    tracing::error!(pillow = %self.pillow.name, ?causes, "halted: too many changes fail");
                    self.halt(causes.iter().map(ToString::to_string).collect()).await;
                }
                End::Lost(error) => {
                    let reason = format!("{}; another host has taken it over", chain(&error));
                    tracing::warn!(pillow = %self.pillow.name, reason, "gives way");
                    let partition = match error {
                        SettleError::Fenced { partition, .. } => Some(partition),
                        _ => None,
                    };
                    self.give_way(reason, partition.as_ref()).await;
                }
                End::Feed(feed::Error::Outage(outage)) => self.without("feed", &outage).await,
                End::Outage(outage) => self.without("checkpoint database", &outage).await,
                End::Feed(error) => self.again(chain(&error), &mut wait).await,
                End::Failed(reason) => self.again(reason, &mut wait).await,
            }
        }
        self.pillow.status.set(State::Stopped);
    }

    /// Goes on as the pillow was left: paused or halted, if it was. None when told to stop meanwhile.
    async fn as_it_was_left(&mut self) -> Option<()> {
        let causes = loop {
            match self.pillow.checkpoints.halted(&self.pillow.name).await {
                Ok(causes) => break causes,
                Err(outage) => self.wait_for_database(&outage).await?,
            }
        };
        if !causes.is_empty() {
            tracing::error!(
                pillow = %self.pillow.name, ?causes, "still halted: `resume` or other processors let it go on"
            );
            self.until_resumed(causes).await;
        }
        let paused = loop {
            match self.pillow.checkpoints.is_paused(&self.pillow.name).await {
                Ok(paused) => break paused,
                Err(outage) => self.wait_for_database(&outage).await?,
            }
        };
        pause(&self.paused, paused, self.hold);
        Some(())
    }

    /// Waits for a server, then lets the pillow run again.
    async fn without(&mut self, what: &str, outage: &Outage) {
        let reason = format!("{what}: {}", chain(outage));
        tracing::warn!(pillow = %self.pillow.name, reason, next_try = ?OUTAGE_WAIT, "waits");
        self.pillow.status.set(State::Waiting { reason });
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = sleep(OUTAGE_WAIT) => {}
        }
    }

    /// Waits, then lets the pillow run again. New processors may be what it waits for.
    async fn again(&mut self, reason: String, wait: &mut Duration) {
        tracing::warn!(pillow = %self.pillow.name, reason, next_try = ?wait, "failed");
        self.pillow.status.set(State::Failed { reason });
        self.generations.mark_unchanged();
        tokio::select! {
            () = self.stop.cancelled() => {}
            Ok(()) = self.generations.changed() => {}
            () = sleep(*wait) => *wait = (*wait * 2).min(LONGEST_WAIT),
        }
    }

    /// Halts the pillow for every host. It outlives a restart: a bad deploy is not tried again by a process that
    /// comes back.
    async fn halt(&mut self, causes: Vec<String>) {
        self.pillow.status.set(State::Halted { causes: causes.clone() });
        while let Err(outage) = self.pillow.checkpoints.halt(&self.pillow.name, &causes).await {
            if self.wait_for_database(&outage).await.is_none() {
                return;
            }
        }
        self.until_resumed(causes).await;
    }

    /// Waits until an operator resumes the pillow or its processors are swapped.
    async fn until_resumed(&mut self, causes: Vec<String>) {
        self.pillow.status.set(State::Halted { causes });
        self.metrics.halted.set(1);
        self.generations.mark_unchanged();
        let (store, name) = (Arc::clone(&self.pillow.checkpoints), self.pillow.name.clone());
        let resumed = async {
            // The database itself is asked, not the beat: its answer may be older than the halt. That it does not answer
            // is said by the beat.
            while store.is_paused(&name).await.unwrap_or(true) {
                sleep(ASK_EVERY).await;
            }
        };
        let swapped = tokio::select! {
            () = self.stop.cancelled() => return,
            () = resumed => false,
            Ok(()) = self.generations.changed() => true,
        };
        while swapped && let Err(outage) = self.pillow.checkpoints.set_paused(&self.pillow.name, false).await {
            if self.wait_for_database(&outage).await.is_none() {
                return;
            }
        }
        tracing::info!(pillow = %self.pillow.name, swapped, "resumed");
        self.metrics.halted.set(0);
        pause(&self.paused, false, self.hold);
    }

    /// Another host owns a partition now, or an operator moved a checkpoint: to take it back would only throw that host
    /// out, which would take it back in turn. So it waits until no other host says that it reads the partition.
    async fn give_way(&self, reason: String, partition: Option<&Partition>) {
        self.pillow.status.set(State::Failed { reason });
        let gone = async {
            loop {
                // The other host has this long to say for the first time that it is there.
                sleep(HEARTBEAT_LIFETIME).await;
                // That the database does not answer is said by the beat; nothing is known of the other host then.
                if self.is_free(partition).await.unwrap_or(false) {
                    return;
                }
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = gone => tracing::info!(pillow = %self.pillow.name, "no other host reads it: goes on"),
        }
    }

    /// Whether no other host says that it runs the pillow and reads the partition.
    async fn is_free(&self, partition: Option<&Partition>) -> Result<bool, Outage> {
        let now = Timestamp::now();
        let reads = |status: &serde_json::Value| {
            partition.is_none_or(|partition| status["lanes"].get(partition.to_string()).is_some())
        };
        let runs = |state: Option<&str>| !matches!(state, Some("failed" | "stopped"));
        let beats = self.pillow.checkpoints.heartbeats().await?;
        Ok(beats.iter().all(|beat| {
            beat.pillow != self.pillow.name
                || *beat.host == *self.host
                || now.duration_since(beat.at).unsigned_abs() > HEARTBEAT_LIFETIME
                || !runs(beat.status["state"].as_str())
                || !reads(&beat.status)
        }))
    }

    /// Waits before the database is asked again. None when told to stop meanwhile.
    async fn wait_for_database(&self, outage: &Outage) -> Option<()> {
        tracing::warn!(pillow = %self.pillow.name, error = %chain(outage), "the database does not answer");
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = sleep(FIRST_WAIT) => Some(()),
        }
    }
}

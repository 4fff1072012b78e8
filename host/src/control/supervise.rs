//! Runs one pillow again and again: after an outage by itself, after a halt when an operator resumes it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Parked;
use crate::model::chain;
use crate::pipeline::{End, Generation, Pillow, Runner, State, Status};

/// The first wait after a run that failed; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A server that is back, or a topic that was made, is noticed within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(10);
/// Retries on their way to the runner; more wait in the database.
const RETRY_QUEUE: usize = 4;

/// What the host holds of a running pillow.
pub(super) struct Handle {
    pub(super) status: Arc<Status>,
    pub(super) generations: watch::Sender<Arc<Generation>>,
    pub(super) paused: watch::Sender<bool>,
    pub(super) stop: CancellationToken,
    /// Where retries go now; each run has its own queue.
    pub(super) retries: watch::Receiver<Option<mpsc::Sender<Vec<Parked>>>>,
}

/// The other half, which runs.
pub(super) struct Supervisor {
    pillow: Pillow,
    generations: watch::Receiver<Arc<Generation>>,
    paused: watch::Receiver<bool>,
    retries: watch::Sender<Option<mpsc::Sender<Vec<Parked>>>>,
    stop: CancellationToken,
}

/// A pillow that begins with `generation`, and the handle on it.
pub(super) fn supervise(
    pillow: Pillow,
    generation: Arc<Generation>,
    paused: bool,
    stop: CancellationToken,
) -> (Handle, Supervisor) {
    let generations = watch::Sender::new(generation);
    let paused = watch::Sender::new(paused);
    let retries = watch::Sender::new(None);
    let supervisor = Supervisor {
        generations: generations.subscribe(),
        paused: paused.subscribe(),
        stop: stop.clone(),
        pillow: pillow.clone(),
        retries: retries.clone(),
    };
    let handle = Handle { status: pillow.status, generations, paused, stop, retries: retries.subscribe() };
    (handle, supervisor)
}

impl Supervisor {
    /// Runs the pillow until it is told to stop.
    pub(super) async fn run(mut self) {
        let mut wait = FIRST_WAIT;
        while !self.stop.is_cancelled() {
            let started = tokio::time::Instant::now();
            let (sender, receiver) = mpsc::channel(RETRY_QUEUE);
            self.retries.send_replace(Some(sender));
            let runner = Runner::new(self.pillow.clone(), self.generations.clone(), self.paused.clone(), receiver);
            let end = Box::pin(runner.run(self.stop.clone())).await;
            self.retries.send_replace(None);
            if started.elapsed() > LONGEST_WAIT {
                wait = FIRST_WAIT;
            }
            match end {
                End::Stopped => break,
                End::Halted(causes) => {
                    let state = State::halted(&causes);
                    tracing::error!(pillow = %self.pillow.name, causes = ?causes, "halted: too many changes fail");
                    self.until_resumed(state).await;
                }
                End::Lost(error) => {
                    let reason = chain(&error);
                    tracing::error!(pillow = %self.pillow.name, reason, "stopped: the pillow is owned elsewhere");
                    self.until_resumed(State::Failed { reason }).await;
                }
                End::Feed(error) => self.again(chain(&error), &mut wait).await,
                End::Failed(reason) => self.again(reason, &mut wait).await,
            }
        }
        self.pillow.status.set(State::Stopped);
    }

    /// Waits, then lets the pillow run again.
    async fn again(&self, reason: String, wait: &mut Duration) {
        tracing::warn!(pillow = %self.pillow.name, reason, next_try = ?wait, "failed");
        self.pillow.status.set(State::Failed { reason });
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = tokio::time::sleep(*wait) => *wait = (*wait * 2).min(LONGEST_WAIT),
        }
    }

    /// Pauses the pillow for every host and waits until an operator resumes it or its processors are swapped.
    async fn until_resumed(&mut self, state: State) {
        self.pillow.status.set(state);
        // It outlives a restart: a bad deploy is not tried again by a process that comes back.
        while let Err(outage) = self.pillow.checkpoints.set_paused(&self.pillow.name, true).await {
            tracing::warn!(pillow = %self.pillow.name, error = %chain(&outage), "could not note the halt");
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(FIRST_WAIT) => {}
            }
        }
        self.generations.mark_unchanged();
        let seen_paused = async {
            // The flag comes round through the database; only its fall after that is the operator's word.
            if self.paused.wait_for(|paused| *paused).await.is_ok()
                && self.paused.wait_for(|paused| !*paused).await.is_err()
            {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = self.stop.cancelled() => {}
            () = seen_paused => {}
            Ok(()) = self.generations.changed() => {
                if let Err(outage) = self.pillow.checkpoints.set_paused(&self.pillow.name, false).await {
                    tracing::warn!(pillow = %self.pillow.name, error = %chain(&outage), "could not note the resume");
                }
            }
        }
    }
}

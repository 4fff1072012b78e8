//! What others may ask and tell a host while it runs: how it is, pause, resume, look at the files again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::checkpoint::{CheckpointStore, HEARTBEAT_LIFETIME, Heartbeat};
use crate::metrics::Metrics;
use crate::model::{Clock, Outage, PillowName, chain, timestamp_text};
use crate::pipeline::{State, Status};

use super::queue::{queue_report, read_queue};

/// Longer than this nobody who asks is kept waiting for the database.
const DATABASE_LIMIT: Duration = Duration::from_secs(3);
/// A host whose loop did not come round for this long hangs: a beat is due each second, and gives up after five.
const LONGEST_SILENCE: Duration = Duration::from_secs(30);

/// A view of a running host; several may be handed out.
#[derive(Clone)]
pub struct Console {
    checkpoints: Arc<dyn CheckpointStore>,
    metrics: Arc<Metrics>,
    overview: watch::Receiver<Overview>,
    reload: mpsc::Sender<oneshot::Sender<Reloaded>>,
}

/// How the host is.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// When this was so; none before the host runs.
    pub at: Option<Instant>,
    /// Whether the files were looked at.
    pub looked: bool,
    /// Whether it settles what is in hand, to end then.
    pub stopping: bool,
    /// The pillows that the manifests declare.
    pub wanted: Vec<PillowName>,
    /// Those that were started.
    pub running: Vec<(PillowName, Arc<Status>)>,
    /// Those that could not start, and why.
    pub unstarted: Vec<(PillowName, String)>,
    /// What is wrong with the files.
    pub problems: Vec<String>,
}

/// What a look at the files found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reloaded {
    /// The pillows that the manifests declare now. What is to be swapped or started is under way.
    pub pillows: Vec<String>,
    /// What is wrong with the files; what runs of them goes on as it is.
    pub problems: Vec<String>,
    /// What differs from the settings that the host runs with.
    pub changed_settings: Option<String>,
}

/// What was asked for cannot be done.
#[derive(Debug, thiserror::Error)]
pub enum ConsoleError {
    /// Nothing has this name.
    #[error("there is no pillow `{0}`")]
    UnknownPillow(String),
    /// The checkpoint database does not answer.
    #[error("the checkpoint database does not answer")]
    Database(#[source] Outage),
    /// The host does not look at its files any more, because it stops.
    #[error("the host is stopping")]
    Stopping,
}

impl Console {
    pub(super) fn new(
        checkpoints: Arc<dyn CheckpointStore>,
        metrics: Arc<Metrics>,
        overview: watch::Receiver<Overview>,
        reload: mpsc::Sender<oneshot::Sender<Reloaded>>,
    ) -> Self {
        Self { checkpoints, metrics, overview, reload }
    }

    /// Everything that the host counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Whether the host's loop comes round.
    pub fn is_alive(&self) -> bool {
        self.overview.borrow().at.is_none_or(|at| at.elapsed() < LONGEST_SILENCE)
    }

    /// Why the host is not ready; nothing when it is: the files were read, each pillow runs or is paused, and the
    /// database answers.
    pub async fn hindrances(&self) -> Vec<String> {
        // The longest question first: what it said of the pillows before that would be old.
        let database = self.heartbeats().await;
        let mut hindrances = self.overview.borrow().hindrances();
        hindrances.extend(database.err().map(|error| chain(&error)));
        hindrances
    }

    /// What every host says of its pillows, as `status --json` prints it.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn statuses(&self) -> Result<Vec<Value>, ConsoleError> {
        let beats = self.heartbeats().await?;
        Ok(status_rows(&beats, &self.overview.borrow().wanted, Clock::System.now()))
    }

    /// How many failures are parked, by pillow.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn parked(&self) -> Result<std::collections::HashMap<PillowName, u64>, ConsoleError> {
        limited(self.checkpoints.count_parked()).await
    }

    /// What waits in the queue of a pillow, at most `limit` entries of it, as `queue --json` prints it.
    ///
    /// # Errors
    /// When nothing has this name, or the database does not answer.
    pub async fn queue(&self, name: &str, limit: u32) -> Result<Value, ConsoleError> {
        let pillow = PillowName::new(name);
        let (length, entries) = limited(read_queue(&*self.checkpoints, &pillow, limit)).await?;
        if length.is_none() {
            self.demand(&pillow).await?;
        }
        Ok(queue_report(&pillow, length.unwrap_or_default(), &entries))
    }

    /// Pauses or resumes a pillow, on every host.
    ///
    /// # Errors
    /// When nothing has this name, or the database does not answer.
    pub async fn set_paused(&self, name: &str, paused: bool) -> Result<(), ConsoleError> {
        let pillow = PillowName::new(name);
        self.demand(&pillow).await?;
        limited(self.checkpoints.set_paused(&pillow, paused)).await
    }

    /// Looks at the files now, and says what it found. The host follows it by itself.
    ///
    /// # Errors
    /// When the host stops meanwhile.
    pub async fn reload(&self) -> Result<Reloaded, ConsoleError> {
        let (reply, reloaded) = oneshot::channel();
        // A host that stops has dropped its end of either.
        if self.overview.borrow().stopping || self.reload.send(reply).await.is_err() {
            return Err(ConsoleError::Stopping);
        }
        match reloaded.await {
            Ok(reloaded) => Ok(reloaded),
            Err(oneshot::error::RecvError { .. }) => Err(ConsoleError::Stopping),
        }
    }

    /// Refuses a name that no manifest of this host, and no host, has.
    async fn demand(&self, pillow: &PillowName) -> Result<(), ConsoleError> {
        let is_known = self.overview.borrow().knows(pillow);
        if is_known || self.heartbeats().await?.iter().any(|beat| beat.pillow == *pillow) {
            return Ok(());
        }
        Err(ConsoleError::UnknownPillow(pillow.to_string()))
    }

    async fn heartbeats(&self) -> Result<Vec<Heartbeat>, ConsoleError> {
        limited(self.checkpoints.heartbeats()).await
    }
}

async fn limited<T>(asking: impl Future<Output = Result<T, Outage>>) -> Result<T, ConsoleError> {
    match timeout(DATABASE_LIMIT, asking).await {
        Ok(answer) => answer.map_err(ConsoleError::Database),
        Err(_) => {
            let operation = format!("no answer within {DATABASE_LIMIT:?}");
            Err(ConsoleError::Database(Outage { operation, source: None }))
        }
    }
}

impl Overview {
    fn knows(&self, pillow: &PillowName) -> bool {
        self.wanted.contains(pillow) || self.running.iter().any(|(name, _)| name == pillow)
    }

    fn hindrances(&self) -> Vec<String> {
        if self.stopping {
            return vec!["the host is stopping".to_owned()];
        }
        if !self.looked {
            return vec!["the manifests were not read yet".to_owned()];
        }
        let mut hindrances = self.problems.clone();
        for name in &self.wanted {
            let running = self.running.iter().find(|(running, _)| running == name);
            let refused = self.unstarted.iter().find(|(refused, _)| refused == name);
            match (running, refused) {
                (Some((_, status)), _) => hindrances.extend(hindrance(name, &status.snapshot().state)),
                (None, Some((_, reason))) => hindrances.push(format!("{name} did not start: {reason}")),
                (None, None) => hindrances.push(format!("{name} is being built")),
            }
        }
        hindrances
    }
}

/// What keeps a pillow from being ready. One that is paused does what it was told to.
fn hindrance(name: &PillowName, state: &State) -> Option<String> {
    match state {
        State::Running | State::Paused => None,
        State::Starting => Some(format!("{name} is starting")),
        State::Stopped => Some(format!("{name} is stopped")),
        State::Waiting { reason } => Some(format!("{name} waits: {reason}")),
        State::Halted { causes } => Some(format!("{name} halted: {}", causes.join("; "))),
        State::Failed { reason } => Some(format!("{name} failed: {reason}")),
    }
}

/// What hosts say of their pillows, one object each, and of those in `known` that none runs.
pub fn status_rows(beats: &[Heartbeat], known: &[PillowName], now: Timestamp) -> Vec<Value> {
    let is_alive = |beat: &Heartbeat| now.duration_since(beat.at).unsigned_abs() < HEARTBEAT_LIFETIME;
    let mut rows: Vec<Value> = beats
        .iter()
        .map(|beat| {
            json!({
                "pillow": beat.pillow.as_str(), "host": beat.host, "at": timestamp_text(beat.at),
                "alive": is_alive(beat), "status": beat.status,
            })
        })
        .collect();
    let idle = known.iter().filter(|name| !beats.iter().any(|beat| beat.pillow == **name && is_alive(beat)));
    rows.extend(idle.map(|name| json!({ "pillow": name.as_str(), "alive": false })));
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    fn overview(states: &[(&str, Option<State>)]) -> Overview {
        let metrics = Arc::new(Metrics::new());
        let mut overview = Overview { looked: true, ..Overview::default() };
        for (name, state) in states {
            let name = PillowName::new(*name);
            overview.wanted.push(name.clone());
            if let Some(state) = state {
                let status = Arc::new(Status::new(Timestamp::UNIX_EPOCH, name.clone(), Arc::clone(&metrics)));
                status.set(state.clone());
                overview.running.push((name, status));
            }
        }
        overview
    }

    #[test]
    fn a_host_is_ready_when_its_pillows_run_or_are_paused() {
        let ready = overview(&[("a", Some(State::Running)), ("b", Some(State::Paused))]);
        assert_eq!(ready.hindrances(), [] as [String; 0]);
        assert_eq!(Overview::default().hindrances(), ["the manifests were not read yet"]);
        assert_eq!(Overview { stopping: true, ..ready }.hindrances(), ["the host is stopping"]);
    }

    #[test]
    fn what_keeps_a_host_from_being_ready_is_named() {
        let waiting = State::Waiting { reason: "sink: no answer".to_owned() };
        let mut busy = overview(&[("a", Some(State::Starting)), ("b", Some(waiting)), ("c", None), ("d", None)]);
        busy.unstarted.push((PillowName::new("d"), "no module".to_owned()));
        busy.problems.push("e.toml is broken".to_owned());
        assert_eq!(
            busy.hindrances(),
            [
                "e.toml is broken",
                "a is starting",
                "b waits: sink: no answer",
                "c is being built",
                "d did not start: no module"
            ]
        );
    }
}

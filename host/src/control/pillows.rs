//! The pillows of this host: what runs, what is being built beside it, and what was refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::QueueLength;
use crate::metrics::{Metrics, PillowMetrics};
use crate::model::{Clock, PillowName, chain};
use crate::pipeline::{Generation, Pillow, State, Status};

use super::assemble::Resources;
use super::disk::Seen;
use super::lists;
use super::plan::{Action, Held, Shape, plan};
use super::supervise::{Handle, Hold, supervise};
use super::swap::{Built, LastSwap, Ready, Retry, Scope, build};

/// The first wait after a build that something beside the files was in the way of; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// A database that is back is noticed within this time.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// What the pillows run for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To read their feeds, and everything beside.
    Feeds,
    /// Their retries alone.
    Retries,
    /// Their backfills alone.
    Backfill,
}

/// All pillows of the host.
pub(super) struct Pillows {
    resources: Arc<Resources>,
    host: Arc<str>,
    purpose: Purpose,
    stop: CancellationToken,
    running: BTreeMap<PillowName, Running>,
    tasks: JoinSet<()>,
    builds: JoinSet<Box<Built>>,
    building: BTreeMap<task::Id, (PillowName, Shape)>,
    refused: BTreeMap<PillowName, Refused>,
    /// How the lists of each pillow are, where it has some.
    lists: BTreeMap<PillowName, Vec<Value>>,
}

/// A pillow that runs, or settles what it has before it ends.
pub(super) struct Running {
    pub(super) handle: Handle,
    pub(super) last_swap: LastSwap,
    /// The file that declared it when it was last read.
    file: PathBuf,
    shape: Shape,
    metrics: PillowMetrics,
    all_metrics: Arc<Metrics>,
    task: task::Id,
    /// What begins when it has ended.
    next: Option<Next>,
}

struct Next {
    file: PathBuf,
    shape: Shape,
    frame: Box<Pillow>,
    generation: Arc<Generation>,
}

/// A shape that could not take over.
pub(super) struct Refused {
    pub(super) reason: String,
    pub(super) at: Timestamp,
    shape: Shape,
    /// When it is tried again as it is; none: not before it changes.
    again: Option<(Instant, Duration)>,
}

impl Running {
    /// What each processor complains of in its configuration.
    pub(super) fn problems(&self) -> Vec<Vec<String>> {
        let generation = self.handle.generations.borrow();
        let processors = self.shape.pillow.processors.iter().zip(&self.shape.lists);
        let complaints = processors.zip(&generation.stages).map(|((entry, lists), stage)| {
            let mut lines = lists::problems(entry, lists, &stage.processor.description().problems);
            lines.extend(stage.left_out.iter().map(|kept| {
                format!("{}: stays as it is and is left out: {}", kept.table, kept.differences.join("; "))
            }));
            lines
        });
        complaints.collect()
    }

    /// Says how many of its failures are parked.
    pub(super) fn count_parked(&self, name: &PillowName, count: u64) {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        self.metrics.parked.set(count);
        self.all_metrics.original().error_queue(name, count);
    }

    /// Says how much waits in its queue.
    pub(super) fn measure_queue(&self, queue: QueueLength, now: Timestamp) {
        self.metrics.queue.set(i64::try_from(queue.entries).unwrap_or(i64::MAX));
        self.metrics.queue_age.set(queue.oldest.map_or(0, |oldest| now.duration_since(oldest).as_secs().max(0)));
    }
}

/// Something that a task of a pillow came to.
pub(super) enum Report {
    Built(Result<(task::Id, Box<Built>), JoinError>),
    Ended(Result<(task::Id, ()), JoinError>),
}

impl Pillows {
    /// None yet.
    pub(super) fn new(resources: Arc<Resources>, host: Arc<str>, purpose: Purpose) -> Self {
        Self {
            resources,
            host,
            purpose,
            stop: CancellationToken::new(),
            running: BTreeMap::new(),
            tasks: JoinSet::new(),
            builds: JoinSet::new(),
            building: BTreeMap::new(),
            refused: BTreeMap::new(),
            lists: BTreeMap::new(),
        }
    }

    /// The pillows that run.
    pub(super) fn running(&self) -> &BTreeMap<PillowName, Running> {
        &self.running
    }

    /// Pillows that do not run because they could not begin.
    pub(super) fn unstarted(&self) -> impl Iterator<Item = (&PillowName, &Refused)> {
        self.refused.iter().filter(|(name, _)| !self.running.contains_key(*name))
    }

    /// How the lists of a pillow are.
    pub(super) fn lists(&self, name: &PillowName) -> &[Value] {
        self.lists.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// Takes note of how the lists are.
    pub(super) fn note_lists(&mut self, lists: BTreeMap<PillowName, Vec<Value>>) {
        self.lists = lists;
    }

    /// Whether nothing is being built and nothing is about to begin.
    pub(super) fn is_settled(&self, seen: &Seen) -> bool {
        self.builds.is_empty()
            && self.running.values().all(|running| !running.handle.stop.is_cancelled())
            && seen.wanted.values().all(|shape| !shape.is_loading())
            && seen.wanted.keys().all(|name| self.running.contains_key(name) || self.refused.contains_key(name))
    }

    /// Waits for the next report. Cancel-safe. Never ends while there is nothing to wait for.
    pub(super) async fn next(&mut self) -> Report {
        tokio::select! {
            biased;
            Some(ended) = self.tasks.join_next_with_id() => Report::Ended(ended),
            Some(built) = self.builds.join_next_with_id() => Report::Built(built),
            else => std::future::pending().await,
        }
    }

    /// Takes the steps from what runs to what was seen; those that take time go on beside.
    pub(super) fn follow(&mut self, seen: &Seen) {
        for (name, running) in &mut self.running {
            if let Some(manifest) = seen.manifests.get(name) {
                running.file = manifest.file().to_path_buf();
            }
        }
        self.refused.retain(|name, _| seen.wanted.contains_key(name) || seen.held.names.contains(name));
        // One step per pillow at a time: what is under way is planned again when it has come to an end.
        let mut busy: BTreeSet<PillowName> = self.building.values().map(|(name, _)| name.clone()).collect();
        let ending = self.running.iter().filter(|(_, running)| running.handle.stop.is_cancelled());
        busy.extend(ending.map(|(name, _)| name.clone()));
        let running = self.running.iter().filter(|(name, _)| !busy.contains(name));
        let running = running.map(|(name, running)| (name.clone(), (running.file.clone(), running.shape.clone())));
        // What is being read for the first time comes soon; until then the running one goes on.
        let is_due = |(name, shape): &(&PillowName, &Shape)| !busy.contains(*name) && !shape.is_loading();
        let loading = seen.wanted.iter().filter(|(_, shape)| shape.is_loading()).map(|(name, _)| name.clone());
        let held = Held { names: seen.held.names.iter().cloned().chain(loading).collect(), ..seen.held.clone() };
        let wanted = seen.wanted.iter().filter(is_due);
        let now = Instant::now();
        let refused = self.refused.iter().filter(|(_, refused)| refused.again.is_none_or(|(when, _)| when > now));
        let actions = plan(
            &running.collect(),
            &wanted.map(|(name, shape)| (name.clone(), shape.clone())).collect(),
            &held,
            &refused.map(|(name, refused)| (name.clone(), refused.shape.clone())).collect(),
        );
        for action in actions {
            match action {
                Action::Stop(name) => self.end(&name),
                Action::Swap(name) => self.build(&name, seen, Scope::Processors),
                Action::Start(name) | Action::Restart(name) => self.build(&name, seen, Scope::Everything),
            }
        }
        // A restart whose manifest went away while the old pillow was still settling.
        for (name, running) in &mut self.running {
            if !seen.wanted.contains_key(name) && !seen.held.holds(name, &running.file) {
                running.next = None;
            }
        }
    }

    fn end(&mut self, name: &PillowName) {
        if let Some(running) = self.running.get_mut(name) {
            tracing::info!(pillow = %name, "stops: its manifest is gone");
            running.handle.stop.cancel();
        }
    }

    /// Builds a generation beside whatever runs.
    fn build(&mut self, name: &PillowName, seen: &Seen, scope: Scope) {
        let (Some(manifest), Some(shape)) = (seen.manifests.get(name).cloned(), seen.wanted.get(name)) else {
            return;
        };
        let lists = shape.lists.clone();
        let number = self.running.get(name).map_or(0, |running| running.handle.generations.borrow().number) + 1;
        let resources = Arc::clone(&self.resources);
        tracing::info!(pillow = %name, generation = number, "building");
        let task = self.builds.spawn(async move { Box::new(build(manifest, lists, number, scope, &resources).await) });
        self.building.insert(task.id(), (name.clone(), shape.clone()));
    }

    /// Takes note of what a task came to.
    pub(super) fn take(&mut self, report: Report, seen: &Seen) {
        match report {
            Report::Built(Ok((task, built))) => {
                self.building.remove(&task);
                self.built(*built, seen);
            }
            Report::Built(Err(error)) => {
                if let Some((name, shape)) = self.building.remove(&error.id()) {
                    self.refuse(
                        &name,
                        shape,
                        format!("building it failed, a defect of the host: {error}"),
                        Retry::Later,
                    );
                }
            }
            Report::Ended(Ok((task, ()))) => self.ended(task),
            Report::Ended(Err(error)) => {
                let found = self.running.iter().find(|(_, running)| running.task == error.id());
                if let Some((name, running)) = found.map(|(name, running)| (name.clone(), running.shape.clone())) {
                    self.running.remove(&name);
                    self.refuse(&name, running, format!("it died, a defect of the host: {error}"), Retry::Later);
                }
            }
        }
    }

    fn built(&mut self, built: Built, seen: &Seen) {
        let Built { manifest, shape, result } = built;
        let name = manifest.name().clone();
        if !seen.wanted.contains_key(&name) && !seen.held.names.contains(&name) {
            tracing::info!(pillow = %name, "not taken over: its manifest went away meanwhile");
            return;
        }
        let Ready { generation, frame } = match result {
            Ok(ready) => ready,
            Err(error) => return self.refuse(&name, shape, chain(&error), error.retry()),
        };
        self.refused.remove(&name);
        for (entry, (stage, lists)) in shape.pillow.processors.iter().zip(generation.stages.iter().zip(&shape.lists)) {
            for problem in lists::problems(entry, lists, &stage.processor.description().problems) {
                tracing::error!(pillow = %name, processor = %entry.name, problem, "left out");
            }
        }
        let file = manifest.file().to_path_buf();
        match (self.running.get_mut(&name), frame) {
            (Some(running), None) => {
                tracing::info!(pillow = %name, ?generation, "takes over");
                running.metrics.swaps_ok.inc();
                running.metrics.generation.set(generation.number.cast_signed());
                running.handle.generations.send_replace(generation);
                (running.file, running.shape) = (file, shape);
                running.last_swap = LastSwap::Done(Clock::System.now());
            }
            (Some(running), Some(frame)) => {
                // The new one is proven; now the old one settles what it has and makes room.
                tracing::info!(pillow = %name, ?generation, "restarts");
                running.next = Some(Next { file, shape, frame, generation });
                running.handle.stop.cancel();
            }
            (None, Some(frame)) => self.start(&name, Next { file, shape, frame, generation }, LastSwap::None),
            // What it was to go on in ended meanwhile: the next plan begins it anew.
            (None, None) => {}
        }
    }

    /// Keeps whatever runs, and remembers why.
    fn refuse(&mut self, name: &PillowName, shape: Shape, reason: String, retry: Retry) {
        let running = self.running.get_mut(name);
        tracing::error!(pillow = %name, error = reason, keeps_running = running.is_some(), "not taken over");
        let at = Clock::System.now();
        if let Some(running) = running {
            running.metrics.swaps_failed.inc();
            running.last_swap = LastSwap::Failed(at, reason.clone());
        }
        let before = self.refused.get(name).and_then(|refused| refused.again);
        let wait = before.map_or(FIRST_WAIT, |(_, wait)| (wait * 2).min(LONGEST_WAIT));
        let again = match retry {
            Retry::Later => Some((Instant::now() + wait, wait)),
            Retry::WhenChanged => None,
        };
        self.refused.insert(name.clone(), Refused { reason, at, shape, again });
    }

    fn start(&mut self, name: &PillowName, next: Next, last_swap: LastSwap) {
        let Next { file, shape, frame, generation } = next;
        let metrics = self.resources.metrics().pillow(name);
        metrics.generation.set(generation.number.cast_signed());
        let hold = match (self.purpose, shape.pillow.paused) {
            (Purpose::Retries, _) => Hold::RetriesOnly,
            (Purpose::Backfill, _) => Hold::BackfillOnly,
            (Purpose::Feeds, true) => Hold::Manifest,
            (Purpose::Feeds, false) => Hold::None,
        };
        tracing::info!(pillow = %name, ?generation, ?hold, "starts");
        let known = (Arc::clone(&self.host), metrics.clone());
        let (handle, supervisor) = supervise(*frame, generation, known, hold, self.stop.child_token());
        let task = self.tasks.spawn(supervisor.run()).id();
        let all_metrics = Arc::clone(self.resources.metrics());
        let running = Running { handle, last_swap, file, shape, metrics, all_metrics, task, next: None };
        self.running.insert(name.clone(), running);
    }

    /// A pillow ended, because it was told to: what was built for it begins.
    fn ended(&mut self, task: task::Id) {
        let Some(name) = self.running.iter().find(|(_, running)| running.task == task).map(|(name, _)| name.clone())
        else {
            return;
        };
        let Some(running) = self.running.remove(&name) else { return };
        tracing::info!(pillow = %name, restarts = running.next.is_some(), "stopped");
        if let Some(next) = running.next {
            running.metrics.swaps_ok.inc();
            self.start(&name, next, LastSwap::Done(Clock::System.now()));
        }
    }

    /// How the pillows are now, by name.
    pub(super) fn statuses(&self) -> Vec<(PillowName, Arc<Status>)> {
        self.running.iter().map(|(name, running)| (name.clone(), Arc::clone(&running.handle.status))).collect()
    }

    /// Pillows that will not come to an end by themselves, each with the reason.
    pub(super) fn stuck(&self) -> Vec<String> {
        let mut stuck: Vec<String> =
            self.unstarted().map(|(name, refused)| format!("{name} did not start: {}", refused.reason)).collect();
        for (name, running) in &self.running {
            match running.handle.status.snapshot().state {
                State::Halted { causes } => stuck.push(format!("{name} halted: {}", causes.join("; "))),
                State::Failed { reason } => stuck.push(format!("{name} failed: {reason}")),
                State::Paused if self.purpose == Purpose::Feeds => stuck.push(format!("{name} is paused")),
                State::Paused | State::Starting | State::Running | State::Waiting { .. } | State::Stopped => {}
            }
        }
        stuck
    }

    /// Gives up what is being built and tells everything to stop.
    pub(super) async fn shut_down(&mut self) {
        self.builds.shutdown().await;
        self.building.clear();
        self.running.values_mut().for_each(|running| running.next = None);
        self.stop.cancel();
    }
}

//! The host process: keeps what runs equal to what is on disk, until it is told to stop.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Interval, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::Heartbeat;
use crate::manifest::{Manifest, Settings};
use crate::model::{Clock, PillowName, chain, timestamp_text};
use crate::pipeline::{Generation, State, Status};

use super::assemble::Resources;
use super::heartbeat::Pulse;
use super::plan::{Action, Shape, plan};
use super::scan::{self, Modules};
use super::supervise::{Handle, supervise};
use super::swap::{BuildError, LastSwap, build};
use super::watch::Watch;
use super::{Error, load};

/// How often heartbeats are written and operators' wishes read.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The settings.
    pub settings: PathBuf,
    /// The folder of the manifests.
    pub pipelines: PathBuf,
    /// Only these pillows; all when empty.
    pub only: Vec<String>,
    /// Whether to end when every pillow has caught up.
    pub until_caught_up: bool,
}

/// How the host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEnd {
    /// It was told to, or all pillows caught up.
    Done,
    /// A pillow halted, failed or could not start while somebody waited for it to catch up.
    PillowEnded(Vec<String>),
    /// Not everything settled within the grace period.
    Overdue,
}

/// The running host.
pub struct Host {
    options: Options,
    settings_text: Option<String>,
    settings: Settings,
    resources: Arc<Resources>,
    watch: Watch,
    modules: Modules,
    id: String,
    running: BTreeMap<PillowName, Running>,
    /// Shapes that failed; not tried again until they change.
    tried: BTreeMap<PillowName, Shape>,
    /// Pillows that could not start, and why.
    unstarted: BTreeMap<PillowName, String>,
    builds: JoinSet<Built>,
    building: BTreeSet<PillowName>,
    pillows: JoinSet<PillowName>,
    pulse: Pulse,
    said: BTreeSet<String>,
    stop_pillows: CancellationToken,
}

struct Running {
    shape: Shape,
    handle: Handle,
    last_swap: LastSwap,
}

/// A generation that was built, or why not.
struct Built {
    manifest: Manifest,
    shape: Shape,
    restart: bool,
    result: Result<Generation, BuildError>,
}

enum Event {
    Stop,
    Files,
    Beat,
    Built(Result<Built, JoinError>),
    Ended(Result<PillowName, JoinError>),
    CaughtUp,
}

impl Host {
    /// Reads settings and manifests and opens what the settings name; nothing runs yet.
    ///
    /// # Errors
    /// When the settings are wrong or the checkpoint database cannot be opened.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let texts = scan::texts(&options.settings, &options.pipelines);
        let loaded = load::load(&options.settings, &texts);
        let Some(settings) = loaded.settings else {
            return Err(Error::Problems(loaded.problems.iter().map(ToString::to_string).collect()));
        };
        let resources = Resources::open(&settings).await.map_err(Error::Resources)?;
        let id = format!("{}-{}", rustix::process::getpid().as_raw_nonzero(), uuid::Uuid::new_v4().simple());
        Ok(Self {
            settings_text: texts.settings.clone(),
            settings,
            resources: Arc::new(resources),
            watch: Watch::new(),
            modules: Modules::default(),
            id,
            options,
            running: BTreeMap::new(),
            tried: BTreeMap::new(),
            unstarted: BTreeMap::new(),
            builds: JoinSet::new(),
            building: BTreeSet::new(),
            pillows: JoinSet::new(),
            pulse: Pulse::default(),
            said: BTreeSet::new(),
            stop_pillows: CancellationToken::new(),
        })
    }

    /// How the pillows are now, by name.
    pub fn statuses(&self) -> Vec<(PillowName, Arc<Status>)> {
        self.running.iter().map(|(name, running)| (name.clone(), Arc::clone(&running.handle.status))).collect()
    }

    /// Runs until `stop`. Afterwards everything in hand is settled, or the grace period is over.
    ///
    /// `observe` receives the statuses whenever the set of pillows changes.
    ///
    /// # Errors
    /// None of a pillow: those show in its state.
    pub async fn run(
        mut self,
        stop: CancellationToken,
        observe: watch::Sender<Vec<(PillowName, Arc<Status>)>>,
    ) -> HostEnd {
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.reconcile();
        let mut end = HostEnd::Done;
        loop {
            match self.next(&mut beats, &stop).await {
                Event::Stop | Event::CaughtUp => break,
                Event::Files => self.reconcile(),
                Event::Beat => {
                    self.beat().await;
                    if let Some(ended) = self.ended_pillows() {
                        end = HostEnd::PillowEnded(ended);
                        break;
                    }
                }
                Event::Built(Ok(built)) => {
                    self.take_over(built).await;
                    observe.send_replace(self.statuses());
                    // What changed while it was being built is planned now.
                    self.reconcile();
                }
                Event::Built(Err(error)) => tracing::error!(%error, "a build died"),
                Event::Ended(Ok(name)) => {
                    if self.running.get(&name).is_some_and(|running| running.handle.stop.is_cancelled()) {
                        self.running.remove(&name);
                    }
                    observe.send_replace(self.statuses());
                    self.reconcile();
                }
                Event::Ended(Err(error)) => tracing::error!(%error, "a pillow died"),
            }
        }
        self.shut_down(end).await
    }

    async fn next(&mut self, beats: &mut Interval, stop: &CancellationToken) -> Event {
        let waits_for_end = self.options.until_caught_up && self.builds.is_empty() && self.unstarted.is_empty();
        let caught_up = self.running.values().map(|running| running.handle.status.caught_up()).collect();
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            Some(built) = self.builds.join_next() => Event::Built(built),
            Some(ended) = self.pillows.join_next() => Event::Ended(ended),
            _ = beats.tick() => Event::Beat,
            () = self.watch.changed() => Event::Files,
            () = all_true(caught_up), if waits_for_end => Event::CaughtUp,
        }
    }

    /// Plans from what runs to what is on disk, and begins each step. Steps that take time go on beside.
    fn reconcile(&mut self) {
        let texts = scan::texts(&self.options.settings, &self.options.pipelines);
        let loaded = load::load(&self.options.settings, &texts);
        for problem in &loaded.problems {
            self.say_once(problem.to_string());
        }
        if self.settings_text != texts.settings {
            self.settings_text.clone_from(&texts.settings);
            if loaded.settings.as_ref().is_some_and(|settings| *settings != self.settings) {
                self.say_once("changed settings take effect when the host starts again".to_owned());
            }
        }
        let broken: BTreeSet<PathBuf> = loaded.broken.iter().map(|broken| broken.file.clone()).collect();
        let mut wanted = BTreeMap::new();
        let mut manifests = BTreeMap::new();
        for manifest in loaded.manifests {
            let name = manifest.name().clone();
            if !self.options.only.is_empty() && !self.options.only.iter().any(|only| only == name.as_str()) {
                continue;
            }
            wanted.insert(name.clone(), self.shape(&manifest));
            manifests.insert(name, manifest);
        }
        let mut files = self.files(&texts, manifests.values());
        files.extend(loaded.files);
        self.watch.follow(files.iter().map(PathBuf::as_path));

        let running = self.running.iter().map(|(name, running)| (name.clone(), running.shape.clone())).collect();
        for action in plan(&running, &wanted, &broken, &self.tried) {
            match action {
                Action::Stop(name) => self.stop_pillow(&name),
                Action::Start(name) | Action::Swap(name) => self.begin(&name, &manifests, &wanted, false),
                Action::Restart(name) => self.begin(&name, &manifests, &wanted, true),
            }
        }
        self.unstarted.retain(|name, _| wanted.contains_key(name));
    }

    /// Builds a generation beside whatever runs.
    fn begin(
        &mut self,
        name: &PillowName,
        manifests: &BTreeMap<PillowName, Manifest>,
        wanted: &BTreeMap<PillowName, Shape>,
        restart: bool,
    ) {
        // One build per pillow at a time; the next plan follows when it is done.
        if !self.building.insert(name.clone()) {
            return;
        }
        let (manifest, shape) = (manifests[name].clone(), wanted[name].clone());
        let number = self.running.get(name).map_or(1, |running| running.handle.generations.borrow().number + 1);
        let resources = Arc::clone(&self.resources);
        tracing::info!(pillow = %name, generation = number, "building");
        self.builds.spawn(async move {
            let result = build(&manifest, number, &resources).await;
            Built { manifest, shape, restart, result }
        });
    }

    /// A generation is ready, or not.
    async fn take_over(&mut self, built: Built) {
        let name = built.manifest.name().clone();
        self.building.remove(&name);
        let now = Clock::System.now();
        let generation = match built.result {
            Ok(generation) => Arc::new(generation),
            Err(error) => {
                let reason = chain(&error);
                tracing::error!(pillow = %name, error = reason, kept = self.running.contains_key(&name), "not taken over");
                if !matches!(error, BuildError::Resources(_)) {
                    self.tried.insert(name.clone(), built.shape);
                }
                match self.running.get_mut(&name) {
                    Some(running) => running.last_swap = LastSwap::Failed(now, reason),
                    None => {
                        self.unstarted.insert(name, reason);
                    }
                }
                return;
            }
        };
        self.tried.remove(&name);
        self.unstarted.remove(&name);
        match self.running.get_mut(&name) {
            Some(running) if !built.restart => {
                tracing::info!(pillow = %name, generation = ?generation, "takes over");
                running.handle.generations.send_replace(generation);
                running.shape = built.shape;
                running.last_swap = LastSwap::Done(now);
            }
            Some(running) => {
                // The new one is proven; now the old one settles what it has and makes room. When it has ended, the
                // next plan finds no such pillow running and starts it.
                tracing::info!(pillow = %name, "restarts");
                running.handle.stop.cancel();
            }
            None => self.start_pillow(&built.manifest, built.shape, generation).await,
        }
    }

    async fn start_pillow(&mut self, manifest: &Manifest, shape: Shape, generation: Arc<Generation>) {
        let name = manifest.name().clone();
        let pillow = match self.resources.pillow(manifest).await {
            Ok(pillow) => pillow,
            Err(outage) => {
                self.unstarted.insert(name, chain(&outage));
                return;
            }
        };
        let paused = match self.resources.checkpoints.is_paused(&name).await {
            Ok(paused) => paused || manifest.pillow().paused,
            Err(outage) => {
                self.unstarted.insert(name, chain(&outage));
                return;
            }
        };
        tracing::info!(pillow = %name, generation = ?generation, paused, "starts");
        let (handle, supervisor) = supervise(pillow, generation, paused, self.stop_pillows.child_token());
        self.running.insert(name.clone(), Running { shape, handle, last_swap: LastSwap::None });
        self.pillows.spawn(async move {
            supervisor.run().await;
            name
        });
    }

    fn stop_pillow(&mut self, name: &PillowName) {
        if let Some(running) = self.running.get(name)
            && !running.handle.stop.is_cancelled()
        {
            tracing::info!(pillow = %name, "stops: its manifest is gone");
            running.handle.stop.cancel();
        }
    }

    /// What the pillow is made of, in two numbers.
    fn shape(&mut self, manifest: &Manifest) -> Shape {
        let pillow = manifest.pillow();
        let mut processors = DefaultHasher::new();
        manifest.fingerprint().hash(&mut processors);
        for entry in &pillow.processors {
            match self.modules.digest(&entry.module) {
                Ok(digest) => digest.hash(&mut processors),
                // A module that is not there is a state of its own: the build says so, and is tried when it appears.
                Err(error) => error.kind().hash(&mut processors),
            }
        }
        Shape { file: manifest.file().to_path_buf(), pillow: pillow.clone(), processors: processors.finish() }
    }

    /// Every file that matters.
    fn files<'a>(&self, texts: &scan::Texts, manifests: impl Iterator<Item = &'a Manifest>) -> Vec<PathBuf> {
        // A name in the folder stands for the folder, which is watched also when it is empty.
        let mut files = vec![self.options.settings.clone(), self.options.pipelines.join("any.toml")];
        files.extend(texts.manifests.iter().map(|(file, _)| file.clone()));
        for manifest in manifests {
            files.extend(manifest.pillow().processors.iter().map(|entry| entry.module.clone()));
        }
        files
    }

    async fn beat(&mut self) {
        let now = Clock::System.now();
        let store = Arc::clone(&self.resources.checkpoints);
        let pillows: Vec<(&PillowName, &Handle, &LastSwap)> =
            self.running.iter().map(|(name, running)| (name, &running.handle, &running.last_swap)).collect();
        self.pulse.beat(&self.id, &store, &pillows, now).await;
        let failed: Vec<Heartbeat> = self
            .unstarted
            .iter()
            .map(|(name, reason)| Heartbeat {
                pillow: name.clone(),
                host: self.id.clone(),
                at: now,
                status: serde_json::json!({ "state": "failed", "reason": reason, "since": timestamp_text(now) }),
            })
            .collect();
        if !failed.is_empty()
            && let Err(outage) = store.beat(&failed).await
        {
            tracing::debug!(error = %chain(&outage), "no heartbeat for pillows that did not start");
        }
    }

    /// Pillows that will not catch up by themselves, when somebody waits for them.
    fn ended_pillows(&self) -> Option<Vec<String>> {
        if !self.options.until_caught_up || !self.builds.is_empty() {
            return None;
        }
        let mut ended: Vec<String> =
            self.unstarted.iter().map(|(name, reason)| format!("{name} did not start: {reason}")).collect();
        for (name, running) in &self.running {
            match running.handle.status.snapshot().state {
                State::Halted { causes } => ended.push(format!("{name} halted: {}", causes.join("; "))),
                State::Failed { reason } => ended.push(format!("{name} failed: {reason}")),
                State::Paused => ended.push(format!("{name} is paused")),
                State::Starting | State::Running | State::Waiting { .. } | State::Stopped => {}
            }
        }
        (!ended.is_empty()).then_some(ended)
    }

    async fn shut_down(mut self, end: HostEnd) -> HostEnd {
        self.builds.shutdown().await;
        self.stop_pillows.cancel();
        let grace = self.settings.limits().grace_period;
        let drained = timeout(grace, async { while self.pillows.join_next().await.is_some() {} }).await;
        // A last word, so that `status` shows the end; then the host is gone.
        self.beat().await;
        if let Err(outage) = self.resources.checkpoints.leave(&self.id).await {
            tracing::warn!(error = %chain(&outage), "could not take the heartbeats back");
        }
        if drained.is_err() {
            tracing::warn!(?grace, "not everything settled in time; the next start goes on from the checkpoints");
            return HostEnd::Overdue;
        }
        end
    }

    /// Logs a problem when it is new, not at every look.
    fn say_once(&mut self, problem: String) {
        if self.said.insert(problem.clone()) {
            tracing::error!(problem, "not usable");
        }
    }
}

/// Resolves when all are true at the same time.
async fn all_true(mut flags: Vec<watch::Receiver<bool>>) {
    loop {
        for flag in &mut flags {
            // A pillow that is gone has nothing left to wait for.
            drop(flag.wait_for(|set| *set).await);
        }
        if flags.iter().all(|flag| *flag.borrow()) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

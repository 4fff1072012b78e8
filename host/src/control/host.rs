//! The host process: keeps what runs equal to what is on disk, until it is told to stop.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use crate::feed::Share;
use crate::manifest::{MAIN, Observe};
use crate::metrics::{Metrics, Statsd, push};
use crate::model::{Clock, PillowName, chain};
use crate::pipeline::Status;
use crate::replay::Backfills;
use crate::traces::{Exporter, Traces};

use super::assemble::Resources;
use super::backfill::Backfilling;
use super::console::{Console, Overview, Reloaded};
use super::disk::{Disk, Seen};
use super::heartbeat::{Due, Pulse};
use super::lists::Lists;
use super::pillows::{Pillows, Purpose, Report};
use super::watch::Watch;
use super::{Error, load, scan};

/// How often heartbeats are written and operators' wishes read.
const BEAT_EVERY: Duration = Duration::from_secs(1);

/// How often metrics are sent to an agent; its own default.
const STATSD_EVERY: Duration = Duration::from_secs(10);
/// How long what the host does beside its pillows may take to end: the last metrics are sent.
const ASIDE_LIMIT: Duration = Duration::from_secs(5);
/// Calls for a look that wait to be heard.
const RELOAD_QUEUE: usize = 8;

/// What to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// The settings.
    pub settings: PathBuf,
    /// The folder of the manifests.
    pub pipelines: PathBuf,
    /// Only these pillows; all when empty.
    pub only: Vec<String>,
    /// When it ends by itself.
    pub until: Until,
    /// Its share of the partitions, of pillows that share them by number.
    pub share: Share,
}

/// When a host ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// Never: it runs until it is told to stop.
    Stopped,
    /// When every pillow has caught up.
    CaughtUp,
    /// When no retry is due any more. It reads no feed, and does not mind that a pillow is paused or halted.
    Retried,
    /// When no backfill is open any more. It reads no feed either.
    Backfilled,
}

/// How the host ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostEnd {
    /// It was told to, or what it was to wait for has come.
    Done,
    /// A pillow halted, failed or could not start while somebody waited for it.
    PillowEnded(Vec<String>),
    /// Not everything settled within the grace period.
    Overdue,
}

/// Who wants to know how the pillows are, whenever the set of them changes.
pub type Observer = watch::Sender<Vec<(PillowName, Arc<Status>)>>;

/// The running host.
pub struct Host {
    options: Options,
    id: Arc<str>,
    grace_period: Duration,
    resources: Arc<Resources>,
    watch: Watch,
    disk: Arc<Mutex<Disk>>,
    lists: Lists,
    looks: JoinSet<Seen>,
    /// Whether something happened since the look that is under way began.
    look_again: bool,
    /// What the latest look found; none before the first.
    seen: Option<Seen>,
    pillows: Pillows,
    pulse: Pulse,
    backfills: Backfilling,
    /// What was said and still holds: it is not said again.
    said: BTreeSet<String>,
    /// Since when the retries that are due are the same.
    due: Option<(Due, Instant)>,
    /// Where metrics go, and whether the last try to write the file failed.
    observe: Observe,
    metrics_fail: bool,
    /// What the console shows, and what it asks.
    overview: watch::Sender<Overview>,
    reload: mpsc::Sender<oneshot::Sender<Reloaded>>,
    reloads: mpsc::Receiver<oneshot::Sender<Reloaded>>,
    /// Who asked for a look that did not begin yet, and who for the one that is under way.
    asked: Vec<oneshot::Sender<Reloaded>>,
    answered_next: Vec<oneshot::Sender<Reloaded>>,
    /// Sends traces, where that is asked for; taken when the host runs.
    exporter: Option<Exporter>,
    /// What runs beside the pillows, and ends after them.
    aside: JoinSet<()>,
    stop_aside: CancellationToken,
}

enum Event {
    Stop,
    Files,
    Looked(Result<Seen, JoinError>),
    Lists,
    Beat,
    Pillow(Report),
    Reload(oneshot::Sender<Reloaded>),
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
        let mut resources = Resources::open(&settings).await.map_err(Error::Resources)?.with_share(options.share);
        let id = format!("{}-{}", rustix::process::getpid().as_raw_nonzero(), uuid::Uuid::new_v4().simple());
        let id: Arc<str> = Arc::from(id);
        let grace_period = settings.limits().grace_period;
        let observe = settings.observe().clone();
        let mut exporter = None;
        if let Some(traces) = &observe.traces {
            let metrics = Arc::clone(resources.metrics());
            let (traces, sends) = Traces::new(&traces.endpoint, traces.sample, &id, metrics).map_err(Error::Traces)?;
            resources.trace_with(traces);
            exporter = Some(sends);
        }
        let resources = Arc::new(resources);
        let (reload, reloads) = mpsc::channel(RELOAD_QUEUE);
        let (settings_file, pipelines) = (options.settings.clone(), options.pipelines.clone());
        let disk = Disk::new(settings_file, pipelines, options.only.clone(), (settings, texts.settings));
        let purpose = match options.until {
            Until::Stopped | Until::CaughtUp => Purpose::Feeds,
            Until::Retried => Purpose::Retries,
            Until::Backfilled => Purpose::Backfill,
        };
        let main = resources.database(MAIN).await.map_err(Error::Resources)?;
        let backfills = Backfilling::new(Backfills::open(main).await.map_err(Error::Resources)?, purpose);
        let lists = Lists::new(Arc::clone(&resources));
        Ok(Self {
            pillows: Pillows::new(Arc::clone(&resources), Arc::clone(&id), purpose),
            options,
            id,
            grace_period,
            resources,
            watch: Watch::new(),
            disk: Arc::new(Mutex::new(disk)),
            lists,
            looks: JoinSet::new(),
            look_again: false,
            seen: None,
            pulse: Pulse::default(),
            backfills,
            said: BTreeSet::new(),
            due: None,
            observe,
            metrics_fail: false,
            overview: watch::Sender::new(Overview::default()),
            reload,
            reloads,
            asked: Vec::new(),
            answered_next: Vec::new(),
            exporter,
            aside: JoinSet::new(),
            stop_aside: CancellationToken::new(),
        })
    }

    /// Everything that the host counts.
    pub fn metrics(&self) -> &Arc<Metrics> {
        self.resources.metrics()
    }

    /// How it is to be watched from outside.
    pub fn observe(&self) -> &Observe {
        &self.observe
    }

    /// What others may ask and tell it while it runs.
    pub fn console(&self) -> Console {
        let checkpoints = Arc::clone(self.resources.checkpoints());
        Console::new(checkpoints, Arc::clone(self.metrics()), self.overview.subscribe(), self.reload.clone())
    }

    /// How the pillows are now, by name.
    pub fn statuses(&self) -> Vec<(PillowName, Arc<Status>)> {
        self.pillows.statuses()
    }

    /// Runs until `stop`, or as long as the options say. Afterwards everything in hand is settled, or the grace period
    /// is over. What goes wrong with one pillow shows in its state.
    pub async fn run(mut self, stop: CancellationToken, observe: Observer) -> HostEnd {
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.begin_aside();
        self.look();
        let end = loop {
            self.show(false);
            match self.next(&mut beats, &stop).await {
                Event::Stop | Event::CaughtUp => break HostEnd::Done,
                Event::Files => self.look(),
                Event::Looked(Ok(seen)) => self.saw(seen),
                Event::Looked(Err(error)) => {
                    tracing::error!(%error, "a look at the disk failed, a defect of the host");
                    self.answered_next.clear();
                    self.looked();
                }
                Event::Lists => self.follow(),
                Event::Reload(reply) => {
                    self.lists.read_again();
                    self.asked.push(reply);
                    self.look();
                }
                Event::Beat => {
                    if let Some(end) = self.beat().await {
                        break end;
                    }
                    // What failed for a passing reason is due again at some time.
                    self.follow();
                }
                Event::Pillow(report) => {
                    if let Some(seen) = &self.seen {
                        self.pillows.take(report, seen);
                    }
                    self.follow();
                    observe.send_replace(self.statuses());
                    // Others are to know at once what is owned here: a checkpoint is not set under a running pillow.
                    beats.reset_immediately();
                }
            }
        };
        self.shut_down(end).await
    }

    /// Waits for what happens next. Cancel-safe as a whole: every branch is.
    async fn next(&mut self, beats: &mut Interval, stop: &CancellationToken) -> Event {
        let is_settled = self.looks.is_empty() && self.seen.as_ref().is_some_and(|seen| self.pillows.is_settled(seen));
        let waits_for_end = self.options.until == Until::CaughtUp && is_settled && self.pillows.stuck().is_empty();
        let caught_up = self.statuses().iter().map(|(_, status)| status.caught_up()).collect();
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            report = self.pillows.next() => Event::Pillow(report),
            Some(seen) = self.looks.join_next() => Event::Looked(seen),
            _ = beats.tick() => Event::Beat,
            () = self.watch.changed() => Event::Files,
            () = self.lists.changed() => Event::Lists,
            Some(reply) = self.reloads.recv() => Event::Reload(reply),
            () = all_true(caught_up), if waits_for_end => Event::CaughtUp,
        }
    }

    /// Begins to look at the disk, beside everything else: a network file system may take its time.
    fn look(&mut self) {
        if !self.looks.is_empty() {
            self.look_again = true;
            return;
        }
        self.answered_next.append(&mut self.asked);
        let disk = Arc::clone(&self.disk);
        self.looks.spawn_blocking(move || disk.lock().unwrap_or_else(PoisonError::into_inner).look());
    }

    fn looked(&mut self) {
        if std::mem::take(&mut self.look_again) {
            self.look();
        }
    }

    /// Says what is wrong, once, and follows what was seen.
    fn saw(&mut self, seen: Seen) {
        for problem in seen.problems.difference(&self.said) {
            tracing::error!(problem, "not usable");
        }
        let mut saying = seen.problems.clone();
        if let Some(changed) = &seen.changed_settings {
            let note = format!("changed settings: {changed}");
            if !self.said.contains(&note) {
                tracing::warn!(changed, "changed settings take effect when the host starts again");
            }
            saying.insert(note);
        }
        self.said = saying;
        self.watch.follow(&seen.files, &self.options.pipelines, &seen.folders);
        let reloaded = Reloaded {
            pillows: seen.wanted.keys().map(ToString::to_string).collect(),
            problems: seen.problems.iter().cloned().collect(),
            changed_settings: seen.changed_settings.clone(),
        };
        self.seen = Some(seen);
        self.follow();
        // Who asked sees at once what he is told.
        self.show(false);
        for reply in self.answered_next.drain(..) {
            // Who asked may have gone meanwhile.
            drop(reply.send(reloaded.clone()));
        }
        self.looked();
    }

    /// Begins what runs beside the pillows.
    fn begin_aside(&mut self) {
        if let Some(agent) = self.observe.metrics.statsd.clone() {
            let statsd = Statsd { agent, every: STATSD_EVERY };
            self.aside.spawn(push(Arc::clone(self.metrics()), statsd, self.stop_aside.clone()));
        }
        if let Some(exporter) = self.exporter.take() {
            self.aside.spawn(exporter.run(self.stop_aside.clone()));
        }
    }

    /// Lets the console see how things are.
    fn show(&self, stopping: bool) {
        self.overview.send_replace(Overview {
            at: Some(Instant::now()),
            looked: self.seen.is_some(),
            stopping,
            wanted: self.seen.iter().flat_map(|seen| seen.wanted.keys().cloned()).collect(),
            running: self.statuses(),
            unstarted: self.pillows.unstarted().map(|(name, why)| (name.clone(), why.reason.clone())).collect(),
            problems: self.seen.iter().flat_map(|seen| seen.problems.iter().cloned()).collect(),
        });
    }

    fn follow(&mut self) {
        if let Some(seen) = &mut self.seen {
            self.lists.fill(seen);
            self.pillows.note_lists(self.lists.status(seen));
            self.pillows.follow(seen);
        }
    }

    /// One beat; how it ends, if it ends by what it found.
    async fn beat(&mut self) -> Option<HostEnd> {
        let store = Arc::clone(self.resources.checkpoints());
        self.write_metrics();
        let due = self.pulse.beat(&self.id, &store, &self.pillows, Clock::System.now()).await;
        let backfills_open = self.backfills.beat(&self.pillows).await;
        let is_settled = self.looks.is_empty() && self.seen.as_ref().is_some_and(|seen| self.pillows.is_settled(seen));
        if self.options.until == Until::Stopped || !is_settled {
            return None;
        }
        let stuck = self.pillows.stuck();
        if !stuck.is_empty() {
            return Some(HostEnd::PillowEnded(stuck));
        }
        match self.options.until {
            Until::Stopped | Until::CaughtUp => None,
            Until::Retried => self.retried(due?),
            Until::Backfilled => (backfills_open? == 0).then_some(HostEnd::Done),
        }
    }

    /// Writes the metrics beside the file and renames, so that a reader never sees half of them.
    fn write_metrics(&mut self) {
        let Some(file) = &self.observe.metrics.file else { return };
        let partial = file.with_extension("partial");
        let written = std::fs::write(&partial, self.metrics().encode()).and_then(|()| std::fs::rename(&partial, file));
        match written {
            Ok(()) => self.metrics_fail = false,
            // Said once, not every second.
            Err(error) if !self.metrics_fail => {
                tracing::warn!(file = %file.display(), %error, "metrics are not written");
                self.metrics_fail = true;
            }
            Err(_) => {}
        }
    }

    /// Whether all retries were tried: none is due, but for those that nobody can try.
    fn retried(&mut self, due: Due) -> Option<HostEnd> {
        if due.numbers == due.orphans {
            return Some(HostEnd::Done);
        }
        let now = Instant::now();
        match &self.due {
            // A store that is down, or a partition that is gone: nobody waits for ever.
            Some((before, since)) if *before == due => (now - *since > self.grace_period)
                .then(|| HostEnd::PillowEnded(vec![format!("no retry came to an end within {:?}", self.grace_period)])),
            _ => {
                self.due = Some((due, now));
                None
            }
        }
    }

    async fn shut_down(mut self, end: HostEnd) -> HostEnd {
        self.pillows.shut_down().await;
        let until = Instant::now() + self.grace_period;
        let mut beats = interval(BEAT_EVERY);
        beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut overdue = false;
        self.show(true);
        while let (Some(seen), false) = (&self.seen, self.pillows.running().is_empty()) {
            tokio::select! {
                biased;
                report = self.pillows.next() => self.pillows.take(report, seen),
                () = sleep_until(until) => {
                    overdue = true;
                    break;
                }
                // It owns its partitions until the end, and others must know.
                _ = beats.tick() => drop(self.beat().await),
            }
            self.show(true);
        }
        // The last second counts as well, and a short run has no other.
        self.write_metrics();
        if let Err(outage) = self.resources.checkpoints().leave(&self.id).await {
            tracing::warn!(error = %chain(&outage), "could not take the heartbeats back");
        }
        self.stop_aside.cancel();
        let ended = timeout(ASIDE_LIMIT, async {
            while let Some(ended) = self.aside.join_next().await {
                if let Err(error) = ended {
                    tracing::error!(%error, "what sends metrics or traces died, a defect of the host");
                }
            }
        });
        if ended.await.is_err() {
            tracing::warn!(limit = ?ASIDE_LIMIT, "the last metrics and traces were not sent in time");
            self.aside.shutdown().await;
        }
        if overdue {
            let grace = self.grace_period;
            tracing::warn!(?grace, "not everything settled in time; the next start goes on from the checkpoints");
            return HostEnd::Overdue;
        }
        end
    }
}

/// Resolves when all are true at the same time.
async fn all_true(mut flags: Vec<watch::Receiver<bool>>) {
    loop {
        for flag in &mut flags {
            if flag.wait_for(|set| *set).await.is_err() {
                // The pillow is gone; whoever waits asks again with those that are there.
                return std::future::pending().await;
            }
        }
        if flags.iter().all(|flag| *flag.borrow()) {
            return;
        }
    }
}

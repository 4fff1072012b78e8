//! The loop of one pillow: everything that can happen to it is one event, and each event is handled to its end.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::checkpoint::{CheckpointStore, Parked, SettleError};
use crate::feed::{self, Event as FeedEvent, Feed, Limits, Read, Source, Start};
use crate::model::{
    Batch, Clock, Collapse, Entry, Origin, Outage, Partition, PillowName, Position, WriteVersion, collapse,
};
use crate::replay::{RetryGroup, group};
use crate::traces::BatchTrace;

use super::backfill::{Backfill, Step};
use super::carry::Carrier;
use super::fetch::Fetcher;
use super::generation::Generation;
use super::halt::{Cause, FailureLimit, FailureWindow};
use super::lanes::{Lanes, Ticket};
use super::ownership::{Ownership, Taken, acquire};
use super::process::Processed;
use super::replays::Replays;
use super::settle::{Done, Settler};
use super::status::{State, Status};
use super::workers::Workers;

mod lag;
mod replay;
mod settling;

/// How a pillow cuts and bounds its work.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tuning {
    /// When a batch closes.
    pub limits: Limits,
    /// How many batches may be between reading and settled; with `limits.bytes` this bounds the memory.
    pub in_flight: usize,
    /// Whether changes of one document are one.
    pub collapse: Collapse,
    /// When too many failures halt it.
    pub failures: FailureLimit,
    /// How long what its processors defer waits in its queue.
    pub queue_delay: Duration,
    /// How long a settle of less than one full batch waits for batches that are still processed.
    pub gathering: Duration,
}

impl Tuning {
    /// What was read together is processed within less; what takes longer, because its documents come from far away, holds
    /// up nobody.
    pub const GATHERING: Duration = Duration::from_millis(2);
}

/// What a pillow is made of.
#[derive(Clone)]
pub struct Pillow {
    /// Its name, which is its checkpoint's identity.
    pub name: PillowName,
    /// Opens its feed.
    pub source: Arc<dyn Source>,
    /// The topics that it reads.
    pub topics: Vec<Arc<str>>,
    /// Where partitions without a checkpoint begin.
    pub start: Start,
    /// Gets its documents.
    pub fetcher: Fetcher,
    /// Keeps its progress.
    pub checkpoints: Arc<dyn CheckpointStore>,
    /// Call its processors.
    pub workers: Workers,
    /// Its bounds.
    pub tuning: Tuning,
    /// Bounds the batches of all pillows of the process: one permit each from closed to settled, beside the one batch
    /// that each pillow may always have.
    pub in_flight: Arc<Semaphore>,
    /// The time.
    pub clock: Clock,
    /// What it says of itself.
    pub status: Arc<Status>,
}

/// Why a run is over. All that was settled stays settled; all else is read again by the next run.
#[derive(Debug)]
pub enum End {
    /// It was told to stop, and settled what it had in hand.
    Stopped,
    /// Too many changes failed.
    Halted(Vec<Cause>),
    /// Another owner took a partition, or the checkpoint was moved under it.
    Lost(SettleError),
    /// The feed cannot go on.
    Feed(feed::Error),
    /// The checkpoint database did not answer when it was to begin.
    Outage(Outage),
    /// A processor did not let it begin, or the host has a defect.
    Failed(String),
}

/// A pillow that runs.
pub struct Runner {
    pub(super) pillow: Arc<Pillow>,
    generations: watch::Receiver<Arc<Generation>>,
    paused: watch::Receiver<bool>,
    retries: mpsc::Receiver<Vec<Parked>>,
    settler: Arc<Settler>,
    pub(super) owned: Ownership,
    /// Whether the feed's partitions were known when it was opened: a run that lost them all has nothing to wait for.
    pub(super) fixed: bool,
    /// The pillow's own permit, beside those of the process.
    own_permit: Arc<Semaphore>,
    pub(super) positions: HashMap<Partition, Position>,
    pub(super) lanes: Lanes<Processed>,
    /// How many batches each lane is said to have in flight.
    pub(super) shown_depths: HashMap<Partition, usize>,
    pub(super) carried: JoinSet<Carried>,
    pub(super) settling: JoinSet<(Done, Duration)>,
    in_settle: usize,
    /// When what is ready settles at the latest.
    gathers_until: Option<Instant>,
    /// Whose batches they are.
    pub(super) settling_of: BTreeSet<Partition>,
    /// Resolves when the batch that closed last has drawn its version.
    last_drawn: Option<oneshot::Receiver<()>>,
    waiting_retries: Vec<RetryGroup>,
    /// The question for the ends that is not answered yet, if any.
    pub(super) measuring: JoinSet<lag::Measured>,
    pub(super) at_end: bool,
    /// How often in a row the feed did not say where its partitions end, while nothing came of it.
    silent: u32,
    /// When the feed was last turned to; noted only while batches are traced.
    turned: Option<SystemTime>,
    /// What is replayed beside the feed, and what the feed takes over from it.
    pub(super) replays: Replays,
    backfill: Backfill,
    /// A settle did not commit: what follows it in its lane must not settle either.
    pub(super) cut_off: bool,
    /// Ends the waiting for what is down: cancelled by the stop, and when the run drains for another reason.
    pub(super) give_up: CancellationToken,
}

/// A batch that came back from its processors; none when it was given up because the pillow stops.
type Carried = (Ticket, Option<Box<Processed>>);

/// Everything that can wake a pillow.
enum Event {
    Stop,
    Swap,
    Pause,
    Lag,
    Measured(Result<lag::Measured, JoinError>),
    /// A partition that leaves has had its time, or what is ready has waited for more.
    Overdue,
    /// Partitions were acquired.
    Taken(Result<Vec<Taken>, JoinError>),
    Carried(Result<Carried, JoinError>),
    Settled(Result<(Done, Duration), JoinError>),
    Retry(Vec<Parked>),
    Backfill(Option<Result<Step, JoinError>>),
    Feed(Result<FeedEvent, feed::Error>),
}

impl Runner {
    /// A runner for `pillow`. A swap is a new value of `generations`; a pause is `true` in `paused`; what comes through
    /// `retries` is tried again if its partition is owned here.
    pub fn new(
        pillow: Pillow,
        generations: watch::Receiver<Arc<Generation>>,
        paused: watch::Receiver<bool>,
        retries: mpsc::Receiver<Vec<Parked>>,
    ) -> Self {
        let settler = Settler {
            pillow: pillow.name.clone(),
            checkpoints: Arc::clone(&pillow.checkpoints),
            clock: pillow.clock,
            status: Arc::clone(&pillow.status),
            window: Mutex::new(FailureWindow::new(pillow.tuning.failures)),
            queue_delay: pillow.tuning.queue_delay,
        };
        Self {
            pillow: Arc::new(pillow),
            generations,
            paused,
            retries,
            settler: Arc::new(settler),
            owned: Ownership::new(),
            fixed: true,
            own_permit: Arc::new(Semaphore::new(1)),
            positions: HashMap::new(),
            lanes: Lanes::new(),
            shown_depths: HashMap::new(),
            carried: JoinSet::new(),
            settling: JoinSet::new(),
            in_settle: 0,
            gathers_until: None,
            settling_of: BTreeSet::new(),
            last_drawn: None,
            waiting_retries: Vec::new(),
            measuring: JoinSet::new(),
            at_end: false,
            silent: 0,
            turned: None,
            replays: Replays::default(),
            backfill: Backfill::default(),
            cut_off: false,
            give_up: CancellationToken::new(),
        }
    }

    /// Runs until `stop`, or until it cannot go on. Before it returns, what was in hand is settled or given up.
    pub async fn run(mut self, stop: CancellationToken) -> End {
        self.pillow.status.begin();
        self.give_up = stop.child_token();
        let opened = tokio::select! {
            biased;
            () = stop.cancelled() => return End::Stopped,
            opened = self.open() => opened,
        };
        let mut feed = match opened {
            Ok(feed) => feed,
            Err(end) => return end,
        };
        self.pillow.status.set(if *self.paused.borrow() { State::Paused } else { State::Running });
        let end = self.turn(feed.as_mut(), &stop).await;
        let end = self.drain(end).await;
        // Last: other hosts may have its partitions as soon as it is gone.
        drop(feed);
        end
    }

    /// Acquires the partitions and starts the feed at their checkpoints. May be dropped at any point: what was acquired
    /// by then is acquired again by the next run.
    async fn open(&mut self) -> Result<Box<dyn Feed>, End> {
        let Pillow { source, topics, start, .. } = &*self.pillow;
        let mut feed = source.open(topics, *start).await.map_err(End::Feed)?;
        let partitions = feed.partitions().await.map_err(End::Feed)?;
        self.fixed = !partitions.is_empty();
        self.owned.assign(&partitions);
        let taken = acquire(&self.pillow, &partitions, self.owned.event()).await;
        let from = self.own(taken.map_err(End::Outage)?);
        feed.start(from).await.map_err(End::Feed)?;
        Ok(feed)
    }

    /// Handles one event after the other until the run is over.
    async fn turn(&mut self, feed: &mut dyn Feed, stop: &CancellationToken) -> End {
        let mut lag = interval(lag::EVERY);
        lag.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            match self.next(feed, &mut lag, stop).await {
                Event::Stop => return End::Stopped,
                // What closes from here on is pinned to the new generation: `close` reads the latest.
                Event::Swap => tracing::info!(
                    pillow = %self.pillow.name, generation = ?**self.generations.borrow_and_update(), "swapped"
                ),
                Event::Pause => self.show_pause(),
                Event::Lag => {
                    self.measure(feed);
                    self.owned.take_back(&self.pillow);
                }
                Event::Measured(Ok(measured)) => {
                    if !self.show_lag(feed, measured) {
                        lag.reset_after(lag::SILENT_AGAIN);
                    }
                }
                Event::Overdue => self.settle_ready(),
                Event::Taken(Ok(taken)) => {
                    self.at_end = false;
                    if let Err(error) = self.begin(feed, taken) {
                        return End::Feed(error);
                    }
                }
                Event::Retry(parked) => self.waiting_retries.extend(group(parked)),
                Event::Backfill(None) => self.backfill.take_order(&self.pillow.fetcher, &self.pillow.topics),
                Event::Backfill(Some(Ok(step))) => self.replay(step),
                Event::Carried(Ok((ticket, Some(processed)))) => {
                    self.lanes.finish(&ticket, *processed);
                    self.settle_ready();
                }
                Event::Carried(Ok((_, None))) => {}
                Event::Settled(Ok((done, took))) => {
                    match self.settled(done, took) {
                        Ok(fenced) => {
                            if let Some(end) = self.give_way(feed, fenced) {
                                return end;
                            }
                        }
                        Err(end) => return end,
                    }
                    self.settle_ready();
                }
                Event::Carried(Err(error))
                | Event::Settled(Err(error))
                | Event::Taken(Err(error))
                | Event::Measured(Err(error))
                | Event::Backfill(Some(Err(error))) => {
                    return End::Failed(error.to_string());
                }
                Event::Feed(Ok(FeedEvent::AtEnd)) => self.at_end = true,
                Event::Feed(Ok(FeedEvent::Read(read))) => {
                    self.at_end = false;
                    self.hear();
                    self.close(read);
                }
                Event::Feed(Ok(FeedEvent::Assigned(partitions))) => self.take(partitions),
                Event::Feed(Ok(FeedEvent::Revoked(partitions))) => self.owned.leave(partitions),
                Event::Feed(Ok(FeedEvent::Lost(partitions))) => self.lose(feed, &partitions),
                Event::Feed(Err(error)) => return End::Feed(error),
            }
            self.hand_over(feed);
            self.start_retries();
            self.start_backfill();
            self.pillow.status.set_caught_up(self.at_end && self.is_idle() && !self.backfill.is_active());
        }
    }

    /// Waits for what happens next. Cancel-safe as a whole: every branch is.
    async fn next(&mut self, feed: &mut dyn Feed, lag: &mut Interval, stop: &CancellationToken) -> Event {
        let has_room = self.has_room();
        let reads = has_room && !*self.paused.borrow();
        self.turned = (reads && self.pillow.status.traces().is_on()).then(SystemTime::now);
        let limits = self.pillow.tuning.limits;
        let deadline = self.owned.next_deadline().into_iter().chain(self.gathers_until).min();
        tokio::select! {
            biased;
            () = stop.cancelled() => Event::Stop,
            Some(done) = self.settling.join_next() => Event::Settled(done),
            Some(carried) = self.carried.join_next() => Event::Carried(carried),
            Ok(()) = self.generations.changed() => Event::Swap,
            Ok(()) = self.paused.changed() => Event::Pause,
            Some(parked) = self.retries.recv(), if has_room && self.waiting_retries.is_empty() => Event::Retry(parked),
            _ = lag.tick() => Event::Lag,
            Some(measured) = self.measuring.join_next() => Event::Measured(measured),
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => Event::Overdue,
            Some(taken) = self.owned.next_taken() => Event::Taken(taken),
            step = self.backfill.next() => Event::Backfill(step),
            event = async { if reads { feed.next(limits).await } else { feed.attend().await } } => Event::Feed(event),
        }
    }

    fn has_room(&self) -> bool {
        self.lanes.len() + self.in_settle < self.pillow.tuning.in_flight
    }

    fn is_idle(&self) -> bool {
        self.lanes.len() == 0 && self.settling.is_empty() && self.waiting_retries.is_empty() && self.owned.is_steady()
    }

    fn show_pause(&mut self) {
        let paused = *self.paused.borrow_and_update();
        self.pillow.status.set(if paused { State::Paused } else { State::Running });
    }

    /// Makes a batch of what was read and sends it on its way.
    fn close(&mut self, read: Read) {
        if self.owned.tenure(&read.progress.partition).is_none() {
            // Not ours any more, and the feed does not know it yet, or cannot leave it out.
            return;
        }
        let count = read.entries.len();
        let mut changes = Vec::with_capacity(count);
        let mut undecodable = Vec::new();
        for entry in read.entries {
            match entry {
                Entry::Change(change) => changes.push(Arc::new(change)),
                Entry::Undecodable(entry) => undecodable.push(entry),
            }
        }
        let decoded = changes.len();
        self.pillow.status.count_read(&changes, count);
        let changes = collapse(changes, self.pillow.tuning.collapse);
        self.pillow.status.count(|counts| {
            counts.read += count as u64;
            counts.collapsed += (decoded - changes.len()) as u64;
        });
        self.replays.take_over(&changes);
        let batch = Batch {
            partition: read.progress.partition.clone(),
            home: read.progress.partition.clone(),
            origin: Origin::Feed,
            progress: Some(read.progress),
            changes,
            undecodable,
            read: count,
            version: WriteVersion(0),
            time: self.pillow.clock.now(),
            only: None,
            queued: HashMap::new(),
            only_parts: None,
        };
        let trace = self.turned.and_then(|turned| self.pillow.status.begin_trace(turned));
        self.carry(batch, trace);
    }

    fn carry(&mut self, batch: Batch, trace: Option<Box<BatchTrace>>) {
        let Some(tenure) = self.owned.tenure(&batch.partition) else { return };
        let (era, give_up) = (tenure.era, tenure.give_up.clone());
        let ticket = self.lanes.enter(&batch.partition);
        let (drawn, last_drawn) = oneshot::channel();
        let before = self.last_drawn.replace(last_drawn);
        let carrier = Carrier {
            pillow: Arc::clone(&self.pillow),
            own: Arc::clone(&self.own_permit),
            generation: Arc::clone(&self.generations.borrow()),
            era,
            give_up,
        };
        self.carried.spawn(async move { (ticket, carrier.carry(batch, trace, before, drawn).await) });
    }
}

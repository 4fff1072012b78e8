//! The backfill of a running pillow: reads the stores part by part, beside the feed, and says how far it is.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinError, JoinSet};
use tokio::time::sleep;

use crate::checkpoint::CheckpointStore;
use crate::documents::{DocumentStore, ListError};
use crate::model::{Checkpoint, Epoch, Outage, Partition, Progress, chain};
use crate::replay::{Order, Page, Part, Progressing, Reading, Report, Walk, WalkError};

use super::backoff::Backoff;
use super::fetch::Fetcher;
use super::runner::Pillow;

/// Batches of a backfill between reading and settled: one is worked on while the next is read. More would take the room
/// of what is live.
const MOST_IN_FLIGHT: usize = 2;

/// The backfill of a run.
#[derive(Default)]
pub(super) struct Backfill {
    orders: Option<watch::Receiver<Option<Arc<Order>>>>,
    order: Option<Arc<Order>>,
    /// The parts that are not begun.
    parts: Vec<(u32, Part)>,
    walk: Option<Box<Walk>>,
    /// The lanes that were acquired.
    pub(super) lanes: Vec<(Partition, Epoch)>,
    reading: JoinSet<Step>,
    in_flight: usize,
    /// Documents done with, by part.
    done: BTreeMap<u32, u64>,
    read_all: bool,
}

/// What reading came to.
pub(super) enum Step {
    /// The lane of a part is owned, and the walk through it begins.
    Began(Partition, Epoch, Box<Walk>),
    /// A page of it.
    Page(Page, Box<Walk>),
    /// The part is at its end.
    PartRead,
    /// About so many documents in all.
    Counted(u64),
    /// It cannot be done.
    Failed(String),
}

/// What the runner is to do.
pub(super) enum Todo {
    /// Nothing.
    Nothing,
    /// Own the lane.
    Own(Partition, Epoch),
    /// Process the page.
    Carry(Page, Arc<Order>),
}

impl Backfill {
    pub(super) fn new(mut orders: watch::Receiver<Option<Arc<Order>>>) -> Self {
        orders.mark_changed();
        Self { orders: Some(orders), ..Self::default() }
    }

    /// Whether there is something to do that is not settled.
    pub(super) fn is_active(&self) -> bool {
        self.order.is_some()
    }

    /// Waits for another order, or for what is being read. Cancel-safe. Never ends when there is nothing to wait for.
    pub(super) async fn next(&mut self) -> Option<Result<Step, JoinError>> {
        let orders = &mut self.orders;
        let changed = async move {
            let Some(orders) = orders else { return std::future::pending().await };
            if orders.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = changed => None,
            Some(step) = self.reading.join_next() => Some(step),
        }
    }

    /// Takes the latest order, in place of the one before.
    pub(super) fn take_order(&mut self, fetcher: &Fetcher, topics: &[Arc<str>]) {
        let order = self.orders.as_mut().and_then(|orders| orders.borrow_and_update().clone());
        let same = |one: &Arc<Order>| order.as_ref().is_some_and(|other| Arc::ptr_eq(one, other));
        if self.order.as_ref().is_some_and(same) {
            return;
        }
        self.reading.abort_all();
        self.reading = JoinSet::new();
        (self.walk, self.read_all, self.done, self.in_flight) = (None, false, BTreeMap::new(), 0);
        self.parts = match &order {
            Some(_) => parts(fetcher, topics).into_iter().rev().collect(),
            None => Vec::new(),
        };
        if let Some(order) = &order {
            let stores: Vec<_> = self.parts.iter().map(|(_, part)| Arc::clone(&part.store)).collect();
            let order = Arc::clone(order);
            self.reading.spawn(async move { count(&order, stores).await });
        }
        self.order = order;
    }

    /// Reads on, when nothing is being read and there is room; `owned` are the partitions of the feed.
    pub(super) fn read_on(
        &mut self,
        pillow: &Arc<Pillow>,
        owned: Vec<(Partition, Epoch)>,
        paused: bool,
        most: NonZeroUsize,
    ) {
        let Some(order) = &self.order else { return };
        if !self.reading.is_empty() || self.read_all || self.in_flight >= MOST_IN_FLIGHT {
            return;
        }
        if paused && order.reading == Reading::Feed {
            return;
        }
        let order = Arc::clone(order);
        if let Some(walk) = self.walk.take() {
            self.reading.spawn(async move { read(walk, &order).await });
        } else if let Some((index, part)) = self.parts.pop() {
            let pillow = Arc::clone(pillow);
            self.reading.spawn(async move { begin(&pillow, &order, index, part, owned, most).await });
        } else {
            self.read_all = true;
            self.finish();
        }
    }

    /// Takes note of what reading came to.
    pub(super) fn take(&mut self, step: Step) -> Todo {
        let Some(order) = self.order.clone() else { return Todo::Nothing };
        match step {
            Step::Counted(total) => order.say(|report| report.total = Some(total)),
            Step::Began(partition, epoch, walk) => {
                self.done.insert(partition.number, walk.passed());
                self.say_done(&order);
                self.walk = Some(walk);
                self.lanes.retain(|(lane, _)| *lane != partition);
                self.lanes.push((partition.clone(), epoch));
                return Todo::Own(partition, epoch);
            }
            Step::Page(page, walk) => {
                self.walk = Some(walk);
                return Todo::Carry(page, order);
            }
            Step::PartRead => {}
            Step::Failed(reason) => self.fail(reason),
        }
        Todo::Nothing
    }

    /// The backfill cannot go on.
    pub(super) fn fail(&mut self, reason: String) {
        if let Some(order) = self.order.take() {
            order.say(|report| report.state = Progressing::Failed(reason));
        }
        (self.walk, self.parts, self.in_flight) = (None, Vec::new(), 0);
    }

    /// A batch of it closed.
    pub(super) fn closed(&mut self) {
        self.in_flight += 1;
    }

    /// A batch of it settled.
    pub(super) fn settled(&mut self, lane: &Partition, progress: Option<&Progress>) {
        let of_order = |order: &Arc<Order>| lane.topic == order.partition(0).topic;
        // One of an order that is over counts for nothing.
        let Some(order) = self.order.clone().filter(of_order) else { return };
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(progress) = progress {
            self.done.insert(progress.partition.number, progress.next.as_number());
            self.say_done(&order);
        }
        self.finish();
    }

    fn say_done(&self, order: &Order) {
        let done = self.done.values().sum();
        order.say(|report| *report = Report { done, state: Progressing::Under, ..report.clone() });
    }

    fn finish(&mut self) {
        if self.read_all
            && self.in_flight == 0
            && let Some(order) = self.order.take()
        {
            order.say(|report| report.state = Progressing::Done);
        }
    }
}

/// The stores of a pillow, in an order that a restart does not change.
fn parts(fetcher: &Fetcher, topics: &[Arc<str>]) -> Vec<(u32, Part)> {
    let mut elsewhere: Vec<Arc<str>> = fetcher.by_source.keys().cloned().collect();
    elsewhere.sort();
    let topics = topics.to_vec();
    let part = |source: Option<&Arc<str>>| Part {
        source: source.cloned(),
        store: Arc::clone(source.map_or(&fetcher.default, |source| &fetcher.by_source[source])),
        topics: topics.clone(),
        elsewhere: elsewhere.clone(),
    };
    let needs_default = topics.iter().any(|topic| !elsewhere.contains(topic));
    let sources = elsewhere.iter().map(Some).chain(needs_default.then_some(None));
    (0..).zip(sources.map(part)).collect()
}

async fn count(order: &Order, stores: Vec<Arc<dyn DocumentStore>>) -> Step {
    let mut total = 0;
    for store in stores {
        match store.count().await {
            Ok(count) => total += count,
            Err(ListError::Unable(reason)) => return Step::Failed(reason),
            // An estimate is not worth waiting for.
            Err(ListError::Outage(outage)) => {
                tracing::debug!(number = order.number, error = %chain(&outage), "documents are not counted");
                return Step::Counted(total);
            }
        }
    }
    Step::Counted(total)
}

/// Takes the lane of a part, if everything else of the pillow is ours as well.
async fn begin(
    pillow: &Pillow,
    order: &Order,
    index: u32,
    part: Part,
    owned: Vec<(Partition, Epoch)>,
    most: NonZeroUsize,
) -> Step {
    let partition = order.partition(index);
    let mut backoff = Backoff::new(u64::from(index) + 1);
    loop {
        match acquire(pillow, &partition, &owned).await {
            Ok(Ok((epoch, walk_from))) => {
                let walk = Walk::new(&pillow.name, order, part, partition.clone(), walk_from, most);
                return Step::Began(partition, epoch, Box::new(walk));
            }
            Ok(Err(refusal)) => return Step::Failed(refusal),
            Err(outage) => wait(order, "checkpoint database", &outage, &mut backoff).await,
        }
    }
}

type Taken = (Epoch, Option<Checkpoint>);

async fn acquire(
    pillow: &Pillow,
    lane: &Partition,
    owned: &[(Partition, Epoch)],
) -> Result<Result<Taken, String>, Outage> {
    let store: &dyn CheckpointStore = &*pillow.checkpoints;
    for stored in store.checkpoints(Some(&pillow.name)).await? {
        let partition = &stored.partition;
        let has_patterns = || pillow.topics.iter().any(|topic| topic.contains('*'));
        let of_feed = pillow.topics.contains(&partition.topic) || (has_patterns() && !Order::is_lane(partition));
        if of_feed && !owned.contains(&(partition.clone(), stored.epoch)) {
            return Ok(Err(format!(
                "partition {partition} belongs to another host: a backfill needs one host that has all partitions of the \
                 pillow, so stop the others meanwhile"
            )));
        }
    }
    let acquired = store.acquire(&pillow.name, lane).await?;
    Ok(Ok((acquired.epoch, acquired.checkpoint)))
}

/// The next page; waits while the store is away.
async fn read(mut walk: Box<Walk>, order: &Order) -> Step {
    let mut backoff = Backoff::new(walk.passed() + 1);
    loop {
        match walk.next().await {
            Ok(Some(page)) => return Step::Page(page, walk),
            Ok(None) => return Step::PartRead,
            Err(WalkError::List(ListError::Outage(outage))) => {
                wait(order, "document store", &outage, &mut backoff).await;
            }
            Err(WalkError::List(ListError::Unable(reason)) | WalkError::Topic(reason)) => return Step::Failed(reason),
        }
    }
}

async fn wait(order: &Order, what: &str, outage: &Outage, backoff: &mut Backoff) {
    order.say(|report| report.state = Progressing::Waiting(format!("{what}: {}", chain(outage))));
    sleep(backoff.wait()).await;
}

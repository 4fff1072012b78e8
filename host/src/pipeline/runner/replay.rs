//! What a run replays beside its feed: retries that are due, and a backfill.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::watch;

use super::Runner;
use crate::model::{Batch, Change, Epoch, Origin, Partition, WriteVersion};
use crate::pipeline::backfill::{Backfill, Step, Todo};
use crate::replay::Order;

impl Runner {
    /// Has it do the backfill that stands in `orders`, beside its feed; none ends it.
    #[must_use]
    pub fn with_backfills(self, orders: watch::Receiver<Option<Arc<Order>>>) -> Self {
        Self { backfill: Backfill::new(orders), ..self }
    }

    pub(super) fn start_retries(&mut self) {
        while self.has_room() {
            let Some(retry) = self.waiting_retries.pop() else {
                return;
            };
            // A partition that another host owns is that host's to retry.
            if self.owned.tenure(&retry.partition).is_none() {
                continue;
            }
            let batch = Batch {
                home: retry.partition.clone(),
                origin: Origin::Retry(self.replays.begin(&retry.partition, &retry.changes)),
                partition: retry.partition,
                progress: None,
                read: retry.changes.len(),
                changes: retry.changes,
                undecodable: Vec::new(),
                version: WriteVersion(0),
                time: self.pillow.clock.now(),
                only: Some(retry.processor),
                queued: retry.queued,
                only_parts: None,
            };
            self.carry(batch, None);
        }
    }

    pub(super) fn start_backfill(&mut self) {
        if self.backfill.is_active() && self.has_room() {
            let owned = self.epochs_of_the_feed();
            let (pillow, paused) = (Arc::clone(&self.pillow), *self.paused.borrow());
            self.backfill.read_on(&pillow, owned, paused, self.pillow.tuning.limits.count);
        }
    }

    pub(super) fn epochs_of_the_feed(&self) -> Vec<(Partition, Epoch)> {
        self.owned.of_feed().map(|(partition, epoch)| (partition.clone(), epoch)).collect()
    }

    /// Ends a backfill, which needs every partition of the pillow, because one goes to another host.
    pub(in crate::pipeline) fn end_backfill(&mut self, gone: &Partition) {
        for lane in self.owned.forget_beside() {
            self.lanes.clear(&lane);
            self.replays.forget(&lane);
        }
        if self.backfill.is_active() {
            self.backfill.fail(format!("partition {gone} went to another host: begin again where all of them are"));
        }
    }

    /// Goes on with the backfill: a page becomes one batch for each topic, and the last of them moves the checkpoint.
    pub(super) fn replay(&mut self, step: Step) {
        let (page, order) = match self.backfill.take(step) {
            Todo::Nothing => return,
            Todo::Own(lane, epoch) => {
                self.owned.own_beside(lane, epoch, &self.give_up);
                return;
            }
            Todo::Carry(page, order) => (page, order),
        };
        let mut by_topic: BTreeMap<Arc<str>, Vec<Arc<Change>>> = BTreeMap::new();
        for stub in page.stubs {
            by_topic.entry(stub.topic).or_default().push(stub.change);
        }
        if by_topic.is_empty() {
            by_topic.insert(Arc::clone(&self.pillow.topics[0]), Vec::new());
        }
        let last = by_topic.len() - 1;
        for (at, (topic, changes)) in by_topic.into_iter().enumerate() {
            // A topic without partitions has no changes either; its documents are then at home in the lane itself.
            let home =
                self.owned.of_feed().map(|(partition, _)| partition).filter(|partition| partition.topic == topic);
            let home = home.min().cloned();
            let batch = Batch {
                partition: page.progress.partition.clone(),
                home: home.unwrap_or_else(|| page.progress.partition.clone()),
                origin: Origin::Backfill(self.replays.begin(&page.progress.partition, &changes)),
                progress: (at == last).then(|| page.progress.clone()),
                read: changes.len(),
                changes,
                undecodable: Vec::new(),
                version: WriteVersion(0),
                time: self.pillow.clock.now(),
                only: order.processor.clone(),
                queued: HashMap::new(),
                only_parts: order.parts.clone(),
            };
            self.backfill.closed();
            self.carry(batch, None);
        }
    }
}

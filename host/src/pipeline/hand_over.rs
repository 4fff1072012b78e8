//! What a run does when partitions come and go: begins with those that it got, lets what is in hand of a revoked one
//! settle before it is given back, and drops everything of one that another owner has.

use crate::checkpoint::SettleError;
use crate::feed::{Error, Feed, From};
use crate::model::{Epoch, Partition};

use super::ownership::Taken;
use super::runner::{End, Runner};
use super::status::Need;

impl Runner {
    /// Begins to take over what the feed says to be this run's.
    pub(super) fn take(&mut self, partitions: Vec<Partition>) {
        tracing::info!(pillow = %self.pillow.name, partitions = names(&partitions), "partitions assigned");
        self.at_end = false;
        self.owned.assign(&partitions);
        self.owned.take(&self.pillow, partitions, self.give_up.clone());
    }

    /// Has the feed read what was acquired.
    ///
    /// # Errors
    /// When the feed cannot read further partitions.
    pub(super) fn begin(&mut self, feed: &mut dyn Feed, taken: Vec<Taken>) -> Result<(), Error> {
        self.pillow.status.has(Need::Database);
        let from = self.own(taken);
        if from.is_empty() { Ok(()) } else { feed.add(from) }
    }

    /// Owns what was acquired; says where to begin.
    pub(super) fn own(&mut self, taken: Vec<Taken>) -> Vec<From> {
        let from = self.owned.own(taken, &self.give_up);
        for From { partition, checkpoint } in &from {
            self.pillow.status.own(partition);
            if let Some(checkpoint) = checkpoint {
                self.positions.insert(partition.clone(), checkpoint.position.clone());
                self.pillow.status.set_settled(partition, &checkpoint.position);
            }
        }
        from
    }

    /// Gives those back of which nothing is in hand any more, or that have had their time.
    pub(super) fn hand_over(&mut self, feed: &mut dyn Feed) {
        let mut done = Vec::new();
        for partition in self.owned.leaving() {
            let in_hand = self.lanes.depth(&partition) > 0
                || self.settling_of.contains(&partition)
                || self.owned.is_being_taken(&partition);
            let overdue = self.owned.is_overdue(&partition);
            if in_hand && overdue {
                tracing::warn!(pillow = %self.pillow.name, %partition, "given back before all was settled");
            }
            if !in_hand || overdue {
                self.drop_lane(&partition);
                self.owned.forget(&partition);
                done.push(partition);
            }
        }
        if !done.is_empty() {
            tracing::info!(pillow = %self.pillow.name, partitions = names(&done), "partitions given back");
            feed.release(&done);
        }
    }

    /// Drops everything of partitions that are gone.
    pub(super) fn lose(&mut self, feed: &mut dyn Feed, partitions: &[Partition]) {
        tracing::warn!(pillow = %self.pillow.name, partitions = names(partitions), "partitions lost");
        for partition in partitions {
            self.drop_lane(partition);
            self.owned.forget(partition);
        }
        feed.release(partitions);
    }

    /// Drops everything of partitions that another owner took; the others go on. The end of the run when nothing is
    /// left of a feed that will not give it more.
    pub(super) fn give_way(&mut self, feed: &mut dyn Feed, fenced: Vec<(Partition, Epoch)>) -> Option<End> {
        let last = fenced.last().cloned();
        for (partition, epoch) in fenced {
            tracing::warn!(pillow = %self.pillow.name, %partition, ?epoch, "another owner has the partition");
            if self.fence(&partition, epoch) {
                feed.release(&[partition]);
            }
        }
        let (partition, epoch) = last.filter(|_| self.fixed && self.owned.lost_all())?;
        Some(End::Lost(SettleError::Fenced { partition, epoch }))
    }

    /// Drops everything of a partition that another owner took; false when that was known.
    pub(super) fn fence(&mut self, partition: &Partition, epoch: Epoch) -> bool {
        let was_owned = self.owned.fence(partition, epoch);
        if was_owned {
            self.drop_lane(partition);
        }
        was_owned
    }

    fn drop_lane(&mut self, partition: &Partition) {
        self.lanes.clear(partition);
        self.replays.forget(partition);
        self.positions.remove(partition);
        self.shown_depths.remove(partition);
        self.pillow.status.disown(partition);
        self.end_backfill(partition);
    }
}

fn names(partitions: &[Partition]) -> String {
    let names: Vec<String> = partitions.iter().map(ToString::to_string).collect();
    names.join(" ")
}

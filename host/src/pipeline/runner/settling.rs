//! What a run settles: the batches that are ready, one group after the other, and what it notes when one is committed.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::{End, Runner};
use crate::model::{Batch, Epoch, Failure, Origin, Partition};
use crate::pipeline::process::Processed;
use crate::pipeline::settle::{Done, Group};

impl Runner {
    /// Starts the next settle when none is under way; what finished meanwhile settles together.
    pub(in crate::pipeline) fn settle_ready(&mut self) {
        if !self.settling.is_empty() || self.cut_off || self.gathers() {
            return;
        }
        self.gathers_until = None;
        let mut batches = self.lanes.take_ready();
        if batches.is_empty() {
            return;
        }
        let mut owned: Vec<(Partition, Epoch)> = Vec::new();
        for processed in &mut batches {
            match processed.batch.origin {
                Origin::Feed => {}
                Origin::Retry(number) => processed.leave(&self.replays.settle(number)),
                Origin::Backfill(number) => {
                    processed.leave(&self.replays.settle(number));
                    // Its documents may be of any partition: nobody else may have one of them.
                    owned = self.epochs_of_the_feed();
                }
            }
        }
        for processed in &batches {
            let partition = &processed.batch.partition;
            if owned.iter().all(|(known, _)| known != partition) {
                // A lane is cleared when its partition is not owned any more.
                let epoch = self.owned.epoch(partition).expect("what is in a lane is of an owned partition");
                owned.push((partition.clone(), epoch));
            }
        }
        self.in_settle = batches.len();
        self.settling_of = owned.iter().map(|(partition, _)| partition.clone()).collect();
        let (settler, give_up) = (Arc::clone(&self.settler), self.give_up.clone());
        let started = Instant::now();
        self.settling.spawn(async move {
            let done = settler.settle(Group { batches, owned }, &give_up).await;
            (done, started.elapsed())
        });
    }

    /// Whether it is worth waiting for more to settle with what is ready: a settle costs much the same for one change as
    /// for hundreds.
    fn gathers(&mut self) -> bool {
        let ready: usize = self.lanes.ready().map(|processed| processed.batch.read).sum();
        if ready == 0 || ready >= self.pillow.tuning.limits.count.get() || self.carried.is_empty() {
            return false;
        }
        let now = Instant::now();
        now < *self.gathers_until.get_or_insert(now + self.pillow.tuning.gathering)
    }

    /// Takes note of a settle; says which partitions another owner took meanwhile.
    ///
    /// # Errors
    /// The end of the run when it did not commit.
    pub(in crate::pipeline) fn settled(&mut self, done: Done, took: Duration) -> Result<Vec<(Partition, Epoch)>, End> {
        self.in_settle = 0;
        self.settling_of.clear();
        let (mut batches, failures, settled, fenced) = match done {
            Done::Settled { batches, failures, settled, fenced } => (batches, failures, settled, fenced),
            Done::Halted(causes) => return Err(self.cut_off(End::Halted(causes))),
            Done::Refused(refusal) => return Err(self.cut_off(End::Lost(refusal))),
            Done::Unknown(reason) => return Err(self.cut_off(End::Failed(reason))),
            Done::Abandoned => return Err(self.cut_off(End::Stopped)),
        };
        for failure in &failures {
            tracing::warn!(
                pillow = %self.pillow.name, document = %failure.id.document, kind = %failure.kind,
                processor = failure.id.processor.as_ref().map_or("", |name| name.as_str()),
                reason = failure.message, "parked"
            );
        }
        let now = self.pillow.clock.now();
        for processed in &batches {
            self.move_on(&processed.batch);
            if let Some(delay) = delay(&processed.batch, now) {
                self.pillow.status.set_delay(delay);
            }
        }
        self.show_depths();
        self.pillow.status.count_settled(&batches, &failures, took, now);
        self.pillow.status.finish_traces(&mut batches);
        if !batches.is_empty() {
            self.count(&batches, &failures, settled.rows);
        }
        Ok(fenced)
    }

    /// Lets nothing settle any more.
    fn cut_off(&mut self, end: End) -> End {
        self.cut_off = true;
        end
    }

    /// A batch is committed: its progress is where the run is now.
    fn move_on(&mut self, batch: &Batch) {
        if let Origin::Backfill(_) = batch.origin {
            self.backfill.settled(&batch.partition, batch.progress.as_ref());
        } else if let Some(progress) = &batch.progress
            && self.owned.epoch(&progress.partition).is_some()
        {
            self.positions.insert(progress.partition.clone(), progress.next.clone());
            self.pillow.status.set_settled(&progress.partition, &progress.next);
        }
    }

    fn show_depths(&mut self) {
        for (partition, depth) in self.lanes.depths() {
            // Most of many partitions have as many as before.
            let is_shown = self.shown_depths.get(partition) == Some(&depth);
            if !is_shown && self.owned.is_of_feed(partition) {
                self.pillow.status.set_in_flight(partition, depth);
                self.shown_depths.insert(partition.clone(), depth);
            }
        }
    }

    /// `rows` is how many were committed with the settle.
    fn count(&self, batches: &[Processed], failures: &[Failure], rows: u64) {
        self.pillow.status.count(|counts| {
            counts.settles += 1;
            counts.parked += failures.len() as u64;
            counts.written += rows;
            for processed in batches {
                counts.batches += 1;
                counts.fetched += processed.present as u64;
                counts.skipped += processed.tallies.iter().map(|tally| tally.skipped).sum::<u64>();
                counts.written += processed.sent as u64;
                let entries = processed.batch.read as u64;
                match processed.batch.origin {
                    Origin::Feed => counts.settled += entries,
                    Origin::Retry(_) => counts.retried += entries,
                    // Its own report counts it.
                    Origin::Backfill(_) => {}
                }
            }
        });
    }
}

/// From publishing to now, of the batch's last change.
fn delay(batch: &Batch, now: Timestamp) -> Option<i64> {
    let last = batch.changes.last()?;
    Some(now.duration_since(last.published_at?).as_millis().try_into().unwrap_or(i64::MAX))
}

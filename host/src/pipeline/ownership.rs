//! Which partitions a run owns: takes them over, gives them back when what is in hand has settled, and lets go at once
//! of those that another owner took.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::checkpoint::HEARTBEAT_LIFETIME;
use crate::feed::From;
use crate::model::{Epoch, Era, Outage, Partition, WriteVersion, chain};

use super::backoff::Backoff;
use super::runner::Pillow;
use super::status::Need;

/// How long a partition that goes to another host may take to settle what is in hand. Beyond it that is given up, and
/// the other host does it again.
pub(super) const HAND_OVER_LIMIT: Duration = Duration::from_secs(10);

/// A partition as long as it is owned.
pub(super) struct Tenure {
    pub(super) epoch: Epoch,
    pub(super) era: Era,
    /// Ends the waiting of its batches for what is down.
    pub(super) give_up: CancellationToken,
}

/// What a run owns.
pub(super) struct Ownership {
    held: HashMap<Partition, Tenure>,
    /// Those of them that are no partitions of the feed: the lanes of a backfill.
    beside: BTreeSet<Partition>,
    /// The feed's partitions that are to be this run's, each with the number of the event that said so.
    assigned: HashMap<Partition, u64>,
    events: u64,
    /// To be given back when nothing of them is in hand, or at this time.
    leaving: BTreeMap<Partition, Instant>,
    /// Another owner took these, although the feed says that they are ours; since when.
    fenced: BTreeMap<Partition, Instant>,
    taking: JoinSet<Vec<Taken>>,
    /// The partitions that are being taken over.
    in_taking: BTreeSet<Partition>,
}

/// A partition that was acquired.
pub(super) struct Taken {
    from: From,
    epoch: Epoch,
    era: Era,
    /// The assignment that it was acquired for.
    event: u64,
}

impl Ownership {
    pub(super) fn new() -> Self {
        Self {
            held: HashMap::new(),
            beside: BTreeSet::new(),
            assigned: HashMap::new(),
            events: 0,
            leaving: BTreeMap::new(),
            fenced: BTreeMap::new(),
            taking: JoinSet::new(),
            in_taking: BTreeSet::new(),
        }
    }

    /// The tenure of a partition from which something may begin; none of one that leaves.
    pub(super) fn tenure(&self, partition: &Partition) -> Option<&Tenure> {
        self.held.get(partition).filter(|_| !self.leaving.contains_key(partition))
    }

    /// The epoch under which what is in hand may settle.
    pub(super) fn epoch(&self, partition: &Partition) -> Option<Epoch> {
        self.held.get(partition).map(|tenure| tenure.epoch)
    }

    /// What is owned of the feed, with the epochs.
    pub(super) fn of_feed(&self) -> impl Iterator<Item = (&Partition, Epoch)> {
        let of_feed = self.held.iter().filter(|(partition, _)| !self.beside.contains(*partition));
        of_feed.map(|(partition, tenure)| (partition, tenure.epoch))
    }

    /// Whether this is an owned partition of the feed.
    pub(super) fn is_of_feed(&self, partition: &Partition) -> bool {
        self.held.contains_key(partition) && !self.beside.contains(partition)
    }

    /// Owns a lane beside the feed.
    pub(super) fn own_beside(&mut self, lane: Partition, epoch: Epoch, give_up: &CancellationToken) {
        let tenure = Tenure { epoch, era: Era::new(epoch, WriteVersion(0)), give_up: give_up.child_token() };
        self.held.insert(lane.clone(), tenure);
        self.beside.insert(lane);
    }

    /// Owns no lane beside the feed any more; says which they were.
    pub(super) fn forget_beside(&mut self) -> BTreeSet<Partition> {
        let lanes = std::mem::take(&mut self.beside);
        lanes.iter().for_each(|lane| self.forget(lane));
        lanes
    }

    /// Whether nothing comes or goes.
    pub(super) fn is_steady(&self) -> bool {
        self.taking.is_empty() && self.leaving.is_empty()
    }

    /// Whether nothing is left but what others took.
    pub(super) fn lost_all(&self) -> bool {
        self.of_feed().next().is_none() && self.taking.is_empty() && !self.fenced.is_empty()
    }

    /// The partitions that leave.
    pub(super) fn leaving(&self) -> Vec<Partition> {
        self.leaving.keys().cloned().collect()
    }

    /// When the next partition that leaves has had its time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.leaving.values().min().copied()
    }

    /// Whether this partition has had its time.
    pub(super) fn is_overdue(&self, partition: &Partition) -> bool {
        self.leaving.get(partition).is_some_and(|deadline| *deadline <= Instant::now())
    }

    /// Whether this partition is being acquired.
    pub(super) fn is_being_taken(&self, partition: &Partition) -> bool {
        self.in_taking.contains(partition)
    }

    /// The number of the latest assignment.
    pub(super) fn event(&self) -> u64 {
        self.events
    }

    /// Notes that the feed gives these to this run.
    pub(super) fn assign(&mut self, partitions: &[Partition]) {
        self.events += 1;
        for partition in partitions {
            self.assigned.insert(partition.clone(), self.events);
            self.fenced.remove(partition);
        }
    }

    /// Begins to take over what was assigned; waits for a database that is down.
    pub(super) fn take(&mut self, pillow: &Arc<Pillow>, partitions: Vec<Partition>, give_up: CancellationToken) {
        self.in_taking.extend(partitions.iter().cloned());
        let event = self.events;
        let pillow = Arc::clone(pillow);
        self.taking.spawn(async move {
            let mut backoff = Backoff::new(partitions.len() as u64 + 1);
            loop {
                let outage = match acquire(&pillow, &partitions, event).await {
                    Ok(taken) => return taken,
                    Err(outage) => outage,
                };
                pillow.status.waits(Need::Database, &chain(&outage));
                tokio::select! {
                    () = give_up.cancelled() => return Vec::new(),
                    () = tokio::time::sleep(backoff.wait()) => {}
                }
            }
        });
    }

    /// Waits for partitions that were acquired; none when there is nothing to wait for. Cancel-safe.
    pub(super) async fn next_taken(&mut self) -> Option<Result<Vec<Taken>, JoinError>> {
        let taken = self.taking.join_next().await?;
        if self.taking.is_empty() {
            self.in_taking.clear();
        }
        for taken in taken.iter().flatten() {
            self.in_taking.remove(&taken.from.partition);
        }
        Some(taken)
    }

    /// Owns what was acquired, as far as it is still to be this run's; says where to begin.
    pub(super) fn own(&mut self, taken: Vec<Taken>, give_up: &CancellationToken) -> Vec<From> {
        let mut from = Vec::with_capacity(taken.len());
        for taken in taken {
            let partition = &taken.from.partition;
            if self.assigned.get(partition) != Some(&taken.event) || self.leaving.contains_key(partition) {
                continue;
            }
            let tenure = Tenure { epoch: taken.epoch, era: taken.era, give_up: give_up.child_token() };
            self.fenced.remove(partition);
            self.held.insert(partition.clone(), tenure);
            from.push(taken.from);
        }
        from
    }

    /// Notes that these are to be given back, in good time.
    pub(super) fn leave(&mut self, partitions: Vec<Partition>) {
        let deadline = Instant::now() + HAND_OVER_LIMIT;
        for partition in partitions {
            self.fenced.remove(&partition);
            self.leaving.insert(partition, deadline);
        }
    }

    /// Owns a partition no more; what waits for something is given up.
    pub(super) fn forget(&mut self, partition: &Partition) {
        if let Some(tenure) = self.held.remove(partition) {
            tenure.give_up.cancel();
        }
        self.leaving.remove(partition);
        self.fenced.remove(partition);
        self.assigned.remove(partition);
    }

    /// Owns a partition no more, although the feed says so. False when it was not owned under this epoch any more.
    pub(super) fn fence(&mut self, partition: &Partition, epoch: Epoch) -> bool {
        if self.epoch(partition) != Some(epoch) {
            return false;
        }
        if let Some(tenure) = self.held.remove(partition) {
            tenure.give_up.cancel();
        }
        if !self.leaving.contains_key(partition) && !self.beside.remove(partition) {
            self.fenced.insert(partition.clone(), Instant::now());
        }
        true
    }

    /// Takes those back that were lost to another owner and that no host says to have: it went, or never was.
    pub(super) fn take_back(&mut self, pillow: &Arc<Pillow>) {
        // An owner has this long to say for the first time that it is there.
        let lost = |since: &Instant| since.elapsed() > HEARTBEAT_LIFETIME;
        let candidates = self.fenced.iter().filter(|(partition, since)| {
            lost(since) && !self.in_taking.contains(*partition) && self.assigned.contains_key(*partition)
        });
        let candidates: Vec<(Partition, u64)> =
            candidates.map(|(partition, _)| (partition.clone(), self.assigned[partition])).collect();
        if candidates.is_empty() {
            return;
        }
        self.in_taking.extend(candidates.iter().map(|(partition, _)| partition.clone()));
        let pillow = Arc::clone(pillow);
        self.taking.spawn(async move {
            match take_free(&pillow, candidates).await {
                Ok(taken) => taken,
                Err(outage) => {
                    tracing::debug!(pillow = %pillow.name, error = %chain(&outage), "who has them is not known");
                    Vec::new()
                }
            }
        });
    }

    /// Ends what is under way.
    pub(super) async fn shut_down(&mut self) {
        self.taking.shutdown().await;
    }
}

/// Takes partitions over, and says where each goes on.
///
/// # Errors
/// When the database does not answer; those that were acquired by then are acquired again by the next try.
pub(super) async fn acquire(pillow: &Pillow, partitions: &[Partition], event: u64) -> Result<Vec<Taken>, Outage> {
    let mut acquired = Vec::with_capacity(partitions.len());
    for partition in partitions {
        acquired.push((partition.clone(), pillow.checkpoints.acquire(&pillow.name, partition).await?));
    }
    // After all were acquired: nothing that was written under an earlier epoch is newer than this.
    let drawn = match pillow.fetcher.has_versions_by_position() && !acquired.is_empty() {
        true => pillow.checkpoints.draw_version().await?,
        false => WriteVersion(0),
    };
    let taken = acquired.into_iter().map(|(partition, acquired)| Taken {
        from: From { partition, checkpoint: acquired.checkpoint },
        epoch: acquired.epoch,
        era: Era::new(acquired.epoch, drawn),
        event,
    });
    Ok(taken.collect())
}

/// Takes those over that no host of the pillow names among its own.
async fn take_free(pillow: &Pillow, candidates: Vec<(Partition, u64)>) -> Result<Vec<Taken>, Outage> {
    let now = pillow.clock.now();
    let mut taken = Vec::new();
    let beats = pillow.checkpoints.heartbeats().await?;
    for (partition, event) in candidates {
        let is_named = beats.iter().any(|beat| {
            beat.pillow == pillow.name
                && now.duration_since(beat.at).unsigned_abs() < HEARTBEAT_LIFETIME
                && beat.status["lanes"].get(partition.to_string()).is_some()
        });
        if !is_named {
            taken.extend(acquire(pillow, std::slice::from_ref(&partition), event).await?);
        }
    }
    Ok(taken)
}

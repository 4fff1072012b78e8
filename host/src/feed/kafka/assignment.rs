//! Whose partitions are whose: a fixed share that is dealt out anew when the topics change, or what a group gives.

use std::collections::{BTreeSet, VecDeque};

use rdkafka::error::KafkaResult;

use super::client::{Consumer, Rebalance, assign, unassign};
use crate::feed::{Event, Share};
use crate::model::Partition;

/// How the hosts of a pillow share its partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Assignment {
    /// Each host has a number and reads its share of the partitions.
    Static(Share),
    /// Kafka deals them out among the members of the group with this id.
    Group(String),
}

/// What this feed has, and what it owes an answer.
#[derive(Debug)]
pub(super) struct Assigned {
    kind: Assignment,
    /// This host's partitions, by the share or by the group.
    held: BTreeSet<Partition>,
    /// What librdkafka was told to read.
    reading: BTreeSet<Partition>,
    /// What the group gave and is not begun yet.
    offered: Option<Vec<Partition>>,
    /// What the group wants back, and what of it is still in hand.
    revoked: Option<(Vec<Partition>, BTreeSet<Partition>)>,
    /// Whether the group ever gave anything, be it nothing.
    joined: bool,
    news: VecDeque<Event>,
}

impl Assigned {
    pub(super) fn new(kind: Assignment) -> Self {
        let joined = matches!(kind, Assignment::Static(_));
        Self {
            kind,
            held: BTreeSet::new(),
            reading: BTreeSet::new(),
            offered: None,
            revoked: None,
            joined,
            news: VecDeque::new(),
        }
    }

    /// Whether a group decides.
    pub(super) fn is_group(&self) -> bool {
        matches!(self.kind, Assignment::Group(_))
    }

    /// The partitions that are this host's from the start.
    pub(super) fn begin(&mut self, all: impl Iterator<Item = Partition>) -> Vec<Partition> {
        let Assignment::Static(share) = &self.kind else { return Vec::new() };
        let own = share.of(all);
        self.held = own.iter().cloned().collect();
        own
    }

    /// Deals out anew what there is now, where nobody else does.
    pub(super) fn deal(&mut self, all: impl Iterator<Item = Partition>) {
        let Assignment::Static(share) = &self.kind else { return };
        let own: BTreeSet<Partition> = share.of(all).into_iter().collect();
        let gone: Vec<Partition> = self.held.difference(&own).cloned().collect();
        let new: Vec<Partition> = own.difference(&self.held).cloned().collect();
        self.held = own;
        if !gone.is_empty() {
            self.news.push_back(Event::Revoked(gone));
        }
        if !new.is_empty() {
            self.news.push_back(Event::Assigned(new));
        }
    }

    /// Takes note of what the group wants.
    pub(super) fn rebalance(&mut self, client: &Consumer, rebalance: Rebalance) -> KafkaResult<()> {
        match rebalance {
            Rebalance::Assign(partitions) if partitions.is_empty() => {
                self.joined = true;
                assign(client, &[])?;
            }
            Rebalance::Assign(partitions) => {
                self.joined = true;
                self.offered = Some(partitions.clone());
                self.held.extend(partitions.iter().cloned());
                self.news.push_back(Event::Assigned(partitions));
            }
            Rebalance::Revoke(partitions) if partitions.is_empty() => unassign(client, &[])?,
            Rebalance::Revoke(partitions) => {
                self.revoked = Some((partitions.clone(), partitions.iter().cloned().collect()));
                self.news.push_back(Event::Revoked(partitions));
            }
            Rebalance::Lost(partitions) => {
                self.joined = false;
                self.offered = None;
                self.revoked = None;
                self.held.retain(|partition| !partitions.contains(partition));
                self.stop_reading(client, &partitions)?;
                self.news.push_back(Event::Lost(partitions));
            }
        }
        Ok(())
    }

    /// What is to be said.
    pub(super) fn news(&mut self) -> Option<Event> {
        self.news.pop_front()
    }

    /// Whether this partition is this host's.
    pub(super) fn is_held(&self, partition: &Partition) -> bool {
        self.held.contains(partition)
    }

    /// Takes note that reading of these begins at these offsets, and has librdkafka do it.
    pub(super) fn started(&mut self, client: &Consumer, from: &[(Partition, u64)]) -> KafkaResult<()> {
        let partitions: Vec<Partition> = from.iter().map(|(partition, _)| partition.clone()).collect();
        // Whatever the group gave is answered by this; what is missing of it was lost meanwhile.
        if self.offered.take().is_none() && self.is_group() {
            // Taken back from another owner: librdkafka has been reading on, from where nobody looked.
            self.stop_reading(client, &partitions)?;
        }
        self.reading.extend(partitions);
        assign(client, from)
    }

    /// Takes note that nothing of these is in hand any more; the group is answered when that holds for all it wants.
    pub(super) fn released(&mut self, client: &Consumer, partitions: &[Partition]) -> KafkaResult<()> {
        if !self.is_group() {
            return self.stop_reading(client, partitions);
        }
        let Some((all, in_hand)) = &mut self.revoked else { return Ok(()) };
        in_hand.retain(|partition| !partitions.contains(partition));
        if !in_hand.is_empty() {
            return Ok(());
        }
        let all = std::mem::take(all);
        self.revoked = None;
        self.held.retain(|partition| !all.contains(partition));
        self.stop_reading(client, &all)
    }

    /// Whether nothing is on its way.
    pub(super) fn is_steady(&self) -> bool {
        self.joined && self.offered.is_none() && self.revoked.is_none() && self.news.is_empty()
    }

    /// Has librdkafka read no more of these; of those that it reads, because it refuses a whole list for one that it does
    /// not, and a refused list answers nothing.
    fn stop_reading(&mut self, client: &Consumer, partitions: &[Partition]) -> KafkaResult<()> {
        let stopped = partitions.iter().filter(|partition| self.reading.remove(*partition));
        unassign(client, &stopped.cloned().collect::<Vec<_>>())
    }
}

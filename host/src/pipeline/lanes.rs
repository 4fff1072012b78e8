//! The order of settling: batches of a lane finish in any order and leave in the order in which they closed.

use std::collections::{BTreeMap, VecDeque};

use crate::model::Partition;

/// A batch's place in its lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ticket {
    partition: Partition,
    number: u64,
}

/// Batches in flight, lane by lane.
#[derive(Debug)]
pub(super) struct Lanes<T> {
    lanes: BTreeMap<Partition, Lane<T>>,
}

#[derive(Debug)]
struct Lane<T> {
    /// The number of the batch at the front.
    first: u64,
    /// One place per batch in flight; filled when it finished.
    places: VecDeque<Option<T>>,
}

impl<T> Lanes<T> {
    pub(super) fn new() -> Self {
        Self { lanes: BTreeMap::new() }
    }

    /// Takes the next place of the lane.
    pub(super) fn enter(&mut self, partition: &Partition) -> Ticket {
        let lane = self.lanes.entry(partition.clone()).or_insert_with(|| Lane { first: 0, places: VecDeque::new() });
        lane.places.push_back(None);
        Ticket { partition: partition.clone(), number: lane.first + lane.places.len() as u64 - 1 }
    }

    /// Fills a place. Nothing happens when the lane was cleared since.
    pub(super) fn finish(&mut self, ticket: &Ticket, done: T) {
        let lane = self.lanes.get_mut(&ticket.partition).expect("a ticket names the lane that gave it");
        let Some(place) = ticket.number.checked_sub(lane.first) else { return };
        lane.places[usize::try_from(place).expect("lanes are short")] = Some(done);
    }

    /// Gives up all places of a lane; those that are yet to be filled are forgotten.
    pub(super) fn clear(&mut self, partition: &Partition) {
        if let Some(lane) = self.lanes.get_mut(partition) {
            lane.first += lane.places.len() as u64;
            lane.places.clear();
        }
    }

    /// How many batches of one lane are in flight or wait for an earlier one.
    pub(super) fn depth(&self, partition: &Partition) -> usize {
        self.lanes.get(partition).map_or(0, |lane| lane.places.len())
    }

    /// What may settle now.
    pub(super) fn ready(&self) -> impl Iterator<Item = &T> {
        self.lanes.values().flat_map(|lane| lane.places.iter().map_while(Option::as_ref))
    }

    /// Takes out what may settle now: of each lane the finished batches from its front on, in order.
    pub(super) fn take_ready(&mut self) -> Vec<T> {
        let mut ready = Vec::new();
        for lane in self.lanes.values_mut() {
            while matches!(lane.places.front(), Some(Some(_))) {
                ready.extend(lane.places.pop_front().flatten());
                lane.first += 1;
            }
        }
        ready
    }

    /// How many batches are in flight or wait for an earlier one.
    pub(super) fn len(&self) -> usize {
        self.lanes.values().map(|lane| lane.places.len()).sum()
    }

    /// Batches in flight, per lane that has any.
    pub(super) fn depths(&self) -> impl Iterator<Item = (&Partition, usize)> {
        self.lanes.iter().map(|(partition, lane)| (partition, lane.places.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lane_settles_in_the_order_in_which_its_batches_closed() {
        let (one, two) = (Partition::new("t", 0), Partition::new("t", 1));
        let mut lanes = Lanes::new();
        let tickets: Vec<Ticket> = [&one, &one, &two, &one].iter().map(|lane| lanes.enter(lane)).collect();
        lanes.finish(&tickets[1], "one/1");
        assert!(lanes.take_ready().is_empty());
        lanes.finish(&tickets[2], "two/0");
        assert_eq!(lanes.take_ready(), ["two/0"]);
        lanes.finish(&tickets[0], "one/0");
        assert_eq!(lanes.ready().collect::<Vec<_>>(), [&"one/0", &"one/1"]);
        assert_eq!(lanes.take_ready(), ["one/0", "one/1"]);
        lanes.finish(&tickets[3], "one/2");
        assert_eq!(lanes.take_ready(), ["one/2"]);
        assert_eq!(lanes.len(), 0);
        let later = lanes.enter(&one);
        lanes.finish(&later, "one/3");
        assert_eq!(lanes.take_ready(), ["one/3"]);
    }

    #[test]
    fn what_a_cleared_lane_had_in_flight_never_settles() {
        let lane = Partition::new("t", 0);
        let mut lanes = Lanes::new();
        let before = [lanes.enter(&lane), lanes.enter(&lane)];
        lanes.finish(&before[0], "before");
        lanes.clear(&lane);
        let after = lanes.enter(&lane);
        lanes.finish(&before[1], "too late");
        assert!(lanes.take_ready().is_empty());
        lanes.finish(&after, "after");
        assert_eq!(lanes.take_ready(), ["after"]);
    }

    proptest! {
        #[test]
        fn whatever_the_order_of_finishing_each_lane_settles_in_the_order_of_entering(
            // (lane, how long it takes), in the order of entering
            batches in prop::collection::vec((0_u32..4, any::<u16>()), 0..60),
            enters_before_finish in prop::collection::vec(any::<bool>(), 120),
        ) {
            let mut lanes = Lanes::new();
            let mut waiting = batches.iter().enumerate();
            let mut open: Vec<(u16, Ticket, (u32, usize))> = Vec::new();
            let mut settled: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            let mut finished = 0;
            for enters in enters_before_finish.into_iter().chain(std::iter::repeat(true)) {
                let entering = if enters || open.is_empty() { waiting.next() } else { None };
                if let Some((number, (lane, takes))) = entering {
                    open.push((*takes, lanes.enter(&Partition::new("t", *lane)), (*lane, number)));
                } else if let Some(quickest) = (0..open.len()).min_by_key(|at| open[*at].0) {
                    let (_, ticket, batch) = open.swap_remove(quickest);
                    lanes.finish(&ticket, batch);
                    finished += 1;
                } else {
                    break;
                }
                for (lane, number) in lanes.take_ready() {
                    settled.entry(lane).or_default().push(number);
                }
                let out: usize = settled.values().map(Vec::len).sum();
                prop_assert_eq!(lanes.len(), open.len() + finished - out, "every batch is in one place");
            }
            prop_assert_eq!(lanes.len(), 0);
            for lane in 0..4 {
                let entered: Vec<usize> =
                    batches.iter().enumerate().filter(|(_, batch)| batch.0 == lane).map(|(number, _)| number).collect();
                prop_assert_eq!(settled.remove(&lane).unwrap_or_default(), entered);
            }
        }
    }
}

//! Several feeds share topics, as the hosts of a pillow do.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use pillowtop::feed::kafka::{Assignment, KafkaSource};
use pillowtop::feed::{Event, Feed, From, Share, Source as _, Start};
use pillowtop::model::{Checkpoint, Entry, Partition, Position};
use tokio::time::{Instant, sleep, timeout};

use crate::broker::{Broker, LIMIT};
use crate::reading::{ALL, Checkpoints, stub};
use crate::source;

/// Nobody has to wait longer for anything here.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host: what it is told to read, and what it read. It settles at once.
struct Host {
    feed: Box<dyn Feed>,
    owned: BTreeSet<Partition>,
    /// What it is to give back and has not yet.
    revoked: Vec<Partition>,
}

/// What all hosts settled.
#[derive(Default)]
struct Settled {
    checkpoints: Checkpoints,
    seen: BTreeMap<String, usize>,
}

impl Host {
    async fn open(source: KafkaSource, topics: &[&str], settled: &Settled) -> Self {
        let topics: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let mut feed = source.open(&topics, Start::Earliest).await.unwrap();
        let owned = feed.partitions().await.unwrap();
        feed.start(settled.from(&owned)).await.unwrap();
        Self { feed, owned: owned.into_iter().collect(), revoked: Vec::new() }
    }

    /// Reads for a moment. What is revoked is given back by [`Self::give_back`].
    async fn turn(&mut self, settled: &mut Settled) {
        let Ok(event) = timeout(Duration::from_millis(50), self.feed.next(ALL)).await else { return };
        match event.unwrap() {
            Event::Read(read) => {
                let partition = read.progress.partition;
                assert!(self.owned.contains(&partition), "{partition} is read and not owned");
                if let Some(before) = settled.checkpoints.get(&partition) {
                    assert_eq!(before.position, read.progress.from, "{partition} goes on where it was settled");
                }
                let (incarnation, position) = (read.progress.incarnation, read.progress.next);
                settled.checkpoints.insert(partition, Checkpoint { incarnation, position });
                for entry in read.entries {
                    let Entry::Change(change) = entry else { panic!("{entry:?}") };
                    *settled.seen.entry(change.key.id.to_string()).or_default() += 1;
                }
            }
            Event::Assigned(partitions) => {
                self.feed.add(settled.from(&partitions)).unwrap();
                self.owned.extend(partitions);
            }
            Event::Revoked(partitions) | Event::Lost(partitions) => {
                self.owned.retain(|partition| !partitions.contains(partition));
                self.revoked.extend(partitions);
            }
            Event::AtEnd => {}
        }
    }

    fn give_back(&mut self) {
        let revoked = std::mem::take(&mut self.revoked);
        if !revoked.is_empty() {
            self.feed.release(&revoked);
        }
    }

    fn owned(&self) -> String {
        self.owned.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }
}

impl Settled {
    fn from(&self, partitions: &[Partition]) -> Vec<From> {
        let from = |partition: &Partition| {
            let checkpoint = self.checkpoints.get(partition).cloned();
            From { partition: partition.clone(), checkpoint }
        };
        partitions.iter().map(from).collect()
    }
}

/// Lets the hosts read until a condition holds.
async fn until(
    what: &str,
    hosts: &mut [&mut Host],
    settled: &mut Settled,
    condition: impl Fn(&[&mut Host], &Settled) -> bool,
) {
    let deadline = Instant::now() + PATIENCE;
    while !condition(hosts, settled) {
        let owned: Vec<String> = hosts.iter().map(|host| host.owned()).collect();
        assert!(Instant::now() < deadline, "waited in vain: {what}; they own {owned:?}, seen {:?}", settled.seen);
        for host in hosts.iter_mut() {
            host.turn(settled).await;
            host.give_back();
            // Where shares are fixed, changes are found when lag is measured.
            let at: Vec<(Partition, Position)> = Vec::new();
            timeout(LIMIT, host.feed.ends(&at)).await.unwrap().unwrap();
        }
        let all: Vec<&Partition> = hosts.iter().flat_map(|host| &host.owned).collect();
        let distinct: BTreeSet<&&Partition> = all.iter().collect();
        assert_eq!(all.len(), distinct.len(), "{what}: a partition has two owners");
    }
}

/// Lets two hosts read until the group wants something back from the first.
async fn until_revoked(owner: &mut Host, other: &mut Host, settled: &mut Settled) {
    let deadline = Instant::now() + PATIENCE;
    while owner.revoked.is_empty() {
        assert!(Instant::now() < deadline, "nothing was revoked");
        owner.turn(settled).await;
        other.turn(settled).await;
    }
}

/// Waits until a group has no members, for less time than it waits for those that do not say that they go.
async fn all_left(broker: &Broker, group: &str) {
    let deadline = Instant::now() + PATIENCE;
    while broker.group(group).1 > 0 {
        assert!(Instant::now() < deadline, "{group} is {:?}", broker.group(group));
        sleep(Duration::from_millis(100)).await;
    }
}

/// What the group gives a member first; it has begun nothing of it.
async fn assigned(host: &mut Host) -> Vec<Partition> {
    let event = timeout(PATIENCE, host.feed.next(ALL)).await.unwrap().unwrap();
    let Event::Assigned(partitions) = event else { panic!("{event:?}") };
    host.owned.extend(partitions.iter().cloned());
    partitions
}

fn in_group(broker: &Broker, group: &str) -> KafkaSource {
    let mut source = source(broker);
    source.assignment = Assignment::Group(group.to_owned());
    for (name, value) in [
        ("topic.metadata.refresh.interval.ms", "500"),
        ("session.timeout.ms", "240000"),
        ("debug", "cgrp,topic,consumer"),
    ] {
        source.options.insert(name.to_owned(), value.to_owned());
    }
    source
}

fn process(broker: &Broker, process: u32, processes: u32) -> KafkaSource {
    let mut source = source(broker);
    source.assignment = Assignment::Static(Share::new(process, NonZeroU32::new(processes).unwrap()).unwrap());
    source
}

fn publish(broker: &Broker, topic: &str, partitions: i32, word: &str) -> usize {
    for partition in 0..partitions {
        broker.publish(topic, partition, [stub(&format!("{word}-{partition}")).as_str()]);
    }
    usize::try_from(partitions).unwrap()
}

fn seen(count: usize) -> impl Fn(&[&mut Host], &Settled) -> bool {
    move |_, settled| settled.seen.values().sum::<usize>() >= count
}

fn spread(sizes: &'static [usize]) -> impl Fn(&[&mut Host], &Settled) -> bool {
    move |hosts, _| hosts.iter().map(|host| host.owned.len()).eq(sizes.iter().copied())
}

fn each_once(settled: &Settled) {
    assert!(settled.seen.values().all(|count| *count == 1), "{:?}", settled.seen);
}

#[tokio::test]
async fn members_of_a_group_share_the_partitions_and_go_on_from_our_checkpoints_as_they_come_and_go() {
    let broker = Broker::shared();
    broker.create_topic("group", 6).await;
    let mut settled = Settled::default();
    let mut first = Host::open(in_group(broker, "group-1"), &["group"], &settled).await;
    let mut count = publish(broker, "group", 6, "alone");
    until("the first has all", &mut [&mut first], &mut settled, spread(&[6])).await;
    until("the first reads all", &mut [&mut first], &mut settled, seen(count)).await;

    let mut second = Host::open(in_group(broker, "group-1"), &["group"], &settled).await;
    until("they share", &mut [&mut first, &mut second], &mut settled, spread(&[3, 3])).await;
    count += publish(broker, "group", 6, "shared");
    until("they read all", &mut [&mut first, &mut second], &mut settled, seen(count)).await;

    drop(first);
    count += publish(broker, "group", 6, "left");
    until("the second reads all", &mut [&mut second], &mut settled, seen(count)).await;
    assert_eq!(second.owned.len(), 6);
    each_once(&settled);
    drop(second);
    all_left(broker, "group-1").await;
}

#[tokio::test]
async fn a_partition_goes_to_the_next_member_only_when_the_former_gave_it_back() {
    let broker = Broker::shared();
    broker.create_topic("hand-over", 2).await;
    let mut settled = Settled::default();
    let mut first = Host::open(in_group(broker, "hand-over-1"), &["hand-over"], &settled).await;
    until("the first has all", &mut [&mut first], &mut settled, spread(&[2])).await;
    let mut second = Host::open(in_group(broker, "hand-over-1"), &["hand-over"], &settled).await;
    until_revoked(&mut first, &mut second, &mut settled).await;
    // It takes its time, and is not taken for dead meanwhile, nor is the other one given anything.
    let until_given_back = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until_given_back {
        first.turn(&mut settled).await;
        second.turn(&mut settled).await;
        assert_eq!((first.owned.len(), second.owned.len()), (1, 0));
    }
    until("they share", &mut [&mut first, &mut second], &mut settled, spread(&[1, 1])).await;
}

#[tokio::test]
async fn a_member_that_has_no_room_to_read_still_gives_back() {
    let broker = Broker::shared();
    broker.create_topic("no-room", 2).await;
    let mut settled = Settled::default();
    let mut first = Host::open(in_group(broker, "no-room-1"), &["no-room"], &settled).await;
    until("the first has all", &mut [&mut first], &mut settled, spread(&[2])).await;
    publish(broker, "no-room", 2, "unread");
    let mut second = Host::open(in_group(broker, "no-room-1"), &["no-room"], &settled).await;
    let event = loop {
        tokio::select! {
            event = first.feed.attend() => break event.unwrap(),
            () = second.turn(&mut settled) => {}
        }
    };
    assert!(matches!(&event, Event::Revoked(partitions) if partitions.len() == 1), "{event:?}");
}

#[tokio::test]
async fn a_partition_that_another_owner_had_can_be_begun_again_in_a_group() {
    let broker = Broker::shared();
    broker.create_topic("taken-back", 2).await;
    let mut settled = Settled::default();
    let mut host = Host::open(in_group(broker, "taken-back-1"), &["taken-back"], &settled).await;
    until("it has all", &mut [&mut host], &mut settled, spread(&[2])).await;
    let mut count = publish(broker, "taken-back", 2, "before");
    until("it reads all", &mut [&mut host], &mut settled, seen(count)).await;
    let lost = Partition::new("taken-back", 0);
    host.feed.release(std::slice::from_ref(&lost));
    count += publish(broker, "taken-back", 2, "meanwhile");
    until("it reads the other one", &mut [&mut host], &mut settled, seen(count - 1)).await;
    host.feed.add(settled.from(&[lost])).unwrap();
    count += publish(broker, "taken-back", 2, "after");
    until("it reads both", &mut [&mut host], &mut settled, seen(count)).await;
    each_once(&settled);
}

#[tokio::test]
async fn what_a_member_has_of_the_group_and_cannot_begin_yet_is_begun_later_or_given_back() {
    let broker = Broker::shared();
    broker.create_topic("later", 4).await;
    let mut settled = Settled::default();
    let mut first = Host::open(in_group(broker, "later-1"), &["later"], &settled).await;
    let given = assigned(&mut first).await;
    assert_eq!(given.len(), 4);
    first.feed.add(settled.from(&given[..1])).unwrap();
    let mut count = publish(broker, "later", 4, "before");
    until("it reads the one that it began", &mut [&mut first], &mut settled, seen(1)).await;
    first.feed.add(settled.from(&given[1..2])).unwrap();
    until("it reads another one", &mut [&mut first], &mut settled, seen(2)).await;
    let mut second = Host::open(in_group(broker, "later-1"), &["later"], &settled).await;
    until("they share", &mut [&mut first, &mut second], &mut settled, spread(&[2, 2])).await;
    drop(first);
    count += publish(broker, "later", 4, "after");
    until("the second reads all", &mut [&mut second], &mut settled, seen(count)).await;
    each_once(&settled);
}

#[tokio::test]
async fn a_member_that_ends_leaves_its_group_at_once_whatever_it_owes_it() {
    let broker = Broker::shared();
    broker.create_topic("leaving", 2).await;
    let mut settled = Settled::default();
    let source = in_group(broker, "leaving-1");

    let mut undecided = Host::open(source.clone(), &["leaving"], &settled).await;
    assert_eq!(assigned(&mut undecided).await.len(), 2, "and none of them is begun");
    drop(undecided);
    let mut owner = Host::open(source.clone(), &["leaving"], &settled).await;
    until("the next one has all", &mut [&mut owner], &mut settled, spread(&[2])).await;

    let mut next = Host::open(source.clone(), &["leaving"], &settled).await;
    until_revoked(&mut owner, &mut next, &mut settled).await;
    drop(owner);
    until("nobody waits for what was not given back", &mut [&mut next], &mut settled, spread(&[2])).await;

    let mut last = Host::open(source, &["leaving"], &settled).await;
    // The group wants something of its member, who never looks.
    let deadline = Instant::now() + PATIENCE;
    while broker.group("leaving-1") != ("PreparingRebalance".to_owned(), 2) {
        assert!(Instant::now() < deadline, "nobody joins: {:?}", broker.group("leaving-1"));
        last.turn(&mut settled).await;
    }
    drop(next);
    until("nobody waits for who did not look", &mut [&mut last], &mut settled, spread(&[2])).await;
    drop(last);
    all_left(broker, "leaving-1").await;
}

#[tokio::test]
async fn a_member_that_ends_while_everything_is_taken_back_leaves_its_group() {
    let broker = Broker::shared();
    broker.create_topic("swapped-a", 1).await;
    let mut settled = Settled::default();
    let mut owner = Host::open(in_group(broker, "swapped-1"), &["swapped-a", "swapped-b"], &settled).await;
    until("it has what there is", &mut [&mut owner], &mut settled, spread(&[1])).await;
    let mut other = Host::open(in_group(broker, "swapped-1"), &["swapped-a"], &settled).await;
    // Only the owner can have the new topic, so that the other one gets the first.
    broker.create_topic("swapped-b", 1).await;
    until_revoked(&mut owner, &mut other, &mut settled).await;
    drop(owner);
    until("the other has its topic", &mut [&mut other], &mut settled, spread(&[1])).await;
    drop(other);
    all_left(broker, "swapped-1").await;
}

#[tokio::test]
async fn a_group_picks_up_partitions_and_topics_that_appear() {
    let broker = Broker::shared();
    broker.create_topic("appear-a", 1).await;
    let topics = ["appear-*", "later-on"];
    let mut settled = Settled::default();
    let mut first = Host::open(in_group(broker, "appear-1"), &topics, &settled).await;
    let mut second = Host::open(in_group(broker, "appear-1"), &topics, &settled).await;
    let mut hosts = [&mut first, &mut second];
    let owned = |count| {
        move |hosts: &[&mut Host], _: &Settled| hosts.iter().map(|host| host.owned.len()).sum::<usize>() == count
    };
    until("the topic that there is", &mut hosts, &mut settled, owned(1)).await;
    broker.grow_topic("appear-a", 2).await;
    broker.create_topic("appear-b", 2).await;
    until("what matches the pattern", &mut hosts, &mut settled, owned(4)).await;
    broker.create_topic("later-on", 1).await;
    until("what was named and absent", &mut hosts, &mut settled, owned(5)).await;
    let count =
        publish(broker, "appear-a", 2, "a") + publish(broker, "appear-b", 2, "b") + publish(broker, "later-on", 1, "l");
    until("all is read", &mut hosts, &mut settled, seen(count)).await;
    each_once(&settled);
    drop((second, first));
    all_left(broker, "appear-1").await;
}

#[tokio::test]
async fn processes_with_numbers_pick_up_what_appears_and_no_two_read_the_same() {
    let broker = Broker::shared();
    broker.create_topic("numbered-b", 3).await;
    let topics = ["numbered-*", "numbered-later", "other-named"];
    let mut settled = Settled::default();
    let mut first = Host::open(process(broker, 0, 2), &topics, &settled).await;
    let mut second = Host::open(process(broker, 1, 2), &topics, &settled).await;
    assert_eq!((first.owned(), second.owned()), ("numbered-b:0 numbered-b:2".to_owned(), "numbered-b:1".to_owned()));
    let mut count = publish(broker, "numbered-b", 3, "before");
    until("all is read", &mut [&mut first, &mut second], &mut settled, seen(count)).await;

    // It comes before the others in the order, so that every share is another one.
    broker.create_topic("numbered-a", 1).await;
    // One of them notices first; both own something only while the other has not looked yet.
    let deadline = Instant::now() + PATIENCE;
    while first.owned() != "numbered-a:0 numbered-b:1" || second.owned() != "numbered-b:0 numbered-b:2" {
        assert!(Instant::now() < deadline, "{} and {}", first.owned(), second.owned());
        for host in [&mut first, &mut second] {
            host.feed.ends(&[]).await.unwrap();
            host.turn(&mut settled).await;
            host.give_back();
        }
    }
    count += publish(broker, "numbered-b", 3, "after") + publish(broker, "numbered-a", 1, "new");
    until("all is read", &mut [&mut first, &mut second], &mut settled, seen(count)).await;
    each_once(&settled);
}

#[tokio::test]
async fn a_topic_that_is_named_and_does_not_exist_yet_does_not_keep_the_others_from_being_read() {
    let broker = Broker::shared();
    broker.create_topic("present", 1).await;
    let mut settled = Settled::default();
    let mut host = Host::open(process(broker, 0, 1), &["present", "not-yet"], &settled).await;
    let mut count = publish(broker, "present", 1, "p");
    until("what is there", &mut [&mut host], &mut settled, seen(count)).await;
    broker.create_topic("not-yet", 1).await;
    count += publish(broker, "not-yet", 1, "n");
    until("what came later", &mut [&mut host], &mut settled, seen(count)).await;
    each_once(&settled);
}

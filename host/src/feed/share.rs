//! A host's fixed share of a pillow's partitions: process `k` of `n`.

use std::num::NonZeroU32;
use std::sync::Arc;

use async_trait::async_trait;

use super::{Ends, Error, Event, Feed, From, Limits, Source, Start};
use crate::model::{Partition, Position};

/// Which of the partitions a process reads, when `n` processes share them and each knows its number. All of them must
/// be started with the same `n`; where they are not, the owner epochs keep two from settling one partition, and a
/// partition that nobody counts as his own is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    process: u32,
    processes: NonZeroU32,
    first_reads_nothing: bool,
}

impl Share {
    /// All partitions: the only process there is.
    pub const WHOLE: Self = Self { process: 0, processes: NonZeroU32::MIN, first_reads_nothing: false };

    /// Process `process`, counted from 0, of `processes`. None where there is no such process.
    pub fn new(process: u32, processes: NonZeroU32) -> Option<Self> {
        (process < processes.get()).then_some(Self { process, processes, first_reads_nothing: false })
    }

    /// The same with process 0 kept free of partitions, for migrations; the others share them. None for a process that
    /// is the only one.
    #[must_use]
    pub fn with_dedicated_migration_process(self) -> Option<Self> {
        (self.processes.get() > 1).then_some(Self { first_reads_nothing: true, ..self })
    }

    /// Whether there is only this process.
    pub fn is_whole(&self) -> bool {
        self.processes.get() == 1
    }

    /// This process's share: of all partitions, ordered by topic and number, every `n`-th from the `k`-th on.
    pub fn of(&self, partitions: impl IntoIterator<Item = Partition>) -> Vec<Partition> {
        let mut all: Vec<Partition> = partitions.into_iter().collect();
        all.sort();
        all.dedup();
        let (process, processes) = match (self.first_reads_nothing, self.process) {
            (false, process) => (process, self.processes.get()),
            (true, 0) => return Vec::new(),
            (true, process) => (process - 1, self.processes.get() - 1),
        };
        let index = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
        all.into_iter().skip(index(process)).step_by(index(processes)).collect()
    }
}

/// A source of which each process reads its share; for feeds whose partitions are fixed.
pub struct Shared {
    inner: Arc<dyn Source>,
    share: Share,
}

impl Shared {
    /// This share of what `inner` has.
    pub fn new(inner: Arc<dyn Source>, share: Share) -> Self {
        Self { inner, share }
    }
}

#[async_trait]
impl Source for Shared {
    async fn open(&self, topics: &[Arc<str>], start: Start) -> Result<Box<dyn Feed>, Error> {
        Ok(Box::new(SharedFeed { inner: self.inner.open(topics, start).await?, share: self.share }))
    }
}

struct SharedFeed {
    inner: Box<dyn Feed>,
    share: Share,
}

#[async_trait]
impl Feed for SharedFeed {
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error> {
        Ok(self.share.of(self.inner.partitions().await?))
    }

    async fn start(&mut self, from: Vec<From>) -> Result<(), Error> {
        self.inner.start(from).await
    }

    async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        self.inner.next(limits).await
    }

    async fn attend(&mut self) -> Result<Event, Error> {
        self.inner.attend().await
    }

    fn add(&mut self, from: Vec<From>) -> Result<(), Error> {
        self.inner.add(from)
    }

    fn release(&mut self, partitions: &[Partition]) {
        self.inner.release(partitions);
    }

    fn ends(&mut self, at: &[(Partition, Position)]) -> Ends {
        self.inner.ends(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str, partitions: u32) -> impl Iterator<Item = Partition> {
        (0..partitions).map(move |number| Partition::new(name, number))
    }

    fn share(process: u32, processes: u32) -> Share {
        Share::new(process, NonZeroU32::new(processes).unwrap()).unwrap()
    }

    fn check(share: Share, partitions: impl IntoIterator<Item = Partition>, expected: &str) {
        let found: Vec<String> = share.of(partitions).iter().map(ToString::to_string).collect();
        assert_eq!(found.join(" "), expected);
    }

    // Acceptance case 25.
    #[test]
    fn process_k_of_n_reads_every_nth_partition_with_and_without_a_dedicated_migration_process() {
        let dedicated = |process| share(process, 3).with_dedicated_migration_process().unwrap();
        check(share(0, 3), topic("t", 6), "t:0 t:3");
        check(dedicated(0), topic("t", 6), "");
        check(dedicated(1), topic("t", 6), "t:0 t:2 t:4");
        check(dedicated(2), topic("t", 6), "t:1 t:3 t:5");
    }

    #[test]
    fn partitions_of_all_topics_are_dealt_out_in_one_order() {
        let all = || topic("case-sql", 4).chain(topic("case", 2));
        check(share(0, 3), all(), "case:0 case-sql:1");
        check(share(1, 3), all(), "case:1 case-sql:2");
        check(share(2, 3), all(), "case-sql:0 case-sql:3");
        check(Share::WHOLE, all(), "case:0 case:1 case-sql:0 case-sql:1 case-sql:2 case-sql:3");
        check(share(6, 7), all(), "");
    }

    #[test]
    fn there_is_no_process_beyond_the_last_and_one_alone_has_nobody_to_leave_the_reading_to() {
        assert_eq!(Share::new(3, NonZeroU32::new(3).unwrap()), None);
        assert_eq!(Share::WHOLE.with_dedicated_migration_process(), None);
    }
}

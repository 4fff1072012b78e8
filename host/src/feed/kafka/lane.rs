//! One partition as it is read: from its queue to reads with their progress.

use std::sync::Arc;

use rdkafka::types::RDKafkaErrorCode;

use super::decode::decode;
use super::queue::{Head, Message, PartitionQueue};
use crate::feed::{Limits, Read};
use crate::model::{Checkpoint, Partition, Position, Progress, Texts};

/// A partition that is being read.
pub(super) struct Lane {
    partition: Partition,
    topic_id: Arc<str>,
    queue: PartitionQueue,
    /// The next offset to read; what was handed out so far ends here.
    next: u64,
    /// Whether all was read that there is.
    at_end: bool,
    /// Whether the starting place need not be handed out by itself: see [`Origin`].
    pinned: bool,
}

/// What a lane has to hand out.
pub(super) enum Step {
    /// Entries, or progress alone.
    Read(Read),
    /// Nothing now.
    Nothing,
    /// librdkafka could not go on.
    Failed(RDKafkaErrorCode),
}

/// Whether the starting place would be the same another time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// It would.
    Fixed,
    /// It was the end just now. The first read pins it in a checkpoint, if need be without entries: a pillow that
    /// stops before a message came would otherwise begin later the next time, and miss those in between.
    ChosenNow,
}

impl Lane {
    pub(super) fn new(
        partition: Partition,
        topic_id: Arc<str>,
        queue: PartitionQueue,
        next: u64,
        origin: Origin,
    ) -> Self {
        Self { partition, topic_id, queue, next, at_end: false, pinned: origin == Origin::Fixed }
    }

    pub(super) fn partition(&self) -> &Partition {
        &self.partition
    }

    /// Where it stands, as a checkpoint would say it.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        Checkpoint { incarnation: Arc::clone(&self.topic_id), position: Position::number(self.next) }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.at_end
    }

    /// Takes what is there now, up to the limits; does not wait.
    pub(super) fn read(&mut self, limits: Limits) -> Step {
        let from = self.next;
        let mut entries = Vec::new();
        let mut bytes: usize = 0;
        let mut texts = Texts::default();
        while let Some(head) = self.queue.head() {
            match head {
                // Left over from before the partition was given up and begun again.
                Head::Message(message) if message.offset < self.next => {}
                Head::Message(message) => {
                    let size = size_of(&message);
                    let full = entries.len() >= limits.count.get() || bytes.saturating_add(size) > limits.bytes.get();
                    if full && !entries.is_empty() {
                        break;
                    }
                    entries.push(decode(&self.partition.topic, &message, &mut texts));
                    bytes = bytes.saturating_add(size);
                    self.next = message.offset + 1;
                    self.at_end = false;
                }
                Head::End(offset) => {
                    self.next = self.next.max(offset);
                    self.at_end = true;
                }
                // What was read before the trouble is handed out before it.
                Head::Failed(_) if !entries.is_empty() => break,
                Head::Failed(error) => {
                    self.queue.pop();
                    return Step::Failed(error);
                }
            }
            self.queue.pop();
        }
        if self.next == from && self.pinned {
            return Step::Nothing;
        }
        self.pinned = true;
        Step::Read(Read { progress: self.progress(from), entries })
    }

    fn progress(&self, from: u64) -> Progress {
        Progress {
            partition: self.partition.clone(),
            incarnation: Arc::clone(&self.topic_id),
            from: Position::number(from),
            next: Position::number(self.next),
        }
    }
}

fn size_of(message: &Message<'_>) -> usize {
    message.key.map_or(0, <[u8]>::len) + message.value.map_or(0, <[u8]>::len)
}

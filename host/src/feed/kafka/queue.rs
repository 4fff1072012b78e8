//! The queue of one partition inside librdkafka: taken from without waiting, many messages per call.
//!
//! The safe crate hands out one message per call, and of the end of a partition it forgets the offset, which is what
//! carries progress over control records and compacted tails. So two of librdkafka's calls are made here by hand.
#![expect(unsafe_code, reason = "the safe crate lacks the batch call and the offset of an end-of-partition event")]

use std::collections::VecDeque;
use std::ffi::{CString, c_void};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use rdkafka::bindings as native;
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode;
use tokio::sync::Notify;

use super::client::Client;

/// How many messages leave librdkafka's queue in one call. What is taken no longer counts for librdkafka's own bounds,
/// so it stays small; past some dozens a call costs nothing per message.
const TAKE: usize = 64;

/// The queue of one partition. It is cut off from the client's common queue, so order, fairness and bounds are those
/// of the partition alone: librdkafka stops fetching a partition whose queue is full.
pub(super) struct PartitionQueue {
    /// Taken and not yet looked at. Each is owned, and given back in `drop` or `pop`.
    taken: VecDeque<NonNull<native::rd_kafka_message_t>>,
    queue: NonNull<native::rd_kafka_queue_t>,
    taking: Taking,
    /// Notified by librdkafka's thread; the pointer that it holds is into this.
    wake: Arc<Notify>,
    /// A queue must not outlive its client.
    _client: Arc<Client>,
}

/// How messages leave librdkafka's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taking {
    /// Many in one call.
    Batch,
    /// One in each call. librdkafka pauses the partitions of a group's members while it moves others, and then goes on
    /// after what was taken last. The batch call counts the end of a partition as a message there (v2.12,
    /// `rd_kafka_q_serve_rkmessages`), so that the next message would be left out.
    Single,
}

/// What stands first in a queue.
pub(super) enum Head<'a> {
    /// A message.
    Message(Message<'a>),
    /// The partition was read up to this offset, which is the next that will be written.
    End(u64),
    /// Reading stopped, or librdkafka wants us to know of trouble.
    Failed(RDKafkaErrorCode),
}

/// A message, borrowed from librdkafka's memory.
pub(super) struct Message<'a> {
    /// Its offset.
    pub(super) offset: u64,
    /// Its key.
    pub(super) key: Option<&'a [u8]>,
    /// Its value; none is a tombstone.
    pub(super) value: Option<&'a [u8]>,
    /// The broker's or the producer's time.
    pub(super) timestamp_ms: Option<i64>,
}

// SAFETY: librdkafka's queues and messages may be used and given back on any thread; `&mut self` and the lack of
// `Sync` keep two threads from doing it at once.
unsafe impl Send for PartitionQueue {}

impl PartitionQueue {
    /// Cuts the partition's queue off; before the partition is assigned, so that none of its messages go elsewhere.
    /// The client's `wake` is notified when the queue stops being empty.
    pub(super) fn open(client: &Arc<Client>, topic: &str, partition: i32, taking: Taking) -> Option<Self> {
        let wake = Arc::clone(client.context().wake());
        let topic = CString::new(topic).ok()?;
        // SAFETY: the client is alive and `topic` ends with a zero; the result is ours to destroy.
        let queue =
            unsafe { native::rd_kafka_queue_get_partition(client.client().native_ptr(), topic.as_ptr(), partition) };
        let queue = NonNull::new(queue)?;
        // SAFETY: the queue is alive; forwarding to null is how librdkafka cuts a queue off (rdkafka.h, v2.12). The
        // callback gets a pointer to the `Notify`, which lives as long as `self.wake`, and `drop` takes the callback
        // away first.
        unsafe {
            native::rd_kafka_queue_forward(queue.as_ptr(), ptr::null_mut());
            native::rd_kafka_queue_cb_event_enable(
                queue.as_ptr(),
                Some(wake_up),
                Arc::as_ptr(&wake).cast_mut().cast::<c_void>(),
            );
        }
        Some(Self { taken: VecDeque::new(), queue, taking, wake, _client: Arc::clone(client) })
    }

    /// What stands first, if anything is there now. It stays until [`Self::pop`].
    pub(super) fn head(&mut self) -> Option<Head<'_>> {
        if self.taken.is_empty() {
            self.take();
        }
        let message = self.taken.front()?;
        // SAFETY: the message is owned by `taken` and given back only through `&mut self`, which the result borrows.
        Some(unsafe { read(message.as_ref()) })
    }

    /// Removes what stands first.
    pub(super) fn pop(&mut self) {
        if let Some(message) = self.taken.pop_front() {
            // SAFETY: it is owned, and leaves `taken` here, so nobody sees it again.
            unsafe { native::rd_kafka_message_destroy(message.as_ptr()) };
        }
    }

    fn take(&mut self) {
        if self.taking == Taking::Single {
            // SAFETY: the queue is alive. A timeout of 0 does not wait; null is an empty queue.
            let message = unsafe { native::rd_kafka_consume_queue(self.queue.as_ptr(), 0) };
            self.taken.extend(NonNull::new(message));
            return;
        }
        let mut messages = [ptr::null_mut(); TAKE];
        // SAFETY: the queue is alive and the array has room for `TAKE` pointers. A timeout of 0 does not wait.
        let count =
            unsafe { native::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, messages.as_mut_ptr(), TAKE) };
        // It is -1 on error, which this call has none of but for a wrong argument.
        let count = usize::try_from(count).unwrap_or(0);
        self.taken.extend(messages.into_iter().take(count).filter_map(NonNull::new));
    }
}

impl Drop for PartitionQueue {
    fn drop(&mut self) {
        while !self.taken.is_empty() {
            self.pop();
        }
        // SAFETY: the queue is alive and ours; without the callback nothing points to `wake` any more. librdkafka
        // holds the queue's lock both here and while it calls back, so no call is under way afterwards.
        unsafe {
            native::rd_kafka_queue_cb_event_enable(self.queue.as_ptr(), None, ptr::null_mut());
            native::rd_kafka_queue_destroy(self.queue.as_ptr());
        }
        self.wake.notify_one();
    }
}

/// Called by librdkafka, on its thread, when a queue stops being empty.
unsafe extern "C" fn wake_up(_client: *mut native::rd_kafka_t, notify: *mut c_void) {
    // SAFETY: the pointer was made of an `Arc<Notify>` that lives until the callback is taken away.
    unsafe { &*notify.cast::<Notify>() }.notify_one();
}

/// # Safety
/// The message must come from librdkafka and be alive as long as the result.
unsafe fn read(message: &native::rd_kafka_message_t) -> Head<'_> {
    let offset = u64::try_from(message.offset).unwrap_or(0);
    match message.err {
        native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR => {}
        native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF => return Head::End(offset),
        error => return Head::Failed(error.into()),
    }
    let mut kind = native::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: pointer and length of key and value are librdkafka's own, valid until the message is destroyed; the
    // timestamp is read from the message itself.
    unsafe {
        let timestamp_ms = native::rd_kafka_message_timestamp(message, &raw mut kind);
        Head::Message(Message {
            offset,
            key: bytes(message.key, message.key_len),
            value: bytes(message.payload, message.len),
            timestamp_ms: (timestamp_ms >= 0).then_some(timestamp_ms),
        })
    }
}

/// # Safety
/// `start` is null, or `length` bytes are readable there for `'a`.
unsafe fn bytes<'a>(start: *mut c_void, length: usize) -> Option<&'a [u8]> {
    let start = NonNull::new(start)?.cast::<u8>();
    // SAFETY: as the caller promises.
    Some(unsafe { std::slice::from_raw_parts(start.as_ptr(), length) })
}

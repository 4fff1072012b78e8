//! What the cluster says of topics: how many partitions, and the id that tells a topic from its namesake before it.
//!
//! The id (KIP-516, brokers from 2.8 on) is only told by DescribeTopics, which the safe crate lacks.
#![expect(unsafe_code, reason = "the safe crate lacks DescribeTopics, the only call that tells a topic's id")]

use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::time::Duration;

use rdkafka::bindings as native;
use rdkafka::consumer::Consumer as _;
use rdkafka::types::RDKafkaErrorCode;

use super::client::Client;

/// The incarnation of topics whose broker tells no id.
pub(super) const NO_ID: &str = "no-topic-id";

/// A topic as the cluster has it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Described {
    /// Its id as Kafka's tools print it.
    pub(super) id: Arc<str>,
    /// How many partitions it has.
    pub(super) partitions: u32,
}

/// Asks the cluster about topics; the answers are in their order. Blocks for `limit` at most.
///
/// # Errors
/// The outer error when nothing answered, the inner one for a topic that is not there or not ours to see.
pub(super) fn describe(
    client: &Client,
    topics: &[Arc<str>],
    limit: Duration,
) -> Result<Vec<Result<Described, RDKafkaErrorCode>>, RDKafkaErrorCode> {
    let names: Vec<CString> = topics
        .iter()
        .map(|topic| CString::new(topic.as_bytes()).map_err(|_nul| RDKafkaErrorCode::InvalidTopic))
        .collect::<Result<_, _>>()?;
    let mut pointers: Vec<_> = names.iter().map(|name| name.as_ptr()).collect();
    let limit_ms = i32::try_from(limit.as_millis()).unwrap_or(i32::MAX);
    let client = client.client().native_ptr();

    // SAFETY: the client is alive; names and pointers live until the end of the function, and librdkafka copies them.
    // Every object made here is destroyed by its guard, in the opposite order; what is read from the event is copied
    // before that. Null results are refused by `Guard::new`.
    unsafe {
        let collection = Guard::new(
            native::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            native::rd_kafka_TopicCollection_destroy,
        )?;
        let options = Guard::new(
            native::rd_kafka_AdminOptions_new(client, native::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS),
            native::rd_kafka_AdminOptions_destroy,
        )?;
        native::rd_kafka_AdminOptions_set_request_timeout(options.pointer(), limit_ms, ptr::null_mut(), 0);
        let answers = Guard::new(native::rd_kafka_queue_new(client), native::rd_kafka_queue_destroy)?;
        native::rd_kafka_DescribeTopics(client, collection.pointer(), options.pointer(), answers.pointer());
        let event = native::rd_kafka_queue_poll(answers.pointer(), limit_ms);
        let event =
            Guard::new(event, native::rd_kafka_event_destroy).map_err(|_null| RDKafkaErrorCode::RequestTimedOut)?;

        let error = native::rd_kafka_event_error(event.pointer());
        if error != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(error.into());
        }
        let result = native::rd_kafka_event_DescribeTopics_result(event.pointer());
        if result.is_null() {
            return Err(RDKafkaErrorCode::BadMessage);
        }
        let mut count = 0;
        let first = native::rd_kafka_DescribeTopics_result_topics(result, &raw mut count);
        let described: Vec<_> = (0..count).map(|at| copy(*first.add(at))).collect();
        // librdkafka answers in its own order.
        topics
            .iter()
            .map(|topic| {
                let found = described.iter().find(|(name, _)| **name == **topic);
                found.map(|(_, answer)| answer.clone()).ok_or(RDKafkaErrorCode::BadMessage)
            })
            .collect()
    }
}

/// # Safety
/// The description must be alive.
unsafe fn copy(topic: *const native::rd_kafka_TopicDescription_t) -> (String, Result<Described, RDKafkaErrorCode>) {
    // SAFETY: getters of a living description; the texts that they point to are copied at once.
    unsafe {
        let name = CStr::from_ptr(native::rd_kafka_TopicDescription_name(topic)).to_string_lossy().into_owned();
        let error = native::rd_kafka_TopicDescription_error(topic);
        let code = native::rd_kafka_error_code(error);
        if code != native::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return (name, Err(code.into()));
        }
        let mut partitions = 0;
        native::rd_kafka_TopicDescription_partitions(topic, &raw mut partitions);
        let id = native::rd_kafka_TopicDescription_topic_id(topic);
        let is_known = native::rd_kafka_Uuid_most_significant_bits(id) != 0
            || native::rd_kafka_Uuid_least_significant_bits(id) != 0;
        let id = if is_known {
            Arc::from(CStr::from_ptr(native::rd_kafka_Uuid_base64str(id)).to_string_lossy().as_ref())
        } else {
            Arc::from(NO_ID)
        };
        (name, Ok(Described { id, partitions: u32::try_from(partitions).unwrap_or(u32::MAX) }))
    }
}

/// Destroys one of librdkafka's objects when it goes.
struct Guard<T> {
    pointer: NonNull<T>,
    destroy: unsafe extern "C" fn(*mut T),
}

impl<T> Guard<T> {
    /// # Safety
    /// `pointer` is null or owned by the caller, and `destroy` is its destructor.
    unsafe fn new(pointer: *mut T, destroy: unsafe extern "C" fn(*mut T)) -> Result<Self, RDKafkaErrorCode> {
        let pointer = NonNull::new(pointer).ok_or(RDKafkaErrorCode::Fail)?;
        Ok(Self { pointer, destroy })
    }

    fn pointer(&self) -> *mut T {
        self.pointer.as_ptr()
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        // SAFETY: `new` was promised that it is ours and that this is how it ends.
        unsafe { (self.destroy)(self.pointer.as_ptr()) };
    }
}

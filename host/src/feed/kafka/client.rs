//! A client of the cluster: what it logs, when it lost its brokers, and how blocking questions are asked.

use std::collections::{BTreeSet, VecDeque};
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList, TopicPartitionListElem};
use rdkafka::types::RDKafkaRespErr;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::describe::{Described, describe};
use crate::feed::{Error, Start};
use crate::model::{Outage, Partition};

/// How long one question to the cluster may take.
const QUESTION_LIMIT: Duration = Duration::from_secs(5);

/// How long a cluster that is busy with itself is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// How often the queue of events is looked into at once; more wait for the next time.
const EVENTS_AT_ONCE: usize = 16;

/// How long the end of the program waits for a client to leave its group.
const CLOSED_WITHIN: Duration = Duration::from_secs(5);

/// librdkafka's client with our context.
pub(super) type Consumer = BaseConsumer<Watch>;

/// A client of the cluster. Dropping the last one closes it elsewhere, because that takes up to 100 ms for its threads,
/// and as long as the group needs to let it go.
pub(super) struct Client(Option<Consumer>);

impl Client {
    pub(super) fn new(consumer: Consumer) -> Self {
        Self(Some(consumer))
    }
}

impl Deref for Client {
    type Target = Consumer;

    fn deref(&self) -> &Consumer {
        #[expect(clippy::expect_used, reason = "only `drop` takes it")]
        self.0.as_ref().expect("a client is there until it is dropped")
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let Some(consumer) = self.0.take() else { return };
        let (closed, is_closed) = mpsc::channel::<()>();
        thread::spawn(move || {
            close(consumer);
            drop(closed);
        });
        // The runtime waits for that when it ends, but not for ever, as librdkafka would.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn_blocking(move || {
                if is_closed.recv_timeout(CLOSED_WITHIN) == Err(RecvTimeoutError::Timeout) {
                    warn!(limit = ?CLOSED_WITHIN, "a kafka client is not closed in time");
                }
            });
        }
    }
}

/// Closes a client that nobody else has any more; waits for its group.
fn close(consumer: Consumer) {
    consumer.context().close();
    if consumer.group_metadata().is_some() {
        // The group may wait for an answer to what it wanted of a feed that is gone, and librdkafka does not end before it
        // has one. Of these two it takes the one it waits for, and the other changes nothing.
        for answer in [unassign(&consumer, &[]), assign(&consumer, &[])] {
            answer.unwrap_or_else(|error| debug!(target: "librdkafka", %error, "while leaving the group"));
        }
    }
    drop(consumer);
}

/// Hears what librdkafka has to say of its brokers, and says each change of state once.
pub(super) struct Watch {
    brokers: String,
    lost: AtomicBool,
    /// librdkafka's last complaint: the reason when a question times out.
    last_error: Mutex<Option<String>>,
    /// What the group wants. librdkafka waits until it is answered by [`assign`] or [`unassign`].
    rebalances: Mutex<VecDeque<Rebalance>>,
    /// Nobody is there any more to answer the group.
    closing: AtomicBool,
    /// Notified when there is something to look at: messages, or what the group wants.
    wake: Arc<Notify>,
}

/// What a group wants of its member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Rebalance {
    /// To read these as well.
    Assign(Vec<Partition>),
    /// To give these back.
    Revoke(Vec<Partition>),
    /// These went already: the group took this member for dead.
    Lost(Vec<Partition>),
}

/// The oldest offset of a partition and the end of what may be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The oldest offset that is still there.
    pub(super) low: u64,
    /// After the last message that is committed.
    pub(super) high: u64,
    /// Where a pillow without a checkpoint begins.
    pub(super) begin: u64,
}

impl Watch {
    pub(super) fn new(brokers: &str) -> Self {
        Self {
            brokers: brokers.to_owned(),
            lost: AtomicBool::new(false),
            last_error: Mutex::new(None),
            rebalances: Mutex::default(),
            closing: AtomicBool::new(false),
            wake: Arc::default(),
        }
    }

    /// Notified when there is something to look at.
    pub(super) fn wake(&self) -> &Arc<Notify> {
        &self.wake
    }

    /// What the group wants next.
    pub(super) fn next_rebalance(&self) -> Option<Rebalance> {
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Has the group be answered at once from now on, because the client is about to be dropped.
    fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    /// Something came from a broker.
    pub(super) fn heard(&self) {
        if self.lost.load(Ordering::Relaxed) && self.lost.swap(false, Ordering::Relaxed) {
            info!(brokers = self.brokers, "kafka brokers are back");
        }
    }

    /// Why nothing can come: no broker is connected.
    pub(super) fn trouble(&self) -> Option<String> {
        self.lost.load(Ordering::Relaxed).then(|| {
            let last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
            format!("kafka brokers {} are lost: {}", self.brokers, last.unwrap_or_else(|| "no reason given".to_owned()))
        })
    }

    fn outage(&self, operation: &str, error: RDKafkaErrorCode) -> Outage {
        let last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let reason = last.map_or_else(|| error.to_string(), |last| format!("{error}: {last}"));
        Outage::new(format!("could not {operation} at kafka brokers {}", self.brokers), reason)
    }
}

impl ClientContext for Watch {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        // What matters of it also comes as an error; these lines are for those who look closer.
        debug!(target: "librdkafka", facility, message);
    }

    fn stats_raw(&self, statistics: &[u8]) {
        debug!(target: "librdkafka", statistics = %String::from_utf8_lossy(statistics));
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AllBrokersDown) {
            if !self.lost.swap(true, Ordering::Relaxed) {
                let last = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let reason = last.unwrap_or_else(|| reason.to_owned());
                warn!(brokers = self.brokers, reason, "kafka brokers are lost, waiting for them");
            }
            return;
        }
        debug!(target: "librdkafka", %error, reason);
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }
}

impl ConsumerContext for Watch {
    fn rebalance(&self, client: &Consumer, wanted: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let assigns = wanted == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if self.closing.load(Ordering::SeqCst) {
            // librdkafka does not end before it has its answer.
            let answer = if assigns { assign(client, &[]) } else { unassign(client, &[]) };
            answer.unwrap_or_else(|error| debug!(target: "librdkafka", %error, "while closing"));
            return;
        }
        let elements = list.elements();
        let partition = |element: &TopicPartitionListElem<'_>| {
            Some(Partition::new(element.topic(), u32::try_from(element.partition()).ok()?))
        };
        let partitions = elements.iter().filter_map(partition).collect();
        let rebalance = match (assigns, client.assignment_lost()) {
            (true, _) => Rebalance::Assign(partitions),
            (false, true) => Rebalance::Lost(partitions),
            (false, false) => Rebalance::Revoke(partitions),
        };
        self.rebalances.lock().unwrap_or_else(PoisonError::into_inner).push_back(rebalance);
        self.wake.notify_one();
    }
}

/// Has librdkafka read these, each from its offset, beside what it reads.
pub(super) fn assign(client: &Consumer, from: &[(Partition, u64)]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(from.len());
    for (partition, offset) in from {
        let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        list.add_partition_offset(&partition.topic, number_of(partition), offset)?;
    }
    client.incremental_assign(&list)
}

/// Has librdkafka read these no more.
pub(super) fn unassign(client: &Consumer, partitions: &[Partition]) -> KafkaResult<()> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition(&partition.topic, number_of(partition));
    }
    client.incremental_unassign(&list)
}

/// Serves what librdkafka has for us beside messages; does not wait.
///
/// # Errors
/// A message that came here would be lost to its partition; that is refused rather than ignored.
pub(super) fn serve(client: &Client) -> Result<(), Outage> {
    for _ in 0..EVENTS_AT_ONCE {
        // The context has heard errors already. None may also be a log line, with more behind it.
        if let Some(Ok(_)) = client.poll(Duration::ZERO) {
            let operation = "a message came outside of its partition's queue".to_owned();
            return Err(Outage { operation, source: None });
        }
    }
    Ok(())
}

/// What the cluster has of these topics now.
///
/// # Errors
/// An outage when nobody answers. Cancel-safe: a question that nobody waits for any more ends by itself.
pub(super) async fn ask_topics(
    client: &Arc<Client>,
    topics: Vec<Arc<str>>,
) -> Result<Vec<Result<Described, RDKafkaErrorCode>>, Error> {
    ask(client, "ask for topics", move |client| describe(client, &topics, QUESTION_LIMIT)).await
}

/// The names of all topics but Kafka's own.
///
/// # Errors
/// An outage when nobody answers. Cancel-safe.
pub(super) async fn ask_names(client: &Arc<Client>) -> Result<Vec<String>, Error> {
    let names = |client: &Client| {
        let metadata = client.fetch_metadata(None, QUESTION_LIMIT).map_err(|error| code(&error))?;
        let names = metadata.topics().iter().map(|topic| topic.name().to_owned());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with("__")).collect();
        names.sort();
        Ok(names)
    };
    ask(client, "list topics", names).await
}

/// The bounds of these partitions now, in their order.
///
/// # Errors
/// An outage when nobody answers, or not for all of them. Cancel-safe.
pub(super) async fn ask_bounds(
    client: &Arc<Client>,
    partitions: Vec<Partition>,
    start: Start,
) -> Result<Vec<Bounds>, Error> {
    let bounds = move |client: &Client| {
        let low = offsets(client, &partitions, Offset::Beginning)?;
        let high = offsets(client, &partitions, Offset::End)?;
        let begin = match start {
            Start::Earliest => low.clone(),
            Start::Latest => high.clone(),
            Start::At(time) => {
                let times = offsets(client, &partitions, Offset::Offset(time.as_millisecond()))?;
                // The broker says `end` of a time after the last message.
                times.into_iter().zip(&high).map(|(begin, high)| begin.min(*high)).collect()
            }
        };
        let bounds = low.into_iter().zip(high).zip(begin);
        Ok(bounds.map(|((low, high), begin)| Bounds { low, high, begin }).collect())
    };
    ask(client, "ask for offsets", bounds).await
}

/// The ends of these partitions now, in their order.
///
/// # Errors
/// An outage when nobody answers, or not for all of them. Cancel-safe.
pub(super) async fn ask_ends(client: &Arc<Client>, partitions: Vec<Partition>) -> Result<Vec<u64>, Error> {
    let ends = move |client: &Client| offsets(client, &partitions, Offset::End);
    ask(client, "ask for offsets", ends).await
}

/// Asks a blocking question where it may block, and again while the cluster is only busy with itself.
async fn ask<T: Send + 'static>(
    client: &Arc<Client>,
    operation: &'static str,
    question: impl Fn(&Client) -> Result<T, RDKafkaErrorCode> + Send + Sync + 'static,
) -> Result<T, Error> {
    let question = Arc::new(question);
    let deadline = Instant::now() + QUESTION_LIMIT;
    let watch: &Watch = client.context();
    loop {
        let (shared, asked) = (Arc::clone(client), Arc::clone(&question));
        let answer = tokio::task::spawn_blocking(move || {
            let answer = asked(&shared);
            if answer.is_err() {
                // The reason lies among the events.
                serve(&shared)?;
            }
            Ok(answer)
        });
        let answer = match answer.await {
            Ok(served) => served.map_err(Error::Outage)?,
            Err(died) => return Err(Error::Outage(Outage::new(format!("could not {operation}"), died))),
        };
        match answer {
            Ok(answer) => {
                watch.heard();
                return Ok(answer);
            }
            Err(error) if is_passing(error) && Instant::now() < deadline => sleep(BUSY_PAUSE).await,
            Err(error) => return Err(Error::Outage(watch.outage(operation, error))),
        }
    }
}

/// Whether the cluster answered that it is about to be able to: a leader is being chosen, a topic was just made.
fn is_passing(error: RDKafkaErrorCode) -> bool {
    matches!(
        error,
        RDKafkaErrorCode::NotLeaderForPartition
            | RDKafkaErrorCode::LeaderNotAvailable
            | RDKafkaErrorCode::ReplicaNotAvailable
            | RDKafkaErrorCode::OffsetNotAvailable
            | RDKafkaErrorCode::FencedLeaderEpoch
            | RDKafkaErrorCode::UnknownLeaderEpoch
    )
}

/// Asks for one end of every partition, or for the first offset at a time, with one request per broker. Under
/// `read_committed` the end is that of what is committed, which is where reading ends.
fn offsets(client: &Client, partitions: &[Partition], which: Offset) -> Result<Vec<u64>, RDKafkaErrorCode> {
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    try_offsets(client, partitions, which).map_err(|error| code(&error))
}

fn try_offsets(client: &Client, partitions: &[Partition], which: Offset) -> KafkaResult<Vec<u64>> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    // A partition that is asked for twice makes the broker refuse the request.
    for partition in partitions.iter().collect::<BTreeSet<_>>() {
        // The protocol's names for the two ends are times: -2 and -1, which are also these offsets' numbers.
        list.add_partition_offset(&partition.topic, number_of(partition), which)?;
    }
    let found = client.offsets_for_times(list, QUESTION_LIMIT)?;
    let one = |partition: &Partition| {
        let element = found
            .find_partition(&partition.topic, number_of(partition))
            .ok_or(KafkaError::OffsetFetch(RDKafkaErrorCode::UnknownPartition))?;
        element.error()?;
        match element.offset() {
            Offset::End if matches!(which, Offset::Offset(_)) => Ok(u64::MAX),
            Offset::Offset(offset) => {
                u64::try_from(offset).map_err(|_negative| KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetNotAvailable))
            }
            _ => Err(KafkaError::OffsetFetch(RDKafkaErrorCode::OffsetNotAvailable)),
        }
    };
    partitions.iter().map(one).collect()
}

/// The number of a partition as librdkafka wants it; the cluster's own numbers always fit.
pub(super) fn number_of(partition: &Partition) -> i32 {
    i32::try_from(partition.number).unwrap_or(-1)
}

fn code(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}

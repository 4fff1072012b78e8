//! A whole document store as a feed: its documents in the order in which it lists them, at most at a given rate.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use crate::documents::{DocumentStore, ListError};
use crate::model::{Change, Checkpoint, DocumentKey, Partition, PillowName, Position, ProcessorName, Progress};

/// What the lanes of backfills are called before their number; no feed has such a topic.
const TOPIC: &str = "backfill:";

/// Most documents of one page.
const PAGE: usize = 500;

/// A backfill that was asked for.
#[derive(Debug)]
pub struct Order {
    /// Its number: the identity of its checkpoints.
    pub number: i64,
    /// The only processor that runs; all when none.
    pub processor: Option<ProcessorName>,
    /// The only parts of it that are written; all when none.
    pub parts: Option<Arc<[String]>>,
    /// At most so many documents a second.
    pub rate: Option<NonZeroU32>,
    /// Whether it goes on while the pillow is paused, because it is all that the pillow runs for.
    pub reading: Reading,
    /// How far it is.
    pub report: watch::Sender<Report>,
}

/// What a pillow that has a backfill to do reads beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reading {
    /// Its feed; a pause holds both.
    Feed,
    /// Nothing: the pillow runs for the backfill alone.
    Nothing,
}

/// How far a backfill is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Documents that were done with: settled, or of no concern to the pillow.
    pub done: u64,
    /// About how many there are.
    pub total: Option<u64>,
    /// Whether it goes on.
    pub state: Progressing,
}

/// Whether a backfill goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Progressing {
    /// It does.
    #[default]
    Under,
    /// It waits for the store.
    Waiting(String),
    /// All is settled.
    Done,
    /// It cannot be done.
    Failed(String),
}

/// One store of a pillow, and the documents in it that concern the pillow.
#[derive(Clone)]
pub struct Part {
    /// The source whose documents are meant; none: of the pillow's topics, but for those that have a store of their own.
    pub source: Option<Arc<str>>,
    /// Where they are.
    pub store: Arc<dyn DocumentStore>,
    /// The pillow's topics.
    pub topics: Vec<Arc<str>>,
    /// Sources with a store of their own.
    pub elsewhere: Vec<Arc<str>>,
}

/// A document to be replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stub {
    /// The topic that its changes are on.
    pub topic: Arc<str>,
    /// Stands for its latest change.
    pub change: Arc<Change>,
}

/// A page of a part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// What settling it makes.
    pub progress: Progress,
    /// The documents that concern the pillow.
    pub stubs: Vec<Stub>,
}

/// Goes through one part.
pub struct Walk {
    part: Part,
    partition: Partition,
    incarnation: Arc<str>,
    position: Position,
    most: NonZeroUsize,
    rate: Option<NonZeroU32>,
    /// The rate allows no page before.
    not_before: Instant,
}

/// Why a walk cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The store does not list its documents, or not now.
    #[error(transparent)]
    List(ListError),
    /// It is not known which topic the documents belong to.
    #[error("{0}")]
    Topic(String),
}

impl Order {
    /// Whether a partition is a lane of a backfill.
    pub fn is_lane(partition: &Partition) -> bool {
        partition.topic.starts_with(TOPIC)
    }

    /// The lane of the backfill's part at `index`; its checkpoint is the backfill's cursor.
    pub fn partition(&self, index: u32) -> Partition {
        Partition::new(format!("{TOPIC}{}", self.number), index)
    }

    /// Changes what is said about it.
    pub fn say(&self, change: impl FnOnce(&mut Report)) {
        self.report.send_modify(change);
    }
}

impl Walk {
    /// Goes through `part` from where the checkpoint of its lane says, in pages of at most `most`.
    pub fn new(
        pillow: &PillowName,
        order: &Order,
        part: Part,
        partition: Partition,
        checkpoint: Option<Checkpoint>,
        most: NonZeroUsize,
    ) -> Self {
        let position = checkpoint.map_or(Position::number(0), |checkpoint| checkpoint.position);
        let by_rate = order.rate.map_or(PAGE, |rate| usize::try_from(rate.get()).unwrap_or(PAGE));
        let most = NonZeroUsize::new(most.get().min(PAGE).min(by_rate)).unwrap_or(NonZeroUsize::MIN);
        let incarnation = Arc::from(format!("{pillow}/{}", order.number));
        Self { part, partition, incarnation, position, most, rate: order.rate, not_before: Instant::now() }
    }

    /// Documents of this part that are behind it.
    pub fn passed(&self) -> u64 {
        self.position.as_number()
    }

    /// The lane.
    pub fn partition(&self) -> &Partition {
        &self.partition
    }

    /// The next page; none after the last. Waits as the rate says.
    ///
    /// # Errors
    /// When the store cannot list, or a document's topic is not known.
    pub async fn next(&mut self) -> Result<Option<Page>, WalkError> {
        sleep_until(self.not_before).await;
        let listed = self.part.store.list(self.position.token.as_deref(), self.most).await.map_err(WalkError::List)?;
        let count = listed.documents.len();
        if count == 0 {
            return Ok(None);
        }
        if let Some(rate) = self.rate {
            let took = Duration::from_secs_f64(count as f64 / f64::from(rate.get()));
            self.not_before = self.not_before.max(Instant::now()) + took;
        }
        let mut stubs = Vec::with_capacity(count);
        for document in listed.documents {
            if let Some((topic, source)) = self.part.belongs(document.source)? {
                stubs.push(Stub { topic, change: Arc::new(stub(DocumentKey { source, id: document.id })) });
            }
        }
        let next = Position { order: [self.position.order[0] + count as u64, 0], token: listed.next };
        let progress = Progress {
            partition: self.partition.clone(),
            incarnation: Arc::clone(&self.incarnation),
            from: std::mem::replace(&mut self.position, next.clone()),
            next,
        };
        Ok(Some(Page { progress, stubs }))
    }
}

/// Which topic a document's changes are on, and what its source is called there.
type TopicAndSource = (Arc<str>, Arc<str>);

impl Part {
    /// The topic and the source of a document, by what the store says of its source; none when it does not concern the
    /// pillow.
    fn belongs(&self, listed: Option<Arc<str>>) -> Result<Option<TopicAndSource>, WalkError> {
        let topic_of = |source: &Arc<str>| self.topics.iter().find(|topic| *topic == source).cloned();
        let only = || match self.topics.as_slice() {
            [only] => Some(Arc::clone(only)),
            _ => None,
        };
        match (&self.source, listed) {
            (Some(own), Some(listed)) if *own != listed => Ok(None),
            (Some(own), _) => match topic_of(own).or_else(only) {
                Some(topic) => Ok(Some((topic, Arc::clone(own)))),
                None => Err(WalkError::Topic(format!(
                    "the pillow reads several topics, and none of them is called like its source {own}: it is not known \
                     on which of them the changes of its documents are"
                ))),
            },
            (None, Some(listed)) if self.elsewhere.contains(&listed) => Ok(None),
            (None, Some(listed)) => Ok(topic_of(&listed).map(|topic| (topic, listed))),
            (None, None) => match only() {
                Some(topic) => Ok(Some((Arc::clone(&topic), topic))),
                None => Err(WalkError::Topic(
                    "the pillow reads several topics, and the store does not say which source a document is of: have its \
                     query `ids` select `source` as well"
                        .to_owned(),
                )),
            },
        }
    }
}

/// A change that says no more than that there is a document.
fn stub(key: DocumentKey) -> Change {
    Change::of(key, Position::number(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::memory::MemoryDocuments;

    fn part(topics: &[&str], source: Option<&str>) -> Part {
        let documents = MemoryDocuments::default();
        for id in 0..10 {
            let source = if id % 2 == 0 { "form" } else { "case" };
            documents.put(DocumentKey::new(source, id.to_string()), "{}");
        }
        Part {
            source: source.map(Arc::from),
            store: Arc::new(documents),
            topics: topics.iter().copied().map(Arc::from).collect(),
            elsewhere: vec!["ledger".into()],
        }
    }

    fn order(rate: Option<u32>) -> Order {
        let rate = rate.and_then(NonZeroU32::new);
        Order {
            number: 7,
            processor: None,
            parts: None,
            rate,
            reading: Reading::Feed,
            report: watch::Sender::default(),
        }
    }

    fn walk(part: Part, order: &Order, most: usize, checkpoint: Option<Checkpoint>) -> Walk {
        let most = NonZeroUsize::new(most).unwrap();
        Walk::new(&PillowName::new("p"), order, part, order.partition(0), checkpoint, most)
    }

    async fn pages(walk: &mut Walk) -> Vec<(u64, Vec<String>)> {
        let mut pages = Vec::new();
        while let Some(page) = walk.next().await.unwrap() {
            let text = |stub: &Stub| format!("{}:{}", stub.topic, stub.change.key.id);
            pages.push((page.progress.next.as_number(), page.stubs.iter().map(text).collect()));
        }
        pages
    }

    #[tokio::test]
    async fn documents_of_other_topics_are_passed_by() {
        let order = order(None);
        let pages = pages(&mut walk(part(&["form", "other"], None), &order, 4, None)).await;
        let counts: Vec<u64> = pages.iter().map(|(count, _)| *count).collect();
        assert_eq!(counts, [4, 8, 10]);
        let stubs: Vec<String> = pages.into_iter().flat_map(|(_, stubs)| stubs).collect();
        assert_eq!(stubs, ["form:0", "form:2", "form:4", "form:6", "form:8"]);
    }

    #[tokio::test]
    async fn a_walk_goes_on_where_its_checkpoint_says() {
        let order = order(None);
        let mut first = walk(part(&["form"], Some("form")), &order, 3, None);
        let Page { progress, .. } = first.next().await.unwrap().unwrap();
        let checkpoint = Checkpoint { incarnation: progress.incarnation, position: progress.next };
        let mut second = walk(part(&["form"], Some("form")), &order, 3, Some(checkpoint));
        assert_eq!((second.passed(), pages(&mut second).await), (3, pages(&mut first).await));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_kept_from_page_to_page() {
        let order = order(Some(2));
        let began = Instant::now();
        assert_eq!(pages(&mut walk(part(&["form"], None), &order, 500, None)).await.len(), 5);
        // The first page at once; the answer that there are no more comes when the last page's time is over.
        assert_eq!(began.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn a_document_whose_topic_is_not_known_is_refused_with_what_to_do() {
        let check = |part: &Part, listed: Option<&str>, expected: &str| {
            let found = part.belongs(listed.map(Arc::from));
            let text = match found {
                Ok(Some((topic, source))) => format!("{topic} {source}"),
                Ok(None) => "passed by".to_owned(),
                Err(error) => error.to_string(),
            };
            assert!(text.contains(expected), "{text}");
        };
        check(&part(&["form"], None), None, "form form");
        check(&part(&["form"], Some("couch")), None, "form couch");
        check(&part(&["form", "case"], Some("case")), None, "case case");
        check(&part(&["form", "ledger"], None), Some("ledger"), "passed by");
        check(&part(&["form", "case"], None), None, "select `source` as well");
        check(&part(&["form", "case"], Some("couch")), None, "none of them is called like its source couch");
    }
}

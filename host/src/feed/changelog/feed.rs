//! Reads the change log: the feed, and the source that opens feeds over one database.

use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use tokio::sync::watch;

use crate::feed::{End, Ends, Error, Event, Feed, From, Limits, Read, Source, Start};
use crate::model::{Checkpoint, Outage, Partition, Position, Progress};
use crate::sql::Database;

use super::place;
use super::rows::{Place, check_log, check_pruned, ends, heads, read_page};
use super::schema::{self, ChangeLog};
use super::wake::Watcher;

/// Opens feeds over the change log of a database. Make one for each database: its feeds share one watcher.
#[derive(Debug)]
pub struct ChangelogSource {
    database: Database,
    watcher: OnceLock<Arc<Watcher>>,
}

/// A feed over some topics of a change log.
#[derive(Debug)]
pub struct ChangelogFeed {
    database: Database,
    log: ChangeLog,
    start: Start,
    partitions: Vec<Partition>,
    lanes: Vec<Lane>,
    /// Whose turn it is: partitions take turns, so that a long backlog in one does not hold back the others.
    turn: usize,
    watcher: Arc<Watcher>,
    grown: watch::Receiver<u64>,
    /// The log may hold more than the lanes know.
    stale: bool,
    /// Changes were committed that cannot be read yet: this is not the end.
    held_back: bool,
    /// The end was confirmed by asking, and said.
    said_end: bool,
}

/// One partition being read.
#[derive(Debug)]
struct Lane {
    partition: Partition,
    /// The next place to read.
    next: Position,
    /// Whether there may be rows from there on.
    ready: bool,
    /// The place was chosen here and is still to be said, so that it is kept.
    chosen_now: bool,
}

impl ChangelogSource {
    /// A source over `database`.
    pub fn new(database: Database) -> Self {
        Self { database, watcher: OnceLock::new() }
    }
}

#[async_trait]
impl Source for ChangelogSource {
    async fn open(&self, topics: &[Arc<str>], start: Start) -> Result<Box<dyn Feed>, Error> {
        let place = place(&self.database);
        let encoding = schema::encoding(&self.database).await.map_err(Error::Outage)?;
        if !["UTF-8", "UTF8"].contains(&encoding.as_str()) {
            return Err(Error::Refused(format!("database {place} holds {encoding} text; a change log must be UTF-8")));
        }
        let log = schema::find(&self.database).await.map_err(Error::Outage)?.ok_or_else(|| {
            Error::Refused(format!("database {place} has no change log; `pillowtop publish` creates it"))
        })?;
        let mut partitions: Vec<Partition> = topics
            .iter()
            .flat_map(|topic| (0..u32::from(log.partitions.get())).map(move |number| Partition::new(topic, number)))
            .collect();
        partitions.sort();
        partitions.dedup();
        let watcher = Arc::clone(self.watcher.get_or_init(|| Arc::new(Watcher::start(&self.database))));
        Ok(Box::new(ChangelogFeed {
            database: self.database.clone(),
            log,
            start,
            partitions,
            lanes: Vec::new(),
            turn: 0,
            grown: watcher.subscribe(),
            watcher,
            stale: true,
            held_back: false,
            said_end: false,
        }))
    }
}

#[async_trait]
impl Feed for ChangelogFeed {
    async fn partitions(&mut self) -> Result<Vec<Partition>, Error> {
        Ok(self.partitions.clone())
    }

    async fn start(&mut self, from: Vec<From>) -> Result<(), Error> {
        let first = Position::number(0);
        let place = |from: &From| from.checkpoint.as_ref().map_or(first.clone(), |at| at.position.clone());
        let nexts: Vec<Position> = from.iter().map(place).collect();
        let places: Vec<Place<'_>> = from.iter().zip(&nexts).map(|(from, next)| (&from.partition, next)).collect();
        let found = heads(&self.database, &places).await?;
        let mut lanes = Vec::with_capacity(from.len());
        for (from, head) in from.iter().zip(&found.heads) {
            if !self.partitions.contains(&from.partition) {
                return Err(Error::Refused(format!("the change log has no partition {}", from.partition)));
            }
            let next = match &from.checkpoint {
                Some(checkpoint) => {
                    check_log(&from.partition, checkpoint, &found)?;
                    check_pruned((&from.partition, &checkpoint.position), head)?;
                    checkpoint.position.clone()
                }
                None if self.start == Start::Latest => found.end.clone(),
                None => head.pruned_before.clone().unwrap_or(Position::number(1)),
            };
            let chosen_now = from.checkpoint.is_none() && self.start == Start::Latest;
            lanes.push(Lane { partition: from.partition.clone(), next, ready: false, chosen_now });
        }
        self.log.incarnation = Arc::from(found.incarnation);
        self.lanes = lanes;
        self.stale = true;
        Ok(())
    }

    async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        // Cancel-safe: what a query found is handed out without another wait, and a wake is remembered in `stale`
        // before the query that answers it.
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.chosen_now) {
            lane.chosen_now = false;
            let at = lane.next.clone();
            let (partition, incarnation) = (lane.partition.clone(), Arc::clone(&self.log.incarnation));
            let progress = Progress { partition, incarnation, from: at.clone(), next: at };
            return Ok(Event::Read(Read { progress, entries: Vec::new() }));
        }
        loop {
            if self.grown.has_changed().unwrap_or(false) {
                self.grown.mark_unchanged();
                self.stale = true;
            }
            if self.stale {
                self.look().await?;
            }
            if let Some(lane) = self.next_ready() {
                if let Some(read) = self.read(lane, limits).await? {
                    return Ok(Event::Read(read));
                }
            } else if !self.said_end && !self.held_back {
                self.said_end = true;
                return Ok(Event::AtEnd);
            } else if self.grown.changed().await.is_err() {
                let operation = format!("the watcher of {} ended", place(&self.database));
                return Err(Error::Outage(Outage { operation, source: None }));
            } else {
                self.stale = true;
            }
        }
    }

    fn ends(&mut self, at: &[(Partition, Position)]) -> Ends {
        let (database, at) = (self.database.clone(), at.to_vec());
        Box::pin(async move {
            let places: Vec<Place<'_>> = at.iter().map(|(partition, position)| (partition, position)).collect();
            let found = ends(&database, &places).await?;
            let end = |((partition, _), (position, lag)): (&(Partition, Position), (Position, u64))| End {
                partition: partition.clone(),
                position,
                lag: Some(lag),
            };
            Ok(at.iter().zip(found).map(end).collect())
        })
    }
}

impl ChangelogFeed {
    /// Asks which partitions have more; the one question that a wake costs.
    async fn look(&mut self) -> Result<(), Error> {
        self.watcher.check().map_err(Error::Outage)?;
        let places: Vec<Place<'_>> = self.lanes.iter().map(|lane| (&lane.partition, &lane.next)).collect();
        let found = heads(&self.database, &places).await?;
        for (lane, head) in self.lanes.iter().zip(&found.heads) {
            let at = Checkpoint { incarnation: Arc::clone(&self.log.incarnation), position: lane.next.clone() };
            check_log(&lane.partition, &at, &found)?;
            check_pruned((&lane.partition, &lane.next), head)?;
        }
        for (lane, head) in self.lanes.iter_mut().zip(&found.heads) {
            lane.ready = head.first.is_some();
        }
        self.held_back = found.heads.iter().any(|head| head.held_back);
        self.stale = false;
        Ok(())
    }

    fn next_ready(&self) -> Option<usize> {
        let count = self.lanes.len();
        (0..count).map(|step| (self.turn + step) % count).find(|lane| self.lanes[*lane].ready)
    }

    /// Reads on in one partition; none when its rows are gone.
    async fn read(&mut self, at: usize, limits: Limits) -> Result<Option<Read>, Error> {
        let Lane { partition, next: from, .. } = &self.lanes[at];
        let page = read_page(&self.database, (partition, from), limits).await?;
        let next = page.next.unwrap_or_else(|| from.clone());
        let progress = Progress {
            partition: partition.clone(),
            incarnation: Arc::clone(&self.log.incarnation),
            from: from.clone(),
            next: next.clone(),
        };
        let lane = &mut self.lanes[at];
        lane.next = next;
        lane.ready = page.has_more;
        self.turn = at + 1;
        if !page.has_more {
            // The end is said when the log was asked after the last read, not because a read came back short.
            self.stale = true;
        }
        if page.entries.is_empty() {
            return Ok(None);
        }
        self.said_end = false;
        Ok(Some(Read { progress, entries: page.entries }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::changelog::create_tables;
    use crate::model::Entry;
    use std::num::{NonZeroU16, NonZeroUsize};
    use std::time::Duration;
    use tokio::time::{Instant, timeout};

    const LIMITS: Limits =
        Limits { count: NonZeroUsize::new(1000).unwrap(), bytes: NonZeroUsize::new(1 << 20).unwrap() };

    struct Log {
        folder: tempfile::TempDir,
        database: Database,
    }

    impl Log {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let database = Database::open(&url(&folder)).await.unwrap();
            create_tables(&database, NonZeroU16::MIN).await.unwrap();
            Self { folder, database }
        }

        async fn run(&self, statement: &'static str) {
            let sqlite = self.database.sqlite().unwrap();
            sqlx::query(statement).execute(&sqlite.writer).await.unwrap();
        }

        /// A feed with connections of its own, started at the beginning.
        async fn feed(&self) -> Box<dyn Feed> {
            let source = ChangelogSource::new(Database::open(&url(&self.folder)).await.unwrap());
            let mut feed = source.open(&["t".into()], Start::Earliest).await.unwrap();
            feed.start(vec![From { partition: Partition::new("t", 0), checkpoint: None }]).await.unwrap();
            feed
        }

        async fn entries(&self) -> Vec<Entry> {
            match self.feed().await.next(LIMITS).await.unwrap() {
                Event::Assigned(_) | Event::Revoked(_) | Event::Lost(_) => panic!("a change log has fixed partitions"),
                Event::Read(read) => read.entries,
                Event::AtEnd => Vec::new(),
            }
        }
    }

    fn url(folder: &tempfile::TempDir) -> String {
        format!("sqlite:{}", folder.path().join("log.db").display())
    }

    #[tokio::test]
    async fn the_shortest_insert_is_a_whole_change() {
        let log = Log::new().await;
        log.run("insert into change_log (topic, document_id) values ('t', 'a')").await;
        let entries = log.entries().await;
        let [Entry::Change(change)] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!((change.key.source.as_ref(), change.key.id.as_ref()), ("t", "a"));
        assert!(change.published_at.is_some());
    }

    #[tokio::test]
    async fn what_was_rolled_back_is_never_seen() {
        let log = Log::new().await;
        let sqlite = log.database.sqlite().unwrap();
        let mut transaction = sqlite.writer.begin().await.unwrap();
        let insert = "insert into change_log (topic, document_id) values ('t', 'a')";
        sqlx::query(insert).execute(&mut *transaction).await.unwrap();
        assert_eq!(log.entries().await, []);
        transaction.rollback().await.unwrap();
        assert_eq!(log.entries().await, []);
    }

    #[tokio::test]
    async fn a_message_about_another_document_than_its_row_is_not_understood() {
        let log = Log::new().await;
        log.run(r#"insert into change_log (topic, document_id, change) values ('t', 'a', '{"document_id":"b"}')"#)
            .await;
        let entries = log.entries().await;
        let [Entry::Undecodable(undecodable)] = entries.as_slice() else { panic!("{entries:?}") };
        assert_eq!(undecodable.reason, "the message is about document b, but its row is about document a");
        assert_eq!(undecodable.bytes.as_ref(), br#"{"document_id":"b"}"#);
    }

    #[tokio::test]
    async fn an_insert_wakes_a_waiting_feed_long_before_the_safety_check() {
        let log = Log::new().await;
        let mut feed = log.feed().await;
        assert_eq!(feed.next(LIMITS).await.unwrap(), Event::AtEnd);
        let began = Instant::now();
        for _ in 0..20 {
            let insert = log.run("insert into change_log (topic, document_id) values ('t', 'a')");
            let (event, ()) = tokio::join!(timeout(Duration::from_secs(20), feed.next(LIMITS)), insert);
            assert!(matches!(event.unwrap().unwrap(), Event::Read(_)));
            assert_eq!(feed.next(LIMITS).await.unwrap(), Event::AtEnd);
        }
        // The safety check alone would take two seconds for each; a slow disk may take its time now and then.
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    }

    #[tokio::test]
    async fn writes_to_other_tables_wake_no_feed() {
        let log = Log::new().await;
        log.run("create table settled (n integer)").await;
        let mut feed = log.feed().await;
        assert_eq!(feed.next(LIMITS).await.unwrap(), Event::AtEnd);
        let watcher = Watcher::start(&log.database);
        let mut grown = watcher.subscribe();
        // The first look at the log wakes, because nothing is known before it.
        timeout(Duration::from_secs(20), grown.changed()).await.unwrap().unwrap();
        for _ in 0..20 {
            log.run("insert into settled values (1)").await;
        }
        log.run("insert into change_log (topic, document_id) values ('t', 'a')").await;
        timeout(Duration::from_secs(20), grown.changed()).await.unwrap().unwrap();
        assert_eq!(*grown.borrow(), 2);
    }

    #[tokio::test]
    async fn a_row_that_is_pruned_before_it_is_read_is_missed_by_name() {
        let log = Log::new().await;
        log.run("insert into change_log (topic, document_id) values ('t', 'a'), ('t', 'b'), ('t', 'c')").await;
        let mut feed = log.feed().await;
        let one = Limits { count: NonZeroUsize::MIN, ..LIMITS };
        assert!(matches!(feed.next(one).await.unwrap(), Event::Read(_)));
        log.run("delete from change_log where id <= 1").await;
        // What was read may go.
        assert!(matches!(feed.next(one).await.unwrap(), Event::Read(_)));
        log.run("delete from change_log").await;
        let error = timeout(Duration::from_secs(20), feed.next(one)).await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), "First available topic offset for t:0 is 4 but needed 3.");
    }

    #[tokio::test]
    async fn a_file_that_is_gone_or_replaced_is_an_outage_and_not_an_end() {
        let log = Log::new().await;
        let mut feed = log.feed().await;
        assert_eq!(feed.next(LIMITS).await.unwrap(), Event::AtEnd);
        let (file, aside) = (log.folder.path().join("log.db"), log.folder.path().join("aside.db"));
        std::fs::rename(&file, &aside).unwrap();
        let error = timeout(Duration::from_secs(20), feed.next(LIMITS)).await.unwrap().unwrap_err();
        let Error::Outage(outage) = error else { panic!("{error:?}") };
        assert!(outage.to_string().ends_with("log.db is gone"), "{outage}");
        std::fs::write(&file, "another").unwrap();
        let error = feed.next(LIMITS).await.unwrap_err();
        let Error::Outage(outage) = error else { panic!("{error:?}") };
        assert!(outage.to_string().contains("was replaced by another file"), "{outage}");
        std::fs::rename(&aside, &file).unwrap();
        log.run("insert into change_log (topic, document_id) values ('t', 'a')").await;
        let event = timeout(Duration::from_secs(20), feed.next(LIMITS)).await.unwrap().unwrap();
        assert!(matches!(event, Event::Read(_)));
    }

    #[tokio::test]
    async fn a_change_may_hold_any_bytes() {
        let log = Log::new().await;
        log.run(
            r#"insert into change_log (topic, document_id, change) values
               ('t', '1 2 3 é', '{"domain":"12 3 😀"}'), ('t', '', '{}'), ('t', 'b', x'00ff20'), ('t', 'c', '')"#,
        )
        .await;
        let entries = log.entries().await;
        let [Entry::Change(first), Entry::Change(empty), Entry::Undecodable(bytes), Entry::Undecodable(nothing)] =
            entries.as_slice()
        else {
            panic!("{entries:?}")
        };
        assert_eq!((first.key.id.as_ref(), first.domain.as_deref()), ("1 2 3 é", Some("12 3 😀")));
        assert_eq!(empty.key.id.as_ref(), "");
        assert_eq!((bytes.bytes.as_ref(), nothing.bytes.as_ref()), ([0, 255, 32].as_slice(), [].as_slice()));
    }

    #[tokio::test]
    async fn a_database_without_a_change_log_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let source = ChangelogSource::new(Database::open(&url(&folder)).await.unwrap());
        let error = source.open(&["t".into()], Start::Earliest).await.err().unwrap().to_string();
        assert!(error.ends_with("log.db has no change log; `pillowtop publish` creates it"), "{error}");
    }
}

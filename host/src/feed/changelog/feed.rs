//! Reads the change log: the feed, and the source that opens feeds over one database.

use std::str::from_utf8;
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::sync::watch;

use crate::feed::{End, Error, Event, Feed, From, Limits, Read, Source, Start};
use crate::model::{Beside, Change, Checkpoint, Entry, Outage, Partition, Position, Progress, Undecodable, chain};
use crate::sql::{Database, Sqlite};

use super::outage;
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
    sqlite: Sqlite,
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
    /// The end was confirmed by asking, and said.
    said_end: bool,
}

/// One partition being read.
#[derive(Debug)]
struct Lane {
    partition: Partition,
    /// The next id to read.
    next: u64,
    /// Whether there may be rows from there on.
    ready: bool,
}

/// What the log says about one partition, seen from one place in it.
#[derive(Debug)]
struct Head {
    /// The first row from that place on.
    first: Option<u64>,
    /// Every row below may have been deleted, and the one just below was.
    pruned_before: Option<u64>,
}

/// What the log says about all partitions in one moment.
#[derive(Debug)]
struct Heads {
    incarnation: String,
    /// The id that the next row will have, at least.
    end: u64,
    heads: Vec<Head>,
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
        let Database::Sqlite(sqlite) = &self.database;
        let encoding: String = sqlx::query_scalar("pragma encoding")
            .fetch_one(&sqlite.readers)
            .await
            .map_err(outage(&sqlite.path, "read the text encoding"))
            .map_err(Error::Outage)?;
        if encoding != "UTF-8" {
            let path = &sqlite.path;
            return Err(Error::Refused(format!("database {path} holds {encoding} text; a change log must be UTF-8")));
        }
        let log = schema::find(sqlite).await.map_err(Error::Outage)?.ok_or_else(|| {
            let path = &sqlite.path;
            Error::Refused(format!("database {path} has no change log; `pillowtop publish` creates it"))
        })?;
        let mut partitions: Vec<Partition> = topics
            .iter()
            .flat_map(|topic| (0..u32::from(log.partitions.get())).map(move |number| Partition::new(topic, number)))
            .collect();
        partitions.sort();
        partitions.dedup();
        let watcher = Arc::clone(self.watcher.get_or_init(|| Arc::new(Watcher::start(sqlite))));
        Ok(Box::new(ChangelogFeed {
            sqlite: sqlite.clone(),
            log,
            start,
            partitions,
            lanes: Vec::new(),
            turn: 0,
            grown: watcher.subscribe(),
            watcher,
            stale: true,
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
        let places: Vec<(&Partition, u64)> = from
            .iter()
            .map(|from| {
                let next = from.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.position.as_number());
                (&from.partition, next)
            })
            .collect();
        let found = heads(&self.sqlite, &places).await?;
        let mut lanes = Vec::with_capacity(from.len());
        for (from, head) in from.iter().zip(&found.heads) {
            if !self.partitions.contains(&from.partition) {
                return Err(Error::Refused(format!("the change log has no partition {}", from.partition)));
            }
            let next = match &from.checkpoint {
                Some(checkpoint) => {
                    check_log(&from.partition, checkpoint, &found)?;
                    check_pruned(&from.partition, checkpoint.position.as_number(), head)?;
                    checkpoint.position.as_number()
                }
                None if self.start == Start::Latest => found.end,
                None => head.pruned_before.unwrap_or(1),
            };
            lanes.push(Lane { partition: from.partition.clone(), next, ready: false });
        }
        self.log.incarnation = Arc::from(found.incarnation);
        self.lanes = lanes;
        self.stale = true;
        Ok(())
    }

    async fn next(&mut self, limits: Limits) -> Result<Event, Error> {
        // Cancel-safe: what a query found is handed out without another wait, and a wake is remembered in `stale`
        // before the query that answers it.
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
            } else if !self.said_end {
                self.said_end = true;
                return Ok(Event::AtEnd);
            } else if self.grown.changed().await.is_err() {
                let operation = format!("the watcher of {} ended", self.sqlite.path);
                return Err(Error::Outage(Outage { operation, source: None }));
            } else {
                self.stale = true;
            }
        }
    }

    async fn ends(&mut self, at: &[(Partition, Position)]) -> Result<Vec<End>, Error> {
        let places: Vec<(&Partition, u64)> =
            at.iter().map(|(partition, position)| (partition, position.as_number())).collect();
        // Counts rows in the index alone: tens of millions a second.
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            r#"select coalesce(
                 (select max(id) + 1 from change_log where topic = value->>0 and "partition" = value->>1),
                 (select before from change_log_pruned where topic = value->>0 and "partition" = value->>1), 1),
               (select count(*) from change_log
                where topic = value->>0 and "partition" = value->>1 and id >= value->>2)
               from json_each(?1) order by key"#,
        )
        .bind(as_json(&places))
        .fetch_all(&self.sqlite.readers)
        .await
        .map_err(outage(&self.sqlite.path, "count the changes that wait"))
        .map_err(Error::Outage)?;
        let end = |((partition, _), (end, lag)): (&(Partition, Position), (i64, i64))| End {
            partition: partition.clone(),
            position: Position::number(unsigned(end)),
            lag: Some(unsigned(lag)),
        };
        Ok(at.iter().zip(rows).map(end).collect())
    }
}

impl ChangelogFeed {
    /// Asks which partitions have more; the one question that a wake costs.
    async fn look(&mut self) -> Result<(), Error> {
        self.watcher.check_file().map_err(Error::Outage)?;
        let places: Vec<(&Partition, u64)> = self.lanes.iter().map(|lane| (&lane.partition, lane.next)).collect();
        let found = heads(&self.sqlite, &places).await?;
        for (lane, head) in self.lanes.iter().zip(&found.heads) {
            let at =
                Checkpoint { incarnation: Arc::clone(&self.log.incarnation), position: Position::number(lane.next) };
            check_log(&lane.partition, &at, &found)?;
            check_pruned(&lane.partition, lane.next, head)?;
        }
        for (lane, head) in self.lanes.iter_mut().zip(&found.heads) {
            lane.ready = head.first.is_some();
        }
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
        let failed = || outage(&self.sqlite.path, "read the change log");
        let count = i64::try_from(limits.count.get()).unwrap_or(i64::MAX);
        let mut rows = sqlx::query(
            r#"select id, document_id, change, published_at,
                 (select before from change_log_pruned where topic = ?1 and "partition" = ?2)
               from change_log where topic = ?1 and "partition" = ?2 and id >= ?3 order by id limit ?4"#,
        )
        .bind(partition.topic.as_ref())
        .bind(partition.number)
        .bind(signed(*from))
        .bind(count)
        .fetch(&self.sqlite.readers);
        let mut entries = Vec::new();
        let (mut next, mut bytes, mut full) = (*from, 0, false);
        while let Some(row) = rows.try_next().await.map_err(failed()).map_err(Error::Outage)? {
            let (id, size, entry) = decode(&row, &partition.topic).map_err(failed()).map_err(Error::Outage)?;
            if entries.is_empty() {
                let pruned_before: Option<i64> = row.try_get(4).map_err(failed()).map_err(Error::Outage)?;
                let head = Head { first: Some(id), pruned_before: pruned_before.map(unsigned) };
                check_pruned(partition, *from, &head)?;
            } else if bytes + size > limits.bytes.get() {
                full = true;
                break;
            }
            entries.push(entry);
            bytes += size;
            next = id + 1;
        }
        drop(rows);
        full |= entries.len() == limits.count.get();
        let progress = Progress {
            partition: partition.clone(),
            incarnation: Arc::clone(&self.log.incarnation),
            from: Position::number(*from),
            next: Position::number(next),
        };
        let lane = &mut self.lanes[at];
        lane.next = next;
        lane.ready = full;
        self.turn = at + 1;
        if !full {
            // The end is said when the log was asked after the last read, not because a read came back short.
            self.stale = true;
        }
        if entries.is_empty() {
            return Ok(None);
        }
        self.said_end = false;
        Ok(Some(Read { progress, entries }))
    }
}

/// One row as an entry, with its id and its size.
fn decode(row: &SqliteRow, topic: &Arc<str>) -> sqlx::Result<(u64, usize, Entry)> {
    let id = unsigned(row.try_get(0)?);
    let document_id: &[u8] = row.try_get(1)?;
    let change: &[u8] = row.try_get(2)?;
    let published_at: Option<&str> = row.try_get(3).ok();
    let position = Position::number(id);
    let decoded = from_utf8(document_id).map_err(|error| error.to_string()).and_then(|document_id| {
        let beside = Beside { document_id: Some(document_id), source: Some(topic), published_at };
        let change = Change::decode_beside(change, position.clone(), beside).map_err(|error| chain(&error))?;
        if change.key.id.as_ref() == document_id {
            return Ok(change);
        }
        let found = &change.key.id;
        Err(format!("the message is about document {found}, but its row is about document {document_id}"))
    });
    let entry = match decoded {
        Ok(change) => Entry::Change(change),
        Err(reason) => Entry::Undecodable(Undecodable { position, bytes: Bytes::copy_from_slice(change), reason }),
    };
    Ok((id, document_id.len() + change.len(), entry))
}

/// Where the rows of each place begin, and how far its partition was pruned.
async fn heads(sqlite: &Sqlite, places: &[(&Partition, u64)]) -> Result<Heads, Error> {
    let failed = || outage(&sqlite.path, "look for new changes");
    let rows = sqlx::query(
        r#"select
             (select min(id) from change_log
              where topic = place.value->>0 and "partition" = place.value->>1 and id >= place.value->>2),
             (select before from change_log_pruned
              where topic = place.value->>0 and "partition" = place.value->>1),
             meta.incarnation,
             coalesce((select seq from sqlite_sequence where name = 'change_log'), 0) + 1
           from change_log_meta as meta left join json_each(?1) as place order by place.key"#,
    )
    .bind(as_json(places))
    .fetch_all(&sqlite.readers)
    .await
    .map_err(failed())
    .map_err(Error::Outage)?;
    let gone = || Outage { operation: format!("the change log in {} is gone", sqlite.path), source: None };
    let last = rows.last().ok_or_else(|| Error::Outage(gone()))?;
    let incarnation: String = last.try_get(2).map_err(failed()).map_err(Error::Outage)?;
    let end = unsigned(last.try_get(3).map_err(failed()).map_err(Error::Outage)?);
    let mut heads = Vec::with_capacity(places.len());
    // The outer join answers one row, with the log alone, where there are no places.
    for row in rows.iter().take(places.len()) {
        let first: Option<i64> = row.try_get(0).map_err(failed()).map_err(Error::Outage)?;
        let pruned_before: Option<i64> = row.try_get(1).map_err(failed()).map_err(Error::Outage)?;
        heads.push(Head { first: first.map(unsigned), pruned_before: pruned_before.map(unsigned) });
    }
    Ok(Heads { incarnation, end, heads })
}

/// Places as the queries take them: one JSON array of topic, number and next id for each.
fn as_json(places: &[(&Partition, u64)]) -> String {
    let places: Vec<(&str, u32, i64)> =
        places.iter().map(|(partition, next)| (partition.topic.as_ref(), partition.number, signed(*next))).collect();
    serde_json::to_string(&places).expect("texts and numbers are always JSON")
}

/// Whether a checkpoint belongs to this log: to the same one, and to what it holds now. A database that was restored
/// from a copy is the same log with a shorter end, and gives the ids that it lost to other changes.
fn check_log(partition: &Partition, checkpoint: &Checkpoint, found: &Heads) -> Result<(), Error> {
    let Checkpoint { incarnation, position } = checkpoint;
    let remedy = "if it was made again or restored on purpose, say where to go on with `pillowtop checkpoint set`";
    let what = if incarnation.as_ref() != found.incarnation {
        format!(
            "the checkpoint belongs to log {incarnation}, but the database holds log {}; {remedy}",
            found.incarnation
        )
    } else if position.as_number() > found.end {
        format!("the checkpoint is at {position}, but the log ends at {}; {remedy}", found.end)
    } else {
        return Ok(());
    };
    Err(Error::Incarnation { partition: partition.clone(), what })
}

/// Whether rows from `next` on were deleted before they were read. The row just below `pruned_before` was deleted for
/// certain, so a reader at or before it has lost that row at least.
fn check_pruned(partition: &Partition, next: u64, head: &Head) -> Result<(), Error> {
    match head.pruned_before {
        Some(pruned_before) if next < pruned_before => Err(Error::Unavailable {
            partition: partition.clone(),
            available: Position::number(head.first.unwrap_or(pruned_before)),
            needed: Position::number(next),
        }),
        _ => Ok(()),
    }
}

/// An id as SQLite takes it.
fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// An id or a count of SQLite, which are not negative.
fn unsigned(id: i64) -> u64 {
    u64::try_from(id).unwrap_or(0)
}

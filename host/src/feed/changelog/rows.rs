//! What both databases' logs say in the same words: places, heads, pages, and what a checkpoint that does not fit means.

use std::str::from_utf8;

use bytes::Bytes;

use crate::feed::{Error, Limits};
use crate::model::{Beside, Change, Checkpoint, Entry, Partition, Position, Undecodable, chain};
use crate::sql::Database;

use super::{postgres, sqlite};

/// Where reading goes on in a partition.
pub(super) type Place<'a> = (&'a Partition, &'a Position);

/// What the log says about one partition, seen from one place in it.
#[derive(Debug)]
pub(super) struct Head {
    /// The first row from that place on that can be read.
    pub(super) first: Option<Position>,
    /// Every row below may have been deleted, and the one just below was.
    pub(super) pruned_before: Option<Position>,
    /// Rows were committed that cannot be read yet, because a transaction that began before theirs is still open.
    pub(super) held_back: bool,
}

/// What the log says about all partitions in one moment.
#[derive(Debug)]
pub(super) struct Heads {
    pub(super) incarnation: String,
    /// The incarnation that this log had in another cluster, where it was moved here.
    pub(super) moved_from: Option<String>,
    /// Where what comes after now begins.
    pub(super) end: Position,
    /// What no position of this log exceeds, number by number.
    pub(super) bound: [u64; 2],
    pub(super) heads: Vec<Head>,
}

/// Rows of one partition that were read at once.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The rows as entries, in order.
    pub(super) entries: Vec<Entry>,
    /// The position after the last of them; none when there is none.
    pub(super) next: Option<Position>,
    /// Whether there may be more behind them.
    pub(super) has_more: bool,
}

/// Reads rows of a partition from a place on, within the limits.
pub(super) async fn read_page(database: &Database, place: Place<'_>, limits: Limits) -> Result<Page, Error> {
    match database {
        Database::Sqlite(sqlite) => sqlite::read_page(sqlite, place, limits).await,
        Database::Postgres(postgres) => postgres::read_page(postgres, place, limits).await,
    }
}

/// Where the rows of each place begin, and how far its partition was pruned.
pub(super) async fn heads(database: &Database, places: &[Place<'_>]) -> Result<Heads, Error> {
    match database {
        Database::Sqlite(sqlite) => sqlite::heads(sqlite, places).await,
        Database::Postgres(postgres) => postgres::heads(postgres, places).await,
    }
}

/// The end of each place's partition, and how many rows lie in between.
pub(super) async fn ends(database: &Database, places: &[Place<'_>]) -> Result<Vec<(Position, u64)>, Error> {
    match database {
        Database::Sqlite(sqlite) => sqlite::ends(sqlite, places).await,
        Database::Postgres(postgres) => postgres::ends(postgres, places).await,
    }
}

/// A row as an entry.
pub(super) fn decode(position: Position, document_id: &[u8], change: &[u8], published_at: &[u8], topic: &str) -> Entry {
    let decoded = from_utf8(document_id).map_err(|error| error.to_string()).and_then(|document_id| {
        let published_at = from_utf8(published_at).ok();
        let beside = Beside { document_id: Some(document_id), source: Some(topic), published_at };
        let change = Change::decode_beside(change, position.clone(), beside).map_err(|error| chain(&error))?;
        if change.key.id.as_ref() == document_id {
            return Ok(change);
        }
        let found = &change.key.id;
        Err(format!("the message is about document {found}, but its row is about document {document_id}"))
    });
    match decoded {
        Ok(change) => Entry::Change(change),
        Err(reason) => Entry::Undecodable(Undecodable { position, bytes: Bytes::copy_from_slice(change), reason }),
    }
}

/// Whether a checkpoint belongs to this log: to the same one, and to what it holds now. A database that was restored
/// from a copy is the same log with a shorter end, and gives the ids that it lost to other changes.
pub(super) fn check_log(partition: &Partition, checkpoint: &Checkpoint, found: &Heads) -> Result<(), Error> {
    let Checkpoint { incarnation, position } = checkpoint;
    let remedy = "if it was made again or restored on purpose, say where to go on with `pillowtop checkpoint set`";
    let [first, second] = position.order;
    let what = if found.moved_from.as_deref() == Some(incarnation) {
        let (new, after) = (&found.incarnation, postgres::moved(position));
        format!(
            "the log was moved here from another cluster, where it was {incarnation}; the same place is {after} of log \
             {new} now: go on there with `pillowtop checkpoint set PILLOW {partition} {after} --incarnation {new}`"
        )
    } else if incarnation.as_ref() != found.incarnation {
        format!(
            "the checkpoint belongs to log {incarnation}, but the database holds log {}; {remedy}",
            found.incarnation
        )
    } else if first > found.bound[0] || second > found.bound[1] {
        format!("the checkpoint is at {position}, but the log ends at {}; {remedy}", found.end)
    } else {
        return Ok(());
    };
    Err(Error::Incarnation { partition: partition.clone(), what })
}

/// Whether rows from `next` on were deleted before they were read. The row just below `pruned_before` was deleted for
/// certain, so a reader at or before it has lost that row at least.
pub(super) fn check_pruned((partition, next): Place<'_>, head: &Head) -> Result<(), Error> {
    match &head.pruned_before {
        Some(pruned_before) if next < pruned_before => Err(Error::Unavailable {
            partition: partition.clone(),
            available: head.first.as_ref().unwrap_or(pruned_before).clone(),
            needed: next.clone(),
        }),
        _ => Ok(()),
    }
}

/// An id as the database takes it.
pub(super) fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// An id or a count of the database, which are not negative.
pub(super) fn unsigned(id: i64) -> u64 {
    u64::try_from(id).unwrap_or(0)
}

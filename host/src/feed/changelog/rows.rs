//! The change log's rows as the feed takes them: one row as an entry, and what the log says about its partitions.

use std::str::from_utf8;

use bytes::Bytes;
use sqlx::Row;

use crate::feed::{Error, Limits};
use crate::model::{Beside, Change, Checkpoint, Entry, Outage, Partition, Position, Undecodable, chain};
use crate::sql::Sqlite;

use super::outage;

/// What the log says about one partition, seen from one place in it.
#[derive(Debug)]
pub(super) struct Head {
    /// The first row from that place on.
    pub(super) first: Option<u64>,
    /// Every row below may have been deleted, and the one just below was.
    pub(super) pruned_before: Option<u64>,
}

/// What the log says about all partitions in one moment.
#[derive(Debug)]
pub(super) struct Heads {
    pub(super) incarnation: String,
    /// The id that the next row will have, at least.
    pub(super) end: u64,
    pub(super) heads: Vec<Head>,
}

/// Rows of one partition that were read at once.
#[derive(Debug, Default)]
pub(super) struct Page {
    /// The rows as entries, in order.
    pub(super) entries: Vec<Entry>,
    /// The id after the last of them; none when there is none.
    pub(super) next: Option<u64>,
    /// Whether there may be more behind them.
    pub(super) has_more: bool,
}

/// Reads rows of a partition from an id on, within the limits.
///
/// SQLite packs them into one text: measured, a row that passes the driver by itself costs twenty times as much. Each
/// row is its id and the three lengths in bytes of its texts, then the texts; so they may hold anything. The sizes are
/// summed up without the texts, so that what is beyond the limit is not even read.
pub(super) async fn read_page(
    sqlite: &Sqlite,
    partition: &Partition,
    from: u64,
    limits: Limits,
) -> Result<Page, Error> {
    let failed = || outage(&sqlite.path, "read the change log");
    let most = limits.count.get();
    let row = sqlx::query(
        r#"select
             group_concat(
               entry.id || ' ' || octet_length(document_id) || ' ' || octet_length(change) || ' '
                 || octet_length(published_at) || ' ' || document_id || change || published_at,
               '' order by entry.id
             ) filter (where total <= ?5 or total = size),
             count(*),
             min(entry.id),
             (select before from change_log_pruned where topic = ?1 and "partition" = ?2)
           from (
             select id, size, sum(size) over (order by id rows unbounded preceding) as total
             from (
               select id, octet_length(document_id) + octet_length(change) as size
               from change_log where topic = ?1 and "partition" = ?2 and id >= ?3 order by id limit ?4
             )
           ) as entry join change_log using (id)"#,
    )
    .bind(partition.topic.as_ref())
    .bind(partition.number)
    .bind(signed(from))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .bind(i64::try_from(limits.bytes.get()).unwrap_or(i64::MAX))
    .fetch_one(&sqlite.readers)
    .await
    .map_err(failed())
    .map_err(Error::Outage)?;
    let column = |error| Error::Outage(failed()(error));
    let packed: Option<&[u8]> = row.try_get(0).map_err(column)?;
    let found: i64 = row.try_get(1).map_err(column)?;
    let first: Option<i64> = row.try_get(2).map_err(column)?;
    let pruned_before: Option<i64> = row.try_get(3).map_err(column)?;
    check_pruned(partition, from, &Head { first: first.map(unsigned), pruned_before: pruned_before.map(unsigned) })?;
    let found = usize::try_from(found).unwrap_or(usize::MAX);
    let page = unpack(packed.unwrap_or_default(), found.min(most), &partition.topic).ok_or_else(|| {
        let operation = format!("could not understand the answer of {} about {partition}", sqlite.path);
        Error::Outage(Outage { operation, source: None })
    })?;
    let has_more = found == most || page.entries.len() < found;
    Ok(Page { has_more, ..page })
}

/// The entries of a packed text; none when it is not packed as it should be.
fn unpack(mut packed: &[u8], count: usize, topic: &str) -> Option<Page> {
    let mut page = Page { entries: Vec::with_capacity(count), ..Page::default() };
    while !packed.is_empty() {
        let id = take_number(&mut packed)?;
        let lengths = [take_number(&mut packed)?, take_number(&mut packed)?, take_number(&mut packed)?];
        let [document_id, change, published_at] = lengths.map(|length| {
            let (text, rest) = packed.split_at_checked(usize::try_from(length).ok()?)?;
            packed = rest;
            Some(text)
        });
        page.entries.push(decode(id, document_id?, change?, published_at?, topic));
        page.next = Some(id + 1);
    }
    Some(page)
}

/// A number in decimal and the blank behind it.
fn take_number(packed: &mut &[u8]) -> Option<u64> {
    let end = packed.iter().position(|byte| *byte == b' ')?;
    let number = from_utf8(&packed[..end]).ok()?.parse().ok()?;
    *packed = &packed[end + 1..];
    Some(number)
}

fn decode(id: u64, document_id: &[u8], change: &[u8], published_at: &[u8], topic: &str) -> Entry {
    let position = Position::number(id);
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

/// Where the rows of each place begin, and how far its partition was pruned.
pub(super) async fn heads(sqlite: &Sqlite, places: &[(&Partition, u64)]) -> Result<Heads, Error> {
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
pub(super) fn as_json(places: &[(&Partition, u64)]) -> String {
    let places: Vec<(&str, u32, i64)> =
        places.iter().map(|(partition, next)| (partition.topic.as_ref(), partition.number, signed(*next))).collect();
    serde_json::to_string(&places).expect("texts and numbers are always JSON")
}

/// Whether a checkpoint belongs to this log: to the same one, and to what it holds now. A database that was restored
/// from a copy is the same log with a shorter end, and gives the ids that it lost to other changes.
pub(super) fn check_log(partition: &Partition, checkpoint: &Checkpoint, found: &Heads) -> Result<(), Error> {
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
pub(super) fn check_pruned(partition: &Partition, next: u64, head: &Head) -> Result<(), Error> {
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
pub(super) fn signed(id: u64) -> i64 {
    i64::try_from(id).unwrap_or(i64::MAX)
}

/// An id or a count of SQLite, which are not negative.
pub(super) fn unsigned(id: i64) -> u64 {
    u64::try_from(id).unwrap_or(0)
}

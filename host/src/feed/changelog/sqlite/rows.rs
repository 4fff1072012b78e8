//! The rows of a log in SQLite as the feed takes them.

use std::str::from_utf8;

use sqlx::Row;

use crate::feed::changelog::outage;
use crate::feed::changelog::rows::{Head, Heads, Page, Place, check_pruned, decode, signed, unsigned};
use crate::feed::{Error, Limits};
use crate::model::{Outage, Position};
use crate::sql::Sqlite;

/// Reads rows of a partition from an id on, within the limits.
///
/// SQLite packs them into one text: measured, a row that passes the driver by itself costs twenty times as much. Each
/// row is its id and the three lengths in bytes of its texts, then the texts; so they may hold anything. The sizes are
/// summed up without the texts, so that what is beyond the limit is not even read.
pub(in crate::feed::changelog) async fn read_page(
    sqlite: &Sqlite,
    (partition, from): Place<'_>,
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
    .bind(signed(from.as_number()))
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
    check_pruned((partition, from), &head(first, pruned_before))?;
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
        page.entries.push(decode(Position::number(id), document_id?, change?, published_at?, topic));
        page.next = Some(Position::number(id + 1));
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

/// Where the rows of each place begin, and how far its partition was pruned.
pub(in crate::feed::changelog) async fn heads(sqlite: &Sqlite, places: &[Place<'_>]) -> Result<Heads, Error> {
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
        heads.push(head(first, pruned_before));
    }
    Ok(Heads { incarnation, moved_from: None, end: Position::number(end), bound: [end, 0], heads })
}

/// The end of each place's partition, and how many rows lie in between. Counts rows in the index alone: tens of
/// millions a second.
pub(in crate::feed::changelog) async fn ends(
    sqlite: &Sqlite,
    places: &[Place<'_>],
) -> Result<Vec<(Position, u64)>, Error> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        r#"select coalesce(
             (select max(id) + 1 from change_log where topic = value->>0 and "partition" = value->>1),
             (select before from change_log_pruned where topic = value->>0 and "partition" = value->>1), 1),
           (select count(*) from change_log
            where topic = value->>0 and "partition" = value->>1 and id >= value->>2)
           from json_each(?1) order by key"#,
    )
    .bind(as_json(places))
    .fetch_all(&sqlite.readers)
    .await
    .map_err(outage(&sqlite.path, "count the changes that wait"))
    .map_err(Error::Outage)?;
    Ok(rows.into_iter().map(|(end, lag)| (Position::number(unsigned(end)), unsigned(lag))).collect())
}

fn head(first: Option<i64>, pruned_before: Option<i64>) -> Head {
    let position = |id: i64| Position::number(unsigned(id));
    Head { first: first.map(position), pruned_before: pruned_before.map(position), held_back: false }
}

/// Places as the queries take them: one JSON array of topic, number and next id for each.
fn as_json(places: &[Place<'_>]) -> String {
    let places: Vec<(&str, u32, i64)> = places
        .iter()
        .map(|(partition, next)| (partition.topic.as_ref(), partition.number, signed(next.as_number())))
        .collect();
    serde_json::to_string(&places).expect("texts and numbers are always JSON")
}

//! The rows of a log in PostgreSQL as the feed takes them.

use std::collections::HashMap;
use std::mem;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row as _};

use crate::feed::changelog::outage;
use crate::feed::changelog::rows::{Head, Heads, Page, Place, check_pruned, decode, signed, unsigned};
use crate::feed::{Error, Limits};
use crate::model::{Outage, Position};
use crate::sql::Postgres;

use super::schema::CLUSTER;

/// The places that a statement is about, in their order.
const PLACES: &str = "unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[]) with ordinality
             as place (topic, number, xid, id, at)";

/// A row of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LogRow {
    position: Position,
    document_id: String,
    message: Message,
}

/// What the row says, apart from its place.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Message {
    change: String,
    published_at: String,
}

/// Reads rows of a partition from a place on, within the limits. The sizes are summed up before the texts are read.
pub(in crate::feed::changelog) async fn read_page(
    postgres: &Postgres,
    (partition, from): Place<'_>,
    limits: Limits,
) -> Result<Page, Error> {
    let failed = || outage(&postgres.place, "read the change log");
    let most = limits.count.get();
    let rows: Vec<PgRow> = sqlx::query(
        r#"select pruned.xid::text, pruned.before, page.xid::text, page.id, page.document_id, page.change,
             to_char(page.published_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), page.found
           from (select 1) as one
           left join change_log_pruned as pruned on pruned.topic = $1 and pruned."partition" = $2
           left join (
             select *, sum(size) over (order by xid, id rows unbounded preceding) as total, count(*) over () as found
             from (
               select xid, id, document_id, change, published_at, octet_length(document_id) + octet_length(change) as size
               from change_log
               where topic = $1 and "partition" = $2 and (xid, id) >= ($3::text::xid8, $4)
                 and xid < pg_snapshot_xmin(pg_current_snapshot())
               order by xid, id limit $5
             ) as sized
           ) as page on page.total <= $6 or page.total = page.size
           order by page.xid, page.id"#,
    )
    .bind(partition.topic.as_ref())
    .bind(i64::from(partition.number))
    .bind(from.order[0].to_string())
    .bind(signed(from.order[1]))
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .bind(i64::try_from(limits.bytes.get()).unwrap_or(i64::MAX))
    .fetch_all(&postgres.pool)
    .await
    .map_err(failed())
    .map_err(Error::Outage)?;
    let column = |error| Error::Outage(failed()(error));
    let mut found = 0;
    let mut pruned_before = None;
    let mut read: Vec<LogRow> = Vec::with_capacity(rows.len());
    for row in &rows {
        pruned_before = position(row, 0).map_err(column)?;
        let Some(position) = position(row, 2).map_err(column)? else { continue };
        let message =
            Message { change: row.try_get(5).map_err(column)?, published_at: row.try_get(6).map_err(column)? };
        read.push(LogRow { position, document_id: row.try_get(4).map_err(column)?, message });
        found = usize::try_from(row.try_get::<i64, _>(7).map_err(column)?).unwrap_or(usize::MAX);
    }
    let first = read.first().map(|row| row.position.clone());
    check_pruned((partition, from), &Head { first, pruned_before, held_back: false })?;
    let next = read.last().map(|row| after(&row.position));
    let has_more = found == most || read.len() < found;
    in_order_of_writing(&mut read);
    let entry = |row: LogRow| {
        let (change, published_at) = (row.message.change.as_bytes(), row.message.published_at.as_bytes());
        decode(row.position, row.document_id.as_bytes(), change, published_at, &partition.topic)
    };
    Ok(Page { entries: read.into_iter().map(entry).collect(), next, has_more })
}

/// Lets what was said of one document follow each other as it was written. A transaction that waits for another one to
/// release a document may have the lower number, and then its row stands first; the ids, drawn while the document was
/// locked, tell the true order.
fn in_order_of_writing(rows: &mut [LogRow]) {
    let mut places: HashMap<String, Vec<usize>> = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        places.entry(row.document_id.clone()).or_default().push(at);
    }
    for places in places.into_values().filter(|places| places.len() > 1) {
        let mut messages: Vec<(u64, Message)> =
            places.iter().map(|at| (rows[*at].position.order[1], mem::take(&mut rows[*at].message))).collect();
        messages.sort_by_key(|(id, _)| *id);
        for (at, (_, message)) in places.into_iter().zip(messages) {
            rows[at].message = message;
        }
    }
}

/// Where the rows of each place begin, and how far its partition was pruned.
pub(in crate::feed::changelog) async fn heads(postgres: &Postgres, places: &[Place<'_>]) -> Result<Heads, Error> {
    let failed = || outage(&postgres.place, "look for new changes");
    // All in one statement, and so of one moment. A sequence is not part of any moment: its last value is at least what
    // was drawn before.
    let statement = format!(
        r#"select first.xid::text, first.id, pruned.xid::text, pruned.before,
             place.at is not null and exists (
               select 1 from change_log as held where held.topic = place.topic and held."partition" = place.number
                 and held.xid >= pg_snapshot_xmin(pg_current_snapshot())),
             meta.incarnation, meta.moved_from, meta.cluster = {CLUSTER},
             pg_snapshot_xmin(pg_current_snapshot())::text, pg_snapshot_xmax(pg_current_snapshot())::text,
             coalesce(pg_sequence_last_value(pg_get_serial_sequence('change_log', 'id')::regclass), 0) + 1
           from change_log_meta as meta
           left join {PLACES} on true
           left join lateral (
             select xid, id from change_log as entry
             where entry.topic = place.topic and entry."partition" = place.number
               and (entry.xid, entry.id) >= (place.xid::xid8, place.id)
               and entry.xid < pg_snapshot_xmin(pg_current_snapshot())
             order by entry.xid, entry.id limit 1
           ) as first on true
           left join change_log_pruned as pruned on pruned.topic = place.topic and pruned."partition" = place.number
           order by place.at"#
    );
    let rows = at_places(postgres, statement, places).await.map_err(failed()).map_err(Error::Outage)?;
    let column = |error| Error::Outage(failed()(error));
    let says = |what: &str| {
        let operation = format!("the change log in {} {what}", postgres.place);
        Error::Outage(Outage { operation, source: None })
    };
    let last = rows.last().ok_or_else(|| says("is gone"))?;
    if !last.try_get::<bool, _>(7).map_err(column)? {
        // Opening it stamps it anew.
        return Err(says("was replaced by one of another cluster while it was open"));
    }
    let end = Position { order: [number(last, 8).map_err(column)?, 0], token: None };
    let bound = [number(last, 9).map_err(column)?, unsigned(last.try_get(10).map_err(column)?)];
    let (incarnation, moved_from) = (last.try_get(5).map_err(column)?, last.try_get(6).map_err(column)?);
    let mut heads = Vec::with_capacity(places.len());
    // The outer join answers one row, with the log alone, where there are no places.
    for row in rows.iter().take(places.len()) {
        heads.push(Head {
            first: position(row, 0).map_err(column)?,
            pruned_before: position(row, 2).map_err(column)?,
            held_back: row.try_get(4).map_err(column)?,
        });
    }
    Ok(Heads { incarnation, moved_from, end, bound, heads })
}

/// The end of each place's partition, and how many rows lie in between; those that are held back are among them,
/// because they are committed.
pub(in crate::feed::changelog) async fn ends(
    postgres: &Postgres,
    places: &[Place<'_>],
) -> Result<Vec<(Position, u64)>, Error> {
    let failed = || outage(&postgres.place, "count the changes that wait");
    let statement = format!(
        r#"select coalesce(last.xid, pruned.xid)::text, coalesce(last.id + 1, pruned.before),
             (select count(*) from change_log as entry where entry.topic = place.topic and entry."partition" = place.number
                and (entry.xid, entry.id) >= (place.xid::xid8, place.id))
           from {PLACES}
           left join lateral (
             select xid, id from change_log as entry where entry.topic = place.topic and entry."partition" = place.number
             order by entry.xid desc, entry.id desc limit 1
           ) as last on true
           left join change_log_pruned as pruned on pruned.topic = place.topic and pruned."partition" = place.number
           order by place.at"#
    );
    let rows = at_places(postgres, statement, places).await.map_err(failed()).map_err(Error::Outage)?;
    let end = |row: &PgRow| {
        let end = position(row, 0)?.unwrap_or(Position::number(0));
        Ok((end, unsigned(row.try_get(2)?)))
    };
    rows.iter().map(end).collect::<Result<_, sqlx::Error>>().map_err(|error| Error::Outage(failed()(error)))
}

/// The rows of a statement over [`PLACES`].
async fn at_places(postgres: &Postgres, statement: String, places: &[Place<'_>]) -> Result<Vec<PgRow>, sqlx::Error> {
    let topics: Vec<&str> = places.iter().map(|(partition, _)| partition.topic.as_ref()).collect();
    let numbers: Vec<i64> = places.iter().map(|(partition, _)| i64::from(partition.number)).collect();
    let xids: Vec<String> = places.iter().map(|(_, next)| next.order[0].to_string()).collect();
    let ids: Vec<i64> = places.iter().map(|(_, next)| signed(next.order[1])).collect();
    let query = sqlx::query(AssertSqlSafe(statement)).bind(topics).bind(numbers).bind(xids).bind(ids);
    query.fetch_all(&postgres.pool).await
}

/// The place after a row.
fn after(position: &Position) -> Position {
    Position { order: [position.order[0], position.order[1] + 1], token: None }
}

/// A position in two columns from `at` on; none where they are null. Numbers of transactions travel as text: they have
/// 64 bits without a sign.
fn position(row: &PgRow, at: usize) -> Result<Option<Position>, sqlx::Error> {
    let Some(id) = row.try_get::<Option<i64>, _>(at + 1)? else { return Ok(None) };
    Ok(Some(Position { order: [number(row, at)?, unsigned(id)], token: None }))
}

fn number(row: &PgRow, at: usize) -> Result<u64, sqlx::Error> {
    row.try_get::<&str, _>(at)?.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `DOCUMENT@XID:ID=MESSAGE`
    fn rows(text: &str) -> Vec<LogRow> {
        let row = |word: &str| {
            let (document_id, rest) = word.split_once('@').unwrap();
            let (position, change) = rest.split_once('=').unwrap();
            let (xid, id) = position.split_once(':').unwrap();
            let position = Position { order: [xid.parse().unwrap(), id.parse().unwrap()], token: None };
            let message = Message { change: change.to_owned(), published_at: String::new() };
            LogRow { position, document_id: document_id.to_owned(), message }
        };
        text.split(' ').map(row).collect()
    }

    #[test]
    fn what_is_said_of_a_document_follows_the_order_in_which_it_was_written() {
        let mut read = rows("a@7:12=deleted b@7:13=one a@9:11=updated a@9:14=restored");
        in_order_of_writing(&mut read);
        assert_eq!(read, rows("a@7:12=updated b@7:13=one a@9:11=deleted a@9:14=restored"));
    }
}

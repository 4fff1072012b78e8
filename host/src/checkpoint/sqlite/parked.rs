//! Parked failures: put down, resolved, listed, asked for again.

use std::collections::HashMap;

use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::super::columns::{Columns, undecodable};
use super::super::queue::{Entry, QueueLength, Waits};
use super::super::rules::Resolution;
use super::super::{Parked, ParkedFilter, stored};
use super::time;
use crate::model::{
    Digest, DocumentKey, Failure, FailureId, FailureKind, PillowName, ProcessorName, RetryHelps, timestamp_text,
};

/// Puts failures down. One that is there already counts up and is no longer due; it keeps its number and when it
/// came first. A deferral of what waits in the queue already is due when the first one is, however often the document
/// changes; where it failed there, it begins anew. Two processes never park for one pillow and partition: the epoch was checked in the same transaction.
pub(super) async fn park(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    entries: &[Entry<'_>],
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let at = timestamp_text(at);
    for Entry { failure, waits } in entries {
        sqlx::query(
            "insert into pillowtop_parked (pillow, processor, part, source, document, topic, partition_number,
                 position_first, position_second, position_token, kind, message, last_log, retry_helps, digest,
                 change, bytes, attempts, first_at, last_at, due_at)
             values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?19, ?18, ?18, ?20)
             on conflict (pillow, processor, source, document, part) do update set
                 topic = excluded.topic, partition_number = excluded.partition_number,
                 position_first = excluded.position_first, position_second = excluded.position_second,
                 position_token = excluded.position_token, kind = excluded.kind, message = excluded.message,
                 last_log = excluded.last_log, retry_helps = excluded.retry_helps, digest = excluded.digest,
                 change = excluded.change, bytes = excluded.bytes,
                 attempts = case when excluded.due_at is null then attempts + 1 else excluded.attempts end,
                 first_at = case when excluded.due_at is not null and due_at is null then excluded.first_at
                     else first_at end,
                 last_at = excluded.last_at, due = 0,
                 due_at = case when excluded.due_at is not null and excluded.attempts = 0 and attempts = 0
                     then coalesce(due_at, excluded.due_at) else excluded.due_at end",
        )
        .bind(pillow.as_str())
        .bind(failure.id.processor.as_ref().map_or("", ProcessorName::as_str))
        .bind(failure.id.part.as_deref().unwrap_or(""))
        .bind(&*failure.id.document.source)
        .bind(&*failure.id.document.id)
        .bind(&*failure.partition.topic)
        .bind(failure.partition.number)
        .bind(failure.position.order[0].cast_signed())
        .bind(failure.position.order[1].cast_signed())
        .bind(failure.position.token.as_deref())
        .bind(failure.kind.as_str())
        .bind(&failure.message)
        .bind(failure.last_log.as_deref())
        .bind(failure.retry == RetryHelps::Perhaps)
        .bind(failure.digest.map(|digest| digest.to_string()))
        .bind(failure.change.as_deref().map(stored::encode))
        .bind(failure.bytes.as_deref())
        .bind(&at)
        .bind(waits.map_or(1, |waits| waits.attempts))
        .bind(waits.map(|Waits { due_at, .. }| timestamp_text(due_at)))
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

/// Takes away what is resolved; one look when the pillow has nothing parked, which is the usual case.
pub(super) async fn resolve(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    resolutions: impl FnOnce() -> Vec<Resolution>,
) -> Result<(), sqlx::Error> {
    let any: bool = sqlx::query_scalar("select exists (select 1 from pillowtop_parked where pillow = ?)")
        .bind(pillow.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if !any {
        return Ok(());
    }
    let rows: Vec<_> = resolutions()
        .into_iter()
        .map(|one| serde_json::json!([one.processor, &*one.document.source, &*one.document.id, one.parts_kept]))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    // `cross join` keeps SQLite from reading all that is parked for each resolved document.
    sqlx::query(
        "delete from pillowtop_parked where number in (
             select parked.number
             from json_each(?2) as resolved
             cross join pillowtop_parked as parked
               on parked.pillow = ?1 and parked.processor = resolved.value ->> 0
              and parked.source = resolved.value ->> 1 and parked.document = resolved.value ->> 2
             where parked.part not in (select value from json_each(resolved.value -> 3)))",
    )
    .bind(pillow.as_str())
    .bind(serde_json::Value::Array(rows).to_string())
    .execute(connection)
    .await?;
    Ok(())
}

/// The conditions of a filter, bound by [`bind`]; the oldest come first.
macro_rules! matching {
    () => {
        "select number from pillowtop_parked
         where (?1 is null or pillow = ?1) and (?2 is null or processor = ?2) and (?3 is null or document = ?3)
           and (?4 is null or number = ?4) and (?5 = 0 or due = 1) and due_at is null
         order by number limit case when ?6 = 0 then -1 else ?6 end"
    };
}

type Query = sqlx::query::Query<'static, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>;

fn bind(query: Query, filter: &ParkedFilter) -> Query {
    query
        .bind(filter.pillow.as_ref().map(|pillow| pillow.as_str().to_owned()))
        .bind(filter.processor.clone())
        .bind(filter.document_id.clone())
        .bind(filter.number)
        .bind(filter.due)
        .bind(filter.limit)
}

/// How many there are of each pillow. A writer beside it changes what is counted, not whether it is right for a moment.
pub(super) async fn count(pool: &SqlitePool) -> Result<HashMap<PillowName, u64>, sqlx::Error> {
    let rows = sqlx::query("select pillow, count(*) from pillowtop_parked where due_at is null group by pillow")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok((PillowName::new(row.try_get::<String, _>(0)?), row.try_get::<i64, _>(1)?.cast_unsigned())))
        .collect()
}

pub(super) async fn list(pool: &SqlitePool, filter: &ParkedFilter) -> Result<Vec<Parked>, sqlx::Error> {
    let statement = concat!("select * from pillowtop_parked where number in (", matching!(), ") order by number");
    let rows = bind(sqlx::query(statement), filter).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

/// What is due in the queue of a pillow. An entry that is settled at the same time is tried once more at worst.
pub(super) async fn queued(
    pool: &SqlitePool,
    pillow: &PillowName,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Parked>, sqlx::Error> {
    // `cross join` keeps SQLite from reading the whole queue.
    let rows = sqlx::query(
        "select parked.* from (
             select distinct processor, source, document from (
                 select processor, source, document from pillowtop_parked
                 where pillow = ?1 and due_at is not null and due_at <= ?2 order by due_at, number limit ?3)) as taken
         cross join pillowtop_parked as parked
           on parked.pillow = ?1 and parked.processor = taken.processor and parked.source = taken.source
          and parked.document = taken.document
         where parked.due_at is not null
         order by parked.due_at, parked.number",
    )
    .bind(pillow.as_str())
    .bind(timestamp_text(now))
    .bind(limit)
    .fetch_all(pool)
    .await?;
    rows.iter().map(read).collect()
}

/// As for [`count`].
pub(super) async fn queue_lengths(pool: &SqlitePool) -> Result<HashMap<PillowName, QueueLength>, sqlx::Error> {
    let rows = sqlx::query(
        "select pillow, count(*) as entries, min(first_at) as oldest from pillowtop_parked where due_at is not null
         group by pillow",
    )
    .fetch_all(pool)
    .await?;
    let length = |row: &SqliteRow| {
        let entries: i64 = row.try_get("entries")?;
        let length = QueueLength { entries: entries.cast_unsigned(), oldest: Some(time(row, "oldest")?) };
        Ok((PillowName::new(row.try_get::<&str, _>("pillow")?), length))
    };
    rows.iter().map(length).collect()
}

/// One statement, so that a failure that is resolved at the same time is either marked before or not there any more.
pub(super) async fn mark_due(pool: &SqlitePool, filter: &ParkedFilter) -> Result<u64, sqlx::Error> {
    let statement =
        concat!("update pillowtop_parked set due = 1 where change is not null and number in (", matching!(), ")");
    Ok(bind(sqlx::query(statement), filter).execute(pool).await?.rows_affected())
}

/// One statement, as for [`mark_due`].
pub(super) async fn drop_matching(pool: &SqlitePool, filter: &ParkedFilter) -> Result<u64, sqlx::Error> {
    let statement = concat!("delete from pillowtop_parked where number in (", matching!(), ")");
    Ok(bind(sqlx::query(statement), filter).execute(pool).await?.rows_affected())
}

fn read(row: &SqliteRow) -> Result<Parked, sqlx::Error> {
    let kind: &str = row.try_get("kind")?;
    let kind = FailureKind::ALL.into_iter().find(|candidate| candidate.as_str() == kind);
    let text = |column| row.try_get::<&str, _>(column);
    let present = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let change = row.try_get::<Option<&str>, _>("change")?.map(stored::decode).transpose().map_err(undecodable)?;
    let failure = Failure {
        id: FailureId {
            processor: present(text("processor")?).map(ProcessorName::new),
            part: present(text("part")?),
            document: DocumentKey::new(text("source")?, text("document")?),
        },
        partition: Columns(row).partition()?,
        position: Columns(row).position()?,
        kind: kind.ok_or_else(|| undecodable("a later version of this program parked it"))?,
        message: row.try_get("message")?,
        last_log: row.try_get("last_log")?,
        retry: if row.try_get("retry_helps")? { RetryHelps::Perhaps } else { RetryHelps::No },
        digest: row.try_get::<Option<&str>, _>("digest")?.map(digest).transpose()?,
        change: change.map(Box::new),
        bytes: row.try_get::<Option<Vec<u8>>, _>("bytes")?.map(Into::into),
    };
    Ok(Parked {
        number: row.try_get("number")?,
        pillow: PillowName::new(text("pillow")?),
        failure,
        attempts: row.try_get("attempts")?,
        first_at: time(row, "first_at")?,
        last_at: time(row, "last_at")?,
        due: row.try_get("due")?,
        due_at: row.try_get::<Option<&str>, _>("due_at")?.map(|_| time(row, "due_at")).transpose()?,
    })
}

fn digest(text: &str) -> Result<Digest, sqlx::Error> {
    let mut digest = Digest([0; 32]);
    let pairs: Vec<&[u8]> = text.as_bytes().chunks(2).collect();
    if pairs.len() != digest.0.len() {
        return Err(undecodable("a digest has 64 hexadecimal digits"));
    }
    for (byte, pair) in digest.0.iter_mut().zip(pairs) {
        let pair = std::str::from_utf8(pair).map_err(undecodable)?;
        *byte = u8::from_str_radix(pair, 16).map_err(undecodable)?;
    }
    Ok(digest)
}

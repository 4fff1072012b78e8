//! Parked failures: put down, resolved, listed, asked for again.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, PgPool, Row as _};

use super::super::columns::{Columns, undecodable};
use super::super::queue::{Entry, QueueLength};
use super::super::rules::Resolution;
use super::super::{Parked, ParkedFilter, stored};
use super::{texts, time};
use crate::model::{
    Digest, DocumentKey, Failure, FailureId, FailureKind, PillowName, ProcessorName, RetryHelps, timestamp_text,
};

/// Failures of one statement at most; what each holds may be long.
const MOST_AT_ONCE: usize = 500;

/// What the index finds failures by.
fn hash(texts: &[&str]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update(text.len().to_be_bytes());
        hasher.update(text);
    }
    hasher.finalize().to_vec()
}

fn names(id: &FailureId) -> [&str; 4] {
    let processor = id.processor.as_ref().map_or("", ProcessorName::as_str);
    [processor, &*id.document.source, &*id.document.id, id.part.as_deref().unwrap_or("")]
}

pub(super) async fn count(pool: &PgPool) -> Result<HashMap<PillowName, u64>, sqlx::Error> {
    let rows = sqlx::query("select pillow, count(*) from pillowtop_parked where due_at is null group by pillow")
        .fetch_all(pool)
        .await?;
    rows.iter()
        .map(|row| Ok((PillowName::new(row.try_get::<String, _>(0)?), row.try_get::<i64, _>(1)?.cast_unsigned())))
        .collect()
}

/// Puts failures down. One that is there already counts up and is no longer due; it keeps its number and when it
/// came first. A deferral of what waits in the queue already is due when the first one is, however often the document
/// changes; where it failed there, it begins anew. Two processes never park for one pillow and partition: the epoch was checked in the same transaction.
pub(super) async fn park(
    connection: &mut PgConnection,
    pillow: &PillowName,
    entries: &[Entry<'_>],
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let mut rest = entries;
    while !rest.is_empty() {
        // A statement must not meet a row twice, so a failure that comes again begins the next one.
        let mut seen = HashSet::new();
        let fresh = rest.iter().take(MOST_AT_ONCE).take_while(|entry| seen.insert(&entry.failure.id)).count();
        let (chunk, others) = rest.split_at(fresh);
        park_chunk(connection, pillow, chunk, at).await?;
        rest = others;
    }
    Ok(())
}

async fn park_chunk(
    connection: &mut PgConnection,
    pillow: &PillowName,
    entries: &[Entry<'_>],
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let failures: Vec<&Failure> = entries.iter().map(|entry| entry.failure).collect();
    let attempts = entries.iter().map(|entry| entry.waits.map_or(1, |waits| i64::from(waits.attempts)));
    let due_at = entries.iter().map(|entry| entry.waits.map(|waits| timestamp_text(waits.due_at)));
    let text = |of: &dyn Fn(&Failure) -> String| -> Vec<String> {
        failures.iter().map(|failure| texts::stored(&of(failure)).into_owned()).collect()
    };
    let name = |at: usize| text(&|failure| names(&failure.id)[at].to_owned());
    let optional = |of: fn(&Failure) -> Option<Cow<'_, str>>| -> Vec<Option<String>> {
        failures.iter().map(|failure| of(failure).map(|text| texts::stored(&text).into_owned())).collect()
    };
    let order =
        |at: usize| -> Vec<i64> { failures.iter().map(|failure| failure.position.order[at].cast_signed()).collect() };
    sqlx::query(
        "insert into pillowtop_parked as old (pillow, processor, source, document, part, document_hash, identity, topic,
             partition_number, position_first, position_second, position_token, kind, message, last_log, retry_helps,
             digest, change, bytes, attempts, first_at, last_at, due_at)
         select $1, processor, source, document, part, document_hash, identity, topic, partition_number, first, second,
             token, kind, message, last_log, retry_helps, digest, change, bytes, attempts, $20::timestamptz,
             $20::timestamptz, due_at::timestamptz
         from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[], $8::text[], $9::bigint[],
             $10::bigint[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::text[], $16::boolean[],
             $17::bytea[], $18::text[], $19::bytea[], $21::bigint[], $22::text[]) with ordinality
             as new (processor, source, document, part, document_hash, identity, topic, partition_number, first, second,
                 token, kind, message, last_log, retry_helps, digest, change, bytes, attempts, due_at, place)
         order by place
         on conflict (pillow, identity) do update set
             topic = excluded.topic, partition_number = excluded.partition_number,
             position_first = excluded.position_first, position_second = excluded.position_second,
             position_token = excluded.position_token, kind = excluded.kind, message = excluded.message,
             last_log = excluded.last_log, retry_helps = excluded.retry_helps, digest = excluded.digest,
             change = excluded.change, bytes = excluded.bytes,
             attempts = case when excluded.due_at is null then old.attempts + 1 else excluded.attempts end,
             first_at = case when excluded.due_at is not null and old.due_at is null then excluded.first_at
                 else old.first_at end,
             last_at = excluded.last_at, due = false,
             due_at = case when excluded.due_at is not null and excluded.attempts = 0 and old.attempts = 0
                 then coalesce(old.due_at, excluded.due_at) else excluded.due_at end",
    )
    .bind(pillow.as_str())
    .bind(name(0))
    .bind(name(1))
    .bind(name(2))
    .bind(name(3))
    .bind(failures.iter().map(|failure| hash(&names(&failure.id)[..3])).collect::<Vec<_>>())
    .bind(failures.iter().map(|failure| hash(&names(&failure.id))).collect::<Vec<_>>())
    .bind(failures.iter().map(|failure| &*failure.partition.topic).collect::<Vec<_>>())
    .bind(failures.iter().map(|failure| i64::from(failure.partition.number)).collect::<Vec<_>>())
    .bind(order(0))
    .bind(order(1))
    .bind(failures.iter().map(|failure| failure.position.token.as_deref()).collect::<Vec<_>>())
    .bind(failures.iter().map(|failure| failure.kind.as_str()).collect::<Vec<_>>())
    .bind(text(&|failure| failure.message.clone()))
    .bind(optional(|failure| failure.last_log.as_deref().map(Cow::Borrowed)))
    .bind(failures.iter().map(|failure| failure.retry == RetryHelps::Perhaps).collect::<Vec<_>>())
    .bind(failures.iter().map(|failure| failure.digest.map(|digest| digest.0.to_vec())).collect::<Vec<_>>())
    .bind(optional(|failure| failure.change.as_deref().map(stored::encode).map(Cow::Owned)))
    .bind(failures.iter().map(|failure| failure.bytes.as_deref()).collect::<Vec<_>>())
    .bind(timestamp_text(at))
    .bind(attempts.collect::<Vec<_>>())
    .bind(due_at.collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}

/// Takes away what is resolved; one look when the pillow has nothing parked, which is the usual case. The look comes after
/// the partitions were locked: what an earlier settle of them parked is seen.
pub(super) async fn resolve(
    connection: &mut PgConnection,
    pillow: &PillowName,
    resolutions: impl FnOnce() -> Vec<Resolution>,
) -> Result<(), sqlx::Error> {
    let any: bool = sqlx::query_scalar("select exists (select 1 from pillowtop_parked where pillow = $1)")
        .bind(pillow.as_str())
        .fetch_one(&mut *connection)
        .await?;
    if !any {
        return Ok(());
    }
    let resolutions = resolutions();
    if resolutions.is_empty() {
        return Ok(());
    }
    let (mut documents, mut kept) = (Vec::with_capacity(resolutions.len()), Vec::new());
    for one in &resolutions {
        let names = [one.processor.as_str(), &*one.document.source, &*one.document.id];
        documents.push(hash(&names));
        kept.extend(one.parts_kept.iter().map(|part| hash(&[names[0], names[1], names[2], part])));
    }
    sqlx::query(
        "delete from pillowtop_parked
         where pillow = $1 and document_hash = any($2::bytea[]) and identity <> all($3::bytea[])",
    )
    .bind(pillow.as_str())
    .bind(documents)
    .bind(kept)
    .execute(connection)
    .await?;
    Ok(())
}

/// The conditions of a filter, bound by [`bind`]; the oldest come first.
macro_rules! matching {
    () => {
        "select number from pillowtop_parked
         where ($1::text is null or pillow = $1) and ($2::text is null or processor = $2)
           and ($3::text is null or document = $3) and ($4::bigint is null or number = $4)
           and (not $5::boolean or due) and due_at is null
         order by number limit nullif($6::bigint, 0)"
    };
}

/// What [`read`] reads.
macro_rules! columns {
    () => {
        "select *, (extract(epoch from first_at) * 1000000)::bigint as first_moment,
             (extract(epoch from last_at) * 1000000)::bigint as last_moment,
             (extract(epoch from due_at) * 1000000)::bigint as due_moment"
    };
}

type Query = sqlx::query::Query<'static, sqlx::Postgres, sqlx::postgres::PgArguments>;

fn bind(query: Query, filter: &ParkedFilter) -> Query {
    let text = |text: &String| texts::stored(text).into_owned();
    query
        .bind(filter.pillow.as_ref().map(|pillow| pillow.as_str().to_owned()))
        .bind(filter.processor.as_ref().map(text))
        .bind(filter.document_id.as_ref().map(text))
        .bind(filter.number)
        .bind(filter.due)
        .bind(i64::from(filter.limit))
}

pub(super) async fn list(pool: &PgPool, filter: &ParkedFilter) -> Result<Vec<Parked>, sqlx::Error> {
    let statement = concat!(columns!(), " from pillowtop_parked where number in (", matching!(), ") order by number");
    let rows = bind(sqlx::query(statement), filter).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

/// What is due in the queue of a pillow. An entry that is settled at the same time is tried once more at worst.
pub(super) async fn queued(
    pool: &PgPool,
    pillow: &PillowName,
    now: Timestamp,
    limit: u32,
) -> Result<Vec<Parked>, sqlx::Error> {
    // An array keeps PostgreSQL from reading the whole queue while it knows nothing of the table.
    let statement = concat!(
        columns!(),
        " from pillowtop_parked where pillow = $1 and due_at is not null and document_hash = any(array(
             select document_hash from pillowtop_parked where pillow = $1 and due_at <= $2::timestamptz
             order by due_at, number limit $3))
         order by due_at, number"
    );
    let query = sqlx::query(statement).bind(pillow.as_str()).bind(timestamp_text(now)).bind(i64::from(limit));
    query.fetch_all(pool).await?.iter().map(read).collect()
}

/// As for [`count`].
pub(super) async fn queue_lengths(pool: &PgPool) -> Result<HashMap<PillowName, QueueLength>, sqlx::Error> {
    let rows = sqlx::query(
        "select pillow, count(*) as entries, (extract(epoch from min(first_at)) * 1000000)::bigint as oldest
         from pillowtop_parked where due_at is not null group by pillow",
    )
    .fetch_all(pool)
    .await?;
    let length = |row: &PgRow| {
        let entries: i64 = row.try_get("entries")?;
        let length = QueueLength { entries: entries.cast_unsigned(), oldest: Some(time(row, "oldest")?) };
        Ok((PillowName::new(row.try_get::<&str, _>("pillow")?), length))
    };
    rows.iter().map(length).collect()
}

/// One statement, so that a failure that is resolved at the same time is either marked before or not there any more.
pub(super) async fn mark_due(pool: &PgPool, filter: &ParkedFilter) -> Result<u64, sqlx::Error> {
    let statement =
        concat!("update pillowtop_parked set due = true where change is not null and number in (", matching!(), ")");
    Ok(bind(sqlx::query(statement), filter).execute(pool).await?.rows_affected())
}

/// One statement, as for [`mark_due`].
pub(super) async fn drop_matching(pool: &PgPool, filter: &ParkedFilter) -> Result<u64, sqlx::Error> {
    let statement = concat!("delete from pillowtop_parked where number in (", matching!(), ")");
    Ok(bind(sqlx::query(statement), filter).execute(pool).await?.rows_affected())
}

fn read(row: &PgRow) -> Result<Parked, sqlx::Error> {
    let kind: &str = row.try_get("kind")?;
    let kind = FailureKind::ALL.into_iter().find(|candidate| candidate.as_str() == kind);
    let text = |column| row.try_get::<&str, _>(column).map(|text| texts::read(text).into_owned());
    let optional =
        |column| row.try_get::<Option<&str>, _>(column).map(|text| text.map(|text| texts::read(text).into_owned()));
    let present = |text: String| (!text.is_empty()).then_some(text);
    let change = optional("change")?.map(|text| stored::decode(&text)).transpose().map_err(undecodable)?;
    let digest = row.try_get::<Option<&[u8]>, _>("digest")?.map(<[u8; 32]>::try_from).transpose();
    let failure = Failure {
        id: FailureId {
            processor: present(text("processor")?).map(ProcessorName::new),
            part: present(text("part")?),
            document: DocumentKey::new(text("source")?, text("document")?),
        },
        partition: Columns(row).partition()?,
        position: Columns(row).position()?,
        kind: kind.ok_or_else(|| undecodable("a later version of this program parked it"))?,
        message: text("message")?,
        last_log: optional("last_log")?,
        retry: if row.try_get("retry_helps")? { RetryHelps::Perhaps } else { RetryHelps::No },
        digest: digest.map_err(undecodable)?.map(Digest),
        change: change.map(Box::new),
        bytes: row.try_get::<Option<Vec<u8>>, _>("bytes")?.map(Into::into),
    };
    let attempts: i32 = row.try_get("attempts")?;
    Ok(Parked {
        number: row.try_get("number")?,
        pillow: PillowName::new(row.try_get::<&str, _>("pillow")?),
        failure,
        attempts: attempts.cast_unsigned(),
        first_at: time(row, "first_moment")?,
        last_at: time(row, "last_moment")?,
        due: row.try_get("due")?,
        due_at: row.try_get::<Option<i64>, _>("due_moment")?.map(|_| time(row, "due_moment")).transpose()?,
    })
}

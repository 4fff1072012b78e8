//! Where checkpoints stand, who may move them, and the history of their moves.

use jiff::Timestamp;
use sqlx::{PgConnection, PgPool, Row as _};

use super::super::columns::Columns;
use super::super::rules::{HOURS_KEPT, MINUTES_KEPT, minute};
use super::super::{Acquired, Move, StoredCheckpoint};
use super::time;
use crate::model::{Checkpoint, Partition, PillowName, timestamp_text};

/// Takes a partition over. Two that do so at once follow each other, and the later one fences the earlier one off; a
/// settle that is on its way ends first.
pub(super) async fn acquire(
    connection: &mut PgConnection,
    pillow: &PillowName,
    partition: &Partition,
) -> Result<Acquired, sqlx::Error> {
    let row = sqlx::query(
        "insert into pillowtop_checkpoints as held (pillow, topic, partition_number, epoch) values ($1, $2, $3, 1)
         on conflict (pillow, topic, partition_number) do update set epoch = held.epoch + 1
         returning epoch, incarnation, position_first, position_second, position_token",
    )
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(i64::from(partition.number))
    .fetch_one(connection)
    .await?;
    Ok(Acquired { epoch: Columns(&row).epoch()?, checkpoint: Columns(&row).checkpoint()? })
}

/// Moves checkpoints in the name of their owner, whose epochs were checked in the same transaction, and keeps the moves:
/// of a minute's the last, whose row is updated in place. All in one exchange with the server.
pub(super) async fn advance(
    connection: &mut PgConnection,
    pillow: &PillowName,
    moved: &[(Partition, Checkpoint)],
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let position =
        |place: usize| -> Vec<i64> { moved.iter().map(|(_, to)| to.position.order[place].cast_signed()).collect() };
    sqlx::query(
        "with moved as (
             select * from unnest($2::text[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[])
                 as moved (topic, partition_number, incarnation, first, second, token)
         ), advanced as (
             update pillowtop_checkpoints as held
             set incarnation = moved.incarnation, position_first = moved.first, position_second = moved.second,
                 position_token = moved.token, moved_at = $8::timestamptz
             from moved
             where held.pillow = $1 and held.topic = moved.topic and held.partition_number = moved.partition_number
         )
         insert into pillowtop_history (pillow, topic, partition_number, incarnation, position_first, position_second,
             position_token, who, why, at, minute)
         select $1, topic, partition_number, incarnation, first, second, token, 'engine', 'settle', $8::timestamptz, $9
         from moved
         on conflict (pillow, topic, partition_number, minute) do update set
             incarnation = excluded.incarnation, position_first = excluded.position_first,
             position_second = excluded.position_second, position_token = excluded.position_token, at = excluded.at",
    )
    .bind(pillow.as_str())
    .bind(moved.iter().map(|(partition, _)| &*partition.topic).collect::<Vec<_>>())
    .bind(moved.iter().map(|(partition, _)| i64::from(partition.number)).collect::<Vec<_>>())
    .bind(moved.iter().map(|(_, to)| &*to.incarnation).collect::<Vec<_>>())
    .bind(position(0))
    .bind(position(1))
    .bind(moved.iter().map(|(_, to)| to.position.token.as_deref()).collect::<Vec<_>>())
    .bind(timestamp_text(at))
    .bind(minute(at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts a checkpoint somewhere; whoever owned the partition is fenced off.
pub(super) async fn set(
    connection: &mut PgConnection,
    pillow: &PillowName,
    partition: &Partition,
    to: &Checkpoint,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    acquire(connection, pillow, partition).await?;
    sqlx::query(
        "update pillowtop_checkpoints
         set incarnation = $4, position_first = $5, position_second = $6, position_token = $7,
             moved_at = $8::timestamptz
         where pillow = $1 and topic = $2 and partition_number = $3",
    )
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(i64::from(partition.number))
    .bind(&*to.incarnation)
    .bind(to.position.order[0].cast_signed())
    .bind(to.position.order[1].cast_signed())
    .bind(to.position.token.as_deref())
    .bind(timestamp_text(at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Keeps an operator's move, for ever: who made it and why.
pub(super) async fn remember_operator(
    connection: &mut PgConnection,
    pillow: &PillowName,
    partition: &Partition,
    to: &Checkpoint,
    (who, why): (&str, &str),
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "insert into pillowtop_history (pillow, topic, partition_number, incarnation, position_first, position_second,
             position_token, who, why, at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::timestamptz)",
    )
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(i64::from(partition.number))
    .bind(&*to.incarnation)
    .bind(to.position.order[0].cast_signed())
    .bind(to.position.order[1].cast_signed())
    .bind(to.position.token.as_deref())
    .bind(who)
    .bind(why)
    .bind(timestamp_text(at))
    .execute(connection)
    .await?;
    Ok(())
}

/// Thins the engine's older moves out to the last of each hour, and drops the oldest. Only the owner of the partition does
/// so, in its settle.
pub(super) async fn prune(
    connection: &mut PgConnection,
    pillow: &PillowName,
    partition: &Partition,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from pillowtop_history as old
         where pillow = $1 and topic = $2 and partition_number = $3 and minute < $4
           and (minute < $5 or exists (
               select 1 from pillowtop_history as later
               where later.pillow = $1 and later.topic = $2 and later.partition_number = $3
                 and later.minute > old.minute and later.minute / 60 = old.minute / 60))",
    )
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(i64::from(partition.number))
    .bind(now - MINUTES_KEPT)
    .bind(now - HOURS_KEPT)
    .execute(connection)
    .await?;
    Ok(())
}

/// Checkpoints, by pillow and partition, in the order of bytes.
pub(super) async fn checkpoints(
    pool: &PgPool,
    pillow: Option<&PillowName>,
) -> Result<Vec<StoredCheckpoint>, sqlx::Error> {
    let rows = sqlx::query(
        "select pillow, topic, partition_number, epoch, incarnation, position_first, position_second, position_token,
             (extract(epoch from moved_at) * 1000000)::bigint as moved_at
         from pillowtop_checkpoints where $1::text is null or pillow = $1
         order by pillow collate \"C\", topic collate \"C\", partition_number",
    )
    .bind(pillow.map(PillowName::as_str))
    .fetch_all(pool)
    .await?;
    let mut stored = Vec::with_capacity(rows.len());
    for row in &rows {
        let moved = row.try_get::<Option<i64>, _>("moved_at")?.is_some();
        stored.push(StoredCheckpoint {
            pillow: PillowName::new(row.try_get::<&str, _>("pillow")?),
            partition: Columns(row).partition()?,
            checkpoint: Columns(row).checkpoint()?,
            epoch: Columns(row).epoch()?,
            moved_at: moved.then(|| time(row, "moved_at")).transpose()?,
        });
    }
    Ok(stored)
}

/// The moves of a pillow's checkpoints, the latest first.
pub(super) async fn history(pool: &PgPool, pillow: &PillowName, limit: u32) -> Result<Vec<Move>, sqlx::Error> {
    let rows = sqlx::query(
        "select topic, partition_number, incarnation, position_first, position_second, position_token, who, why,
             (extract(epoch from at) * 1000000)::bigint as moved_at
         from pillowtop_history where pillow = $1 order by at desc, number desc limit $2",
    )
    .bind(pillow.as_str())
    .bind(i64::from(limit))
    .fetch_all(pool)
    .await?;
    let mut moves = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(checkpoint) = Columns(row).checkpoint()? else {
            continue;
        };
        let (who, why) = (row.try_get("who")?, row.try_get("why")?);
        moves.push(Move { partition: Columns(row).partition()?, checkpoint, who, why, at: time(row, "moved_at")? });
    }
    Ok(moves)
}

//! Where checkpoints stand, who may move them, and the history of their moves.

use jiff::Timestamp;
use sqlx::{Row as _, SqliteConnection, SqlitePool};

use super::super::columns::Columns;
use super::super::rules::{HOURS_KEPT, MINUTES_KEPT, minute};
use super::super::{Acquired, Move, StoredCheckpoint};
use super::time;
use crate::model::{Checkpoint, Partition, PillowName, timestamp_text};

/// Who moved a checkpoint, other than the engine by settling.
pub(super) struct OperatorMove<'a> {
    pub(super) who: &'a str,
    pub(super) why: &'a str,
}

/// Takes a partition over. Two that do so at once follow each other, and the later one fences the earlier one off.
pub(super) async fn acquire(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    partition: &Partition,
) -> Result<Acquired, sqlx::Error> {
    let row = sqlx::query(
        "insert into pillowtop_checkpoints (pillow, topic, partition_number, epoch) values (?, ?, ?, 1)
         on conflict (pillow, topic, partition_number) do update set epoch = epoch + 1
         returning epoch, incarnation, position_first, position_second, position_token",
    )
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(partition.number)
    .fetch_one(connection)
    .await?;
    Ok(Acquired { epoch: Columns(&row).epoch()?, checkpoint: Columns(&row).checkpoint()? })
}

/// Moves a checkpoint in the name of its owner, whose epoch was checked in the same transaction.
pub(super) async fn advance(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    partition: &Partition,
    to: &Checkpoint,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "update pillowtop_checkpoints
         set incarnation = ?, position_first = ?, position_second = ?, position_token = ?, moved_at = ?
         where pillow = ? and topic = ? and partition_number = ?",
    )
    .bind(&*to.incarnation)
    .bind(to.position.order[0].cast_signed())
    .bind(to.position.order[1].cast_signed())
    .bind(to.position.token.as_deref())
    .bind(timestamp_text(at))
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(partition.number)
    .execute(connection)
    .await?;
    Ok(())
}

/// Puts a checkpoint somewhere; whoever owned the partition is fenced off.
pub(super) async fn set(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    partition: &Partition,
    to: &Checkpoint,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    acquire(connection, pillow, partition).await?;
    advance(connection, pillow, partition, to, at).await
}

/// Keeps a move. Of the engine's own the last of a minute replaces the others; when a minute begins, older ones are
/// thinned out to the last of each hour, and the oldest go. Only the owner of the partition, or an operator while
/// there is none, writes these rows.
pub(super) async fn remember(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    partition: &Partition,
    to: &Checkpoint,
    operator: Option<OperatorMove<'_>>,
    at: Timestamp,
) -> Result<(), sqlx::Error> {
    let this_minute = operator.is_none().then(|| minute(at));
    if let Some(this_minute) = this_minute {
        // Replaced rather than updated: a row's number is its place among the moves.
        let replaced = sqlx::query(
            "delete from pillowtop_history where pillow = ? and topic = ? and partition_number = ? and minute = ?",
        )
        .bind(pillow.as_str())
        .bind(&*partition.topic)
        .bind(partition.number)
        .bind(this_minute)
        .execute(&mut *connection)
        .await?;
        if replaced.rows_affected() == 0 {
            prune(connection, pillow, partition, this_minute).await?;
        }
    }
    let OperatorMove { who, why } = operator.unwrap_or(OperatorMove { who: "engine", why: "settle" });
    sqlx::query(
        "insert into pillowtop_history (pillow, topic, partition_number, incarnation, position_first, position_second,
             position_token, who, why, at, minute)
         values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(partition.number)
    .bind(&*to.incarnation)
    .bind(to.position.order[0].cast_signed())
    .bind(to.position.order[1].cast_signed())
    .bind(to.position.token.as_deref())
    .bind(who)
    .bind(why)
    .bind(timestamp_text(at))
    .bind(this_minute)
    .execute(connection)
    .await?;
    Ok(())
}

async fn prune(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    partition: &Partition,
    now: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query(
        "delete from pillowtop_history as old
         where pillow = ?1 and topic = ?2 and partition_number = ?3 and minute < ?4
           and (minute < ?5 or exists (
               select 1 from pillowtop_history as later
               where later.pillow = ?1 and later.topic = ?2 and later.partition_number = ?3
                 and later.minute > old.minute and later.minute / 60 = old.minute / 60))",
    )
    .bind(pillow.as_str())
    .bind(&*partition.topic)
    .bind(partition.number)
    .bind(now - MINUTES_KEPT)
    .bind(now - HOURS_KEPT)
    .execute(connection)
    .await?;
    Ok(())
}

/// Checkpoints, by pillow and partition.
pub(super) async fn checkpoints(
    pool: &SqlitePool,
    pillow: Option<&PillowName>,
) -> Result<Vec<StoredCheckpoint>, sqlx::Error> {
    let rows = sqlx::query(
        "select pillow, topic, partition_number, epoch, incarnation, position_first, position_second, position_token,
             moved_at
         from pillowtop_checkpoints where ?1 is null or pillow = ?1
         order by pillow, topic, partition_number",
    )
    .bind(pillow.map(PillowName::as_str))
    .fetch_all(pool)
    .await?;
    let read = |row| {
        let moved = sqlx::Row::try_get::<Option<&str>, _>(row, "moved_at")?.is_some();
        Ok(StoredCheckpoint {
            pillow: PillowName::new(sqlx::Row::try_get::<&str, _>(row, "pillow")?),
            partition: Columns(row).partition()?,
            checkpoint: Columns(row).checkpoint()?,
            epoch: Columns(row).epoch()?,
            moved_at: moved.then(|| time(row, "moved_at")).transpose()?,
        })
    };
    rows.iter().map(read).collect()
}

/// The moves of a pillow's checkpoints, the latest first.
pub(super) async fn history(pool: &SqlitePool, pillow: &PillowName, limit: u32) -> Result<Vec<Move>, sqlx::Error> {
    let rows = sqlx::query(
        "select topic, partition_number, incarnation, position_first, position_second, position_token, who, why, at
         from pillowtop_history where pillow = ? order by number desc limit ?",
    )
    .bind(pillow.as_str())
    .bind(limit)
    .fetch_all(pool)
    .await?;
    let mut moves = Vec::with_capacity(rows.len());
    for row in &rows {
        let Some(checkpoint) = Columns(row).checkpoint()? else {
            continue;
        };
        let (who, why) = (row.try_get("who")?, row.try_get("why")?);
        moves.push(Move { partition: Columns(row).partition()?, checkpoint, who, why, at: time(row, "at")? });
    }
    Ok(moves)
}

//! Checkpoints in a SQLite file, beside the tables of the SQL sink when those live in the same file.
//!
//! All writes go through the one connection that writes, in transactions that hold SQLite's write lock from their
//! start: what they read cannot change before they commit, whoever else has the file open. Reads go beside it and see
//! what was committed last.

mod moves;
mod parked;
mod settle;

use std::collections::HashMap;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};

use super::columns::undecodable;
use super::{
    Acquired, CheckpointStore, Heartbeat, Move, Parked, ParkedFilter, QueueLength, SetError, SettleError, Settled,
    Settlement, StoredCheckpoint,
};
use crate::model::{Checkpoint, Clock, Outage, Partition, PillowName, WriteVersion, timestamp_text};
use crate::sql::Sqlite;

/// A checkpoint store in a SQLite file.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    sqlite: Sqlite,
}

impl SqliteStore {
    /// Opens the store in `sqlite`: brings its tables up to date, and the counter of versions up to the clock's
    /// microseconds, so that a database that was restored from a copy does not draw a version twice.
    ///
    /// # Errors
    /// When the database does not answer, or a later version of this program has written it.
    pub async fn open(sqlite: Sqlite, clock: Clock) -> Result<Self, Outage> {
        let failed = |error| Outage::new(format!("could not open the checkpoint store in {}", sqlite.path), error);
        // The table has our prefix because the file may be an application's own, with migrations of its own.
        // They are compiled in; a new file is seen when this one is compiled again.
        let mut migrator = sqlx::migrate!("migrations/sqlite");
        migrator.dangerous_set_table_name("pillowtop_migrations");
        // One transaction around all, so that hosts that start together do not run the same migration twice.
        let mut transaction = sqlite.begin().await?;
        let migrated = migrator.run_direct(None, &mut *transaction, false).await;
        migrated.map_err(|error| failed(sqlx::Error::from(error)))?;
        sqlx::query(
            "insert into pillowtop_version (singleton, version) values (1, ?)
             on conflict (singleton) do update set version = max(version, excluded.version)",
        )
        .bind(clock.now().as_microsecond())
        .execute(&mut *transaction)
        .await
        .map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(Self { sqlite })
    }

    fn outage(&self, operation: &str, error: sqlx::Error) -> Outage {
        Outage::new(format!("could not {operation} in {}", self.sqlite.path), error)
    }
}

#[async_trait]
impl CheckpointStore for SqliteStore {
    async fn acquire(&self, pillow: &PillowName, partition: &Partition) -> Result<Acquired, Outage> {
        let mut transaction = self.sqlite.begin().await?;
        let acquired = moves::acquire(&mut transaction, pillow, partition).await;
        let acquired = acquired.map_err(|error| self.outage("acquire a partition", error))?;
        transaction.commit().await.map_err(|error| self.outage("acquire a partition", error))?;
        Ok(acquired)
    }

    async fn draw_version(&self) -> Result<WriteVersion, Outage> {
        // One statement is one transaction: concurrent draws follow each other. All rows are fetched although it is
        // one, because the statement commits, and can fail, only after its last row.
        let drawn: Result<Vec<i64>, _> =
            sqlx::query_scalar("update pillowtop_version set version = version + 1 returning version")
                .fetch_all(&self.sqlite.writer)
                .await;
        let drawn = drawn.and_then(|rows| rows.first().copied().ok_or(sqlx::Error::RowNotFound));
        drawn.map(|version| WriteVersion(version.cast_unsigned())).map_err(|error| self.outage("draw a version", error))
    }

    async fn settle(&self, settlement: &Settlement) -> Result<Settled, SettleError> {
        settle::settle(&self.sqlite, settlement).await
    }

    async fn checkpoints(&self, pillow: Option<&PillowName>) -> Result<Vec<StoredCheckpoint>, Outage> {
        let read = moves::checkpoints(&self.sqlite.readers, pillow).await;
        read.map_err(|error| self.outage("read checkpoints", error))
    }

    async fn set(
        &self,
        pillow: &PillowName,
        partition: &Partition,
        checkpoint: &Checkpoint,
        who: &str,
        why: &str,
        at: Timestamp,
    ) -> Result<(), SetError> {
        let failed = |error| SetError::Outage(self.outage("set a checkpoint", error));
        let mut transaction = self.sqlite.begin().await.map_err(SetError::Outage)?;
        if let Some(host) = running_on(&mut transaction, pillow, at).await.map_err(failed)? {
            return Err(SetError::Running { pillow: pillow.clone(), host });
        }
        moves::set(&mut transaction, pillow, partition, checkpoint, at).await.map_err(failed)?;
        let moved = moves::OperatorMove { who, why };
        moves::remember(&mut transaction, pillow, partition, checkpoint, Some(moved), at).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)
    }

    async fn history(&self, pillow: &PillowName, limit: u32) -> Result<Vec<Move>, Outage> {
        let read = moves::history(&self.sqlite.readers, pillow, limit).await;
        read.map_err(|error| self.outage("read the history of checkpoints", error))
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<Parked>, Outage> {
        let read = parked::list(&self.sqlite.readers, filter).await;
        read.map_err(|error| self.outage("read parked failures", error))
    }

    async fn count_parked(&self) -> Result<HashMap<PillowName, u64>, Outage> {
        let counted = parked::count(&self.sqlite.readers).await;
        counted.map_err(|error| self.outage("count parked failures", error))
    }

    async fn queued(&self, pillow: &PillowName, now: Timestamp, limit: u32) -> Result<Vec<Parked>, Outage> {
        let read = parked::queued(&self.sqlite.readers, pillow, now, limit).await;
        read.map_err(|error| self.outage("read the queue", error))
    }

    async fn queue_lengths(&self) -> Result<HashMap<PillowName, QueueLength>, Outage> {
        let counted = parked::queue_lengths(&self.sqlite.readers).await;
        counted.map_err(|error| self.outage("count the queues", error))
    }

    async fn mark_due(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        let marked = parked::mark_due(&self.sqlite.writer, filter).await;
        marked.map_err(|error| self.outage("mark parked failures as due", error))
    }

    async fn drop_parked(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        let dropped = parked::drop_matching(&self.sqlite.writer, filter).await;
        dropped.map_err(|error| self.outage("drop parked failures", error))
    }

    async fn is_paused(&self, pillow: &PillowName) -> Result<bool, Outage> {
        let read = sqlx::query_scalar("select exists (select 1 from pillowtop_paused where pillow = ?)")
            .bind(pillow.as_str())
            .fetch_one(&self.sqlite.readers)
            .await;
        read.map_err(|error| self.outage("read whether a pillow is paused", error))
    }

    async fn set_paused(&self, pillow: &PillowName, paused: bool) -> Result<(), Outage> {
        // Either statement has the same effect however often and in whichever process it runs.
        let statement = match paused {
            true => "insert into pillowtop_paused (pillow) values (?) on conflict do nothing",
            false => "delete from pillowtop_paused where pillow = ?",
        };
        let done = sqlx::query(statement).bind(pillow.as_str()).execute(&self.sqlite.writer).await;
        done.map(|_| ()).map_err(|error| self.outage("pause or resume a pillow", error))
    }

    async fn halt(&self, pillow: &PillowName, causes: &[String]) -> Result<(), Outage> {
        // As above; an operator who paused it meanwhile learns why it would not have gone on.
        let done = sqlx::query(
            "insert into pillowtop_paused (pillow, halted) values (?, ?)
             on conflict (pillow) do update set halted = excluded.halted",
        )
        .bind(pillow.as_str())
        .bind(serde_json::json!(causes).to_string())
        .execute(&self.sqlite.writer)
        .await;
        done.map(|_| ()).map_err(|error| self.outage("note that a pillow halted", error))
    }

    async fn halted(&self, pillow: &PillowName) -> Result<Vec<String>, Outage> {
        let read: Result<Option<Option<String>>, _> =
            sqlx::query_scalar("select halted from pillowtop_paused where pillow = ?")
                .bind(pillow.as_str())
                .fetch_optional(&self.sqlite.readers)
                .await;
        let causes = read.and_then(|halted| match halted.flatten() {
            Some(causes) => serde_json::from_str(&causes).map_err(undecodable),
            None => Ok(Vec::new()),
        });
        causes.map_err(|error| self.outage("read why a pillow halted", error))
    }

    async fn beat(&self, heartbeats: &[Heartbeat]) -> Result<(), Outage> {
        if heartbeats.is_empty() {
            return Ok(());
        }
        let failed = |error| self.outage("write heartbeats", error);
        let mut transaction = self.sqlite.begin().await?;
        for heartbeat in heartbeats {
            // A host writes its own rows alone.
            sqlx::query(
                "insert into pillowtop_heartbeats (pillow, host, at, status) values (?, ?, ?, ?)
                 on conflict (pillow, host) do update set at = excluded.at, status = excluded.status",
            )
            .bind(heartbeat.pillow.as_str())
            .bind(&heartbeat.host)
            .bind(timestamp_text(heartbeat.at))
            .bind(heartbeat.status.to_string())
            .execute(&mut *transaction)
            .await
            .map_err(failed)?;
        }
        transaction.commit().await.map_err(failed)
    }

    async fn leave(&self, host: &str) -> Result<(), Outage> {
        let left = sqlx::query("delete from pillowtop_heartbeats where host = ?").bind(host);
        let left = left.execute(&self.sqlite.writer).await;
        left.map(|_| ()).map_err(|error| self.outage("remove heartbeats", error))
    }

    async fn heartbeats(&self) -> Result<Vec<Heartbeat>, Outage> {
        let rows = sqlx::query("select pillow, host, at, status from pillowtop_heartbeats order by pillow, host")
            .fetch_all(&self.sqlite.readers)
            .await;
        let read = |row: &SqliteRow| {
            Ok(Heartbeat {
                pillow: PillowName::new(row.try_get::<&str, _>("pillow")?),
                host: row.try_get("host")?,
                at: time(row, "at")?,
                status: serde_json::from_str(row.try_get("status")?).map_err(undecodable)?,
            })
        };
        let heartbeats = rows.and_then(|rows| rows.iter().map(read).collect());
        heartbeats.map_err(|error| self.outage("read heartbeats", error))
    }
}

/// The host that runs a pillow, by its heartbeat. Read inside of the transaction that relies on it: a host that starts
/// meanwhile acquires its partitions after that, and finds the new checkpoint.
async fn running_on(
    connection: &mut SqliteConnection,
    pillow: &PillowName,
    now: Timestamp,
) -> Result<Option<String>, sqlx::Error> {
    let rows = sqlx::query("select host, at from pillowtop_heartbeats where pillow = ? order by host")
        .bind(pillow.as_str())
        .fetch_all(connection)
        .await?;
    for row in rows {
        if super::is_fresh(time(&row, "at")?, now) {
            return row.try_get("host").map(Some);
        }
    }
    Ok(None)
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    row.try_get::<&str, _>(column)?.parse().map_err(undecodable)
}

#[cfg(test)]
mod tests;

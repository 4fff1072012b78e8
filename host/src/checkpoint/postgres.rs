//! Checkpoints in a PostgreSQL database, beside the tables of the SQL sink when those live in the same database.
//!
//! Several hosts share it. What a settle relies on is locked by it: the rows of its partitions, in one order, until it
//! commits. Whoever waits for such a row sees it as it was committed, so a settle under an epoch that is over is refused
//! however late it comes. Nothing else is locked, so settles of other pillows and partitions go on beside it.

mod moves;
mod parked;
mod settle;
mod texts;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row as _};
use tokio::time::timeout;

use super::columns::undecodable;
use super::{
    Acquired, CheckpointStore, Heartbeat, Move, Parked, ParkedFilter, QueueLength, SetError, SettleError, Settled,
    Settlement, StoredCheckpoint,
};
use crate::model::{Checkpoint, Clock, Outage, Partition, PillowName, WriteVersion, timestamp_text};
use crate::sql::{Postgres, SCHEMA_LOCK};

/// Longer than this no operation waits for a server that accepted it and says nothing more: an outage, and what it did
/// is rolled back. Above the wait for a lock, which the server ends by itself and can explain.
const LIMIT: Duration = Duration::from_secs(30);

/// A checkpoint store in a PostgreSQL database.
#[derive(Debug, Clone)]
pub struct PostgresStore {
    postgres: Postgres,
    clock: Clock,
    /// The highest version that this process drew. One that is not above it says that the database went back: it was
    /// restored from a copy, or a standby took over that had not seen all.
    highest_version: Arc<AtomicI64>,
}

impl PostgresStore {
    /// Opens the store in `postgres`: brings its tables up to date, and the counter of versions up to the clock's
    /// microseconds, so that a database that was restored from a copy does not draw a version twice.
    ///
    /// # Errors
    /// When the database does not answer, or a later version of this program has written it.
    pub async fn open(postgres: Postgres, clock: Clock) -> Result<Self, Outage> {
        // The table has our prefix because the database may be an application's own, with migrations of its own.
        // They are compiled in; a new file is seen when this one is compiled again.
        let mut migrator = sqlx::migrate!("migrations/postgres");
        migrator.dangerous_set_table_name("pillowtop_migrations");
        // Its lock would be the session's, and end before the transaction does.
        migrator.set_locking(false);
        let store = Self { postgres, clock, highest_version: Arc::default() };
        let opened = store.within("open the checkpoint store", async {
            let mut transaction = store.postgres.begin_read_committed().await?;
            // Hosts that start together do not run the same migration twice.
            sqlx::query("select pg_advisory_xact_lock($1)").bind(SCHEMA_LOCK).execute(&mut *transaction).await?;
            migrator.run_direct(None, &mut *transaction, false).await?;
            raise_version(&mut transaction, store.clock.now().as_microsecond()).await?;
            transaction.commit().await
        });
        opened.await?;
        Ok(store)
    }

    fn outage(&self, operation: &str, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Outage {
        Outage::new(format!("could not {operation} in {}", self.postgres.place), error)
    }

    /// Does `work` within the limit.
    async fn within<T>(
        &self,
        operation: &str,
        work: impl Future<Output = Result<T, sqlx::Error>> + Send,
    ) -> Result<T, Outage> {
        match timeout(LIMIT, work).await {
            Ok(done) => done.map_err(|error| self.outage(operation, error)),
            Err(late) => Err(self.outage(operation, late)),
        }
    }
}

#[async_trait]
impl CheckpointStore for PostgresStore {
    async fn acquire(&self, pillow: &PillowName, partition: &Partition) -> Result<Acquired, Outage> {
        self.within("acquire a partition", async {
            let mut connection = self.postgres.pool.acquire().await?;
            moves::acquire(&mut connection, pillow, partition).await
        })
        .await
    }

    async fn draw_version(&self) -> Result<WriteVersion, Outage> {
        self.within("draw a version", async {
            // Looked at before the draw: of two draws at once either may come back first.
            let drawn_before = self.highest_version.load(Ordering::SeqCst);
            let draw = || sqlx::query_scalar("select nextval('pillowtop_version')").fetch_one(&self.postgres.pool);
            let mut version: i64 = draw().await?;
            if version <= drawn_before {
                let mut transaction = self.postgres.begin_read_committed().await?;
                let at_least = drawn_before.max(self.clock.now().as_microsecond());
                raise_version(&mut transaction, at_least).await?;
                transaction.commit().await?;
                version = draw().await?;
            }
            self.highest_version.fetch_max(version, Ordering::SeqCst);
            Ok(WriteVersion(version.cast_unsigned()))
        })
        .await
    }

    async fn settle(&self, settlement: &Settlement) -> Result<Settled, SettleError> {
        match timeout(LIMIT, settle::settle(&self.postgres, settlement)).await {
            Ok(settled) => settled,
            Err(late) => Err(SettleError::Outage(self.outage("settle", late))),
        }
    }

    async fn checkpoints(&self, pillow: Option<&PillowName>) -> Result<Vec<StoredCheckpoint>, Outage> {
        self.within("read checkpoints", moves::checkpoints(&self.postgres.pool, pillow)).await
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
        let set = self.within("set a checkpoint", async {
            let mut transaction = self.postgres.begin_read_committed().await?;
            if let Some(host) = running_on(&mut transaction, pillow, at).await? {
                return Ok(Some(host));
            }
            moves::set(&mut transaction, pillow, partition, checkpoint, at).await?;
            moves::remember_operator(&mut transaction, pillow, partition, checkpoint, (who, why), at).await?;
            transaction.commit().await?;
            Ok(None)
        });
        match set.await.map_err(SetError::Outage)? {
            Some(host) => Err(SetError::Running { pillow: pillow.clone(), host }),
            None => Ok(()),
        }
    }

    async fn history(&self, pillow: &PillowName, limit: u32) -> Result<Vec<Move>, Outage> {
        self.within("read the history of checkpoints", moves::history(&self.postgres.pool, pillow, limit)).await
    }

    async fn parked(&self, filter: &ParkedFilter) -> Result<Vec<Parked>, Outage> {
        self.within("read parked failures", parked::list(&self.postgres.pool, filter)).await
    }

    async fn queued(&self, pillow: &PillowName, now: Timestamp, limit: u32) -> Result<Vec<Parked>, Outage> {
        self.within("read the queue", parked::queued(&self.postgres.pool, pillow, now, limit)).await
    }

    async fn queue_lengths(&self) -> Result<HashMap<PillowName, QueueLength>, Outage> {
        self.within("count the queues", parked::queue_lengths(&self.postgres.pool)).await
    }

    async fn mark_due(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        self.within("mark parked failures as due", parked::mark_due(&self.postgres.pool, filter)).await
    }

    async fn count_parked(&self) -> Result<HashMap<PillowName, u64>, Outage> {
        self.within("count parked failures", parked::count(&self.postgres.pool)).await
    }

    async fn drop_parked(&self, filter: &ParkedFilter) -> Result<u64, Outage> {
        self.within("drop parked failures", parked::drop_matching(&self.postgres.pool, filter)).await
    }

    async fn is_paused(&self, pillow: &PillowName) -> Result<bool, Outage> {
        let read = sqlx::query_scalar("select exists (select 1 from pillowtop_paused where pillow = $1)")
            .bind(pillow.as_str())
            .fetch_one(&self.postgres.pool);
        self.within("read whether a pillow is paused", read).await
    }

    async fn set_paused(&self, pillow: &PillowName, paused: bool) -> Result<(), Outage> {
        // Either statement has the same effect however often and in whichever process it runs.
        let statement = match paused {
            true => "insert into pillowtop_paused (pillow) values ($1) on conflict do nothing",
            false => "delete from pillowtop_paused where pillow = $1",
        };
        let done = sqlx::query(statement).bind(pillow.as_str()).execute(&self.postgres.pool);
        self.within("pause or resume a pillow", done).await.map(|_| ())
    }

    async fn halt(&self, pillow: &PillowName, causes: &[String]) -> Result<(), Outage> {
        // As above; an operator who paused it meanwhile learns why it would not have gone on.
        let done = sqlx::query(
            "insert into pillowtop_paused (pillow, halted) values ($1, $2)
             on conflict (pillow) do update set halted = excluded.halted",
        )
        .bind(pillow.as_str())
        .bind(serde_json::json!(causes).to_string())
        .execute(&self.postgres.pool);
        self.within("note that a pillow halted", done).await.map(|_| ())
    }

    async fn halted(&self, pillow: &PillowName) -> Result<Vec<String>, Outage> {
        self.within("read why a pillow halted", async {
            let halted: Option<Option<String>> =
                sqlx::query_scalar("select halted from pillowtop_paused where pillow = $1")
                    .bind(pillow.as_str())
                    .fetch_optional(&self.postgres.pool)
                    .await?;
            match halted.flatten() {
                Some(causes) => serde_json::from_str(&causes).map_err(undecodable),
                None => Ok(Vec::new()),
            }
        })
        .await
    }

    async fn beat(&self, heartbeats: &[Heartbeat]) -> Result<(), Outage> {
        if heartbeats.is_empty() {
            return Ok(());
        }
        let column = |of: fn(&Heartbeat) -> String| heartbeats.iter().map(of).collect::<Vec<_>>();
        // A host writes its own rows alone.
        let done = sqlx::query(
            "insert into pillowtop_heartbeats (pillow, host, at, status)
             select pillow, host, at::timestamptz, status
             from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as new (pillow, host, at, status)
             on conflict (pillow, host) do update set at = excluded.at, status = excluded.status",
        )
        .bind(column(|heartbeat| heartbeat.pillow.as_str().to_owned()))
        .bind(column(|heartbeat| heartbeat.host.clone()))
        .bind(column(|heartbeat| timestamp_text(heartbeat.at)))
        .bind(column(|heartbeat| heartbeat.status.to_string()))
        .execute(&self.postgres.pool);
        self.within("write heartbeats", done).await.map(|_| ())
    }

    async fn leave(&self, host: &str) -> Result<(), Outage> {
        let left = sqlx::query("delete from pillowtop_heartbeats where host = $1").bind(host);
        self.within("remove heartbeats", left.execute(&self.postgres.pool)).await.map(|_| ())
    }

    async fn heartbeats(&self) -> Result<Vec<Heartbeat>, Outage> {
        let read = |row: &PgRow| {
            Ok(Heartbeat {
                pillow: PillowName::new(row.try_get::<&str, _>("pillow")?),
                host: row.try_get("host")?,
                at: time(row, "at")?,
                status: serde_json::from_str(row.try_get("status")?).map_err(undecodable)?,
            })
        };
        self.within("read heartbeats", async {
            let statement = "select pillow, host, (extract(epoch from at) * 1000000)::bigint as at, status
                 from pillowtop_heartbeats order by pillow, host";
            sqlx::query(statement).fetch_all(&self.postgres.pool).await?.iter().map(read).collect()
        })
        .await
    }
}

/// Makes every version that is drawn from now on greater than `at_least`, and never lowers one. Changing the sequence,
/// though into what it is, holds off all draws until the transaction ends: none can come between looking and setting.
async fn raise_version(connection: &mut PgConnection, at_least: i64) -> Result<(), sqlx::Error> {
    sqlx::query("alter sequence pillowtop_version no cycle").execute(&mut *connection).await?;
    sqlx::query("select setval('pillowtop_version', $1) from pillowtop_version where last_value < $1")
        .bind(at_least)
        .execute(connection)
        .await?;
    Ok(())
}

/// The host that runs a pillow, by its heartbeat. A host that starts after this was read acquires its partitions before or
/// after they are set: then it finds the new checkpoint, or is fenced off by it.
async fn running_on(
    connection: &mut PgConnection,
    pillow: &PillowName,
    now: Timestamp,
) -> Result<Option<String>, sqlx::Error> {
    let rows = sqlx::query(
        "select host, (extract(epoch from at) * 1000000)::bigint as at from pillowtop_heartbeats where pillow = $1
         order by host",
    )
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

/// A time that was selected as microseconds since 1970.
fn time(row: &PgRow, column: &str) -> Result<Timestamp, sqlx::Error> {
    // The last second of the calendar, for which a delay without end waits, is beyond what microseconds are taken for.
    let microseconds: i64 = row.try_get(column)?;
    Timestamp::from_nanosecond(i128::from(microseconds) * 1000).map_err(undecodable)
}

#[cfg(test)]
mod tests;

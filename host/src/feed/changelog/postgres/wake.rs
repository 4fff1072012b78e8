//! How PostgreSQL says that its change log grew, and what is asked then.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::feed::changelog::outage;
use crate::feed::changelog::wake::{SAFETY, Tail};
use crate::model::{Outage, chain};
use crate::sql::Postgres;

/// What the log's trigger notifies.
const CHANNEL: &str = "pillowtop_change_log";

/// The first wait after a connection that broke; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// The task that listens, until it is dropped. While it cannot, the safety check finds what it would have heard of.
pub(in crate::feed::changelog) async fn listen(postgres: Postgres, touched: Arc<Notify>) {
    // A connection of its own: one of the pool would be missing there for ever.
    let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(postgres.options.as_ref().clone());
    let mut wait = FIRST_WAIT;
    loop {
        match open(&pool).await {
            Ok(mut listener) => {
                wait = FIRST_WAIT;
                // What was notified before.
                touched.notify_one();
                // None and an error both say that the connection broke.
                while let Ok(Some(_)) = listener.try_recv().await {
                    touched.notify_one();
                }
                tracing::debug!(database = %postgres.place, "the connection that listens broke");
            }
            Err(error) => {
                let (database, every) = (&postgres.place, SAFETY);
                if wait == FIRST_WAIT {
                    tracing::warn!(%database, error = %chain(&error), ?every, "cannot listen, asking instead");
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
        touched.notify_one();
        sleep(wait).await;
    }
}

async fn open(pool: &sqlx::PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

/// The log and its last row that can be read: two looks into the end of an index.
pub(in crate::feed::changelog) async fn tail(postgres: &Postgres) -> Result<Tail, Outage> {
    let (incarnation, last, held_back): (String, Option<String>, bool) = sqlx::query_as(
        "select meta.incarnation,
           (select xid::text || ':' || id::text from change_log
            where xid < pg_snapshot_xmin(pg_current_snapshot()) order by xid desc, id desc limit 1),
           exists (select 1 from change_log where xid >= pg_snapshot_xmin(pg_current_snapshot()))
         from change_log_meta as meta",
    )
    .fetch_one(&postgres.pool)
    .await
    .map_err(outage(&postgres.place, "ask for the end of the change log"))?;
    Ok(Tail { incarnation, last: last.unwrap_or_default(), held_back })
}

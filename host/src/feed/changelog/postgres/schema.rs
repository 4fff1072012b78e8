//! The tables of a change log in PostgreSQL, 13 and later, and the table of documents that is offered beside it.

use std::num::NonZeroU16;

use sqlx::AssertSqlSafe;

use crate::feed::changelog::{ChangeLog, outage};
use crate::model::{Outage, Position};
use crate::sql::Postgres;

/// Whose numbers the transactions have: the cluster's identity, and the database's in it, because a copy beside the
/// original has a history of its own. Anybody may ask for both.
pub(super) const CLUSTER: &str = "(select control.system_identifier::text || '/' || own.oid::text
    from pg_control_system() as control, pg_database as own where own.datname = current_database())";

/// The number that all rows get when their log was moved: lower than every transaction's, so that they can be read at
/// once, in the order of their ids, before everything that is written later.
const MOVED_XID: u64 = 1;

/// The key of the lock under which logs are made and moved; a number of our own.
const LOCK: i64 = 0x7069_6c6c_6f77;

/// The columns are chosen so that an application writes two or three of them. The primary key is the order of reading.
const CHANGE_LOG: &str = r#"
create table change_log (
  xid xid8 not null default pg_current_xact_id(),
  id bigint not null generated always as identity,
  topic text not null,
  document_id text not null,
  change text not null default '{}',
  published_at timestamp with time zone not null default clock_timestamp(),
  "partition" integer not null generated always as (PARTITION) stored,
  primary key (xid, id)
)"#;

/// A document's partition, from its last four characters; the same as in SQLite. The server's own hash functions are
/// not promised to stay as they are.
const PARTITION: &str = "((ascii(substr(document_id, length(document_id), 1))::bigint \
     + 1009 * ascii(substr(document_id, length(document_id) - 1, 1))::bigint \
     + 10007 * ascii(substr(document_id, length(document_id) - 2, 1))::bigint \
     + 100003 * ascii(substr(document_id, length(document_id) - 3, 1))::bigint) % COUNT)::integer";

/// Functions find our tables wherever the application's search path leads.
const OTHERS: [&str; 8] = [
    r#"create index change_log_by_partition on change_log (topic, "partition", xid, id)"#,
    "create table change_log_meta (
       only_row integer primary key check (only_row = 1),
       incarnation text not null,
       partitions integer not null,
       cluster text not null,
       moved_from text
     )",
    r#"create table change_log_pruned (
       topic text not null,
       "partition" integer not null,
       xid xid8 not null,
       before bigint not null,
       primary key (topic, "partition")
     )"#,
    r#"create or replace function change_log_pruning() returns trigger language plpgsql set search_path from current as $$
       begin
         insert into change_log_pruned as known (topic, "partition", xid, before)
         select distinct on (topic, "partition") topic, "partition", xid, id + 1 from gone
         order by topic, "partition", xid desc, id desc
         on conflict (topic, "partition") do update set xid = excluded.xid, before = excluded.before
         where (known.xid, known.before) < (excluded.xid, excluded.before);
         return null;
       end $$"#,
    "create trigger change_log_pruning after delete on change_log referencing old table as gone
     for each statement execute function change_log_pruning()",
    "create or replace function change_log_wake() returns trigger language plpgsql as $$
       begin
         if tg_op = 'TRUNCATE' then
           raise exception 'delete from change_log instead: pillows must learn what is gone';
         end if;
         perform pg_notify('pillowtop_change_log', '');
         return null;
       end $$",
    "create trigger change_log_wake after insert on change_log
     for each statement execute function change_log_wake()",
    "create trigger change_log_no_truncate before truncate on change_log
     for each statement execute function change_log_wake()",
];

const DOCUMENTS: &str = "
create table if not exists documents (
  id text primary key,
  source text not null,
  document text,
  revision text,
  deleted boolean not null default false
)";

/// Makes the tables of a change log, unless they are there.
pub(in crate::feed::changelog) async fn create_tables(
    postgres: &Postgres,
    partitions: NonZeroU16,
) -> Result<(), Outage> {
    let failed = || outage(&postgres.place, "create the change log");
    let mut transaction = postgres.begin().await?;
    // Of two processes that start together one makes the log and the other finds it.
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await.map_err(failed())?;
    let made: bool = sqlx::query_scalar("select to_regclass('change_log_meta') is not null")
        .fetch_one(&mut *transaction)
        .await
        .map_err(failed())?;
    if made {
        return Ok(());
    }
    let table = CHANGE_LOG.replace("PARTITION", &PARTITION.replace("COUNT", &partitions.to_string()));
    sqlx::query(AssertSqlSafe(table)).execute(&mut *transaction).await.map_err(failed())?;
    for statement in OTHERS {
        sqlx::query(statement).execute(&mut *transaction).await.map_err(failed())?;
    }
    let meta = format!(
        "insert into change_log_meta (only_row, incarnation, partitions, cluster) values (1, $1, $2, {CLUSTER})"
    );
    sqlx::query(AssertSqlSafe(meta))
        .bind(uuid::Uuid::new_v4().to_string())
        .bind(i32::from(partitions.get()))
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
    transaction.commit().await.map_err(failed())
}

/// Makes the table of documents, unless it is there.
pub(in crate::feed::changelog) async fn create_documents_table(postgres: &Postgres) -> Result<(), Outage> {
    let failed = || outage(&postgres.place, "create the table documents");
    let mut transaction = postgres.begin().await?;
    // `if not exists` alone fails for one of two that come together.
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await.map_err(failed())?;
    sqlx::query(DOCUMENTS).execute(&mut *transaction).await.map_err(failed())?;
    transaction.commit().await.map_err(failed())
}

/// The change log of a database, if it has one; stamped anew if it comes from another cluster.
pub(in crate::feed::changelog) async fn find(postgres: &Postgres) -> Result<Option<ChangeLog>, Outage> {
    let failed = || outage(&postgres.place, "look for the change log");
    let tables: bool = sqlx::query_scalar(
        "select to_regclass('change_log') is not null and to_regclass('change_log_meta') is not null",
    )
    .fetch_one(&postgres.pool)
    .await
    .map_err(failed())?;
    if !tables {
        return Ok(None);
    }
    let here: Option<bool> =
        sqlx::query_scalar(AssertSqlSafe(format!("select cluster = {CLUSTER} from change_log_meta")))
            .fetch_optional(&postgres.pool)
            .await
            .map_err(failed())?;
    if here == Some(false) {
        stamp_anew(postgres).await?;
    }
    let row: Option<(String, i32)> = sqlx::query_as("select incarnation, partitions from change_log_meta")
        .fetch_optional(&postgres.pool)
        .await
        .map_err(failed())?;
    Ok(row.and_then(|(incarnation, partitions)| ChangeLog::of(incarnation, i64::from(partitions))))
}

/// Where a position of the old log is after the move.
pub(in crate::feed::changelog) fn moved(position: &Position) -> Position {
    Position { order: [MOVED_XID, position.order[1]], token: None }
}

/// Gives the rows of a log that came from another cluster a number that means something here, and the log a new
/// incarnation: whoever reads it must say where to go on.
async fn stamp_anew(postgres: &Postgres) -> Result<(), Outage> {
    let failed = || outage(&postgres.place, "stamp the change log anew, which comes from another cluster,");
    let mut transaction = postgres.begin().await?;
    sqlx::query("select pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *transaction).await.map_err(failed())?;
    // Rows that the application has written here already are stamped as well; it waits for the others until then.
    sqlx::query("lock table change_log in exclusive mode").execute(&mut *transaction).await.map_err(failed())?;
    let stamp = format!(
        "update change_log_meta set moved_from = incarnation, incarnation = $1, cluster = {CLUSTER}
         where cluster <> {CLUSTER}"
    );
    let stamped = sqlx::query(AssertSqlSafe(stamp))
        .bind(uuid::Uuid::new_v4().to_string())
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
    // Another host may have done it meanwhile.
    if stamped.rows_affected() > 0 {
        for statement in
            ["update change_log set xid = $1::text::xid8", "update change_log_pruned set xid = $1::text::xid8"]
        {
            sqlx::query(statement).bind(MOVED_XID.to_string()).execute(&mut *transaction).await.map_err(failed())?;
        }
        tracing::warn!(database = %postgres.place, "the change log comes from another cluster: it is stamped anew");
    }
    transaction.commit().await.map_err(failed())
}

//! The tables of a change log in SQLite, and the table of documents that is offered beside it.

use std::num::NonZeroU16;

use sqlx::AssertSqlSafe;

use crate::feed::changelog::{ChangeLog, outage};
use crate::model::Outage;
use crate::sql::Sqlite;

/// The columns are chosen so that an application writes two or three of them and any SQLite since 3.31 can do it.
/// `published_at` costs nothing to the application and gives lag its clock.
const CHANGE_LOG: &str = r#"
create table if not exists change_log (
  id integer primary key autoincrement,
  topic text not null,
  document_id text not null,
  change text not null default '{}',
  published_at text not null default (strftime('%Y-%m-%dT%H:%M:%fZ', 'now')),
  "partition" integer generated always as (PARTITION) virtual
)"#;

/// A document's partition: its last four characters, weighed with numbers that are prime so that no usual number of
/// partitions divides them. The end of an id is what differs in counters and in random ids alike. Only functions that
/// SQLite calls deterministic may stand here, and it has no hash among them.
const PARTITION: &str = "(coalesce(unicode(substr(document_id, -1, 1)), 0) \
     + 1009 * coalesce(unicode(substr(document_id, -2, 1)), 0) \
     + 10007 * coalesce(unicode(substr(document_id, -3, 1)), 0) \
     + 100003 * coalesce(unicode(substr(document_id, -4, 1)), 0)) % COUNT";

const OTHERS: [&str; 4] = [
    r#"create index if not exists change_log_by_partition on change_log (topic, "partition", id)"#,
    "create table if not exists change_log_meta (
       only_row integer primary key check (only_row = 1),
       incarnation text not null,
       partitions integer not null
     )",
    r#"create table if not exists change_log_pruned (
       topic text not null,
       "partition" integer not null,
       before integer not null,
       primary key (topic, "partition")
     ) without rowid"#,
    r#"create trigger if not exists change_log_pruning after delete on change_log begin
       insert into change_log_pruned (topic, "partition", before) values (old.topic, old."partition", old.id + 1)
       on conflict (topic, "partition") do update set before = max(before, excluded.before);
     end"#,
];

const DOCUMENTS: &str = "
create table if not exists documents (
  id text primary key,
  source text not null,
  document text,
  revision text,
  deleted integer not null default 0
)";

/// Makes the tables of a change log, unless they are there.
pub(in crate::feed::changelog) async fn create_tables(sqlite: &Sqlite, partitions: NonZeroU16) -> Result<(), Outage> {
    let failed = || outage(&sqlite.path, "create the change log");
    // Takes the write lock at once: of two processes that start together one makes the log and the other finds it.
    let mut transaction = sqlite.writer.begin_with("begin immediate").await.map_err(failed())?;
    let table = CHANGE_LOG.replace("PARTITION", &PARTITION.replace("COUNT", &partitions.to_string()));
    sqlx::query(AssertSqlSafe(table)).execute(&mut *transaction).await.map_err(failed())?;
    for statement in OTHERS {
        sqlx::query(statement).execute(&mut *transaction).await.map_err(failed())?;
    }
    sqlx::query("insert or ignore into change_log_meta (only_row, incarnation, partitions) values (1, ?1, ?2)")
        .bind(uuid::Uuid::new_v4().to_string())
        .bind(i64::from(partitions.get()))
        .execute(&mut *transaction)
        .await
        .map_err(failed())?;
    transaction.commit().await.map_err(failed())
}

/// Makes the table of documents, unless it is there.
pub(in crate::feed::changelog) async fn create_documents_table(sqlite: &Sqlite) -> Result<(), Outage> {
    let failed = outage(&sqlite.path, "create the table documents");
    sqlx::query(DOCUMENTS).execute(&sqlite.writer).await.map(|_| ()).map_err(failed)
}

/// The change log of a database, if it has one.
pub(in crate::feed::changelog) async fn find(sqlite: &Sqlite) -> Result<Option<ChangeLog>, Outage> {
    let failed = || outage(&sqlite.path, "look for the change log");
    let tables: i64 =
        sqlx::query_scalar("select count(*) from sqlite_schema where name in ('change_log', 'change_log_meta')")
            .fetch_one(&sqlite.readers)
            .await
            .map_err(failed())?;
    if tables < 2 {
        return Ok(None);
    }
    let row: Option<(String, i64)> = sqlx::query_as("select incarnation, partitions from change_log_meta")
        .fetch_optional(&sqlite.readers)
        .await
        .map_err(failed())?;
    Ok(row.and_then(|(incarnation, partitions)| ChangeLog::of(incarnation, partitions)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::changelog::{create_documents_table, create_tables};
    use crate::sql::Database;

    async fn database(folder: &tempfile::TempDir) -> Database {
        Database::open(&format!("sqlite:{}", folder.path().join("log.db").display())).await.unwrap()
    }

    fn count(partitions: u16) -> NonZeroU16 {
        NonZeroU16::new(partitions).unwrap()
    }

    async fn rows_by_partition(ids: impl Iterator<Item = String>, partitions: u16) -> Vec<(i64, i64)> {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        create_tables(&database, count(partitions)).await.unwrap();
        let sqlite = database.sqlite().unwrap();
        let ids = serde_json::to_string(&ids.collect::<Vec<_>>()).unwrap();
        sqlx::query("insert into change_log (topic, document_id) select 't', value from json_each(?1)")
            .bind(ids)
            .execute(&sqlite.writer)
            .await
            .unwrap();
        sqlx::query_as(r#"select "partition", count(*) from change_log group by 1 order by 1"#)
            .fetch_all(&sqlite.readers)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn tables_are_made_once_and_keep_their_number_of_partitions() {
        let folder = tempfile::tempdir().unwrap();
        let database = database(&folder).await;
        let made = create_tables(&database, count(4)).await.unwrap();
        let found = create_tables(&database, count(8)).await.unwrap();
        assert_eq!(made, found);
        assert_eq!(found.partitions, count(4));
        create_documents_table(&database).await.unwrap();
        create_documents_table(&database).await.unwrap();
    }

    #[tokio::test]
    async fn documents_spread_over_all_partitions_whatever_their_ids_look_like() {
        let counters: fn(u64) -> String = |number| number.to_string();
        let names = |number| format!("case-{number}");
        let hexadecimal = |number: u64| format!("{:032x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        for partitions in [3, 4, 7, 16] {
            for make in [counters, names, hexadecimal] {
                let rows = rows_by_partition((0..1600).map(make), partitions).await;
                let fair = 1600 / i64::from(partitions);
                assert_eq!(rows.len(), usize::from(partitions), "{partitions}: {rows:?}");
                assert!(rows.iter().all(|(_, count)| (fair / 2..fair * 2).contains(count)), "{partitions}: {rows:?}");
            }
        }
    }

    #[tokio::test]
    async fn an_empty_id_has_a_partition_too() {
        assert_eq!(rows_by_partition(std::iter::once(String::new()), 4).await, [(0, 1)]);
    }
}

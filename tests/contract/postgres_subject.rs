//! A change log in PostgreSQL as a subject of the feeds' contract.

use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use pillowtop::feed::Source;
use pillowtop::feed::changelog::{ChangelogSource, create_tables};
use pillowtop::model::Position;
use pillowtop::sql::Database;
use sqlx::{AssertSqlSafe, PgPool};

use super::postgres;
use super::{PARTITIONS, Subject};

/// The application has its own connections: nothing but the server tells the feed of what it does.
pub(super) struct Postgres {
    application: Database,
    source: Arc<ChangelogSource>,
    /// For each partition an ending of ids that belong to it.
    endings: Vec<String>,
}

pub(super) async fn postgres_log() -> Postgres {
    let url = postgres::database().await;
    let application = Database::open(&url).await.unwrap();
    create_tables(&application, partitions()).await.unwrap();
    let endings = sqlx::query_scalar(
        r#"with probe as (
             insert into change_log (topic, document_id)
             select 'probe', lpad(number::text, 4, '0') from generate_series(0, 99) as number
             returning "partition", document_id)
           select max(document_id) from probe group by "partition" order by "partition""#,
    );
    let endings = endings.fetch_all(&application.postgres().unwrap().pool).await.unwrap();
    let source = Arc::new(ChangelogSource::new(Database::open(&url).await.unwrap()));
    Postgres { application, source, endings }
}

fn partitions() -> NonZeroU16 {
    NonZeroU16::new(u16::try_from(PARTITIONS).unwrap()).unwrap()
}

impl Postgres {
    fn pool(&self) -> &PgPool {
        &self.application.postgres().unwrap().pool
    }
}

#[async_trait]
impl Subject for Postgres {
    async fn append(&self, topic: &str, partition: u32, names: &[&str]) {
        let ending = &self.endings[partition as usize];
        let ids: Vec<String> = names.iter().map(|name| format!("{name}-{ending}")).collect();
        sqlx::query(
            "insert into change_log (topic, document_id) select $1, id from unnest($2::text[]) with ordinality as t (id, at)
             order by at",
        )
        .bind(topic)
        .bind(ids)
        .execute(self.pool())
        .await
        .unwrap();
    }

    /// Transactions of other databases of the server, which other cases run, count as well.
    async fn quiet(&self) {
        let newest = "select coalesce(max(xid::text::bigint), 0) from change_log";
        let newest: i64 = sqlx::query_scalar(newest).fetch_one(self.pool()).await.unwrap();
        let horizon = "select pg_snapshot_xmin(pg_current_snapshot())::text::bigint";
        tokio::time::timeout(super::PATIENCE, async {
            while sqlx::query_scalar::<_, i64>(horizon).fetch_one(self.pool()).await.unwrap() <= newest {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("other transactions end");
    }

    async fn append_garbage(&self, topic: &str, partition: u32) {
        sqlx::query("insert into change_log (topic, document_id, change) values ($1, $2, 'garbage')")
            .bind(topic)
            .bind(&self.endings[partition as usize])
            .execute(self.pool())
            .await
            .unwrap();
    }

    async fn keep_last(&self, topic: &str, partition: u32, count: usize) {
        sqlx::query(
            r#"delete from change_log where topic = $1 and "partition" = $2 and id not in
               (select id from change_log where topic = $1 and "partition" = $2 order by xid desc, id desc limit $3)"#,
        )
        .bind(topic)
        .bind(i64::from(partition))
        .bind(i64::try_from(count).unwrap())
        .execute(self.pool())
        .await
        .unwrap();
    }

    async fn make_again(&self) {
        for table in ["change_log", "change_log_meta", "change_log_pruned"] {
            sqlx::query(AssertSqlSafe(format!("drop table {table}"))).execute(self.pool()).await.unwrap();
        }
        create_tables(&self.application, partitions()).await.unwrap();
    }

    /// Transactions of other tests count in the same cluster, so the other number is beyond the end.
    fn beyond(&self, position: &Position) -> Position {
        Position { order: [position.order[0], position.order[1] + 5], token: None }
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }
}

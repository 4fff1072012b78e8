//! A change log in a file of SQLite as a subject of the feeds' contract.

use std::collections::BTreeMap;
use std::num::NonZeroU16;
use std::sync::Arc;

use async_trait::async_trait;
use pillowtop::feed::Source;
use pillowtop::feed::changelog::{ChangelogSource, create_tables};
use pillowtop::sql::Database;

use super::{PARTITIONS, Subject};

/// The application has its own connections: nothing but the file tells the feed of what it does.
pub(super) struct SqliteLog {
    application: Database,
    source: Arc<ChangelogSource>,
    /// For each partition an ending of ids that belong to it.
    endings: Vec<String>,
    _folder: tempfile::TempDir,
}

pub(super) async fn sqlite_log() -> SqliteLog {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("log.db").display());
    let partitions = NonZeroU16::new(u16::try_from(PARTITIONS).unwrap()).unwrap();
    let application = Database::open(&url).await.unwrap();
    create_tables(&application, partitions).await.unwrap();
    let endings = endings(&application).await;
    let source = Arc::new(ChangelogSource::new(Database::open(&url).await.unwrap()));
    SqliteLog { application, source, endings, _folder: folder }
}

/// Asks the database which partition an ending belongs to, and takes it back.
async fn endings(database: &Database) -> Vec<String> {
    let sqlite = database.sqlite().unwrap();
    let mut probe = sqlite.writer.begin().await.unwrap();
    let mut endings = BTreeMap::new();
    for ending in (0..100).map(|number| format!("{number:04}")) {
        let partition: i64 = sqlx::query_scalar(
            r#"insert into change_log (topic, document_id) values ('probe', ?1) returning "partition""#,
        )
        .bind(&ending)
        .fetch_one(&mut *probe)
        .await
        .unwrap();
        endings.insert(partition, ending);
    }
    probe.rollback().await.unwrap();
    endings.into_values().collect()
}

impl SqliteLog {
    async fn execute(&self, statement: &'static str, topic: &str, partition: u32, argument: i64) {
        let sqlite = self.application.sqlite().unwrap();
        let query = sqlx::query(statement).bind(topic).bind(partition).bind(argument);
        query.execute(&sqlite.writer).await.unwrap();
    }
}

#[async_trait]
impl Subject for SqliteLog {
    async fn append(&self, topic: &str, partition: u32, names: &[&str]) {
        let sqlite = self.application.sqlite().unwrap();
        let ending = &self.endings[partition as usize];
        let ids: Vec<String> = names.iter().map(|name| format!("{name}-{ending}")).collect();
        sqlx::query("insert into change_log (topic, document_id, change) select ?1, value, '{}' from json_each(?2)")
            .bind(topic)
            .bind(serde_json::to_string(&ids).unwrap())
            .execute(&sqlite.writer)
            .await
            .unwrap();
    }

    async fn append_garbage(&self, topic: &str, partition: u32) {
        let sqlite = self.application.sqlite().unwrap();
        sqlx::query("insert into change_log (topic, document_id, change) values (?1, ?2, 'garbage')")
            .bind(topic)
            .bind(&self.endings[partition as usize])
            .execute(&sqlite.writer)
            .await
            .unwrap();
    }

    async fn keep_last(&self, topic: &str, partition: u32, count: usize) {
        let statement = r#"delete from change_log where topic = ?1 and "partition" = ?2 and id not in
            (select id from change_log where topic = ?1 and "partition" = ?2 order by id desc limit ?3)"#;
        self.execute(statement, topic, partition, i64::try_from(count).unwrap()).await;
    }

    async fn make_again(&self) {
        let sqlite = self.application.sqlite().unwrap();
        for statement in ["drop table change_log", "drop table change_log_meta", "drop table change_log_pruned"] {
            sqlx::query(statement).execute(&sqlite.writer).await.unwrap();
        }
        create_tables(&self.application, NonZeroU16::new(3).unwrap()).await.unwrap();
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::clone(&self.source) as Arc<dyn Source>
    }
}

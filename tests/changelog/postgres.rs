//! What is special about a change log in PostgreSQL: transactions commit in another order than they begin, the server
//! says when it grew, and numbers of transactions belong to their cluster.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the lint's exemption for tests does not cover their helpers")]

#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/service.rs"]
mod service;
#[path = "../support/wait.rs"]
mod wait;

use std::num::{NonZeroU16, NonZeroUsize};
use std::time::Duration;

use pillowtop::feed::changelog::{
    ChangelogSource, PublishOptions, Published, create_documents_table, create_tables, publish,
};
use pillowtop::feed::{Error, Event, Feed, From, Limits, Source, Start};
use pillowtop::model::{Checkpoint, Entry, Partition, Position, chain};
use pillowtop::sql::Database;
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgPool, Postgres, Row as _, Transaction};
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(20);
const LIMITS: Limits = Limits { count: NonZeroUsize::new(1000).unwrap(), bytes: NonZeroUsize::new(1 << 20).unwrap() };

/// A log with one partition, written through connections of its own.
struct Log {
    url: String,
    database: Database,
}

impl Log {
    async fn new() -> Self {
        Self::at(postgres::database().await).await
    }

    async fn at(url: String) -> Self {
        let database = Database::open(&url).await.unwrap();
        create_tables(&database, NonZeroU16::MIN).await.unwrap();
        Self { url, database }
    }

    fn pool(&self) -> &PgPool {
        &self.database.postgres().unwrap().pool
    }

    async fn run(&self, statement: &str) {
        sqlx::raw_sql(AssertSqlSafe(statement.to_owned())).execute(self.pool()).await.unwrap();
    }

    async fn begin(&self) -> Transaction<'static, Postgres> {
        self.pool().begin().await.unwrap()
    }

    async fn feed_from(&self, checkpoint: Option<Checkpoint>) -> Result<Box<dyn Feed>, Error> {
        let source = ChangelogSource::new(Database::open(&self.url).await.unwrap());
        let mut feed = source.open(&["t".into()], Start::Earliest).await?;
        feed.start(vec![From { partition: Partition::new("t", 0), checkpoint }]).await?;
        Ok(feed)
    }

    async fn feed(&self) -> Box<dyn Feed> {
        self.feed_from(None).await.unwrap()
    }
}

fn insert(id: &str) -> String {
    format!("insert into change_log (topic, document_id) values ('t', '{id}')")
}

async fn insert_in(transaction: &mut Transaction<'static, Postgres>, id: &str) {
    sqlx::query(AssertSqlSafe(insert(id))).execute(&mut **transaction).await.unwrap();
}

async fn next(feed: &mut Box<dyn Feed>) -> Event {
    timeout(PATIENCE, feed.next(LIMITS)).await.expect("the feed says something in time").unwrap()
}

/// The ids of the next read, and the place after it.
async fn read(feed: &mut Box<dyn Feed>) -> (Vec<String>, Checkpoint) {
    let Event::Read(read) = next(feed).await else { panic!("nothing to read") };
    let id = |entry: &Entry| match entry {
        Entry::Change(change) => change.key.id.to_string(),
        Entry::Undecodable(undecodable) => panic!("{undecodable:?}"),
    };
    let ids = read.entries.iter().map(id).collect();
    (ids, Checkpoint { incarnation: read.progress.incarnation, position: read.progress.next })
}

/// Nothing is said, not even that this is the end.
async fn assert_silent(feed: &mut Box<dyn Feed>) {
    let said = timeout(Duration::from_millis(200), feed.next(LIMITS)).await;
    assert!(said.is_err(), "{said:?}");
}

#[tokio::test]
async fn an_early_transaction_that_commits_late_delays_the_feed_and_is_not_skipped() {
    let log = Log::new().await;
    let mut feed = log.feed().await;
    log.run(&insert("before")).await;
    let (ids, mut checkpoint) = read(&mut feed).await;
    assert_eq!(ids, ["before"]);
    assert_eq!(next(&mut feed).await, Event::AtEnd);

    let (mut early, mut rolled_back) = (log.begin().await, log.begin().await);
    insert_in(&mut early, "early").await;
    insert_in(&mut rolled_back, "never").await;
    log.run(&insert("late")).await;
    assert_silent(&mut feed).await;
    // Nor does a feed that begins meanwhile skip it, and lag counts what waits.
    let mut other = log.feed_from(Some(checkpoint.clone())).await.unwrap();
    assert_silent(&mut other).await;
    let ends = other.ends(&[(Partition::new("t", 0), checkpoint.position.clone())]).await.unwrap();
    assert_eq!(ends[0].lag, Some(1));

    early.commit().await.unwrap();
    let (ids, after) = read(&mut feed).await;
    assert_eq!(ids, ["early"]);
    assert!(checkpoint.position < after.position);
    checkpoint = after;
    // The one that is open still began before the late one.
    assert_silent(&mut feed).await;
    rolled_back.rollback().await.unwrap();
    let (ids, after) = read(&mut feed).await;
    assert_eq!(ids, ["late"]);
    assert!(checkpoint.position < after.position);
    assert_eq!(next(&mut feed).await, Event::AtEnd);
}

#[tokio::test]
async fn any_open_transaction_that_wrote_delays_the_feed_until_it_ends() {
    let log = Log::new().await;
    log.run("create table elsewhere (n int)").await;
    let mut feed = log.feed().await;
    assert_eq!(next(&mut feed).await, Event::AtEnd);
    let mut open = log.begin().await;
    sqlx::query("insert into elsewhere values (1)").execute(&mut *open).await.unwrap();
    log.run(&insert("a")).await;
    assert_silent(&mut feed).await;
    // Its end is announced by nobody, and found before the safety check alone would.
    open.rollback().await.unwrap();
    assert_eq!(read(&mut feed).await.0, ["a"]);
}

#[tokio::test]
async fn many_writers_at_once_lose_nothing() {
    let log = Log::new().await;
    let mut feed = log.feed().await;
    let (writers, each) = (8, 40);
    let writing = async {
        let mut tasks = tokio::task::JoinSet::new();
        for writer in 0..writers {
            let pool = log.pool().clone();
            tasks.spawn(async move {
                for number in 0..each {
                    let mut transaction = pool.begin().await.unwrap();
                    let id = format!("{writer}-{number}");
                    insert_in(&mut transaction, &id).await;
                    if number % 3 == 0 {
                        // Others begin and commit meanwhile.
                        tokio::task::yield_now().await;
                        sqlx::query("select pg_sleep(0.002)").execute(&mut *transaction).await.unwrap();
                    }
                    transaction.commit().await.unwrap();
                }
            });
        }
        tasks.join_all().await;
    };
    let reading = async {
        let mut found = Vec::new();
        while found.len() < writers * each {
            if let Event::Read(read) = next(&mut feed).await {
                found.extend(read.entries.into_iter().map(|entry| match entry {
                    Entry::Change(change) => change.key.id.to_string(),
                    Entry::Undecodable(undecodable) => panic!("{undecodable:?}"),
                }));
            }
        }
        found
    };
    let (mut found, ()) = tokio::join!(reading, writing);
    found.sort();
    found.dedup();
    assert_eq!(found.len(), writers * each);
}

#[tokio::test]
async fn an_insert_wakes_a_waiting_feed_long_before_the_safety_check() {
    let log = Log::new().await;
    let mut feed = log.feed().await;
    assert_eq!(next(&mut feed).await, Event::AtEnd);
    let began = Instant::now();
    for _ in 0..20 {
        log.run(&insert("a")).await;
        assert_eq!(read(&mut feed).await.0, ["a"]);
        assert_eq!(next(&mut feed).await, Event::AtEnd);
    }
    // The safety check alone would take two seconds for each; other tests' transactions may delay some.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_feed_hears_again_after_its_listening_connection_broke() {
    let log = Log::new().await;
    let mut feed = log.feed().await;
    assert_eq!(next(&mut feed).await, Event::AtEnd);
    let listeners = "select pid from pg_stat_activity where datname = current_database() and query ilike 'listen%'";
    let listener = || async {
        let rows: Vec<PgRow> = sqlx::query(listeners).fetch_all(log.pool()).await.unwrap();
        rows.first().map(|row| row.get::<i32, _>(0))
    };
    let first = wait::until("a listener", listener).await;
    let end = format!("select pg_terminate_backend(pid) from ({listeners}) as listeners");
    log.run(&end).await;
    log.run(&insert("a")).await;
    assert_eq!(read(&mut feed).await.0, ["a"]);
    wait::until("another listener", async || listener().await.filter(|pid| *pid != first)).await;
    assert_eq!(next(&mut feed).await, Event::AtEnd);
    log.run(&insert("b")).await;
    assert_eq!(read(&mut feed).await.0, ["b"]);
}

#[tokio::test]
async fn a_server_that_comes_back_is_read_on_from_where_it_was() {
    let server = tokio::task::spawn_blocking(|| service::Service::own("postgres")).await.unwrap();
    let log = Log::at(postgres::create_in(&server.address).await).await;
    log.run(&insert("a")).await;
    let mut feed = log.feed().await;
    let (_, checkpoint) = read(&mut feed).await;
    assert_eq!(next(&mut feed).await, Event::AtEnd);
    let _server = tokio::task::spawn_blocking(move || {
        server.kill();
        server.start_again();
        server
    })
    .await
    .unwrap();
    let log = Log::at(log.url).await;
    log.run(&insert("b")).await;
    let mut resumed = log.feed_from(Some(checkpoint)).await.unwrap();
    assert_eq!(read(&mut resumed).await.0, ["b"]);
    // The same feed goes on as well, after it has said that the server was away, or without that.
    let entries = wait::until("the feed that was open", async || match feed.next(LIMITS).await {
        Ok(Event::Read(read)) => Some(read.entries.len()),
        Ok(_) | Err(_) => None,
    });
    assert_eq!(entries.await, 1);
}

#[tokio::test]
async fn a_checkpoint_of_a_transaction_that_never_was_is_refused() {
    let log = Log::new().await;
    log.run(&insert("a")).await;
    let (_, checkpoint) = read(&mut log.feed().await).await;
    let beyond = Position { order: [checkpoint.position.order[0] + 1_000_000_000, 1], token: None };
    let error = log.feed_from(Some(Checkpoint { position: beyond, ..checkpoint })).await.err().unwrap();
    let Error::Incarnation { what, .. } = error else { panic!("{error:?}") };
    assert!(what.contains("but the log ends at") && what.contains("pillowtop checkpoint set"), "{what}");
}

#[tokio::test]
async fn a_log_that_was_moved_to_another_cluster_is_another_log_that_says_where_to_go_on() {
    let log = Log::new().await;
    let mut early = log.begin().await;
    insert_in(&mut early, "a").await;
    log.run(&insert("b")).await;
    early.commit().await.unwrap();
    let mut feed = log.feed().await;
    let one = Limits { count: NonZeroUsize::MIN, ..LIMITS };
    let Event::Read(first) = timeout(PATIENCE, feed.next(one)).await.unwrap().unwrap() else {
        panic!("nothing to read")
    };
    let before = Checkpoint { incarnation: first.progress.incarnation, position: first.progress.next };
    // As a dump is restored: the rows come with numbers of transactions that are not of this cluster.
    log.run(
        "update change_log_meta set cluster = 'another';
         update change_log set xid = (xid::text::bigint + 1000000000)::text::xid8",
    )
    .await;
    log.run(&insert("c")).await;
    let error = log.feed_from(Some(before.clone())).await.err().unwrap();
    let Error::Incarnation { what, .. } = error else { panic!("{error:?}") };
    let incarnation: String =
        sqlx::query_scalar("select incarnation from change_log_meta").fetch_one(log.pool()).await.unwrap();
    let id = before.position.order[1];
    let command = format!("`pillowtop checkpoint set PILLOW t:0 1:{id} --incarnation {incarnation}`");
    assert!(what.ends_with(&command), "{what}");
    // And there it goes on, in the order of writing, with what was written since.
    let place = Checkpoint { incarnation: incarnation.into(), position: Position { order: [1, id], token: None } };
    let mut moved = log.feed_from(Some(place)).await.unwrap();
    assert_eq!(read(&mut moved).await.0, ["b", "c"]);
    assert_eq!(next(&mut moved).await, Event::AtEnd);
    log.run(&insert("d")).await;
    assert_eq!(read(&mut moved).await.0, ["d"]);
}

#[tokio::test]
async fn a_log_cannot_be_emptied_behind_the_back_of_its_readers() {
    let log = Log::new().await;
    log.run(&insert("a")).await;
    let refused = sqlx::raw_sql("truncate change_log").execute(log.pool()).await.unwrap_err();
    assert!(refused.to_string().contains("delete from change_log instead"), "{refused}");
}

#[tokio::test]
async fn an_application_needs_no_more_than_the_right_to_insert() {
    let log = Log::new().await;
    let role = format!("app_{}", uuid::Uuid::new_v4().simple());
    log.run(&format!(
        "create role {role}; grant insert on change_log to {role}; grant usage on schema public to {role}"
    ))
    .await;
    let mut transaction = log.begin().await;
    sqlx::raw_sql(AssertSqlSafe(format!("set local role {role}; set local search_path = pg_catalog")))
        .execute(&mut *transaction)
        .await
        .unwrap();
    sqlx::query(
        "insert into public.change_log (topic, document_id, change) values ('t', 'a', '{\"domain\":\"d\"}'::jsonb)",
    )
    .execute(&mut *transaction)
    .await
    .unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(read(&mut log.feed().await).await.0, ["a"]);
}

async fn publish_text(database: &Database, text: &str) -> Result<Published, String> {
    let options = PublishOptions::default();
    publish(database, text.as_bytes(), &options, |_| ()).await.map_err(|error| chain(&error))
}

#[tokio::test]
async fn lines_are_published_each_with_its_change() {
    let log = Log::new().await;
    create_documents_table(&log.database).await.unwrap();
    create_documents_table(&log.database).await.unwrap();
    let text = r#"{"_id":"f1","_rev":"1-a","doc_type":"XFormInstance","n":1.50}
{"_id":"f1","_rev":"2-a","doc_type":"XFormInstance","n":2.50}
{"_id":"f2","doc_type":"XFormInstance"}
{"_id":"f2","_deleted":true}
{"document_id":"c1","data_source_type":"sql","data_source_name":"case-sql","document_type":"CommCareCase"}
"#;
    let published = publish_text(&log.database, text).await.unwrap();
    assert_eq!((published.documents, published.deletions, published.changes), (3, 1, 1));
    let documents: Vec<(String, Option<String>, Option<String>, bool)> =
        sqlx::query_as("select id, document, revision, deleted from documents order by id")
            .fetch_all(log.pool())
            .await
            .unwrap();
    let kept = r#"{"_id":"f1","_rev":"2-a","doc_type":"XFormInstance","n":2.50}"#.to_owned();
    assert_eq!(documents[0], ("f1".to_owned(), Some(kept), Some("2-a".to_owned()), false));
    assert_eq!(documents[1], ("f2".to_owned(), None, None, true));
    let changes: Vec<(String, String)> =
        sqlx::query_as("select topic, document_id from change_log order by id").fetch_all(log.pool()).await.unwrap();
    let ids: Vec<&str> = changes.iter().map(|(_, id)| id.as_str()).collect();
    assert_eq!(ids, ["f1", "f1", "f2", "f2", "c1"]);
    assert_eq!(changes[4].0, "case-sql");
    let wrong = "{\"_id\":\"x\",\"doc_type\":\"Group\"}\n{\"n\":1}\n";
    let error = publish_text(&log.database, wrong).await.unwrap_err();
    assert!(error.starts_with("line 2 cannot be published (no line is published)"), "{error}");
    let count: i64 = sqlx::query_scalar("select count(*) from change_log").fetch_one(log.pool()).await.unwrap();
    assert_eq!(count, 5);
}

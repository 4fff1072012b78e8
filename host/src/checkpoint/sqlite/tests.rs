//! What is SQLite's alone: crashes, several hosts on one file, refusals that only a database can find. The rest stands
//! in the contract of all stores.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::model::{
    Change, Column, ColumnKind, DocumentKey, Failure, FailureId, FailureKind, ProcessorName, Progress, Resolved,
    RetryHelps, RowOp, RowWrite, Table, Value,
};
use crate::sql::{Database, schema};

const START: &str = "2026-02-03T10:00:00Z";

async fn open(directory: &Path) -> (SqliteStore, Sqlite) {
    let database = Database::open(&format!("sqlite:{}/t.db", directory.display())).await.unwrap();
    schema::prepare(&database, &[table()]).await.unwrap();
    let sqlite = database.sqlite().unwrap();
    let store = SqliteStore::open(sqlite.clone(), Clock::Fixed(START.parse().unwrap())).await.unwrap();
    (store, sqlite.clone())
}

fn table() -> Table {
    let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false };
    Table {
        name: "visits".into(),
        part: None,
        columns: vec![column("doc", ColumnKind::Text), column("n", ColumnKind::Integer)],
        key: vec!["n".into()],
        document_column: Some("doc".into()),
        indexes: vec![],
    }
}

fn lane() -> Partition {
    Partition::new("case", 0)
}

fn change(id: &str) -> Change {
    let message = serde_json::json!({ "document_id": id, "data_source_name": "cases" }).to_string();
    Change::decode(message.as_bytes(), Position::number(1)).unwrap()
}

fn row(id: &str, n: u64) -> RowWrite {
    let n = i64::try_from(n).unwrap();
    RowWrite {
        processor: ProcessorName::new("rows"),
        document: DocumentKey::new("cases", id),
        table: Arc::new(table()),
        op: RowOp::Replace(vec![vec![Value::Text(id.into()), Value::Integer(n)]]),
    }
}

/// Moves from `from` to `from + documents.len()`, with a row for each document.
fn step(epoch: Epoch, from: u64, documents: &[String]) -> Settlement {
    let next = from + documents.len() as u64;
    Settlement {
        pillow: PillowName::new("visits"),
        owned: vec![(lane(), epoch)],
        progress: vec![Progress {
            partition: lane(),
            incarnation: "log".into(),
            from: Position::number(from),
            next: Position::number(next),
        }],
        parked: vec![],
        resolved: documents
            .iter()
            .map(|id| Resolved {
                processor: ProcessorName::new("rows"),
                document: DocumentKey::new("cases", id),
                failed_parts: vec![],
            })
            .collect(),
        rows: documents.iter().zip(from..).map(|(id, n)| row(id, n)).collect(),
        changes: documents.iter().map(|id| (lane(), Arc::new(change(id)))).collect(),
        most_rejected: 10,
        digests: vec![],
        time: START.parse().unwrap(),
    }
}

fn failure(id: &str) -> Failure {
    let change = change(id);
    Failure {
        id: FailureId { processor: Some(ProcessorName::new("rows")), part: None, document: change.key.clone() },
        partition: lane(),
        position: change.position.clone(),
        kind: FailureKind::Guest,
        message: "x".to_owned(),
        last_log: None,
        retry: RetryHelps::No,
        digest: None,
        change: Some(Box::new(change)),
        bytes: None,
    }
}

async fn acquire(store: &SqliteStore) -> (Epoch, u64) {
    let acquired = store.acquire(&PillowName::new("visits"), &lane()).await.unwrap();
    (acquired.epoch, acquired.checkpoint.map_or(0, |checkpoint| checkpoint.position.as_number()))
}

async fn count(sqlite: &Sqlite, from: &'static str) -> i64 {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!("select count(*) from {from}")))
        .fetch_one(&sqlite.readers)
        .await
        .unwrap()
}

const STEPS: u64 = 5;

/// Run by the test below in a process of its own, which dies on the way.
#[tokio::test]
#[ignore = "the other half of a test"]
async fn settles_until_it_dies() {
    let Ok(directory) = std::env::var("PILLOWTOP_TEST_DIRECTORY") else { return };
    let (store, _) = open(Path::new(&directory)).await;
    let (epoch, mut from) = acquire(&store).await;
    while from < STEPS {
        store.settle(&step(epoch, from, &[format!("document-{from}")])).await.unwrap();
        from += 1;
    }
}

fn run_child(directory: &Path, fault: &str) -> bool {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "checkpoint::sqlite::tests::settles_until_it_dies", "--ignored"])
        .env("PILLOWTOP_TEST_DIRECTORY", directory)
        .env(crate::fault::VARIABLE, fault)
        .output()
        .unwrap()
        .status
        .success()
}

/// Killed at a named point, rows and checkpoint agree, and after a restart each row was written once.
async fn check_crash(fault: &str, settled_before: u64) {
    let directory = TempDir::new().unwrap();
    let (_, sqlite) = open(directory.path()).await;
    let log = "create table log (n); create trigger t after insert on visits begin insert into log values (new.n); end";
    sqlx::raw_sql(log).execute(&sqlite.writer).await.unwrap();
    assert!(!run_child(directory.path(), fault), "{fault}: it should have died");
    let (store, _) = open(directory.path()).await;
    let checkpoint = acquire(&store).await.1;
    assert_eq!((checkpoint, count(&sqlite, "visits").await), (settled_before, settled_before.cast_signed()), "{fault}");
    assert!(run_child(directory.path(), "nowhere"), "{fault}: the second run should end");
    assert_eq!(acquire(&store).await.1, STEPS);
    assert_eq!((count(&sqlite, "visits").await, count(&sqlite, "log").await), (5, 5), "{fault}");
}

#[tokio::test]
async fn a_crash_leaves_rows_and_checkpoint_together_and_a_restart_writes_nothing_twice() {
    check_crash("settle.begin=3", 2).await;
    check_crash("settle.before-commit=3", 2).await;
    check_crash("settle.after-commit=3", 3).await;
}

#[tokio::test]
async fn what_only_the_database_can_refuse_is_parked_and_the_rest_is_settled() {
    let directory = TempDir::new().unwrap();
    let (store, sqlite) = open(directory.path()).await;
    let (epoch, _) = acquire(&store).await;
    let taken = "insert into visits values ('somebody', 1)";
    sqlx::query(taken).execute(&sqlite.writer).await.unwrap();
    let settled = store.settle(&step(epoch, 0, &["a", "b", "c"].map(str::to_owned))).await.unwrap();
    assert_eq!(settled.rows, 2);
    let parked = store.parked(&ParkedFilter::default()).await.unwrap();
    let found = (&parked[0].failure.message, parked[0].failure.retry, &*parked[0].failure.id.document.id);
    assert_eq!(found, (&"table visits: UNIQUE constraint failed: visits.n".to_owned(), RetryHelps::Perhaps, "b"));
    assert_eq!(parked[0].failure.change.as_deref(), Some(&change("b")));
    // When the other row is gone, the retry of that document alone resolves it.
    sqlx::query("delete from visits where doc = 'somebody'").execute(&sqlite.writer).await.unwrap();
    let retry = Settlement { progress: vec![], ..step(epoch, 1, &["b".to_owned()]) };
    store.settle(&retry).await.unwrap();
    assert!(store.parked(&ParkedFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn any_document_id_can_be_parked_and_resolved() {
    let directory = TempDir::new().unwrap();
    let (store, _) = open(directory.path()).await;
    let (epoch, _) = acquire(&store).await;
    for id in ["a\"b", "nul\0nul", "\u{1f600}\u{2028}", "", "12"] {
        let failure = failure(id);
        let settlement = Settlement { rows: vec![], progress: vec![], ..step(epoch, 0, &[id.to_owned()]) };
        let park = Settlement { parked: vec![failure.clone()], resolved: vec![], ..settlement.clone() };
        store.settle(&park).await.unwrap();
        assert_eq!(store.parked(&ParkedFilter::default()).await.unwrap()[0].failure, failure);
        store.settle(&settlement).await.unwrap();
        assert!(store.parked(&ParkedFilter::default()).await.unwrap().is_empty(), "{id:?}");
    }
}

#[tokio::test]
async fn a_locked_database_is_an_outage_and_nothing_is_parked() {
    let directory = TempDir::new().unwrap();
    let (store, sqlite) = open(directory.path()).await;
    let (epoch, _) = acquire(&store).await;
    sqlx::query("pragma busy_timeout = 0").execute(&sqlite.writer).await.unwrap();
    let (_, other) = open(directory.path()).await;
    let lock = other.begin().await.unwrap();
    let settlement = step(epoch, 0, &["a".to_owned()]);
    let refused = store.settle(&settlement).await;
    assert!(matches!(refused, Err(SettleError::Outage(_))), "{refused:?}");
    lock.rollback().await.unwrap();
    store.settle(&settlement).await.unwrap();
    assert!(store.parked(&ParkedFilter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn hosts_that_start_together_migrate_once_and_draw_each_version_once() {
    let directory = TempDir::new().unwrap();
    let database = Database::open(&format!("sqlite:{}/t.db", directory.path().display())).await.unwrap();
    drop(database);
    let hosts = futures_util::future::join_all((0..3).map(|_| open(directory.path()))).await;
    let mut drawn = Vec::new();
    for _ in 0..20 {
        let versions = futures_util::future::join_all(hosts.iter().map(|(store, _)| store.draw_version())).await;
        let mut versions: Vec<u64> = versions.into_iter().map(|version| version.unwrap().0).collect();
        versions.sort_unstable();
        drawn.extend(versions);
    }
    assert!(drawn.is_sorted_by(|before, after| before < after), "{drawn:?}");
}

#[tokio::test]
async fn a_settle_of_thousands_of_documents_is_quick() {
    let directory = TempDir::new().unwrap();
    let (store, _) = open(directory.path()).await;
    let (epoch, _) = acquire(&store).await;
    let (size, rounds) = (2000, 5);
    let started = tokio::time::Instant::now();
    for round in 0..rounds {
        let documents: Vec<String> = (0..size).map(|n| format!("document-{round}-{n}")).collect();
        store.settle(&step(epoch, round * size, &documents)).await.unwrap();
    }
    println!("{rounds} settles of {size} documents with a row each: {:?}", started.elapsed());
    let started = tokio::time::Instant::now();
    for round in 0..100 {
        store.settle(&step(epoch, rounds * size + round, &[format!("single-{round}")])).await.unwrap();
    }
    println!("100 settles of one document: {:?}", started.elapsed());
    let started = tokio::time::Instant::now();
    for _ in 0..100 {
        store.draw_version().await.unwrap();
    }
    println!("100 versions: {:?}", started.elapsed());
    let documents: Vec<String> = (0..size).map(|n| format!("document-0-{n}")).collect();
    let parked = Settlement {
        parked: documents.iter().map(|id| failure(id)).collect(),
        ..step(epoch, rounds * size + 100, &[])
    };
    let started = tokio::time::Instant::now();
    store.settle(&parked).await.unwrap();
    println!("{size} failures parked: {:?}", started.elapsed());
    let resolved = Settlement { progress: vec![], ..step(epoch, 0, &documents) };
    let started = tokio::time::Instant::now();
    store.settle(&resolved).await.unwrap();
    println!("{size} failures resolved, with a row each: {:?}", started.elapsed());
    assert!(store.parked(&ParkedFilter::default()).await.unwrap().is_empty());
    assert_eq!(acquire(&store).await.1, rounds * size + 100);
}

//! What a store in a database does that one in memory cannot: crashes, several hosts, refusals that only a database
//! can find. The rest stands in the contract of all stores.

use std::process::Command;

use super::testing::{Bench, change, failure, open, step};
use super::{ParkedFilter, Settlement};
use crate::model::RetryHelps;
use crate::sql::{Kind, both};

const STEPS: u64 = 5;

/// Run by the test below in a process of its own, which dies on the way.
#[tokio::test]
#[ignore = "the other half of a test"]
async fn settles_until_it_dies() {
    let Ok(url) = std::env::var("PILLOWTOP_TEST_URL") else { return };
    let store = open(&url).await;
    let acquired = store.acquire(&super::testing::pillow(), &super::testing::lane()).await.unwrap();
    let mut from = acquired.checkpoint.map_or(0, |checkpoint| checkpoint.position.as_number());
    while from < STEPS {
        store.settle(&step(acquired.epoch, from, &[format!("document-{from}")])).await.unwrap();
        from += 1;
    }
}

async fn run_child(url: &str, fault: &str) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "checkpoint::tests::settles_until_it_dies", "--ignored"])
        .env("PILLOWTOP_TEST_URL", url)
        .env(crate::fault::VARIABLE, fault);
    tokio::task::spawn_blocking(move || command.output().unwrap().status.success()).await.unwrap()
}

/// Killed at a named point, rows and checkpoint agree, and after a restart each row was written once.
async fn check_crash(kind: Kind, fault: &str, settled_before: u64) {
    let bench = Bench::new(kind).await;
    let log = match kind {
        Kind::Sqlite => {
            "create table log (n); create trigger t after insert on visits begin insert into log values (new.n); end"
        }
        Kind::Postgres => {
            "create table log (n bigint);
             create function note() returns trigger language plpgsql as
                 $$ begin insert into log values (new.n); return null; end $$;
             create trigger t after insert on visits for each row execute function note()"
        }
    };
    bench.scratch.execute(log).await;
    assert!(!run_child(&bench.scratch.url, fault).await, "{fault}: it should have died");
    let written = bench.scratch.count("visits").await;
    assert_eq!((bench.acquire().await.1, written as u64), (settled_before, settled_before), "{fault}");
    assert!(run_child(&bench.scratch.url, "nowhere").await, "{fault}: the second run should end");
    assert_eq!(bench.acquire().await.1, STEPS);
    assert_eq!((bench.scratch.count("visits").await, bench.scratch.count("log").await), (5, 5), "{fault}");
}

async fn a_crash_leaves_rows_and_checkpoint_together_and_a_restart_writes_nothing_twice(kind: Kind) {
    check_crash(kind, "settle.begin=3", 2).await;
    check_crash(kind, "settle.before-commit=3", 2).await;
    check_crash(kind, "settle.after-commit=3", 3).await;
}

async fn what_only_the_database_can_refuse_is_parked_and_the_rest_is_settled(kind: Kind) {
    let bench = Bench::new(kind).await;
    let (epoch, _) = bench.acquire().await;
    bench.scratch.execute("insert into visits values ('somebody', 1)").await;
    let settled = bench.store.settle(&step(epoch, 0, &["a", "b", "c"].map(str::to_owned))).await.unwrap();
    assert_eq!(settled.rows, 2);
    let parked = bench.parked().await;
    let message = match kind {
        Kind::Sqlite => "table visits: UNIQUE constraint failed: visits.n",
        Kind::Postgres => {
            "table visits: duplicate key value violates unique constraint \"visits_pkey\": Key (n)=(1) already exists"
        }
    };
    let found = (parked[0].failure.message.as_str(), parked[0].failure.retry, &*parked[0].failure.id.document.id);
    assert_eq!(found, (message, RetryHelps::Perhaps, "b"));
    assert_eq!(parked[0].failure.change.as_deref(), Some(&change("b")));
    // When the other row is gone, the retry of that document alone resolves it.
    bench.scratch.execute("delete from visits where doc = 'somebody'").await;
    let retry = Settlement { progress: vec![], ..step(epoch, 1, &["b".to_owned()]) };
    bench.store.settle(&retry).await.unwrap();
    assert!(bench.parked().await.is_empty());
}

async fn any_document_id_can_be_parked_and_resolved(kind: Kind) {
    let bench = Bench::new(kind).await;
    let (epoch, _) = bench.acquire().await;
    // One is longer than what an index of PostgreSQL takes, however well it is packed.
    let long: String = (0..40_000_u32).filter_map(|n| char::from_u32(n * 7919 % 55_000 + 32)).collect();
    for id in ["a\"b", "nul\0nul", "\u{2400}0", "\u{1f600}\u{2028}", "", "12", &long] {
        let mut failure = failure(id);
        failure.message = format!("it was {}", id.chars().take(10).collect::<String>());
        failure.last_log = Some("\0".to_owned());
        let settlement = Settlement { rows: vec![], progress: vec![], ..step(epoch, 0, &[id.to_owned()]) };
        let park = Settlement { parked: vec![failure.clone()], resolved: vec![], ..settlement.clone() };
        bench.store.settle(&park).await.unwrap();
        let filter = ParkedFilter { document_id: Some(id.to_owned()), ..ParkedFilter::default() };
        assert_eq!(bench.store.parked(&filter).await.unwrap()[0].failure, failure);
        bench.store.settle(&settlement).await.unwrap();
        assert!(bench.parked().await.is_empty(), "{id:?}");
    }
}

async fn hosts_that_start_together_migrate_once_and_draw_each_version_once(kind: Kind) {
    let bench = crate::sql::Scratch::new(kind).await;
    let hosts = futures_util::future::join_all((0..3).map(|_| open(&bench.url))).await;
    let mut drawn = Vec::new();
    for _ in 0..20 {
        let versions = futures_util::future::join_all(hosts.iter().map(|store| store.draw_version())).await;
        let mut versions: Vec<u64> = versions.into_iter().map(|version| version.unwrap().0).collect();
        versions.sort_unstable();
        drawn.extend(versions);
    }
    assert!(drawn.is_sorted_by(|before, after| before < after), "{drawn:?}");
}

async fn a_settle_of_thousands_of_documents_is_quick(kind: Kind) {
    let bench = Bench::new(kind).await;
    let store = &bench.store;
    let (epoch, _) = bench.acquire().await;
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
    assert!(bench.parked().await.is_empty());
    assert_eq!(bench.acquire().await.1, rounds * size + 100);
}

async fn a_failure_that_stands_twice_in_a_settlement_is_parked_once(kind: Kind) {
    let bench = Bench::new(kind).await;
    let (epoch, _) = bench.acquire().await;
    let parked = vec![failure("a"), failure("b"), failure("a")];
    bench.store.settle(&Settlement { parked, ..step(epoch, 0, &[]) }).await.unwrap();
    let parked = bench.parked().await;
    let found: Vec<(&str, u32)> =
        parked.iter().map(|parked| (&*parked.failure.id.document.id, parked.attempts)).collect();
    assert_eq!(found, [("a", 2), ("b", 1)]);
}

both! {
    a_crash_leaves_rows_and_checkpoint_together_and_a_restart_writes_nothing_twice
    what_only_the_database_can_refuse_is_parked_and_the_rest_is_settled
    any_document_id_can_be_parked_and_resolved
    hosts_that_start_together_migrate_once_and_draw_each_version_once
    a_settle_of_thousands_of_documents_is_quick
    a_failure_that_stands_twice_in_a_settlement_is_parked_once
}

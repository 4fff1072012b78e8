//! What is SQLite's alone. The rest stands in the tests of all stores in databases, and in the contract of all stores.

use crate::checkpoint::testing::{Bench, step};
use crate::checkpoint::{CheckpointStore as _, SettleError};
use crate::model::Clock;
use crate::sql::Kind;

use super::SqliteStore;

#[tokio::test]
async fn a_locked_database_is_an_outage_and_nothing_is_parked() {
    let bench = Bench::new(Kind::Sqlite).await;
    let (epoch, _) = bench.acquire().await;
    let database = bench.scratch.reopened().await;
    let sqlite = database.sqlite().unwrap();
    let store = SqliteStore::open(sqlite.clone(), Clock::System).await.unwrap();
    sqlx::query("pragma busy_timeout = 0").execute(&sqlite.writer).await.unwrap();
    let lock = bench.scratch.database.begin().await.unwrap();
    let settlement = step(epoch, 0, &["a".to_owned()]);
    let refused = store.settle(&settlement).await;
    assert!(matches!(refused, Err(SettleError::Outage(_))), "{refused:?}");
    drop(lock);
    bench.store.settle(&settlement).await.unwrap();
    assert!(bench.parked().await.is_empty());
}

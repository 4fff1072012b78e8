//! What the tests of the stores in databases share: a store beside a table, and the values that they settle.

use std::sync::Arc;

use super::postgres::PostgresStore;
use super::sqlite::SqliteStore;
use super::{CheckpointStore, Parked, ParkedFilter, Queue, Settlement};
use crate::model::{
    Change, Clock, Column, ColumnKind, DocumentKey, Epoch, Failure, FailureId, FailureKind, Partition, PillowName,
    Position, ProcessorName, Progress, Resolved, RetryHelps, RowOp, RowWrite, Table, Value,
};
use crate::sql::{Database, Kind, Scratch, schema};

pub(super) const START: &str = "2026-02-03T10:00:00Z";

/// A store, and the table `visits (doc, n)` in the same database.
pub(super) struct Bench {
    pub(super) scratch: Scratch,
    pub(super) store: Arc<dyn CheckpointStore>,
}

impl Bench {
    pub(super) async fn new(kind: Kind) -> Self {
        let scratch = Scratch::new(kind).await;
        let store = open(&scratch.url).await;
        Self { scratch, store }
    }

    /// The store as another host would open it.
    pub(super) async fn reopened(&self) -> Arc<dyn CheckpointStore> {
        open(&self.scratch.url).await
    }

    /// The latest epoch, taken over, and how far the pillow is.
    pub(super) async fn acquire(&self) -> (Epoch, u64) {
        let acquired = self.store.acquire(&pillow(), &lane()).await.unwrap();
        (acquired.epoch, acquired.checkpoint.map_or(0, |checkpoint| checkpoint.position.as_number()))
    }

    pub(super) async fn parked(&self) -> Vec<Parked> {
        self.store.parked(&ParkedFilter::default()).await.unwrap()
    }
}

pub(super) async fn open(url: &str) -> Arc<dyn CheckpointStore> {
    let database = Database::open(url).await.unwrap();
    schema::prepare(&database, &[table()]).await.unwrap();
    let clock = Clock::Fixed(START.parse().unwrap());
    match database {
        Database::Sqlite(sqlite) => Arc::new(SqliteStore::open(sqlite, clock).await.unwrap()),
        Database::Postgres(postgres) => Arc::new(PostgresStore::open(postgres, clock).await.unwrap()),
    }
}

pub(super) fn pillow() -> PillowName {
    PillowName::new("visits")
}

pub(super) fn table() -> Table {
    let column = |name: &str, kind| Column { name: name.into(), kind, nullable: false };
    Table {
        name: "visits".into(),
        part: None,
        columns: vec![column("doc", ColumnKind::Text), column("n", ColumnKind::Integer)],
        key: vec!["n".into()],
        document_column: Some("doc".into()),
        indexes: vec![],
        ..Table::default()
    }
}

pub(super) fn lane() -> Partition {
    Partition::new("case", 0)
}

pub(super) fn change(id: &str) -> Change {
    let message = serde_json::json!({ "document_id": id, "data_source_name": "cases" }).to_string();
    Change::decode(message.as_bytes(), Position::number(1)).unwrap()
}

pub(super) fn row(id: &str, n: u64) -> RowWrite {
    let n = i64::try_from(n).unwrap();
    RowWrite {
        processor: ProcessorName::new("rows"),
        document: DocumentKey::new("cases", id),
        table: Arc::new(table()),
        op: RowOp::Replace(vec![vec![Value::Text(id.into()), Value::Integer(n)]]),
    }
}

/// Moves from `from` to `from + documents.len()`, with a row for each document.
pub(super) fn step(epoch: Epoch, from: u64, documents: &[String]) -> Settlement {
    let next = from + documents.len() as u64;
    Settlement {
        pillow: pillow(),
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
        queue: Queue::default(),
        time: START.parse().unwrap(),
    }
}

pub(super) fn failure(id: &str) -> Failure {
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

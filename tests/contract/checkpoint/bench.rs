//! Stores to run the contract against, and the values that it is written in.

use std::sync::Arc;

use jiff::Timestamp;
use pillowtop::checkpoint::memory::MemoryStore;
use pillowtop::checkpoint::postgres::PostgresStore;
use pillowtop::checkpoint::sqlite::SqliteStore;
use pillowtop::checkpoint::{CheckpointStore, Parked, ParkedFilter, Queue, SettleError, Settled, Settlement};
use pillowtop::model::{
    Change, Checkpoint, Clock, Column, ColumnKind, Digest, DocumentKey, Epoch, Failure, FailureId, FailureKind,
    Partition, PillowName, Position, ProcessorName, Progress, Resolved, RetryHelps, RowOp, RowWrite, Table, Value,
};
use pillowtop::sql::{Database, schema};
use tempfile::TempDir;

/// A store that can be opened again, as another host would.
pub(crate) struct Bench {
    pub(crate) store: Arc<dyn CheckpointStore>,
    kind: Kind,
}

enum Kind {
    Memory(MemoryStore),
    Sqlite { directory: TempDir, database: Database },
    Postgres { url: String, database: Database },
}

impl Bench {
    pub(crate) fn memory() -> Self {
        let store = MemoryStore::new(clock(START));
        Self { store: Arc::new(store.clone()), kind: Kind::Memory(store) }
    }

    pub(crate) async fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let database = open(&directory).await;
        schema::prepare(&database, &[table()]).await.unwrap();
        let store = sqlite_store(&database, START).await;
        Self { store: Arc::new(store), kind: Kind::Sqlite { directory, database } }
    }

    pub(crate) async fn postgres() -> Self {
        let url = crate::postgres::database().await;
        let database = Database::open(&url).await.unwrap();
        schema::prepare(&database, &[table()]).await.unwrap();
        let store = postgres_store(&database, START).await;
        Self { store: Arc::new(store), kind: Kind::Postgres { url, database } }
    }

    pub(crate) async fn reopened(&self, at: &str) -> Arc<dyn CheckpointStore> {
        match &self.kind {
            Kind::Memory(store) => Arc::new(store.reopened(clock(at))),
            Kind::Sqlite { directory, .. } => Arc::new(sqlite_store(&open(directory).await, at).await),
            Kind::Postgres { url, .. } => Arc::new(postgres_store(&Database::open(url).await.unwrap(), at).await),
        }
    }

    /// The ids of the documents that have rows, in order of id.
    pub(crate) async fn written(&self) -> Vec<String> {
        let mut ids: Vec<String> = match &self.kind {
            Kind::Memory(store) => store.rows().iter().map(|write| write.document.id.to_string()).collect(),
            Kind::Sqlite { database, .. } => {
                let sqlite = database.sqlite().unwrap();
                sqlx::query_scalar("select doc from visits").fetch_all(&sqlite.readers).await.unwrap()
            }
            Kind::Postgres { database, .. } => {
                let pool = &database.postgres().unwrap().pool;
                sqlx::query_scalar("select doc from visits").fetch_all(pool).await.unwrap()
            }
        };
        ids.sort();
        ids
    }
}

pub(crate) const START: &str = "2026-02-03T10:00:00Z";

async fn open(directory: &TempDir) -> Database {
    Database::open(&format!("sqlite:{}/pillowtop.db", directory.path().display())).await.unwrap()
}

async fn sqlite_store(database: &Database, at: &str) -> SqliteStore {
    let sqlite = database.sqlite().unwrap();
    SqliteStore::open(sqlite.clone(), clock(at)).await.unwrap()
}

async fn postgres_store(database: &Database, at: &str) -> PostgresStore {
    PostgresStore::open(database.postgres().unwrap().clone(), clock(at)).await.unwrap()
}

fn clock(at: &str) -> Clock {
    Clock::Fixed(time(at))
}

pub(crate) fn time(at: &str) -> Timestamp {
    at.parse().unwrap()
}

pub(crate) fn pillow() -> PillowName {
    PillowName::new("visits")
}

pub(crate) fn lane() -> Partition {
    Partition::new("case", 0)
}

fn table() -> Table {
    let column = |name: &str, kind, nullable| Column { name: name.into(), kind, nullable };
    Table {
        name: "visits".into(),
        part: Some("visits".into()),
        columns: vec![column("doc", ColumnKind::Text, false), column("count", ColumnKind::Integer, false)],
        key: vec!["doc".into()],
        document_column: Some("doc".into()),
        indexes: vec![],
        ..Table::default()
    }
}

pub(crate) fn at(order: [u64; 2]) -> Checkpoint {
    Checkpoint { incarnation: "log-a".into(), position: Position { order, token: None } }
}

pub(crate) fn progress(from: u64, next: u64) -> Progress {
    let (from, next) = (Position::number(from), Position::number(next));
    Progress { partition: lane(), incarnation: "log-a".into(), from, next }
}

pub(crate) fn change(id: &str) -> Change {
    let message = format!(
        r#"{{"document_id":"{id}","data_source_name":"case-sql","document_type":"CommCareCase","domain":"clinic",
        "publish_timestamp":"2026-02-03T09:59:00Z"}}"#
    );
    Change::decode(message.as_bytes(), Position::number(4)).unwrap()
}

pub(crate) fn failure(id: &str, part: Option<&str>, message: &str) -> Failure {
    let change = change(id);
    Failure {
        id: FailureId {
            processor: Some(ProcessorName::new("rows")),
            part: part.map(str::to_owned),
            document: change.key.clone(),
        },
        partition: lane(),
        position: change.position.clone(),
        kind: FailureKind::Guest,
        message: message.to_owned(),
        last_log: Some("reading the visit".to_owned()),
        retry: RetryHelps::Perhaps,
        digest: Some(Digest([7; 32])),
        change: Some(Box::new(change)),
        bytes: None,
    }
}

pub(crate) fn resolved(id: &str, failed_parts: &[&str]) -> Resolved {
    Resolved {
        processor: ProcessorName::new("rows"),
        document: DocumentKey::new("case-sql", id),
        failed_parts: failed_parts.iter().map(|part| (*part).to_owned()).collect(),
    }
}

/// A row for the document; `None` is what no database takes into a column that must have a value.
pub(crate) fn row(id: &str, count: Option<i64>) -> RowWrite {
    let values = vec![Value::Text(id.into()), count.map_or(Value::Null, Value::Integer)];
    RowWrite {
        processor: ProcessorName::new("rows"),
        document: DocumentKey::new("case-sql", id),
        table: Arc::new(table()),
        op: RowOp::Replace(vec![values]),
    }
}

pub(crate) fn settlement(epoch: Epoch) -> Settlement {
    Settlement {
        pillow: pillow(),
        owned: vec![(lane(), epoch)],
        progress: vec![],
        parked: vec![],
        resolved: vec![],
        rows: vec![],
        changes: ["a", "b", "c", "d"].map(|id| (lane(), Arc::new(change(id)))).to_vec(),
        most_rejected: 2,
        digests: vec![(ProcessorName::new("rows"), Digest([9; 32]))],
        queue: Queue::default(),
        time: time(START),
    }
}

pub(crate) async fn acquire(bench: &Bench) -> Epoch {
    bench.store.acquire(&pillow(), &lane()).await.unwrap().epoch
}

pub(crate) async fn stands_at(bench: &Bench) -> Option<Checkpoint> {
    let stored = bench.store.checkpoints(Some(&pillow())).await.unwrap();
    stored.into_iter().next().and_then(|stored| stored.checkpoint)
}

pub(crate) async fn parked(bench: &Bench) -> Vec<Parked> {
    bench.store.parked(&ParkedFilter::default()).await.unwrap()
}

pub(crate) async fn moved(bench: &Bench, epoch: Epoch, steps: &[Progress]) -> Result<Settled, SettleError> {
    bench.store.settle(&Settlement { progress: steps.to_vec(), ..settlement(epoch) }).await
}

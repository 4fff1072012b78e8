//! Rows into the tables of real databases: a whole pillow with log and documents in memory, the row builder in WASM, and
//! rows that settle with the checkpoint.
//!
//! What the database costs is counted apart: PostgreSQL by the CPU time of its processes, SQLite by that of the threads
//! that its driver runs it on, which belong to this process.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pillowtop::checkpoint::CheckpointStore;
use pillowtop::checkpoint::postgres::PostgresStore;
use pillowtop::checkpoint::sqlite::SqliteStore;
use pillowtop::documents::memory::MemoryDocuments;
use pillowtop::feed::memory::MemoryLog;
use pillowtop::model::{Change, Clock, Partition, ProcessorName};
use pillowtop::pipeline::{Generation, LookupStores, Pillow, Stage, Workers};
use pillowtop::processor::Processor;
use pillowtop::sink::Sink;
use pillowtop::sink::sql::SqlSink;
use pillowtop::sql::Database;
use rustix::time::ClockId;
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::super::measure::{Cost, Variant, interleaved, median, now};
use super::super::report::{Report, Unit};
use super::super::{case, postgres};
use super::configurations::Configurations;
use super::of_all;
use super::work::{SOURCE, Work, content};

/// Documents of each data source.
const DOCUMENTS: usize = 2_500;
const PARTITIONS: u32 = 4;
/// Linux counts CPU time in `/proc` in hundredths of a second, whatever the kernel's own tick is.
const TICK: Duration = Duration::from_millis(10);
/// The pieces of the log and of the documents that each run shares.
struct Input<'a> {
    work: &'a Work,
    log: MemoryLog,
    store: MemoryDocuments,
    runtime: &'a Runtime,
}

pub(crate) fn measure(report: &mut Report, own: &Configurations) {
    let needs_none = |config: &&Value| !config.to_string().contains("related_doc");
    let sources: Vec<Value> = own.all.iter().filter(needs_none).cloned().collect();
    let work = Work::new(&sources, &of_all(&sources, DOCUMENTS));
    let runtime = case::runtime();
    let input = Input::new(&work, &runtime);
    let server = postgres::server();
    let theirs = [RefCell::default(), RefCell::default()];
    let variants = vec![
        Variant::new("PostgreSQL, of this process", || input.to_postgres(&server.address, &theirs[0])),
        Variant::new("SQLite, of this process without the database", || input.to_sqlite(&theirs[1])),
    ];
    let (measured, control) = interleaved(variants);
    report.note(&format!("tables: {}", work.said()));
    report.costs("rows into tables, per row", &measured, &control);
    for ((name, measured), theirs) in ["PostgreSQL", "SQLite"].into_iter().zip(&measured).zip(&theirs) {
        let database = median(theirs.borrow().iter().copied());
        report.row(&format!("{name}: of the database, per row"), Unit::Nanoseconds, Some(database), None, None);
        let rate = |ns: f64| Some(1e9 / ns);
        let (cpu, wall) = (rate(measured.cpu_ns()), rate(measured.wall_ns()));
        report.row(&format!("{name}: rows, per core of ours and on the wall"), Unit::PerCoreSecond, cpu, wall, None);
    }
}

impl<'a> Input<'a> {
    fn new(work: &'a Work, runtime: &'a Runtime) -> Self {
        let (log, store) = (MemoryLog::new(&[SOURCE], PARTITIONS), MemoryDocuments::default());
        for (number, item) in (0..).zip(work.items()) {
            store.put(item.change.key.clone(), content(item).to_vec());
            log.push_change(&Partition::new(SOURCE, number % PARTITIONS), Change::clone(&item.change));
        }
        Self { work, log, store, runtime }
    }

    fn to_postgres(&self, server: &str, theirs: &RefCell<Vec<f64>>) -> Cost {
        let database = self.runtime.block_on(async {
            let url = postgres::create_in(server).await;
            Database::open(&url).await.unwrap()
        });
        let store = PostgresStore::open(database.postgres().unwrap().clone(), Clock::System);
        let store = Arc::new(self.runtime.block_on(store).unwrap());
        let used = || postgres_cpu(server);
        let cost = self.run(&database, store, used, theirs);
        let counted = |table: String| async {
            let query = sqlx::query_scalar(AssertSqlSafe(table));
            query.fetch_one(&database.postgres().unwrap().pool).await.unwrap()
        };
        self.check(|sql| self.runtime.block_on(counted(sql)));
        cost
    }

    fn to_sqlite(&self, theirs: &RefCell<Vec<f64>>) -> Cost {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("rows.db").display());
        let database = self.runtime.block_on(Database::open(&url)).unwrap();
        let store = SqliteStore::open(database.sqlite().unwrap().clone(), Clock::System);
        let store = Arc::new(self.runtime.block_on(store).unwrap());
        let cost = self.run(&database, store, || Some(sqlite_cpu()), theirs);
        let counted = |table: String| async {
            let query = sqlx::query_scalar(AssertSqlSafe(table));
            query.fetch_one(&database.sqlite().unwrap().writer).await.unwrap()
        };
        self.check(|sql| self.runtime.block_on(counted(sql)));
        // Its threads are in this process, and are counted apart.
        let apart = theirs.borrow().last().copied().unwrap_or_default() * cost.units as f64;
        Cost { cpu: cost.cpu.saturating_sub(Duration::from_secs_f64(apart / 1e9)), ..cost }
    }

    /// One run of a pillow over all documents; the database's CPU per row goes to `theirs`.
    fn run(
        &self,
        database: &Database,
        checkpoints: Arc<dyn CheckpointStore>,
        database_cpu: impl Fn() -> Option<Duration>,
        theirs: &RefCell<Vec<f64>>,
    ) -> Cost {
        let _entered = self.runtime.enter();
        let processor: Arc<dyn Processor> = Arc::clone(&self.work.processor) as _;
        let sink: Arc<dyn Sink> = Arc::new(SqlSink::new(database.clone(), true));
        self.runtime.block_on(sink.prepare(&processor.description().tables, &[])).unwrap();
        let workers = Workers::start(2).unwrap();
        let lookups = Arc::new(LookupStores::new(HashMap::new()));
        let stage = Stage::new(ProcessorName::new("bench"), processor, lookups, Some(sink), None, workers.count());
        let generation = Arc::new(Generation { number: 1, stages: vec![stage] });
        let pillow = case::pillow(Arc::new(self.log.clone()), SOURCE, Arc::new(self.store.clone()), workers);
        let pillow = Pillow { checkpoints, clock: Clock::System, ..pillow };
        let (_keep, generations) = watch::channel(generation);
        let before = database_cpu();
        let (cpu, wall) = (now(ClockId::ProcessCPUTime), now(ClockId::Monotonic));
        let counts = self.runtime.block_on(case::run(pillow, generations));
        let (cpu, wall) = (now(ClockId::ProcessCPUTime) - cpu, now(ClockId::Monotonic) - wall);
        assert_eq!(counts.settled, self.work.documents() as u64, "every document is settled");
        let units = self.work.rows;
        if let (Some(before), Some(after)) = (before, database_cpu()) {
            theirs.borrow_mut().push((after - before).as_secs_f64() * 1e9 / units as f64);
        }
        Cost { cpu, wall, units }
    }

    /// That every row is in its table.
    fn check(&self, count: impl Fn(String) -> i64) {
        let tables = &self.work.processor.description().tables;
        let rows: i64 = tables.iter().map(|table| count(format!("select count(*) from \"{}\"", table.name))).sum();
        assert_eq!(rows, i64::try_from(self.work.rows).unwrap(), "every row is in its table");
    }
}

/// CPU time of the threads that SQLite runs on.
fn sqlite_cpu() -> Duration {
    let mut total = Duration::ZERO;
    for task in fs::read_dir("/proc/self/task").unwrap() {
        let task = task.unwrap().path();
        // A thread may end while it is looked at.
        let name = fs::read_to_string(task.join("comm")).unwrap_or_default();
        if name.starts_with("sqlx-sqlite") {
            let used = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
            total += Duration::from_nanos(used.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0));
        }
    }
    total
}

/// CPU time of a server of this machine with its children, those that ended included; none when it runs elsewhere.
fn postgres_cpu(address: &str) -> Option<Duration> {
    let port = address.rsplit(':').next()?.split('/').next()?;
    let processes = || fs::read_dir("/proc").into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let main = processes().find(|process| {
        let command = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
        let words: Vec<&str> = command.split('\0').collect();
        words[0].ends_with("/postgres") && words.windows(2).any(|pair| pair == ["-p", port])
    })?;
    let pid = main.file_name()?.to_str()?.to_owned();
    let children = processes().filter_map(|process| stat(&process)).filter(|fields| fields[1] == pid);
    let ticks = |fields: &[String], which: std::ops::Range<usize>| -> u32 {
        fields[which].iter().map(|field| field.parse::<u32>().unwrap()).sum()
    };
    // proc(5): utime and stime are the fields 14 and 15, those of children that were waited for 16 and 17.
    let own = ticks(&stat(&main)?, 11..15);
    Some(TICK * (own + children.map(|fields| ticks(&fields, 11..13)).sum::<u32>()))
}

/// The fields of a process from the third on, behind its name.
fn stat(process: &Path) -> Option<Vec<String>> {
    let stat = fs::read_to_string(process.join("stat")).ok()?;
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

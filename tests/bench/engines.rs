//! Whole programs at the same work: Kafka → PostgreSQL and Kafka → search server, as a user runs them.
//!
//! Ours is the host with a processor in WASM and its checkpoints in PostgreSQL. `BENCH_BESIDE="NAME=COMMAND"` puts
//! another engine beside it: `COMMAND` gets what it needs from the environment (see `docs/benchmarks.md`), does the work
//! and ends. What starting costs is measured with an empty topic, and taken off.

use std::cell::RefCell;
use std::fs;
use std::iter;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::time::ClockId;
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::broker::Broker;
use super::engine::{self, Ran, Resident};
use super::measure::{Cost, Variant, interleaved, median, now, share};
use super::report::{Goal, Report, Unit};
use super::service::Service;
use super::{built, case, input, outcome, postgres};

const TOPIC: &str = "bench-engines";
const EMPTY: &str = "bench-engines-empty";
const PARTITIONS: i32 = 4;
/// The table and index that an engine writes; each run has a database, or an index, of its own.
const TARGET: &str = "measured";

/// Where an engine reads and writes.
pub(crate) struct Place<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) topic: &'a str,
    pub(crate) changes: usize,
    pub(crate) to: To,
}

/// What the documents become.
#[derive(Debug, Clone)]
pub(crate) enum To {
    /// Rows in the table `measured` of this database.
    Rows(String),
    /// Documents in this index of this server; the database is for what the engine itself keeps.
    Index { server: String, index: String, database: String },
}

/// A folder in which our program runs.
pub(crate) struct Host {
    folder: TempDir,
}

/// A program that does the work.
struct Engine {
    name: String,
    /// How it is called; none for our own.
    words: Option<String>,
    /// How it ran: without anything to do, and with all.
    ran: RefCell<Vec<(Ran, Ran)>>,
}

/// How many there are to read.
fn changes() -> usize {
    share(200_000)
}

pub(crate) fn measure(report: &mut Report) {
    let broker = Broker::shared();
    let search = Service::shared("opensearch");
    let runtime = case::runtime();
    runtime.block_on(broker.create_topic(TOPIC, PARTITIONS));
    runtime.block_on(broker.create_topic(EMPTY, PARTITIONS));
    input::publish(broker, TOPIC, PARTITIONS, changes());
    built::module("bench_guest");

    let mut number = 0;
    let mut index_of = || {
        number += 1;
        format!("bench-whole-{}-{number}", std::process::id())
    };
    let server = postgres::server();
    work(report, &runtime, "PostgreSQL, upsert of 10 columns", 5_000.0, broker, || {
        To::Rows(runtime.block_on(postgres::create_in(&server.address)))
    });
    work(report, &runtime, "OpenSearch, index by id", 8_000.0, broker, || To::Index {
        server: search.address.clone(),
        index: index_of(),
        database: runtime.block_on(postgres::create_in(&server.address)),
    });
}

fn work(report: &mut Report, runtime: &Runtime, what: &str, goal: f64, broker: &Broker, to: impl FnMut() -> To) {
    let to = RefCell::new(to);
    let run = |engine: &Engine, topic, changes| {
        let place = Place { broker, topic, changes, to: (to.borrow_mut())() };
        let (command, _folder) = engine.command(&place);
        let ran = runtime.block_on(engine::run(vec![command]));
        runtime.block_on(check(&place));
        ran
    };
    let engines: Vec<Engine> = iter::once(Engine::ours()).chain(Engine::beside()).collect();
    let mut variants = Vec::new();
    for engine in &engines {
        let run = &run;
        variants.push(Variant::new(engine.name.clone(), move || {
            let (start, whole) = (run(engine, EMPTY, 0), run(engine, TOPIC, changes()));
            engine.ran.borrow_mut().push((start, whole));
            net(whole, start, changes())
        }));
    }
    let (measured, control) = interleaved(variants);
    report.costs(&format!("whole programs, Kafka → {what}"), &measured, &control);
    for (engine, measured) in engines.iter().zip(&measured) {
        let what = format!("Kafka → {what}: {}", engine.name);
        let (cpu, wall) = (measured.cpu_ns(), measured.wall_ns());
        let goal = engine.words.is_none().then_some(Goal::AtMost(goal));
        report.row(&format!("{what}, of the program"), Unit::Nanoseconds, Some(cpu), Some(wall), goal);
        report.row(&format!("{what}, rate"), Unit::PerCoreSecond, Some(1e9 / cpu), Some(1e9 / wall), None);
        let ran = engine.ran.borrow();
        let start = median(ran.iter().map(|(start, _)| start.cpu.as_secs_f64()));
        report.row(&format!("{what}, start and stop, taken off"), Unit::Seconds, Some(start), None, None);
        let peak = median(ran.iter().map(|(_, whole)| whole.megabytes));
        report.row(&format!("{what}, peak"), Unit::Megabytes, Some(peak), None, None);
    }
}

/// What the work cost without the start.
pub(crate) fn net(whole: Ran, start: Ran, units: usize) -> Cost {
    let take_off = |whole: Duration, start: Duration| whole.saturating_sub(start);
    Cost { cpu: take_off(whole.cpu, start.cpu), wall: take_off(whole.wall, start.wall), units }
}

pub(crate) async fn check(place: &Place<'_>) {
    match &place.to {
        To::Rows(database) => outcome::rows(database, TARGET, place.changes).await,
        // Nobody makes an index for nothing.
        To::Index { .. } if place.changes == 0 => {}
        To::Index { server, index, .. } => outcome::index(server, index, place.changes).await,
    }
}

impl Engine {
    /// Our own program.
    fn ours() -> Self {
        Self { name: "pillowtop".to_owned(), words: None, ran: RefCell::default() }
    }

    /// The engines that the environment names: `NAME=COMMAND`, several with a line for each.
    fn beside() -> Vec<Self> {
        let named = std::env::var("BENCH_BESIDE").unwrap_or_default();
        let engine = |line: &str| {
            let (name, words) = line.split_once('=').expect("BENCH_BESIDE is NAME=COMMAND");
            Self { name: name.trim().to_owned(), words: Some(words.to_owned()), ran: RefCell::default() }
        };
        named.lines().filter(|line| !line.trim().is_empty()).map(engine).collect()
    }

    fn command(&self, place: &Place<'_>) -> (Command, Option<Host>) {
        if let Some(words) = &self.words {
            return (told(words, place), None);
        }
        let host = Host::new(place, 1);
        (host.command(&["run", "--until-caught-up"]), Some(host))
    }
}

/// A command of another engine, with what it needs to know in its environment.
fn told(words: &str, place: &Place<'_>) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {words}")]);
    command.env("BENCH_KAFKA", &place.broker.address).env("BENCH_TOPIC", place.topic);
    command.env("BENCH_CHANGES", place.changes.to_string());
    match &place.to {
        To::Rows(database) => {
            command.env("BENCH_WORK", "rows").env("BENCH_POSTGRES", database).env("BENCH_TABLE", TARGET)
        }
        To::Index { server, index, .. } => {
            command.env("BENCH_WORK", "index").env("BENCH_SEARCH", server).env("BENCH_INDEX", index)
        }
    };
    command
}

impl Host {
    /// So many pillows with the work of `place`; of several, each writes a table of its own.
    pub(crate) fn new(place: &Place<'_>, pillows: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let cache = built::workspace().join("target/bench/hosts");
        let (database, search) = match &place.to {
            To::Rows(database) => (database, ""),
            To::Index { server, database, .. } => (database, server.as_str()),
        };
        let search = match search {
            "" => String::new(),
            url => format!(
                "[sinks.search]\nkind = \"elasticsearch\"\nurls = [{url:?}]\n\
                 index-settings = {{ number_of_replicas = 0, number_of_shards = 1 }}\n"
            ),
        };
        let brokers = &place.broker.address;
        let settings = format!(
            "[database]\nurl = {database:?}\n[feeds.kafka]\nkind = \"kafka\"\nbrokers = {brokers:?}\n\
             [documents.inline]\nkind = \"inline\"\n[sinks.tables]\nkind = \"sql\"\n{search}\
             [limits]\nmodule-cache = {cache:?}\n[log]\nlevel = \"warn\"\n"
        );
        fs::write(folder.path().join("pillowtop.toml"), settings).unwrap();
        fs::create_dir(folder.path().join("pipelines")).unwrap();
        let host = Self { folder };
        for number in 0..pillows {
            let name = if pillows == 1 { TARGET.to_owned() } else { format!("{TARGET}_{number}") };
            host.pillow(place, &name);
        }
        host
    }

    fn pillow(&self, place: &Place<'_>, table: &str) {
        let (topic, module): (&str, PathBuf) = (place.topic, built::module("bench_guest"));
        let (sink, work, target) = match &place.to {
            To::Rows(_) => ("tables = \"tables\"", "rows", table),
            To::Index { index, .. } => ("indices = \"search\"", "copy", index.as_str()),
        };
        let manifest = format!(
            "name = {table:?}\n[feed]\nfrom = \"kafka\"\ntopics = [{topic:?}]\n[documents]\ndefault = \"inline\"\n\
             [[processors]]\nname = \"work\"\ngrants = [\"log\"]\nmodule = {module:?}\n{sink}\n\
             [processors.config]\nwork = {work:?}\ntarget = {target:?}\n"
        );
        fs::write(self.folder.path().join(format!("pipelines/{table}.toml")), manifest).unwrap();
    }

    /// Our program with these arguments, in the folder.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillowtop"));
        command.arg("--json").args(arguments).current_dir(self.path()).stdout(Stdio::null()).env_remove("RUST_LOG");
        command
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Follows a new topic of the shared broker: so many pillows, and the new database that they write rows to. The folder
/// stays as long as it is held.
pub(crate) async fn following(topic: &str, partitions: i32, pillows: usize) -> (Host, Resident, PgPool) {
    let broker = Broker::shared();
    broker.create_topic(topic, partitions).await;
    let database = postgres::database().await;
    let pool = PgPool::connect(&database).await.unwrap();
    let host = Host::new(&Place { broker, topic, changes: 0, to: To::Rows(database) }, pillows);
    let program = Resident::start(host.command(&["run"]));
    (host, program, pool)
}

/// The time, in microseconds since 1970, as it also stands in documents whose way is timed.
pub(crate) fn microseconds() -> i64 {
    i64::try_from(now(ClockId::Realtime).as_micros()).unwrap()
}

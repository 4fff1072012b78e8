//! A folder with settings, manifests and modules, a host that runs on it, and commands beside it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, Row as _};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::time::Instant;

use super::{embedded, modules};

/// How long anything may take here; the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// The folder.
pub(crate) struct World {
    folder: TempDir,
    pub(crate) database: Database,
}

/// A pillow with one processor, the guest of [`modules::hostile`]; `more` goes to its configuration.
#[derive(Debug, Clone)]
pub(crate) struct Pillow {
    pub(crate) name: &'static str,
    pub(crate) topic: &'static str,
    pub(crate) module: String,
    pub(crate) mode: &'static str,
    pub(crate) version: String,
    /// Lines of the manifest before its first table.
    pub(crate) head: &'static str,
    /// The tables `[batch]` and `[failures]`.
    pub(crate) tables: &'static str,
    /// Lines of the processor's configuration.
    pub(crate) config: String,
}

/// The database, as an application sees it.
pub(crate) struct Database {
    pub(crate) runtime: Runtime,
    pub(crate) pool: SqlitePool,
}

/// A host that runs.
pub(crate) struct Host {
    child: Child,
    log: PathBuf,
}

impl World {
    /// Settings, an empty folder of manifests, and the module `modules/hostile.wasm`.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["pipelines", "modules"] {
            fs::create_dir(folder.path().join(name)).unwrap();
        }
        // Shared by all tests and runs, so that each module is compiled once.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).join("swap-modules");
        let settings = embedded::settings(&cache, "cpu-deadline = \"1 s\"\n");
        fs::write(folder.path().join("pillowtop.toml"), settings).unwrap();
        fs::write(folder.path().join("modules/hostile.wasm"), modules::hostile()).unwrap();
        let database = Database::open(&folder.path().join("pillowtop.db"));
        let world = Self { folder, database };
        // Makes the tables of the change log and of the documents.
        world.publish("case-sql", &[]);
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file beside its place and renames it over: what editors and deployments do.
    pub(crate) fn put(&self, name: &str, content: impl AsRef<[u8]>) {
        let place = self.path(name);
        let beside = place.with_extension("tmp");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, place).unwrap();
    }

    pub(crate) fn put_manifest(&self, pillow: &Pillow) {
        self.put(&format!("pipelines/{}.toml", pillow.name), pillow.text());
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillowtop"));
        command.current_dir(self.folder.path()).args(arguments).stdin(Stdio::null());
        command.env_remove("RUST_LOG").env_remove("PILLOWTOP_SETTINGS").env_remove("PILLOWTOP_PIPELINES");
        command
    }

    /// Starts `pillowtop run`.
    pub(crate) fn run(&self, arguments: &[&str]) -> Host {
        let log = self.path("log.txt");
        let stderr = File::options().create(true).append(true).open(&log).unwrap();
        let child = self.command(&["run"]).args(arguments).stdout(Stdio::null()).stderr(stderr).spawn().unwrap();
        Host { child, log }
    }

    /// What a command says, whatever it comes to.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// What a command prints; it must succeed.
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = self.try_cli(arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.cli(&[arguments, &["--json"]].concat())).unwrap()
    }

    /// The status of a pillow that a living host has.
    pub(crate) fn status(&self, pillow: &str) -> Option<Value> {
        let all = self.json(&["status"]);
        let mut alive = all.as_array().unwrap().iter().filter(|row| row["pillow"] == pillow && row["alive"] == true);
        alive.next().map(|row| row["status"].clone())
    }

    /// Waits until the pillow's status is as wanted.
    pub(crate) fn wait_for(&self, pillow: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        until(&format!("{pillow} {what}"), || {
            last = self.status(pillow).unwrap_or(Value::Null);
            if wanted(&last) { Ok(last.clone()) } else { Err(format!("its status is {last}")) }
        })
    }

    pub(crate) fn wait_for_state(&self, pillow: &str, state: &str) -> Value {
        self.wait_for(pillow, &format!("is {state}"), |status| status["state"] == state)
    }

    /// Waits until the pillow runs its so many-th generation.
    pub(crate) fn wait_for_generation(&self, pillow: &str, number: u64) -> Value {
        self.wait_for(pillow, &format!("has generation {number}"), |status| {
            status["generation"] == number && status["state"] == "running"
        })
    }

    /// Publishes documents through the command.
    pub(crate) fn publish(&self, topic: &str, ids: &[&str]) {
        let doc_type = if topic == "form-sql" { "XFormInstance" } else { "CommCareCase" };
        let line = |id: &&str| {
            let poison = if id.starts_with("poison") { "poison" } else { "" };
            json!({ "_id": id, "doc_type": doc_type, "domain": "d", "name": poison }).to_string()
        };
        let lines: Vec<String> = ids.iter().map(line).collect();
        fs::write(self.path("documents.ndjson"), lines.join("\n")).unwrap();
        self.cli(&["publish", "log", "documents.ndjson"]);
    }

    /// Waits until the pillow's rows are these, `ID=VERSION` in the order of ids.
    pub(crate) fn wait_for_rows(&self, table: &str, expected: &str) {
        until(&format!("{table} holds {expected:?}"), || {
            let rows = self.database.rows(table);
            if rows == expected { Ok(()) } else { Err(format!("it holds {rows:?}")) }
        });
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log.txt")).unwrap_or_default()
    }

    /// Waits until the log holds the text.
    pub(crate) fn wait_for_log(&self, text: &str) {
        until(&format!("the log says {text:?}"), || {
            if self.log().contains(text) { Ok(()) } else { Err("it does not".to_owned()) }
        });
    }
}

impl Pillow {
    /// One that stamps documents of `topic` with `version`, into table and index of its own name.
    pub(crate) fn new(name: &'static str, topic: &'static str, version: &str) -> Self {
        Self {
            name,
            topic,
            module: "../modules/hostile.wasm".to_owned(),
            mode: "stamp",
            version: version.to_owned(),
            head: "",
            tables: "",
            config: String::new(),
        }
    }

    pub(crate) fn text(&self) -> String {
        let Self { name, topic, module, mode, version, head, tables, config } = self;
        format!(
            "name = \"{name}\"\n{head}\n[feed]\nfrom = \"log\"\ntopics = [\"{topic}\"]\n\n\
             [documents]\ndefault = \"store\"\n\n{tables}\n\n\
             [[processors]]\nname = \"hostile\"\nmodule = \"{module}\"\ntables = \"tables\"\nindices = \"search\"\n\
             grants = [\"log\"]\nlookups = {{ parent = \"store\" }}\n\n\
             [processors.config]\nmode = \"{mode}\"\nversion = \"{version}\"\nindex = \"{name}\"\ntable = \"{name}\"\n\
             {config}\n"
        )
    }
}

impl Database {
    fn open(path: &Path) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true).busy_timeout(LIMIT);
        let pool = runtime.block_on(SqlitePoolOptions::new().max_connections(1).connect_with(options)).unwrap();
        Self { runtime, pool }
    }

    pub(crate) fn execute(&self, statement: &str) {
        self.runtime.block_on(sqlx::raw_sql(AssertSqlSafe(statement)).execute(&self.pool)).unwrap();
    }

    /// The values of a query, as text.
    pub(crate) fn query(&self, statement: &str) -> Vec<Vec<String>> {
        let rows = self.runtime.block_on(sqlx::query(AssertSqlSafe(statement)).fetch_all(&self.pool));
        let rows = rows.unwrap_or_else(|error| panic!("{statement}: {error}"));
        let value = |row: &sqlx::sqlite::SqliteRow, at: usize| row.get_unchecked::<Option<String>, _>(at);
        rows.iter().map(|row| (0..row.len()).map(|at| value(row, at).unwrap_or_default()).collect()).collect()
    }

    pub(crate) fn number(&self, statement: &str) -> u64 {
        self.query(statement)[0][0].parse().unwrap()
    }

    fn rows(&self, table: &str) -> String {
        let there = format!("select count(*) from sqlite_schema where name = '{table}'");
        if self.number(&there) == 0 {
            return "no table".to_owned();
        }
        let rows = self.query(&format!("select id, version from {table} order by id"));
        rows.iter().map(|row| row.join("=")).collect::<Vec<_>>().join(" ")
    }
}

impl Host {
    /// Stops it in order.
    pub(crate) fn stop(mut self) {
        let status = self.end(rustix::process::Signal::TERM);
        assert!(status.success(), "the host ended with {status}");
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(mut self) {
        self.end(rustix::process::Signal::KILL);
    }

    fn end(&mut self, signal: rustix::process::Signal) -> ExitStatus {
        let id = i32::try_from(self.child.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(id).unwrap(), signal).unwrap();
        until("the host ends", || self.child.try_wait().unwrap().ok_or_else(|| "it runs".to_owned()))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.child.kill().and_then(|()| self.child.wait()).unwrap();
        }
        if std::thread::panicking() {
            println!("the host said:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

/// Asks again and again until there is an answer; after the limit, says what was found last.
pub(crate) fn until<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(found) => assert!(began.elapsed() < LIMIT, "not within {LIMIT:?}: {what}: {found}"),
        }
        runtime.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    }
}

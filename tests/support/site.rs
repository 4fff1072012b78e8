//! A folder with settings and manifests, and the real program run in it.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use super::embedded;
use super::guests::{CRATES, guest};
use super::wait::LIMIT;

/// Compiled modules, shared by all runs of the tests, so that each module is compiled once.
const COMPILED: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/compiled-guests");

/// The part of the settings that says where compiled modules are; more limits may follow.
pub(crate) fn limits() -> String {
    embedded::limits(Path::new(COMPILED))
}

/// A folder of its own for each test; the program's defaults find everything in it.
pub(crate) struct Site {
    folder: TempDir,
}

/// A program that ended.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: ExitStatus,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// A program that runs; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    err: Lines<BufReader<ChildStderr>>,
    said: Vec<String>,
}

impl Site {
    /// No server: change log, documents, tables and checkpoints in `pillowtop.db`, indices in `search`.
    pub(crate) fn embedded() -> Self {
        Self::with_settings("")
    }

    /// The same, and more settings after it; they may go on with `[limits]`.
    pub(crate) fn with_settings(more: &str) -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        site.write("pillowtop.toml", &embedded::settings(Path::new(COMPILED), more));
        fs::create_dir(site.path("pipelines")).unwrap();
        site
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    /// Declares a pillow; `{es-indexer}` in the text is the path of that processor's module.
    pub(crate) fn pillow(&self, name: &str, text: &str) {
        let mut text = format!("name = \"{name}\"\n{text}");
        for guest_name in CRATES {
            let placeholder = format!("{{{guest_name}}}");
            if text.contains(&placeholder) {
                text = text.replace(&placeholder, guest(guest_name).to_str().unwrap());
            }
        }
        self.write(&format!("pipelines/{name}.toml"), &text);
    }

    /// The program, in the folder, with nothing from around the test.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillowtop"));
        for variable in [
            "PILLOWTOP_SETTINGS",
            "PILLOWTOP_PIPELINES",
            "PILLOWTOP_PROCESS",
            "PILLOWTOP_PROCESSES",
            "PILLOWTOP_DEDICATED_MIGRATION_PROCESS",
            "PILLOWTOP_FAULT",
            "RUST_LOG",
        ] {
            command.env_remove(variable);
        }
        command.args(arguments).current_dir(self.folder.path()).env("USER", "tester").kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs the program to its end.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        finish(self.command(arguments), arguments, None).await
    }

    /// Runs the program to its end; it reads `input`.
    pub(crate) async fn run_on(&self, arguments: &[&str], input: &str) -> Ran {
        finish(self.command(arguments), arguments, Some(input)).await
    }

    /// Publishes lines into `log`, and gives what the program said about it.
    pub(crate) async fn publish(&self, lines: &str) -> Value {
        self.run_on(&["--json", "publish", "log"], lines).await.json()
    }

    /// Runs the pillows until they are caught up, and gives the summary.
    pub(crate) async fn catch_up(&self) -> Value {
        self.run(&["--json", "run", "--until-caught-up"]).await.json()
    }

    /// The same of much work, which may take longer.
    pub(crate) async fn catch_up_within(&self, limit: Duration) {
        let arguments = ["--json", "run", "--until-caught-up"];
        finish_within(limit, self.command(&arguments), &arguments, None).await.well();
    }

    /// Asks an index, and gives the whole answer, all hits included.
    pub(crate) async fn search(&self, index: &str, query: &str) -> Value {
        self.run(&["--json", "search", index, query, "--limit", "1000000"]).await.json()
    }

    /// What is parked.
    pub(crate) async fn parked(&self) -> Vec<Value> {
        let parked = self.run(&["--json", "errors", "list", "--limit", "1000000"]).await.json();
        parked.as_array().unwrap().clone()
    }

    /// Starts the program.
    pub(crate) fn start(&self, arguments: &[&str]) -> Running {
        Running::of(self.command(arguments))
    }

    /// A connection to the database, beside the program's own.
    pub(crate) async fn database(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.path("pillowtop.db")).busy_timeout(LIMIT);
        SqliteConnection::connect_with(&options).await.unwrap()
    }

    /// The rows of a query whose only column is JSON.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Value> {
        rows(&mut self.database().await, sql).await
    }

    /// Runs statements.
    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.database().await).await.unwrap();
    }
}

/// The rows of a query whose only column is JSON.
pub(crate) async fn rows(database: &mut SqliteConnection, sql: &str) -> Vec<Value> {
    let texts: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_all(database).await.unwrap();
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

/// How many rows there are; none where there is no such table yet.
pub(crate) async fn count(database: &mut SqliteConnection, table: &str) -> Option<u64> {
    let sql = format!("select count(*) from {table}");
    let count: Result<i64, _> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_one(database).await;
    count.ok().map(|count| u64::try_from(count).unwrap())
}

impl Ran {
    /// What it printed as JSON; it must have ended well.
    pub(crate) fn json(self) -> Value {
        let ran = self.well();
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
    }

    /// Asserts that it ended well.
    pub(crate) fn well(self) -> Self {
        assert!(self.status.success(), "{self:?}\n{}", self.err);
        self
    }

    /// The exit code; none of a program that a signal ended.
    pub(crate) fn code(&self) -> Option<i32> {
        self.status.code()
    }

    /// The signal that ended it.
    pub(crate) fn signal(&self) -> Option<i32> {
        self.status.signal()
    }
}

/// Runs a command to its end; it reads `input`.
pub(crate) async fn finish(command: Command, arguments: &[&str], input: Option<&str>) -> Ran {
    finish_within(LIMIT, command, arguments, input).await
}

async fn finish_within(limit: Duration, mut command: Command, arguments: &[&str], input: Option<&str>) -> Ran {
    if input.is_some() {
        command.stdin(Stdio::piped());
    }
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take();
    let feeding = async {
        if let (Some(mut stdin), Some(input)) = (stdin, input) {
            // A program that has seen enough closes its end; what it says then is what the test looks at.
            stdin.write_all(input.as_bytes()).await.unwrap_or_default();
        }
    };
    let both = async { tokio::join!(feeding, child.wait_with_output()) };
    let (_, output) =
        timeout(limit, both).await.unwrap_or_else(|_| panic!("pillowtop {arguments:?} did not end within {limit:?}"));
    let output = output.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ran { status: output.status, out: text(output.stdout), err: text(output.stderr) }
}

impl Running {
    pub(crate) fn of(mut command: Command) -> Self {
        // Nobody reads it before the end, and it is short.
        command.stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        let err = BufReader::new(child.stderr.take().unwrap()).lines();
        Self { child, err, said: Vec::new() }
    }

    /// Waits until it says on standard error what contains `words`, and gives the line.
    pub(crate) async fn says(&mut self, words: &str) -> String {
        let waiting = async {
            while let Some(line) = self.err.next_line().await.unwrap() {
                self.said.push(line.clone());
                if line.contains(words) {
                    return line;
                }
            }
            panic!("it ended without a word of {words:?}: {:#?}", self.said);
        };
        timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("waited {LIMIT:?} in vain for {words:?}"))
    }

    /// Sends it a signal: `TERM`, `INT`, `STOP`, `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let signal = match name {
            "TERM" => Signal::TERM,
            "INT" => Signal::INT,
            "STOP" => Signal::STOP,
            "CONT" => Signal::CONT,
            other => panic!("no test sends {other}"),
        };
        let id = i32::try_from(self.child.id().expect("it runs")).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), signal).unwrap();
    }

    /// Kills it, as the system would that runs out of memory.
    pub(crate) fn kill(&mut self) {
        self.child.start_kill().unwrap();
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for its end.
    pub(crate) async fn ended(mut self) -> Ran {
        let reading = async {
            while let Some(line) = self.err.next_line().await.unwrap() {
                self.said.push(line);
            }
            self.child.wait().await.unwrap()
        };
        let status = timeout(LIMIT, reading).await.unwrap_or_else(|_| panic!("it did not end within {LIMIT:?}"));
        Ran { status, out: String::new(), err: self.said.join("\n") }
    }
}

/// The text of a file of the workspace.
pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

//! Figures of the real program: the embedded default from publish to caught up, and the time to the first change.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use bench_guest::documents;
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use rustix::time::ClockId;
use serde_json::Value;
use tempfile::TempDir;

use super::measure::{Cost, Variant, interleaved, now};
use super::report::{Goal, Report, Unit};
use super::{built, case, embedded};

/// Linux counts CPU time in `/proc` in hundredths of a second, whatever the kernel's own tick is.
const TICKS_PER_SECOND: u64 = 100;

/// A folder with settings and manifests in which the program runs.
pub(crate) struct Folder {
    folder: TempDir,
}

impl Folder {
    /// `pillows` of es-indexer over the same cases, each with an index of its own; compiled modules are kept in `cache`.
    pub(crate) fn new(pillows: usize, cache: &Path) -> Self {
        let bench = built::workspace().join("target/bench");
        fs::create_dir_all(&bench).unwrap();
        let folder = tempfile::tempdir_in(bench).unwrap();
        let settings = embedded::settings(cache, "[log]\nlevel = \"warn\"\n");
        fs::write(folder.path().join("pillowtop.toml"), settings).unwrap();
        fs::create_dir(folder.path().join("pipelines")).unwrap();
        let module = built::module("es_indexer");
        for number in 0..pillows {
            let manifest = format!(
                "name = \"cases-{number}\"\n[feed]\nfrom = \"log\"\ntopics = [\"case-sql\"]\n[documents]\n\
                 default = \"store\"\n[[processors]]\nname = \"search\"\ngrants = [\"log\"]\nmodule = {module:?}\n\
                 indices = \"search\"\n[processors.config]\nprofile = \"case\"\nindex = \"cases-{number}\"\n"
            );
            fs::write(folder.path().join(format!("pipelines/cases-{number}.toml")), manifest).unwrap();
        }
        Self { folder }
    }

    /// The same with everything that is in it.
    pub(crate) fn copy(&self) -> Self {
        let copy = tempfile::tempdir_in(self.folder.path().parent().unwrap()).unwrap();
        copy_all(self.folder.path(), copy.path());
        Self { folder: copy }
    }

    /// Publishes the first `count` cases.
    pub(crate) fn publish(&self, count: usize) {
        let mut lines = Vec::new();
        for number in 0..count {
            lines.extend(documents::case(number));
            lines.push(b'\n');
        }
        let mut child = self.command(&["publish", "log"]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(&lines).unwrap();
        let output = child.wait_with_output().unwrap();
        let published: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!((&published["documents"], &published["deletions"]), (&count.into(), &0.into()), "{published}");
    }

    /// The program with these arguments; what it prints is kept as JSON.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pillowtop"));
        command.arg("--json").args(arguments).current_dir(self.folder.path()).stdout(Stdio::piped());
        command.env_remove("RUST_LOG");
        command
    }

    /// Runs a command to its end.
    pub(crate) fn ask(&self, arguments: &[&str]) -> Value {
        let output = self.command(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs until all is settled: what it cost, and that it was what it should be.
    fn run_until_caught_up(&self, changes: usize) -> Cost {
        let started = now(ClockId::Monotonic);
        let child = self.command(&["run", "--until-caught-up"]).spawn().unwrap();
        let cpu = wait(&child);
        let wall = now(ClockId::Monotonic) - started;
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "the program failed");
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        let counts = &said["pillows"][0]["status"]["counts"];
        for (name, expected) in [("settled", changes), ("written", changes), ("parked", 0)] {
            assert_eq!(counts[name], expected, "{name}: {counts}");
        }
        Cost { cpu, wall, units: changes }
    }
}

/// Change log → es-indexer → embedded index, with log, documents and checkpoint in SQLite.
pub(crate) fn embedded(report: &mut Report) {
    let cache = tempfile::tempdir().unwrap();
    let prepared = Folder::new(1, cache.path());
    prepared.publish(case::CASES);
    let mut expected = case::expected(&case::indexer());
    expected.values_mut().for_each(without_time);
    let run = || {
        let folder = prepared.copy();
        let cost = folder.run_until_caught_up(case::CASES);
        let found = folder.ask(&["search", "cases-0", "type:pregnancy", "--limit", &case::CASES.to_string()]);
        let hits = found["hits"].as_array().unwrap().iter().map(|hit| {
            let mut source = hit["source"].clone();
            without_time(&mut source);
            (hit["id"].as_str().unwrap().to_owned(), source)
        });
        assert_eq!(hits.collect::<std::collections::BTreeMap<_, _>>(), expected, "the index holds every case");
        cost
    };
    let (measured, control) = interleaved(vec![Variant::new("pillowtop run --until-caught-up", run)]);
    report.costs("1 KB cases, SQLite → es-indexer → embedded index", &measured, &control);
    let (cpu, wall) = (1e9 / measured[0].cpu_ns(), 1e9 / measured[0].wall_ns());
    report.row("SQLite → es-indexer → embedded index, per core", Unit::PerCoreSecond, Some(cpu), Some(wall), None);
}

/// From the start of the program to its end, with one change in the log: the start, the change and the stop.
pub(crate) fn first_change(report: &mut Report) {
    let warm = tempfile::tempdir().unwrap();
    let cold = tempfile::tempdir().unwrap();
    let prepared = |cache: &Path| {
        let folder = Folder::new(1, cache);
        folder.publish(1);
        folder
    };
    let (with_warm, with_cold) = (prepared(warm.path()), prepared(cold.path()));
    let run_warm = || with_warm.copy().run_until_caught_up(1);
    let run_cold = || {
        fs::remove_dir_all(cold.path()).unwrap();
        with_cold.copy().run_until_caught_up(1)
    };
    let variants = vec![Variant::new("warm cache", run_warm), Variant::new("cold cache", run_cold)];
    let (measured, control) = interleaved(variants);
    report.costs("start, one change, stop", &measured, &control);
    let seconds = measured[0].wall_ns() / 1e9;
    let goal = Some(Goal::AtMost(1.0));
    report.row("start, one change, stop; warm module cache", Unit::Seconds, None, Some(seconds), goal);
}

/// The indexer notes the time of the batch.
fn without_time(document: &mut Value) {
    document.as_object_mut().unwrap().remove("inserted_at");
}

/// Waits for the end of a child without reaping it, and reads its CPU time.
fn wait(child: &Child) -> Duration {
    let pid = Pid::from_child(child);
    waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).unwrap();
    cpu_of(child.id())
}

/// CPU time so far of a process that runs, or that nobody has reaped, and of its children that it waited for.
pub(crate) fn cpu_of(process: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // proc(5): the name, in parentheses, may hold spaces; utime, stime, cutime and cstime are the fields 14 to 17.
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let ticks: u64 = rest.split(' ').skip(11).take(4).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_millis(ticks * 1000 / TICKS_PER_SECOND)
}

fn copy_all(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            fs::create_dir_all(&target).unwrap();
            copy_all(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

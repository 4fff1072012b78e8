//! The memory of a host whose pillows have nothing to do.

use std::fs;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::time::interval;

use super::case;
use super::measure::median;
use super::program::Folder;
use super::report::{Goal, Report, Unit};

const PILLOWS: usize = 30;
/// Cases that each pillow has had before it was idle.
const CASES: usize = 500;
/// Between two questions to the host, which answers with its heartbeat.
const EVERY: Duration = Duration::from_secs(1);
/// Questions that it is found idle at, one after the other, before its memory is read: by then it has closed the writers
/// of its indices, and the allocator has given back what they held.
const SETTLE: usize = 45;
const RUNS: usize = 2;

pub(crate) fn measure(report: &mut Report) {
    let cache = tempfile::tempdir().unwrap();
    for (what, cases) in [("nothing to read", 0), ("500 cases read before", CASES)] {
        let mut runs = Vec::new();
        for _ in 0..RUNS {
            let folder = Folder::new(PILLOWS, cache.path());
            folder.publish(cases);
            runs.push(case::runtime().block_on(resident(&folder, cases)));
        }
        let pick = |pick: fn(&(f64, f64)) -> f64| median(runs.iter().map(pick));
        let goal = Some(Goal::AtMost(150.0));
        let what = format!("{PILLOWS} idle pillows, {what}");
        report.row(&format!("{what}: resident"), Unit::Megabytes, Some(pick(|run| run.0)), None, goal);
        report.row(&format!("{what}: of it not from files"), Unit::Megabytes, Some(pick(|run| run.1)), None, None);
        let spread = runs.iter().map(|run| run.0).fold(f64::MIN, f64::max)
            - runs.iter().map(|run| run.0).fold(f64::MAX, f64::min);
        report.row(&format!("{what}: spread of {RUNS} runs"), Unit::Megabytes, Some(spread), None, None);
    }
}

/// Megabytes resident of a host that has caught up, and of them those that no file backs.
async fn resident(folder: &Folder, cases: usize) -> (f64, f64) {
    let mut child = folder.command(&["run"]).spawn().unwrap();
    let mut ticks = interval(EVERY);
    let mut idle = 0;
    while idle < SETTLE {
        ticks.tick().await;
        assert!(child.try_wait().unwrap().is_none(), "the host ended");
        let status = folder.ask(&["status"]);
        idle = if is_idle(&status, cases) { idle + 1 } else { 0 };
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let megabytes = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
    };
    let resident = (megabytes("VmRSS:"), megabytes("RssAnon:"));
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert!(child.wait().unwrap().success(), "the host stops in order");
    resident
}

/// Whether every pillow runs and has settled all cases.
fn is_idle(status: &Value, cases: usize) -> bool {
    let rows = status.as_array().unwrap();
    let settled = |row: &Value| {
        let status = &row["status"];
        let done = status["counts"]["settled"] == cases && status["counts"]["parked"] == 0;
        row["alive"] == true && status["state"] == "running" && status["caught_up"] == true && done
    };
    rows.len() == PILLOWS && rows.iter().all(settled)
}

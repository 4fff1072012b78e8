//! The measuring: any program that reads a topic to its end and then ends by itself, as a whole process.

use std::process::{Child, Command};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, waitid};
use rustix::time::ClockId;
use tokio::time::{MissedTickBehavior, interval};

use super::measure::{now, peak};
use super::program::cpu_of;

/// How often it is looked at whether a program still runs, and how much memory it needed so far.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What running programs side by side cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    /// CPU time of them all, and of the processes that they waited for.
    pub(crate) cpu: Duration,
    /// From the start of the first to the end of the last.
    pub(crate) wall: Duration,
    /// Megabytes that they had resident at most, each by itself, added up.
    pub(crate) megabytes: f64,
}

/// A program that runs.
struct Running {
    child: Child,
    cpu: Option<Duration>,
    megabytes: f64,
}

/// A program that runs until it is told to stop; killed where nobody told it, because a check failed.
pub(crate) struct Resident(Option<Child>);

impl Resident {
    pub(crate) fn start(mut command: Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().map_or(0, Child::id)
    }

    /// Tells it to stop, and waits until it did so in order.
    pub(crate) fn stop(mut self) {
        let mut child = self.0.take().unwrap();
        kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
        assert!(child.wait().unwrap().success(), "a measured program did not stop in order");
    }
}

impl Drop for Resident {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            child.kill().unwrap_or_default();
            drop(child.wait());
        }
    }
}

/// Runs these programs side by side to their ends, which must be good ones.
pub(crate) async fn run(commands: Vec<Command>) -> Ran {
    let started = now(ClockId::Monotonic);
    let start = |mut command: Command| Running { child: command.spawn().unwrap(), cpu: None, megabytes: 0.0 };
    let mut all: Vec<Running> = commands.into_iter().map(start).collect();
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while all.iter().any(|one| one.cpu.is_none()) {
        ticks.tick().await;
        for one in all.iter_mut().filter(|one| one.cpu.is_none()) {
            one.look();
        }
    }
    let wall = now(ClockId::Monotonic) - started;
    for one in &mut all {
        assert!(one.child.wait().unwrap().success(), "a measured program failed");
    }
    let cpu = all.iter().filter_map(|one| one.cpu).sum();
    Ran { cpu, wall, megabytes: all.iter().map(|one| one.megabytes).sum() }
}

impl Running {
    fn look(&mut self) {
        // The peak only grows, so the last look before the end is good enough.
        self.megabytes = peak(self.child.id()).unwrap_or(0.0).max(self.megabytes);
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        if waitid(WaitId::Pid(Pid::from_child(&self.child)), ended).unwrap().is_some() {
            self.cpu = Some(cpu_of(self.child.id()));
        }
    }
}

//! The table on standard output, and the same as JSON.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use super::measure::Measured;

/// What a number means, and how it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Unit {
    /// Nanoseconds for one document or change.
    Nanoseconds,
    /// Changes in a second of CPU time.
    PerCoreSecond,
    /// How many times as much.
    Times,
    /// Milliseconds.
    Milliseconds,
    /// Seconds.
    Seconds,
    /// Millions of bytes.
    Megabytes,
}

/// What was wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Goal {
    AtMost(f64),
    AtLeast(f64),
}

/// All results, in the order in which they came.
pub(crate) struct Report {
    rows: Vec<Value>,
    figure: String,
}

impl Report {
    pub(crate) fn new() -> Self {
        println!("{:<72} {:>14} {:>14}  goal", "what", "CPU", "wall");
        Self { rows: Vec::new(), figure: String::new() }
    }

    /// A new section.
    pub(crate) fn begin(&mut self, figure: &str) {
        figure.clone_into(&mut self.figure);
        println!("\n{figure}");
    }

    /// What is said beside the numbers.
    pub(crate) fn note(&self, text: &str) {
        println!("  {text}");
    }

    /// A row of variants with their control: CPU and wall nanoseconds per unit.
    pub(crate) fn costs(&mut self, group: &str, measured: &[Measured], control: &Measured) {
        for one in measured {
            self.row(
                &format!("{group}: {}", one.name),
                Unit::Nanoseconds,
                Some(one.cpu_ns()),
                Some(one.wall_ns()),
                None,
            );
        }
        let apart = |one: f64, other: f64| (one - other).abs() / one.min(other) * 100.0;
        let (cpu, wall) =
            (apart(measured[0].cpu_ns(), control.cpu_ns()), apart(measured[0].wall_ns(), control.wall_ns()));
        println!("{:<72} {cpu:>12.1} % {wall:>12.1} %", format!("  {group}: A/A, the same twice ({})", control.name));
        self.rows.push(
            json!({ "figure": self.figure, "what": format!("{group}: A/A"), "unit": "%", "cpu": cpu, "wall": wall }),
        );
    }

    /// One number, judged against its goal; `cpu` or `wall` says by which clock, or what it is.
    pub(crate) fn row(&mut self, what: &str, unit: Unit, cpu: Option<f64>, wall: Option<f64>, goal: Option<Goal>) {
        let judged = cpu.or(wall).unwrap_or(f64::NAN);
        let met = goal.map(|goal| goal.is_met(judged));
        let said = match (goal, met) {
            (Some(goal), Some(true)) => format!("{}: met", goal.show(unit)),
            (Some(goal), _) => format!("{}: NOT MET", goal.show(unit)),
            (None, _) => String::new(),
        };
        let show = |value: Option<f64>| value.map_or_else(String::new, |value| unit.show(value));
        println!("{:<72} {:>14} {:>14}  {said}", format!("  {what}"), show(cpu), show(wall));
        self.rows.push(json!({
            "figure": self.figure, "what": what, "unit": unit.name(), "cpu": cpu, "wall": wall,
            "goal": goal.map(|goal| goal.show(unit)), "met": met,
        }));
    }

    /// Writes the results.
    pub(crate) fn end(self) {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("results.json");
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let results = json!({ "cores": cores, "load": load.trim(), "results": self.rows });
        fs::write(&file, serde_json::to_vec_pretty(&results).unwrap()).unwrap();
        println!("\n{} cores, load {}; {}", cores, load.trim(), file.canonicalize().unwrap().display());
    }
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }

    fn show(self, unit: Unit) -> String {
        match self {
            Self::AtMost(bound) => format!("≤ {}", unit.show(bound)),
            Self::AtLeast(bound) => format!("≥ {}", unit.show(bound)),
        }
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Nanoseconds => format!("{value:.0} ns"),
            Self::PerCoreSecond => format!("{value:.0} /s"),
            Self::Times => format!("{value:.2} ×"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::Seconds => format!("{value:.3} s"),
            Self::Megabytes => format!("{value:.0} MB"),
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Nanoseconds => "ns per unit",
            Self::PerCoreSecond => "per second",
            Self::Times => "times",
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Megabytes => "MB",
        }
    }
}

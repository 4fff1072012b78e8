//! Rounds, clocks and medians.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What so many units of work cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// CPU time.
    pub(crate) cpu: Duration,
    /// Time on the wall.
    pub(crate) wall: Duration,
    /// Documents or changes.
    pub(crate) units: usize,
}

/// One way of doing the work of a figure.
pub(crate) struct Variant<'a> {
    pub(crate) name: String,
    pub(crate) run: Box<dyn FnMut() -> Cost + 'a>,
}

/// The costs of a variant, one per round.
#[derive(Debug, Clone)]
pub(crate) struct Measured {
    pub(crate) name: String,
    pub(crate) costs: Vec<Cost>,
}

/// Whose CPU time counts.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Whose {
    /// That of the calling thread.
    Thread,
    /// That of all threads of this process.
    Process,
}

impl<'a> Variant<'a> {
    pub(crate) fn new(name: impl Into<String>, run: impl FnMut() -> Cost + 'a) -> Self {
        Self { name: name.into(), run: Box::new(run) }
    }
}

impl Measured {
    /// The median of CPU nanoseconds per unit.
    pub(crate) fn cpu_ns(&self) -> f64 {
        median(self.costs.iter().map(|cost| per_unit(cost.cpu, cost.units)))
    }

    /// The median of wall nanoseconds per unit.
    pub(crate) fn wall_ns(&self) -> f64 {
        median(self.costs.iter().map(|cost| per_unit(cost.wall, cost.units)))
    }
}

/// How many rounds there are.
pub(crate) fn rounds() -> usize {
    std::env::var("BENCH_ROUNDS").map_or(5, |text| text.parse().expect("BENCH_ROUNDS is a number"))
}

/// So many, or the share of them that `BENCH_SHARE` wants: a small one tries a figure out.
pub(crate) fn share(all: usize) -> usize {
    let share = std::env::var("BENCH_SHARE").map_or(1.0, |text| text.parse().expect("BENCH_SHARE is a number"));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
    let part = (all as f64 * share) as usize;
    part.max(1)
}

/// Runs every variant once per round, and the first one once more, as the control. The order turns with the rounds, so
/// that no variant always follows the same other one. A first round warms up and does not count.
pub(crate) fn interleaved(mut variants: Vec<Variant<'_>>) -> (Vec<Measured>, Measured) {
    let name = |name: &str| Measured { name: name.to_owned(), costs: Vec::new() };
    let mut measured: Vec<Measured> = variants.iter().map(|variant| name(&variant.name)).collect();
    let mut control = name(&variants[0].name);
    for round in 0..=rounds() {
        for step in 0..=variants.len() {
            let at = (step + round) % (variants.len() + 1);
            let variant = at % variants.len();
            let cost = (variants[variant].run)();
            if round == 0 {
                continue;
            }
            if at == variants.len() {
                control.costs.push(cost);
            } else {
                measured[variant].costs.push(cost);
            }
        }
    }
    (measured, control)
}

/// What `work` costs; it answers how many units it did.
pub(crate) fn timed(whose: Whose, work: impl FnOnce() -> usize) -> Cost {
    let clock = match whose {
        Whose::Thread => ClockId::ThreadCPUTime,
        Whose::Process => ClockId::ProcessCPUTime,
    };
    let (cpu, wall) = (now(clock), now(ClockId::Monotonic));
    let units = work();
    Cost { cpu: now(clock) - cpu, wall: now(ClockId::Monotonic) - wall, units }
}

/// The clock's time.
pub(crate) fn now(clock: ClockId) -> Duration {
    let now = clock_gettime(clock);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

/// The middle one; of an even number the greater of the two.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    quantile(values, 0.5)
}

/// The value that this share of the values is below.
pub(crate) fn quantile(values: impl Iterator<Item = f64>, share: f64) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    let most = sorted.len().checked_sub(1).expect("something was measured");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and the number of values")]
    let at = (sorted.len() as f64 * share) as usize;
    sorted[at.min(most)]
}

/// Forgets what this process once needed at most, so that [`peak`] says it of what follows.
pub(crate) fn reset_peak() {
    // proc(5): 5 sets the peak to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// Megabytes that a process had resident at most; none when it is gone.
pub(crate) fn peak(process: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<f64>().ok()? * 1024.0 / 1e6)
}

fn per_unit(time: Duration, units: usize) -> f64 {
    time.as_secs_f64() * 1e9 / units as f64
}

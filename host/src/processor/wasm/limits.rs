//! What a processor may use, and how that is held: memory by the runtime's limiter, time by the epoch's callback.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::ResourceLimiter;

/// Tables are what indirect calls go through; the largest seen, of an interpreter compiled to WASM, has 20 thousand.
const TABLE_ELEMENTS: usize = 1_000_000;
/// Core instances, memories and tables of one component; wit-component makes three, two and one, Python's tool 60.
const PIECES: usize = 1_000;

/// Bounds for one instance and one call of it. What goes beyond becomes a fault or that change's failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// All linear memory of an instance, in bytes. Asking for more is a fault.
    pub memory_bytes: usize,
    /// Memory above which an instance is replaced after its call, in bytes: WASM never gives memory back.
    pub memory_mark_bytes: usize,
    /// CPU time of one call. It is the thread's, so a busy machine does not make a processor slow.
    pub cpu: Duration,
    /// Wall time of one call, waiting for look-ups included; a call that waits is ended when it comes back.
    pub wall: Duration,
    /// Writes and rows for one change; more is that change's failure.
    pub writes_per_change: usize,
    /// Bytes of one write with all its rows, or of the keys asked for by one change; more is that change's failure.
    pub write_bytes: usize,
    /// Bytes of all answers of one call. More is a fault, and the batch is tried in smaller pieces.
    pub output_bytes: usize,
    /// Log lines of one call; the rest is counted, and the count is logged.
    pub log_lines: usize,
    /// Bytes of one log line; the rest is cut off.
    pub log_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 256 << 20,
            memory_mark_bytes: 64 << 20,
            cpu: Duration::from_secs(5),
            wall: Duration::from_secs(30),
            writes_per_change: 10_000,
            write_bytes: 16 << 20,
            output_bytes: 64 << 20,
            log_lines: 100,
            log_line_bytes: 8 << 10,
        }
    }
}

/// A limit that was met while the processor ran.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Exceeded {
    #[error("took more than {0:?} of CPU time")]
    Cpu(Duration),
    #[error("took more than {0:?}")]
    Wall(Duration),
    #[error("asked for {asked} bytes of memory, and may have {limit}")]
    Memory { asked: usize, limit: usize },
    #[error("asked for a table of {0} elements, and may have {TABLE_ELEMENTS}")]
    Table(usize),
    #[error("answered with more than {0} bytes")]
    Output(usize),
}

/// When the running call has to end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    cpu_limit: Duration,
    wall_limit: Duration,
    cpu_end: Duration,
    wall_end: Duration,
}

impl Deadline {
    /// Starts now, on the calling thread.
    pub(super) fn start(limits: &Limits) -> Self {
        Self {
            cpu_limit: limits.cpu,
            wall_limit: limits.wall,
            cpu_end: read(ClockId::ThreadCPUTime).saturating_add(limits.cpu),
            wall_end: read(ClockId::Monotonic).saturating_add(limits.wall),
        }
    }

    /// Whether there is time left; to be asked on the thread that started.
    pub(super) fn check(&self) -> Result<(), Exceeded> {
        if read(ClockId::ThreadCPUTime) >= self.cpu_end {
            Err(Exceeded::Cpu(self.cpu_limit))
        } else if read(ClockId::Monotonic) >= self.wall_end {
            Err(Exceeded::Wall(self.wall_limit))
        } else {
            Ok(())
        }
    }
}

/// Kernel clocks, because tokio's can be paused by a test and knows nothing of CPU time.
fn read(clock: ClockId) -> Duration {
    Duration::try_from(clock_gettime(clock)).unwrap_or_default()
}

/// Counts the memory of one instance. The runtime's own limiter counts each memory by itself, and a component may have
/// many.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: usize,
}

impl Memory {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { limit: limits.memory_bytes, used: 0 }
    }

    /// Bytes of linear memory in use.
    pub(super) fn used(&self) -> usize {
        self.used
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        let asked = self.used.saturating_sub(current).saturating_add(desired);
        if asked > self.limit {
            // A trap, because few programs survive an allocation that fails, and none says so as clearly.
            return Err(Exceeded::Memory { asked, limit: self.limit }.into());
        }
        self.used = asked;
        Ok(true)
    }

    fn memory_grow_failed(&mut self, error: wasmtime::Error) -> wasmtime::Result<()> {
        Err(error)
    }

    fn table_growing(&mut self, _: usize, desired: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        if desired > TABLE_ELEMENTS {
            return Err(Exceeded::Table(desired).into());
        }
        Ok(true)
    }

    fn instances(&self) -> usize {
        PIECES
    }

    fn tables(&self) -> usize {
        PIECES
    }

    fn memories(&self) -> usize {
        PIECES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_memories_of_an_instance_count_together() {
        let mut memory = Memory::new(&Limits { memory_bytes: 100, ..Limits::default() });
        assert!(memory.memory_growing(0, 60, None).unwrap());
        assert!(memory.memory_growing(0, 30, None).unwrap());
        assert!(memory.memory_growing(60, 70, None).unwrap());
        assert_eq!(memory.used(), 100);
        let refusal = memory.memory_growing(30, 31, None).unwrap_err();
        assert_eq!(refusal.downcast_ref(), Some(&Exceeded::Memory { asked: 101, limit: 100 }));
        assert_eq!(memory.used(), 100);
    }

    #[test]
    fn a_deadline_counts_cpu_and_wall_time_apart() {
        let spare = Limits { cpu: Duration::from_secs(3600), wall: Duration::from_secs(3600), ..Limits::default() };
        assert_eq!(Deadline::start(&spare).check(), Ok(()));
        let no_cpu = Limits { cpu: Duration::ZERO, ..spare.clone() };
        assert_eq!(Deadline::start(&no_cpu).check(), Err(Exceeded::Cpu(Duration::ZERO)));
        let no_wall = Limits { wall: Duration::ZERO, ..spare };
        assert_eq!(Deadline::start(&no_wall).check(), Err(Exceeded::Wall(Duration::ZERO)));
    }
}

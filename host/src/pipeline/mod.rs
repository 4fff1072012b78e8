//! The engine of one pillow: read, collapse, fetch, process, write, settle.
//!
//! Promise: progress moves only when each change up to it is written, skipped, or parked in the same settle; batches
//! of a lane settle in order, though several are in flight and may finish in any order; a batch is processed by the
//! generation of processors that was current when it closed, so a swap has one boundary per partition.
//!
//! Knows ports, no adapters. Deliberately absent: restarting. [`Runner::run`] drains and returns with the reason; who
//! supervises it decides whether and when to begin again, always from the checkpoint.

mod backfill;
mod backoff;
mod carry;
mod deliver;
mod drain;
mod fetch;
mod generation;
mod halt;
mod isolate;
mod lanes;
mod lookups;
mod hand_over;
mod ownership;
mod process;
mod replays;
mod runner;
mod settle;
mod status;
#[cfg(test)]
mod tests;
mod workers;

pub use backoff::Backoff;
pub use fetch::Fetcher;
pub use generation::{Generation, Stage, StageCounts};
pub use halt::{Cause, FailureLimit};
pub use lookups::{InstanceLookups, LookupStores, Memo};
pub use runner::{End, Pillow, Runner, Tuning};
pub use status::{Counts, LaneStatus, Snapshot, State, Status};
pub use workers::Workers;

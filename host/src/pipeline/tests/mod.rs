//! The invariants of a pillow, held by runs over adapters in memory.
//!
//! Clocks are paused, so waits cost nothing; processors run on real threads and are held by gates. Every wait ends in a
//! failure after [`bench::PATIENCE`] of real time.

mod backfill;
mod bench;
mod checkpoints;
mod processors;
mod queue;

mod bounds;
mod counts;
mod halt;
mod isolation;
mod look_ups;
mod order;
mod outage;
mod ownership;
mod retry;
mod settle;
mod stop;
mod swap;
mod versions;

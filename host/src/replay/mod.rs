//! Feeds made of what is known already: the retries that are due, and whole document stores.
//!
//! A replay is a batch like any other: it goes through the same fetch, processors and settle. A retry moves no progress;
//! a backfill has checkpoints of its own, so that it goes on where it was after a restart.
//!
//! Deliberately absent: deciding what may be replayed when. The pipeline keeps replays behind what is live.

mod backfill;
mod requests;
mod retries;

pub use backfill::{Order, Page, Part, Progressing, Reading, Report, Stub, Walk, WalkError};
pub use requests::{Backfills, Request, RequestState, Wanted};
pub use retries::{RetryGroup, group};

//! Made-up but realistic CommCare documents: forms, cases, and what happens to them over the years.
//!
//! The shapes are those of real documents: repeats that are one object or a list, texts about apps of several eras,
//! names in several scripts, points, archived forms, soft and hard deletions. The same seed gives the same documents.

pub mod calendar;
pub mod case;
pub mod form;
pub mod places;
pub mod random;
pub mod world;

use std::io;

pub use world::World;

/// Writes `documents` documents to `out`, one a line.
///
/// # Errors
/// When `out` cannot be written.
pub fn generate(documents: u64, seed: u64, mut out: impl io::Write) -> io::Result<()> {
    let mut world = World::new(documents, seed);
    for _ in 0..documents {
        if let Some(document) = world.next() {
            serde_json::to_writer(&mut out, &document)?;
            out.write_all(b"\n")?;
        }
    }
    out.flush()
}

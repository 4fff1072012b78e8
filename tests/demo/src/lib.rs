//! Made-up but realistic CommCare documents: forms, cases, and what happens to them over the years.
//!
//! The shapes are those of real documents: repeats that are one object or a list, texts about apps of several eras,
//! names in several scripts, points, archived forms, soft and hard deletions. The same seed gives the same documents.

pub mod calendar;
pub mod case;
pub mod form;
pub mod places;
pub mod random;
pub mod stub;
pub mod world;

use std::io;

use serde_json::Value;

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

/// Reads documents, one a line, and writes what is said on Kafka about those of `topic`: the document's id as the key, a
/// tab, the change.
///
/// # Errors
/// When `documents` cannot be read or is not JSON, or `out` cannot be written.
pub fn stubs(documents: impl io::BufRead, topic: &str, mut out: impl io::Write) -> io::Result<()> {
    for line in documents.lines() {
        let document: Value = serde_json::from_str(&line?)?;
        if let Some((_, stub)) = stub::of(&document).filter(|(found, _)| *found == topic)
            && let Some(id) = document["_id"].as_str()
        {
            writeln!(out, "{id}\t{stub}")?;
        }
    }
    out.flush()
}

//! What the benchmarks run twice: natively, and as a processor in the host.
//!
//! The configuration's `work` says what is done with each document: `nothing`, `tree` or `borrowed`.

#[cfg(not(target_arch = "wasm32"))]
pub mod documents;
pub mod work;

use pillowtop_sdk::{Answer, Batch, Change, Config, Description, Error, Index, Problem, Processor, Write};
use serde::Deserialize;

pub use work::Work;

pillowtop_sdk::export_processor!(Measured);

/// The index that is written.
pub const INDEX: &str = "measured";

/// The processor.
#[derive(Debug)]
pub struct Measured {
    work: Work,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    work: Work,
}

impl Processor for Measured {
    fn configure(config: Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let Settings { work } = config.parse()?;
        Ok((Self { work }, Description::new().index(Index::new(INDEX, b"{}"))))
    }

    fn process(&mut self, _batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        Ok(match self.work.run(change.document()?)? {
            Some(document) => Answer::write(Write::index_json(INDEX, document)),
            None => Answer::skip(""),
        })
    }
}

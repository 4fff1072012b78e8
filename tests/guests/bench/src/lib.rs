//! What the benchmarks run twice: natively, and as a processor in the host.
//!
//! The configuration's `work` says what is done with each document: one of [`Work`], or `rows` for a row of ten columns.
//! `target` names the index or table.

#[cfg(not(target_arch = "wasm32"))]
pub mod documents;
pub mod rename;
pub mod rows;
pub mod work;

use pillowtop_sdk::{Answer, Batch, Change, Condition, Config, Description, Error, Index, Problem, Processor, Write};
use serde::Deserialize;

pub use work::Work;

pillowtop_sdk::export_processor!(Measured);

/// The index or table that is written, unless another is named.
pub const TARGET: &str = "measured";

/// The processor.
#[derive(Debug)]
pub struct Measured {
    work: Answers,
    target: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    work: Answers,
    #[serde(default = "target")]
    target: String,
}

/// What is answered.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Answers {
    /// A row.
    Rows,
    /// What the work makes of the document.
    #[serde(untagged)]
    Document(Work),
}

fn target() -> String {
    TARGET.to_owned()
}

impl Processor for Measured {
    fn configure(config: Config<'_>) -> Result<(Self, Description), Vec<Problem>> {
        let Settings { work, target } = config.parse()?;
        let description = match work {
            Answers::Rows => Description::new().table(rows::table(&target)),
            Answers::Document(_) => Description::new().index(Index::new(&target, br#"{"dynamic":false}"#)),
        };
        Ok((Self { work, target }, description))
    }

    fn process(&mut self, _batch: &Batch<'_>, change: &Change<'_>) -> Result<Answer, Error> {
        let work = match self.work {
            Answers::Rows => {
                let row = rows::row(change.id(), change.document()?)?;
                return Ok(Answer::write(Write::upsert_row(&self.target, row, Condition::Always)));
            }
            // A change need not have a document.
            Answers::Document(Work::Nothing) => return Ok(Answer::skip("")),
            Answers::Document(work) => work,
        };
        Ok(match work.run(change.document()?)? {
            Some(document) => Answer::write(Write::index_json(&self.target, document)),
            None => Answer::skip(""),
        })
    }
}

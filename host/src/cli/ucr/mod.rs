//! `ucr check|rows|profile|vectors|rebuild`: data sources of user configurable reports; all but the last without a pipeline.

mod check;
mod component;
mod files;
mod pillow;
mod profile;
mod rebuild;
mod rows;
mod stopwatch;
mod vectors;

use super::Outcome;
use super::args::{Arguments, UcrCommand};

pub(crate) async fn run(arguments: &Arguments, command: &UcrCommand) -> anyhow::Result<Outcome> {
    match command {
        UcrCommand::Check(wanted) => check::run(arguments, wanted),
        UcrCommand::Rows(wanted) => rows::run(arguments, wanted),
        UcrCommand::Profile(wanted) => profile::run(arguments, wanted),
        UcrCommand::Rebuild(wanted) => Box::pin(rebuild::run(arguments, wanted)).await,
        UcrCommand::Vectors(wanted) => {
            let (json, wanted) = (arguments.json, wanted.clone());
            // Compiling and running block.
            tokio::task::spawn_blocking(move || vectors::run(json, &wanted)).await?
        }
    }
}

//! The command line: one command per file. The only room that prints, and the only one with `anyhow`.
#![expect(clippy::print_stderr, reason = "a command line says on standard error what went wrong")]

mod args;
mod backfill;
pub mod check;
mod checkpoint;
mod context;
mod errors;
mod output;
mod processor;
mod publish;
mod queue;
mod rebuild;
mod retry;
mod run;
mod search;
mod sql;
mod status;
mod switch;
mod table;
mod ucr;

use std::process::ExitCode;

use clap::Parser as _;

use crate::control::HostEnd;
use crate::sink::search::ReadError;

use args::{Arguments, Command};

/// Wrong input: a flag, a query, the settings, a manifest. Clap uses the same.
const WRONG_INPUT: u8 = 2;
/// A pillow halted or failed while it was waited for.
const PILLOW_ENDED: u8 = 3;

/// What a command came to, when it did not go wrong.
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// The input was wrong, and was explained.
    WrongInput,
    /// A pillow halted or failed.
    PillowEnded,
    /// A second signal came while the first was being followed.
    Aborted,
}

impl Outcome {
    /// What a host's end is to a command that waited for it; pillows that ended are printed.
    ///
    /// # Errors
    /// Not everything settled in time.
    pub(crate) fn of(end: HostEnd) -> anyhow::Result<Self> {
        match end {
            HostEnd::Done => Ok(Self::Done),
            HostEnd::Overdue => anyhow::bail!("not everything settled within the grace period"),
            HostEnd::PillowEnded(ended) => {
                ended.iter().for_each(|line| eprintln!("error: {line}"));
                Ok(Self::PillowEnded)
            }
        }
    }
}

/// Flags that do not go together, where clap cannot tell.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct WrongInput(pub(crate) String);

/// Runs the program with its arguments; errors are printed with all their causes.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: could not start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(Box::pin(dispatch(arguments)));
    // What blocks in a thread, such as a compilation, is not waited for.
    runtime.shutdown_background();
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::WrongInput) => ExitCode::from(WRONG_INPUT),
        Ok(Outcome::PillowEnded) => ExitCode::from(PILLOW_ENDED),
        Ok(Outcome::Aborted) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {}", crate::model::chain(error.as_ref()));
            let is_wrong_input =
                error.is::<WrongInput>() || matches!(error.downcast_ref(), Some(ReadError::Query { .. }));
            if is_wrong_input { ExitCode::from(WRONG_INPUT) } else { ExitCode::FAILURE }
        }
    }
}

/// Whether a command line is understood; `words` begin with the program's name. A question for help is.
///
/// # Errors
/// What is wrong with it, as it would be printed.
pub fn parses(words: &[String]) -> Result<(), String> {
    match Arguments::try_parse_from(words) {
        Ok(_) => Ok(()),
        Err(error) if !error.use_stderr() => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<Outcome> {
    match &arguments.command {
        Command::Run(command) => Box::pin(run::run(&arguments, command)).await,
        Command::Check => check::run(&arguments).await,
        Command::Publish { feed, file } => publish::run(&arguments, feed, file.as_deref()).await,
        Command::Backfill(command) => Box::pin(backfill::run(&arguments, command)).await,
        Command::Rebuild(command) => Box::pin(rebuild::run(&arguments, command)).await,
        Command::Search(command) => search::run(&arguments, command).await,
        Command::Sql(command) => sql::run(&arguments, command).await,
        Command::Processor(command) => processor::run(&arguments, command).await,
        Command::Ucr(command) => ucr::run(&arguments, command).await,
        Command::Status => status::run(&arguments).await,
        Command::Pause { pillow } => switch::run(&arguments, pillow, true).await,
        Command::Resume { pillow } => switch::run(&arguments, pillow, false).await,
        Command::Checkpoint(command) => checkpoint::run(&arguments, command).await,
        Command::Queue(command) => queue::run(&arguments, command).await,
        Command::Errors(command) => errors::run(&arguments, command).await,
    }
}

//! The command line: one command per file. The only room that prints, and the only one with `anyhow`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line prints")]

mod args;
mod checkpoint;
mod context;
mod errors;
mod status;
mod switch;
mod table;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Arguments, Command};

/// Wrong input: a flag, the settings, a manifest. Clap uses the same.
const WRONG_INPUT: u8 = 2;

/// What a command came to, when it did not go wrong.
pub(crate) enum Outcome {
    /// Done.
    Done,
    /// The input was wrong, and was explained.
    WrongInput,
    /// A pillow halted or failed.
    PillowEnded,
}

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
    match runtime.block_on(Box::pin(dispatch(arguments))) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::WrongInput) => ExitCode::from(WRONG_INPUT),
        Ok(Outcome::PillowEnded) => ExitCode::from(3),
        Err(error) => {
            eprintln!("error: {}", crate::model::chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(arguments: Arguments) -> anyhow::Result<Outcome> {
    match &arguments.command {
        Command::Status => status::run(&arguments).await,
        Command::Pause { pillow } => switch::run(&arguments, pillow, true).await,
        Command::Resume { pillow } => switch::run(&arguments, pillow, false).await,
        Command::Checkpoint(command) => checkpoint::run(&arguments, command).await,
        Command::Errors(command) => errors::run(&arguments, command).await,
        _ => anyhow::bail!("to come"),
    }
}

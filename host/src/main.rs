//! The `pillowtop` program.

use std::process::ExitCode;

/// Measured: 18–30 % less CPU than the system's allocator where documents are turned over.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    pillowtop::cli::main()
}

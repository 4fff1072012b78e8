//! Runs test vectors: `ucr-vectors FILE… [--json]`.
#![expect(clippy::print_stdout, reason = "a program that prints its results")]

use std::process::ExitCode;

use ucr::vectors::{Miss, Report, run_line};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let (flags, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let mut report = Report::default();
    for file in files {
        for line in std::fs::read_to_string(&file)?.lines().filter(|line| !line.trim().is_empty()) {
            let verdict = run_line(line)?;
            report.count(&verdict);
            if let Err(Miss::Failed { expected, got }) = &verdict.result {
                println!("FAILED {} {} {}", verdict.kind, verdict.spec_type, verdict.id);
                println!("  expected {expected}\n  got      {got}");
            }
        }
    }
    if flags.is_empty() {
        println!("{}", report.table());
    } else {
        println!("{}", report.json());
    }
    Ok(if report.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

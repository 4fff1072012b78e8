//! What the engine costs, beside the goals that it is measured against: `make bench`, or
//! `cargo bench -p pillowtop -- [FIGURE…]` for some of them.
//!
//! Every variant of a figure runs once per round, the rounds follow each other, and the median counts: a machine that is
//! busy for a while slows all variants, not one. The first variant runs twice in each round; how far the two medians
//! lie apart is the noise of the figure (A/A). Outputs are compared with what they must be before a figure is printed.
//! `BENCH_ROUNDS` is the number of rounds (default 5), `BENCH_SHARE` how much of the work on servers is done. The results are also in `target/bench/`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark prints, stops when something is wrong, and its numbers are small"
)]

#[path = "../kafka/broker.rs"]
mod broker;
mod built;
mod case;
#[path = "../support/embedded.rs"]
mod embedded;
mod engine;
mod engines;
mod idle;
mod input;
mod kafka;
mod lag;
mod lookups;
mod measure;
mod memory;
mod outcome;
mod pillows;
mod processors;
#[path = "../support/postgres.rs"]
mod postgres;
mod program;
mod rename;
mod report;
mod scale;
mod servers;
#[path = "../support/service.rs"]
mod service;
mod swap;
mod ucr;

use report::Report;

/// The host's allocator, since most of the host runs in here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A figure: its name, and what measures it.
type Figure = (&'static str, fn(&mut Report));

const FIGURES: [Figure; 15] = [
    ("processors", processors::measure),
    ("memory", memory::measure),
    ("swap", swap::measure),
    ("lookups", lookups::measure),
    ("kafka", kafka::measure),
    ("rename", rename::measure),
    ("servers", servers::measure),
    ("engines", engines::measure),
    ("scale", scale::measure),
    ("lag", lag::measure),
    ("pillows", pillows::measure),
    ("embedded", program::embedded),
    ("first-change", program::first_change),
    ("idle", idle::measure),
    ("ucr", ucr::measure),
];

fn main() {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let unknown = |name: &&String| FIGURES.iter().all(|(figure, _)| figure != name);
    if let Some(name) = wanted.iter().find(unknown) {
        let known: Vec<&str> = FIGURES.iter().map(|(name, _)| *name).collect();
        eprintln!("error: there is no figure `{name}`; there are: {}", known.join(", "));
        std::process::exit(2);
    }
    let mut report = Report::new();
    for (name, measure) in FIGURES {
        if wanted.is_empty() || wanted.iter().any(|wanted| wanted == name) {
            report.begin(name);
            measure(&mut report);
        }
    }
    report.end();
}

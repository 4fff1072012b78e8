//! `ucr-row-builder` natively, with mimalloc, which is the host's allocator: the same code, called as the host would,
//! with a copy of each document as the host makes one, but without the sandbox and the host's checks.
//!
//! The argument is a file: on the first line the configuration, on each other one a change with its document and what it
//! looks up. A line on standard input asks for work: `BATCH REPEATS` for the time, answered with nanoseconds of CPU,
//! nanoseconds of wall time and the number of documents; `answers` for what is written, as JSON on one line.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a benchmark stops when something is wrong, and prints"
)]

use std::io::{BufRead as _, Write as _};

use pillowtop_sdk::testing::{Fixture, Harness, Prepared};
use rustix::time::{ClockId, clock_gettime};
use serde_json::Value;
use ucr_row_builder::UcrRowBuilder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    let file = std::env::args().nth(1).unwrap();
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let mut harness = Harness::<UcrRowBuilder>::configure(lines.next().unwrap()).unwrap().at("1970-01-01T00:00:00Z");
    let fixtures: Vec<Fixture> = lines.map(|line| fixture(&line)).collect();
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        if line == "answers" {
            println!("{}", Value::Array(harness.process(fixtures.clone())));
        } else {
            let (batch, repeats) = line.split_once(' ').unwrap();
            let batches = fixtures.chunks(batch.parse().unwrap()).map(|batch| Prepared::new(batch.to_vec()));
            let batches: Vec<Prepared> = batches.collect();
            let (cpu, wall) = (now(ClockId::ThreadCPUTime), now(ClockId::Monotonic));
            let mut answered = 0;
            for _ in 0..repeats.parse::<usize>().unwrap() {
                answered += batches.iter().map(|batch| harness.repeat(batch)).sum::<usize>();
            }
            println!("{} {} {answered}", now(ClockId::ThreadCPUTime) - cpu, now(ClockId::Monotonic) - wall);
        }
        std::io::stdout().flush().unwrap();
    }
}

fn fixture(line: &Value) -> Fixture {
    let text = |field: &str| line[field].as_str().unwrap();
    let fixture = Fixture::bytes(text("id"), text("document"))
        .source(text("source"))
        .document_type(text("document_type"))
        .document_subtype(text("document_subtype"))
        .domain(text("domain"));
    line["found"].as_array().unwrap().iter().fold(fixture, |fixture, found| {
        let documents = found["documents"].as_array().unwrap().iter().map(|document| document.as_str().unwrap().into());
        fixture.found(found["lookup"].as_str().unwrap(), found["key"].as_str().unwrap(), documents)
    })
}

fn now(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

//! Does the work that it is asked for on standard input, one request a line, and answers what it cost.
//!
//! A process of its own for each allocator, because a program has one. The request: `WORK DOCUMENTS BYTES REPEATS`; the
//! answer: nanoseconds of CPU, nanoseconds of wall time, bytes written in one repetition, and their checksum.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops when something is wrong, and prints")]

use std::io::{BufRead as _, Write as _};

use bench_guest::{Work, documents};
use rustix::time::{ClockId, clock_gettime};

pub(crate) fn serve() {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let work: Work = serde_json::from_str(&format!("{:?}", words[0])).unwrap();
        let numbers: Vec<usize> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
        let [count, bytes, repeats] = numbers[..] else { unreachable!("the line has four words") };
        let documents: Vec<Vec<u8>> = (0..count).map(|number| documents::form(number, bytes)).collect();
        let (cpu, wall) = (now(ClockId::ThreadCPUTime), now(ClockId::Monotonic));
        let mut length = 0;
        for _ in 0..repeats {
            for document in &documents {
                length += std::hint::black_box(work.run(document).unwrap()).map_or(0, |out| out.len());
            }
        }
        let (cpu, wall) = (now(ClockId::ThreadCPUTime) - cpu, now(ClockId::Monotonic) - wall);
        let outputs: Vec<Vec<u8>> = documents.iter().filter_map(|document| work.run(document).unwrap()).collect();
        let expected: usize = outputs.iter().map(Vec::len).sum();
        assert_eq!(length, expected * repeats, "every repetition writes the same");
        let checksum = documents::checksum(outputs.iter().map(Vec::as_slice));
        println!("{cpu} {wall} {expected} {checksum}");
        std::io::stdout().flush().unwrap();
    }
}

fn now(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

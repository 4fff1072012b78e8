//! Does the work that it is asked for on standard input, one request a line, and answers what it cost.
//!
//! A process of its own for each allocator, because a program has one. The request: `WORK DOCUMENTS BYTES REPEATS`; the
//! answer: nanoseconds of CPU, nanoseconds of wall time, bytes written in one repetition, and their checksum.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark stops when something is wrong, and prints")]

use std::io::{BufRead as _, Write as _};

use bench_guest::Work;
use bench_guest::documents::{self, Checksum};
use rustix::time::{ClockId, clock_gettime};

pub(crate) fn serve() {
    for line in std::io::stdin().lock().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let work: Work = serde_json::from_str(&format!("{:?}", words[0])).unwrap();
        let numbers: Vec<usize> = words[1..].iter().map(|word| word.parse().unwrap()).collect();
        let [count, bytes, repeats] = numbers[..] else { unreachable!("the line has four words") };
        // One piece of memory, because what making documents leaves behind on the heap would be measured, too.
        let mut text = Vec::with_capacity(count * (bytes + 256));
        let mut ends = vec![0];
        for number in 0..count {
            text.extend_from_slice(&documents::form(number, bytes));
            ends.push(text.len());
        }
        let documents = || ends.windows(2).map(|ends| &text[ends[0]..ends[1]]);
        let (cpu, wall) = (now(ClockId::ThreadCPUTime), now(ClockId::Monotonic));
        let mut length = 0;
        for _ in 0..repeats {
            for document in documents() {
                length += std::hint::black_box(work.run(document).unwrap()).map_or(0, |out| out.len());
            }
        }
        let (cpu, wall) = (now(ClockId::ThreadCPUTime) - cpu, now(ClockId::Monotonic) - wall);
        let mut checksum = Checksum::default();
        documents().filter_map(|document| work.run(document).unwrap()).for_each(|output| checksum.add(&output));
        assert_eq!(length, checksum.length * repeats, "every repetition writes the same");
        println!("{cpu} {wall} {} {}", checksum.length, checksum.sum);
        std::io::stdout().flush().unwrap();
    }
}

fn now(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

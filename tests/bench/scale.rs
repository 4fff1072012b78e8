//! The same work by one process and by two, and over one partition and many: what a change costs must not change.
//!
//! Two hosts share a topic by `--process` and `--processes`; their rows and checkpoints are in one database.

use std::cell::RefCell;

use super::broker::Broker;
use super::engine;
use super::engines::{Host, Place, To, check, net};
use super::measure::{Measured, Variant, interleaved, median, share};
use super::report::{Goal, Report, Unit};
use super::{built, case, input, postgres};

const EMPTY: &str = "bench-scale-empty";
/// Processes and partitions; the first one is what the others are compared with.
const SHAPES: [(usize, i32, &str); 4] = [
    (1, 12, "1 process, 12 partitions"),
    (2, 12, "2 processes, 12 partitions"),
    (1, 1, "1 process, 1 partition"),
    (1, 96, "1 process, 96 partitions"),
];

/// How many there are to read.
fn changes() -> usize {
    share(100_000)
}

pub(crate) fn measure(report: &mut Report) {
    let broker = Broker::shared();
    let runtime = case::runtime();
    runtime.block_on(broker.create_topic(EMPTY, 12));
    for partitions in [1, 12, 96] {
        let topic = topic(partitions);
        runtime.block_on(broker.create_topic(&topic, partitions));
        input::publish(broker, &topic, partitions, changes());
    }
    built::module("bench_guest");
    let server = postgres::server();
    let peaks: Vec<RefCell<Vec<f64>>> = SHAPES.iter().map(|_| RefCell::default()).collect();
    let run = |processes: usize, topic: &str, changes| {
        let to = To::Rows(runtime.block_on(postgres::create_in(&server.address)));
        let place = Place { broker, topic, changes, to };
        let host = Host::new(&place, 1);
        let process = |number: usize| {
            let (number, count) = (number.to_string(), processes.to_string());
            host.command(&["run", "--until-caught-up", "--process", &number, "--processes", &count])
        };
        let ran = runtime.block_on(engine::run((0..processes).map(process).collect()));
        runtime.block_on(check(&place));
        ran
    };
    let variants = SHAPES.iter().zip(&peaks).map(|((processes, partitions, name), peaks)| {
        let run = &run;
        Variant::new(*name, move || {
            let (start, whole) = (run(*processes, EMPTY, 0), run(*processes, &topic(*partitions), changes()));
            peaks.borrow_mut().push(whole.megabytes);
            net(whole, start, changes())
        })
    });
    let (measured, control) = interleaved(variants.collect());
    report.costs("Kafka → PostgreSQL by whole programs", &measured, &control);
    let one = &measured[0];
    for (at, other) in measured.iter().enumerate() {
        let peak = median(peaks[at].borrow().iter().copied());
        report.row(&format!("{}, peak of all processes", other.name), Unit::Megabytes, Some(peak), None, None);
        if at > 0 {
            let ratio = |of: fn(&Measured) -> f64| Some(of(other) / of(one));
            let what = format!("cost of a change, {} against {}", other.name, one.name);
            let (cpu, wall) = (ratio(Measured::cpu_ns), ratio(Measured::wall_ns));
            report.row(&what, Unit::Times, cpu, wall, Some(Goal::AtMost(1.10)));
        }
    }
    let faster = one.wall_ns() / measured[1].wall_ns();
    let what = "rate of two processes against one, servers on the same cores";
    report.row(what, Unit::Times, None, Some(faster), Some(Goal::AtLeast(1.8)));
}

fn topic(partitions: i32) -> String {
    format!("bench-scale-{partitions}")
}

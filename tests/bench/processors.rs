//! The same work as a processor and natively, and what a processor costs that does nothing.
//!
//! Native means: a call of a function with the document's bytes, in a program of its own, since a program has one
//! allocator. It has nothing of what a host does around a processor, so the comparison is as hard as it can be.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bench_guest::documents::{self, Checksum};
use bytes::Bytes;
use jiff::Timestamp;
use pillowtop::model::{Change, Document, IndexWrite, Item, Outcome, Position, Want, Write};
use pillowtop::processor::{Call, Instance, Lookups, Processor as _};
use serde_json::json;

use super::built;
use super::measure::{Cost, Variant, Whose, interleaved, timed};
use super::report::{Goal, Report, Unit};

/// Different documents of a size; together more than the caches of a core hold.
const DOCUMENTS: usize = 256;
/// Documents of one call.
const BATCH: usize = 16;
/// Different domains, one after the other.
const DOMAINS: usize = 50;
/// Bytes that one measurement works through, so that it takes some tenths of a second.
const VOLUME: usize = 48 << 20;

/// A native program.
struct Native {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// An instance with what it is called with.
pub(crate) struct Loaded {
    instance: Box<dyn Instance>,
    items: Vec<Item>,
}

/// Finds nothing.
pub(crate) struct NoLookups;

impl Lookups for NoLookups {
    fn fetch(&self, _: &[Want]) -> Result<Vec<Vec<Bytes>>, String> {
        Err("there are no look-ups".to_owned())
    }
}

pub(crate) fn measure(report: &mut Report) {
    boundary(report);
    let natives = [("system allocator", "native-system"), ("mimalloc", "native-mimalloc")];
    let natives = natives.map(|(name, program)| (name, Mutex::new(Native::start(program))));
    for work in ["tree", "borrowed"] {
        for kilobytes in [1, 4, 20] {
            compare(report, work, kilobytes << 10, &natives);
        }
    }
}

/// Into a processor and out of it again.
fn boundary(report: &mut Report) {
    let repeats = 200;
    // A text that repeats crosses once per batch, so it matters how many domains a batch has.
    let variants = [(16, DOMAINS), (16, 1), (64, DOMAINS), (256, DOMAINS), (1, DOMAINS)].map(|(batch, domains)| {
        let mut loaded = Loaded::new("nothing", 1 << 10, domains);
        Variant::new(format!("batches of {batch}, {domains} domains"), move || loaded.run(batch, repeats))
    });
    let (measured, control) = interleaved(variants.into());
    report.costs("no-op processor, 1 KB", &measured, &control);
    for measured in &measured[..3] {
        let what = format!("boundary: no-op, 1 KB, {}", measured.name);
        report.row(&what, Unit::Nanoseconds, Some(measured.cpu_ns()), None, Some(Goal::AtMost(600.0)));
    }
}

fn compare(report: &mut Report, work: &str, bytes: usize, natives: &[(&str, Mutex<Native>)]) {
    let repeats = (VOLUME / bytes / DOCUMENTS).max(1);
    let mut loaded = Loaded::new(work, bytes, DOMAINS);
    let expected = loaded.outputs();
    let wasm = Variant::new("WASM", move || {
        let cost = loaded.run(BATCH, repeats);
        assert_eq!(loaded.outputs(), expected, "the instance still answers the same");
        cost
    });
    let mut variants = vec![wasm];
    for (name, native) in natives {
        variants.push(Variant::new(format!("native, {name}"), move || {
            let (cost, outputs) = native.lock().unwrap().ask(work, bytes, repeats);
            assert_eq!(outputs, expected, "native and WASM write the same");
            cost
        }));
    }
    let (measured, control) = interleaved(variants);
    let group = format!("{work}, {} KB", bytes >> 10);
    report.costs(&group, &measured, &control);
    for (at, (name, _)) in natives.iter().enumerate() {
        let goal = (work == "tree" && bytes == 4 << 10 && at == 0).then_some(Goal::AtMost(1.25));
        let ratio = |of: fn(&super::measure::Measured) -> f64| Some(of(&measured[0]) / of(&measured[at + 1]));
        let (cpu, wall) = (ratio(super::measure::Measured::cpu_ns), ratio(super::measure::Measured::wall_ns));
        report.row(&format!("{group}: WASM against native, {name}"), Unit::Times, cpu, wall, goal);
    }
}

impl Loaded {
    fn new(work: &str, bytes: usize, domains: usize) -> Self {
        let processor = built::processor(&built::module("bench_guest"), &json!({ "work": work }));
        let instance = processor.start(Arc::new(NoLookups)).unwrap();
        let items = (0..DOCUMENTS).map(|number| item(number, domains, documents::form(number, bytes))).collect();
        Self { instance, items }
    }

    /// Calls the instance with all documents, so often.
    fn run(&mut self, batch: usize, repeats: usize) -> Cost {
        let (items, instance) = (&self.items, &mut self.instance);
        timed(Whose::Thread, || {
            let mut answered = 0;
            for _ in 0..repeats {
                for items in items.chunks(batch) {
                    answered += call(instance.as_mut(), items).len();
                }
            }
            assert_eq!(answered, items.len() * repeats, "one outcome for each change");
            answered
        })
    }

    /// What one pass writes.
    fn outputs(&mut self) -> Checksum {
        let outcomes = call(self.instance.as_mut(), &self.items);
        let mut checksum = Checksum::default();
        outcomes.iter().for_each(|outcome| checksum.add(written(outcome)));
        checksum
    }
}

/// One call.
pub(crate) fn call(instance: &mut dyn Instance, items: &[Item]) -> Vec<Outcome> {
    instance.process(&Call { topic: "bench", time: Timestamp::UNIX_EPOCH, items }).unwrap()
}

/// The document that an outcome writes.
pub(crate) fn written(outcome: &Outcome) -> &[u8] {
    let Outcome::Done { writes, failures } = outcome else { panic!("not done: {outcome:?}") };
    assert!(failures.is_empty(), "{failures:?}");
    let [Write::Index(IndexWrite { document, .. })] = &writes[..] else { panic!("not one document: {writes:?}") };
    document
}

/// A document with the change that announces it.
fn item(number: usize, domains: usize, document: Vec<u8>) -> Item {
    Item {
        change: Arc::new(change(number, domains, "form-sql")),
        document: Document::Present(document.into()),
        found: Vec::new(),
    }
}

/// A change with every field that a real one has.
pub(crate) fn change(number: usize, domains: usize, source: &str) -> Change {
    let message = json!({
        "document_id": documents::id(number), "data_source_type": "sql", "data_source_name": source,
        "document_type": "XFormInstance", "document_subtype": "http://openrosa.example/visit",
        "domain": format!("clinic-{}", number % domains), "is_deletion": false,
        "publish_timestamp": "2026-02-03T10:00:00.123456Z",
    });
    Change::decode(message.to_string().as_bytes(), Position::number(0)).unwrap()
}

impl Native {
    fn start(program: &str) -> Self {
        let mut command = Command::new(built::native(program));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let requests = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Self { child, requests, answers }
    }

    fn ask(&mut self, work: &str, bytes: usize, repeats: usize) -> (Cost, Checksum) {
        let requests = self.requests.as_mut().unwrap();
        writeln!(requests, "{work} {DOCUMENTS} {bytes} {repeats}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let numbers: Vec<u64> = line.split_whitespace().map(|word| word.parse().unwrap()).collect();
        let [cpu, wall, length, sum] = numbers[..] else { panic!("the program answered {line:?}") };
        let (cpu, wall) = (Duration::from_nanos(cpu), Duration::from_nanos(wall));
        let checksum = Checksum { length: usize::try_from(length).unwrap(), sum };
        (Cost { cpu, wall, units: DOCUMENTS * repeats }, checksum)
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.requests.take());
        assert!(self.child.wait().unwrap().success(), "the native program failed");
    }
}

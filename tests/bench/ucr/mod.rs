//! Rows of user configurable reports: what a document costs in each of its data sources, through WASM and natively, the
//! parsing of the document included.
//!
//! A unit is a document in a data source that it has rows in, so a document that several data sources take is parsed
//! once for all of them. Documents are made from the configurations, and their look-ups are answered before; what a
//! call costs that asks first stands beside it. Before anything is measured, the rows of every document are compared
//! with the native ones.

mod configurations;
mod documents;
mod native;
mod shape;
mod tables;
mod work;

use serde_json::Value;

use super::measure::{Measured, Variant, Whose, interleaved, timed};
use super::report::{Goal, Report, Unit};
use configurations::{Configurations, renamed};
use work::Work;

/// What a document and data source may cost: a hundredth of what they cost in the original.
const GOAL: Goal = Goal::AtMost(3_000.0);
/// Microseconds of CPU in the original, on the same kind of machine.
const ORIGINAL_NS: f64 = 296_000.0;
/// Documents of each data source.
const DOCUMENTS: usize = 16;
/// Documents of one call.
const BATCH: usize = 64;
/// Documents that one measurement works through, about.
const VOLUME: usize = 40_000;
/// Documents after which memory must be what it was.
const MANY: usize = 1_000_000;

pub(crate) fn measure(report: &mut Report) {
    let own = configurations::own();
    each(report, &own);
    match configurations::real() {
        Ok(real) => each(report, &real),
        Err(reason) => report.note(&reason),
    }
    side_by_side(report, &own);
    many_sources(report, &own);
    memory(report, &own);
    tables::measure(report, &own);
}

/// All data sources in one processor, with documents of each.
fn each(report: &mut Report, configurations: &Configurations) {
    let work = Work::new(&configurations.all, &of_all(&configurations.all, DOCUMENTS));
    let group = &configurations.what;
    report.note(&format!("{group}: {}", work.said()));
    work.check();
    let repeats = VOLUME.div_ceil(work.documents());
    let mut asking = work.asking();
    let variants = vec![
        Variant::new("WASM", work.repeated(BATCH, repeats)),
        Variant::new("native", || work.native(BATCH, repeats)),
        Variant::new("WASM, asking for look-ups first", || asking(BATCH, repeats)),
    ];
    let (measured, control) = interleaved(variants);
    report.costs(&format!("{group}, per document and data source"), &measured, &control);
    let (wasm, native) = (measured[0].cpu_ns(), measured[1].cpu_ns());
    let wall = Some(measured[0].wall_ns());
    report.row(&format!("{group}: document × data source"), Unit::Nanoseconds, Some(wasm), wall, Some(GOAL));
    report.row(&format!("{group}: WASM against native"), Unit::Times, Some(wasm / native), None, None);
    report.row(&format!("{group}: the original against it"), Unit::Times, Some(ORIGINAL_NS / wasm), None, None);
}

/// The same data source once, five times and 26 times: the document is parsed once for all of them.
fn side_by_side(report: &mut Report, own: &Configurations) {
    let form = own.all.iter().find(|config| config["referenced_doc_type"] == "XFormInstance").unwrap();
    let works = [1, 5, 26].map(|count| {
        let sources: Vec<Value> =
            (0..count).map(|table| renamed(form, table, "http://openrosa.example/visit")).collect();
        let work = Work::new(&sources, &documents_of(&sources[0], DOCUMENTS * 8));
        work.check();
        (count, work)
    });
    let variants = works.iter().map(|(count, work)| {
        let repeats = VOLUME.div_ceil(work.documents() * count);
        Variant::new(format!("{count} of {count}"), per_document(work, repeats))
    });
    let (measured, control) = interleaved(variants.collect());
    report.costs("one form data source, so often, per document", &measured, &control);
    let [one, _, many] = &measured[..] else { unreachable!("three variants") };
    let each_more = (many.cpu_ns() - one.cpu_ns()) / 25.0;
    report.row("each further data source", Unit::Nanoseconds, Some(each_more), None, Some(GOAL));
    report.row("what is paid once per document", Unit::Nanoseconds, Some(one.cpu_ns() - each_more), None, None);
}

/// 200 data sources of 40 form namespaces, five of each, beside five alone.
fn many_sources(report: &mut Report, own: &Configurations) {
    const NAMESPACES: usize = 40;
    const OF_EACH: usize = 5;
    let form = own.all.iter().find(|config| config["referenced_doc_type"] == "XFormInstance").unwrap();
    let namespace = |number: usize| format!("http://openrosa.example/visit-{number}");
    let sources: Vec<Value> =
        (0..NAMESPACES * OF_EACH).map(|table| renamed(form, table, &namespace(table / OF_EACH))).collect();
    let documents: Vec<Value> = documents_of(&sources[0], DOCUMENTS * 8);
    let few = Work::new(&sources[..OF_EACH], &documents);
    let many = Work::new(&sources, &documents);
    many.check();
    let repeats = VOLUME.div_ceil(many.documents() * OF_EACH);
    let variants = vec![
        Variant::new("200 data sources, 5 match", per_document(&many, repeats)),
        Variant::new("5 data sources, all match", per_document(&few, repeats)),
    ];
    let (measured, control) = interleaved(variants);
    report.costs("dispatch, per document", &measured, &control);
    let ratio = |of: fn(&Measured) -> f64| Some(of(&measured[0]) / of(&measured[1]));
    report.row("200 data sources against 5", Unit::Times, ratio(Measured::cpu_ns), None, Some(Goal::AtMost(1.1)));
    let per = Some(measured[0].cpu_ns() / OF_EACH as f64);
    report.row("200 data sources: document × matching one", Unit::Nanoseconds, per, None, Some(GOAL));
}

/// Memory after some documents, and after very many.
fn memory(report: &mut Report, own: &Configurations) {
    let work = Work::new(&own.all, &of_all(&own.all, DOCUMENTS));
    let mut instance = work.instance();
    let mut so_far = 0;
    let mut held = |documents: usize| {
        while so_far < documents {
            so_far += work.call_all(instance.as_mut(), BATCH);
        }
        (resident_bytes(), instance.memory_bytes())
    };
    let before = held(MANY / 100);
    let after = held(MANY);
    let megabytes = |bytes: usize| Some(bytes as f64 / 1e6);
    for (what, (resident, wasm)) in [("10,000", before), ("1,000,000", after)] {
        report.row(
            &format!("memory after {what} documents: resident"),
            Unit::Megabytes,
            megabytes(resident),
            None,
            None,
        );
        report.row(&format!("memory after {what} documents: of WASM"), Unit::Megabytes, megabytes(wasm), None, None);
    }
    let grown = (after.0 + after.1).saturating_sub(before.0 + before.1);
    report.row("grown in between", Unit::Megabytes, megabytes(grown), None, Some(Goal::AtMost(2.0)));
}

fn resident_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}

/// A run over all documents, counted by documents and not by their data sources.
fn per_document(work: &Work, repeats: usize) -> impl FnMut() -> super::measure::Cost {
    let mut instance = work.instance();
    move || timed(Whose::Thread, || (0..repeats).map(|_| work.call_all(instance.as_mut(), BATCH)).sum())
}

fn of_all(configs: &[Value], count: usize) -> Vec<Value> {
    // Mixed, as a stream has them.
    (0..count * configs.len()).map(|at| documents::document(&configs[at % configs.len()], at)).collect()
}

fn documents_of(config: &Value, count: usize) -> Vec<Value> {
    (0..count).map(|number| documents::document(config, number)).collect()
}

//! What look-ups cost: documents that need a document of their own, and what lies behind that, from SQLite.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use pillowtop::documents::DocumentStore;
use pillowtop::documents::by_type::ByType;
use pillowtop::documents::sql::SqlDocuments;
use pillowtop::metrics::CallMetrics;
use pillowtop::model::{Description, Outcome, ProcessorName, Want};
use pillowtop::pipeline::{Generation, LookupStores, Stage, Workers};
use pillowtop::processor::Processor;
use pillowtop::processor::native::NativeProcessor;
use pillowtop::sql::Database;
use tokio::sync::watch;

use super::case::{self, Input};
use super::measure::{Cost, Variant, Whose, interleaved, timed};
use super::report::{Report, Unit};

/// Different parents; a batch of 256 children meets most of them.
const PARENTS: usize = 500;

pub(crate) fn measure(report: &mut Report) {
    let input = Input::new(1);
    let runtime = case::runtime();
    let folder = tempfile::tempdir().unwrap();
    let store = runtime.block_on(store(folder.path()));
    let counts = CallMetrics::default();
    let mut batches = 0;
    let variants = vec![
        Variant::new("no look-ups", || run(&input, &store, 0, &CallMetrics::default()).0),
        Variant::new("a parent each, one round", || run(&input, &store, 1, &CallMetrics::default()).0),
        Variant::new("a parent and its parent, two rounds", || {
            let (cost, settled) = run(&input, &store, 2, &counts);
            batches += settled;
            cost
        }),
    ];
    let (measured, control) = interleaved(variants);
    report.costs("1 KB cases with look-ups in SQLite", &measured, &control);
    // How often the store is asked, beside how many documents there are.
    let per_batch = |count: u64| Some(count as f64 / batches as f64);
    let (rounds, queries, keys) = (counts.lookup_rounds.get(), counts.lookup_queries.get(), counts.lookup_keys.get());
    assert_eq!((rounds, queries), (2 * batches, 2 * batches), "one query for each round of a batch");
    report.row("two rounds: queries for each batch", Unit::Times, None, per_batch(queries), None);
    report.row("two rounds: keys for each batch", Unit::Times, None, per_batch(keys), None);
    let runs = counts_of_runs(&measured[2].costs);
    let documents = (input.changes * runs) as f64;
    report.row("two rounds: documents for each query", Unit::Times, None, Some(documents / queries as f64), None);
}

/// All rounds, also the one that warms up.
fn counts_of_runs(costs: &[Cost]) -> usize {
    costs.len() + 1
}

async fn store(folder: &std::path::Path) -> Arc<dyn DocumentStore> {
    let database = Database::open(&format!("sqlite:{}", folder.join("cases.db").display())).await.unwrap();
    let Database::Sqlite(sqlite) = &database else { panic!("it is a file") };
    sqlx::query("create table cases (id text primary key, document text not null)")
        .execute(&sqlite.writer)
        .await
        .unwrap();
    for number in 0..=PARENTS {
        sqlx::query("insert into cases values (?, ?)")
            .bind(format!("p{number}"))
            .bind(String::from_utf8(bench_guest::documents::case(number)).unwrap())
            .execute(&sqlite.writer)
            .await
            .unwrap();
    }
    let cases = SqlDocuments::new(&database, "cases", "select id, document from cases where id in (:ids)").await;
    let cases: Arc<dyn DocumentStore> = Arc::new(cases.unwrap());
    Arc::new(ByType::new(BTreeMap::from([(Arc::from("CommCareCase"), cases)]), None))
}

/// A run of a processor that asks `rounds` times for each document; with how many batches there were.
fn run(input: &Input, store: &Arc<dyn DocumentStore>, rounds: usize, counts: &CallMetrics) -> (Cost, u64) {
    let runtime = case::runtime();
    let workers = Workers::start(2).unwrap();
    let _entered = runtime.enter();
    let description = Description { lookups: vec!["documents".to_owned()], ..Description::default() };
    let asks = NativeProcessor::each(description, move |item| {
        let found = item.found.len();
        if found == rounds {
            assert!(item.found.iter().all(|found| found.documents.iter().map(Bytes::len).sum::<usize>() > 500));
            return Ok(Outcome::Skip(String::new()));
        }
        // Everybody's grandparent is the same one.
        let parent =
            if found == 0 { usize::try_from(item.change.position.as_number()).unwrap() % PARENTS } else { PARENTS };
        let key = Arc::from(format!("CommCareCase/p{parent}"));
        Ok(Outcome::Need(vec![Want { lookup: Arc::from("documents"), key }]))
    });
    let asks: Arc<dyn Processor> = Arc::new(asks);
    let stores = HashMap::from([(Arc::from("documents"), Arc::clone(store))]);
    let lookups = Arc::new(LookupStores::new(stores));
    let mut stage = Stage::new(ProcessorName::new("bench"), asks, lookups, None, None, workers.count());
    stage.counts.calls = counts.clone();
    let generation = Arc::new(Generation { number: 1, stages: vec![stage] });
    let pillow = case::case_pillow(input, workers);
    let (_keep, generations) = watch::channel(generation);
    let mut batches = 0;
    let cost = timed(Whose::Process, || {
        let counts = runtime.block_on(case::run(pillow, generations));
        assert_eq!(counts.settled, input.changes as u64, "every change is settled once");
        batches = counts.batches;
        input.changes
    });
    (cost, batches)
}

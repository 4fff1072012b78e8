//! Any operations at once, against a model that does one after the other.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

/// What the operations mean, one after the other, for documents that are never refused.
#[derive(Debug, Default, PartialEq, Eq)]
struct Model(BTreeMap<(String, i64), (Option<i64>, Option<String>)>);

#[derive(Debug, Clone)]
enum Op {
    Replace(Vec<Cells>),
    Delete,
    Upsert(Cells, When),
}

#[derive(Debug, Clone, Copy)]
enum When {
    Always,
    Newer,
    Interval,
    IntervalOrNote,
}

/// Number, microseconds, note.
type Cells = (i64, Option<i64>, Option<&'static str>);

const INTERVAL_SECONDS: u32 = 2;

impl Model {
    fn apply(&mut self, doc: &str, op: &Op) {
        match op {
            Op::Replace(rows) => {
                self.0.retain(|(other, _), _| other != doc);
                self.0.extend(rows.iter().map(|(n, at, note)| ((doc.to_owned(), *n), (*at, note.map(str::to_owned)))));
            }
            Op::Delete => self.0.retain(|(other, _), _| other != doc),
            Op::Upsert((n, at, note), when) => {
                let (key, new) = ((doc.to_owned(), *n), (*at, note.map(str::to_owned)));
                let overwrites = self.0.get(&key).is_none_or(|stored| overwrites(stored, &new, *when));
                if overwrites {
                    self.0.insert(key, new);
                }
            }
        }
    }
}

fn overwrites(stored: &(Option<i64>, Option<String>), new: &(Option<i64>, Option<String>), when: When) -> bool {
    let distance = match (stored.0, new.0) {
        _ if matches!(when, When::Always) => return true,
        (_, None) => return false,
        (None, Some(_)) => return true,
        (Some(stored), Some(new)) => new - stored,
    };
    let far = distance > i64::from(INTERVAL_SECONDS) * 1_000_000;
    match when {
        When::Always => true,
        When::Newer => distance > 0,
        When::Interval => far,
        When::IntervalOrNote => far || (distance >= 0 && stored.1 != new.1),
    }
}

fn any_cells() -> impl Strategy<Value = Cells> {
    let moments =
        prop_oneof![Just(0), Just(1), Just(999_999), Just(2_000_000), Just(2_000_001), Just(-1), Just(4_000_000)];
    (0..3_i64, prop::option::of(moments), prop::option::of(prop_oneof![Just("x"), Just("y")]))
}

fn any_op() -> impl Strategy<Value = Op> {
    let when = prop_oneof![Just(When::Always), Just(When::Newer), Just(When::Interval), Just(When::IntervalOrNote)];
    let rows = prop::collection::vec(any_cells(), 0..3).prop_map(|mut rows| {
        rows.sort();
        rows.dedup_by_key(|row| row.0);
        rows
    });
    prop_oneof![2 => rows.prop_map(Op::Replace), 1 => Just(Op::Delete), 4 => (any_cells(), when).prop_map(|(row, when)| Op::Upsert(row, when))]
}

fn moment(microseconds: i64) -> String {
    let start: jiff::Timestamp = "2026-02-03T10:00:00Z".parse().unwrap();
    (start + jiff::SignedDuration::from_micros(microseconds)).to_string()
}

impl Bench {
    fn write_of(&self, doc: &str, op: &Op) -> RowWrite {
        let values = |(n, at, note): &Cells| row(doc, *n, at.map(moment).as_deref(), *note);
        let op = match op {
            Op::Replace(rows) => RowOp::Replace(rows.iter().map(values).collect()),
            Op::Delete => RowOp::Delete,
            Op::Upsert(cells, when) => RowOp::Upsert {
                row: values(cells),
                when: match when {
                    When::Always => Condition::Always,
                    When::Newer => Condition::Newer("at".into()),
                    When::Interval | When::IntervalOrNote => Condition::Interval {
                        column: "at".into(),
                        seconds: INTERVAL_SECONDS,
                        or_differs: if matches!(when, When::Interval) { vec![] } else { vec!["note".into()] },
                    },
                },
            },
        };
        self.write(doc, op)
    }
}

fn check_many_at_once(kind: Kind) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let bench = runtime.block_on(Bench::new(kind, &["doc", "n"], ""));
    let op = (prop_oneof![Just("a"), Just("b"), Just("c")], any_op());
    let batches = prop::collection::vec(prop::collection::vec(op, 0..12), 1..3);
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(batches in batches)| {
        let mut model = Model::default();
        runtime.block_on(async {
            bench.scratch.execute("delete from visits").await;
            for batch in &batches {
                let writes: Vec<RowWrite> = batch.iter().map(|(doc, op)| bench.write_of(doc, op)).collect();
                assert_eq!(bench.apply(&writes).await.refused, []);
                batch.iter().for_each(|(doc, op)| model.apply(doc, op));
            }
        });
        let expected: Vec<String> = model.0.iter().map(|((doc, n), (at, note))| {
            let at = at.map(|at| format!(" {}", crate::model::timestamp_text(moment(at).parse().unwrap())));
            format!("{doc} {n}{}{}", at.unwrap_or_default(), note.as_ref().map(|note| format!(" {note}")).unwrap_or_default())
        }).collect();
        prop_assert_eq!(runtime.block_on(bench.rows()), expected);
    });
}

#[test]
fn many_at_once_do_what_they_would_do_one_after_the_other_in_sqlite() {
    check_many_at_once(Kind::Sqlite);
}

#[test]
fn many_at_once_do_what_they_would_do_one_after_the_other_in_postgresql() {
    check_many_at_once(Kind::Postgres);
}

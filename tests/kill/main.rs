//! Kills the real program again and again, at named points and at random moments, and restarts it until it is caught
//! up: what it leaves must equal what an uninterrupted run leaves, and everything must have been applied once.
//!
//! `PILLOWTOP_KILL_ROUNDS` says how often it is killed (30), `PILLOWTOP_KILL_SEED` where the random moments begin (1).
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests: helpers outside of test functions are not exempt")]
#![allow(clippy::print_stdout, reason = "a long run says how far it is, and what it hit")]

#[path = "../kafka/broker.rs"]
mod broker;
mod ledger;
mod load;
mod outages;
#[path = "../support/postgres.rs"]
mod postgres;
#[path = "../support/searching.rs"]
mod searching;
#[path = "../support/service.rs"]
mod service;
mod watched;
mod world;

#[path = "../support/mod.rs"]
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use support::documents::{cases, id, lines, visit_forms};
use support::guests::workspace;
use support::site::{Running, read};
use tokio::time::Instant;

use ledger::{everything, rows_and_checkpoints_agree, to_be_replayed};
use world::{Servers, World};

/// What a run left, by kind.
type Left = BTreeMap<&'static str, Vec<Value>>;

/// Every named point of the source, in the order in which a settle passes them.
const POINTS: [&str; 6] = [
    "settle.sink-written",
    "settle.sinks-flushed",
    "settle.begin",
    "settle.before-commit",
    "settle.after-commit",
    "settle.committed",
];

/// So many forms does one round settle before it is killed, with room to spare; some settle a few more, most fewer.
const FORMS_PER_ROUND: usize = 20;

/// How many changes are read at once when nothing is to be hit, and how long it may take to read them all.
const MANY: usize = 100;
const ALL_LIMIT: Duration = Duration::from_secs(300);

/// When a process is killed.
#[derive(Debug)]
enum Moment {
    /// It kills itself at a passage of a point.
    Point(&'static str, u64),
    /// We kill it when there are so many more rows.
    Rows(u64),
}

/// xorshift64: the same seed gives the same moments.
struct Random(u64);

impl Random {
    fn between(&mut self, least: u64, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        least + self.0 % (most - least + 1)
    }
}

fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{variable} is no number")))
}

/// Each form changes once, so that each row is applied once. Some trap a processor, some are not there.
fn workload(rounds: usize) -> (Vec<Value>, String) {
    let mut forms = visit_forms(rounds * FORMS_PER_ROUND + 60, 5);
    for form in forms.iter_mut().step_by(17) {
        form["form"]["note"] = json!("poison");
    }
    let mut text = String::new();
    for (at, (form, case)) in forms.iter().zip(cases(forms.len(), 6)).enumerate() {
        text += &lines(&[form.clone(), case]);
        if at % 23 == 0 {
            let missing = json!({
                "document_id": format!("missing-{at}"), "data_source_type": "sql", "data_source_name": "form-sql",
                "document_type": "XFormInstance",
            });
            text += &format!("{missing}\n");
        }
    }
    (forms, text)
}

/// Runs the program until `moment`, where it must die.
async fn run_until_killed(world: &World, moment: &Moment) {
    match moment {
        Moment::Point(point, passage) => {
            let mut command = world.site.command(&["run"]);
            command.env("PILLOWTOP_FAULT", format!("{point}={passage}"));
            let ran = Running::of(command).ended().await;
            assert_eq!(ran.signal(), Some(6), "{moment:?}: {ran:?}");
        }
        Moment::Rows(more) => {
            let mut host = world.site.start(&["run"]);
            world.until_more_rows(*more, || !host.has_ended()).await;
            host.kill();
            let ran = host.ended().await;
            assert_eq!(ran.signal(), Some(9), "{moment:?}: {ran:?}");
        }
    }
}

fn rounds(default: u64) -> usize {
    usize::try_from(number("PILLOWTOP_KILL_ROUNDS", default)).unwrap()
}

#[tokio::test]
async fn killed_anywhere_it_loses_nothing_and_does_nothing_twice() {
    let rounds = rounds(30);
    let (forms, published) = workload(rounds);
    let found = killed(&World::embedded(&published).await, rounds).await;
    compare(&found, &uninterrupted(&World::embedded(&published).await).await, &forms);
}

#[tokio::test]
async fn killed_between_kafka_postgresql_and_opensearch_it_loses_nothing_and_does_nothing_twice() {
    let rounds = rounds(30);
    let (forms, published) = workload(rounds);
    let servers = Servers::start().await;
    servers.create_topics().await;
    let changes = servers.publish(&published);
    let found = killed(&World::on(&servers, &published, &changes).await, rounds).await;
    compare(&found, &uninterrupted(&World::on(&servers, &published, &changes).await).await, &forms);
}

/// What is left when it was killed in so many rounds.
async fn killed(world: &World, rounds: usize) -> Left {
    let seed = number("PILLOWTOP_KILL_SEED", 1);
    let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let (mut replayed, mut hit) = (0, BTreeSet::new());
    let began = Instant::now();
    for round in 0..rounds {
        let moment = match round % 2 {
            0 => Moment::Point(POINTS[round / 2 % POINTS.len()], random.between(1, 4)),
            _ => Moment::Rows(random.between(1, 20)),
        };
        run_until_killed(world, &moment).await;
        rows_and_checkpoints_agree(world, &format!("seed {seed}, round {round}, {moment:?}")).await;
        let again = to_be_replayed(world).await;
        println!("round {round}: {moment:?}, {again} to be replayed");
        replayed += again;
        if let Moment::Point(point, _) = moment {
            hit.insert(point);
        }
    }
    assert!(replayed > 0, "no kill hit between the index and the commit");
    assert!(rounds < 2 * POINTS.len() || hit.len() == POINTS.len(), "only {hit:?}");

    println!("{rounds} rounds in {:.0} s, {replayed} replayed", began.elapsed().as_secs_f64());
    uninterrupted(world).await
}

/// What is left when it runs to the end.
async fn uninterrupted(world: &World) -> Left {
    world.read_in_batches(MANY);
    world.site.catch_up_within(ALL_LIMIT).await;
    rows_and_checkpoints_agree(world, "at the end").await;
    everything(world).await
}

fn compare(found: &Left, expected: &Left, forms: &[Value]) {
    for (what, expected) in expected {
        assert_eq!(&found[what], expected, "{what}");
    }
    // And that is what the documents ask for.
    let poisoned = forms.iter().filter(|form| form.to_string().contains("poison")).count();
    let stamped: Vec<Value> =
        forms.iter().filter(|form| !form.to_string().contains("poison")).map(|form| json!([id(form)])).collect();
    assert_eq!(found["stamps"], stamped);
    let trapped = found["parked"].iter().filter(|entry| entry[2] == "trap").count();
    assert!(trapped == poisoned && trapped > 0, "{trapped} parked of {poisoned}");
}

/// So that a point that is added is also hit.
#[test]
fn every_named_point_of_the_source_is_hit() {
    fn points(folder: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                points(&entry, found);
            } else {
                let text = read(&entry);
                let calls = text.split("fault::point(\"").skip(1);
                found.extend(calls.map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
    let mut found = BTreeSet::new();
    points(&workspace().join("host/src"), &mut found);
    // Those of a rebuild come when there is one.
    let rebuild = read(&workspace().join("tests/e2e/rebuild.rs"));
    found.retain(|point| !(point.starts_with("rebuild.") && rebuild.contains(&format!("\"{point}\""))));
    assert_eq!(found, POINTS.map(str::to_owned).into());
}

//! How long a change takes from produced to visible, at a steady rate: measured from outside of the host.
//!
//! Each document carries the time at which it was handed to the producer. A trigger has PostgreSQL notify a listener of
//! each transaction when it is committed; the difference is the lag of its rows, the way of the notification included.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord};
use sqlx::postgres::PgListener;
use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::broker::{Broker, LIMIT};
use super::engines::{following, microseconds};
use super::measure::{peak, quantile};
use super::program::cpu_of;
use super::report::{Goal, Report, Unit};
use super::{built, case, input};

const TOPIC: &str = "bench-lag";
const PARTITIONS: i32 = 4;
const PER_SECOND: usize = 2_000;
const SECONDS: usize = 20;
/// How long it runs before anything counts: connections are made and code is warm.
const WARM_SECONDS: usize = 3;
/// Between two sends of some changes.
const STEP: Duration = Duration::from_millis(1);

pub(crate) fn measure(report: &mut Report) {
    built::module("bench_guest");
    case::runtime().block_on(run(report));
}

async fn run(report: &mut Report) {
    let (_host, program, pool) = following(TOPIC, PARTITIONS, 1).await;
    listen_to_rows(&pool).await;
    let mut listener = PgListener::connect_with(&pool).await.unwrap();
    listener.listen("measured").await.unwrap();

    let address = &Broker::shared().address;
    let producer: BaseProducer =
        ClientConfig::new().set("bootstrap.servers", address).set("linger.ms", "0").create().unwrap();
    let (warm, all) = (WARM_SECONDS * PER_SECOND, (WARM_SECONDS + SECONDS) * PER_SECOND);
    let mut seen: HashMap<String, i64> = HashMap::new();
    let mut cpu = Duration::ZERO;
    let mut ticks = interval(STEP);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (started, mut sent, mut rows) = (Instant::now(), 0, 0);
    while rows < all {
        tokio::select! {
            biased;
            told = listener.recv() => {
                let told = told.unwrap();
                let (transaction, count) = told.payload().split_once(' ').unwrap();
                rows += count.parse::<usize>().unwrap();
                seen.insert(transaction.to_owned(), microseconds());
            }
            _ = ticks.tick() => {
                assert!(started.elapsed() < LIMIT * 4, "{rows} of {sent} rows came");
                let due = usize::try_from(started.elapsed().as_micros()).unwrap() * PER_SECOND / 1_000_000;
                while sent < due.min(all) {
                    if sent == warm {
                        cpu = cpu_of(program.id());
                    }
                    send(&producer, sent);
                    sent += 1;
                }
                producer.poll(Duration::ZERO);
            }
        }
    }
    let cpu = cpu_of(program.id()) - cpu;
    let megabytes = peak(program.id()).unwrap();
    program.stop();

    let rows: Vec<(String, i64, i64)> =
        sqlx::query_as("select transaction, weight::bigint, number from measured order by number")
            .fetch_all(&pool)
            .await
            .unwrap();
    assert_eq!(rows.len(), all, "every change has one row");
    assert!(rows.iter().map(|row| row.2).eq(0..i64::try_from(all).unwrap()), "and the right one");
    let lags: Vec<f64> = rows[warm..].iter().map(|(of, produced, _)| (seen[of] - produced) as f64 / 1e3).collect();
    let settles = rows[warm..].iter().map(|row| &row.0).collect::<HashSet<_>>().len();
    report.note(&format!("{settles} settles, {:.1} changes each", lags.len() as f64 / settles as f64));
    let what = format!("Kafka → PostgreSQL at {PER_SECOND} changes a second, from produced to visible");
    let (first, second) = lags.split_at(lags.len() / 2);
    for (name, share, most) in [("p50", 0.5, 10.0), ("p99", 0.99, 50.0)] {
        let of = |lags: &[f64]| quantile(lags.iter().copied(), share);
        report.row(&format!("{what}, {name}"), Unit::Milliseconds, None, Some(of(&lags)), Some(Goal::AtMost(most)));
        report.row(&format!("  {name}, first half"), Unit::Milliseconds, None, Some(of(first)), None);
        report.row(&format!("  {name}, second half (A/A)"), Unit::Milliseconds, None, Some(of(second)), None);
    }
    report.row(&format!("{what}, longest"), Unit::Milliseconds, None, Some(quantile(lags.iter().copied(), 1.0)), None);
    let per_change = cpu.as_secs_f64() * 1e9 / (SECONDS * PER_SECOND) as f64;
    report.row("  of the program, for a change at this rate", Unit::Nanoseconds, Some(per_change), None, None);
    report.row("  peak of the program", Unit::Megabytes, Some(megabytes), None, None);
}

/// Has each transaction that adds rows tell how many, as soon as the host has made the table.
async fn listen_to_rows(pool: &PgPool) {
    let trigger = "alter table measured add column transaction text default pg_current_xact_id()::text;
                   create function tell() returns trigger language plpgsql as $$ begin
                       perform pg_notify('measured', pg_current_xact_id() || ' ' || (select count(*) from added));
                       return null;
                   end $$;
                   create trigger tell after insert on measured referencing new table as added
                       for each statement execute function tell()";
    let deadline = Instant::now() + LIMIT * 4;
    let mut ticks = interval(Duration::from_millis(50));
    while let Err(error) = sqlx::raw_sql(AssertSqlSafe(trigger)).execute(pool).await {
        assert!(Instant::now() < deadline, "{error}");
        ticks.tick().await;
    }
}

fn send(producer: &BaseProducer, number: usize) {
    let mut document = input::document(number);
    document["weight"] = microseconds().into();
    let message = input::message(TOPIC, number, &document);
    let partition = i32::try_from(number).unwrap() % PARTITIONS;
    let record: BaseRecord<'_, [u8], [u8]> = BaseRecord::to(TOPIC).partition(partition).payload(&message);
    producer.send(record).map_err(|(error, _)| error).unwrap();
}

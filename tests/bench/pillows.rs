//! The memory of a host with many pillows on Kafka: while they read a backlog, and when they have nothing to do.

use std::fs;
use std::time::Duration;

use sqlx::{AssertSqlSafe, PgPool};
use tokio::time::{Instant, interval};

use super::broker::{Broker, LIMIT};
use super::engines::following;
use super::measure::{peak, share};
use super::program::cpu_of;
use super::report::{Goal, Report, Unit};
use super::{built, case, input};

const TOPIC: &str = "bench-pillows";
const PARTITIONS: i32 = 4;
const PILLOWS: usize = 30;
/// How long a host is left alone before its memory and what idling costs are read.
const REST: Duration = Duration::from_secs(30);

/// Documents that each pillow reads.
fn changes() -> usize {
    share(10_000)
}

pub(crate) fn measure(report: &mut Report) {
    built::module("bench_guest");
    case::runtime().block_on(run(report));
}

async fn run(report: &mut Report) {
    let (_host, program, pool) = following(TOPIC, PARTITIONS, PILLOWS).await;
    wait_for(&pool, 0).await;
    let megabytes = |name: &str| {
        let status = fs::read_to_string(format!("/proc/{}/status", program.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
    };
    tokio::time::sleep(REST).await;
    let (before, goal) = (megabytes("VmRSS:"), Some(Goal::AtMost(250.0)));
    let what = format!("{PILLOWS} pillows on Kafka");
    report.row(&format!("{what}, nothing read: resident"), Unit::Megabytes, Some(before), None, goal);

    let cpu = cpu_of(program.id());
    input::publish(Broker::shared(), TOPIC, PARTITIONS, changes());
    wait_for(&pool, changes()).await;
    let per_change = (cpu_of(program.id()) - cpu).as_secs_f64() * 1e9 / (PILLOWS * changes()) as f64;
    let most = peak(program.id()).unwrap();
    report.row(&format!("{what}, a change of one of them"), Unit::Nanoseconds, Some(per_change), None, None);
    report.row(&format!("{what}, reading {} changes each: peak", changes()), Unit::Megabytes, Some(most), None, goal);

    let cpu = cpu_of(program.id());
    tokio::time::sleep(REST).await;
    let share = (cpu_of(program.id()) - cpu).as_secs_f64() / REST.as_secs_f64() * 1e3;
    report.row(&format!("{what}, idle after it: resident"), Unit::Megabytes, Some(megabytes("VmRSS:")), None, goal);
    report.row("  of it not from files", Unit::Megabytes, Some(megabytes("RssAnon:")), None, None);
    report.row("  CPU time in a second of idling", Unit::Milliseconds, Some(share), None, None);
    program.stop();
}

/// Waits until every pillow has its table, with so many rows in it.
async fn wait_for(pool: &PgPool, rows: usize) {
    let counts: Vec<String> = (0..PILLOWS).map(|number| format!("(select count(*) from measured_{number})")).collect();
    let query = format!("select least({}), greatest({})", counts.join(", "), counts.join(", "));
    let deadline = Instant::now() + LIMIT * 10;
    let mut ticks = interval(Duration::from_millis(500));
    let all = i64::try_from(rows).unwrap();
    loop {
        ticks.tick().await;
        let found = sqlx::query_as::<_, (i64, i64)>(AssertSqlSafe(query.clone())).fetch_one(pool).await;
        match found {
            Ok((least, most)) if (least, most) == (all, all) => return,
            found => assert!(Instant::now() < deadline, "waited for {rows} rows in each table: {found:?}"),
        }
    }
}

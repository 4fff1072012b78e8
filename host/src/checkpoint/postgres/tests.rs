//! What is PostgreSQL's alone: several hosts at once, locks, backends that end. The rest stands in the tests of all
//! stores in databases, and in the contract of all stores.

use std::time::Duration;

use futures_util::future::join_all;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use super::*;
use crate::checkpoint::testing::{Bench, change, lane, pillow, row, step};
use crate::model::{
    Column, ColumnKind, DocumentKey, Epoch, Position, RetryHelps, RowOp, RowWrite, Table, Value, chain,
};
use crate::sql::{Kind, schema};

/// Nothing that is waited for takes longer on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection beside the store's own.
async fn beside(bench: &Bench) -> PgConnection {
    PgConnection::connect(&bench.scratch.url).await.unwrap()
}

async fn run(connection: &mut PgConnection, statements: &str) {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(connection).await.unwrap();
}

/// The process that waits for a lock, as soon as one does that `of` selects.
async fn waiting_backend(bench: &Bench, of: &str) -> i32 {
    let pool = &bench.scratch.database.postgres().unwrap().pool;
    let query = format!(
        "select pid from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock' and {of}"
    );
    let look = async {
        loop {
            let found = sqlx::query_scalar(AssertSqlSafe(query.clone())).fetch_optional(pool).await.unwrap();
            match found {
                Some(pid) => return pid,
                None => tokio::time::sleep(Duration::from_millis(3)).await,
            }
        }
    };
    timeout(PATIENCE, look).await.expect("a backend waits for a lock")
}

/// Rows with this number wait until nobody else holds the gate.
const GATE: &str = "create function wait_for_gate() returns trigger language plpgsql as
         $$ begin if new.n = 1 then perform pg_advisory_xact_lock(1); end if; return new; end $$;
     create trigger gate before insert on visits for each row execute function wait_for_gate()";

#[tokio::test]
async fn of_hosts_that_race_for_a_partition_only_the_last_one_settles() {
    let bench = Bench::new(Kind::Postgres).await;
    let hosts = join_all((0..4).map(|_| bench.reopened())).await;
    let (pillow, lane) = (pillow(), lane());
    let acquired = join_all(hosts.iter().map(|host| host.acquire(&pillow, &lane))).await;
    let mut epochs: Vec<Epoch> = acquired.into_iter().map(|acquired| acquired.unwrap().epoch).collect();
    let settlements: Vec<Settlement> =
        epochs.iter().map(|epoch| step(*epoch, 0, &[format!("by-{}", epoch.0)])).collect();
    let settled = join_all(hosts.iter().zip(&settlements).map(|(host, settlement)| host.settle(settlement))).await;
    for (epoch, settled) in epochs.iter().zip(&settled) {
        match epoch.0 {
            4 => assert!(settled.is_ok(), "{settled:?}"),
            _ => assert!(matches!(settled, Err(SettleError::Fenced { .. })), "{epoch:?}: {settled:?}"),
        }
    }
    epochs.sort();
    assert_eq!(epochs, [1, 2, 3, 4].map(Epoch));
    assert_eq!(bench.scratch.texts("select doc from visits").await, ["by-4"]);
}

#[tokio::test]
async fn an_owner_that_is_taken_over_in_the_middle_of_a_settle_ends_it_first_and_settles_nothing_more() {
    let bench = Bench::new(Kind::Postgres).await;
    bench.scratch.execute(GATE).await;
    let (epoch, _) = bench.acquire().await;
    let mut gate = beside(&bench).await;
    run(&mut gate, "select pg_advisory_lock(1)").await;
    let other = bench.reopened().await;
    let first = step(epoch, 0, &["a".to_owned(), "b".to_owned()]);
    let (pillow, lane) = (pillow(), lane());
    let taken_over = async {
        waiting_backend(&bench, "query like 'insert into \"visits\"%'").await;
        let (acquired, ()) = tokio::join!(other.acquire(&pillow, &lane), async {
            waiting_backend(&bench, "query like 'insert into pillowtop_checkpoints%'").await;
            run(&mut gate, "select pg_advisory_unlock(1)").await;
        });
        acquired.unwrap()
    };
    let (settled, acquired) = tokio::join!(bench.store.settle(&first), taken_over);
    settled.unwrap();
    assert_eq!(acquired.checkpoint.unwrap().position, Position::number(2));
    let late = bench.store.settle(&step(epoch, 2, &["c".to_owned()])).await;
    assert!(matches!(late, Err(SettleError::Fenced { .. })), "{late:?}");
    assert_eq!(bench.scratch.count("visits").await, 2);
}

#[tokio::test]
async fn settles_of_other_pillows_and_partitions_do_not_wait_for_one_that_does() {
    let bench = Bench::new(Kind::Postgres).await;
    bench.scratch.execute(GATE).await;
    let (epoch, _) = bench.acquire().await;
    let other_pillow = PillowName::new("other");
    let other_lane = Partition::new("case", 1);
    let of_other_pillow = bench.store.acquire(&other_pillow, &lane()).await.unwrap().epoch;
    let of_other_lane = bench.store.acquire(&pillow(), &other_lane).await.unwrap().epoch;
    let mut gate = beside(&bench).await;
    run(&mut gate, "select pg_advisory_lock(1)").await;
    let held_up = step(epoch, 1, &["held-up".to_owned()]);
    let beside_it = async {
        waiting_backend(&bench, "query like 'insert into \"visits\"%'").await;
        let settlement = step(of_other_pillow, 2, &["x".to_owned()]);
        bench.store.settle(&Settlement { pillow: other_pillow, ..settlement }).await.unwrap();
        let mut settlement = step(of_other_lane, 3, &["y".to_owned()]);
        settlement.owned[0].0 = other_lane.clone();
        settlement.progress[0].partition = other_lane;
        bench.store.settle(&settlement).await.unwrap();
        assert_eq!(bench.scratch.texts("select doc from visits order by doc").await, ["x", "y"]);
        run(&mut gate, "select pg_advisory_unlock(1)").await;
    };
    let (settled, ()) = tokio::join!(bench.store.settle(&held_up), beside_it);
    settled.unwrap();
    assert_eq!(bench.scratch.count("visits").await, 3);
}

#[tokio::test]
async fn a_backend_that_ends_in_the_middle_of_a_settle_is_an_outage_and_nothing_is_half_committed() {
    let bench = Bench::new(Kind::Postgres).await;
    bench.scratch.execute(GATE).await;
    let (epoch, _) = bench.acquire().await;
    let mut gate = beside(&bench).await;
    run(&mut gate, "select pg_advisory_lock(1)").await;
    let mut settlement = step(epoch, 0, &["a".to_owned(), "b".to_owned()]);
    settlement.parked = vec![crate::checkpoint::testing::failure("c")];
    let ended = async {
        let pid = waiting_backend(&bench, "query like 'insert into \"visits\"%'").await;
        run(&mut gate, &format!("select pg_terminate_backend({pid})")).await;
    };
    let (settled, ()) = tokio::join!(bench.store.settle(&settlement), ended);
    assert!(matches!(settled, Err(SettleError::Outage(_))), "{settled:?}");
    assert_eq!((bench.scratch.count("visits").await, bench.parked().await.len()), (0, 0));
    assert_eq!(bench.store.checkpoints(None).await.unwrap()[0].checkpoint, None);
    run(&mut gate, "select pg_advisory_unlock(1)").await;
    bench.store.settle(&settlement).await.unwrap();
    assert_eq!((bench.scratch.count("visits").await, bench.parked().await.len()), (2, 1));
}

#[tokio::test]
async fn a_deadlock_is_an_outage_and_parks_nothing() {
    let bench = Bench::new(Kind::Postgres).await;
    bench.scratch.execute(GATE).await;
    let (epoch, _) = bench.acquire().await;
    let (mut gate, mut rival) = (beside(&bench).await, beside(&bench).await);
    run(&mut gate, "select pg_advisory_lock(1)").await;
    // It never looks for a deadlock itself, so the settle is the one that gives way.
    run(&mut rival, "set deadlock_timeout = '10min'; begin; insert into visits values ('rival', 2)").await;
    let settlement = step(epoch, 1, &["a".to_owned(), "b".to_owned()]);
    let in_a_circle = async {
        waiting_backend(&bench, "query like 'insert into \"visits\"%'").await;
        let update = "update pillowtop_checkpoints set moved_at = null";
        tokio::join!(run(&mut rival, update), async {
            waiting_backend(&bench, "query like 'update pillowtop_checkpoints%'").await;
            run(&mut gate, "select pg_advisory_unlock(1)").await;
        });
    };
    let (settled, ()) = tokio::join!(bench.store.settle(&settlement), in_a_circle);
    let Err(SettleError::Outage(outage)) = settled else { panic!("{settled:?}") };
    assert!(chain(&outage).contains("deadlock"), "{}", chain(&outage));
    run(&mut rival, "rollback").await;
    bench.store.settle(&settlement).await.unwrap();
    assert_eq!((bench.scratch.count("visits").await, bench.parked().await.len()), (2, 0));
}

#[tokio::test]
async fn a_value_that_the_server_cannot_hold_parks_its_document_alone() {
    let bench = Bench::new(Kind::Postgres).await;
    let (epoch, _) = bench.acquire().await;
    let column = |name: &str, kind| Column { name: name.into(), kind, nullable: true };
    let table = Arc::new(Table {
        name: "facts".into(),
        part: None,
        columns: vec![
            column("doc", ColumnKind::Text),
            column("text", ColumnKind::Text),
            column("json", ColumnKind::Json),
            column("day", ColumnKind::Date),
            column("sum", ColumnKind::Decimal),
        ],
        key: vec!["doc".into()],
        document_column: Some("doc".into()),
        indexes: vec![crate::model::TableIndex { name: None, columns: vec!["text".into()], unique: false }],
        ..Table::default()
    });
    schema::prepare(&bench.scratch.database, &[Table::clone(&table)]).await.unwrap();
    // What operators add: a requirement, and one that is only checked at the end of a transaction.
    bench
        .scratch
        .execute(
            "alter table facts alter column json set not null;
             create table days (day date primary key); insert into days values ('2026-02-03');
             alter table facts add foreign key (day) references days deferrable initially deferred",
        )
        .await;
    let long: String = (0..9000_u32).filter_map(|n| char::from_u32(n * 7919 % 20_000 + 0x4e00)).collect();
    let text = |text: &str| Value::Text(text.to_owned());
    let json = |text: &str| Value::Json(text.to_owned());
    let day = |text: &str| Value::Date(text.to_owned());
    let digits = "9".repeat(140_000);
    let cases = [
        ("good", [text("x"), json("{}"), day("2026-02-03"), Value::Decimal("1.5".into())], None),
        ("nul", [text("a\0b"), json("1"), Value::Null, Value::Null], Some(RetryHelps::No)),
        ("nul-in-json", [text("x"), json(r#""\u0000""#), Value::Null, Value::Null], Some(RetryHelps::No)),
        ("no-json", [text("x"), json("{"), Value::Null, Value::Null], Some(RetryHelps::No)),
        ("null", [text("x"), Value::Null, Value::Null, Value::Null], Some(RetryHelps::No)),
        ("long-key", [text(&long), json("1"), Value::Null, Value::Null], Some(RetryHelps::No)),
        ("year-0", [text("x"), json("1"), day("0000-01-01"), Value::Null], Some(RetryHelps::No)),
        ("foreign", [text("x"), json("1"), day("2026-02-04"), Value::Null], Some(RetryHelps::Perhaps)),
        ("overflow", [text("x"), json("1"), Value::Null, Value::Decimal(digits)], Some(RetryHelps::No)),
        ("good-too", [text("x"), json("[]"), Value::Null, Value::Null], None),
    ];
    let documents: Vec<String> = cases.iter().map(|(id, ..)| (*id).to_owned()).collect();
    let write = |(id, values, _): &(&str, [Value; 4], Option<RetryHelps>)| {
        let mut row = vec![text(id)];
        row.extend(values.iter().cloned());
        let (document, table) = (DocumentKey::new("cases", *id), Arc::clone(&table));
        RowWrite { document, table, op: RowOp::Replace(vec![row]), ..self::row(id, 0) }
    };
    let settlement = Settlement { rows: cases.iter().map(write).collect(), ..step(epoch, 0, &documents) };
    let settled = bench.store.settle(&settlement).await.unwrap();
    assert_eq!(settled.rows, 2);
    assert_eq!(bench.scratch.texts("select doc from facts order by doc").await, ["good", "good-too"]);
    let parked = bench.parked().await;
    let found: Vec<(&str, Option<RetryHelps>)> =
        parked.iter().map(|one| (&*one.failure.id.document.id, Some(one.failure.retry))).collect();
    let expected: Vec<(&str, Option<RetryHelps>)> =
        cases.iter().filter(|case| case.2.is_some()).map(|(id, _, retry)| (*id, *retry)).collect();
    assert_eq!(found, expected, "{parked:#?}");
    assert_eq!(parked[0].failure.change.as_deref(), Some(&change("nul")));
}

#[tokio::test]
async fn a_database_that_went_back_draws_no_version_twice() {
    let bench = Bench::new(Kind::Postgres).await;
    // The clock is ahead of all versions, as long as nobody draws a million a second.
    let postgres = bench.scratch.database.postgres().unwrap();
    let hosts = [
        PostgresStore::open(postgres.clone(), Clock::System).await.unwrap(),
        PostgresStore::open(postgres.clone(), Clock::System).await.unwrap(),
    ];
    let mut highest = hosts[0].draw_version().await.unwrap();
    for _ in 0..3 {
        // A standby took over that had not seen all.
        bench.scratch.execute("select setval('pillowtop_version', 7)").await;
        for host in [0, 0, 1, 1] {
            let drawn = hosts[host].draw_version().await.unwrap();
            assert!(drawn > highest, "{drawn:?} after {highest:?}");
            highest = drawn;
        }
    }
}

#[tokio::test]
async fn a_host_that_is_frozen_holds_its_locks_for_a_while_only() {
    let bench = Bench::new(Kind::Postgres).await;
    for (name, expected) in [("lock_timeout", "10s"), ("idle_in_transaction_session_timeout", "30s")] {
        let found = bench.scratch.texts(&format!("select current_setting('{name}')")).await;
        assert_eq!(found, [expected], "{name}");
    }
    let own = format!("{}?options=-c%20lock_timeout%3D2s", bench.scratch.url);
    let database = crate::sql::Database::open(&own).await.unwrap();
    let pool = &database.postgres().unwrap().pool;
    let found: String = sqlx::query_scalar("select current_setting('lock_timeout')").fetch_one(pool).await.unwrap();
    assert_eq!(found, "2s");
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_named_without_its_password() {
    let outage = Postgres::open("postgres://ada:secret@127.0.0.1:1/visits").await.unwrap_err();
    let said = format!("{} {outage:?}", chain(&outage));
    assert!(said.contains("127.0.0.1:1/visits") && !said.contains("secret"), "{said}");
}

//! Checkpoints and tables in PostgreSQL: rows are applied once, while the server and the host come and go.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

use crate::database::{Database, settings};
use crate::service::Service;
use crate::support::documents::{Expected, id, lines, visit_form, visit_forms};
use crate::support::pillows;
use crate::support::site::{Running, Site};
use crate::support::wait::until;

/// A folder to run the program in, and the database at `url`.
struct World {
    site: Site,
    database: Database,
}

impl World {
    fn new(url: String) -> Self {
        let site = Site::embedded();
        site.write("pillowtop.toml", &settings(&url));
        Self { site, database: Database { url } }
    }

    async fn until_written(&self, host: &mut Running, least: u64) {
        until("rows are written", async || {
            assert!(!host.has_ended(), "it ended by itself");
            (self.database.count("visits").await >= Some(least)).then_some(())
        })
        .await;
    }

    /// What holds at every moment: the rows are those of the changes that stand before the checkpoints, each written once.
    async fn rows_and_checkpoints_agree(&self, when: &str) {
        let options = SqliteConnectOptions::new().filename(self.site.path("log.db"));
        let mut log = SqliteConnection::connect_with(&options).await.unwrap();
        let changes = "select json_array(\"partition\", id, document_id) from change_log";
        let changes: Vec<String> = sqlx::query_scalar(changes).fetch_all(&mut log).await.unwrap();
        let checkpoints = "select json_build_array(partition_number, position_first)::text from pillowtop_checkpoints
                           where pillow = 'forms' and position_first is not null";
        let checkpoints: BTreeMap<u64, i64> = self
            .database
            .rows(checkpoints)
            .await
            .iter()
            .map(|row| (row[0].as_u64().unwrap(), row[1].as_i64().unwrap()))
            .collect();
        let changes = changes.iter().map(|text| serde_json::from_str::<Value>(text).unwrap());
        let passed: BTreeSet<String> = changes
            .filter(|row| checkpoints.get(&row[0].as_u64().unwrap()).is_some_and(|next| row[1].as_i64() < Some(*next)))
            .map(|row| row[2].as_str().unwrap().to_owned())
            .collect();
        let written = self.database.rows("select json_build_array(form_id)::text from applied").await;
        let once: BTreeSet<String> = written.iter().map(|row| row[0].as_str().unwrap().to_owned()).collect();
        assert_eq!(written.len(), once.len(), "{when}: rows that were written more than once");
        assert_eq!(once, passed, "{when}: rows and checkpoints do not agree");
    }
}

/// Counts how often each row is written.
const WATCH: &str = "create table applied (form_id text);
    create function note() returns trigger language plpgsql as
        $$ begin insert into applied values (new.form_id); return null; end $$;
    create trigger watch after insert or update on visits for each row execute function note()";

/// Every named point of the source that a settle passes; `tests/kill` holds that there are no others.
const POINTS: [&str; 6] = [
    "settle.sink-written",
    "settle.sinks-flushed",
    "settle.begin",
    "settle.before-commit",
    "settle.after-commit",
    "settle.committed",
];

#[tokio::test]
async fn rows_are_applied_once_while_the_server_and_the_host_come_and_go() {
    let server = tokio::task::spawn_blocking(|| Service::own("postgres")).await.unwrap();
    let world = World::new(crate::postgres::create_in(&server.address).await);
    let site = &world.site;
    site.pillow("forms", &(pillows::forms() + &pillows::batches(5, 2)));
    let forms: Vec<Value> = {
        // A visit at no time would be parked; nothing may be parked here.
        let has_time = |form: &Value| form["form"]["meta"]["timeEnd"].as_str().is_some_and(|time| !time.is_empty());
        visit_forms(1050, 33).into_iter().filter(has_time).take(900).collect()
    };
    site.publish("").await;
    site.catch_up().await;
    world.database.execute(WATCH).await;
    site.publish(&lines(&forms)).await;

    // The host dies, at each point of a settle and somewhere in between.
    for (passage, point) in (2..).zip(POINTS) {
        let mut command = site.command(&["run"]);
        command.env("PILLOWTOP_FAULT", format!("{point}={passage}"));
        let ran = Running::of(command).ended().await;
        assert_eq!(ran.signal(), Some(6), "{point}: {ran:?}");
        world.rows_and_checkpoints_agree(point).await;
    }
    for more in [1, 17, 40] {
        let target = world.database.count("visits").await.unwrap() + more;
        let mut host = site.start(&["run"]);
        world.until_written(&mut host, target).await;
        host.kill();
        assert_eq!(host.ended().await.signal(), Some(9));
        world.rows_and_checkpoints_agree("killed somewhere").await;
    }

    // The server dies; the host waits for it and goes on.
    let mut host = site.start(&["run"]);
    let target = world.database.count("visits").await.unwrap() + 30;
    world.until_written(&mut host, target).await;
    server.kill();
    host.says("the database does not answer").await;
    server.start_again();
    let written = world.database.count("visits").await.unwrap();
    assert!(written < 900, "the server died too late");
    world.until_written(&mut host, 900).await;
    host.signal("TERM");
    assert_eq!(host.ended().await.code(), Some(0));

    site.catch_up().await;
    let mut expected = Expected::default();
    expected.change(&forms);
    assert_eq!(world.database.visits().await, expected.visits());
    assert_eq!(world.database.last_visits().await, expected.last_visits());
    world.rows_and_checkpoints_agree("at the end").await;
    assert_eq!(world.database.count("applied").await, Some(900));
    let answer = site.search("forms", "*").await;
    let found: BTreeSet<&str> =
        answer["hits"].as_array().unwrap().iter().map(|hit| hit["id"].as_str().unwrap()).collect();
    assert_eq!((found, &answer["total"]), (forms.iter().map(id).collect(), &json!(900)));
    assert_eq!(site.parked().await, [] as [Value; 0]);
    let summary = site.catch_up().await;
    assert_eq!(summary["pillows"][0]["status"]["counts"]["read"], 0, "{summary}");
}

#[tokio::test]
async fn every_command_finds_in_postgresql_what_the_host_left_there() {
    let world = World::new(crate::postgres::database().await);
    let site = &world.site;
    site.pillow("forms", &(pillows::forms() + &pillows::hostile("trap")));
    let mut forms: Vec<Value> =
        (0..30).map(|n| visit_form(&format!("f{n:02}"), &format!("c{n}"), "2026-02-03T10:00:00.000000Z")).collect();
    forms[7]["form"]["note"] = json!("poison");
    // Only the server finds out: no text of it holds a NUL.
    forms[9]["form"]["meta"]["userID"] = json!("a\0b");
    site.publish(&lines(&forms)).await;
    site.catch_up().await;

    let facts = |entry: &Value| json!([entry["processor"], entry["document"], entry["kind"], entry["attempts"]]);
    let mut parked: Vec<Value> = site.parked().await.iter().map(facts).collect();
    parked.sort_by_key(Value::to_string);
    assert_eq!(parked, [json!(["hostile", "f07", "trap", 1]), json!(["visits", "f09", "rejected", 1])]);
    assert_eq!(
        (world.database.count("visits").await, world.database.count("hostile_rows").await),
        (Some(29), Some(29))
    );
    let asked = site.run(&["--json", "sql", "select count(*) as n, min(visited_at) as first from visits"]).await;
    assert_eq!(asked.json(), json!([{ "n": 29, "first": "2026-02-03T10:00:00.000000Z" }]));
    let refused = site.run(&["sql", "delete from visits"]).await;
    assert!(refused.code() != Some(0) && refused.err.contains("read-only transaction"), "{refused:?}");

    // The mended processor takes over, and its failure is tried again; the other one fails again.
    site.pillow("forms", &(pillows::forms() + &pillows::hostile("stamp")));
    site.run(&["errors", "retry", "--all"]).await;
    let parked: Vec<Value> = site.parked().await.iter().map(facts).collect();
    assert_eq!(parked, [json!(["visits", "f09", "rejected", 2])]);
    assert_eq!(world.database.count("hostile_rows").await, Some(30));
    site.run(&["errors", "drop", "--all"]).await;

    // A running host is seen in its heartbeat, and nobody moves the checkpoint under it.
    let mut host = site.start(&["run"]);
    let status = until("the host is seen", async || {
        assert!(!host.has_ended());
        let status = site.run(&["--json", "status"]).await.json();
        status.to_string().contains("running").then_some(status)
    })
    .await;
    assert!(status.to_string().contains("forms"), "{status}");
    let set = ["checkpoint", "set", "forms", "form-sql:0", "0", "--why", "test"];
    let refused = site.run(&set).await;
    assert!(refused.code() == Some(1) && refused.err.contains("is running on"), "{refused:?}");
    host.signal("TERM");
    assert_eq!(host.ended().await.code(), Some(0));
    site.run(&set).await.well();
    let history = site.run(&["--json", "checkpoint", "show", "forms"]).await.json();
    let latest = &history["moves"][0];
    assert_eq!(json!([latest["partition"], latest["who"], latest["why"]]), json!(["form-sql:0", "tester", "test"]));
    let moved = site.run(&["--json", "checkpoint", "list"]).await.json();
    let moved = moved.as_array().unwrap().iter().find(|stored| stored["partition"] == 0).unwrap().clone();
    assert_eq!(moved["position"], "0", "{moved}");
    // What stands behind it is written again, to the same end.
    let before = world.database.visits().await;
    let summary = site.catch_up().await;
    assert!(summary["pillows"][0]["status"]["counts"]["read"].as_u64() > Some(0), "{summary}");
    assert_eq!(world.database.visits().await, before);
}

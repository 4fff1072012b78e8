//! Tables that are rebuilt while changes arrive: in SQLite and PostgreSQL, by a host and by the command, killed and gone
//! on with, and equal to tables that were made anew.

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::support::documents::lines;
use crate::support::pillows;
use crate::support::site::{Running, Site, read};
use crate::support::wait::until;
use crate::ucr::{inline, source, table};

/// A folder to run the program in; its tables are in the file beside it, or in PostgreSQL at `url`.
struct World {
    site: Site,
    url: Option<String>,
}

impl World {
    fn embedded() -> Self {
        Self { site: Site::embedded(), url: None }
    }

    async fn postgres() -> Self {
        let url = crate::postgres::database().await;
        let site = Site::embedded();
        site.write("pillowtop.toml", &crate::database::settings(&url));
        Self { site, url: Some(url) }
    }

    /// The data source, with this type of its column.
    fn report(&self, datatype: &str, more: &Value) {
        let mut config = source("sizes", "CommCareCase", "size", datatype);
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.site.pillow("reports", &reports(&json!([config]), ""));
    }

    async fn send(&self, cases: &[Value]) {
        self.site.publish(&lines(cases)).await;
    }

    async fn caught_up(&self, cases: &[Value]) {
        self.send(cases).await;
        self.site.catch_up().await;
    }

    /// The rows of the table, as texts, in the order of their documents.
    async fn sizes(&self) -> Vec<Value> {
        self.rows(&format!("select doc_id, cast(size as text) from \"{}\" order by doc_id", table("sizes"))).await
    }

    /// The tables of the database that have to do with it.
    async fn tables(&self) -> Vec<Value> {
        let catalogue = match self.url {
            None => "select name, '' from sqlite_master where type = 'table' and",
            Some(_) => "select relname::text as name, '' from pg_class where relkind = 'r' and",
        };
        let name = if self.url.is_some() { "relname" } else { "name" };
        let like = "like 'ucr_%' or {name} like 'pillowtop_new_%' or {name} like 'pillowtop_old_%'";
        self.rows(&format!("{catalogue} ({name} {like})").replace("{name}", name)).await
    }

    /// Rows of two texts.
    async fn rows(&self, query: &str) -> Vec<Value> {
        let query = AssertSqlSafe(query.to_owned());
        let rows: Vec<(String, Option<String>)> = match &self.url {
            None => sqlx::query_as(query).fetch_all(&mut self.site.database().await).await.unwrap(),
            Some(url) => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::query_as(query).fetch_all(&mut connection).await.unwrap()
            }
        };
        rows.into_iter().map(|(first, second)| json!([first, second])).collect()
    }
}

fn reports(sources: &Value, more: &str) -> String {
    pillows::reads("case-sql")
        + &format!(
            "\n[[processors]]\nname = \"reports\"\nmodule = \"{{ucr-row-builder}}\"\ngrants = [\"log\"]\ntables = \
             \"tables\"\n{more}\n[processors.config]\ndata-sources = {}\n",
            inline(sources)
        )
}

fn case(id: usize, size: usize) -> Value {
    json!({"_id": format!("c{id:03}"), "doc_type": "CommCareCase", "domain": "clinic", "size": size})
}

fn cases(count: usize) -> Vec<Value> {
    (0..count).map(|id| case(id, id)).collect()
}

fn rows(cases: &[Value]) -> Vec<Value> {
    cases.iter().map(|case| json!([case["_id"], case["size"].to_string()])).collect()
}

async fn stop(host: Running) {
    host.signal("TERM");
    host.ended().await.well();
}

async fn a_changed_column_fills_a_new_table_while_changes_arrive(world: World) {
    let mut all = cases(150);
    world.report("integer", &json!({}));
    world.caught_up(&all).await;
    assert_eq!(world.sizes().await, rows(&all));

    // Another type of a column, while the host runs.
    let mut host = world.site.start(&["run"]);
    host.says("starts").await;
    world.report("string", &json!({}));
    host.says("a new table is filled and takes its place").await;
    for id in (0..150).step_by(7) {
        all[id] = case(id, 1000 + id);
        world.send(&all[id..=id]).await;
    }
    all.push(case(150, 7));
    world.send(&all[150..]).await;
    host.says("the new table took its place").await;
    all[3] = case(3, 9);
    world.send(&all[3..4]).await;
    until("the last change", async || (world.sizes().await == rows(&all)).then_some(())).await;
    stop(host).await;

    // What a run that knew no other shape makes of the same documents.
    let fresh = if world.url.is_some() { World::postgres().await } else { World::embedded() };
    fresh.report("string", &json!({}));
    fresh.caught_up(&all).await;
    assert_eq!(world.sizes().await, fresh.sizes().await);
    assert_eq!(world.tables().await, fresh.tables().await);
    assert!(world.site.parked().await.is_empty());
}

#[tokio::test]
async fn a_changed_column_fills_a_new_table_in_sqlite() {
    a_changed_column_fills_a_new_table_while_changes_arrive(World::embedded()).await;
}

#[tokio::test]
async fn a_changed_column_fills_a_new_table_in_postgres() {
    a_changed_column_fills_a_new_table_while_changes_arrive(World::postgres().await).await;
}

async fn what_dies_on_the_way_goes_on(world: World) {
    let all = cases(60);
    world.report("integer", &json!({}));
    world.caught_up(&all).await;
    world.report("string", &json!({}));
    for fault in ["settle.before-commit", "settle.committed", "rebuild.filled", "rebuild.switched"] {
        let mut command = world.site.command(&["run"]);
        command.env("PILLOWTOP_FAULT", fault);
        let died = Running::of(command).ended().await;
        assert!(died.err.contains("aborting as PILLOWTOP_FAULT asks"), "{fault}: {}", died.err);
    }
    assert_eq!(world.sizes().await, rows(&all));
    // Of what is left, only the old table in PostgreSQL.
    let mut host = world.site.start(&["run"]);
    host.says("starts").await;
    until("one table is left", async || (world.tables().await.len() == 1).then_some(())).await;
    stop(host).await;
    assert_eq!(world.sizes().await, rows(&all));
}

#[tokio::test]
async fn what_dies_on_the_way_goes_on_in_sqlite() {
    what_dies_on_the_way_goes_on(World::embedded()).await;
}

#[tokio::test]
async fn what_dies_on_the_way_goes_on_in_postgres() {
    what_dies_on_the_way_goes_on(World::postgres().await).await;
}

#[tokio::test]
async fn the_command_rebuilds_a_table_alone_or_follows_a_host() {
    let world = World::embedded();
    let all = cases(40);
    let sources =
        json!([source("sizes", "CommCareCase", "size", "integer"), source("other", "CommCareCase", "size", "integer")]);
    world.site.pillow("reports", &reports(&sources, ""));
    world.caught_up(&all).await;
    let (table, other) = (table("sizes"), table("other"));
    // A row that no document gives, and a value that none has.
    let wrong = format!(
        "delete from \"{other}\"; update \"{table}\" set size = 99; insert into \"{table}\" values ('gone', '2026-01-01', 1)"
    );
    for running in [false, true] {
        world.site.execute(&wrong).await;
        let host = if running {
            let mut host = world.site.start(&["run"]);
            host.says("starts").await;
            Some(host)
        } else {
            None
        };
        let ran = world.site.run(&["rebuild", "reports", &table]).await.well();
        assert!(ran.out.contains("40 documents done"), "{ran:?}");
        assert!(ran.out.contains(&format!("{table} is rebuilt")), "{ran:?}");
        assert_eq!(world.sizes().await, rows(&all));
        let others = format!("select doc_id, '' from \"{other}\"");
        assert_eq!(world.rows(&others).await, [] as [Value; 0], "the other data source is left alone");
        if let Some(host) = host {
            stop(host).await;
        }
    }
    for (words, expected) in [
        (["rebuild", "nobody", "t"], "there is no pillow `nobody`".to_owned()),
        (["rebuild", "reports", "t"], format!("pillow reports has no table `t`; it has: {table}, {other}")),
    ] {
        let ran = world.site.run(&words).await;
        assert_eq!(ran.code(), Some(2));
        assert!(ran.err.contains(&expected), "{ran:?}");
    }
}

#[tokio::test]
async fn a_table_that_must_not_be_rebuilt_stays_and_is_reported() {
    let world = World::embedded();
    let all = cases(3);
    let kept = json!({"disable_destructive_rebuild": true});
    world.report("integer", &kept);
    world.caught_up(&all).await;
    world.report("string", &kept);
    let mut host = world.site.start(&["run"]);
    host.says("the table stays as it is and is left out").await;
    world.send(&[case(0, 7)]).await;
    until("the reason", async || {
        let status = world.site.run(&["--json", "status"]).await.json().to_string();
        status.contains("stays as it is and is left out").then_some(())
    })
    .await;
    stop(host).await;
    world.site.catch_up().await;
    assert_eq!(world.sizes().await, rows(&all));
    assert!(world.site.parked().await.is_empty());
    let ran = world.site.run(&["rebuild", "reports", &table("sizes")]).await;
    assert!(ran.err.contains("as `disable_destructive_rebuild` asks for"), "{ran:?}");
    // Additive changes are made all the same.
    let mut wider = source("sizes", "CommCareCase", "size", "integer");
    wider["disable_destructive_rebuild"] = json!(true);
    let more = source("sizes", "CommCareCase", "name", "string")["configured_indicators"][0].clone();
    wider["configured_indicators"].as_array_mut().unwrap().push(more);
    world.site.pillow("reports", &reports(&json!([wider]), ""));
    world.caught_up(&[case(1, 8)]).await;
    assert_eq!(world.sizes().await[1], json!(["c001", "8"]));
}

#[tokio::test]
async fn rows_of_a_mirrored_data_source_are_in_every_database_that_is_known() {
    let world = World::embedded();
    let mut settings = read(&world.site.path("pillowtop.toml"));
    settings +=
        "\n[databases.second]\nurl = \"sqlite:second.db\"\n\n[sinks.second]\nkind = \"sql\"\ndatabase = \"second\"\n";
    world.site.write("pillowtop.toml", &settings);
    let config = json!([{
        "domains": ["clinic"],
        "mirrored_engine_ids": [{"server_environment": "here", "engine_ids": ["mirror", "unknown"]}],
        "config": source("sizes", "CommCareCase", "size", "integer"),
    }]);
    let environment = "server-environment = \"here\"\n";
    let all = cases(5);
    let mirrored = async || {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(world.site.path("second.db"));
        let mut second = sqlx::SqliteConnection::connect_with(&options.create_if_missing(true)).await.unwrap();
        let query =
            format!("select json_array(doc_id, cast(size as text)) from \"{}\" order by doc_id", table("sizes"));
        let exists = "select json_array(count(*)) from sqlite_master where name like 'ucr_%'";
        match crate::support::site::rows(&mut second, exists).await[0][0].as_i64() {
            Some(0) => None,
            _ => Some(crate::support::site::rows(&mut second, &query).await),
        }
    };
    // Only the one of the manifest is known.
    world.site.pillow("reports", &(reports(&config, "") + environment));
    world.caught_up(&all[..2]).await;
    assert_eq!((world.sizes().await, mirrored().await), (rows(&all[..2]), None));
    world.site.pillow("reports", &(reports(&config, "engines = { mirror = \"second\" }\n") + environment));
    world.caught_up(&all[2..]).await;
    assert_eq!((world.sizes().await, mirrored().await), (rows(&all), Some(rows(&all[2..]))));
    // What the mirror lacks is filled in.
    world.site.run(&["rebuild", "reports", &table("sizes")]).await.well();
    assert_eq!((world.sizes().await, mirrored().await), (rows(&all), Some(rows(&all))));
}

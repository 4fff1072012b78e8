//! Swaps under load: one boundary in each partition, nothing lost, every row applied once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use super::modules;
use super::world::{LIMIT, Pillow, World, until};

/// So many rows of a version are seen before the next step.
const ROWS_PER_STEP: u64 = 300;

/// Publishes one new document after the other, as an application would: document and change in one transaction.
struct Writer {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<u64>,
}

impl Writer {
    fn start(world: &World) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, path) = (Arc::clone(&stop), world.path("pillowtop.db"));
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let options = SqliteConnectOptions::new().filename(path).busy_timeout(LIMIT);
            let pool = runtime.block_on(SqlitePoolOptions::new().max_connections(1).connect_with(options)).unwrap();
            runtime.block_on(write(&pool, &told))
        });
        Self { stop, thread }
    }

    /// Stops it; says how many documents it wrote.
    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

async fn write(pool: &SqlitePool, stop: &AtomicBool) -> u64 {
    let mut written = 0;
    // A steady stream, slower than the host: the steps are many, and each has its rows.
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    while !stop.load(Ordering::Relaxed) {
        ticks.tick().await;
        let mut transaction = pool.begin_with("begin immediate").await.unwrap();
        for _ in 0..3 {
            let id = format!("d{written:06}");
            let document = "insert into documents (id, source, document) values (?1, 'case-sql', '{\"name\": \"n\"}')";
            sqlx::query(document).bind(&id).execute(&mut *transaction).await.unwrap();
            let change = "insert into change_log (topic, document_id) values ('case-sql', ?1)";
            sqlx::query(change).bind(&id).execute(&mut *transaction).await.unwrap();
            written += 1;
        }
        transaction.commit().await.unwrap();
    }
    written
}

/// The pillow under load, and what it is expected to be.
struct Stage {
    world: World,
    pillow: Pillow,
    generation: u64,
    /// The versions that ran, in their order; one may come back.
    versions: Vec<String>,
    refusals: usize,
}

impl Stage {
    fn rows_of(&self, version: &str) -> u64 {
        self.world.database.number(&format!("select count(*) from audit where version = '{version}'"))
    }

    /// Waits until the current version has written so many rows more.
    fn goes_on(&self) {
        let version = self.versions.last().unwrap();
        let goal = self.rows_of(version) + ROWS_PER_STEP;
        until(&format!("{version} has {goal} rows"), || {
            let rows = self.rows_of(version);
            if rows >= goal { Ok(()) } else { Err(format!("it has {rows}")) }
        });
    }

    /// After a change on disk: the new version takes over.
    fn swaps(&mut self, version: &str) {
        self.generation += 1;
        self.versions.push(version.to_owned());
        let status = self.world.wait_for_generation("stamps", self.generation);
        assert_eq!(status["last_swap"]["ok"], true, "{status}");
        self.goes_on();
    }

    /// After a change on disk: the old version runs on, and the status says why.
    fn refuses(&mut self, reason: &str) {
        self.refusals += 1;
        let status = self.world.wait_for("stamps", &format!("refuses: {reason}"), |status| {
            status["last_swap"]["error"].as_str().is_some_and(|error| error.contains(reason))
        });
        assert_eq!(status["last_swap"]["ok"], false, "{status}");
        assert_eq!((&status["generation"], &status["state"]), (&self.generation.into(), &"running".into()), "{status}");
        self.goes_on();
    }

    fn put_version(&mut self, version: &str) {
        self.pillow.version = version.to_owned();
        self.pillow.mode = "stamp";
        self.world.put_manifest(&self.pillow);
        self.swaps(version);
    }

    fn put_module(&mut self, content: &[u8], refused: &str) {
        self.world.put("modules/hostile.wasm", content);
        self.refuses(refused);
    }
}

#[test]
fn modules_are_swapped_under_load_and_every_change_is_applied_once() {
    let world = World::new();
    let mut pillow = Pillow::new("stamps", "case-sql", "v1");
    // Batches of a few changes, so that a swap falls between many of them.
    pillow.tables = "[batch]\ncount = 7\n";
    world.put_manifest(&pillow);
    let host = world.run(&[]);
    world.wait_for_generation("stamps", 1);
    world.database.execute(
        "create table audit (number integer primary key autoincrement, what text, id text, version text,
             at real default (unixepoch('subsec')));
         create trigger inserted after insert on stamps begin
             insert into audit (what, id, version) values ('insert', new.id, new.version); end;
         create trigger updated after update on stamps begin
             insert into audit (what, id, version) values ('update', new.id, new.version); end;
         create trigger deleted after delete on stamps begin
             insert into audit (what, id, version) values ('delete', old.id, old.version); end;",
    );
    let writer = Writer::start(&world);
    let mut stage = Stage { world, pillow, generation: 1, versions: vec!["v1".to_owned()], refusals: 0 };
    stage.goes_on();

    stage.put_version("v2");
    stage.pillow.mode = "trap-at-configure";
    stage.world.put_manifest(&stage.pillow);
    stage.refuses("told to trap at configure");
    stage.put_version("v3");
    stage.put_module(&modules::text("wrong-contract.wat"), "9.9.9");
    stage.world.put("modules/hostile.wasm", modules::stamped("stamped-01"));
    stage.swaps("stamped-01");
    stage.put_module(&modules::text("foreign-import.wat"), "random_get");
    stage.world.put("modules/hostile.wasm", modules::stamped("stamped-02"));
    stage.swaps("stamped-02");
    let whole = modules::stamped("stamped-03");
    stage.put_module(&whole[..whole.len() / 2], "hostile.wasm");
    stage.world.put("modules/hostile.wasm", whole);
    stage.swaps("stamped-03");
    stage.world.put("modules/hostile.wasm", modules::hostile());
    stage.swaps("v3");
    stage.pillow.mode = "refuse";
    stage.world.put_manifest(&stage.pillow);
    stage.refuses("told to refuse");

    stage.pillow.config = "extra_column = \"note\"".to_owned();
    stage.put_version("v4");
    stage.pillow.config = "extra_column = \"note\"\nnumber_is_text = true".to_owned();
    stage.world.put_manifest(&stage.pillow);
    stage.refuses("number");
    stage.pillow.config = "extra_column = \"note\"".to_owned();
    stage.put_version("v5");
    stage.pillow.mode = "loop-at-configure";
    stage.world.put_manifest(&stage.pillow);
    stage.refuses("did not start");
    stage.put_version("v6");

    let published = writer.stop();
    let audited = || stage.world.database.number("select count(distinct id) from audit");
    until(
        "all is applied",
        || if audited() == published { Ok(()) } else { Err(format!("{} of {published}", audited())) },
    );
    host.stop();
    stage.every_change_was_applied_once(published);
    stage.each_partition_has_one_boundary_between_versions();
    stage.what_happened_is_said(published);
    stage.print_pauses();
}

impl Stage {
    fn every_change_was_applied_once(&self, published: u64) {
        let database = &self.world.database;
        let other =
            database.query("select id, count(*), group_concat(what) from audit group by id having count(*) <> 1");
        assert!(other.is_empty(), "{} documents were not applied exactly once: {:?}", other.len(), &other[..3]);
        assert_eq!(database.number("select count(*) from audit where what = 'insert'"), published);
        assert_eq!(database.number("select count(*) from stamps"), published);
        assert_eq!(database.number("select count(*) from change_log"), published);
        assert_eq!(database.number("select count(*) from pillowtop_parked"), 0);
        let found = self.world.json(&["search", "stamps", "*"]);
        assert_eq!(found["total"], published, "documents of the index");
        let noted = database.number("select count(*) from stamps where note = 'extra'");
        let extended = database.number("select count(*) from stamps where version in ('v4', 'v5', 'v6')");
        assert_eq!(noted, extended, "rows with the added column");
    }

    fn each_partition_has_one_boundary_between_versions(&self) {
        for partition in 0..4 {
            // By the position in the change log, not by the order of writing.
            let versions = self.world.database.query(&format!(
                "select stamps.version from change_log join stamps on stamps.id = change_log.document_id
                 where \"partition\" = {partition} order by change_log.id"
            ));
            let mut runs: Vec<String> = versions.into_iter().map(|row| row[0].clone()).collect();
            runs.dedup();
            assert_eq!(runs, self.versions, "partition {partition}");
        }
    }

    fn what_happened_is_said(&self, published: u64) {
        let log = self.world.log();
        let count = |text: &str| log.lines().filter(|line| line.contains(text)).count();
        assert_eq!(count("not taken over"), self.refusals, "{log}");
        assert_eq!(count("takes over"), self.versions.len() - 1, "{log}");
        println!("{published} changes, {} swaps, {} refusals", self.versions.len() - 1, self.refusals);
    }

    /// How long nothing was committed: between the last row of a version and the first of the next one, and at all.
    fn print_pauses(&self) {
        let gaps = self.world.database.query(
            "select max(case when version <> before then at - then_at end) * 1000, max(at - then_at) * 1000
             from (select version, at, lag(version) over (order by number) as before,
                          lag(at) over (order by number) as then_at from audit)",
        );
        println!("longest gap between rows: {} ms at a swap, {} ms at all", gaps[0][0], gaps[0][1]);
    }
}

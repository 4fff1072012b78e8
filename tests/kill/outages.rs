//! Broker, database and search server go away under load, by `kill -9` and frozen: the pillows that need one wait and say
//! for what, the others go on, and when the server answers again so do they. Nothing is lost, parked or done twice.
//!
//! `PILLOWTOP_OUTAGE_SECONDS` says for how long each is away (5).

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::ledger::{everything, rows_and_checkpoints_agree};
use crate::load::Load;
use crate::support::documents::{Expected, id};
use crate::support::site::{Site, limits};
use crate::support::wait::{until, until_within};
use crate::support::{embedded, pillows};
use crate::watched::{Samples, Watched};
use crate::world::{IN_FLIGHT, Servers, TOPICS, World};
use crate::{ALL_LIMIT, MANY};

/// What is promised to who waits for a server: so long after it answers again, pillows settle again.
const PROMISE: Duration = Duration::from_secs(2);
/// What a test demands, on a machine that does much else.
const DEMANDED: Duration = Duration::from_secs(6);

/// How long a server may take to start.
const START_LIMIT: Duration = Duration::from_secs(100);

/// How long one question may take that asks whether a server is back.
const PROBE: Duration = Duration::from_millis(250);

/// How many changes a batch has at most.
const COUNT: usize = 20;

/// As many changes of a pillow may be under way at any time.
const FEW: u64 = 40;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Which {
    Kafka,
    Postgres,
    OpenSearch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// `kill -9`, and started again.
    Killed,
    /// Its connections stay open, and nothing answers.
    Frozen,
}

/// A pillow, by the host that runs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Of(Host, &'static str);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Host {
    /// Its checkpoints are in PostgreSQL.
    Exact,
    /// Its checkpoints are in a file.
    Beside,
}

/// Both hosts, and the servers.
struct Scene {
    servers: Arc<Servers>,
    exact: Watched,
    beside: Watched,
}

impl Which {
    /// Who needs it, and what their reason says.
    fn held(self) -> &'static [(Of, &'static str)] {
        match self {
            Self::Kafka => &[(Of(Host::Exact, "forms"), "feed: "), (Of(Host::Exact, "cases"), "feed: ")],
            Self::Postgres => &[
                (Of(Host::Exact, "forms"), "checkpoint database: "),
                (Of(Host::Exact, "cases"), "checkpoint database: "),
                (Of(Host::Exact, "near"), "checkpoint database: "),
                (Of(Host::Beside, "away"), "sink: "),
            ],
            Self::OpenSearch => &[(Of(Host::Exact, "forms"), "sink: "), (Of(Host::Exact, "cases"), "sink: ")],
        }
    }

    /// Who does not need it.
    fn free(self) -> &'static [Of] {
        match self {
            Self::Kafka | Self::OpenSearch => {
                &[Of(Host::Exact, "near"), Of(Host::Beside, "near"), Of(Host::Beside, "away")]
            }
            Self::Postgres => &[Of(Host::Beside, "near")],
        }
    }
}

impl Servers {
    fn stop(&self, which: Which, how: How) {
        match (which, how) {
            (Which::Kafka, How::Killed) => self.kafka.kill(),
            (Which::Kafka, How::Frozen) => self.kafka.pause(),
            (Which::Postgres, How::Killed) => self.postgres.kill(),
            (Which::Postgres, How::Frozen) => self.postgres.pause(),
            (Which::OpenSearch, How::Killed) => self.opensearch.kill(),
            (Which::OpenSearch, How::Frozen) => self.opensearch.pause(),
        }
    }

    fn go_on(&self, which: Which, how: How) {
        match (which, how) {
            (Which::Kafka, How::Killed) => self.kafka.start_again(),
            (Which::Kafka, How::Frozen) => self.kafka.resume(),
            (Which::Postgres, How::Killed) => self.postgres.start_again(),
            (Which::Postgres, How::Frozen) => self.postgres.resume(),
            (Which::OpenSearch, How::Killed) => self.opensearch.start_again(),
            (Which::OpenSearch, How::Frozen) => self.opensearch.resume(),
        }
    }

    /// Waits until the server answers what a pillow would ask; says when that was.
    async fn answers(&self, which: Which) -> Instant {
        match which {
            Which::Kafka => {
                let address = self.kafka.address.clone();
                let asked = tokio::task::spawn_blocking(move || {
                    let mut config = ClientConfig::new();
                    config.set("bootstrap.servers", address).set("reconnect.backoff.ms", "20");
                    config.set("reconnect.backoff.max.ms", "50").set("socket.timeout.ms", "10000");
                    let began = Instant::now();
                    loop {
                        // A new one each time: librdkafka remembers that a partition had no leader.
                        let client: BaseConsumer = config.create().unwrap();
                        let Err(error) = client.fetch_watermarks(TOPICS[0], 0, 8 * PROBE) else {
                            return Instant::now();
                        };
                        assert!(began.elapsed() < START_LIMIT, "the broker does not answer: {error}");
                    }
                });
                asked.await.unwrap()
            }
            Which::Postgres => {
                until_within(START_LIMIT, "PostgreSQL answers", async || {
                    let asked = async {
                        let mut connection = PgConnection::connect(&self.postgres.address).await.ok()?;
                        sqlx::query("select 1").execute(&mut connection).await.ok()
                    };
                    timeout(PROBE, asked).await.ok().flatten().map(|_| Instant::now())
                })
                .await
            }
            Which::OpenSearch => {
                let client = reqwest::Client::builder().no_proxy().timeout(PROBE).build().unwrap();
                let url = format!("{}/_cluster/health?wait_for_status=yellow&timeout=100ms", self.opensearch.address);
                until_within(START_LIMIT, "the search server answers", async || {
                    let answer = client.get(&url).send().await.ok()?;
                    answer.status().is_success().then(Instant::now)
                })
                .await
            }
        }
    }
}

impl Scene {
    fn host(&self, host: Host) -> &Watched {
        match host {
            Host::Exact => &self.exact,
            Host::Beside => &self.beside,
        }
    }

    async fn settled(&self, Of(host, pillow): Of) -> u64 {
        self.host(host).samples().await.settled(pillow)
    }

    /// Waits until more of a pillow is settled than `before`.
    async fn settles(&self, of: Of, before: u64) -> Instant {
        until(&format!("{of:?} settles"), async || (self.settled(of).await > before).then(Instant::now)).await
    }

    /// Waits until a pillow says that it waits, and for what.
    async fn says(&self, Of(host, pillow): Of, what: &str) -> (Instant, String) {
        let begin = format!("{pillow} waits: {what}");
        until(&format!("{pillow} says that it waits: {what}"), async || {
            let reasons = self.host(host).reasons().await;
            reasons.into_iter().find(|reason| reason.starts_with(&begin)).map(|reason| (Instant::now(), reason))
        })
        .await
    }

    /// One server is away for a while, and comes back.
    async fn without(&self, which: Which, how: How, away: Duration) {
        let what = format!("{which:?} {how:?}");
        let servers = Arc::clone(&self.servers);
        tokio::task::spawn_blocking(move || servers.stop(which, how)).await.unwrap();
        let gone = Instant::now();

        // Who needs it says so, and nobody else.
        let mut slowest = Duration::ZERO;
        for (at, reason) in join_all(which.held().iter().map(|(of, words)| self.says(*of, words))).await {
            slowest = slowest.max(at - gone);
            println!("{what}: after {:.1} s: {reason}", (at - gone).as_secs_f64());
        }
        for Of(host, pillow) in which.free() {
            let reasons = self.host(*host).reasons().await;
            assert!(!reasons.iter().any(|reason| reason.starts_with(&format!("{pillow} "))), "{what}: {reasons:?}");
        }
        // Until it comes back, the others go on again and again, and the queues of those that wait are bounded.
        let mut turns = 0;
        while gone.elapsed() < away || turns == 0 {
            for of in which.free() {
                let before = self.settled(*of).await;
                self.settles(*of, before).await;
            }
            for (Of(host, pillow), _) in which.held() {
                self.is_held(&self.host(*host).samples().await, pillow, &what);
            }
            turns += 1;
        }

        let held: Vec<Of> = which.held().iter().map(|(of, _)| *of).collect();
        let mut before = Vec::new();
        for of in &held {
            before.push(self.settled(*of).await);
        }
        let was_away = gone.elapsed();
        let servers = Arc::clone(&self.servers);
        let going = tokio::task::spawn_blocking(move || servers.go_on(which, how));
        let back = self.servers.answers(which).await;
        let mut worst = Duration::ZERO;
        let mut said = Vec::new();
        let settling = held.iter().zip(&before).map(|(of, before)| async {
            if timeout_at(back + PROMISE, self.settles(*of, *before)).await.is_err() {
                println!("{what}: what is the matter: {:?}", self.host(of.0).reasons().await);
            }
            (*of, self.settles(*of, *before).await)
        });
        for (Of(_, pillow), at) in join_all(settling).await {
            let took = at.saturating_duration_since(back);
            worst = worst.max(took);
            said.push(format!("{pillow} {:.2} s", took.as_secs_f64()));
        }
        going.await.unwrap();
        println!(
            "{what}: away for {:.1} s, held after {:.1} s; settled again after {}{}",
            was_away.as_secs_f64(),
            slowest.as_secs_f64(),
            said.join(", "),
            if worst > PROMISE { " (MORE THAN PROMISED)" } else { "" }
        );
        assert!(worst < DEMANDED, "{what}: settled again only after {worst:?}");
        until("all is ready again", async || {
            let reasons = [self.exact.reasons().await, self.beside.reasons().await].concat();
            reasons.is_empty().then_some(())
        })
        .await;
        let ready = back.elapsed();
        self.are_through().await;
        println!(
            "{what}: ready {:.2} s after it was back, and through with what had gathered after {:.2} s",
            ready.as_secs_f64(),
            back.elapsed().as_secs_f64()
        );
    }

    /// Waits until nothing is left to be done but what was published last.
    async fn are_through(&self) {
        until_within(START_LIMIT, "nothing is left from the outage", async || {
            let (exact, beside) = (self.exact.samples().await, self.beside.samples().await);
            let lags = [
                exact.sum("pillowtop_lag_changes", "forms"),
                exact.sum("pillowtop_lag_changes", "cases"),
                exact.sum("pillowtop_lag_changes", "near"),
                beside.sum("pillowtop_lag_changes", "near"),
                beside.sum("pillowtop_lag_changes", "away"),
            ];
            lags.iter().all(|lag| *lag <= FEW).then_some(())
        })
        .await;
    }

    fn is_held(&self, samples: &Samples, pillow: &str, what: &str) {
        let queued = samples.sum("pillowtop_queued_batches", pillow);
        assert!(queued <= IN_FLIGHT as u64, "{what}: {pillow} has {queued} batches under way");
        assert_eq!(samples.sum("pillowtop_failures_parked_total", pillow), 0, "{what}: {pillow} parked something");
    }
}

/// A host whose checkpoints are in a file: `away` writes rows to PostgreSQL, `near` needs no server at all. Both read the
/// change log of the other host's application.
fn beside(application: &Site, database: &str) -> Site {
    let site = Site::embedded();
    let log = application.path("application.db");
    let settings = format!(
        r#"
[database]
url = "sqlite:pillowtop.db"

[databases.application]
url = "sqlite:{}"

[databases.away]
url = "{database}"

[sinks.tables]
kind = "sql"
database = "away"

[admin]
listen = "127.0.0.1:0"
"#,
        log.display()
    );
    let settings = settings + &embedded::change_log("application") + embedded::SEARCH + &limits();
    site.write("pillowtop.toml", &settings);
    let visits = pillows::visits().replace("\"visits\" }", "\"visits_away\" }");
    site.pillow("away", &(pillows::reads("form-sql") + &pillows::batches(COUNT, IN_FLIGHT) + &visits));
    site.pillow("near", &near("search"));
    site
}

/// A pillow that keeps an index in a folder, from the change log.
fn near(sink: &str) -> String {
    let search = pillows::search("form", "near").replace("\"search\"\nconfig", &format!("\"{sink}\"\nconfig"));
    pillows::reads("form-sql") + &pillows::batches(COUNT, IN_FLIGHT) + &search
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn servers_that_go_away_under_load_hold_who_needs_them_and_nothing_is_lost_or_done_twice() {
    let away = Duration::from_secs(crate::number("PILLOWTOP_OUTAGE_SECONDS", 5));
    let servers = Arc::new(Servers::start().await);
    servers.create_topics().await;
    let world = World::on(&servers, "", &[]).await;
    let settings = std::fs::read_to_string(world.site.path("pillowtop.toml")).unwrap();
    let more = "\n[sinks.near]\nkind = \"search\"\nfolder = \"near\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n";
    world.site.write("pillowtop.toml", &(settings.clone() + more));
    world.site.pillow("near", &near("near"));
    world.read_in_batches(COUNT);
    let other = beside(&world.site, &crate::postgres::create_in(&servers.postgres.address).await);
    let exact = Watched::start(&world.site).await;
    let scene = Scene { servers: Arc::clone(&servers), exact, beside: Watched::start(&other).await };

    let mut load = Load::lasting(6 * (away + START_LIMIT));
    let stop = CancellationToken::new();
    let trouble = async {
        let all = [Which::Kafka, Which::Postgres, Which::OpenSearch].map(|which| which.held());
        for (of, _) in all.concat() {
            scene.settles(of, 0).await;
        }
        scene.are_through().await;
        for which in [Which::Kafka, Which::Postgres, Which::OpenSearch] {
            for how in [How::Killed, How::Frozen] {
                scene.without(which, how, away).await;
            }
        }
        stop.cancel();
    };
    tokio::join!(trouble, load.run(&other, &servers.kafka.address, &stop));
    let Scene { exact, beside, .. } = scene;
    exact.stop().await;
    beside.stop().await;

    world.site.catch_up_within(ALL_LIMIT).await;
    let near = world.site.run(&["--json", "search", "near", "*", "--limit", "0", "--sink", "near"]).await.json();
    world.site.write("pillowtop.toml", &settings);
    std::fs::remove_file(world.site.path("pipelines/near.toml")).unwrap();

    // What it leaves is what an uninterrupted run leaves, and was applied once.
    world.note(load.changes()).await;
    rows_and_checkpoints_agree(&world, "at the end").await;
    let found = everything(&world).await;
    let forms = load.forms();
    let mut expected = Expected::default();
    expected.change(&forms);
    assert_eq!(found["visits"].len(), expected.visits().len());
    assert_eq!(found["parked"], [] as [Value; 0]);
    assert_eq!(near["total"], forms.len(), "{near}");
    other.catch_up_within(ALL_LIMIT).await;
    assert_eq!(other.search("near", "*").await["total"], forms.len());
    assert_eq!(other.parked().await, [] as [Value; 0]);

    let uninterrupted = World::on(&servers, &load.lines(), load.changes()).await;
    uninterrupted.read_in_batches(MANY);
    uninterrupted.site.catch_up_within(ALL_LIMIT).await;
    for (what, expected) in everything(&uninterrupted).await {
        assert_eq!(found[what], expected, "{what}");
    }
    let stamped: Vec<&str> = forms.iter().map(id).collect();
    println!("{} changes, {} forms", load.changes().len(), stamped.len());
}

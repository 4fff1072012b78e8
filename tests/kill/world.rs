//! Where the program runs that is killed: in one file without a server, or between Apache Kafka, PostgreSQL and OpenSearch.
//!
//! Both have the tables of the run in one database, and `change_log` beside them: what was published, with its position.

use pillowtop_demo::stub;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};

use crate::broker::Broker;
use crate::searching::Server;
use crate::service::Service;
use crate::support::site::{Site, count, limits};
use crate::support::{embedded, pillows, wait::until};

/// The topics of the run and how many partitions each has on Kafka.
pub(crate) const TOPICS: [&str; 2] = ["form-sql", "case-sql"];
pub(crate) const PARTITIONS: usize = 4;

/// So many batches may be under way in each pillow.
pub(crate) const IN_FLIGHT: usize = 2;

/// One of each, which can be stopped.
pub(crate) struct Servers {
    pub(crate) kafka: Broker,
    pub(crate) postgres: Service,
    pub(crate) opensearch: Service,
}

/// A folder that the program runs in, and where its rows are.
pub(crate) struct World {
    pub(crate) site: Site,
    rows: Rows,
}

enum Rows {
    Sqlite,
    Postgres { url: String, search: Server },
}

impl Servers {
    /// All at once.
    pub(crate) async fn start() -> Self {
        let (kafka, postgres, opensearch) = tokio::join!(
            tokio::task::spawn_blocking(Broker::own),
            tokio::task::spawn_blocking(|| Service::own("postgres")),
            tokio::task::spawn_blocking(|| Service::own("opensearch")),
        );
        Self { kafka: kafka.unwrap(), postgres: postgres.unwrap(), opensearch: opensearch.unwrap() }
    }

    pub(crate) async fn create_topics(&self) {
        for topic in TOPICS {
            self.kafka.create_topic(topic, i32::try_from(PARTITIONS).unwrap()).await;
        }
    }

    /// Publishes the changes of these lines; a document is always in the same partition. Gives topic, partition, position
    /// and document of each.
    pub(crate) fn publish(&self, lines: &str) -> Vec<Value> {
        let mut published = Vec::new();
        for topic in TOPICS {
            let mut partitions = vec![Vec::new(); PARTITIONS];
            for line in lines.lines() {
                let line: Value = serde_json::from_str(line).unwrap();
                // What is no document is a change already.
                let (found, change) = stub::of(&line).unwrap_or(("form-sql", line));
                if found == topic {
                    let id = change["document_id"].as_str().unwrap();
                    let number = partition_of(id);
                    published.push(json!([topic, number, partitions[number].len(), id]));
                    partitions[number].push(change.to_string());
                }
            }
            for (number, changes) in (0..).zip(&partitions) {
                self.kafka.publish(topic, number, changes.iter().map(String::as_str));
            }
        }
        published
    }

    fn settings(&self, database: &str) -> String {
        let (kafka, opensearch) = (&self.kafka.address, &self.opensearch.address);
        let settings = format!(
            r#"
[database]
url = "{database}"

[databases.application]
url = "sqlite:application.db"

[feeds.kafka]
kind = "kafka"
brokers = "{kafka}"

[sinks.search]
kind = "elasticsearch"
urls = ["{opensearch}"]
timeout = "2 s"
index-settings = {{ number_of_replicas = 0 }}
"#
        );
        settings + &embedded::change_log("application") + embedded::TABLES + &limits()
    }
}

/// The partition that a document's changes are in.
pub(crate) fn partition_of(id: &str) -> usize {
    id.bytes().map(usize::from).sum::<usize>() % PARTITIONS
}

impl World {
    /// Small batches: many settles, each of which can be hit. Those of the second pillow come between the first's.
    pub(crate) async fn embedded(published: &str) -> Self {
        let world = Self { site: Site::embedded(), rows: Rows::Sqlite };
        world.read_in_batches(3);
        world.site.publish("").await;
        world.site.catch_up().await;
        crate::ledger::install(&world).await;
        world.site.publish(published).await;
        world
    }

    /// The same on servers, with a database and indices of its own: those of the world before it are dropped.
    pub(crate) async fn on(servers: &Servers, published: &str, changes: &[Value]) -> Self {
        let search = Server { url: servers.opensearch.address.clone().leak() };
        for index in ["forms-000001", "cases-000001", "hostile-000001"] {
            search.ask("DELETE", &format!("/{index}"), None).await;
        }
        let url = crate::postgres::create_in(&servers.postgres.address).await;
        let site = Site::embedded();
        site.write("pillowtop.toml", &servers.settings(&url));
        let world = Self { site, rows: Rows::Postgres { url, search } };
        // The tables are made by a pillow that reads nothing.
        let from_log = [("forms", pillows::forms() + &pillows::hostile("trap")), ("cases", pillows::cases())];
        from_log.iter().for_each(|(name, pillow)| world.site.pillow(&format!("{name}-before"), pillow));
        world.site.publish("").await;
        world.site.catch_up().await;
        from_log.iter().for_each(|(name, _)| {
            std::fs::remove_file(world.site.path(&format!("pipelines/{name}-before.toml"))).unwrap();
        });
        world.read_in_batches(3);
        world.execute("create table change_log (topic text, \"partition\" int, id bigint, document_id text)").await;
        world.note(changes).await;
        crate::ledger::install(&world).await;
        world.site.publish(published).await;
        world
    }

    /// Has the pillows read so many changes at once.
    pub(crate) fn read_in_batches(&self, count: usize) {
        let from = match self.rows {
            Rows::Sqlite => "from = \"log\"",
            Rows::Postgres { .. } => "from = \"kafka\"",
        };
        for (name, pillow) in [("forms", pillows::forms() + &pillows::hostile("trap")), ("cases", pillows::cases())] {
            let pillow = pillow.replace("from = \"log\"", from) + &pillows::batches(count, IN_FLIGHT);
            self.site.pillow(name, &pillow);
        }
    }

    /// Writes down what was published on Kafka.
    pub(crate) async fn note(&self, changes: &[Value]) {
        let row = |row: &Value| format!("({})", row.to_string().trim_matches(['[', ']']).replace('"', "'"));
        let values: Vec<String> = changes.iter().map(row).collect();
        if !values.is_empty() {
            self.execute(&format!("insert into change_log values {}", values.join(", "))).await;
        }
    }

    /// A statement that makes a trigger.
    pub(crate) fn trigger(&self, table: &str, operation: &str, statement: &str) -> String {
        let name = format!("{table}_{operation}");
        match &self.rows {
            Rows::Sqlite => {
                format!("create trigger {name} after {operation} on {table} begin {statement}; end;")
            }
            Rows::Postgres { .. } => format!(
                "create function {name}() returns trigger language plpgsql as $$ begin {statement}; return null; end $$;
                 create trigger {name} after {operation} on {table} for each row execute function {name}();"
            ),
        }
    }

    pub(crate) async fn execute(&self, statements: &str) {
        match &self.rows {
            Rows::Sqlite => self.site.execute(statements).await,
            Rows::Postgres { url, .. } => {
                let mut connection = PgConnection::connect(url).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// The rows of a query whose only column is JSON, made with `json_array`.
    pub(crate) async fn rows(&self, sql: &str) -> Vec<Value> {
        let Rows::Postgres { url, .. } = &self.rows else { return self.site.rows(sql).await };
        let sql = sql.replace("json_array(", "jsonb_build_array(");
        let mut connection = PgConnection::connect(url).await.unwrap();
        let sql = format!("select found.value::text from ({sql}) as found (value)");
        let texts: Vec<String> = sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
        texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
    }

    /// Waits until there are so many more rows of the table that every form has one in.
    pub(crate) async fn until_more_rows(&self, more: u64, mut is_alive: impl FnMut() -> bool) {
        let target = self.count().await + more;
        until("rows are written", async || {
            assert!(is_alive(), "it ended by itself");
            (self.count().await >= target).then_some(())
        })
        .await;
    }

    async fn count(&self) -> u64 {
        match &self.rows {
            Rows::Sqlite => count(&mut self.site.database().await, "hostile_rows").await.unwrap(),
            Rows::Postgres { .. } => {
                self.rows("select json_array(count(*)) from hostile_rows").await[0][0].as_u64().unwrap()
            }
        }
    }

    /// How many documents an index has.
    pub(crate) async fn indexed(&self, index: &str) -> u64 {
        match &self.rows {
            Rows::Sqlite => {
                let answer = self.site.run(&["--json", "search", index, "*", "--limit", "0"]).await.json();
                answer["total"].as_u64().unwrap()
            }
            Rows::Postgres { search, .. } => search.count(index).await as u64,
        }
    }

    /// A search server shows what was written after its next refresh.
    pub(crate) async fn show_in_searches(&self) {
        if let Rows::Postgres { search, .. } = &self.rows {
            search.done("POST", "/_refresh", None).await;
        }
    }
}

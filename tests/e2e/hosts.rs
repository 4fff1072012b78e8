//! Several hosts run one pillow over one topic, and come, go, die and freeze: every change is in the rows once, and no
//! host settles a partition that another one owns. Checkpoints and rows are in PostgreSQL.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::database::{Database, settings};
use crate::support::documents::{Expected, id, lines, visit_forms};
use crate::support::pillows;
use crate::support::site::{Running, Site};
use crate::support::wait::until;

const TOPIC: &str = "forms";
const PARTITIONS: u8 = 12;

/// What the hosts share, and what was published so far.
struct Cluster {
    broker: Broker,
    database: Database,
    site: Site,
    forms: Vec<Value>,
    published: usize,
}

impl Cluster {
    /// A cluster whose first host runs already.
    async fn new(assignment: &str, first: &[&str]) -> (Self, Running) {
        let broker = Broker::own();
        broker.create_topic(TOPIC, i32::from(PARTITIONS)).await;
        let database = Database { url: crate::postgres::database().await };
        let site = Site::embedded();
        let feed = format!(
            "\n[feeds.kafka]\nkind = \"kafka\"\nbrokers = \"{}\"\n\n[feeds.kafka.options]\n\
             \"session.timeout.ms\" = 6000\n\"heartbeat.interval.ms\" = 500\n",
            broker.address
        );
        site.write("pillowtop.toml", &(settings(&database.url) + &feed));
        let topics = format!("topics = [\"{TOPIC}\"]");
        let reads = pillows::reads(TOPIC).replace("from = \"log\"", "from = \"kafka\"");
        let reads = reads.replace(&topics, &format!("{topics}\nassignment = \"{assignment}\""));
        site.pillow("forms", &(reads + &pillows::batches(7, 4) + &pillows::visits()));
        // A visit at no time would be parked.
        let has_time = |form: &Value| form["form"]["meta"]["timeEnd"].as_str().is_some_and(|time| !time.is_empty());
        let forms: Vec<Value> = visit_forms(2600, 33).into_iter().filter(has_time).take(2000).collect();
        assert_eq!(forms.len(), 2000);
        site.publish(&lines(&forms)).await;
        let cluster = Self { broker, database, site, forms, published: 0 };
        let host = cluster.start(first);
        cluster.record().await;
        (cluster, host)
    }

    fn start(&self, flags: &[&str]) -> Running {
        self.site.start(&[&["run"], flags].concat())
    }

    /// Has the database write down each row that is inserted, and each move of a checkpoint with its owner's epoch.
    async fn record(&self) {
        until("the table is there", async || self.database.count("visits").await).await;
        // A move is numbered while the checkpoint's row is locked, so within a partition in the order of the commits.
        self.database
            .execute(
                "create table applied (form_id text);
                 create function note_row() returns trigger language plpgsql as
                     $$ begin insert into applied values (new.form_id); return null; end $$;
                 create trigger watch_rows after insert or update on visits for each row execute function note_row();
                 create table moved (at bigserial primary key, topic_partition bigint, epoch bigint, position bigint);
                 create function note_move() returns trigger language plpgsql as $$ begin
                     insert into moved (topic_partition, epoch, position)
                     values (new.partition_number, new.epoch, new.position_first);
                     return null;
                 end $$;
                 create trigger watch_moves after update of position_first on pillowtop_checkpoints
                 for each row when (new.position_first is not null) execute function note_move()",
            )
            .await;
    }

    /// Publishes the next stubs; a document is always in the same partition.
    fn publish(&mut self, number: usize) {
        let mut partitions: BTreeMap<i32, Vec<String>> = BTreeMap::new();
        for form in &self.forms[self.published..self.published + number] {
            let stub = json!({
                "document_id": form["_id"], "data_source_type": "sql", "data_source_name": "form-sql",
                "document_type": form["doc_type"], "document_subtype": form["xmlns"], "domain": form["domain"],
                "is_deletion": false,
            });
            let sum = id(form).bytes().fold(0_u8, u8::wrapping_add);
            partitions.entry(i32::from(sum % PARTITIONS)).or_default().push(stub.to_string());
        }
        for (partition, stubs) in partitions {
            self.broker.publish(TOPIC, partition, stubs.iter().map(String::as_str));
        }
        self.published += number;
    }

    /// Waits until all that was published is in the rows.
    async fn all_written(&self, when: &str) {
        until(&format!("all is written {when}"), async || {
            (self.database.count("visits").await == Some(self.published as u64)).then_some(())
        })
        .await;
    }

    /// Waits until each of the living hosts has so many partitions, most first.
    async fn spread(&self, expected: &[usize], when: &str) {
        until(&format!("hosts have {expected:?} partitions {when}"), async || {
            let beats = "select json_build_array(host, status::json)::text from pillowtop_heartbeats
                         where at > now() - interval '2 seconds'";
            let beats = self.database.rows(beats).await;
            let mut sizes: Vec<usize> =
                beats.iter().map(|beat| beat[1]["lanes"].as_object().map_or(0, serde_json::Map::len)).collect();
            sizes.sort_unstable_by(|one, other| other.cmp(one));
            (sizes == expected).then_some(())
        })
        .await;
    }

    /// Ends the hosts, and checks what they left.
    async fn check(self, hosts: Vec<Running>) {
        for host in hosts {
            host.signal("TERM");
            let ran = host.ended().await;
            assert!(ran.status.success(), "{}", ran.err);
        }
        let mut expected = Expected::default();
        expected.change(&self.forms[..self.published]);
        assert_eq!(self.database.visits().await, expected.visits());
        assert_eq!(self.database.last_visits().await, expected.last_visits());
        let twice =
            "select json_build_array(form_id, count(*))::text from applied group by form_id having count(*) > 1";
        assert_eq!(self.database.rows(twice).await, [] as [Value; 0], "written twice");
        assert_eq!(self.database.count("applied").await, Some(self.published as u64));
        // In the order of the commits, no partition goes back, neither to an earlier place nor to an earlier owner.
        let moves = "select json_build_array(topic_partition, epoch, position)::text from moved order by at";
        let mut last: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        let mut owners = 0;
        for row in self.database.rows(moves).await {
            let [partition, epoch, position] = [0, 1, 2].map(|at| row[at].as_u64().unwrap());
            let before = last.insert(partition, (epoch, position)).unwrap_or_default();
            assert!(before.0 <= epoch && before.1 <= position, "{partition}: {before:?}, then {:?}", (epoch, position));
            owners += u64::from(before.0 != epoch);
        }
        assert!(owners > u64::from(PARTITIONS), "no partition ever changed hands");
        assert!(self.site.parked().await.is_empty());
    }
}

#[tokio::test]
async fn hosts_of_a_group_join_leave_die_and_freeze_and_every_change_is_written_once() {
    let (mut cluster, first) = Cluster::new("group", &[]).await;
    cluster.publish(200);
    cluster.all_written("by the first host").await;

    cluster.publish(200);
    let second = cluster.start(&[]);
    let third = cluster.start(&[]);
    cluster.publish(200);
    cluster.spread(&[4, 4, 4], "when three have joined").await;
    cluster.publish(100);
    cluster.all_written("by three hosts").await;

    cluster.publish(200);
    third.signal("TERM");
    assert!(third.ended().await.status.success());
    cluster.publish(100);
    cluster.all_written("after one has left").await;

    let mut killed = cluster.start(&[]);
    cluster.spread(&[4, 4, 4], "when another one has joined").await;
    cluster.publish(200);
    killed.kill();
    cluster.publish(100);
    cluster.all_written("after one was killed").await;

    let third = cluster.start(&[]);
    cluster.spread(&[4, 4, 4], "when a third one is back").await;
    cluster.publish(200);
    first.signal("STOP");
    cluster.publish(100);
    cluster.all_written("by the others while one is frozen beyond its session").await;
    cluster.publish(100);
    first.signal("CONT");
    cluster.publish(100);
    cluster.all_written("after it went on").await;
    cluster.spread(&[4, 4, 4], "when it is a member again").await;
    cluster.publish(200);
    cluster.all_written("by all three again").await;
    cluster.check(vec![first, second, third]).await;
}

#[tokio::test]
async fn hosts_with_numbers_share_the_topic_and_nothing_is_served_twice_when_their_number_changes() {
    let process = |process: &'static str, processes: &'static str| ["--process", process, "--processes", processes];
    let (mut cluster, old_first) = Cluster::new("static", &process("0", "2")).await;
    let old_second = cluster.start(&process("1", "2"));
    cluster.publish(300);
    cluster.spread(&[6, 6], "of two").await;
    cluster.all_written("by two hosts").await;

    // One after the other is replaced by a host that counts three; meanwhile both kinds run.
    let first = cluster.start(&process("0", "3"));
    cluster.publish(300);
    until("the new one has begun", async || {
        // The old ones may have done all by then, so that nothing moves any more.
        let owners =
            cluster.database.rows("select json_build_array(max(epoch))::text from pillowtop_checkpoints").await;
        (owners[0][0].as_u64() >= Some(2)).then_some(())
    })
    .await;
    old_first.signal("TERM");
    assert!(old_first.ended().await.status.success());
    let second = cluster.start(&process("1", "3"));
    cluster.publish(300);
    old_second.signal("TERM");
    assert!(old_second.ended().await.status.success());
    let third = cluster.start(&process("2", "3"));
    cluster.publish(300);
    cluster.spread(&[4, 4, 4], "of three").await;
    cluster.publish(300);
    cluster.all_written("by three hosts").await;
    cluster.check(vec![first, second, third]).await;
}

//! A steady load: every quarter of a second some documents are written and their changes published, as applications do,
//! also while servers are away.

use std::time::Duration;

use pillowtop_demo::stub;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer as _, ThreadedProducer};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::broker::LIMIT;
use crate::support::documents::{cases, lines, visit_forms};
use crate::support::site::Site;
use crate::world::{PARTITIONS, TOPICS, partition_of};

/// How often something is published, and how many forms and cases then.
const EVERY: Duration = Duration::from_millis(250);
const AT_ONCE: usize = 4;

/// What is to be published, and what was.
pub(crate) struct Load {
    documents: Vec<(Value, Value)>,
    published: usize,
    next: [[u64; PARTITIONS]; TOPICS.len()],
    changes: Vec<Value>,
}

impl Load {
    /// Enough for so long.
    pub(crate) fn lasting(time: Duration) -> Self {
        let count = usize::try_from(time.as_millis() / EVERY.as_millis()).unwrap() * AT_ONCE;
        // A visit at no time would be parked; nothing may be parked here.
        let has_time = |form: &Value| form["form"]["meta"]["timeEnd"].as_str().is_some_and(|time| !time.is_empty());
        let forms: Vec<Value> = visit_forms(count * 5 / 4, 5).into_iter().filter(has_time).take(count).collect();
        assert_eq!(forms.len(), count);
        let documents = forms.into_iter().zip(cases(count, 6)).collect();
        Self { documents, published: 0, next: Default::default(), changes: Vec::new() }
    }

    /// Publishes until `stop`; a broker that is away gets everything when it is back, in order.
    pub(crate) async fn run(&mut self, site: &Site, brokers: &str, stop: &CancellationToken) {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", brokers).set("enable.idempotence", "true");
        config.set("reconnect.backoff.max.ms", "100").set("linger.ms", "0");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().unwrap();
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !stop.is_cancelled() {
            ticks.tick().await;
            let more = self.documents.get(self.published..self.published + AT_ONCE).expect("the load lasts");
            let more: Vec<Value> = more.iter().flat_map(|(form, case)| [form.clone(), case.clone()]).collect();
            site.publish(&lines(&more)).await;
            self.published += AT_ONCE;
            for document in &more {
                let (topic, change) = stub::of(document).unwrap();
                let id = change["document_id"].as_str().unwrap();
                let partition = partition_of(id);
                let text = change.to_string();
                let record: BaseRecord<'_, [u8], [u8]> =
                    BaseRecord::to(topic).partition(i32::try_from(partition).unwrap()).payload(text.as_bytes());
                producer.send(record).map_err(|(error, _)| error).unwrap();
                let next = &mut self.next[TOPICS.iter().position(|known| *known == topic).unwrap()][partition];
                self.changes.push(json!([topic, partition, *next, id]));
                *next += 1;
            }
        }
        tokio::task::block_in_place(|| producer.flush(LIMIT)).unwrap();
    }

    /// The forms that were published.
    pub(crate) fn forms(&self) -> Vec<Value> {
        self.documents[..self.published].iter().map(|(form, _)| form.clone()).collect()
    }

    /// All documents that were published, in order, one a line.
    pub(crate) fn lines(&self) -> String {
        let both = self.documents[..self.published].iter().flat_map(|(form, case)| [form.clone(), case.clone()]);
        lines(&both.collect::<Vec<_>>())
    }

    /// Topic, partition, position and document of each change on Kafka.
    pub(crate) fn changes(&self) -> &[Value] {
        &self.changes
    }
}

//! Brokers come and go, and the feed goes on.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pillowtop::feed::{Error, From, Source as _, Start};
use pillowtop::model::{Partition, Position};

use crate::broker::Broker;
use crate::reading::{ALL, Reading};
use crate::{from_start, publish, source};

/// What this process logs, from `info` on.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn capture() -> Self {
        let log = Self::default();
        let writer = log.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        log
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }

    fn count(&self, level: &str, what: &str) -> usize {
        self.text().lines().filter(|line| line.contains(level) && line.contains(what)).count()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_feed_waits_for_a_lost_broker_and_goes_on() {
    let log = Log::capture();
    let broker = Broker::own();
    broker.create_topic("lost", 1).await;
    publish(&broker, "lost", 0, "a b");
    let mut reading = from_start(&broker, &["lost"]).await;
    reading.read_to_end().await.unwrap();

    broker.kill();
    let waited = tokio::time::timeout(Duration::from_secs(2), reading.feed.next(ALL)).await;
    assert!(waited.is_err(), "a lost broker is no event and no error, but {waited:?}");
    let at = [(Partition::new("lost", 0), Position::number(2))];
    assert!(matches!(reading.feed.ends(&at).await, Err(Error::Outage(_))));
    broker.start_again();

    publish(&broker, "lost", 0, "c d");
    reading.until(&Partition::new("lost", 0), 4).await;
    assert_eq!(reading.seen("lost", 0), "0=a 1=b 2=c 3=d");
    assert_eq!((log.count("WARN", &broker.address), log.count("INFO", &broker.address)), (1, 1), "{}", log.text());
}

#[tokio::test]
async fn a_feed_goes_on_when_another_broker_becomes_the_leader() {
    let [first, second, third] = Broker::cluster();
    first.create_topic_on("led", &[2, 3]).await;
    first.in_sync("led", &[2, 3]).await;
    publish(&first, "led", 0, "a b");
    let mut all = source(&first);
    all.brokers = [&first, &second, &third].map(|broker| broker.address.as_str()).join(",");
    let mut feed = all.open(&["led".into()], Start::Earliest).await.unwrap();
    feed.start(vec![From { partition: Partition::new("led", 0), checkpoint: None }]).await.unwrap();
    let mut reading = Reading { feed, seen: BTreeMap::new(), progress: BTreeMap::new() };
    reading.read_to_end().await.unwrap();
    second.kill();
    publish(&first, "led", 0, "c");
    reading.until(&Partition::new("led", 0), 3).await;
    // And back: the former leader takes over from the one that took over from it.
    second.start_again();
    first.in_sync("led", &[2, 3]).await;
    third.kill();
    publish(&first, "led", 0, "d e");
    reading.until(&Partition::new("led", 0), 5).await;
    assert_eq!(reading.seen("led", 0), "0=a 1=b 2=c 3=d 4=e");
}

//! The same metrics for a DogStatsD agent: a line each over UDP, with tags.
//!
//! They are taken from the text format, so nothing is counted twice or differently. A counter is sent as what was
//! added since the last time, a gauge as it stands; of a histogram the sum, the count, and the buckets (`.bucket`, with
//! the tag `upper_bound`) are counters.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Kind, Metrics};

/// What fits into one packet of an ordinary network, headers taken off.
const PACKET: usize = 1432;

/// Where the metrics go, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statsd {
    /// The agent, `host:port`.
    pub agent: String,
    /// The time between two sendings; the agent's own default is 10 s.
    pub every: Duration,
}

/// Sends the metrics again and again until `stop`, and once more then. Nobody answers in UDP: an agent that is not
/// there is noticed at best, and said once.
pub async fn push(metrics: Arc<Metrics>, statsd: Statsd, stop: CancellationToken) {
    let mut reader = Reader::new(&metrics);
    let mut ticks = interval(statsd.every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut fails = false;
    loop {
        let last = tokio::select! {
            biased;
            () = stop.cancelled() => true,
            _ = ticks.tick() => false,
        };
        match send(&statsd.agent, &reader.lines(&metrics)).await {
            Ok(()) => fails = false,
            Err(error) if !fails => {
                tracing::warn!(agent = statsd.agent, %error, "metrics are not sent");
                fails = true;
            }
            Err(_) => {}
        }
        if last {
            return;
        }
    }
}

/// Looks the agent's name up anew each time: it may have moved.
async fn send(agent: &str, lines: &[String]) -> std::io::Result<()> {
    let Some(address) = tokio::net::lookup_host(agent).await?.next() else {
        return Err(std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address"));
    };
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    for packet in packets(lines) {
        socket.send(packet.as_bytes()).await?;
    }
    Ok(())
}

/// Lines together, as many as fit.
fn packets(lines: &[String]) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in lines {
        match packets.last_mut() {
            Some(packet) if packet.len() + 1 + line.len() <= PACKET => {
                packet.push('\n');
                packet.push_str(line);
            }
            _ => packets.push(line.clone()),
        }
    }
    packets
}

/// Makes lines of the metrics, and remembers the counters for the next time.
pub(super) struct Reader {
    /// The dotted name and the kind, by the name in the text.
    names: HashMap<String, (String, Kind)>,
    /// The counters as they were sent, by their place in the text.
    sent: HashMap<String, f64>,
}

impl Reader {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let known = |declared: &super::Declared| (declared.name.clone(), (declared.dotted.clone(), declared.kind));
        Self { names: metrics.declared().iter().map(known).collect(), sent: HashMap::new() }
    }

    /// What is to be sent now.
    pub(super) fn lines(&mut self, metrics: &Metrics) -> Vec<String> {
        let text = metrics.encode();
        let mut lines = Vec::new();
        // The family that the samples below its TYPE line belong to.
        let mut family: Option<(String, String, Kind)> = None;
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let name = rest.split(' ').next().unwrap_or_default();
                family = self.names.get(name).map(|(dotted, kind)| (name.to_owned(), dotted.clone(), *kind));
                continue;
            }
            if line.starts_with('#') {
                continue;
            }
            let Some((name, dotted, kind)) = &family else { continue };
            lines.extend(self.line(line, name, dotted, *kind));
        }
        lines
    }

    /// The line of one sample; none where there is nothing new.
    fn line(&mut self, sample: &str, family: &str, dotted: &str, kind: Kind) -> Option<String> {
        let (series, value) = sample.rsplit_once(' ')?;
        let value: f64 = value.parse().ok()?;
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.strip_suffix('}')?),
            None => (series, ""),
        };
        let ending = match (kind, name.strip_prefix(family)?) {
            (Kind::Counter, "_total") | (Kind::Gauge, "") => "",
            (Kind::Histogram, "_sum") => ".sum",
            (Kind::Histogram, "_count") => ".count",
            (Kind::Histogram, "_bucket") => ".bucket",
            _ => return None,
        };
        let (value, letter) = match kind {
            Kind::Gauge => (value, 'g'),
            Kind::Counter | Kind::Histogram => {
                let before = self.sent.insert(series.to_owned(), value).unwrap_or(0.0);
                if value <= before {
                    return None;
                }
                (value - before, 'c')
            }
        };
        let mut line = format!("{dotted}{ending}:{value}|{letter}");
        let mut mark = "|#";
        for (key, value) in tags(labels) {
            let key = if key == "le" { "upper_bound" } else { &key };
            write!(line, "{mark}{key}:{value}").expect("a String takes any text");
            mark = ",";
        }
        Some(line)
    }
}

/// The labels of a sample. What has a meaning in a line of the agent is replaced in them.
fn tags(labels: &str) -> Vec<(String, String)> {
    let mut tags = Vec::new();
    let mut rest = labels;
    while let Some((key, after)) = rest.split_once("=\"") {
        let mut value = String::new();
        let mut letters = after.char_indices();
        let mut end = after.len();
        while let Some((at, letter)) = letters.next() {
            match letter {
                '"' => {
                    end = at + 1;
                    break;
                }
                '\\' => match letters.next() {
                    Some((_, 'n')) | None => value.push('_'),
                    Some((_, other)) => value.push(other),
                },
                ',' | '|' | '#' | '\n' | '\r' => value.push('_'),
                other => value.push(other),
            }
        }
        tags.push((key.trim_start_matches(',').to_owned(), value));
        rest = &after[end..];
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Partition, PillowName};

    #[test]
    fn a_counter_is_sent_as_what_was_added_and_a_gauge_as_it_stands() {
        let metrics = Metrics::new();
        let mut reader = Reader::new(&metrics);
        let pillow = metrics.pillow(&PillowName::new("cases"));
        let lane = metrics.lane(&PillowName::new("cases"), &Partition::new("case", 3));
        pillow.read.inc_by(7);
        lane.lag.set(5);
        let lines = reader.lines(&metrics);
        let has = |lines: &[String], line: &str| lines.iter().any(|found| found == line);
        assert!(has(&lines, "pillowtop.changes_read:7|c|#pillow:cases"), "{lines:#?}");
        assert!(has(&lines, "pillowtop.lag_changes:5|g|#pillow:cases,topic:case,partition:3"), "{lines:#?}");
        pillow.read.inc_by(2);
        let lines = reader.lines(&metrics);
        assert!(has(&lines, "pillowtop.changes_read:2|c|#pillow:cases"), "{lines:#?}");
        assert!(has(&lines, "pillowtop.lag_changes:5|g|#pillow:cases,topic:case,partition:3"), "{lines:#?}");
        assert!(!reader.lines(&metrics).iter().any(|line| line.contains("changes_read")), "nothing was added");
    }

    #[test]
    fn a_histogram_is_a_sum_a_count_and_buckets() {
        let metrics = Metrics::new();
        metrics.pillow(&PillowName::new("cases")).settle_seconds.observe(0.5);
        let lines = Reader::new(&metrics).lines(&metrics);
        for line in [
            "pillowtop.settle_seconds.sum:0.5|c|#pillow:cases",
            "pillowtop.settle_seconds.count:1|c|#pillow:cases",
            "pillowtop.settle_seconds.bucket:1|c|#upper_bound:+Inf,pillow:cases",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}\n{lines:#?}");
        }
    }

    #[test]
    fn nothing_in_a_label_breaks_out_of_its_tag() {
        let tags = tags(r#"a="x,y|z",b="say \"hi\"\nthere\\",c="""#);
        let tags: Vec<(&str, &str)> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(tags, [("a", "x_y_z"), ("b", "say \"hi\"_there\\"), ("c", "")]);
    }

    #[test]
    fn packets_hold_whole_lines() {
        let lines: Vec<String> = (0..100).map(|n| format!("{n:>50}")).collect();
        let packets = packets(&lines);
        assert!(packets.len() > 1 && packets.iter().all(|packet| packet.len() <= PACKET));
        let together: Vec<&str> = packets.iter().flat_map(|packet| packet.split('\n')).collect();
        assert_eq!(together, lines);
    }

    #[tokio::test]
    async fn an_agent_hears_the_metrics_at_once_and_once_more_at_the_end() {
        let agent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let metrics = Arc::new(Metrics::new());
        let pillow = metrics.pillow(&PillowName::new("cases"));
        pillow.read.inc_by(3);
        let stop = CancellationToken::new();
        let statsd = Statsd { agent: agent.local_addr().unwrap().to_string(), every: Duration::from_secs(3600) };
        let pushing = push(Arc::clone(&metrics), statsd, stop.clone());
        let hearing = async {
            hears(&agent, "pillowtop.changes_read:3|c|#pillow:cases").await;
            pillow.read.inc_by(4);
            stop.cancel();
            hears(&agent, "pillowtop.changes_read:4|c|#pillow:cases").await;
        };
        tokio::time::timeout(Duration::from_secs(20), async { tokio::join!(pushing, hearing) }).await.unwrap();
    }

    async fn hears(agent: &UdpSocket, line: &str) {
        let mut packet = [0; PACKET];
        loop {
            let length = agent.recv(&mut packet).await.unwrap();
            if std::str::from_utf8(&packet[..length]).unwrap().lines().any(|found| found == line) {
                return;
            }
        }
    }
}

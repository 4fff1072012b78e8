//! How far the feed's partitions go: the lag that is shown, and whether the feed's server is there at all.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::Runner;
use crate::feed::{self, Feed};
use crate::model::{Partition, Position, chain};
use crate::pipeline::status::Need;

/// How often the ends of the partitions are asked for.
pub(super) const EVERY: Duration = Duration::from_secs(2);

/// How soon they are asked for again when no answer came.
pub(super) const SILENT_AGAIN: Duration = Duration::from_millis(500);

/// How long the answer may take before the server counts as silent. The loop goes on meanwhile.
const LIMIT: Duration = Duration::from_secs(1);

/// What was said of the ends, and which positions they were asked for.
pub(in crate::pipeline) type Measured =
    (HashMap<Partition, Position>, Result<Result<Vec<feed::End>, feed::Error>, Elapsed>);

impl Runner {
    /// Asks how far the ends are, unless the last answer is still to come. Beside the loop: a question to a server takes
    /// as long as the server likes, and changes do not wait for it.
    pub(super) fn measure(&mut self, feed: &mut dyn Feed) {
        if !self.measuring.is_empty() {
            return;
        }
        let positions = self.positions.clone();
        let at: Vec<(Partition, Position)> =
            positions.iter().map(|(partition, position)| (partition.clone(), position.clone())).collect();
        let answer = timeout(LIMIT, feed.ends(&at));
        self.measuring.spawn(async move { (positions, answer.await) });
    }

    /// Shows how far the ends are; false when no answer came. Lag is information: it is asked for again. But a feed that
    /// waits for its server by itself is found out here.
    pub(super) fn show_lag(&mut self, feed: &dyn Feed, (positions, answer): Measured) -> bool {
        match answer {
            Ok(Ok(ends)) => {
                // A partition that went meanwhile has no lane to show it at.
                ends.iter().filter(|end| self.positions.contains_key(&end.partition)).for_each(|end| {
                    self.pillow.status.set_end(positions.get(&end.partition), end);
                });
                self.hear();
                return true;
            }
            Ok(Err(error)) => self.miss(feed, chain(&error)),
            Err(_) => self.miss(feed, format!("it does not say within {LIMIT:?} where its partitions end")),
        }
        false
    }

    /// The feed's server is there.
    pub(super) fn hear(&mut self) {
        self.silent = 0;
        self.pillow.status.has(Need::Feed);
    }

    /// The feed did not answer. Once may be a server that is busy; again, or if the feed knows why, it is an outage.
    fn miss(&mut self, feed: &dyn Feed, reason: String) {
        tracing::debug!(pillow = %self.pillow.name, reason, "lag is not known");
        self.silent += 1;
        let known = feed.trouble();
        if self.silent > 1 || known.is_some() {
            self.pillow.status.misses(Need::Feed, &known.unwrap_or(reason));
        }
    }
}

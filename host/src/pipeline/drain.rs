//! How a run ends: what is in hand is settled, or given up.

use super::runner::{End, Runner};
use super::settle::Done;

impl Runner {
    /// Brings what is in hand to its end. After a stop, and when the feed ended, it settles, unless something is down;
    /// after anything else it is given up, because what follows a batch that did not settle must not settle either.
    pub(super) async fn drain(mut self, end: End) -> End {
        self.give_up.cancel();
        let settles = matches!(end, End::Stopped | End::Feed(_)) && !self.cut_off;
        let end = match settles {
            true => self.settle_rest().await.unwrap_or(end),
            false => end,
        };
        self.measuring.shutdown().await;
        self.owned.shut_down().await;
        self.carried.shutdown().await;
        self.settling.shutdown().await;
        end
    }

    /// Settles what closed, as far as it goes; another end of the run when a settle was refused.
    async fn settle_rest(&mut self) -> Option<End> {
        loop {
            self.settle_ready();
            tokio::select! {
                Some(done) = self.settling.join_next() => match done {
                    Ok((Done::Abandoned, _)) => return None,
                    Ok((done, took)) => match self.settled(done, took) {
                        Ok(fenced) => for (partition, epoch) in fenced {
                            self.fence(&partition, epoch);
                        },
                        Err(refused) => return Some(refused),
                    },
                    Err(error) => return Some(End::Failed(error.to_string())),
                },
                Some(carried) = self.carried.join_next() => match carried {
                    Ok((ticket, Some(processed))) => self.lanes.finish(&ticket, *processed),
                    Ok((_, None)) => {}
                    Err(error) => return Some(End::Failed(error.to_string())),
                },
                else => return None,
            }
        }
    }
}

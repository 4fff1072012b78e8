//! Once a second: takes up the backfills that operators asked for, and writes down how far they are.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;

use crate::model::{Outage, PillowName, ProcessorName, chain};
use crate::replay::{Backfills, Order, Progressing, Reading, Report, Request};

use super::pillows::{Pillows, Purpose};
use super::rebuild::Rebuilding;

/// Longer than this nobody waits for the database; the next beat asks again.
const LIMIT: Duration = Duration::from_secs(5);

/// The backfills of this host.
pub(super) struct Backfilling {
    backfills: Backfills,
    purpose: Purpose,
    /// What each pillow was told to do.
    orders: HashMap<PillowName, Arc<Order>>,
    rebuilding: Rebuilding,
    /// Whether the last beat failed: a database that is down is said once.
    failing: bool,
}

impl Backfilling {
    pub(super) fn new(backfills: Backfills, purpose: Purpose) -> Self {
        Self { backfills, purpose, orders: HashMap::new(), rebuilding: Rebuilding::default(), failing: false }
    }

    /// One beat; how many backfills of these pillows are open, or have tables to put in their places, where the database says it.
    pub(super) async fn beat(&mut self, pillows: &Pillows) -> Option<usize> {
        if self.purpose == Purpose::Retries {
            return Some(0);
        }
        let failed = match timeout(LIMIT, self.exchange(pillows)).await {
            Ok(Ok(open)) => {
                self.failing = false;
                return Some(open);
            }
            Ok(Err(outage)) => chain(&outage),
            Err(_) => format!("no answer within {LIMIT:?}"),
        };
        if !std::mem::replace(&mut self.failing, true) {
            tracing::warn!(error = failed, "backfills are not looked at: the database does not answer");
        }
        None
    }

    async fn exchange(&mut self, pillows: &Pillows) -> Result<usize, Outage> {
        for order in self.orders.values() {
            let report = order.report.borrow().clone();
            self.backfills.note(order.number, &report).await?;
        }
        let due = self.rebuilding.beat(pillows, &self.backfills).await?;
        let mut open: HashMap<PillowName, Request> = HashMap::new();
        for request in self.backfills.open_ones().await? {
            if pillows.running().contains_key(&request.pillow) {
                open.insert(request.pillow.clone(), request);
            }
        }
        for (name, running) in pillows.running() {
            let wanted = open.get(name);
            let known =
                self.orders.get(name).filter(|known| wanted.is_some_and(|wanted| wanted.number == known.number));
            let order = match (known, wanted) {
                (_, None) => None,
                (Some(known), Some(_)) => Some(Arc::clone(known)),
                (None, Some(request)) => Some(Arc::new(self.order(request))),
            };
            self.say(name, order.as_ref());
            // A pillow that was started anew has a place of its own for it.
            running.handle.backfill.send_if_modified(|told| {
                let same = match (told.as_ref(), &order) {
                    (Some(told), Some(order)) => Arc::ptr_eq(told, order),
                    (None, None) => true,
                    _ => false,
                };
                if !same {
                    told.clone_from(&order);
                }
                !same
            });
            match order {
                Some(order) => drop(self.orders.insert(name.clone(), order)),
                None => drop(self.orders.remove(name)),
            }
        }
        self.orders.retain(|name, _| pillows.running().contains_key(name));
        Ok(open.len() + due)
    }

    fn order(&self, request: &Request) -> Order {
        let report = Report { done: request.done, total: request.total, state: Progressing::Under };
        Order {
            number: request.number,
            processor: request.processor.as_deref().map(ProcessorName::new),
            parts: request.parts.clone().map(Arc::from),
            rate: request.rate,
            reading: if self.purpose == Purpose::Backfill { Reading::Nothing } else { Reading::Feed },
            report: watch::Sender::new(report),
        }
    }

    /// The steps in a backfill's life.
    fn say(&self, name: &PillowName, order: Option<&Arc<Order>>) {
        match (self.orders.get(name), order) {
            (None, Some(order)) => {
                tracing::info!(pillow = %name, backfill = order.number, "backfill begins or goes on");
            }
            (Some(known), None) => {
                let report = known.report.borrow().clone();
                match report.state {
                    Progressing::Failed(reason) => {
                        tracing::error!(pillow = %name, backfill = known.number, reason, "backfill failed");
                    }
                    Progressing::Done => {
                        tracing::info!(pillow = %name, backfill = known.number, documents = report.done, "backfill done");
                    }
                    Progressing::Under | Progressing::Waiting(_) => {
                        tracing::info!(pillow = %name, backfill = known.number, "backfill cancelled");
                    }
                }
            }
            _ => {}
        }
    }
}

//! Carries one batch from closed to processed: draws its version, fetches its documents, calls the processors.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio_util::sync::CancellationToken;

use crate::model::{Batch, Era, Outage, WriteVersion, chain};

use crate::traces::BatchTrace;

use super::backoff::Backoff;
use super::generation::Generation;
use super::process::{Processed, process};
use super::runner::Pillow;
use super::status::Need;

/// What one batch is carried with.
pub(super) struct Carrier {
    pub(super) pillow: Arc<Pillow>,
    /// The one permit that is the pillow's own, so that it goes on while others hold all of the process.
    pub(super) own: Arc<Semaphore>,
    pub(super) generation: Arc<Generation>,
    /// The era of the batch's partition.
    pub(super) era: Era,
    /// Ends the waiting for what is down.
    pub(super) give_up: CancellationToken,
}

impl Carrier {
    /// Carries `batch`. `before` resolves when the batch that closed before has drawn its version, `drawn` says it of
    /// this one. An outage is waited out; none when the pillow gives up meanwhile.
    pub(super) async fn carry(
        &self,
        mut batch: Batch,
        mut trace: Option<Box<BatchTrace>>,
        before: Option<oneshot::Receiver<()>>,
        drawn: oneshot::Sender<()>,
    ) -> Option<Box<Processed>> {
        if let Some(before) = before {
            // An earlier batch that was given up drops its end, which is as good as having drawn.
            drop(before.await);
        }
        // In the order of closing, so that a later batch never holds what an earlier one of its lane waits for.
        let permit = self.permit().await?;
        let fetcher = &self.pillow.fetcher;
        let mut backoff = Backoff::new(batch.changes.len() as u64 + 1);
        while batch.version == WriteVersion(0)
            && !batch.changes.iter().all(|change| fetcher.versions_by_position(change))
        {
            match self.pillow.status.expect(Need::Database, self.pillow.checkpoints.draw_version()).await {
                Ok(version) => {
                    self.pillow.status.has(Need::Database);
                    batch.version = version;
                }
                Err(outage) => self.wait(Need::Database, &outage, &mut backoff).await?,
            }
        }
        // Nobody waits for it when no batch closed since.
        drawn.send(()).unwrap_or_default();
        let version = |change: &Arc<_>| match fetcher.versions_by_position(change) {
            true => WriteVersion::at(self.era, &change.position),
            false => batch.version,
        };
        let versions = batch.changes.iter().map(version).collect();
        loop {
            let started = tokio::time::Instant::now();
            let mut began = SystemTime::now();
            let documents = match self.pillow.status.expect(Need::Documents, fetcher.fetch(&batch.changes)).await {
                Ok(documents) => {
                    self.pillow.status.has(Need::Documents);
                    self.pillow.status.fetched(started.elapsed());
                    if let Some(trace) = &mut trace {
                        trace.note("fetch", began, vec![count("documents", documents.len())]);
                        began = SystemTime::now();
                    }
                    documents
                }
                Err(outage) => {
                    self.wait(Need::Documents, &outage, &mut backoff).await?;
                    continue;
                }
            };
            let generation = Arc::clone(&self.generation);
            match process(batch, documents, generation, &self.pillow.workers).await {
                Ok(mut processed) => {
                    self.pillow.status.has(Need::Processing);
                    processed.versions = versions;
                    processed.permit = Some(permit);
                    if let Some(trace) = &mut trace {
                        trace.note("process", began, vec![count("writes", processed.writes.len())]);
                    }
                    processed.trace = trace;
                    return Some(Box::new(processed));
                }
                Err((again, hindrance)) => {
                    batch = again;
                    let outage = Outage { operation: chain(&hindrance), source: None };
                    self.wait(Need::Processing, &outage, &mut backoff).await?;
                }
            }
        }
    }

    /// A place among the batches of the process, or the pillow's own. Without the latter, pillows that wait for a
    /// server would hold those that do not.
    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let (own, shared) = (Arc::clone(&self.own), Arc::clone(&self.pillow.in_flight));
        tokio::select! {
            biased;
            permit = own.acquire_owned() => permit.ok(),
            permit = shared.acquire_owned() => permit.ok(),
        }
    }

    /// Waits before the next try; none when the pillow gives up.
    async fn wait(&self, need: Need, outage: &Outage, backoff: &mut Backoff) -> Option<()> {
        self.pillow.status.waits(need, &chain(outage));
        tokio::select! {
            () = self.give_up.cancelled() => None,
            () = tokio::time::sleep(backoff.wait()) => Some(()),
        }
    }
}

fn count(name: &'static str, number: usize) -> KeyValue {
    KeyValue::new(name, i64::try_from(number).unwrap_or(i64::MAX))
}

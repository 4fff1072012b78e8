//! Carries one batch from closed to processed: draws its version, fetches its documents, calls the processors.

use std::sync::Arc;
use std::time::SystemTime;

use opentelemetry::KeyValue;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::model::{Batch, Document, Era, Outage, WriteVersion, chain};
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
        let mut backoff = Backoff::new(batch.changes.len() as u64 + 1);
        let versions = self.versions(&mut batch, &mut backoff, drawn).await?;
        loop {
            let documents = self.fetch(&batch, &mut trace, &mut backoff).await?;
            let began = SystemTime::now();
            match process(batch, documents, Arc::clone(&self.generation), &self.pillow.workers).await {
                Ok(mut processed) => {
                    self.pillow.status.has(Need::Processing);
                    if let Some(trace) = &mut trace {
                        trace.note("process", began, vec![count("writes", processed.writes.len())]);
                    }
                    (processed.versions, processed.permit, processed.trace) = (versions, Some(permit), trace);
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

    /// The version of each change's writes. The batch draws its own where one is needed; `drawn` says that it has.
    async fn versions(
        &self,
        batch: &mut Batch,
        backoff: &mut Backoff,
        drawn: oneshot::Sender<()>,
    ) -> Option<Vec<WriteVersion>> {
        let fetcher = &self.pillow.fetcher;
        let needs_own = !batch.changes.iter().all(|change| fetcher.versions_by_position(change));
        while needs_own && batch.version == WriteVersion(0) {
            match self.pillow.status.expect(Need::Database, self.pillow.checkpoints.draw_version()).await {
                Ok(version) => {
                    self.pillow.status.has(Need::Database);
                    batch.version = version;
                }
                Err(outage) => self.wait(Need::Database, &outage, backoff).await?,
            }
        }
        // Nobody waits for it when no batch closed since.
        drawn.send(()).unwrap_or_default();
        let version = |change: &Arc<_>| match fetcher.versions_by_position(change) {
            true => WriteVersion::at(self.era, &change.position),
            false => batch.version,
        };
        Some(batch.changes.iter().map(version).collect())
    }

    /// The documents of the batch's changes.
    async fn fetch(
        &self,
        batch: &Batch,
        trace: &mut Option<Box<BatchTrace>>,
        backoff: &mut Backoff,
    ) -> Option<Vec<Document>> {
        loop {
            let (started, began) = (Instant::now(), SystemTime::now());
            match self.pillow.status.expect(Need::Documents, self.pillow.fetcher.fetch(&batch.changes)).await {
                Ok(documents) => {
                    self.pillow.status.has(Need::Documents);
                    self.pillow.status.fetched(started.elapsed());
                    if let Some(trace) = trace {
                        trace.note("fetch", began, vec![count("documents", documents.len())]);
                    }
                    return Some(documents);
                }
                Err(outage) => self.wait(Need::Documents, &outage, backoff).await?,
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
            () = sleep(backoff.wait()) => Some(()),
        }
    }
}

fn count(name: &'static str, number: usize) -> KeyValue {
    KeyValue::new(name, i64::try_from(number).unwrap_or(i64::MAX))
}

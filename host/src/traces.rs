//! Traces of batches for an OpenTelemetry collector: what a batch waited for, stage by stage.
//!
//! A batch that is traced carries its [`BatchTrace`] along; each stage notes when it began and ended. When the batch
//! has settled, the spans go into a bounded queue, from which [`Exporter::run`] sends them over OTLP/HTTP. What does not
//! fit into the queue, or is not taken by the collector, is dropped and counted: tracing never holds a batch. Where no
//! collector is configured, [`Traces::begin`] is one comparison.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState};
use opentelemetry::{InstrumentationScope, KeyValue};
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// Batches whose spans wait to be sent; those of more are dropped.
const QUEUE: usize = 1024;
/// Spans of one request; a batch has about six.
const SPANS: usize = 512;
/// How long spans wait for others to go with them.
const LINGER: Duration = Duration::from_secs(1);
/// How long the collector may take for one request, retries included.
const SEND_LIMIT: Duration = Duration::from_secs(5);
/// How long the last spans may take when the host ends.
const LAST_LIMIT: Duration = Duration::from_secs(2);
/// Where a collector takes traces (OTLP 1.0, "OTLP/HTTP request").
const PATH: &str = "/v1/traces";

/// Why there are no traces.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address of the collector cannot be used.
    #[error("could not prepare to send traces to {endpoint}")]
    Endpoint {
        /// Which.
        endpoint: String,
        /// Why.
        source: opentelemetry_otlp::ExporterBuildError,
    },
}

/// Decides which batches are traced, and takes their spans. Cheap to clone; the default traces nothing.
#[derive(Debug, Clone, Default)]
pub struct Traces {
    shared: Option<Arc<Shared>>,
}

#[derive(Debug)]
struct Shared {
    /// The share of the batches that are traced.
    sample: f64,
    queue: mpsc::Sender<Vec<SpanData>>,
    scope: InstrumentationScope,
    metrics: Arc<Metrics>,
}

/// The trace of one batch.
#[derive(Debug)]
pub struct BatchTrace {
    shared: Arc<Shared>,
    trace: TraceId,
    root: SpanId,
    began: SystemTime,
    spans: Vec<SpanData>,
}

/// Sends what is traced.
#[derive(Debug)]
pub struct Exporter {
    queue: mpsc::Receiver<Vec<SpanData>>,
    otlp: OtlpExporter,
    metrics: Arc<Metrics>,
}

impl Traces {
    /// Traces of a share of the batches for the collector at `endpoint`, and what has to run to send them.
    ///
    /// # Errors
    /// When the address cannot be used. Whether anybody listens there is not asked.
    pub fn new(endpoint: &str, sample: f64, host: &str, metrics: Arc<Metrics>) -> Result<(Self, Exporter), Error> {
        let failed = |source| Error::Endpoint { endpoint: endpoint.to_owned(), source };
        let url = format!("{}{PATH}", endpoint.trim_end_matches('/').trim_end_matches(PATH));
        let otlp = OtlpExporter::builder().with_http().with_endpoint(url).with_timeout(SEND_LIMIT).build();
        let mut otlp = otlp.map_err(failed)?;
        let resource = Resource::builder()
            .with_service_name("pillowtop")
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .with_attribute(KeyValue::new("service.instance.id", host.to_owned()));
        otlp.set_resource(&resource.build());
        let (sender, queue) = mpsc::channel(QUEUE);
        let scope = InstrumentationScope::builder("pillowtop").with_version(env!("CARGO_PKG_VERSION")).build();
        let shared = Shared { sample, queue: sender, scope, metrics: Arc::clone(&metrics) };
        Ok((Self { shared: Some(Arc::new(shared)) }, Exporter { queue, otlp, metrics }))
    }

    /// Whether anything is traced at all.
    pub fn is_on(&self) -> bool {
        self.shared.is_some()
    }

    /// The trace of a batch that began to be read at `began`; none where nothing, or not this one, is traced.
    pub fn begin(&self, began: SystemTime) -> Option<BatchTrace> {
        let shared = self.shared.as_ref()?;
        let random = uuid::Uuid::new_v4().as_u128();
        let (number, _) = split(random);
        (f64::from(number) / f64::from(u32::MAX) <= shared.sample).then(|| BatchTrace {
            shared: Arc::clone(shared),
            trace: TraceId::from(random),
            root: span_id(),
            began,
            spans: Vec::new(),
        })
    }
}

impl BatchTrace {
    /// Notes a stage that began at `began` and ended now.
    pub fn note(&mut self, name: &'static str, began: SystemTime, attributes: Vec<KeyValue>) {
        self.note_until(name, began, SystemTime::now(), attributes);
    }

    /// Notes a stage that is over.
    pub fn note_until(&mut self, name: &'static str, began: SystemTime, ended: SystemTime, attributes: Vec<KeyValue>) {
        let span = self.span(span_id(), self.root, name, (began, ended), attributes);
        self.spans.push(span);
    }

    /// Ends the trace and hands it over to be sent.
    pub fn finish(mut self, attributes: Vec<KeyValue>) {
        let span = self.span(self.root, SpanId::INVALID, "batch", (self.began, SystemTime::now()), attributes);
        self.spans.push(span);
        let count = self.spans.len() as u64;
        if self.shared.queue.try_send(self.spans).is_err() {
            self.shared.metrics.dropped_spans().inc_by(count);
        }
    }

    fn span(
        &self,
        id: SpanId,
        parent: SpanId,
        name: &'static str,
        (began, ended): (SystemTime, SystemTime),
        attributes: Vec<KeyValue>,
    ) -> SpanData {
        SpanData {
            span_context: SpanContext::new(self.trace, id, TraceFlags::SAMPLED, false, TraceState::default()),
            parent_span_id: parent,
            parent_span_is_remote: false,
            span_kind: SpanKind::Internal,
            name: name.into(),
            start_time: began,
            // The system's clock may have been set back meanwhile.
            end_time: ended.max(began),
            attributes,
            dropped_attributes_count: 0,
            events: SpanEvents::default(),
            links: SpanLinks::default(),
            status: Status::Unset,
            instrumentation_scope: self.shared.scope.clone(),
        }
    }
}

impl Exporter {
    /// Sends spans until `stop`, and those that are left then.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut fails = false;
        loop {
            let (spans, last) = self.gather(&stop).await;
            if !spans.is_empty() {
                let limit = if last { LAST_LIMIT } else { SEND_LIMIT };
                self.send(spans, limit, &mut fails).await;
            } else if last {
                return;
            }
        }
    }

    /// The spans of one request, and whether the host ends.
    async fn gather(&mut self, stop: &CancellationToken) -> (Vec<SpanData>, bool) {
        let mut spans = Vec::new();
        let mut linger = std::pin::pin!(sleep(LINGER));
        while spans.len() < SPANS {
            tokio::select! {
                biased;
                Some(more) = self.queue.recv() => spans.extend(more),
                () = stop.cancelled() => return (spans, true),
                () = linger.as_mut(), if !spans.is_empty() => break,
            }
        }
        (spans, stop.is_cancelled())
    }

    async fn send(&self, spans: Vec<SpanData>, limit: Duration, fails: &mut bool) {
        let count = spans.len() as u64;
        let failed = match timeout(limit, self.otlp.export(spans)).await {
            Ok(Ok(())) => {
                *fails = false;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no answer within {limit:?}"),
        };
        self.metrics.dropped_spans().inc_by(count);
        // Said once: a collector that is down is down for every request.
        if !*fails {
            tracing::warn!(error = failed, "traces are not taken");
            *fails = true;
        }
    }
}

/// Two independent numbers of 32 bits; the bits between them are not all random in a UUID.
fn split(random: u128) -> (u32, u32) {
    let [a, b, c, d, .., w, x, y, z] = random.to_be_bytes();
    (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([w, x, y, z]))
}

fn span_id() -> SpanId {
    let (high, low) = split(uuid::Uuid::new_v4().as_u128());
    // 0 stands for none.
    SpanId::from((u64::from(high) << 32 | u64::from(low)).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(sample: f64, endpoint: &str) -> (Traces, Exporter, Arc<Metrics>) {
        let metrics = Arc::new(Metrics::new());
        let (traces, exporter) = Traces::new(endpoint, sample, "host-1", Arc::clone(&metrics)).unwrap();
        (traces, exporter, metrics)
    }

    fn finish_one(traces: &Traces) {
        let now = SystemTime::now();
        let mut trace = traces.begin(now).unwrap();
        trace.note("read", now, Vec::new());
        trace.finish(vec![KeyValue::new("pillow", "forms")]);
    }

    #[tokio::test]
    async fn the_share_of_the_batches_is_traced() {
        let count = |sample: f64| {
            let (traces, _exporter, _) = traces(sample, "http://127.0.0.1:4318");
            (0..4000).filter(|_| traces.begin(SystemTime::now()).is_some()).count()
        };
        assert_eq!(count(1.0), 4000);
        let half = count(0.5);
        assert!((1800..2200).contains(&half), "{half}");
        let few = count(0.01);
        assert!((5..100).contains(&few), "{few}");
        assert!(Traces::default().begin(SystemTime::now()).is_none());
    }

    #[tokio::test]
    async fn a_full_queue_drops_and_counts() {
        let (traces, exporter, metrics) = traces(1.0, "http://127.0.0.1:4318");
        (0..QUEUE + 3).for_each(|_| finish_one(&traces));
        assert_eq!(metrics.dropped_spans().get(), 6);
        drop(exporter);
    }

    #[tokio::test]
    async fn a_collector_that_is_not_there_holds_nobody() {
        // A port that was free a moment ago.
        let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let (traces, exporter, metrics) = traces(1.0, &format!("http://{gone}"));
        finish_one(&traces);
        let stop = CancellationToken::new();
        stop.cancel();
        timeout(Duration::from_secs(20), exporter.run(stop)).await.unwrap();
        assert_eq!(metrics.dropped_spans().get(), 2);
    }
}

//! Traces of batches, as a collector gets them: over OTLP/HTTP, decoded with the protocol's own messages.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::http::StatusCode;
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::support::documents::{lines, visit_form};
use crate::support::pillows;
use crate::support::site::Site;

/// A collector that answers as it is told, and hands over what it was sent.
struct Collector {
    address: SocketAddr,
    sent: mpsc::Receiver<Bytes>,
    _server: JoinSet<()>,
}

impl Collector {
    async fn start(answer: StatusCode) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, sent) = mpsc::channel(100);
        let take = move |body: Bytes| async move {
            sender.send(body).await.unwrap();
            answer
        };
        let mut server = JoinSet::new();
        let router = Router::new().route("/v1/traces", post(take));
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, sent, _server: server }
    }

    /// The requests that came, with what sent them.
    fn requests(&mut self) -> Vec<ExportTraceServiceRequest> {
        let mut requests = Vec::new();
        while let Ok(body) = self.sent.try_recv() {
            requests.push(ExportTraceServiceRequest::decode(body).unwrap());
        }
        requests
    }
}

fn site(collector: SocketAddr) -> Site {
    let site = Site::with_settings(&format!("[traces]\nendpoint = \"http://{collector}\"\n"));
    site.pillow("forms", &(pillows::reads("form-sql") + &pillows::search("form", "forms") + &pillows::visits()));
    site
}

fn forms() -> String {
    let form = |n| visit_form(&format!("secret-id-{n}"), "c1", "2026-02-03T10:00:00.000000Z");
    lines(&(0..9).map(form).collect::<Vec<_>>())
}

fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let value = &attributes.iter().find(|attribute| attribute.key == key)?.value;
    match value.as_ref()?.value.as_ref()? {
        AnyValue::StringValue(text) => Some(text.clone()),
        AnyValue::IntValue(number) => Some(number.to_string()),
        other => panic!("{key} is {other:?}"),
    }
}

#[tokio::test]
async fn a_collector_gets_every_stage_of_a_batch() {
    let mut collector = Collector::start(StatusCode::OK).await;
    let site = site(collector.address);
    site.publish(&forms()).await;
    site.catch_up().await;

    let requests = collector.requests();
    let resource = requests[0].resource_spans[0].resource.as_ref().unwrap();
    assert_eq!(text(&resource.attributes, "service.name").as_deref(), Some("pillowtop"));
    assert!(!format!("{requests:?}").contains("secret-id"), "no id of a document is in a trace");
    let spans = requests.iter().flat_map(|request| &request.resource_spans);
    let spans = spans.flat_map(|resource| &resource.scope_spans).flat_map(|scope| &scope.spans);
    let mut traces: BTreeMap<&[u8], Vec<&Span>> = BTreeMap::new();
    spans.for_each(|span| traces.entry(&span.trace_id).or_default().push(span));
    let mut entries = 0;
    for spans in traces.values() {
        let names: BTreeSet<&str> = spans.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(names, BTreeSet::from(["batch", "read", "fetch", "process", "write", "settle"]));
        let batch = spans.iter().find(|span| span.name == "batch").unwrap();
        assert!(batch.parent_span_id.is_empty());
        assert_eq!(text(&batch.attributes, "pillow").as_deref(), Some("forms"));
        entries += text(&batch.attributes, "entries").unwrap().parse::<u32>().unwrap();
        for span in spans.iter().filter(|span| span.name != "batch") {
            assert_eq!(span.parent_span_id, batch.span_id, "{}", span.name);
            assert!(batch.start_time_unix_nano <= span.start_time_unix_nano, "{}", span.name);
            assert!(span.start_time_unix_nano <= span.end_time_unix_nano, "{}", span.name);
            assert!(span.end_time_unix_nano <= batch.end_time_unix_nano, "{}", span.name);
        }
        let write = spans.iter().find(|span| span.name == "write").unwrap();
        assert_eq!(text(&write.attributes, "sink").as_deref(), Some("search"));
    }
    assert_eq!(entries, 9, "each batch is one trace");
}

#[tokio::test]
async fn a_collector_that_refuses_holds_no_batch() {
    let mut collector = Collector::start(StatusCode::BAD_REQUEST).await;
    let site = site(collector.address);
    site.publish(&forms()).await;
    let summary = site.catch_up().await;
    assert_eq!(summary["pillows"][0]["status"]["counts"]["settled"], 9, "{summary}");
    assert!(!collector.requests().is_empty());
}

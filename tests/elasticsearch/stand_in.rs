//! Plays a search server whose bulk answers are written down beforehand; without one it does all that it is given.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use pillowtop::sink::elasticsearch::Settings;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// An answer to a bulk request.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    /// What became of each write.
    pub(crate) fn items(items: &[Value]) -> Self {
        let items: Vec<Value> = items.iter().map(|item| json!({ "index": item })).collect();
        Self { status: 200, body: json!({"errors": true, "items": items}).to_string() }
    }
}

/// A server that listens as long as this lives.
pub(crate) struct StandIn {
    url: String,
    script: Arc<Mutex<Script>>,
    _serving: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Script {
    version: &'static str,
    replies: VecDeque<Reply>,
    written: Vec<Vec<String>>,
    authorization: Option<String>,
}

impl StandIn {
    pub(crate) async fn start(replies: Vec<Reply>) -> Self {
        Self::with(Script { version: "7.17.0", replies: replies.into(), ..Script::default() }).await
    }

    pub(crate) async fn saying(version: &'static str) -> Self {
        Self::with(Script { version, ..Script::default() }).await
    }

    async fn with(script: Script) -> Self {
        let script = Arc::new(Mutex::new(script));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(answer).with_state(Arc::clone(&script));
        let mut serving = JoinSet::new();
        serving.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, script, _serving: serving }
    }

    pub(crate) fn settings(&self) -> Settings {
        Settings::new(&self.url)
    }

    /// The ids of each bulk request.
    pub(crate) fn written(&self) -> Vec<Vec<String>> {
        self.script.lock().unwrap().written.clone()
    }

    pub(crate) fn authorization(&self) -> Option<String> {
        self.script.lock().unwrap().authorization.clone()
    }
}

async fn answer(
    State(script): State<Arc<Mutex<Script>>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    let mut script = script.lock().unwrap();
    script.authorization = headers.get("authorization").map(|header| header.to_str().unwrap().to_owned());
    let ok = |body: Value| (StatusCode::OK, body.to_string());
    match (method, uri.path()) {
        (Method::GET, "/") => ok(json!({"version": {"number": script.version}})),
        (Method::GET, _) => (StatusCode::NOT_FOUND, "{}".to_owned()),
        (Method::POST, path) if path.ends_with("/_bulk") => {
            let lines = body.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok());
            let ids = lines.filter_map(|line| line.as_object()?.values().next()?["_id"].as_str().map(str::to_owned));
            script.written.push(ids.collect());
            match script.replies.pop_front() {
                Some(reply) => (StatusCode::from_u16(reply.status).unwrap(), reply.body),
                None => ok(json!({"errors": false})),
            }
        }
        _ => ok(json!({"acknowledged": true})),
    }
}

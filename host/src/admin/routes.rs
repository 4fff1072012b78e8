//! What is answered where. Every error is JSON: `{"error": "…"}`.

use std::collections::HashMap;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::guard::Guard;
use super::page;
use crate::control::{Console, ConsoleError};
use crate::model::chain;

/// How long an answer may take. The database has three seconds of it.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// No request needs a body; what some clients send along is left unread.
const MOST_BODY: u64 = 4 << 10;
/// OpenMetrics 1.0.0, which Prometheus reads since 2.5.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Entries of a listing where nobody says how many.
const USUAL_ENTRIES: u32 = 50;
/// An answer is made in memory.
const MOST_ENTRIES: u32 = 1000;
/// The page is text and its own style, nothing else.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct Admin {
    console: Console,
    guard: Guard,
}

/// An answer that is an error.
struct Problem(StatusCode, String);

pub(super) fn router(console: Console, guard: Guard) -> Router {
    let admin = Admin { console, guard };
    let guarded = Router::new()
        .route("/", get(dashboard))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/pillows/{name}/pause", post(pause))
        .route("/pillows/{name}/resume", post(resume))
        .route("/pillows/{name}/queue", get(queue))
        .route("/reload", post(reload))
        .fallback(nothing_here)
        .method_not_allowed_fallback(not_that_way)
        .route_layer(middleware::from_fn_with_state(admin.clone(), guard_route));
    // An orchestrator asks without a token; what it is told then is yes or no.
    let open = Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(readiness))
        .method_not_allowed_fallback(not_that_way);
    guarded.merge(open).layer(middleware::from_fn(bounded)).with_state(admin)
}

async fn guard_route(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    match admin.guard.admit(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err((status, reason)) => {
            let mut refusal = Problem(status, reason.to_owned()).into_response();
            if status == StatusCode::UNAUTHORIZED {
                let schemes = HeaderValue::from_static("Bearer, Basic realm=\"pillowtop\"");
                refusal.headers_mut().insert(WWW_AUTHENTICATE, schemes);
            }
            refusal
        }
    }
}

/// Holds every request to its size and time.
async fn bounded(request: Request, next: Next) -> Response {
    let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let has_unknown_length = request.headers().contains_key(TRANSFER_ENCODING);
    if length.is_some_and(|length| length > MOST_BODY) || has_unknown_length {
        return Problem(StatusCode::PAYLOAD_TOO_LARGE, "no request here needs a body".to_owned()).into_response();
    }
    let mut response = match timeout(ANSWER_LIMIT, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            Problem(StatusCode::SERVICE_UNAVAILABLE, format!("no answer within {ANSWER_LIMIT:?}")).into_response()
        }
    };
    // What is true now may be wrong a second later.
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

async fn health(State(admin): State<Admin>) -> Response {
    match admin.console.is_alive() {
        true => Json(json!({ "alive": true })).into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({ "alive": false }))).into_response(),
    }
}

async fn readiness(State(admin): State<Admin>, request: Request) -> Response {
    let hindrances = admin.console.hindrances().await;
    let status = if hindrances.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut answer = json!({ "ready": hindrances.is_empty() });
    if !hindrances.is_empty() && admin.guard.admit(request.method(), request.headers()).is_ok() {
        answer["reasons"] = json!(hindrances);
    }
    (status, Json(answer)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    ([(CONTENT_TYPE, OPEN_METRICS)], admin.console.metrics().encode()).into_response()
}

async fn status(State(admin): State<Admin>) -> Result<Response, Problem> {
    Ok(Json(admin.console.statuses().await?).into_response())
}

async fn dashboard(State(admin): State<Admin>) -> Response {
    let hindrances = admin.console.hindrances().await;
    let (status, statuses, parked) = match (admin.console.statuses().await, admin.console.parked().await) {
        (Ok(statuses), Ok(parked)) => (StatusCode::OK, statuses, parked),
        // Why is among the hindrances: the database is asked for those, too.
        _ => (StatusCode::SERVICE_UNAVAILABLE, Vec::new(), HashMap::new()),
    };
    let page = Html(page::render(&statuses, &parked, &hindrances));
    (status, [("content-security-policy", PAGE_POLICY)], page).into_response()
}

async fn pause(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Response, Problem> {
    set_paused(&admin, &name, true).await
}

async fn resume(State(admin): State<Admin>, Path(name): Path<String>) -> Result<Response, Problem> {
    set_paused(&admin, &name, false).await
}

async fn set_paused(admin: &Admin, name: &str, paused: bool) -> Result<Response, Problem> {
    admin.console.set_paused(name, paused).await?;
    tracing::info!(pillow = name, paused, "asked for by the admin endpoint");
    Ok(Json(json!({ "pillow": name, "paused": paused })).into_response())
}

/// Which part of a listing.
#[derive(Deserialize)]
struct Page {
    limit: Option<u32>,
}

async fn queue(
    State(admin): State<Admin>,
    Path(name): Path<String>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Problem> {
    let limit = match page {
        Ok(Query(page)) => page.limit.unwrap_or(USUAL_ENTRIES),
        Err(rejection) => return Err(Problem(StatusCode::BAD_REQUEST, rejection.body_text())),
    };
    if limit > MOST_ENTRIES {
        let refused = format!("`limit` is at most {MOST_ENTRIES}");
        return Err(Problem(StatusCode::BAD_REQUEST, refused));
    }
    Ok(Json(admin.console.queue(&name, limit).await?).into_response())
}

async fn reload(State(admin): State<Admin>) -> Result<Response, Problem> {
    Ok(Json(admin.console.reload().await?).into_response())
}

async fn nothing_here(request: Request) -> Problem {
    Problem(StatusCode::NOT_FOUND, format!("there is nothing at {}", request.uri().path()))
}

async fn not_that_way(request: Request) -> Response {
    let allowed = match request.uri().path() {
        "/reload" => "POST",
        path if path.starts_with("/pillows/") && !path.ends_with("/queue") => "POST",
        _ => "GET,HEAD",
    };
    let message = format!("{} takes {allowed}, not {}", request.uri().path(), request.method());
    let mut refusal = Problem(StatusCode::METHOD_NOT_ALLOWED, message).into_response();
    refusal.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    refusal
}

impl From<ConsoleError> for Problem {
    fn from(error: ConsoleError) -> Self {
        let status = match error {
            ConsoleError::UnknownPillow(_) => StatusCode::NOT_FOUND,
            ConsoleError::Database(_) | ConsoleError::Stopping => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self(status, chain(&error))
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Self(status, error) = self;
        (status, Json(json!({ "error": error }))).into_response()
    }
}

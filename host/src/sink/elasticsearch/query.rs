//! Searching, for people: what stands in an index now.

use bytes::Bytes;
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::http::{Content, Http};
use super::merge::RESERVED;
use super::outage;
use super::settings::Settings;
use crate::model::Outage;
use crate::sink::search::{Hit, Hits};

/// The most hits that a server gives without being asked to remember where it was (`index.max_result_window`).
const MOST_HITS: usize = 10_000;

#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    hits: Found<'a>,
}

#[derive(Deserialize)]
struct Found<'a> {
    total: Total,
    #[serde(borrow)]
    hits: Vec<FoundOne<'a>>,
}

#[derive(Deserialize)]
struct Total {
    value: usize,
}

#[derive(Deserialize)]
struct FoundOne<'a> {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_score")]
    score: Option<f32>,
    #[serde(rename = "_source", borrow)]
    source: &'a RawValue,
}

/// The best `limit` documents, at most ten thousand, for a query in the server's `query_string` language. Finds what the
/// index's last refresh has; tombstones are none.
///
/// # Errors
/// When the server does not answer, or does not understand the query.
pub async fn search(settings: &Settings, index: &str, query: &str, limit: usize) -> Result<Hits, Outage> {
    let http = Http::new(settings)?;
    let body = json!({
        "size": limit.min(MOST_HITS),
        "track_total_hits": true,
        "_source": {"excludes": [RESERVED]},
        "query": {"bool": {
            "must": [{"query_string": {"query": query, "default_field": "*", "lenient": true}}],
            "must_not": [{"exists": {"field": format!("{RESERVED}.deleted_at")}}],
        }},
    });
    let index: String = index.chars().filter(|c| !matches!(c, '/' | '?' | '#' | '%')).collect();
    let operation = || format!("could not search index {index}");
    let answer = http.send(Method::POST, &format!("/{index}/_search"), Content::Json(body)).await?;
    if !answer.is_success() {
        return Err(outage::of_answer(&http, &operation(), &answer));
    }
    let found: Response<'_> = serde_json::from_slice(&answer.body).map_err(|error| Outage::new(operation(), error))?;
    let hits = found.hits.hits.into_iter().map(|hit| Hit {
        id: hit.id,
        score: hit.score.unwrap_or(0.0),
        source: Bytes::copy_from_slice(hit.source.get().as_bytes()),
    });
    Ok(Hits { total: found.hits.total.value, hits: hits.collect() })
}

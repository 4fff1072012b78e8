//! Drops tombstones of shared indices that nothing can be older than any more.

use std::time::Duration;

use jiff::Timestamp;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;

use super::http::Content;
use super::merge::RESERVED;
use super::outage;
use super::send::{Place, Sender};
use crate::model::Outage;

/// How long a tombstone keeps older writes of its document out. A write is as old as its batch, and a batch lives for
/// minutes; whoever reads a feed again from further back comes past the deletion too, and deletes again.
pub(super) const KEPT: Duration = Duration::from_hours(7 * 24);

/// How often they are looked for.
pub(super) const EVERY: Duration = Duration::from_hours(24);

const AT_ONCE: usize = 500;

#[derive(Deserialize)]
struct Found {
    hits: Hits,
}

#[derive(Deserialize)]
struct Hits {
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct Hit {
    #[serde(rename = "_id")]
    id: String,
    #[serde(rename = "_seq_no")]
    seq_no: u64,
    #[serde(rename = "_primary_term")]
    primary_term: u64,
}

/// Drops at most some hundred; the next time the others. One that came back to life meanwhile is left.
pub(super) async fn drop_old(sender: &Sender, place: Place<'_>, now: Timestamp) -> Result<usize, Outage> {
    let operation = || format!("could not look for tombstones in index {}", place.index);
    let before = now - jiff::SignedDuration::from_secs(i64::try_from(KEPT.as_secs()).unwrap_or(i64::MAX));
    let query = json!({
        "size": AT_ONCE,
        "seq_no_primary_term": true,
        "_source": false,
        "query": {"range": {format!("{RESERVED}.deleted_at"): {"lt": before.to_string()}}},
    });
    let answer = sender.http.send(Method::POST, &format!("/{}/_search", place.index), Content::Json(query)).await?;
    if !answer.is_success() {
        return Err(outage::of_answer(&sender.http, &operation(), &answer));
    }
    let found: Found = serde_json::from_slice(&answer.body).map_err(|error| Outage::new(operation(), error))?;
    for hit in &found.hits.hits {
        let id = utf8_percent_encode(&hit.id, NON_ALPHANUMERIC);
        let condition = format!("if_seq_no={}&if_primary_term={}", hit.seq_no, hit.primary_term);
        let path = format!("/{}/_doc/{id}?{condition}", place.index);
        let answer = sender.http.send(Method::DELETE, &path, Content::None).await?;
        if !answer.is_success() && !matches!(answer.status, 404 | 409) {
            return Err(outage::of_answer(&sender.http, &operation(), &answer));
        }
    }
    Ok(found.hits.hits.len())
}

//! What the server says about each write of a request.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::outage::Trouble;

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Item {
    /// Done; or there was nothing to delete.
    Done,
    /// What is there is newer, or another than was expected.
    Conflict,
    /// This document does not fit.
    Refused(String),
    /// The server broke over it: it may be this document, it may be the server.
    Broken(String),
    /// Nothing is wrong with it.
    Trouble(Trouble),
}

#[derive(Deserialize)]
struct Response<'a> {
    errors: bool,
    #[serde(borrow)]
    items: Option<&'a RawValue>,
}

/// One of `index`, `create`, `delete`: which one, the request says.
#[derive(Deserialize)]
struct Entry {
    #[serde(alias = "create", alias = "delete", alias = "update")]
    index: Status,
}

#[derive(Deserialize)]
struct Status {
    status: u16,
    error: Option<Cause>,
}

#[derive(Deserialize, Default)]
struct Cause {
    #[serde(default, rename = "type")]
    kind: String,
    reason: Option<String>,
    caused_by: Option<Box<Cause>>,
}

/// What became of `count` writes, in their order; none when all were done.
///
/// # Errors
/// When the answer is not one to this request.
pub(super) fn parse(body: &[u8], count: usize) -> Result<Option<Vec<Item>>, String> {
    let not_ours = |error: serde_json::Error| format!("the answer to a bulk request cannot be read: {error}");
    let response: Response<'_> = serde_json::from_slice(body).map_err(not_ours)?;
    if !response.errors {
        return Ok(None);
    }
    let items = response.items.map_or("[]", RawValue::get);
    let entries: Vec<Entry> = serde_json::from_str(items).map_err(not_ours)?;
    if entries.len() != count {
        return Err(format!("the answer to a bulk request of {count} writes has {} items", entries.len()));
    }
    Ok(Some(entries.into_iter().map(|entry| item(entry.index)).collect()))
}

fn item(status: Status) -> Item {
    let Some(cause) = status.error else {
        return Item::Done;
    };
    let said = cause.said();
    match (status.status, cause.kind.as_str()) {
        (409, _) => Item::Conflict,
        (_, "cluster_block_exception") => Item::Trouble(Trouble::Blocked(said)),
        (429, "circuit_breaking_exception") => Item::Trouble(Trouble::Memory(said)),
        (429, _) => Item::Trouble(Trouble::Busy(said)),
        (502..=504, _) => Item::Trouble(Trouble::Unavailable(said)),
        (401 | 403, _) => Item::Trouble(Trouble::Forbidden(said)),
        (404, _) => Item::Trouble(Trouble::Gone(said)),
        (400..=499, _) => Item::Refused(said),
        _ => Item::Broken(said),
    }
}

impl Cause {
    /// The reasons, outermost first; the type of one that has none.
    fn said(&self) -> String {
        const LONGEST: usize = 1000;
        let mut said = self.reason.clone().unwrap_or_else(|| self.kind.clone());
        let mut inner = self.caused_by.as_deref();
        while let Some(cause) = inner {
            said.push_str(": ");
            said.push_str(cause.reason.as_deref().unwrap_or(&cause.kind));
            inner = cause.caused_by.as_deref();
        }
        said.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn check(status: u16, error: Value, expected: Item) {
        let entry = json!({"index": {"status": status, "error": error}});
        let body = json!({"errors": true, "items": [{"delete": {"status": 404}}, entry]}).to_string();
        assert_eq!(parse(body.as_bytes(), 2), Ok(Some(vec![Item::Done, expected])));
    }

    #[test]
    fn each_kind_of_error_is_what_it_is() {
        let text = || "r".to_owned();
        let error = |kind: &str| json!({"type": kind, "reason": "r"});
        check(409, error("version_conflict_engine_exception"), Item::Conflict);
        check(400, error("mapper_parsing_exception"), Item::Refused(text()));
        check(429, error("es_rejected_execution_exception"), Item::Trouble(Trouble::Busy(text())));
        check(429, error("circuit_breaking_exception"), Item::Trouble(Trouble::Memory(text())));
        // The flood stage is 429 in Elasticsearch 7.17 and OpenSearch 2, and was 403 before; a read-only index is 403.
        check(429, error("cluster_block_exception"), Item::Trouble(Trouble::Blocked(text())));
        check(403, error("cluster_block_exception"), Item::Trouble(Trouble::Blocked(text())));
        check(403, error("security_exception"), Item::Trouble(Trouble::Forbidden(text())));
        check(503, error("unavailable_shards_exception"), Item::Trouble(Trouble::Unavailable(text())));
        check(404, error("index_not_found_exception"), Item::Trouble(Trouble::Gone(text())));
        check(500, error("null_pointer_exception"), Item::Broken(text()));
    }

    #[test]
    fn reasons_are_said_with_their_causes() {
        let cause =
            json!({"type": "t", "reason": "failed to parse", "caused_by": {"type": "i", "reason": "bad\n\"x\""}});
        check(400, cause, Item::Refused("failed to parse: bad \"x\"".to_owned()));
        check(400, json!({"type": "odd"}), Item::Refused("odd".to_owned()));
    }

    #[test]
    fn an_answer_to_another_request_is_none() {
        assert_eq!(parse(br#"{"errors": false, "items": []}"#, 7), Ok(None));
        assert!(parse(br#"{"errors": true, "items": [{"index": {"status": 200}}]}"#, 2).is_err());
        assert!(parse(b"<html>", 1).is_err());
    }
}

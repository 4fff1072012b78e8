//! Writes that need what is there: read, changed here, and written back unless somebody wrote in between.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::bulk::{Action, Guard};
use super::http::Content;
use super::outage;
use super::prepare::Target;
use super::send::{Place, Sender, Verdict};
use crate::model::{Outage, RetryHelps, Write, WriteVersion};
use crate::sink::decide::{Decision, Known, Owners, decide, parse};

/// The field of a shared document that holds its version.
pub(super) const RESERVED: &str = "pillowtop";

/// The most documents of one read.
const MOST_READ: usize = 500;

/// How often a document is read again because others write it too; beyond, the server is said to be out, and the
/// pillow waits a little longer.
const MOST_ROUNDS: usize = 20;

/// The writes of one document, in order.
pub(super) struct Group<'a> {
    pub(super) id: &'a str,
    pub(super) writes: Vec<Member<'a>>,
}

/// One of them.
#[derive(Clone, Copy)]
pub(super) struct Member<'a> {
    /// Which of the writes that the sink was given.
    pub(super) at: usize,
    pub(super) version: WriteVersion,
    pub(super) write: &'a Write,
}

/// A write that is refused.
pub(super) type Refusal = (usize, String, RetryHelps);

#[derive(Deserialize)]
struct Read {
    docs: Vec<Entry>,
}

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "_id")]
    id: String,
    #[serde(default)]
    found: bool,
    #[serde(rename = "_version")]
    version: Option<u64>,
    #[serde(rename = "_seq_no")]
    seq_no: Option<u64>,
    #[serde(rename = "_primary_term")]
    primary_term: Option<u64>,
    #[serde(rename = "_source")]
    source: Option<Map<String, Value>>,
    error: Option<Value>,
}

/// A document as it is on the server.
#[derive(Debug, Clone, PartialEq)]
struct Current {
    known: Known,
    guard: Guard,
}

/// What the writes of one document come to.
#[derive(Debug, PartialEq)]
struct Change {
    guard: Guard,
    /// None: it is deleted.
    document: Option<Bytes>,
}

/// Does the writes of these documents. Answers those that are refused.
///
/// # Errors
/// When the server does not answer, or cannot write now.
pub(super) async fn apply(
    sender: &Sender,
    place: Place<'_>,
    target: &Target,
    groups: Vec<Group<'_>>,
    now: Timestamp,
) -> Result<Vec<Refusal>, Outage> {
    let mut refused = Vec::new();
    let mut open = groups;
    for _ in 0..MOST_ROUNDS {
        if open.is_empty() {
            return Ok(refused);
        }
        open = round(sender, place, target, open, now, &mut refused).await?;
    }
    match open.first() {
        None => Ok(refused),
        Some(group) => {
            let operation = format!("document {} of index {} is written by others all the time", group.id, place.index);
            Err(Outage { operation, source: None })
        }
    }
}

/// Reads, decides and writes once. Answers the groups that have to be done again.
async fn round<'a>(
    sender: &Sender,
    place: Place<'_>,
    target: &Target,
    groups: Vec<Group<'a>>,
    now: Timestamp,
    refused: &mut Vec<Refusal>,
) -> Result<Vec<Group<'a>>, Outage> {
    let current = read(sender, place, target, &groups).await?;
    let mut again = Vec::new();
    let mut written = Vec::new();
    for group in groups {
        let known = current.get(group.id);
        let (change, problems) = fold(&target.owners, known, &group.writes, now);
        match change {
            None => refused.extend(problems),
            Some(change) => written.push((group, change, problems)),
        }
    }
    let actions: Vec<Action<'_>> = written
        .iter()
        .map(|(group, change, _)| Action { id: group.id, document: change.document.as_deref(), guard: change.guard })
        .collect();
    let verdicts = sender.send(place, &actions).await?;
    drop(actions);
    for ((group, _, problems), verdict) in written.into_iter().zip(verdicts) {
        match verdict {
            Verdict::Done => refused.extend(problems),
            // The server has a newer deletion of a document that is not there: there is nothing to read again.
            Verdict::Conflict if target.owners.is_empty() && !current.contains_key(group.id) => {
                refused.extend(problems);
            }
            Verdict::Conflict => again.push(group),
            Verdict::Refused(reason, retry) => match &group.writes[..] {
                [only] => refused.push((only.at, reason, retry)),
                // Which of them it was is found out one by one.
                _ => {
                    for member in group.writes {
                        let alone = vec![Group { id: group.id, writes: vec![member] }];
                        let more = Box::pin(apply(sender, place, target, alone, now)).await?;
                        refused.extend(more);
                    }
                }
            },
        }
    }
    Ok(again)
}

async fn read(
    sender: &Sender,
    place: Place<'_>,
    target: &Target,
    groups: &[Group<'_>],
) -> Result<HashMap<String, Current>, Outage> {
    let mut current = HashMap::new();
    for some in groups.chunks(MOST_READ) {
        let ids: Vec<&str> = some.iter().map(|group| group.id).collect();
        let path = format!("/{}/_mget", place.index);
        let answer = sender.http.send(Method::POST, &path, Content::Json(json!({ "ids": ids }))).await?;
        let operation = || format!("could not read documents of index {}", place.index);
        if !answer.is_success() {
            return Err(outage::of_answer(&sender.http, &operation(), &answer));
        }
        let read: Read = serde_json::from_slice(&answer.body).map_err(|error| Outage::new(operation(), error))?;
        for entry in read.docs {
            if let Some(error) = entry.error {
                return Err(Outage::new(operation(), error.to_string()));
            }
            let id = entry.id.clone();
            if let Some(document) = entry.current(target).map_err(|problem| Outage::new(operation(), problem))? {
                current.insert(id, document);
            }
        }
    }
    Ok(current)
}

impl Entry {
    fn current(self, target: &Target) -> Result<Option<Current>, String> {
        if !self.found {
            return Ok(None);
        }
        let (Some(version), Some(mut source)) = (self.version, self.source) else {
            return Err(format!("document {} comes without its version or its source", self.id));
        };
        if target.owners.is_empty() {
            let version = WriteVersion(version);
            let source = Some(Bytes::from(Value::Object(source).to_string()));
            return Ok(Some(Current { known: Known { version, source }, guard: Guard::Version(version) }));
        }
        let (Some(seq_no), Some(primary_term)) = (self.seq_no, self.primary_term) else {
            return Err(format!("document {} comes without its sequence number", self.id));
        };
        let own = source.remove(RESERVED).unwrap_or(Value::Null);
        let version = WriteVersion(own.get("version").and_then(Value::as_u64).unwrap_or(0));
        let is_deleted = own.get("deleted_at").is_some();
        let source = (!is_deleted).then(|| Bytes::from(Value::Object(source).to_string()));
        Ok(Some(Current { known: Known { version, source }, guard: Guard::Seen { seq_no, primary_term } }))
    }
}

/// What the writes make of a document, none when nothing; and which of them are refused.
fn fold(
    owners: &Owners,
    current: Option<&Current>,
    writes: &[Member<'_>],
    now: Timestamp,
) -> (Option<Change>, Vec<Refusal>) {
    let before = current.map(|current| &current.known);
    let mut known = before.map(Cow::Borrowed);
    let mut refused = Vec::new();
    let mut changed = false;
    for member in writes {
        match decide(owners, known.as_deref().cloned(), member.version, member.write) {
            Ok(Decision::Nothing) => {}
            Ok(Decision::Put(version, source, _)) => {
                known = Some(Cow::Owned(Known { version, source: Some(source) }));
                changed = true;
            }
            Ok(Decision::Bury(version)) => {
                known = Some(Cow::Owned(Known { version, source: None }));
                changed = true;
            }
            Err(reason) => refused.push((member.at, reason, RetryHelps::No)),
        }
    }
    let change = match known.filter(|_| changed) {
        None => None,
        // What is written again after a crash is there already.
        Some(known) if before == Some(&*known) && !owners.is_empty() => None,
        Some(known) if owners.is_empty() => {
            Some(Change { guard: Guard::Version(known.version), document: known.source.clone() })
        }
        Some(known) => {
            let guard = current.map_or(Guard::Absent, |current| current.guard);
            Some(Change { guard, document: Some(shared(&known, now)) })
        }
    };
    (change, refused)
}

/// A shared document with its version; a deleted one is nothing else.
fn shared(known: &Known, now: Timestamp) -> Bytes {
    let mut own = Map::new();
    own.insert("version".to_owned(), known.version.0.into());
    let mut document = match &known.source {
        // It was made of an object a moment ago.
        Some(source) => parse(source).unwrap_or_default(),
        None => {
            own.insert("deleted_at".to_owned(), now.to_string().into());
            Map::new()
        }
    };
    document.insert(RESERVED.to_owned(), Value::Object(own));
    Bytes::from(Value::Object(document).to_string())
}

//! Sends writes in requests of a bounded size, several at once, and tries again what the server could not take.
//!
//! Writes of one id stay in order, also when one of them has to be tried again.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, DefaultHasher, Hash as _, Hasher as _, RandomState};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use reqwest::Method;
use tokio::sync::Semaphore;

use super::bulk::Action;
use super::http::{Answer, Content, Http};
use super::items::{self, Item};
use super::outage::{self, Trouble};
use super::settings::Settings;
use crate::model::{Outage, RetryHelps};

/// How long to wait before a write is tried again: never so long that a server which is back is noticed late. After the last wait the server is said to be out, which the pillow's
/// status shows, and everything is given again.
const WAITS: [Duration; 7] = [
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(400),
    Duration::from_millis(800),
    Duration::from_millis(1000),
    Duration::from_millis(1000),
];

/// So many writes are worth a request beside the others.
const WORTH_A_REQUEST: usize = 250;

/// Sends bulk requests to one server.
pub(super) struct Sender {
    pub(super) http: Http,
    permits: Semaphore,
    in_flight: usize,
    most_bytes: usize,
    most_writes: usize,
    parameters: String,
}

/// Where writes go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) index: &'a str,
    /// Whether the server shall refuse to make an index of that name.
    pub(super) require_alias: bool,
}

/// What became of a write in the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Done,
    Conflict,
    Refused(String, RetryHelps),
}

/// What a request came to: what became of its writes, or what is the matter with it as a whole.
enum Came {
    Items(Vec<Item>),
    AllDone,
    /// It is too large, or something in it spoils it.
    Spoiled(String),
    Trouble(Trouble),
}

impl Sender {
    pub(super) fn new(settings: &Settings) -> Result<Self, Outage> {
        let in_flight = settings.requests_in_flight.get();
        Ok(Self {
            http: Http::new(settings)?,
            permits: Semaphore::new(in_flight.min(Semaphore::MAX_PERMITS)),
            in_flight,
            most_bytes: settings.request_bytes.get(),
            most_writes: settings.request_count.get(),
            parameters: format!("?filter_path=errors,items.*.status,items.*.error{}", settings.refresh.parameter()),
        })
    }

    /// Writes, and says what became of each.
    ///
    /// # Errors
    /// When the server does not answer, or cannot write now. Some of the writes may have been done.
    pub(super) async fn send(&self, place: Place<'_>, actions: &[Action<'_>]) -> Result<Vec<Verdict>, Outage> {
        let lanes = actions.len().div_ceil(WORTH_A_REQUEST).clamp(1, self.in_flight);
        let mut by_lane: Vec<Vec<usize>> = vec![Vec::new(); lanes];
        for (at, action) in actions.iter().enumerate() {
            by_lane[lane(action.id, lanes)].push(at);
        }
        let mut verdicts = vec![Verdict::Done; actions.len()];
        let sending = by_lane.iter().map(|lane| self.lane(place, actions, lane));
        for outcome in join_all(sending).await {
            for (at, verdict) in outcome? {
                verdicts[at] = verdict;
            }
        }
        Ok(verdicts)
    }

    /// One request after the other. Answers those that were not simply done.
    async fn lane(
        &self,
        place: Place<'_>,
        actions: &[Action<'_>],
        lane: &[usize],
    ) -> Result<Vec<(usize, Verdict)>, Outage> {
        let mut verdicts = Vec::new();
        let mut rest = lane;
        while !rest.is_empty() {
            let mut bytes = 0;
            let fits = rest.iter().take(self.most_writes).take_while(|at| {
                bytes += actions[**at].size();
                bytes <= self.most_bytes
            });
            let (request, later) = rest.split_at(fits.count().max(1));
            self.request(place, actions, request, &mut verdicts).await?;
            rest = later;
        }
        Ok(verdicts)
    }

    /// One request, again and in parts as long as it must be.
    async fn request(
        &self,
        place: Place<'_>,
        actions: &[Action<'_>],
        request: &[usize],
        verdicts: &mut Vec<(usize, Verdict)>,
    ) -> Result<(), Outage> {
        // What is still to be sent, the first part last.
        let mut parts = vec![request.to_vec()];
        let mut waits = WAITS.iter();
        let mut broken = String::new();
        while let Some(part) = parts.pop() {
            let trouble = match self.ask(place, actions, &part).await? {
                Came::AllDone => continue,
                Came::Items(items) => match sort(actions, &part, items, verdicts) {
                    Again::Nothing => continue,
                    Again::Trouble(trouble, again) => {
                        parts.push(again);
                        Some(trouble)
                    }
                    Again::Broken(reason, again) => {
                        broken = reason;
                        parts.push(again);
                        None
                    }
                },
                Came::Spoiled(reason) => {
                    if let [at] = part[..] {
                        verdicts.push((at, Verdict::Refused(reason, RetryHelps::No)));
                    } else {
                        let (first, second) = part.split_at(part.len() / 2);
                        parts.push(second.to_vec());
                        parts.push(first.to_vec());
                    }
                    continue;
                }
                Came::Trouble(trouble) => {
                    parts.push(part);
                    Some(trouble)
                }
            };
            let wait = waits.next().filter(|_| trouble.as_ref().is_none_or(Trouble::passes));
            match (wait, trouble) {
                (Some(wait), _) => tokio::time::sleep(jittered(*wait)).await,
                (None, Some(trouble)) => return Err(trouble.outage(&self.http, place.index).await),
                (None, None) => {
                    // The server broke over them each time: waiting on would hold the pillow for one document.
                    let given_up = parts.pop().unwrap_or_default();
                    let refused = |at| (at, Verdict::Refused(broken.clone(), RetryHelps::Perhaps));
                    verdicts.extend(given_up.into_iter().map(refused));
                }
            }
        }
        Ok(())
    }

    async fn ask(&self, place: Place<'_>, actions: &[Action<'_>], part: &[usize]) -> Result<Came, Outage> {
        let mut body = Vec::with_capacity(part.iter().map(|at| actions[*at].size()).sum());
        part.iter().for_each(|at| actions[*at].append(&mut body));
        let require_alias = if place.require_alias { "&require_alias=true" } else { "" };
        let path = format!("/{}/_bulk{}{require_alias}", place.index, self.parameters);
        let permit = self.permits.acquire().await.expect("the semaphore is never closed");
        let answer = self.http.send(Method::POST, &path, Content::Lines(Bytes::from(body))).await?;
        drop(permit);
        self.came(place, &answer, part.len())
    }

    fn came(&self, place: Place<'_>, answer: &Answer, count: usize) -> Result<Came, Outage> {
        let operation = format!("could not write to index {}", place.index);
        if answer.is_success() {
            return match items::parse(&answer.body, count) {
                Ok(None) => Ok(Came::AllDone),
                Ok(Some(items)) => Ok(Came::Items(items)),
                Err(problem) => Err(Outage::new(format!("search server {}: {operation}", self.http.place()), problem)),
            };
        }
        let said = answer.to_string();
        Ok(match (answer.status, answer.error_type().as_str()) {
            (400 | 413, _) => Came::Spoiled(said),
            (_, "cluster_block_exception") => Came::Trouble(Trouble::Blocked(said)),
            (429, "circuit_breaking_exception") => Came::Trouble(Trouble::Memory(said)),
            (429, _) => Came::Trouble(Trouble::Busy(said)),
            (502..=504, _) => Came::Trouble(Trouble::Unavailable(said)),
            _ => return Err(outage::of_answer(&self.http, &operation, answer)),
        })
    }
}

/// What of a request has to be sent again.
enum Again {
    Nothing,
    /// Because of this.
    Trouble(Trouble, Vec<usize>),
    /// Because the server broke over it, as it says.
    Broken(String, Vec<usize>),
}

fn sort(actions: &[Action<'_>], part: &[usize], items: Vec<Item>, verdicts: &mut Vec<(usize, Verdict)>) -> Again {
    let mut again: Vec<usize> = Vec::new();
    let mut ids: HashSet<&str> = HashSet::new();
    let mut trouble = None;
    let mut broken = String::new();
    for (at, item) in part.iter().zip(items) {
        let id = actions[*at].id;
        // A later write of the same id goes again too, else the earlier one would come after it.
        if ids.contains(id) {
            again.push(*at);
            continue;
        }
        match item {
            Item::Done => {}
            Item::Conflict => verdicts.push((*at, Verdict::Conflict)),
            Item::Refused(reason) => verdicts.push((*at, Verdict::Refused(reason, RetryHelps::No))),
            Item::Broken(reason) => {
                broken = reason;
                ids.insert(id);
                again.push(*at);
            }
            Item::Trouble(this) => {
                // What does not pass by itself is what a reader has to know of.
                if trouble.as_ref().is_none_or(Trouble::passes) {
                    trouble = Some(this);
                }
                ids.insert(id);
                again.push(*at);
            }
        }
    }
    match trouble {
        Some(trouble) => Again::Trouble(trouble, again),
        None if again.is_empty() => Again::Nothing,
        None => Again::Broken(broken, again),
    }
}

/// Which of so many lanes an id belongs to.
fn lane(id: &str, lanes: usize) -> usize {
    if lanes == 1 {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    usize::try_from(hasher.finish() % lanes as u64).expect("it is less than `lanes`")
}

/// Between a half and the whole, so that many writers do not come back at once.
fn jittered(wait: Duration) -> Duration {
    let random = u32::try_from(RandomState::new().build_hasher().finish() >> 32).unwrap_or(u32::MAX);
    wait.mul_f64(0.5 + f64::from(random) / f64::from(u32::MAX) / 2.0)
}

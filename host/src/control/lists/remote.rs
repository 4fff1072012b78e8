//! Keeps a list of a database or a document store as it is there.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep};

use super::content::{Content, Found};
use super::source::{Extent, Reader};
use crate::manifest::{ListSource, Times};

use super::super::assemble::Resources;

/// The first wait after a look that failed; doubled up to the time between two looks.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// A source that is back is noticed within this time, also where it is hardly ever looked at.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What is known of a list.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) found: Found,
    /// Why its source cannot be read now.
    pub(super) away: Option<String>,
}

impl Default for Known {
    fn default() -> Self {
        Self { found: Found::Loading, away: None }
    }
}

/// Reads the list, again and again, until it is dropped. Says to `changed` when something is new.
pub(super) async fn follow(
    source: ListSource,
    resources: Arc<Resources>,
    known: watch::Sender<Known>,
    again: Arc<Notify>,
    changed: Arc<Notify>,
) {
    let times = match &source {
        ListSource::Query { times, .. } | ListSource::Store { times, .. } => *times,
        ListSource::Files(_) => return,
    };
    let mut reader = None;
    let mut whole_at = Instant::now();
    let mut wait = FIRST_WAIT;
    loop {
        let extent = if Instant::now() >= whole_at { Extent::Whole } else { Extent::Changes };
        let next = match look(&source, &resources, &mut reader, extent).await {
            Ok(content) => {
                wait = FIRST_WAIT;
                if extent == Extent::Whole {
                    whole_at = Instant::now() + times.refresh;
                }
                if take(&source, &known, content) {
                    changed.notify_one();
                }
                times.poll.min(whole_at.saturating_duration_since(Instant::now()))
            }
            Err(reason) => {
                if lose(&source, &known, reason) {
                    changed.notify_one();
                }
                let next = wait;
                wait = (wait * 2).min(bound(times));
                next
            }
        };
        tokio::select! {
            () = sleep(next) => {}
            () = again.notified() => whole_at = Instant::now(),
        }
    }
}

fn bound(times: Times) -> Duration {
    times.poll.clamp(FIRST_WAIT, LONGEST_WAIT)
}

async fn look(
    source: &ListSource,
    resources: &Resources,
    reader: &mut Option<Reader>,
    extent: Extent,
) -> Result<Option<Content>, String> {
    let reader = match reader {
        Some(reader) => reader,
        None => reader.insert(Reader::open(source, resources).await?),
    };
    reader.look(extent).await
}

/// Takes over what was read; whether anything is new.
fn take(source: &ListSource, known: &watch::Sender<Known>, content: Option<Content>) -> bool {
    let content = content.map(Arc::new);
    let (mut news, mut troubles) = (false, Vec::new());
    known.send_modify(|known| {
        if known.away.take().is_some() {
            tracing::info!(list = %source, "can be read again");
            news = true;
        }
        if let Some(content) = content {
            let before = match &known.found {
                Found::Ready(before) => before.troubles.clone(),
                _ => Vec::new(),
            };
            troubles = content.troubles.iter().filter(|trouble| !before.contains(trouble)).cloned().collect();
            let found = Found::Ready(content);
            news |= known.found != found || !troubles.is_empty();
            known.found = found;
        }
    });
    for problem in troubles {
        tracing::error!(list = %source, problem, "not usable");
    }
    news
}

/// Notes that the source is away; whether that is new.
fn lose(source: &ListSource, known: &watch::Sender<Known>, reason: String) -> bool {
    let mut news = false;
    known.send_modify(|known| {
        if known.away.as_ref() == Some(&reason) {
            return;
        }
        news = true;
        let was_read = matches!(known.found, Found::Ready(_));
        tracing::warn!(list = %source, reason, keeps_last = was_read, "cannot be read");
        if !was_read {
            known.found = Found::Away(reason.clone());
        }
        known.away = Some(reason);
    });
    news
}

/// Reads a list once.
///
/// # Errors
/// Why it cannot be read.
pub(super) async fn read(source: &ListSource, resources: &Resources) -> Result<Content, String> {
    let mut reader = None;
    let content = look(source, resources, &mut reader, Extent::Whole).await?;
    content.ok_or_else(|| "it was not read".to_owned())
}

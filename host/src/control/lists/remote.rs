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
    let mut schedule = Schedule::new(times, Instant::now());
    loop {
        let extent = schedule.extent(Instant::now());
        let (news, next) = match look(&source, &resources, &mut reader, extent).await {
            Ok(content) => (take(&source, &known, content), schedule.read(extent, Instant::now())),
            Err(reason) => (lose(&source, &known, reason), schedule.failed()),
        };
        if news {
            changed.notify_one();
        }
        tokio::select! {
            () = sleep(next) => {}
            () = again.notified() => schedule.whole_at = Instant::now(),
        }
    }
}

/// When the source is looked at, and how thoroughly.
#[derive(Debug)]
struct Schedule {
    times: Times,
    /// From when on it is to be read whole.
    whole_at: Instant,
    /// The wait after the next failure.
    wait: Duration,
}

impl Schedule {
    fn new(times: Times, now: Instant) -> Self {
        Self { times, whole_at: now, wait: FIRST_WAIT }
    }

    fn extent(&self, now: Instant) -> Extent {
        if now >= self.whole_at { Extent::Whole } else { Extent::Changes }
    }

    /// It was read; how long to wait before the next look.
    fn read(&mut self, extent: Extent, now: Instant) -> Duration {
        self.wait = FIRST_WAIT;
        if extent == Extent::Whole {
            self.whole_at = now + self.times.refresh;
        }
        self.times.poll.min(self.whole_at.saturating_duration_since(now))
    }

    /// It could not be read; how long to wait before the next look.
    fn failed(&mut self) -> Duration {
        let wait = self.wait;
        self.wait = (wait * 2).min(self.times.poll.clamp(FIRST_WAIT, LONGEST_WAIT));
        wait
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const TIMES: Times = Times { refresh: Duration::from_secs(3 * 60 * 60), poll: Duration::from_secs(5) };

    #[test]
    fn a_list_is_read_whole_at_first_and_at_each_interval_and_not_before() {
        let begin = Instant::now();
        let mut schedule = Schedule::new(TIMES, begin);
        assert_eq!(schedule.extent(begin), Extent::Whole);
        assert_eq!(schedule.read(Extent::Whole, begin), TIMES.poll);
        for (after, expected) in [
            (SECOND, Extent::Changes),
            (TIMES.refresh - 5 * SECOND, Extent::Changes),
            (TIMES.refresh, Extent::Whole),
            (TIMES.refresh + SECOND, Extent::Whole),
        ] {
            assert_eq!(schedule.extent(begin + after), expected, "{after:?}");
        }
        // The last look before the interval does not make it wait longer.
        assert_eq!(schedule.read(Extent::Changes, begin + TIMES.refresh - SECOND), SECOND);
    }

    #[test]
    fn a_source_that_is_away_is_asked_ever_less_often_up_to_a_bound() {
        let mut schedule = Schedule::new(TIMES, Instant::now());
        let waits: Vec<u128> = (0..6).map(|_| schedule.failed().as_millis()).collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 5000, 5000]);
        assert_eq!(schedule.extent(Instant::now()), Extent::Whole);
        schedule.read(Extent::Whole, Instant::now());
        assert_eq!(schedule.failed(), FIRST_WAIT);
    }

    fn content(element: &str) -> Option<Content> {
        let element = super::super::content::Element { origin: "row 1".into(), json: element.into() };
        Some(Content::new(vec![element], Vec::new()).unwrap())
    }

    #[test]
    fn the_last_list_stays_in_force_while_its_source_is_away_and_the_same_list_is_no_news() {
        let source = ListSource::Query { database: "main".into(), query: "q".to_owned(), changed: None, times: TIMES };
        let (sender, known) = watch::channel(Known::default());
        assert!(lose(&source, &sender, "no answer".to_owned()));
        assert!(matches!(&known.borrow().found, Found::Away(reason) if reason == "no answer"));
        assert!(!lose(&source, &sender, "no answer".to_owned()), "said once");
        assert!(take(&source, &sender, content("1")));
        assert!(!take(&source, &sender, content("1")));
        assert!(!take(&source, &sender, None));
        let before = known.borrow().found.clone();
        assert!(lose(&source, &sender, "no answer".to_owned()));
        assert!(known.borrow().found == before && known.borrow().away.is_some());
        assert!(take(&source, &sender, content("2")));
        assert!(known.borrow().found != before && known.borrow().away.is_none());
    }
}

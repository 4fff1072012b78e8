//! Notices that a change log grew, once for all feeds that read it, without polling while nothing happens.
//!
//! The database says that it was written: SQLite's by its file, which may have been anybody's write, also our own
//! settles; PostgreSQL's by a notification. One task then asks the log for its end, and wakes the feeds only when that
//! moved.
//!
//! What was written need not be readable at once. SQLite writes a transaction to the `-wal` file *before* it makes it
//! visible, and nothing that a file system reports marks the second moment; in PostgreSQL an older transaction may
//! still be open, and its end is not announced. So the question is asked again after each event, at growing distances,
//! until the slowest commit that is worth waiting for must be over, and in PostgreSQL on and on while rows are held
//! back; whatever else comes late is found by the safety check.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::model::Outage;
use crate::sql::Database;

use super::{postgres, sqlite};

/// From an event to the first question, and so the least distance between two: bounds what a busy writer costs.
const FIRST: Duration = Duration::from_millis(4);

/// The last of the growing distances; with those before it the questions cover about a second. The distance as well
/// while rows are held back.
const LAST: Duration = Duration::from_millis(512);

/// How often the log is asked while no event comes. Events do not come from network file systems and containers'
/// mounts when another machine writes, nor where the kernel's limit of watches is reached; notifications do not come
/// from a standby server, nor while the connection that listens is broken.
pub(super) const SAFETY: Duration = Duration::from_secs(2);

/// Watches one database; the feeds share it and it ends with the last of them.
#[derive(Debug)]
pub(super) struct Watcher {
    grown: watch::Receiver<u64>,
    asked: Asked,
    // Held for their `Drop`: the one ends the events, the other the tasks.
    _events: Option<sqlite::Events>,
    _tasks: JoinSet<()>,
}

/// What is asked for the log's end.
#[derive(Debug, Clone)]
enum Asked {
    File(sqlite::Watched),
    Server(crate::sql::Postgres),
}

/// The log and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tail {
    pub(super) incarnation: String,
    /// The last row that can be read.
    pub(super) last: String,
    /// Rows were committed that cannot be read yet.
    pub(super) held_back: bool,
}

impl Watcher {
    /// Begins to watch. Must be called within a runtime.
    pub(super) fn start(database: &Database) -> Self {
        let touched = Arc::new(Notify::new());
        let (sender, grown) = watch::channel(0);
        let mut tasks = JoinSet::new();
        let (asked, events) = match database {
            Database::Sqlite(sqlite) => {
                let watched = sqlite::Watched::new(sqlite);
                let events = watched.events(&touched);
                (Asked::File(watched), events)
            }
            Database::Postgres(postgres) => {
                tasks.spawn(postgres::listen(postgres.clone(), Arc::clone(&touched)));
                (Asked::Server(postgres.clone()), None)
            }
        };
        tasks.spawn(follow(asked.clone(), touched, sender));
        Self { grown, asked, _events: events, _tasks: tasks }
    }

    /// A receiver that changes whenever there may be something new, or something wrong, for a feed to find.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.grown.clone()
    }

    /// Whether the database is still the one that was opened.
    ///
    /// # Errors
    /// When the path of a file leads to another one than the connections, or to none.
    pub(super) fn check(&self) -> Result<(), Outage> {
        match &self.asked {
            Asked::File(watched) => watched.check(),
            Asked::Server(_) => Ok(()),
        }
    }
}

impl Asked {
    async fn tail(&self) -> Result<Tail, Outage> {
        match self {
            Self::File(watched) => watched.tail().await,
            Self::Server(postgres) => postgres::tail(postgres).await,
        }
    }

    /// How long after an event the first question waits: a transaction in a file is a burst of events, and its end is
    /// what matters; a notification comes once, after the commit.
    fn first_wait(&self) -> Duration {
        match self {
            Self::File(_) => FIRST,
            Self::Server(_) => FIRST / 4,
        }
    }
}

/// The task: asks the log as the module says, until it is dropped.
async fn follow(asked: Asked, touched: Arc<Notify>, grown: watch::Sender<u64>) {
    // Nothing is known at first, so the first answer wakes: a feed may have looked before it.
    let mut last = None;
    let mut distance = FIRST;
    loop {
        let wait = if distance > LAST { SAFETY } else { distance };
        if timeout(wait, touched.notified()).await.is_ok() {
            sleep(asked.first_wait()).await;
            distance = FIRST;
        } else if distance <= LAST {
            distance *= 2;
        }
        let tail = asked.tail().await.ok();
        // A feed that is woken by an error meets it itself, and reports it.
        if tail.is_none() || tail != last {
            grown.send_modify(|wakes| *wakes = wakes.wrapping_add(1));
        }
        if tail.as_ref().is_some_and(|tail| tail.held_back) {
            distance = distance.min(LAST);
        }
        last = tail;
    }
}

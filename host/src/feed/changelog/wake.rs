//! Notices that a change log grew, once for all feeds that read it, without polling while nothing happens.
//!
//! The file system says that the database was written, which may have been anybody's write: also our own settles. One
//! task then asks the log for its last id, and wakes the feeds only when that moved.
//!
//! SQLite writes a transaction to the `-wal` file *before* it makes it visible, and nothing that a file system reports
//! marks the second moment. So the question is asked again after each event, at growing distances, until the slowest
//! commit that is worth waiting for must be over; whatever is slower is found by the safety check.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::model::{Outage, chain};
use crate::sql::Sqlite;

use super::outage;

/// From an event to the first question, and so the least distance between two: bounds what a busy writer costs.
const FIRST: Duration = Duration::from_millis(4);

/// The last of the growing distances; with those before it the questions cover about a second.
const LAST: Duration = Duration::from_millis(512);

/// How often the log is asked while no event comes. Events do not come from network file systems and containers'
/// mounts when another machine writes, and not at all where the kernel's limit of watches is reached.
const SAFETY: Duration = Duration::from_secs(2);

/// Watches one database file; the feeds share it and it ends with the last of them.
#[derive(Debug)]
pub(super) struct Watcher {
    grown: watch::Receiver<u64>,
    file: Option<DatabaseFile>,
    // Held for their `Drop`: the one ends the events, the other the task.
    _events: Option<RecommendedWatcher>,
    _task: JoinSet<()>,
}

/// The file that the connections are open on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DatabaseFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Watcher {
    /// Begins to watch. Must be called within a runtime.
    pub(super) fn start(sqlite: &Sqlite) -> Self {
        let file = DatabaseFile::of(Path::new(sqlite.path.as_ref()));
        let touched = Arc::new(Notify::new());
        let events = file.as_ref().and_then(|file| match watch_file(&file.path, Arc::clone(&touched)) {
            Ok(events) => Some(events),
            Err(error) => {
                let (database, every) = (file.path.display(), SAFETY);
                tracing::warn!(%database, error = %chain(&error), ?every, "cannot watch database, asking it instead");
                None
            }
        });
        let (sender, grown) = watch::channel(0);
        let mut task = JoinSet::new();
        task.spawn(follow(sqlite.clone(), file.clone(), touched, sender));
        Self { grown, file, _events: events, _task: task }
    }

    /// A receiver that changes whenever there may be something new, or something wrong, for a feed to find.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.grown.clone()
    }

    /// Open connections go on with a file that was removed or replaced, as if nothing had happened: what they read
    /// then is the past. This tells.
    ///
    /// # Errors
    /// When the path leads to another file than the connections, or to none.
    pub(super) fn check_file(&self) -> Result<(), Outage> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::check)
    }
}

impl DatabaseFile {
    fn of(path: &Path) -> Option<Self> {
        // SQLite follows links, and puts the -wal file beside the file itself.
        let path = path.canonicalize().ok()?;
        let metadata = path.metadata().ok()?;
        Some(Self { path, device: metadata.dev(), inode: metadata.ino() })
    }

    fn check(&self) -> Result<(), Outage> {
        let path = self.path.display();
        let found = self.path.metadata().map_err(|error| Outage::new(format!("database {path} is gone"), error))?;
        if (found.dev(), found.ino()) == (self.device, self.inode) {
            return Ok(());
        }
        let operation = format!("database {path} was replaced by another file while it was open; restart to use it");
        Err(Outage { operation, source: None })
    }
}

/// Watches the folder, because the -wal file comes and goes.
fn watch_file(path: &Path, touched: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    let database = path.file_name().unwrap_or_default().to_owned();
    let mut wal = OsString::from(&database);
    wal.push("-wal");
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error means that events were lost.
        let concerns_us = event.as_ref().map_or(true, |event| {
            let ours = |path: &PathBuf| path.file_name().is_some_and(|name| name == database || name == wal);
            // Opening and closing are no writes; SQLite does both whenever a connection comes or goes.
            !event.kind.is_access() && (event.need_rescan() || event.paths.iter().any(ours))
        });
        if concerns_us {
            touched.notify_one();
        }
    })?;
    watcher.watch(folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// The task: asks the log as the module says, until it is dropped.
async fn follow(sqlite: Sqlite, file: Option<DatabaseFile>, touched: Arc<Notify>, grown: watch::Sender<u64>) {
    // Nothing is known at first, so the first answer wakes: a feed may have looked before it.
    let mut last = None;
    let mut distance = FIRST;
    loop {
        let wait = if distance > LAST { SAFETY } else { distance };
        if timeout(wait, touched.notified()).await.is_ok() {
            // A transaction is a burst of events; its end is what matters.
            sleep(FIRST).await;
            distance = FIRST;
        } else if distance <= LAST {
            distance *= 2;
        }
        let end = end_of(&sqlite, file.as_ref()).await.ok();
        // A feed that is woken by an error meets it itself, and reports it.
        if end.is_none() || end != last {
            grown.send_modify(|wakes| *wakes = wakes.wrapping_add(1));
        }
        last = end;
    }
}

/// The log and its last id: the one cheap question.
async fn end_of(sqlite: &Sqlite, file: Option<&DatabaseFile>) -> Result<(String, i64), Outage> {
    if let Some(file) = file {
        file.check()?;
    }
    sqlx::query_as(
        "select incarnation, coalesce((select seq from sqlite_sequence where name = 'change_log'), 0)
         from change_log_meta",
    )
    .fetch_one(&sqlite.readers)
    .await
    .map_err(outage(&sqlite.path, "ask for the end of the change log"))
}

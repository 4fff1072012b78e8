//! How a SQLite file says that it was written, and what is asked then.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::feed::changelog::outage;
use crate::feed::changelog::wake::{SAFETY, Tail};
use crate::model::{Outage, chain};
use crate::sql::Sqlite;

/// The events of the file system; they end when it is dropped.
pub(in crate::feed::changelog) type Events = RecommendedWatcher;

/// A database file that is watched.
#[derive(Debug, Clone)]
pub(in crate::feed::changelog) struct Watched {
    sqlite: Sqlite,
    file: Option<DatabaseFile>,
}

/// The file that the connections are open on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DatabaseFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl Watched {
    pub(in crate::feed::changelog) fn new(sqlite: &Sqlite) -> Self {
        Self { sqlite: sqlite.clone(), file: DatabaseFile::of(Path::new(sqlite.path.as_ref())) }
    }

    /// Has every write of the file touch `touched`.
    pub(in crate::feed::changelog) fn events(&self, touched: &Arc<Notify>) -> Option<Events> {
        let file = self.file.as_ref()?;
        match watch_file(&file.path, Arc::clone(touched)) {
            Ok(events) => Some(events),
            Err(error) => {
                let (database, every) = (file.path.display(), SAFETY);
                tracing::warn!(%database, error = %chain(&error), ?every, "cannot watch database, asking it instead");
                None
            }
        }
    }

    /// Open connections go on with a file that was removed or replaced, as if nothing had happened: what they read
    /// then is the past. This tells.
    ///
    /// # Errors
    /// When the path leads to another file than the connections, or to none.
    pub(in crate::feed::changelog) fn check(&self) -> Result<(), Outage> {
        self.file.as_ref().map_or(Ok(()), DatabaseFile::check)
    }

    /// The log and its last id: the one cheap question.
    pub(in crate::feed::changelog) async fn tail(&self) -> Result<Tail, Outage> {
        self.check()?;
        let (incarnation, last): (String, String) = sqlx::query_as(
            "select incarnation,
               cast(coalesce((select seq from sqlite_sequence where name = 'change_log'), 0) as text)
             from change_log_meta",
        )
        .fetch_one(&self.sqlite.readers)
        .await
        .map_err(outage(&self.sqlite.path, "ask for the end of the change log"))?;
        Ok(Tail { incarnation, last, held_back: false })
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

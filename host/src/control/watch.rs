//! Tells when files that matter may have changed: manifests, settings, modules.
//!
//! It says only *that* something happened; what is on disk is read anew each time, so a missed or doubled event does
//! no harm. Directories are watched, not files: a save by rename, a deletion, a new file and a flipped symbolic link
//! all happen in a directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

/// Events that come closer together than this are one: editors and builds write a file in several steps.
const QUIET: Duration = Duration::from_millis(30);
/// Network file systems send no events: everything is looked at again after this time.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);

/// A watch over directories.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeSet<PathBuf>,
    happened: Arc<Notify>,
}

impl Watch {
    /// A watch over nothing yet. Where the system gives no watcher, only the regular look remains.
    pub(super) fn new() -> Self {
        let happened = Arc::new(Notify::new());
        let wake = Arc::clone(&happened);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too; it must not wake us, who read them.
            if event.is_ok_and(|event| !event.kind.is_access()) {
                wake.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, every = ?AT_LEAST_EVERY, "no file events on this system: looking regularly");
            })
            .ok();
        Self { watcher, watched: BTreeSet::new(), happened }
    }

    /// Watches the directories of these files, and of what they link to; no others.
    pub(super) fn follow<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        let wanted: BTreeSet<PathBuf> = files.flat_map(directories).collect();
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        for gone in self.watched.difference(&wanted) {
            // A directory that was deleted took its watch with it.
            watcher.unwatch(gone).unwrap_or_else(|error| tracing::debug!(%error, "directory is watched no more"));
        }
        let mut watched: BTreeSet<PathBuf> = self.watched.intersection(&wanted).cloned().collect();
        for new in wanted.difference(&self.watched) {
            match watcher.watch(new, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    watched.insert(new.clone());
                }
                Err(error) => tracing::debug!(directory = %new.display(), %error, "directory is not watched yet"),
            }
        }
        self.watched = watched;
    }

    /// Waits until something may have changed and has come to rest. Cancel-safe.
    pub(super) async fn changed(&self) {
        if timeout(AT_LEAST_EVERY, self.happened.notified()).await.is_ok() {
            sleep(QUIET).await;
        }
    }
}

/// The directory of a file, and the directories along its links.
fn directories(file: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut at = file.to_path_buf();
    // More links than this are a loop.
    for _ in 0..8 {
        let Some(parent) = at.parent() else { break };
        let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
        found.push(parent.to_path_buf());
        match std::fs::read_link(&at) {
            Ok(target) => at = parent.join(target),
            Err(_) => break,
        }
    }
    // A link may also stand further up in the path.
    if let Some(real) = file.canonicalize().ok().as_deref().and_then(Path::parent) {
        found.push(real.to_path_buf());
    }
    found
}

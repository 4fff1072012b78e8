//! Tells when files that matter may have changed: manifests, settings, modules.
//!
//! It says only *that* something happened; what is on disk is read anew each time, so a missed or doubled event does
//! no harm. Directories are watched, not files: a save by rename, a deletion, a new file and a flipped symbolic link
//! all happen in a directory. Events of other files in them, such as a database, are left out.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::scan::is_manifest;

/// Events that come closer together than this are one: editors and builds write a file in several steps.
const QUIET: Duration = Duration::from_millis(30);
/// A file that does not come to rest is looked at nevertheless after this time.
const LONGEST_UNREST: Duration = Duration::from_millis(500);
/// Network file systems send no events: everything is looked at again after this time.
const AT_LEAST_EVERY: Duration = Duration::from_secs(5);
/// More links than this in one path are a loop; the kernel's own bound.
const MOST_LINKS: usize = 40;

/// A watch over directories.
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    /// With the inode: a directory that was made anew has to be watched anew.
    watched: BTreeMap<PathBuf, u64>,
    interest: Arc<Mutex<Interest>>,
    happened: Arc<Notify>,
    /// The first event since the last look.
    unrest: Option<Instant>,
    look_at: Instant,
    complained: bool,
}

/// Which events are worth a look. All paths are free of links.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Interest {
    /// Entries of directories: files, and links on the way to them.
    entries: BTreeSet<PathBuf>,
    /// Directories of which every manifest counts.
    folders: BTreeSet<PathBuf>,
    /// Directories of which everything counts.
    whole: BTreeSet<PathBuf>,
    /// All watched directories.
    directories: BTreeSet<PathBuf>,
}

impl Watch {
    /// A watch over nothing yet. Where the system gives no watcher, only the regular look remains.
    pub(super) fn new() -> Self {
        let (happened, interest) = (Arc::new(Notify::new()), Arc::new(Mutex::new(Interest::default())));
        let (wake, wanted) = (Arc::clone(&happened), Arc::clone(&interest));
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // An error means that events may be missing.
            let matters = event.as_ref().map_or(true, |event| lock(&wanted).contains(event));
            if matters {
                wake.notify_one();
            }
        });
        let watcher = watcher
            .inspect_err(|error| {
                tracing::warn!(%error, every = ?AT_LEAST_EVERY, "no file events on this system: looking regularly");
            })
            .ok();
        Self {
            watcher,
            watched: BTreeMap::new(),
            interest,
            happened,
            unrest: None,
            look_at: Instant::now() + AT_LEAST_EVERY,
            complained: false,
        }
    }

    /// Watches these files, the manifests of this folder and whatever is in the `whole` ones, through all links; nothing
    /// else.
    pub(super) fn follow(&mut self, files: &BTreeSet<PathBuf>, folder: &Path, whole: &BTreeSet<PathBuf>) {
        let Some(watcher) = &mut self.watcher else {
            return;
        };
        let interest = Interest::of(files, folder, whole);
        let inode = |directory: &PathBuf| Some((directory.clone(), std::fs::metadata(directory).ok()?.ino()));
        let wanted: BTreeMap<PathBuf, u64> = interest.directories.iter().filter_map(inode).collect();
        *lock(&self.interest) = interest;
        for (gone, inode) in &self.watched {
            if wanted.get(gone) != Some(inode) {
                // A directory that was deleted took its watch with it.
                watcher.unwatch(gone).unwrap_or_else(|error| tracing::debug!(%error, "directory is watched no more"));
            }
        }
        self.watched.retain(|directory, inode| wanted.get(directory) == Some(inode));
        for (directory, inode) in wanted {
            if self.watched.contains_key(&directory) {
                continue;
            }
            match watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(directory, inode);
                    // What happened in it between the look and now gave no event.
                    self.happened.notify_one();
                }
                Err(error) if !self.complained => {
                    self.complained = true;
                    tracing::warn!(directory = %directory.display(), %error, every = ?AT_LEAST_EVERY,
                        "a directory cannot be watched: looking regularly");
                }
                Err(error) => tracing::debug!(directory = %directory.display(), %error, "directory is not watched"),
            }
        }
    }

    /// Waits until something may have changed and has come to rest. Cancel-safe: what was noticed is kept.
    pub(super) async fn changed(&mut self) {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(self.look_at) => {
                    self.unrest = None;
                    self.look_at = Instant::now() + AT_LEAST_EVERY;
                    return;
                }
                () = self.happened.notified() => {
                    let now = Instant::now();
                    let first = *self.unrest.get_or_insert(now);
                    self.look_at = (now + QUIET).min(first + LONGEST_UNREST);
                }
            }
        }
    }
}

impl Interest {
    fn of(files: &BTreeSet<PathBuf>, folder: &Path, whole: &BTreeSet<PathBuf>) -> Self {
        let mut interest = Self::default();
        for file in files {
            interest.take(trail(file));
        }
        // Where the folder is not there, the trail leads to what is missing of it.
        interest.take(trail(folder));
        if let Ok(real) = folder.canonicalize() {
            interest.directories.insert(real.clone());
            interest.folders.insert(real);
        }
        for folder in whole {
            let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
            interest.take(trail(folder));
            if let Ok(real) = folder.canonicalize() {
                interest.directories.insert(real.clone());
                interest.whole.insert(real);
            }
        }
        interest
    }

    fn take(&mut self, trail: Vec<PathBuf>) {
        self.directories.extend(trail.iter().filter_map(|entry| entry.parent()).map(Path::to_path_buf));
        self.entries.extend(trail);
    }

    fn contains(&self, event: &notify::Event) -> bool {
        // Reading a file is an event too; it must not wake us, who read them.
        if event.kind.is_access() {
            return false;
        }
        let matters = |path: &PathBuf| {
            let within = |folders: &BTreeSet<PathBuf>| path.parent().is_some_and(|parent| folders.contains(parent));
            self.entries.contains(path)
                || within(&self.whole)
                || self.directories.contains(path)
                || (is_manifest(path) && within(&self.folders))
        };
        event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(matters)
    }
}

/// The directory entries that decide what `file` is: each link on the way, and the file. Where the way ends early, the
/// entry that is missing.
fn trail(file: &Path) -> Vec<PathBuf> {
    let Ok(absolute) = std::path::absolute(file) else {
        return Vec::new();
    };
    let steps = |path: &Path| path.components().map(|step| step.as_os_str().to_owned()).collect::<Vec<OsString>>();
    let mut rest: VecDeque<OsString> = steps(&absolute).into();
    let (mut real, mut found, mut links) = (PathBuf::new(), Vec::new(), 0);
    while let Some(step) = rest.pop_front() {
        match Path::new(&step).components().next() {
            Some(Component::ParentDir) => {
                real.pop();
                continue;
            }
            Some(Component::CurDir) | None => continue,
            // A root replaces what is before it.
            Some(_) => real.push(&step),
        }
        if let Ok(target) = std::fs::read_link(&real) {
            found.push(real.clone());
            links += 1;
            if links > MOST_LINKS {
                return found;
            }
            real.pop();
            for step in steps(&target).into_iter().rev() {
                rest.push_front(step);
            }
        } else if rest.is_empty() || !real.exists() {
            found.push(real);
            return found;
        }
    }
    found
}

fn lock(interest: &Mutex<Interest>) -> std::sync::MutexGuard<'_, Interest> {
    interest.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    /// A folder whose own path has no links.
    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().canonicalize().unwrap();
        (folder, path)
    }

    fn check(root: &Path, file: &str, expected: &[&str]) {
        let expected: Vec<PathBuf> = expected.iter().map(|entry| root.join(entry)).collect();
        assert_eq!(trail(&root.join(file)), expected, "{file}");
    }

    #[test]
    fn the_trail_of_a_file_names_every_link_on_the_way() {
        let (_folder, root) = folder();
        fs::create_dir_all(root.join("v1/pipelines")).unwrap();
        fs::write(root.join("v1/pipelines/a.toml"), "").unwrap();
        symlink("v1", root.join("current")).unwrap();
        symlink("current/pipelines", root.join("pipelines")).unwrap();
        symlink("../current/pipelines/a.toml", root.join("v1/b.toml")).unwrap();
        check(&root, "v1/pipelines/a.toml", &["v1/pipelines/a.toml"]);
        check(&root, "pipelines/a.toml", &["pipelines", "current", "v1/pipelines/a.toml"]);
        check(&root, "v1/b.toml", &["v1/b.toml", "current", "v1/pipelines/a.toml"]);
        check(&root, "pipelines/../b.toml", &["pipelines", "current", "v1/b.toml", "current", "v1/pipelines/a.toml"]);
    }

    #[test]
    fn the_trail_ends_at_what_is_missing() {
        let (_folder, root) = folder();
        check(&root, "absent/deep/a.toml", &["absent"]);
        symlink("loop", root.join("loop")).unwrap();
        assert!(trail(&root.join("loop/a.toml")).iter().all(|entry| *entry == root.join("loop")));
    }

    #[test]
    fn neighbours_of_what_is_watched_do_not_matter() {
        let (_folder, root) = folder();
        fs::create_dir(root.join("pipelines")).unwrap();
        fs::create_dir(root.join("sources")).unwrap();
        let whole = BTreeSet::from([root.join("sources")]);
        let interest = Interest::of(&BTreeSet::from([root.join("pillowtop.toml")]), &root.join("pipelines"), &whole);
        let matters = |path: &str| {
            let kind = notify::EventKind::Modify(notify::event::ModifyKind::Any);
            interest.contains(&notify::Event::new(kind).add_path(root.join(path)))
        };
        for path in ["pillowtop.toml", "pipelines/new.toml", "pipelines", "sources/new.json"] {
            assert!(matters(path), "{path}");
        }
        for path in ["pillowtop.db-wal", "other.toml", "pipelines/.new.toml.swp", "pipelines/.new.toml", "search"] {
            assert!(!matters(path), "{path}");
        }
    }

    #[tokio::test]
    async fn what_happened_is_kept_when_the_wait_is_given_up() {
        tokio::time::pause();
        let mut watch = Watch::new();
        watch.happened.notify_one();
        // Given up again and again, as by a beat: the look comes in time nevertheless.
        let began = Instant::now();
        while tokio::time::timeout(Duration::from_millis(10), watch.changed()).await.is_err() {}
        assert!(began.elapsed() < Duration::from_millis(100), "{:?}", began.elapsed());
        let began = Instant::now();
        while tokio::time::timeout(Duration::from_secs(1), watch.changed()).await.is_err() {}
        assert!(began.elapsed() < AT_LEAST_EVERY + QUIET, "{:?}", began.elapsed());
    }
}

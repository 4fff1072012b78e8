//! tantivy's directory with half of the disk waits of a commit.
//!
//! tantivy keeps a list of its files, so that it can delete those that nothing needs any more, and makes it durable
//! for every single file that it creates: seven times for a segment. Here the list is durable once for each commit,
//! just before the commit itself. After a crash in between, files may lie around that stand in no list: they are
//! looked for when the index is opened for writing, and deleted.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::directory::error::{DeleteError, LockError, OpenReadError, OpenWriteError};
use tantivy::directory::{
    Directory, DirectoryLock, FileHandle, FileSlice, Lock, META_LOCK, MmapDirectory, WatchCallback, WatchHandle,
    WritePtr,
};
use tantivy::{Index, TantivyError};

/// tantivy's list of its files (0.27, `core/mod.rs`).
const FILES: &str = ".managed.json";

/// tantivy's list of the segments that count: writing it is the commit.
const COMMIT: &str = "meta.json";

/// A folder on disk.
#[derive(Clone, Debug)]
pub(super) struct Disk {
    inner: MmapDirectory,
    /// The list of files, as it will be written before the next commit.
    files: Arc<Mutex<Option<Vec<u8>>>>,
}

impl Disk {
    pub(super) fn open(folder: &Path) -> tantivy::Result<Self> {
        Ok(Self { inner: MmapDirectory::open(folder)?, files: Arc::new(Mutex::new(None)) })
    }
}

impl Directory for Disk {
    fn atomic_write(&self, path: &Path, data: &[u8]) -> io::Result<()> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if path == Path::new(FILES) {
            *files = Some(data.to_vec());
            return Ok(());
        }
        if path == Path::new(COMMIT)
            && let Some(list) = files.take()
        {
            self.inner.atomic_write(Path::new(FILES), &list)?;
        }
        drop(files);
        self.inner.atomic_write(path, data)
    }

    fn atomic_read(&self, path: &Path) -> Result<Vec<u8>, OpenReadError> {
        let files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        match files.as_ref().filter(|_| path == Path::new(FILES)) {
            Some(list) => Ok(list.clone()),
            None => self.inner.atomic_read(path),
        }
    }

    fn get_file_handle(&self, path: &Path) -> Result<Arc<dyn FileHandle>, OpenReadError> {
        self.inner.get_file_handle(path)
    }

    fn open_read(&self, path: &Path) -> Result<FileSlice, OpenReadError> {
        self.inner.open_read(path)
    }

    fn delete(&self, path: &Path) -> Result<(), DeleteError> {
        self.inner.delete(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, OpenReadError> {
        self.inner.exists(path)
    }

    fn open_write(&self, path: &Path) -> Result<WritePtr, OpenWriteError> {
        self.inner.open_write(path)
    }

    fn sync_directory(&self) -> io::Result<()> {
        self.inner.sync_directory()
    }

    fn acquire_lock(&self, lock: &Lock) -> Result<DirectoryLock, LockError> {
        self.inner.acquire_lock(lock)
    }

    fn watch(&self, callback: WatchCallback) -> tantivy::Result<WatchHandle> {
        self.inner.watch(callback)
    }
}

/// Deletes files of segments that no commit has. Call it with the writer's lock held, before the first write.
pub(super) fn sweep(index: &Index, folder: &Path) -> tantivy::Result<()> {
    // A reader opens the files of a commit under this lock.
    let _lock = index.directory().acquire_lock(&META_LOCK).map_err(|error| TantivyError::LockFailure(error, None))?;
    let segments: HashSet<String> = index.searchable_segment_ids()?.iter().map(|id| id.uuid_string()).collect();
    let is_left_over = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let segment = name.split('.').next().unwrap_or_default();
        segment.len() == 32 && segment.bytes().all(|byte| byte.is_ascii_hexdigit()) && !segments.contains(segment)
    };
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if is_left_over(&path) {
            fs::remove_file(path)?;
        }
    }
    Ok(())
}

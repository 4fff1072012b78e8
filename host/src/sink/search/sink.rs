//! The sink: any number of indices in one folder, each opened when it is needed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::task::JoinSet;

use super::index::SearchIndex;
use super::mapping::Mapping;
use super::storage::{Definition, IndexName};
use crate::model::{Clock, Index, Outage, RetryHelps, Table, Write, chain};
use crate::sink::{PrepareError, Rejected, Sink, Versioned};

/// How long an index stays open for writing without a write. A closed one costs no memory and no thread.
const IDLE: Duration = Duration::from_secs(10);

/// Search indices in a folder. Cheap to open: an index is opened by its first write.
pub struct SearchSink {
    shared: Arc<Shared>,
    /// The task that closes what is idle; it ends with the sink.
    janitor: Mutex<JoinSet<()>>,
}

struct Shared {
    folder: PathBuf,
    clock: Clock,
    indices: Mutex<HashMap<Arc<str>, Arc<SearchIndex>>>,
    /// Held while indices are prepared, so that what was checked is what is changed.
    preparing: Mutex<()>,
}

impl SearchSink {
    /// A sink whose indices are folders in `folder`, which is made when the first index is.
    pub fn open(folder: impl Into<PathBuf>) -> Self {
        Self::with_clock(folder, Clock::System)
    }

    /// The same, with a clock that tells the age of tombstones.
    pub fn with_clock(folder: impl Into<PathBuf>, clock: Clock) -> Self {
        let shared =
            Shared { folder: folder.into(), clock, indices: Mutex::new(HashMap::new()), preparing: Mutex::new(()) };
        Self { shared: Arc::new(shared), janitor: Mutex::new(JoinSet::new()) }
    }

    /// The folder of the indices, for [`search`](super::search) and its like.
    pub fn folder(&self) -> &Path {
        &self.shared.folder
    }

    fn start_janitor(&self) {
        let mut janitor = self.janitor.lock().unwrap_or_else(PoisonError::into_inner);
        if !janitor.is_empty() {
            return;
        }
        // Weak: dropping the sink gives the writers' locks back at once, not when this task is next looked at.
        let shared = Arc::downgrade(&self.shared);
        janitor.spawn(async move {
            loop {
                tokio::time::sleep(IDLE / 2).await;
                let Some(indices) = shared.upgrade().map(|shared| shared.all()) else { return };
                let closed = blocking("close idle indices", move || {
                    indices.iter().try_for_each(|index| index.close_if_idle(IDLE))
                });
                if let Err(outage) = closed.await {
                    tracing::warn!(error = %chain(&outage), "idle index could not be closed cleanly");
                }
            }
        });
    }
}

#[async_trait]
impl Sink for SearchSink {
    async fn prepare(&self, tables: &[Table], indices: &[Index]) -> Result<(), PrepareError> {
        let mut problems: Vec<String> =
            tables.iter().map(|table| format!("table {}: a search index holds no tables", table.name)).collect();
        let mut declared = Vec::new();
        for index in indices {
            match declaration(index) {
                Ok(index) => declared.push(index),
                Err(more) => problems.extend(more),
            }
        }
        if !problems.is_empty() {
            return Err(PrepareError::Refused(problems));
        }
        if declared.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let prepared = blocking("prepare indices", move || Ok(shared.prepare(&declared))).await;
        self.start_janitor();
        prepared.map_err(PrepareError::Outage)?
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        if writes.is_empty() {
            return Ok(Vec::new());
        }
        self.start_janitor();
        let shared = Arc::clone(&self.shared);
        // Cloning is cheap, and the thread that indexes cannot borrow from a task.
        let writes = writes.to_vec();
        blocking("write to indices", move || shared.write(&writes)).await
    }

    async fn flush(&self) -> Result<(), Outage> {
        commit(self.shared.all()).await
    }

    async fn flush_writes(&self, writes: &[Versioned]) -> Result<(), Outage> {
        let written: HashSet<&Arc<str>> = writes
            .iter()
            .filter_map(|write| match &write.write {
                Write::Index(target) | Write::Merge { target, .. } => Some(&target.index),
                Write::Delete { index, .. } => Some(index),
                Write::Rows { .. } | Write::Publish(_) | Write::Invalidate { .. } => None,
            })
            .collect();
        commit(self.shared.open(&written)).await
    }
}

/// Commits those of the indices that hold something uncommitted, side by side.
async fn commit(indices: Vec<Arc<SearchIndex>>) -> Result<(), Outage> {
    let mut commits = JoinSet::new();
    for index in indices {
        if index.is_dirty() {
            commits.spawn_blocking(move || index.flush());
        }
    }
    // Every commit is waited for, also when one fails.
    let mut outcome = Ok(());
    while let Some(commit) = commits.join_next().await {
        match commit {
            Ok(Ok(())) => {}
            Ok(Err(outage)) => outcome = Err(outage),
            Err(error) => outcome = Err(Outage::new("could not commit an index", error)),
        }
    }
    outcome
}

impl Shared {
    /// Those of the named indices that are open; what is not open holds nothing uncommitted.
    fn open(&self, names: &HashSet<&Arc<str>>) -> Vec<Arc<SearchIndex>> {
        let indices = self.indices.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().filter_map(|name| indices.get(*name).map(Arc::clone)).collect()
    }

    fn all(&self) -> Vec<Arc<SearchIndex>> {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner).values().map(Arc::clone).collect()
    }

    fn known(&self, name: &str) -> Option<Arc<SearchIndex>> {
        self.indices.lock().unwrap_or_else(PoisonError::into_inner).get(name).map(Arc::clone)
    }

    /// Checks every declaration before it changes any index.
    fn prepare(&self, declared: &[(IndexName, Definition)]) -> Result<(), PrepareError> {
        let _preparing = self.preparing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut indices = Vec::new();
        let mut problems = Vec::new();
        for (name, definition) in merged(declared, &mut problems) {
            let index = match self.known(name.as_str()) {
                Some(index) => index,
                None => Arc::new(self.load(&name, &definition).map_err(PrepareError::Outage)?),
            };
            if let Err(more) = index.check(&definition) {
                problems.extend(more);
            }
            indices.push((name, index, definition));
        }
        if !problems.is_empty() {
            return Err(PrepareError::Refused(problems));
        }
        for (name, index, definition) in indices {
            index.adopt(&definition).map_err(PrepareError::Outage)?.map_err(PrepareError::Refused)?;
            self.indices.lock().unwrap_or_else(PoisonError::into_inner).insert(name.as_str().into(), index);
        }
        Ok(())
    }

    fn load(&self, name: &IndexName, declared: &Definition) -> Result<SearchIndex, Outage> {
        let folder = name.folder(&self.folder);
        let on_disk = Definition::load(&folder)
            .map_err(|error| Outage::new(format!("could not read the definition of index {}", name.as_str()), error))?;
        Ok(SearchIndex::new(name.clone(), folder, self.clock, on_disk, declared))
    }

    fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let mut by_index: Vec<(&Arc<str>, Vec<usize>)> = Vec::new();
        let mut rejected = Vec::new();
        for (at, versioned) in writes.iter().enumerate() {
            let name = match &versioned.write {
                Write::Index(target) | Write::Merge { target, .. } => &target.index,
                Write::Delete { index, .. } => index,
                Write::Rows { .. } | Write::Publish(_) | Write::Invalidate { .. } => {
                    rejected.push(refuse(at, "a search index takes documents only".to_owned()));
                    continue;
                }
            };
            match by_index.iter_mut().find(|(known, _)| *known == name) {
                Some((_, places)) => places.push(at),
                None => by_index.push((name, vec![at])),
            }
        }
        for (name, places) in by_index {
            match self.known(name) {
                Some(index) => {
                    let writes = places.iter().map(|at| (*at, writes[*at].version, &writes[*at].write));
                    rejected.extend(index.write(writes)?.into_iter().map(|(at, reason)| refuse(at, reason)));
                }
                None => {
                    rejected.extend(places.into_iter().map(|at| refuse(at, format!("index {name} was not prepared"))));
                }
            }
        }
        rejected.sort_by_key(|rejected| rejected.at);
        Ok(rejected)
    }
}

fn refuse(at: usize, reason: String) -> Rejected {
    Rejected { at, reason, retry: RetryHelps::No }
}

fn declaration(index: &Index) -> Result<(IndexName, Definition), Vec<String>> {
    let name = IndexName::parse(&index.name).map_err(|problem| vec![problem])?;
    let named = |problem| format!("index {}: {problem}", index.name);
    let mapping = Mapping::parse(&index.mapping);
    let mapping = mapping.map_err(|problems| problems.into_iter().map(named).collect::<Vec<_>>())?;
    let owners =
        if index.owned_fields.is_empty() { Vec::new() } else { vec![index.owned_fields.iter().cloned().collect()] };
    Ok((name, Definition { mapping, owners }))
}

/// Several declarations of one index as one.
fn merged(declared: &[(IndexName, Definition)], problems: &mut Vec<String>) -> Vec<(IndexName, Definition)> {
    let mut merged: Vec<(IndexName, Definition)> = Vec::new();
    for (name, definition) in declared {
        match merged.iter_mut().find(|(known, _)| known == name) {
            None => merged.push((name.clone(), definition.clone())),
            Some((_, known)) => match known.extended(definition) {
                Ok(extended) => *known = extended,
                Err(more) => {
                    problems.extend(more.into_iter().map(|problem| format!("index {}: {problem}", name.as_str())));
                }
            },
        }
    }
    merged
}

/// Does blocking work away from tokio's workers.
async fn blocking<T: Send + 'static>(
    operation: &str,
    work: impl FnOnce() -> Result<T, Outage> + Send + 'static,
) -> Result<T, Outage> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(error) => Err(Outage::new(format!("could not {operation}"), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DocumentKey, IndexWrite, ProcessorName, WriteVersion};
    use crate::sink::search;
    use jiff::{Span, Timestamp};
    use tempfile::TempDir;

    fn declared() -> Index {
        let mapping = br#"{"properties": {"age": {"type": "long"}}}"#.as_slice().into();
        Index { name: "cases".to_owned(), part: None, mapping, owned_fields: vec![] }
    }

    fn versioned(version: u64, write: Write) -> Versioned {
        let processor = ProcessorName::new("indexer");
        Versioned {
            processor,
            document: DocumentKey::new("case", "a"),
            version: WriteVersion(version),
            write,
            table: None,
        }
    }

    fn index(version: u64, document: &'static str) -> Versioned {
        let target = IndexWrite { index: "cases".into(), id: "a".into(), document: document.into() };
        versioned(version, Write::Index(target))
    }

    async fn prepared(folder: &TempDir) -> SearchSink {
        let sink = SearchSink::open(folder.path());
        sink.prepare(&[], &[declared()]).await.unwrap();
        sink
    }

    async fn write(sink: &SearchSink, write: Versioned) {
        assert_eq!(sink.write(&[write]).await.unwrap(), []);
        sink.flush().await.unwrap();
    }

    #[tokio::test]
    async fn a_second_writer_is_told_who_is_in_the_way() {
        let folder = tempfile::tempdir().unwrap();
        let first = prepared(&folder).await;
        // What is there already needs no lock to be prepared.
        let second = prepared(&folder).await;
        let outage = second.write(&[index(1, "{}")]).await.unwrap_err();
        let place = folder.path().join("cases");
        assert!(
            outage.to_string().ends_with(&format!("cases in {} is being written by another process", place.display()))
        );
        drop(first);
        write(&second, index(1, "{}")).await;
        assert_eq!(search::count(folder.path(), "cases").unwrap(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn an_idle_index_gives_its_lock_back() {
        let folder = tempfile::tempdir().unwrap();
        let first = prepared(&folder).await;
        write(&first, index(1, "{}")).await;
        let second = prepared(&folder).await;
        // Paused time moves on by itself whenever everything waits; the wait here has no other end than the closing.
        let limit = tokio::time::Instant::now() + IDLE * 10;
        while second.write(&[index(2, "{}")]).await.is_err() {
            assert!(tokio::time::Instant::now() < limit, "the lock was never given back");
            tokio::time::sleep(IDLE / 4).await;
        }
    }

    #[tokio::test]
    async fn a_folder_that_cannot_be_written_is_an_outage() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "").unwrap();
        let sink = SearchSink::open(folder.path().join("file"));
        let error = sink.prepare(&[], &[declared()]).await.unwrap_err();
        assert!(matches!(error, PrepareError::Outage(_)), "{error:?}");
    }

    #[tokio::test]
    async fn tombstones_are_dropped_after_a_week() {
        let folder = tempfile::tempdir().unwrap();
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (hours, kept_out) in [(0, true), (7 * 24 - 1, true), (7 * 24 + 1, false)] {
            let clock = Clock::Fixed(start + Span::new().hours(hours));
            let sink = SearchSink::with_clock(folder.path(), clock);
            sink.prepare(&[], &[declared()]).await.unwrap();
            if hours == 0 {
                let id = "a".into();
                write(&sink, versioned(9, Write::Delete { index: "cases".into(), id })).await;
            }
            // Opening the writer marks what is to be dropped, and the next commit drops it.
            let other = IndexWrite { index: "cases".into(), id: "b".into(), document: "{}".into() };
            write(&sink, versioned(1, Write::Index(other))).await;
            write(&sink, index(8, "{}")).await;
            assert_eq!(search::get(folder.path(), "cases", "a").unwrap().is_none(), kept_out, "after {hours} hours");
        }
    }

    #[tokio::test]
    async fn what_a_lost_writer_had_is_written_by_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let sink = prepared(&folder).await;
        write(&sink, index(1, r#"{"age": 1}"#)).await;
        assert_eq!(sink.write(&[index(2, r#"{"age": 2}"#)]).await.unwrap(), []);
        sink.shared.known("cases").unwrap().lose_writer();
        sink.flush().await.unwrap();
        assert_eq!(search::get(folder.path(), "cases", "a").unwrap().unwrap(), r#"{"age": 2}"#);
        assert_eq!(search::count(folder.path(), "cases").unwrap(), 1);
    }

    #[tokio::test]
    async fn what_a_crash_left_behind_is_swept_up() {
        let folder = tempfile::tempdir().unwrap();
        let sink = prepared(&folder).await;
        write(&sink, index(1, r#"{"age": 1}"#)).await;
        drop(sink);
        let left_over = folder.path().join("cases").join(format!("{}.store", "0".repeat(32)));
        std::fs::write(&left_over, "half a segment").unwrap();
        write(&prepared(&folder).await, index(2, r#"{"age": 2}"#)).await;
        assert!(!left_over.exists());
        assert_eq!(search::get(folder.path(), "cases", "a").unwrap().unwrap(), r#"{"age": 2}"#);
    }

    #[tokio::test]
    async fn many_commits_do_not_pile_up_files() {
        let folder = tempfile::tempdir().unwrap();
        let sink = prepared(&folder).await;
        for version in 1..60 {
            write(&sink, index(version, r#"{"age": 1}"#)).await;
        }
        drop(sink);
        let files = std::fs::read_dir(folder.path().join("cases")).unwrap().count();
        assert!(files < 100, "{files} files after 60 commits of one document");
        assert_eq!(search::count(folder.path(), "cases").unwrap(), 1);
    }

    #[tokio::test]
    async fn what_a_mapping_learned_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        write(&prepared(&folder).await, index(1, r#"{"size": 1}"#)).await;
        let sink = prepared(&folder).await;
        let rejected = sink.write(&[index(2, r#"{"size": "big"}"#)]).await.unwrap();
        assert_eq!(rejected[0].reason, r#"index cases: field size is long, and "big" is not an integer"#);
    }

    #[tokio::test]
    async fn what_is_not_for_an_index_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sink = prepared(&folder).await;
        let invalidate = versioned(1, Write::Invalidate { cache: "c".into(), keys: vec![] });
        assert_eq!(sink.write(&[invalidate]).await.unwrap().len(), 1);
        let outside = Index { name: "../cases".to_owned(), ..declared() };
        assert!(matches!(sink.prepare(&[], &[outside]).await, Err(PrepareError::Refused(_))));
    }
}

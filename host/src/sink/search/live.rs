//! An index that is open for writing: tantivy's writer, and what is committed, by id.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tantivy::columnar::Column;
use tantivy::indexer::{IndexWriterOptions, LogMergePolicy};
use tantivy::query::RangeQuery;
use tantivy::schema::{IndexRecordOption, OwnedValue, Value as _};
use tantivy::{
    DocAddress, DocSet as _, IndexReader, IndexWriter, InvertedIndexReader, ReloadPolicy, Searcher, TERMINATED,
    TantivyDocument, Term,
};
use tokio::time::Instant;

use super::disk;
use super::extract::{Exact, Extracted};
use super::storage::{self, DELETED, Fields};
use crate::model::WriteVersion;
use crate::sink::decide::Known;

/// How much a writer holds before it puts a segment on disk; tantivy asks for no less.
const MEMORY_BUDGET: usize = 15_000_000;

/// How long a tombstone keeps older writes of its document out. A write is as old as its batch, and a batch lives for
/// minutes; whoever reads a feed again from further back comes past the deletion too, and deletes again.
const TOMBSTONES_KEPT: Duration = Duration::from_hours(7 * 24);

/// How often an index that is always open looks for tombstones to drop; opening it looks too.
const PRUNED_EVERY: Duration = Duration::from_hours(24);

/// The writer and the committed state beside it.
pub(super) struct Live {
    writer: IndexWriter,
    reader: IndexReader,
    fields: Fields,
    committed: Committed,
    pruned: Instant,
}

/// The last commit, ready for look-ups by id.
struct Committed {
    searcher: Searcher,
    segments: Vec<Segment>,
}

struct Segment {
    ids: Arc<InvertedIndexReader>,
    version: Column<u64>,
    deleted_at: Column<u64>,
}

/// Whether a look-up needs the document itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Want {
    Version,
    Source,
}

impl Live {
    /// Takes the writer's lock and opens what is committed.
    pub(super) fn open(folder: &Path, now: Timestamp) -> tantivy::Result<Self> {
        let (index, fields) = storage::open_or_create(folder)?;
        let options = IndexWriterOptions::builder()
            .memory_budget_per_thread(MEMORY_BUDGET)
            .num_worker_threads(1)
            .num_merge_threads(1)
            .build();
        let writer: IndexWriter = index.writer_with_options(options)?;
        disk::sweep(&index, folder)?;
        let mut policy = LogMergePolicy::default();
        // Whole documents are replaced all the time; what was replaced should not stay for long.
        policy.set_del_docs_ratio_before_merge(0.4);
        writer.set_merge_policy(Box::new(policy));
        let reader =
            index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(4).try_into()?;
        let committed = Committed::of(&reader, fields)?;
        let live = Self { writer, reader, fields, committed, pruned: Instant::now() };
        live.prune(now)?;
        Ok(live)
    }

    /// What the last commit holds for `id`.
    pub(super) fn find(&self, id: &str, want: Want) -> tantivy::Result<Option<Known>> {
        self.committed.find(self.fields, id, want)
    }

    /// Replaces what there is for `id` by a document.
    pub(super) fn put(&self, id: &str, version: WriteVersion, source: &[u8], values: Extracted) -> tantivy::Result<()> {
        let mut document = TantivyDocument::new();
        document.add_text(self.fields.id, id);
        document.add_u64(self.fields.version, version.0);
        document.add_bytes(self.fields.source, source);
        let exact = values.exact.into_iter().map(|(path, values)| {
            let values = values.into_iter().map(|value| match value {
                Exact::Text(text) => OwnedValue::Str(text),
                Exact::Number(number) => OwnedValue::I64(number),
            });
            (path, OwnedValue::Array(values.collect()))
        });
        document.add_object(self.fields.exact, exact.collect());
        let text = values
            .text
            .into_iter()
            .map(|(path, texts)| (path, OwnedValue::Array(texts.into_iter().map(OwnedValue::Str).collect())));
        document.add_object(self.fields.text, text.collect());
        self.replace(id, document)
    }

    /// Replaces what there is for `id` by a tombstone.
    pub(super) fn bury(&self, id: &str, version: WriteVersion, now: Timestamp) -> tantivy::Result<()> {
        let mut tombstone = TantivyDocument::new();
        tombstone.add_text(self.fields.id, id);
        tombstone.add_u64(self.fields.version, version.0);
        tombstone.add_text(self.fields.state, DELETED);
        tombstone.add_u64(self.fields.deleted_at, seconds(now));
        self.replace(id, tombstone)
    }

    /// Makes everything durable and visible.
    pub(super) fn commit(&mut self, now: Timestamp) -> tantivy::Result<()> {
        if self.pruned.elapsed() >= PRUNED_EVERY {
            self.prune(now)?;
            self.pruned = Instant::now();
        }
        self.writer.commit()?;
        self.reader.reload()?;
        self.committed = Committed::of(&self.reader, self.fields)?;
        Ok(())
    }

    /// Ends the writer once its merges are done, and gives its lock back.
    pub(super) fn close(self) -> tantivy::Result<()> {
        self.writer.wait_merging_threads()
    }

    fn replace(&self, id: &str, document: TantivyDocument) -> tantivy::Result<()> {
        self.writer.delete_term(Term::from_field_text(self.fields.id, id));
        self.writer.add_document(document)?;
        Ok(())
    }

    fn prune(&self, now: Timestamp) -> tantivy::Result<()> {
        let last = seconds(now).saturating_sub(TOMBSTONES_KEPT.as_secs());
        let term = |seconds| Term::from_field_u64(self.fields.deleted_at, seconds);
        let old = RangeQuery::new(std::ops::Bound::Included(term(0)), std::ops::Bound::Included(term(last)));
        self.writer.delete_query(Box::new(old))?;
        Ok(())
    }
}

impl Committed {
    fn of(reader: &IndexReader, fields: Fields) -> tantivy::Result<Self> {
        let searcher = reader.searcher();
        let mut segments = Vec::with_capacity(searcher.segment_readers().len());
        for segment in searcher.segment_readers() {
            segments.push(Segment {
                ids: segment.inverted_index(fields.id)?,
                version: segment.fast_fields().u64("version")?,
                deleted_at: segment.fast_fields().u64("deleted_at")?,
            });
        }
        Ok(Self { searcher, segments })
    }

    fn find(&self, fields: Fields, id: &str, want: Want) -> tantivy::Result<Option<Known>> {
        let term = Term::from_field_text(fields.id, id);
        for (ordinal, segment) in (0..).zip(&self.segments) {
            let Some(mut postings) = segment.ids.read_postings(&term, IndexRecordOption::Basic)? else {
                continue;
            };
            let reader = self.searcher.segment_reader(ordinal);
            while postings.doc() != TERMINATED {
                let document = postings.doc();
                if !reader.is_deleted(document) {
                    let version = WriteVersion(segment.version.first(document).unwrap_or(0));
                    let source = match (segment.deleted_at.first(document), want) {
                        (Some(_), _) => None,
                        (None, Want::Version) => Some(Bytes::new()),
                        (None, Want::Source) => source(&self.searcher, DocAddress::new(ordinal, document), fields)?,
                    };
                    return Ok(Some(Known { version, source }));
                }
                postings.advance();
            }
        }
        Ok(None)
    }
}

/// The document at `address`, as it was given; none for a tombstone.
pub(super) fn source(searcher: &Searcher, address: DocAddress, fields: Fields) -> tantivy::Result<Option<Bytes>> {
    let document: TantivyDocument = searcher.doc(address)?;
    let source = document.get_first(fields.source).and_then(|value| value.as_bytes());
    Ok(source.map(Bytes::copy_from_slice))
}

fn seconds(now: Timestamp) -> u64 {
    u64::try_from(now.as_second()).unwrap_or(0)
}

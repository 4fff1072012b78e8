//! A sink in memory with injected trouble, for tests of what writes to sinks and for benchmarks.
//!
//! It does with writes what the sinks for production promise, so tests can compare end states: a write older than what
//! its target already has changes nothing, and what was not flushed is lost in a crash ([`MemorySink::crash`]).
//! Several pillows may share it.

mod state;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::model::{Index, Outage, Publish, RetryHelps, Row, Table, Write};

use super::{PrepareError, Rejected, Sink, Versioned};

use state::State;

/// A sink in memory. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct MemorySink {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    flushed: State,
    pending: Vec<Versioned>,
    recorded: Option<Vec<Versioned>>,
    rejects: HashMap<String, (String, RetryHelps)>,
    failing_writes: usize,
    failing_flushes: usize,
    writes: usize,
    flushes: usize,
}

impl MemorySink {
    /// A sink that also keeps every write it takes, in order. Without this it keeps only what they lead to.
    pub fn recording() -> Self {
        let sink = Self::default();
        sink.lock().recorded = Some(Vec::new());
        sink
    }

    /// Has every write about this document be refused from now on.
    pub fn reject(&self, document_id: &str, reason: &str, retry: RetryHelps) {
        self.lock().rejects.insert(document_id.to_owned(), (reason.to_owned(), retry));
    }

    /// Takes the writes about this document again.
    pub fn accept(&self, document_id: &str) {
        self.lock().rejects.remove(document_id);
    }

    /// Has the next `count` calls to [`Sink::write`] end in an outage; 0 ends the outage at once.
    pub fn fail_writes(&self, count: usize) {
        self.lock().failing_writes = count;
    }

    /// Has the next `count` calls to [`Sink::flush`] end in an outage; 0 ends the outage at once.
    pub fn fail_flushes(&self, count: usize) {
        self.lock().failing_flushes = count;
    }

    /// Loses what was taken and not flushed.
    pub fn crash(&self) {
        self.lock().pending.clear();
    }

    /// Every write that was taken, in order, for a sink that is [`MemorySink::recording`].
    pub fn recorded(&self) -> Vec<Versioned> {
        self.lock().recorded.clone().unwrap_or_default()
    }

    /// How often [`Sink::write`] was called, and how often [`Sink::flush`], outages included.
    pub fn calls(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.writes, inner.flushes)
    }

    /// The flushed documents of an index, by id.
    pub fn documents(&self, index: &str) -> BTreeMap<String, serde_json::Value> {
        self.lock().flushed.documents(index)
    }

    /// The flushed rows of a table, by key.
    pub fn rows(&self, table: &str) -> Vec<Row> {
        self.lock().flushed.rows(table)
    }

    /// The flushed messages, in order.
    pub fn published(&self) -> Vec<Publish> {
        self.lock().flushed.published.clone()
    }

    /// The flushed invalidations, in order, as cache and key.
    pub fn invalidated(&self) -> Vec<(String, String)> {
        self.lock().flushed.invalidated.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn prepare(&self, tables: &[Table], _indices: &[Index]) -> Result<(), PrepareError> {
        let mut inner = self.lock();
        let differences: Vec<String> = tables.iter().filter_map(|table| inner.flushed.difference(table)).collect();
        if !differences.is_empty() {
            return Err(PrepareError::Refused(differences));
        }
        tables.iter().for_each(|table| inner.flushed.declare(table));
        Ok(())
    }

    async fn write(&self, writes: &[Versioned]) -> Result<Vec<Rejected>, Outage> {
        let mut inner = self.lock();
        inner.writes += 1;
        if inner.failing_writes > 0 {
            inner.failing_writes -= 1;
            return Err(told_to_fail("write"));
        }
        let mut rejected = Vec::new();
        for (at, write) in writes.iter().enumerate() {
            if let Some((reason, retry)) = inner.refusal(write) {
                rejected.push(Rejected { at, reason, retry });
                continue;
            }
            inner.pending.push(write.clone());
            if let Some(recorded) = &mut inner.recorded {
                recorded.push(write.clone());
            }
        }
        Ok(rejected)
    }

    async fn flush(&self) -> Result<(), Outage> {
        let mut inner = self.lock();
        inner.flushes += 1;
        if inner.failing_flushes > 0 {
            inner.failing_flushes -= 1;
            return Err(told_to_fail("flush"));
        }
        for write in std::mem::take(&mut inner.pending) {
            inner.flushed.apply(write);
        }
        Ok(())
    }
}

impl Inner {
    fn refusal(&self, write: &Versioned) -> Option<(String, RetryHelps)> {
        if let Some(refusal) = self.rejects.get(write.document.id.as_ref()) {
            return Some(refusal.clone());
        }
        let reason = match &write.write {
            Write::Rows { table, op } => self.flushed.row_problem(table, op),
            Write::Index(target) | Write::Merge { target, .. } => state::document_problem(&target.document),
            Write::Delete { .. } | Write::Publish(_) | Write::Invalidate { .. } => None,
        };
        reason.map(|reason| (reason, RetryHelps::No))
    }
}

fn told_to_fail(operation: &str) -> Outage {
    Outage { operation: format!("the sink in memory was told to fail: {operation}"), source: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Column, ColumnKind, Condition, DocumentKey, IfAbsent, IndexWrite, ListEdit, ProcessorName, RowOp, Value,
        WriteVersion,
    };

    fn versioned(processor: &str, document: &str, version: u64, write: Write) -> Versioned {
        Versioned {
            processor: ProcessorName::new(processor),
            document: DocumentKey::new("s", document),
            version: WriteVersion(version),
            write,
            table: None,
        }
    }

    fn target(document: &str) -> IndexWrite {
        IndexWrite { index: "i".into(), id: "a".into(), document: document.to_owned().into() }
    }

    fn index(version: u64, document: &str) -> Versioned {
        versioned("p", "a", version, Write::Index(target(document)))
    }

    fn delete(version: u64) -> Versioned {
        versioned("p", "a", version, Write::Delete { index: "i".into(), id: "a".into() })
    }

    fn merge(processor: &str, version: u64, fields: &str) -> Versioned {
        let write = Write::Merge { target: target(fields), lists: Vec::new(), if_absent: IfAbsent::Create };
        versioned(processor, "a", version, write)
    }

    async fn check(writes: &[Versioned], expected: Option<&str>) {
        let sink = MemorySink::default();
        assert_eq!(sink.write(writes).await.unwrap(), []);
        sink.flush().await.unwrap();
        let found = sink.documents("i").get("a").cloned();
        assert_eq!(found, expected.map(|document| serde_json::from_str(document).unwrap()));
    }

    #[tokio::test]
    async fn an_older_write_changes_nothing_and_the_same_again_does() {
        check(&[index(5, r#"{"n":1}"#), index(4, r#"{"n":2}"#)], Some(r#"{"n":1}"#)).await;
        check(&[index(5, r#"{"n":1}"#), index(5, r#"{"n":2}"#)], Some(r#"{"n":2}"#)).await;
        check(&[delete(5), index(4, r#"{"n":2}"#)], None).await;
        check(&[index(5, r#"{"n":1}"#), delete(4)], Some(r#"{"n":1}"#)).await;
        check(&[index(5, r#"{"n":1}"#), delete(6)], None).await;
    }

    #[tokio::test]
    async fn merges_are_deep_and_those_of_two_processors_do_not_order_each_other() {
        check(
            &[merge("p", 2, r#"{"a":{"x":1,"y":[1]},"k":1}"#), merge("p", 3, r#"{"a":{"y":[2]},"k":null}"#)],
            Some(r#"{"a":{"x":1,"y":[2]},"k":null}"#),
        )
        .await;
        check(&[merge("p", 3, r#"{"a":1}"#), merge("q", 2, r#"{"b":1}"#)], Some(r#"{"a":1,"b":1}"#)).await;
        check(&[merge("p", 3, r#"{"a":1}"#), merge("p", 2, r#"{"a":2}"#)], Some(r#"{"a":1}"#)).await;
        check(&[delete(4), merge("q", 3, r#"{"b":1}"#)], None).await;
    }

    #[tokio::test]
    async fn lists_gain_and_lose_values() {
        let edit = ListEdit {
            path: vec!["l".to_owned(), "m".to_owned()],
            add: vec!["2".into(), "1".into()],
            remove: vec!["3".into()],
        };
        let write = Write::Merge { target: target("{}"), lists: vec![edit], if_absent: IfAbsent::Ignore };
        let edit = versioned("p", "a", 2, write);
        check(&[index(1, r#"{"l":{"m":[1,3]}}"#), edit.clone()], Some(r#"{"l":{"m":[1,2]}}"#)).await;
        check(std::slice::from_ref(&edit), None).await;
    }

    fn visits() -> Table {
        let column = |name: &str, kind| Column { name: name.to_owned(), kind, nullable: true };
        Table {
            name: "visits".to_owned(),
            part: None,
            columns: vec![
                column("doc", ColumnKind::Text),
                column("n", ColumnKind::Integer),
                column("at", ColumnKind::Timestamp),
            ],
            key: vec!["doc".to_owned(), "n".to_owned()],
            document_column: Some("doc".to_owned()),
            indexes: Vec::new(),
            ..Table::default()
        }
    }

    fn row(document: &str, number: i64, at: &str) -> Row {
        vec![Value::Text(document.to_owned()), Value::Integer(number), Value::Timestamp(at.to_owned())]
    }

    fn rows(document: &str, version: u64, op: RowOp) -> Versioned {
        versioned("p", document, version, Write::Rows { table: "visits".into(), op })
    }

    async fn check_rows(writes: &[Versioned], expected: &[Row]) {
        let sink = MemorySink::default();
        sink.prepare(&[visits()], &[]).await.unwrap();
        assert_eq!(sink.write(writes).await.unwrap(), []);
        sink.flush().await.unwrap();
        assert_eq!(sink.rows("visits"), expected);
    }

    const T0: &str = "2026-02-03T10:00:00Z";
    const T1: &str = "2026-02-03T10:10:00Z";

    #[tokio::test]
    async fn rows_of_a_document_are_replaced_as_a_whole() {
        let (a1, a2, b1) = (row("a", 1, T0), row("a", 2, T0), row("b", 1, T0));
        check_rows(
            &[
                rows("a", 1, RowOp::Replace(vec![a1.clone(), a2.clone()])),
                rows("b", 2, RowOp::Replace(vec![b1.clone()])),
                rows("a", 3, RowOp::Replace(vec![a2.clone()])),
                rows("a", 2, RowOp::Replace(vec![a1])),
            ],
            &[a2, b1.clone()],
        )
        .await;
        check_rows(&[rows("b", 1, RowOp::Replace(vec![b1])), rows("b", 2, RowOp::Delete)], &[]).await;
    }

    #[tokio::test]
    async fn an_upsert_overwrites_when_its_condition_holds() {
        let upsert = |version, at, when| rows("a", version, RowOp::Upsert { row: row("a", 1, at), when });
        let interval = |seconds| Condition::Interval { column: "at".to_owned(), seconds, or_differs: Vec::new() };
        let newer = || Condition::Newer("at".to_owned());
        for (first, second, when, expected) in [
            (T1, T0, Condition::Always, T0),
            (T1, T0, newer(), T1),
            (T0, T1, newer(), T1),
            (T0, T1, interval(599), T1),
            (T0, T1, interval(600), T0),
        ] {
            let writes = [upsert(1, first, Condition::Always), upsert(2, second, when.clone())];
            check_rows(&writes, &[row("a", 1, expected)]).await;
        }
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_refused_alone() {
        let sink = MemorySink::default();
        sink.prepare(&[visits()], &[]).await.unwrap();
        sink.reject("bad", "because", RetryHelps::Perhaps);
        let refused = sink
            .write(&[
                index(1, "{}"),
                rows("a", 1, RowOp::Replace(vec![vec![Value::Null]])),
                index(1, "[]"),
                versioned("p", "bad", 1, Write::Delete { index: "i".into(), id: "bad".into() }),
                versioned("p", "a", 1, Write::Rows { table: "nowhere".into(), op: RowOp::Delete }),
            ])
            .await
            .unwrap();
        let reasons: Vec<(usize, &str)> = refused.iter().map(|refused| (refused.at, refused.reason.as_str())).collect();
        assert_eq!(
            reasons,
            [
                (1, "table visits has 3 columns, but the row 1"),
                (2, "the document is no JSON object"),
                (3, "because"),
                (4, "there is no table nowhere"),
            ]
        );
        sink.flush().await.unwrap();
        assert_eq!(sink.documents("i").len(), 1);
    }

    #[tokio::test]
    async fn what_was_not_flushed_is_lost_in_a_crash_and_trouble_ends() {
        let sink = MemorySink::recording();
        sink.fail_writes(1);
        sink.fail_flushes(1);
        assert!(sink.write(&[index(1, "{}")]).await.is_err());
        assert_eq!(sink.write(&[index(1, "{}")]).await.unwrap(), []);
        assert!(sink.flush().await.is_err());
        assert!(sink.documents("i").is_empty());
        sink.crash();
        sink.flush().await.unwrap();
        assert!(sink.documents("i").is_empty());
        assert_eq!(sink.recorded(), [index(1, "{}")]);
        assert_eq!(sink.calls(), (2, 2));
    }
}

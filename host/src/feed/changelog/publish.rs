//! Publishes documents and changes from NDJSON lines, as an application would: each document and its change in one
//! transaction.
//!
//! A line is one of
//!
//! - a document: an object with `_id` (or `id`) and `doc_type`. It replaces the one before it. Its topic follows from
//!   its type, and its source has the topic's name.
//! - a deletion: a document with `"_deleted": true`. The document goes, and a row stays that says so. Where the line
//!   has no `doc_type`, the topic is that of the stored document.
//! - a change message: an object with `document_id` and without `_id`. It is appended as it is, and no document is
//!   touched. Its topic follows from its `document_type`, or is its `data_source_name`.
//!
//! Lines are written in chunks, each in one transaction: all of a chunk or nothing. A line that cannot be published
//! ends it all; the error names the line and the last line that is published, so that the rest can be published after
//! the mistake is mended. Publishing a line again is harmless: it is one more change of the same document.

use std::collections::{BTreeMap, HashMap};

use tokio::io::AsyncBufRead;

use crate::model::{Clock, Outage};
use crate::sql::Database;

use super::lines::{Kind, LineError, Numbered, Parsed, parse};
use super::metadata::SourceType;
use super::{postgres, sqlite};

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Published {
    /// The number of the last line that is published; empty lines count as lines.
    pub through_line: u64,
    /// Documents stored.
    pub documents: u64,
    /// Documents deleted.
    pub deletions: u64,
    /// Changes that came as such.
    pub changes: u64,
    /// Changes appended, by topic.
    pub by_topic: BTreeMap<String, u64>,
}

/// How to publish.
#[derive(Debug, Clone, Default)]
pub struct PublishOptions {
    /// The time that stands in the changes.
    pub clock: Clock,
    /// The topic of documents whose type has none of its own; `meta` where this is none.
    pub default_topic: Option<String>,
}

/// Why publishing ended early. Everything before is published, and stays so.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A line cannot be published.
    #[error("line {line} cannot be published ({})", published_text(*.through_line))]
    Line {
        /// Which line, from 1.
        line: u64,
        /// The last line that is published.
        through_line: u64,
        /// What is wrong.
        source: LineError,
    },
    /// The lines cannot be read.
    #[error("could not read line {line} ({})", published_text(*.through_line))]
    Read {
        /// Which line, from 1.
        line: u64,
        /// The last line that is published.
        through_line: u64,
        /// Why.
        source: std::io::Error,
    },
    /// The database does not take them.
    #[error("could not publish line {line} and after ({})", published_text(*.through_line))]
    Database {
        /// The first line that is not published.
        line: u64,
        /// The last line that is published.
        through_line: u64,
        /// Why.
        source: Outage,
    },
}

/// Publishes lines until they end; `on_chunk` hears what is published so far after each transaction. The tables must
/// be there: see [`super::create_tables`] and [`super::create_documents_table`].
///
/// # Errors
/// At the first line that cannot be published, or when the lines or the database fail.
pub async fn publish(
    database: &Database,
    lines: impl AsyncBufRead + Unpin + Send,
    options: &PublishOptions,
    mut on_chunk: impl FnMut(&Published) + Send,
) -> Result<Published, PublishError> {
    let mut lines = Numbered::new(lines);
    let mut published = Published::default();
    loop {
        let through_line = published.through_line;
        let chunk = match lines.chunk().await {
            Ok(chunk) => chunk,
            Err(source) => return Err(PublishError::Read { line: lines.number + 1, through_line, source }),
        };
        let Some(first) = chunk.first().map(|(number, _)| *number) else {
            published.through_line = lines.number;
            return Ok(published);
        };
        let failed = |(line, source)| PublishError::Line { line, through_line, source };
        let default = options.default_topic.as_deref();
        let parse = |(number, text)| parse(number, text, default).map_err(|source| failed((number, source)));
        let parsed = chunk.into_iter().map(parse).collect::<Result<Vec<Parsed>, _>>()?;
        let unavailable = |source| PublishError::Database { line: first, through_line, source };
        let written = match database {
            Database::Sqlite(sqlite) => sqlite::write(sqlite, &parsed, options, &mut published).await,
            Database::Postgres(postgres) => postgres::write(postgres, &parsed, options, &mut published).await,
        };
        written.map_err(unavailable)?.map_err(failed)?;
        published.through_line = lines.number;
        on_chunk(&published);
    }
}

/// What a chunk writes, each row in the order of its table's columns.
pub(super) struct Rows<'a> {
    /// Id, source, document, revision.
    pub(super) documents: Vec<(&'a str, String, Option<&'a str>, Option<&'a str>)>,
    /// Topic, id, message.
    pub(super) changes: Vec<(String, &'a str, String)>,
}

/// The rows of a chunk, given the sources of the documents that are there.
pub(super) fn rows_of<'a>(
    chunk: &'a [Parsed],
    mut known: HashMap<String, String>,
    options: &PublishOptions,
    counted: &mut Published,
) -> Result<Rows<'a>, (u64, LineError)> {
    let now = options.clock.now();
    let mut rows = Rows { documents: Vec::new(), changes: Vec::with_capacity(chunk.len()) };
    for Parsed { number, id, topic, kind, text } in chunk {
        let stored = known.get(id);
        let unknown = || (*number, LineError::Unknown(id.clone()));
        let topic = topic.as_ref().or(stored).cloned().ok_or_else(unknown)?;
        let message = match kind {
            Kind::Change => text.clone(),
            Kind::Document(metadata) | Kind::Deletion(metadata) => {
                // Rows of both would need one id each, and fetches would mix them up.
                if let Some(found) = stored.filter(|found| **found != topic) {
                    let (id, found) = (id.clone(), found.clone());
                    return Err((*number, LineError::OtherSource { id, found, new: topic }));
                }
                let document = matches!(kind, Kind::Document(_)).then_some(text.as_str());
                rows.documents.push((id, topic.clone(), document, metadata.document_rev.as_deref()));
                known.insert(id.clone(), topic.clone());
                metadata.message(SourceType::Sql, &topic, now)
            }
        };
        match kind {
            Kind::Document(_) => counted.documents += 1,
            Kind::Deletion(_) => counted.deletions += 1,
            Kind::Change => counted.changes += 1,
        }
        *counted.by_topic.entry(topic.clone()).or_default() += 1;
        rows.changes.push((topic, id, message));
    }
    Ok(rows)
}

fn published_text(through_line: u64) -> String {
    match through_line {
        0 => "no line is published".to_owned(),
        1 => "line 1 is published, and nothing after it".to_owned(),
        last => format!("lines 1 to {last} are published, and nothing after them"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::changelog::lines::CHUNK_LINES;
    use crate::feed::changelog::{create_documents_table, create_tables};
    use crate::model::chain;
    use std::num::NonZeroU16;
    use std::time::Duration;
    use tokio::io::{AsyncWriteExt, BufReader};

    async fn database() -> (Database, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&format!("sqlite:{}", folder.path().join("p.db").display())).await.unwrap();
        create_tables(&database, NonZeroU16::new(4).unwrap()).await.unwrap();
        create_documents_table(&database).await.unwrap();
        (database, folder)
    }

    fn options() -> PublishOptions {
        let clock = Clock::Fixed("2026-02-03T10:00:00Z".parse().unwrap());
        PublishOptions { clock, default_topic: None }
    }

    async fn publish_text(database: &Database, text: &str) -> Result<Published, String> {
        let published = publish(database, text.as_bytes(), &options(), |_| ()).await;
        published.map_err(|error| chain(&error))
    }

    type Stored = (String, String, Option<String>, Option<String>, i64);

    async fn documents(database: &Database) -> Vec<Stored> {
        let sqlite = database.sqlite().unwrap();
        sqlx::query_as("select id, source, document, revision, deleted from documents order by id")
            .fetch_all(&sqlite.readers)
            .await
            .unwrap()
    }

    async fn changes(database: &Database) -> Vec<(String, String, String)> {
        let sqlite = database.sqlite().unwrap();
        sqlx::query_as("select topic, document_id, change from change_log order by id")
            .fetch_all(&sqlite.readers)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn documents_changes_and_deletions_are_published_in_order() {
        let (database, _folder) = database().await;
        let form = r#"{"_id":"f1","_rev":"1-a","doc_type":"XFormInstance","xmlns":"x","domain":"d","n":1.50,"t":"\u00e9 \ud83d\ude00"}"#;
        let change = r#"{"document_id":"c1","data_source_type":"sql","data_source_name":"case-sql","document_type":"CommCareCase","new":1}"#;
        let text = format!(
            "{form}\n\n{change}\n{}\n{}\n",
            r#"{"id":12,"doc_type":"ledger"}"#, r#"{"_id":"f1","_deleted":true}"#
        );
        let published = publish_text(&database, &text).await.unwrap();
        let by_topic =
            [("case-sql", 1), ("form-sql", 2), ("ledger", 1)].map(|(topic, count)| (topic.to_owned(), count));
        let expected =
            Published { through_line: 5, documents: 2, deletions: 1, changes: 1, by_topic: BTreeMap::from(by_topic) };
        assert_eq!(published, expected);
        let found = documents(&database).await;
        assert_eq!(found[1], ("f1".to_owned(), "form-sql".to_owned(), None, None, 1));
        assert_eq!(found[0].2.as_deref(), Some(r#"{"id":12,"doc_type":"ledger"}"#));
        let changes = changes(&database).await;
        let order: Vec<(&str, &str)> = changes.iter().map(|(topic, id, _)| (topic.as_str(), id.as_str())).collect();
        assert_eq!(order, [("form-sql", "f1"), ("case-sql", "c1"), ("ledger", "12"), ("form-sql", "f1")]);
        assert_eq!(changes[1].2, change);
        assert!(changes[3].2.contains(r#""is_deletion":true"#));
        // The document is kept byte for byte.
        publish_text(&database, form).await.unwrap();
        assert_eq!(documents(&database).await[1].2.as_deref(), Some(form));
    }

    #[tokio::test]
    async fn a_line_that_cannot_be_published_says_why_and_takes_its_chunk_with_it() {
        let good = r#"{"_id":"a","doc_type":"Group"}"#;
        for (bad, expected) in [
            ("[1]", "it is no JSON object: invalid type: sequence, expected a map at line 1 column 0"),
            (r#"{"n":1}"#, "it is neither a document (with _id) nor a change (with document_id)"),
            (r#"{"_id":"x"}"#, "the document has no doc_type: add one, it says which topic its changes belong to"),
            (r#"{"_id":["x"],"doc_type":"Group"}"#, "the document has no id: add _id, a text or an integer"),
            (
                r#"{"document_id":"x"}"#,
                "it is a change that cannot be read: neither data_source_name nor data_source_type says where the \
                 document is",
            ),
            (
                r#"{"document_id":"x","data_source_type":"couch","data_source_name":"hq__users"}"#,
                "its topic is unknown: add document_type, or a data_source_name that is a topic",
            ),
            (
                r#"{"_id":"x","_deleted":true}"#,
                "it deletes document x, which is not there, and has no doc_type to tell its topic by",
            ),
            (
                r#"{"_id":"a","doc_type":"CommCareCase"}"#,
                "document a is already there as a document of group, and this one is of case-sql",
            ),
        ] {
            let (database, _folder) = database().await;
            let error = publish_text(&database, &format!("{good}\n{good}\n{bad}\n{good}")).await.unwrap_err();
            assert_eq!(error, format!("line 3 cannot be published (no line is published): {expected}"));
            assert_eq!(documents(&database).await, []);
            assert_eq!(changes(&database).await, []);
        }
    }

    #[tokio::test]
    async fn chunks_before_the_wrong_line_stay_published() {
        let (database, _folder) = database().await;
        let mut text = r#"{"_id":"a","doc_type":"Group"}"#.to_owned() + "\n";
        text = text.repeat(CHUNK_LINES + 1) + "{}\n";
        let error = publish_text(&database, &text).await.unwrap_err();
        assert_eq!(
            error,
            "line 1002 cannot be published (lines 1 to 1000 are published, and nothing after them): \
             it is neither a document (with _id) nor a change (with document_id)"
        );
        assert_eq!(changes(&database).await.len(), CHUNK_LINES);
    }

    #[tokio::test]
    async fn a_line_that_is_piped_in_is_not_held_back_for_company() {
        let (database, _folder) = database().await;
        let (mut writer, reader) = tokio::io::duplex(1024);
        let (seen, mut chunks) = tokio::sync::mpsc::channel(8);
        let options = options();
        let publishing = publish(&database, BufReader::new(reader), &options, move |published| {
            seen.try_send(published.documents).unwrap();
        });
        let typing = async {
            for number in 1..=2 {
                writer.write_all(b"{\"_id\":\"a\",\"doc_type\":\"Group\"}\n").await.unwrap();
                let published = tokio::time::timeout(Duration::from_secs(20), chunks.recv()).await.unwrap();
                assert_eq!(published, Some(number));
            }
            drop(writer);
        };
        let (published, ()) = tokio::join!(publishing, typing);
        assert_eq!(published.unwrap().documents, 2);
    }

    #[tokio::test]
    async fn a_database_without_the_tables_is_an_error_that_names_them() {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::open(&format!("sqlite:{}", folder.path().join("p.db").display())).await.unwrap();
        let error = publish_text(&database, r#"{"_id":"a","doc_type":"Group"}"#).await.unwrap_err();
        assert!(error.starts_with("could not publish line 1 and after (no line is published): "), "{error}");
        assert!(error.ends_with("no such table: documents"), "{error}");
    }
}

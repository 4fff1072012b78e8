//! Reading an index from any process, also while another one writes: the last commit, without the writer's lock.
//!
//! These functions block; call them from where that is fine.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tantivy::collector::{Count, TopDocs};
use tantivy::query::{Query, TermQuery};
use tantivy::schema::{IndexRecordOption, Value as _};
use tantivy::{DocAddress, ReloadPolicy, Searcher, TantivyDocument, TantivyError, Term};

use super::live::source;
use super::parse::{SyntaxError, parse};
use super::query::{compile, everything};
use super::storage::{self, Definition, Fields, IndexName};

/// What a search found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hits {
    /// How many documents match.
    pub total: usize,
    /// The best of them.
    pub hits: Vec<Hit>,
}

/// A document that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Its id.
    pub id: String,
    /// How well it matches; comparable within one answer only.
    pub score: f32,
    /// The JSON document as it was written.
    pub source: Bytes,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such index.
    #[error("there is no index {index:?}; {}", listed(.known))]
    UnknownIndex {
        /// The name that was asked for.
        index: String,
        /// The indices that there are.
        known: Vec<String>,
    },
    /// The query cannot be understood.
    #[error("in the query, at character {character}: {problem}")]
    Query {
        /// Where, counted in characters from 1.
        character: usize,
        /// What is wrong there.
        problem: String,
    },
    /// The folder of indices cannot be listed.
    #[error("could not list the indices in {}", folder.display())]
    List {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The definition of an index cannot be read.
    #[error("could not read the definition of index {index}")]
    Definition {
        /// The index.
        index: String,
        /// Why.
        source: io::Error,
    },
    /// The files of an index cannot be read.
    #[error("could not read index {index}")]
    Index {
        /// The index.
        index: String,
        /// Why.
        source: TantivyError,
    },
}

/// The best `limit` documents for a query.
///
/// # Errors
/// When there is no such index, the query cannot be understood, or the index cannot be read.
pub fn search(folder: &Path, index: &str, query: &str, limit: usize) -> Result<Hits, ReadError> {
    let reader = Reader::open(folder, index)?;
    let wrong = |error: SyntaxError| ReadError::Query {
        character: query.get(..error.at).map_or(0, |before| before.chars().count()) + 1,
        problem: error.problem,
    };
    let tree = parse(query).map_err(wrong)?;
    let compiled = compile(&tree, &reader.definition.mapping, reader.fields).map_err(wrong)?;
    reader.run(&*compiled, limit).map_err(|source| ReadError::Index { index: index.to_owned(), source })
}

/// The document with this id.
///
/// # Errors
/// When there is no such index or it cannot be read.
pub fn get(folder: &Path, index: &str, id: &str) -> Result<Option<Bytes>, ReadError> {
    let reader = Reader::open(folder, index)?;
    reader.get(id).map_err(|source| ReadError::Index { index: index.to_owned(), source })
}

/// How many documents an index holds.
///
/// # Errors
/// When there is no such index or it cannot be read.
pub fn count(folder: &Path, index: &str) -> Result<usize, ReadError> {
    let reader = Reader::open(folder, index)?;
    let count = reader.searcher.search(&*everything(reader.fields), &Count);
    count.map_err(|source| ReadError::Index { index: index.to_owned(), source })
}

/// The names of the indices in `folder`, in order; none when there is no folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn list_indices(folder: &Path) -> Result<Vec<String>, ReadError> {
    let failed = |source| ReadError::List { folder: folder.to_owned(), source };
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let name = entry.map_err(failed)?.file_name();
        // A folder with another name is not ours.
        if let Some(name) = name.to_str().and_then(|name| IndexName::parse(name).ok())
            && storage::is_index(&name.folder(folder))
        {
            names.push(name.as_str().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

struct Reader {
    definition: Definition,
    fields: Fields,
    searcher: Searcher,
}

impl Reader {
    fn open(folder: &Path, index: &str) -> Result<Self, ReadError> {
        let unknown = || match list_indices(folder) {
            Ok(known) => ReadError::UnknownIndex { index: index.to_owned(), known },
            Err(error) => error,
        };
        let Ok(name) = IndexName::parse(index) else { return Err(unknown()) };
        let path = name.folder(folder);
        let definition = match Definition::load(&path) {
            Ok(Some(definition)) => definition,
            Ok(None) => return Err(unknown()),
            Err(source) => return Err(ReadError::Definition { index: index.to_owned(), source }),
        };
        let failed = |source| ReadError::Index { index: index.to_owned(), source };
        let (tantivy, fields) = storage::open(&path).map_err(failed)?;
        let reader = tantivy.reader_builder().reload_policy(ReloadPolicy::Manual).try_into().map_err(failed)?;
        Ok(Self { definition, fields, searcher: reader.searcher() })
    }

    fn run(&self, query: &dyn Query, limit: usize) -> tantivy::Result<Hits> {
        if limit == 0 {
            return Ok(Hits { total: self.searcher.search(query, &Count)?, hits: Vec::new() });
        }
        let (total, best) = self.searcher.search(query, &(Count, TopDocs::with_limit(limit).order_by_score()))?;
        let hits = best.into_iter().map(|(score, address)| self.hit(score, address)).collect::<tantivy::Result<_>>()?;
        Ok(Hits { total, hits })
    }

    fn hit(&self, score: f32, address: DocAddress) -> tantivy::Result<Hit> {
        let document: TantivyDocument = self.searcher.doc(address)?;
        let id = document.get_first(self.fields.id).and_then(|id| id.as_str()).unwrap_or_default().to_owned();
        let source = document.get_first(self.fields.source).and_then(|source| source.as_bytes()).unwrap_or_default();
        Ok(Hit { id, score, source: Bytes::copy_from_slice(source) })
    }

    fn get(&self, id: &str) -> tantivy::Result<Option<Bytes>> {
        let query = TermQuery::new(Term::from_field_text(self.fields.id, id), IndexRecordOption::Basic);
        let found = self.searcher.search(&query, &TopDocs::with_limit(1).order_by_score())?;
        match found.first() {
            Some((_, address)) => source(&self.searcher, *address, self.fields),
            None => Ok(None),
        }
    }
}

fn listed(known: &[String]) -> String {
    if known.is_empty() { "there is none yet".to_owned() } else { format!("there are {}", known.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{DocumentKey, Index, IndexWrite, ProcessorName, Write, WriteVersion};
    use crate::sink::search::SearchSink;
    use crate::sink::{Sink, Versioned};
    use serde_json::{Value, json};
    use tempfile::TempDir;

    fn versioned(id: &str, write: Write) -> Versioned {
        let document = DocumentKey::new("case", id);
        Versioned { processor: ProcessorName::new("indexer"), document, version: WriteVersion(1), write, table: None }
    }

    async fn filled() -> (TempDir, SearchSink) {
        let folder = tempfile::tempdir().unwrap();
        let mapping = json!({"dynamic": false, "properties": {
            "name": {"type": "string", "fields": {"exact": {"type": "keyword"}}},
            "type": {"type": "keyword"},
            "age": {"type": "integer"},
            "weight": {"type": "double"},
            "closed": {"type": "boolean"},
            "opened_on": {"type": "date"},
            "actions": {"type": "nested", "properties": {"note": {"type": "text"}, "n": {"type": "long"}}},
            "place": {"type": "geo_point"},
        }});
        let mapping = mapping.to_string().into();
        let index = Index { name: "cases".to_owned(), part: None, mapping, owned_fields: vec![] };
        let documents = [
            (
                "ada",
                json!({"name": "Ada Lovelace", "type": "person", "age": 36, "weight": 60.5, "closed": true,
                "opened_on": "2024-01-31T23:30:00Z", "actions": [{"note": "first visit", "n": 1}, {"note": "home visit"}]}),
            ),
            (
                "bo",
                json!({"name": "Bo Lovelace", "type": "person", "age": 7, "weight": -1, "closed": false,
                "opened_on": "2024-02-01", "unmapped": "secret", "place": "1 2"}),
            ),
            ("house", json!({"name": "The house of Ada", "type": "household", "opened_on": "2023-06-01"})),
        ];
        let sink = SearchSink::open(folder.path());
        sink.prepare(&[], &[index]).await.unwrap();
        let mut writes: Vec<Versioned> = Vec::new();
        for (id, document) in documents {
            let target = IndexWrite { index: "cases".into(), id: id.into(), document: document.to_string().into() };
            writes.push(versioned(id, Write::Index(target)));
        }
        writes.push(versioned("gone", Write::Delete { index: "cases".into(), id: "gone".into() }));
        assert_eq!(sink.write(&writes).await.unwrap(), []);
        sink.flush().await.unwrap();
        (folder, sink)
    }

    fn ids(folder: &TempDir, query: &str) -> String {
        match search(folder.path(), "cases", query, 10) {
            Ok(found) => {
                let mut ids: Vec<String> = found.hits.into_iter().map(|hit| hit.id).collect();
                assert_eq!(found.total, ids.len());
                ids.sort();
                ids.join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    #[tokio::test]
    async fn queries_find_what_they_say() {
        // The sink stays open: reading needs no lock.
        let (folder, _sink) = filled().await;
        for (query, expected) in [
            ("*", "ada bo house"),
            ("lovelace", "ada bo"),
            ("name:LOVELACE", "ada bo"),
            ("type:Person", ""),
            ("type:person", "ada bo"),
            ("name.exact:\"Bo Lovelace\"", "bo"),
            ("\"ada lovelace\"", "ada"),
            ("\"lovelace ada\"", ""),
            ("visit", "ada"),
            ("\"visit home\"", ""),
            ("actions.note:\"home visit\"", "ada"),
            ("actions:visit", "ada"),
            ("actions:*", "ada"),
            ("_exists_:age", "ada bo"),
            ("NOT age:*", "house"),
            ("age:36", "ada"),
            ("age:[7 TO 36}", "bo"),
            ("age:>7", "ada"),
            ("weight:<0", "bo"),
            ("weight:[-1 TO 60.5]", "ada bo"),
            ("closed:false", "bo"),
            ("opened_on:2024-01-31", "ada"),
            ("opened_on:2024", "ada bo"),
            ("opened_on:2024-01-31T23:30:00Z", "ada"),
            ("opened_on:[2024-01-31 TO 2024-02-01]", "ada bo"),
            ("opened_on:[2024-01-31 TO 2024-02-01}", "ada"),
            ("opened_on:>2024-01-31", "bo"),
            ("opened_on:<2024", "house"),
            ("name:lov*", "ada bo"),
            ("type:h*", "house"),
            ("lovelace AND NOT type:household", "ada bo"),
            ("+ada -lovelace", "house"),
            ("-lovelace -house", ""),
            ("name:(bo OR house)", "bo house"),
            ("ada bo", "ada bo house"),
            ("_id:house", "house"),
            ("_id:gone", ""),
            ("secret", ""),
            ("unmapped:secret", "in the query, at character 1: no field unmapped is searchable"),
            (
                "lovelace AND note:x",
                "in the query, at character 14: no field note is searchable; did you mean actions.note?",
            ),
            ("ä place:1", "in the query, at character 3: no field place is searchable"),
            ("age:old", "in the query, at character 1: field age is integer: \"old\" is no such value"),
            ("(ada", "in the query, at character 1: this bracket is not closed"),
        ] {
            assert_eq!(ids(&folder, query), expected, "{query}");
        }
    }

    #[tokio::test]
    async fn the_best_come_first_and_with_their_source() {
        let (folder, _sink) = filled().await;
        let found = search(folder.path(), "cases", "ada lovelace", 1).unwrap();
        assert_eq!((found.total, found.hits[0].id.as_str()), (3, "ada"));
        let source: Value = serde_json::from_slice(&found.hits[0].source).unwrap();
        assert_eq!(source["age"], 36);
        assert_eq!(search(folder.path(), "cases", "*", 0).unwrap(), Hits { total: 3, hits: vec![] });
        assert_eq!(count(folder.path(), "cases").unwrap(), 3);
        assert_eq!(get(folder.path(), "cases", "gone").unwrap(), None);
    }

    #[tokio::test]
    async fn an_unknown_index_is_answered_with_those_that_are_there() {
        let (folder, _sink) = filled().await;
        fs::create_dir(folder.path().join("not-an-index")).unwrap();
        assert_eq!(list_indices(folder.path()).unwrap(), ["cases"]);
        for name in ["forms", "../cases"] {
            let error = search(folder.path(), name, "*", 1).unwrap_err();
            assert_eq!(error.to_string(), format!("there is no index {name:?}; there are cases"));
        }
        let error = count(&folder.path().join("nowhere"), "cases").unwrap_err();
        assert_eq!(error.to_string(), "there is no index \"cases\"; there is none yet");
    }
}

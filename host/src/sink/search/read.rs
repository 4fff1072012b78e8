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

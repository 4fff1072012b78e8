//! What an index is on disk: a folder with tantivy's files, and the definition that gives them a meaning.
//!
//! tantivy's schema is the same for every index and never changes: mapped values live in two JSON fields, one for
//! values that are searched whole and one for words, under the path of their property. A new property is therefore a
//! new line in the definition, and nothing is rebuilt.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tantivy::schema::{
    BytesOptions, FAST, Field, IndexRecordOption, JsonObjectOptions, NumericOptions, STORED, STRING, Schema,
    TextFieldIndexing, TextOptions,
};
use tantivy::tokenizer::{LowerCaser, TextAnalyzer, WhitespaceTokenizer};
use tantivy::{Index, IndexSettings, Term};

use super::disk::Disk;
use super::mapping::Mapping;
use crate::sink::decide::{Owners, extend_owners};

/// The name of the file that holds the definition.
const DEFINITION: &str = "definition.json";

/// The layout that this code reads and writes.
const LAYOUT: u64 = 1;

/// The analyser of texts: words between blanks, in lower case.
const WORDS: &str = "whitespace_lowercase";

/// What [`Fields::state`] says of a tombstone; documents have no state.
pub(super) const DELETED: &str = "deleted";

/// A name that may be a folder's.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::sink) struct IndexName(String);

/// What an index was declared to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Definition {
    pub(super) mapping: Mapping,
    /// The top-level fields of each owner; none: an index of whole documents.
    pub(super) owners: Owners,
}

/// tantivy's fields.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields {
    /// The id.
    pub(super) id: Field,
    /// The version of the last write that counts for the order of writes.
    pub(super) version: Field,
    /// [`DELETED`] for a tombstone.
    pub(super) state: Field,
    /// When a tombstone was made, in seconds since the epoch.
    pub(super) deleted_at: Field,
    /// The document as it was given.
    pub(super) source: Field,
    /// Values by path, searched whole.
    pub(super) exact: Field,
    /// Words by path.
    pub(super) text: Field,
}

impl IndexName {
    /// Checks a name as Elasticsearch does, and a little more strictly: it becomes the name of a folder.
    pub(in crate::sink) fn parse(name: &str) -> Result<Self, String> {
        let starts_well = name.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
        let rest = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ['-', '_', '.'].contains(&c);
        if starts_well && name.len() <= 200 && name.chars().all(rest) {
            return Ok(Self(name.to_owned()));
        }
        Err(format!(
            "index {name:?}: a name has up to 200 of a-z, 0-9, `-`, `_` and `.`, and starts with a letter or a digit"
        ))
    }

    pub(in crate::sink) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn folder(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }
}

impl Definition {
    /// What stands in an index's folder; none when there is no index.
    pub(super) fn load(folder: &Path) -> io::Result<Option<Self>> {
        let text = match fs::read(folder.join(DEFINITION)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let invalid = |reason: String| io::Error::new(io::ErrorKind::InvalidData, format!("{DEFINITION}: {reason}"));
        let json: Value = serde_json::from_slice(&text).map_err(|error| invalid(error.to_string()))?;
        if json["layout"] != LAYOUT {
            return Err(invalid(format!("layout {} is not the one that is supported, {LAYOUT}", json["layout"])));
        }
        let mapping = Mapping::parse(json["mapping"].to_string().as_bytes());
        let mapping = mapping.map_err(|problems| invalid(problems.join("; ")))?;
        let owners = serde_json::from_value(json["owners"].clone()).map_err(|error| invalid(error.to_string()))?;
        Ok(Some(Self { mapping, owners }))
    }

    /// Replaces the definition in an index's folder: a reader finds the old one or the new one, also after a crash.
    pub(super) fn save(&self, folder: &Path) -> io::Result<()> {
        let json = json!({"layout": LAYOUT, "mapping": self.mapping.to_json(), "owners": self.owners});
        let fresh = folder.join(format!("{DEFINITION}.new"));
        let mut file = File::create(&fresh)?;
        file.write_all(format!("{json:#}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, folder.join(DEFINITION))?;
        File::open(folder)?.sync_all()
    }

    /// This definition with what `declared` adds.
    pub(super) fn extended(&self, declared: &Self) -> Result<Self, Vec<String>> {
        let owners = extend_owners(&self.owners, &declared.owners);
        let mapping = self.mapping.extended(&declared.mapping);
        match (owners, mapping) {
            (Ok(owners), Ok(mapping)) => Ok(Self { mapping, owners }),
            (owners, mapping) => Err([owners.err(), mapping.err()].into_iter().flatten().flatten().collect()),
        }
    }
}

impl Fields {
    fn schema() -> (Schema, Self) {
        let raw = TextFieldIndexing::default()
            .set_tokenizer("raw")
            .set_index_option(IndexRecordOption::Basic)
            .set_fieldnorms(false);
        let words = TextFieldIndexing::default()
            .set_tokenizer(WORDS)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let mut builder = Schema::builder();
        let fields = Self {
            id: builder.add_text_field("id", STRING | STORED),
            version: builder.add_u64_field("version", FAST),
            state: builder.add_text_field("state", TextOptions::default().set_indexing_options(raw.clone())),
            deleted_at: builder.add_u64_field("deleted_at", NumericOptions::default().set_fast()),
            source: builder.add_bytes_field("source", BytesOptions::default().set_stored()),
            exact: builder.add_json_field(
                "exact",
                JsonObjectOptions::default().set_indexing_options(raw).set_expand_dots_enabled(),
            ),
            text: builder.add_json_field(
                "text",
                JsonObjectOptions::default().set_indexing_options(words).set_expand_dots_enabled(),
            ),
        };
        (builder.build(), fields)
    }

    /// The term of the value at `path` in one of the JSON fields, still without its value.
    pub(super) fn path(field: Field, path: &str) -> Term {
        Term::from_field_json_path(field, path, true)
    }
}

/// Whether `folder` holds an index.
pub(super) fn is_index(folder: &Path) -> bool {
    folder.join(DEFINITION).is_file()
}

/// The analyser of texts.
pub(super) fn analyser() -> TextAnalyzer {
    TextAnalyzer::builder(WhitespaceTokenizer::default()).filter(LowerCaser).build()
}

/// Opens tantivy's index in `folder`; makes an empty one when there is none.
pub(super) fn open_or_create(folder: &Path) -> tantivy::Result<(Index, Fields)> {
    fs::create_dir_all(folder)?;
    let directory = Disk::open(folder)?;
    let (schema, fields) = Fields::schema();
    let index = if Index::exists(&directory)? {
        Index::open(directory)?
    } else {
        // Commits are frequent and segments small: a thread for each one's store costs more than it gives.
        let settings = IndexSettings { docstore_compress_dedicated_thread: false, ..IndexSettings::default() };
        Index::create(directory, schema.clone(), settings)?
    };
    checked(index, &schema, fields)
}

/// Opens tantivy's index in `folder` and changes nothing.
pub(super) fn open(folder: &Path) -> tantivy::Result<(Index, Fields)> {
    let (schema, fields) = Fields::schema();
    checked(Index::open(Disk::open(folder)?)?, &schema, fields)
}

fn checked(index: Index, schema: &Schema, fields: Fields) -> tantivy::Result<(Index, Fields)> {
    if index.schema() != *schema {
        return Err(tantivy::TantivyError::SchemaError(
            "the index was made by another version of pillowtop".to_owned(),
        ));
    }
    index.tokenizers().register(WORDS, analyser());
    Ok((index, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(owners: &[&[&str]]) -> Definition {
        let owners = owners.iter().map(|fields| fields.iter().map(|field| (*field).to_owned()).collect()).collect();
        Definition { mapping: Mapping::parse(b"{}").unwrap(), owners }
    }

    #[test]
    fn names_that_leave_the_folder_are_refused() {
        for name in ["", ".", "..", "../x", "a/b", "/etc", "a\\b", "Upper", "-x", "a\0b", "ä", &"x".repeat(201)] {
            assert!(IndexName::parse(name).is_err(), "{name:?}");
        }
        for name in ["hqcases_2016-03-04", "case-search-20230524", "a", "0"] {
            assert_eq!(IndexName::parse(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_definition_survives_being_stored() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Definition::load(folder.path()).unwrap(), None);
        let definition = definition(&[&["a", "b"], &["c"]]);
        definition.save(folder.path()).unwrap();
        assert_eq!(Definition::load(folder.path()).unwrap(), Some(definition));
    }

    #[test]
    fn owners_may_grow_and_never_share_a_field() {
        let known = definition(&[&["a", "b"], &["c"]]);
        assert_eq!(known.extended(&definition(&[&["a", "b", "d"]])), Ok(definition(&[&["c"], &["a", "b", "d"]])));
        assert_eq!(
            known.extended(&definition(&[&["b", "d"]])),
            Err(vec!["field b already has another owner".to_owned()])
        );
        assert_eq!(
            known.extended(&definition(&[])),
            Err(vec!["it is shared by fields and cannot become one of whole documents".to_owned()])
        );
    }
}

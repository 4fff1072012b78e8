//! A processor's configuration, and its description of what it reads and writes.

use serde::Deserialize;

use crate::bindings::pillowtop::processor::types as raw;

/// The configuration: JSON, from the manifest.
#[derive(Debug, Clone, Copy)]
pub struct Config<'a> {
    bytes: &'a [u8],
    /// None: all.
    lookups: Option<&'a [String]>,
}

/// What a configured processor reads and writes; a write to anything else is refused by the host.
#[derive(Debug, Default)]
pub struct Description {
    tables: Vec<Table>,
    indices: Vec<Index>,
    topics: Vec<String>,
    caches: Vec<String>,
    lookups: Vec<String>,
    parts: Vec<String>,
    problems: Vec<Problem>,
}

/// A table; the host creates it, and adds columns that a later description has.
#[derive(Debug)]
pub struct Table(raw::Table);

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    name: String,
    kind: ColumnKind,
    nullable: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// True or false.
    Boolean,
    /// 64-bit integers.
    Integer,
    /// Doubles.
    Double,
    /// Decimal numbers of any size.
    Decimal,
    /// Text.
    Text,
    /// Bytes.
    Bytes,
    /// Days.
    Date,
    /// Points in time.
    Timestamp,
    /// JSON.
    Json,
    /// Integers of 16 bits; others do not fit.
    Integer16,
    /// Integers of 32 bits; others do not fit.
    Integer32,
    /// Decimal numbers of so many digits, and of them so many behind the point, to which they are rounded; also `NaN`.
    SizedDecimal {
        /// Digits in all.
        digits: u16,
        /// Digits behind the point.
        places: u16,
    },
    /// Points in time, stored in UTC without a word of the zone.
    LocalTimestamp,
    /// Lists of texts, or of lists of texts, as JSON.
    TextList,
}

/// What happens when a table that exists cannot be extended to the declared one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableChange {
    /// The processor does not start.
    Refuse,
    /// A new table is filled from the documents and takes the old one's place.
    Rebuild,
    /// The table stays as it is, and its part is left out.
    Keep,
}

/// A search index.
#[derive(Debug)]
pub struct Index(raw::Index);

/// Something wrong in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    path: String,
    part: Option<String>,
    message: String,
}

impl<'a> Config<'a> {
    pub(crate) fn new(bytes: &'a [u8], lookups: Option<&'a [String]>) -> Self {
        Self { bytes, lookups }
    }

    /// Whether the manifest grants the look-up of this name.
    pub fn grants_lookup(&self, name: &str) -> bool {
        self.lookups.is_none_or(|granted| granted.iter().any(|known| known == name))
    }

    /// The JSON text.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The configuration as `T`. `#[serde(deny_unknown_fields)]` on it turns a misspelt setting into a problem.
    ///
    /// # Errors
    /// When it is not what `T` describes.
    pub fn parse<T: Deserialize<'a>>(&self) -> Result<T, Vec<Problem>> {
        serde_json::from_slice(self.bytes).map_err(|error| vec![Problem::new("", error)])
    }
}

impl Description {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// And writes this table.
    #[must_use]
    pub fn table(mut self, table: Table) -> Self {
        self.tables.push(table);
        self
    }

    /// And writes this index.
    #[must_use]
    pub fn index(mut self, index: Index) -> Self {
        self.indices.push(index);
        self
    }

    /// And publishes to this topic.
    #[must_use]
    pub fn topic(mut self, topic: impl Into<String>) -> Self {
        self.topics.push(topic.into());
        self
    }

    /// And invalidates keys of this cache.
    #[must_use]
    pub fn cache(mut self, cache: impl Into<String>) -> Self {
        self.caches.push(cache.into());
        self
    }

    /// And asks this look-up.
    #[must_use]
    pub fn lookup(mut self, lookup: impl Into<String>) -> Self {
        self.lookups.push(lookup.into());
        self
    }

    /// And has this part: something whose failures are told apart from those of the rest.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.parts.push(part.into());
        self
    }

    /// And left out a part because of this; the others run.
    #[must_use]
    pub fn problem(mut self, problem: Problem) -> Self {
        self.problems.push(problem);
        self
    }

    pub(crate) fn into_raw(self) -> raw::Description {
        raw::Description {
            tables: self.tables.into_iter().map(|table| table.0).collect(),
            indices: self.indices.into_iter().map(|index| index.0).collect(),
            topics: self.topics,
            caches: self.caches,
            lookups: self.lookups,
            parts: self.parts,
            problems: self.problems.into_iter().map(Problem::into_raw).collect(),
        }
    }
}

impl Table {
    /// A table with these columns, in the order of the values of its rows.
    pub fn new(name: impl Into<String>, columns: impl IntoIterator<Item = Column>) -> Self {
        Self(raw::Table {
            name: name.into(),
            part: None,
            columns: columns.into_iter().map(Column::into_raw).collect(),
            key: Vec::new(),
            document_column: None,
            indexes: Vec::new(),
            on_change: raw::TableChange::Refuse,
            engines: Vec::new(),
        })
    }

    /// The columns of the primary key.
    #[must_use]
    pub fn key<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        self.0.key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The text column that holds the document's id; `replace_rows` and `delete_rows` go by it. A table that only
    /// receives `upsert_row` needs none.
    #[must_use]
    pub fn document_column(mut self, column: impl Into<String>) -> Self {
        self.0.document_column = Some(column.into());
        self
    }

    /// An index over these columns.
    #[must_use]
    pub fn index<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        self.0.indexes.push(raw::TableIndex { name: None, columns, unique: false });
        self
    }

    /// An index over these columns that admits no two equal rows.
    #[must_use]
    pub fn unique_index<C: Into<String>>(mut self, columns: impl IntoIterator<Item = C>) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        self.0.indexes.push(raw::TableIndex { name: None, columns, unique: true });
        self
    }

    /// An index over these columns that has this name in the database.
    #[must_use]
    pub fn named_index<C: Into<String>>(
        mut self,
        name: impl Into<String>,
        columns: impl IntoIterator<Item = C>,
    ) -> Self {
        let columns = columns.into_iter().map(Into::into).collect();
        self.0.indexes.push(raw::TableIndex { name: Some(name.into()), columns, unique: false });
        self
    }

    /// What happens when the existing table cannot be extended to this one; without it, the processor does not start.
    #[must_use]
    pub fn on_change(mut self, change: TableChange) -> Self {
        self.0.on_change = match change {
            TableChange::Refuse => raw::TableChange::Refuse,
            TableChange::Rebuild => raw::TableChange::Rebuild,
            TableChange::Keep => raw::TableChange::Keep,
        };
        self
    }

    /// A database that holds this table, by a name that the manifest maps to a sink. Without a mapping the first one is
    /// where the manifest has its tables, and others are left out.
    #[must_use]
    pub fn engine(mut self, name: impl Into<String>) -> Self {
        self.0.engines.push(name.into());
        self
    }

    /// The part whose rows these are.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.0.part = Some(part.into());
        self
    }
}

impl Column {
    /// A column that may not be null.
    pub fn new(name: impl Into<String>, kind: ColumnKind) -> Self {
        Self { name: name.into(), kind, nullable: false }
    }

    /// The same, but it may be null.
    #[must_use]
    pub fn nullable(mut self) -> Self {
        self.nullable = true;
        self
    }

    fn into_raw(self) -> raw::Column {
        let kind = match self.kind {
            ColumnKind::Boolean => raw::ColumnKind::Boolean,
            ColumnKind::Integer => raw::ColumnKind::Integer,
            ColumnKind::Double => raw::ColumnKind::Double,
            ColumnKind::Decimal => raw::ColumnKind::Decimal,
            ColumnKind::Text => raw::ColumnKind::Text,
            ColumnKind::Bytes => raw::ColumnKind::Bytes,
            ColumnKind::Date => raw::ColumnKind::Date,
            ColumnKind::Timestamp => raw::ColumnKind::Timestamp,
            ColumnKind::Json => raw::ColumnKind::Json,
            ColumnKind::Integer16 => raw::ColumnKind::Integer16,
            ColumnKind::Integer32 => raw::ColumnKind::Integer32,
            ColumnKind::SizedDecimal { digits, places } => {
                raw::ColumnKind::SizedDecimal(raw::DecimalSize { digits, places })
            }
            ColumnKind::LocalTimestamp => raw::ColumnKind::LocalTimestamp,
            ColumnKind::TextList => raw::ColumnKind::TextList,
        };
        raw::Column { name: self.name, kind, nullable: self.nullable }
    }
}

impl Index {
    /// An index of whole documents. The mapping is JSON as Elasticsearch writes it: an object with `properties` and
    /// `dynamic`.
    pub fn new(name: impl Into<String>, mapping: &[u8]) -> Self {
        Self(raw::Index { name: name.into(), part: None, mapping: mapping.to_vec(), owned_fields: Vec::new() })
    }

    /// For an index that several processors share: the top-level fields that this one owns.
    #[must_use]
    pub fn owned_fields<F: Into<String>>(mut self, fields: impl IntoIterator<Item = F>) -> Self {
        self.0.owned_fields = fields.into_iter().map(Into::into).collect();
        self
    }

    /// The part whose documents these are.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.0.part = Some(part.into());
        self
    }
}

impl Problem {
    /// A problem at `path`, such as `indicators[3].column_id`; an empty path is the configuration as a whole.
    pub fn new(path: impl Into<String>, message: impl std::fmt::Display) -> Self {
        Self { path: path.into(), part: None, message: message.to_string() }
    }

    /// The part that cannot run because of it; otherwise the whole processor cannot.
    #[must_use]
    pub fn part(mut self, part: impl Into<String>) -> Self {
        self.part = Some(part.into());
        self
    }

    pub(crate) fn into_raw(self) -> raw::Problem {
        raw::Problem { path: self.path, part: self.part, message: self.message }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Problem {
    /// A path into the configuration.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What is wrong.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn from_raw(raw::Problem { path, part, message }: raw::Problem) -> Self {
        Self { path, part, message }
    }
}

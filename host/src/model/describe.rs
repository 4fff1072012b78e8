//! What a configured processor says that it reads and writes.

use bytes::Bytes;

/// A processor's description of itself; a write to anything that it does not name is refused.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Description {
    /// Tables it writes.
    pub tables: Vec<Table>,
    /// Indices it writes.
    pub indices: Vec<Index>,
    /// Topics it publishes to.
    pub topics: Vec<String>,
    /// Caches it invalidates.
    pub caches: Vec<String>,
    /// Look-ups it asks for.
    pub lookups: Vec<String>,
    /// Its parts, where failures are told apart: one data source, one table.
    pub parts: Vec<String>,
    /// Parts that were left out because of their configuration.
    pub problems: Vec<Problem>,
}

/// Something wrong in a processor's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// A path into the configuration.
    pub path: String,
    /// The part it keeps from running; none: the whole processor.
    pub part: Option<String>,
    /// What is wrong.
    pub message: String,
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// Its name in the database.
    pub name: String,
    /// The part whose rows it holds.
    pub part: Option<String>,
    /// Its columns, in the order of a row's values.
    pub columns: Vec<Column>,
    /// The primary key.
    pub key: Vec<String>,
    /// The text column that holds the document's id.
    pub document_column: Option<String>,
    /// Further indexes.
    pub indexes: Vec<TableIndex>,
    /// What happens when the existing table cannot be extended to this one.
    pub on_change: TableChange,
    /// Names of databases that hold it, which the manifest maps to sinks; empty: where the manifest says.
    pub engines: Vec<String>,
}

/// What happens when a table that exists cannot be extended to what is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TableChange {
    /// The description is refused.
    #[default]
    Refuse,
    /// A new table is filled and takes its place.
    Rebuild,
    /// The table stays, and its part is left out.
    Keep,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
    /// Whether it may be null.
    pub nullable: bool,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnKind {
    Boolean,
    Integer,
    Double,
    Decimal,
    Text,
    Bytes,
    Date,
    Timestamp,
    Json,
    /// Of 16 bits.
    Integer16,
    /// Of 32 bits.
    Integer32,
    /// A decimal of so many digits, and of them so many behind the point.
    SizedDecimal {
        digits: u16,
        places: u16,
    },
    /// A time in UTC that does not say so.
    LocalTimestamp,
    /// A list of texts, or of lists of them, as JSON.
    TextList,
}

/// An index over columns of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableIndex {
    /// Its name in the database; none: one that is made of the table's and the columns'.
    pub name: Option<String>,
    /// The columns, in order.
    pub columns: Vec<String>,
    /// Whether no two rows may agree in them.
    pub unique: bool,
}

/// A search index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    /// Its name.
    pub name: String,
    /// The part whose documents it holds.
    pub part: Option<String>,
    /// The mapping as Elasticsearch writes it: a JSON object with `properties` and `dynamic`.
    pub mapping: Bytes,
    /// The top-level fields that this processor owns in a shared index; empty for an index of whole documents.
    pub owned_fields: Vec<String>,
}

impl ColumnKind {
    /// The kind of the values that the column is given.
    pub fn value_kind(self) -> Self {
        match self {
            Self::Integer16 | Self::Integer32 => Self::Integer,
            Self::SizedDecimal { .. } => Self::Decimal,
            Self::LocalTimestamp => Self::Timestamp,
            Self::TextList => Self::Json,
            kind => kind,
        }
    }
}

impl Table {
    /// Where `column` stands in a row.
    pub fn column(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|candidate| candidate.name == column)
    }
}

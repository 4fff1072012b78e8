//! What databases write differently: the one place that decides it. Text in, text out.

use super::Rejection;
use crate::model::{Column, ColumnKind, Table, TableIndex};

/// A way of writing SQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite 3.51, which is compiled in.
    Sqlite,
    /// PostgreSQL 12 and later.
    Postgres,
}

impl Dialect {
    /// `name` as an identifier, whatever it holds.
    ///
    /// # Errors
    /// When it holds a NUL, which would end the statement.
    pub(crate) fn quote(self, name: &str) -> Result<String, Rejection> {
        if name.contains('\0') {
            return Err(Rejection::for_good(format!("the name {name:?} holds a NUL character")));
        }
        Ok(format!("\"{}\"", name.replace('"', "\"\"")))
    }

    /// `names` as a list of identifiers.
    pub(crate) fn quote_all<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Result<String, Rejection> {
        let quoted: Vec<String> = names.into_iter().map(|name| self.quote(name)).collect::<Result<_, _>>()?;
        Ok(quoted.join(", "))
    }

    /// The type of a column. In SQLite its name chooses the affinity: `TEXT` inside of it keeps decimals, times and
    /// JSON as they were written, and `BIGINT` keeps a key from becoming the row id, which would invent a number for
    /// null.
    pub(crate) fn column_type(self, kind: ColumnKind) -> &'static str {
        match self {
            Self::Sqlite => match kind {
                ColumnKind::Boolean => "BOOLEAN",
                ColumnKind::Integer => "BIGINT",
                ColumnKind::Double => "DOUBLE",
                ColumnKind::Decimal => "DECIMAL_TEXT",
                ColumnKind::Text => "TEXT",
                ColumnKind::Bytes => "BLOB",
                ColumnKind::Date => "DATE_TEXT",
                ColumnKind::Timestamp => "TIMESTAMP_TEXT",
                ColumnKind::Json => "JSON_TEXT",
            },
            Self::Postgres => match kind {
                ColumnKind::Boolean => "boolean",
                ColumnKind::Integer => "bigint",
                ColumnKind::Double => "double precision",
                ColumnKind::Decimal => "numeric",
                ColumnKind::Text => "text",
                ColumnKind::Bytes => "bytea",
                ColumnKind::Date => "date",
                ColumnKind::Timestamp => "timestamp with time zone",
                ColumnKind::Json => "jsonb",
            },
        }
    }

    /// What a column of the existing type `text` holds; none for a type that this program does not write.
    pub(crate) fn column_kind(self, text: &str) -> Option<ColumnKind> {
        const KINDS: [ColumnKind; 9] = [
            ColumnKind::Boolean,
            ColumnKind::Integer,
            ColumnKind::Double,
            ColumnKind::Decimal,
            ColumnKind::Text,
            ColumnKind::Bytes,
            ColumnKind::Date,
            ColumnKind::Timestamp,
            ColumnKind::Json,
        ];
        KINDS.into_iter().find(|kind| self.column_type(*kind).eq_ignore_ascii_case(text))
    }

    /// Removes all rows whose `column` stands in the one bound value: a JSON array of texts, or an array of PostgreSQL.
    pub(crate) fn delete_documents(self, table: &str, column: &str) -> Result<String, Rejection> {
        let (table, column) = (self.quote(table)?, self.quote(column)?);
        match self {
            Self::Sqlite => Ok(format!("delete from {table} where {column} in (select value from json_each(?))")),
            Self::Postgres => Ok(format!("delete from {table} where {column} = any($1::text[])")),
        }
    }

    /// A stored time as a whole number of microseconds. In SQLite times are texts of fixed width
    /// (`2026-02-03T10:00:00.123456Z`); its own functions stop at milliseconds.
    pub(crate) fn microseconds(self, time: &str) -> String {
        match self {
            Self::Sqlite => {
                format!("(unixepoch(substr({time}, 1, 19)) * 1000000 + cast(substr({time}, 21, 6) as integer))")
            }
            Self::Postgres => format!("(extract(epoch from {time}) * 1000000)::bigint"),
        }
    }

    /// What follows an operand of a comparison so that texts have the order of their bytes. SQLite knows no other; in
    /// PostgreSQL it depends on the database, and may change with the system's libraries.
    pub(crate) fn by_bytes(self, kind: Option<ColumnKind>) -> &'static str {
        match (self, kind) {
            (Self::Postgres, Some(ColumnKind::Text)) => " collate \"C\"",
            _ => "",
        }
    }

    /// Makes `table`, without its indexes.
    pub(crate) fn create_table(self, table: &Table) -> Result<String, Rejection> {
        let mut lines = Vec::with_capacity(table.columns.len() + 1);
        for column in &table.columns {
            let not_null = if column.nullable && !table.key.contains(&column.name) { "" } else { " not null" };
            lines.push(format!("{} {}{not_null}", self.quote(&column.name)?, self.column_type(column.kind)));
        }
        if !table.key.is_empty() {
            lines.push(format!("primary key ({})", self.quote_all(table.key.iter().map(String::as_str))?));
        }
        Ok(format!("create table {} ({})", self.quote(&table.name)?, lines.join(", ")))
    }

    /// Adds a column that may be null.
    pub(crate) fn add_column(self, table: &str, column: &Column) -> Result<String, Rejection> {
        let (table, name) = (self.quote(table)?, self.quote(&column.name)?);
        Ok(format!("alter table {table} add column {name} {}", self.column_type(column.kind)))
    }

    /// Makes an index under `name`.
    pub(crate) fn create_index(self, table: &str, name: &str, index: &TableIndex) -> Result<String, Rejection> {
        let unique = if index.unique { "unique " } else { "" };
        let columns = self.quote_all(index.columns.iter().map(String::as_str))?;
        Ok(format!("create {unique}index {} on {} ({columns})", self.quote(name)?, self.quote(table)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_leave_its_quotes() {
        assert_eq!(Dialect::Sqlite.quote(r#"a"; drop table b; --"#).unwrap(), r#""a""; drop table b; --""#);
        assert!(Dialect::Sqlite.quote("a\0b").unwrap_err().reason.contains("NUL"));
    }

    #[test]
    fn every_kind_is_found_again_in_its_type() {
        for kind in [ColumnKind::Integer, ColumnKind::Decimal, ColumnKind::Timestamp, ColumnKind::Json] {
            assert_eq!(Dialect::Sqlite.column_kind(Dialect::Sqlite.column_type(kind)), Some(kind));
        }
        assert_eq!(Dialect::Sqlite.column_kind("VARCHAR(20)"), None);
    }
}

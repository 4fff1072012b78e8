//! What databases write differently: the one place that decides it. Text in, text out.

use std::borrow::Cow;

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
    /// null. It has no narrower types: values that do not fit their kind are refused before they come here.
    pub(crate) fn column_type(self, kind: ColumnKind) -> Cow<'static, str> {
        Cow::Borrowed(match self {
            Self::Sqlite => match kind.value_kind() {
                ColumnKind::Boolean => "BOOLEAN",
                ColumnKind::Double => "DOUBLE",
                ColumnKind::Text => "TEXT",
                ColumnKind::Bytes => "BLOB",
                ColumnKind::Date => "DATE_TEXT",
                ColumnKind::Integer | ColumnKind::Integer16 | ColumnKind::Integer32 => "BIGINT",
                ColumnKind::Decimal | ColumnKind::SizedDecimal { .. } => "DECIMAL_TEXT",
                ColumnKind::Timestamp | ColumnKind::LocalTimestamp => "TIMESTAMP_TEXT",
                ColumnKind::Json | ColumnKind::TextList => "JSON_TEXT",
            },
            // As `format_type` spells them.
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
                ColumnKind::Integer16 => "smallint",
                ColumnKind::Integer32 => "integer",
                ColumnKind::SizedDecimal { digits, places } => return format!("numeric({digits},{places})").into(),
                ColumnKind::LocalTimestamp => "timestamp without time zone",
                ColumnKind::TextList => "text[]",
            },
        })
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
    fn narrower_kinds_have_types_of_their_own_where_there_are_any() {
        let money = ColumnKind::SizedDecimal { digits: 64, places: 16 };
        assert_eq!(Dialect::Postgres.column_type(money), "numeric(64,16)");
        assert_eq!(Dialect::Sqlite.column_type(money), Dialect::Sqlite.column_type(ColumnKind::Decimal));
        assert_eq!(
            Dialect::Sqlite.column_type(ColumnKind::Integer16),
            Dialect::Sqlite.column_type(ColumnKind::Integer)
        );
    }
}

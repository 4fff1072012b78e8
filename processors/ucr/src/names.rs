//! Names of tables, columns and indexes, and types of columns, as the original has them in PostgreSQL.

use md5::Md5;
use sha1::{Digest, Sha1};
use std::fmt::Write as _;

use crate::coerce::Datatype;

/// Longer names of tables are cut and get a hash.
const LONGEST_TABLE: usize = 50;
/// What PostgreSQL allows; longer names of columns and indexes are cut and get a hash.
const LONGEST_IDENTIFIER: usize = 63;

/// The table of a data source.
pub fn table_name(domain: &str, table_id: &str) -> String {
    let (domain, table_id) = (escaped(domain), escaped(table_id));
    let hash = sha1_hex(&format!("{}_{table_id}", sha1_hex(&domain)));
    let hash: String = hash.chars().take(8).collect();
    // Escaped a second time, as the original does: a backslash from the first pass is doubled.
    let name = escaped(&format!("ucr_{domain}_{table_id}_{hash}"));
    if name.len() <= LONGEST_TABLE {
        name
    } else {
        format!("{}_{:.8}", head(&name, LONGEST_TABLE - 9), sha1_hex(&name))
    }
}

/// The column of an indicator: of a long id the end is kept.
pub fn column_name(column_id: &str) -> String {
    let name = escaped(column_id);
    if name.len() <= LONGEST_IDENTIFIER {
        return name;
    }
    let end = name.get(name.len() - 54..).unwrap_or_default();
    format!("{end}_{:.8}", sha1_hex(&name))
}

/// The index of one column.
pub fn index_name(table: &str, column: &str) -> String {
    let name = format!("ix_{table}_{column}");
    if name.len() <= LONGEST_IDENTIFIER {
        return name;
    }
    let hash = md5_hex(&name);
    format!("{}_{}", head(&name, LONGEST_IDENTIFIER - 8), hash.get(hash.len() - 4..).unwrap_or_default())
}

/// An index that a data source asks for, over several columns.
pub fn custom_index_name(table: &str, columns: &[String]) -> String {
    let name = format!("ix_{table}_{}", columns.join(","));
    format!("{}_{:.5}", head(&name, 50), md5_hex(&name))
}

/// The share of a data source where several processes divide them: the first hexadecimal digit of its table id's MD5.
pub fn division(table_id: &str) -> char {
    md5_hex(table_id).chars().next().unwrap_or('0')
}

/// The type of a column in PostgreSQL.
pub fn column_type(datatype: Datatype) -> &'static str {
    match datatype {
        Datatype::Array => "TEXT[]",
        Datatype::Date => "DATE",
        Datatype::DateTime => "TIMESTAMP WITHOUT TIME ZONE",
        Datatype::Decimal => "NUMERIC(64, 16)",
        Datatype::Integer => "INTEGER",
        Datatype::SmallInteger => "SMALLINT",
        Datatype::String => "TEXT",
    }
}

/// As Python's codec `unicode-escape` writes it: ASCII, with a backslash before everything else.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        let written = match (c, u32::from(c)) {
            ('\\', _) => write!(escaped, "\\\\"),
            ('\t', _) => write!(escaped, "\\t"),
            ('\n', _) => write!(escaped, "\\n"),
            ('\r', _) => write!(escaped, "\\r"),
            (' '..='~', _) => write!(escaped, "{c}"),
            (_, code @ 0..=0xff) => write!(escaped, "\\x{code:02x}"),
            (_, code @ 0x100..=0xffff) => write!(escaped, "\\u{code:04x}"),
            (_, code) => write!(escaped, "\\U{code:08x}"),
        };
        debug_assert!(written.is_ok(), "writing to a text cannot fail");
    }
    escaped
}

/// The first characters of a name, which is ASCII once escaped.
fn head(name: &str, length: usize) -> &str {
    name.char_indices().nth(length).and_then(|(end, _)| name.get(..end)).unwrap_or(name)
}

fn sha1_hex(text: &str) -> String {
    hex(&Sha1::digest(text.as_bytes()))
}

fn md5_hex(text: &str) -> String {
    hex(&Md5::digest(text.as_bytes()))
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_named_after_domain_and_id_with_a_hash_of_both() {
        assert_eq!(table_name("a", "t"), "ucr_a_t_5da690d4");
        let long = table_name("a-domain-with-a-long-name", "a-table-with-a-long-name");
        assert_eq!(long.len(), LONGEST_TABLE);
        assert!(long.starts_with("ucr_a-domain-with-a-long-name_a-table-wit_"), "{long}");
    }

    #[test]
    fn backslashes_of_escapes_are_doubled_in_table_names_and_not_in_columns() {
        assert!(table_name("é", "t").starts_with("ucr_\\\\xe9_t_"));
        assert_eq!(column_name("日\t\\😀"), "\\u65e5\\t\\\\\\U0001f600");
    }

    #[test]
    fn of_a_long_column_id_the_end_is_kept() {
        let name = column_name(&format!("{}end", "x".repeat(80)));
        assert_eq!(name.len(), LONGEST_IDENTIFIER);
        assert!(name.contains("xend_"));
        assert_eq!(column_name(&"x".repeat(63)), "x".repeat(63));
    }
}

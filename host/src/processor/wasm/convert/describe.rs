//! A description as the guest gives it, checked for being one.

use std::collections::HashSet;

use super::json::json_object;
use crate::model::{Column, ColumnKind, Description, Index, Problem, Table, TableChange, TableIndex};
use crate::processor::wasm::bindings::pillowtop::processor::types as contract;

/// Elasticsearch takes index names up to 255 bytes, Kafka topics up to 249; databases have lower bounds of their own.
const NAME_BYTES: usize = 255;

/// Tables, indices, columns and so on, each; a processor with a table for each of many data sources has thousands.
const NAMES: usize = 100_000;

/// Digits that a decimal of a given size may have; PostgreSQL takes no more.
const MOST_DIGITS: u16 = 1000;

/// The description in the model's types, or all that is wrong with it.
pub(crate) fn description(given: contract::Description, lookups: &[String]) -> Result<Description, Vec<String>> {
    let description = Description {
        tables: given.tables.into_iter().map(table).collect(),
        indices: given.indices.into_iter().map(index).collect(),
        topics: given.topics,
        caches: given.caches,
        lookups: given.lookups,
        parts: given.parts,
        problems: given.problems.into_iter().map(problem).collect(),
    };
    let mut wrong = Vec::new();
    check(&description, lookups, &mut wrong);
    if wrong.is_empty() { Ok(description) } else { Err(wrong) }
}

pub(crate) fn problem(given: contract::Problem) -> Problem {
    Problem { path: given.path, part: given.part, message: given.message }
}

fn table(given: contract::Table) -> Table {
    let column =
        |column: contract::Column| Column { name: column.name, kind: kind(column.kind), nullable: column.nullable };
    let index =
        |index: contract::TableIndex| TableIndex { name: index.name, columns: index.columns, unique: index.unique };
    Table {
        name: given.name,
        part: given.part,
        columns: given.columns.into_iter().map(column).collect(),
        key: given.key,
        document_column: given.document_column,
        indexes: given.indexes.into_iter().map(index).collect(),
        on_change: match given.on_change {
            contract::TableChange::Refuse => TableChange::Refuse,
            contract::TableChange::Rebuild => TableChange::Rebuild,
            contract::TableChange::Keep => TableChange::Keep,
        },
        engines: given.engines,
    }
}

fn index(given: contract::Index) -> Index {
    Index { name: given.name, part: given.part, mapping: given.mapping.into(), owned_fields: given.owned_fields }
}

fn kind(given: contract::ColumnKind) -> ColumnKind {
    match given {
        contract::ColumnKind::Boolean => ColumnKind::Boolean,
        contract::ColumnKind::Integer => ColumnKind::Integer,
        contract::ColumnKind::Double => ColumnKind::Double,
        contract::ColumnKind::Decimal => ColumnKind::Decimal,
        contract::ColumnKind::Text => ColumnKind::Text,
        contract::ColumnKind::Bytes => ColumnKind::Bytes,
        contract::ColumnKind::Date => ColumnKind::Date,
        contract::ColumnKind::Timestamp => ColumnKind::Timestamp,
        contract::ColumnKind::Json => ColumnKind::Json,
        contract::ColumnKind::Integer16 => ColumnKind::Integer16,
        contract::ColumnKind::Integer32 => ColumnKind::Integer32,
        contract::ColumnKind::SizedDecimal(size) => {
            ColumnKind::SizedDecimal { digits: size.digits, places: size.places }
        }
        contract::ColumnKind::LocalTimestamp => ColumnKind::LocalTimestamp,
        contract::ColumnKind::TextList => ColumnKind::TextList,
    }
}

fn check(description: &Description, granted: &[String], wrong: &mut Vec<String>) {
    check_names("table", description.tables.iter().map(|table| &table.name), wrong);
    check_names("index", description.indices.iter().map(|index| &index.name), wrong);
    check_names("topic", &description.topics, wrong);
    check_names("cache", &description.caches, wrong);
    check_names("look-up", &description.lookups, wrong);
    check_names("part", &description.parts, wrong);
    let parts: HashSet<&String> = description.parts.iter().collect();
    let targets = description.tables.iter().map(|table| (&table.name, &table.part));
    for (name, part) in targets.chain(description.indices.iter().map(|index| (&index.name, &index.part))) {
        if let Some(part) = part
            && !parts.contains(part)
        {
            wrong.push(format!("`{name}` belongs to part `{part}`, which is not among the parts"));
        }
    }
    for lookup in &description.lookups {
        if !granted.contains(lookup) {
            wrong.push(format!("it asks look-up `{lookup}`, which the manifest does not grant"));
        }
    }
    for table in &description.tables {
        check_table(table, wrong);
    }
    for index in &description.indices {
        if let Err(reason) = json_object(&index.mapping, &|_| Ok(())) {
            wrong.push(format!("the mapping of index `{}` is {reason}", index.name));
        }
    }
}

fn check_names<'a>(what: &str, names: impl IntoIterator<Item = &'a String>, wrong: &mut Vec<String>) {
    let mut seen = HashSet::new();
    for name in names {
        if seen.len() >= NAMES {
            wrong.push(format!("it declares more than {NAMES} of this kind: {what}"));
            return;
        }
        if name.is_empty() || name.len() > NAME_BYTES || name.contains(char::is_control) {
            let shown = super::super::log::cut(name, NAME_BYTES);
            wrong.push(format!("{what} {shown:?} has no usable name: 1 to {NAME_BYTES} bytes, no control characters"));
        }
        if !seen.insert(name) {
            wrong.push(format!("{what} `{name}` is named twice"));
        }
    }
}

fn check_table(table: &Table, wrong: &mut Vec<String>) {
    let name = &table.name;
    if table.columns.is_empty() {
        wrong.push(format!("table `{name}` has no columns"));
    }
    check_names(&format!("table `{name}`, column"), table.columns.iter().map(|column| &column.name), wrong);
    check_names(&format!("table `{name}`, index"), table.indexes.iter().filter_map(|index| index.name.as_ref()), wrong);
    for column in &table.columns {
        if let ColumnKind::SizedDecimal { digits, places } = column.kind
            && (places > digits || digits == 0 || digits > MOST_DIGITS)
        {
            let name = &column.name;
            wrong.push(format!(
                "table `{}`, column `{name}` has {digits} digits, {places} of them behind the point: that is no size",
                table.name
            ));
        }
    }
    let used = table.key.iter().chain(table.indexes.iter().flat_map(|index| &index.columns));
    for column in used {
        if table.column(column).is_none() {
            wrong.push(format!("table `{name}` has a key or an index over column `{column}`, which it does not have"));
        }
    }
    let Some(document_column) = &table.document_column else {
        if table.key.is_empty() {
            wrong.push(format!(
                "table `{name}` has neither a key nor a document column, so nothing can be written to it"
            ));
        }
        return;
    };
    let kind = table.columns.iter().find(|column| column.name == *document_column).map(|column| column.kind);
    if kind != Some(ColumnKind::Text) {
        wrong.push(format!(
            "table `{name}` names `{document_column}` as its document column, which is no text column of it"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound() -> contract::Description {
        let column = |name: &str, kind| contract::Column { name: name.into(), kind, nullable: false };
        contract::Description {
            tables: vec![contract::Table {
                name: "visits".into(),
                part: Some("a".into()),
                columns: vec![column("doc_id", contract::ColumnKind::Text), column("n", contract::ColumnKind::Integer)],
                key: vec!["doc_id".into(), "n".into()],
                document_column: Some("doc_id".into()),
                indexes: vec![contract::TableIndex { name: None, columns: vec!["n".into()], unique: false }],
                on_change: contract::TableChange::Refuse,
                engines: Vec::new(),
            }],
            indices: vec![contract::Index {
                name: "forms".into(),
                part: None,
                mapping: b"{}".to_vec(),
                owned_fields: Vec::new(),
            }],
            topics: Vec::new(),
            caches: Vec::new(),
            lookups: vec!["cases".into()],
            parts: vec!["a".into()],
            problems: Vec::new(),
        }
    }

    fn check(change: impl FnOnce(&mut contract::Description), expected: &[&str]) {
        let mut given = sound();
        change(&mut given);
        let wrong = description(given, &["cases".to_owned()]).err().unwrap_or_default();
        assert_eq!(wrong.len(), expected.len(), "{wrong:?}");
        for (line, expected) in wrong.iter().zip(expected) {
            assert!(line.contains(expected), "{line:?} does not say {expected:?}");
        }
    }

    #[test]
    fn a_sound_description_is_taken() {
        check(|_| {}, &[]);
    }

    #[test]
    fn names_are_usable_and_unique() {
        check(|given| given.topics = vec!["t".into(), "t".into()], &["topic `t` is named twice"]);
        check(|given| given.caches = vec![String::new()], &["cache \"\" has no usable name"]);
        check(|given| given.indices[0].name = "x\n".into(), &["index \"x\\n\" has no usable name"]);
    }

    #[test]
    fn a_look_up_must_be_granted_and_a_part_declared() {
        check(|given| given.lookups.push("users".into()), &["look-up `users`, which the manifest does not grant"]);
        check(|given| given.parts.clear(), &["`visits` belongs to part `a`"]);
    }

    #[test]
    fn a_table_must_make_sense() {
        check(|given| given.tables[0].key[1] = "m".into(), &["over column `m`"]);
        check(|given| given.tables[0].document_column = Some("n".into()), &["which is no text column"]);
        check(
            |given| {
                given.tables[0].document_column = None;
                given.tables[0].key.clear();
            },
            &["neither a key nor a document column"],
        );
    }

    #[test]
    fn a_mapping_is_a_json_object() {
        check(|given| given.indices[0].mapping = b"[".to_vec(), &["mapping of index `forms` is not a JSON object"]);
    }
}

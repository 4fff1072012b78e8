//! The keys and indexes of a data source's table.

use crate::compiler::Compiler;
use crate::indicator::Column;
use crate::names;
use crate::value::{Dict, Value};

/// Names of columns, in the order of the key.
pub type PrimaryKey = Vec<String>;

/// An index that is not the primary key's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    pub name: String,
    pub columns: Vec<String>,
}

impl Compiler<'_> {
    /// The columns marked for it, in their order or in that of the settings, which have to name the same.
    pub(super) fn primary_key(&mut self, config: &Dict<'_>, columns: &[Column]) -> PrimaryKey {
        let marked = || columns.iter().filter(|column| column.is_primary_key);
        let by_columns = marked().map(|column| column.name.clone()).collect();
        let Some(settings) = self.optional_dict(config, "sql_settings") else { return by_columns };
        let wanted = self.at_key("sql_settings", |compiler| compiler.optional_texts(settings, "primary_key"));
        if wanted.is_empty() {
            return by_columns;
        }
        let same = wanted.iter().all(|id| marked().any(|column| column.id == *id))
            && marked().all(|column| wanted.contains(&column.id));
        if !same {
            let marked: Vec<&str> = marked().map(|column| column.id.as_str()).collect();
            let message = format!("must name exactly the columns with is_primary_key: {}", marked.join(", "));
            self.at_key("sql_settings", |compiler| compiler.problem_at("primary_key", message));
        }
        let name = |id: &String| columns.iter().find(|column| column.id == *id).map(|column| column.name.clone());
        wanted.iter().filter_map(name).collect()
    }

    /// An entry over columns that do not exist is left out, as in the original.
    pub(super) fn indexes(&mut self, config: &Dict<'_>, table: &str, columns: &[Column]) -> Vec<Index> {
        let mut indexes: Vec<Index> = Vec::new();
        let mut add = |index: Index| {
            if !indexes.iter().any(|known| known.name == index.name) {
                indexes.push(index);
            }
        };
        for column in columns.iter().filter(|column| column.create_index) {
            add(Index { name: names::index_name(table, &column.name), columns: vec![column.name.clone()] });
        }
        let is_column = |name: &str| columns.iter().any(|column| column.name == name);
        for (at, entry) in self.optional_list(config, "sql_column_indexes").iter().enumerate() {
            let ids = self.at_key("sql_column_indexes", |compiler| {
                compiler.at_index(at, |compiler| match entry {
                    Value::Dict(entry) => compiler.optional_texts(entry, "column_ids"),
                    _ => {
                        compiler.problem("must be an object with column_ids");
                        Vec::new()
                    }
                })
            });
            if !ids.is_empty() && ids.iter().all(|id| is_column(id)) {
                add(Index { name: names::custom_index_name(table, &ids), columns: ids });
            }
        }
        // Tables that were spread over servers by another column than the id are still found by it.
        let spread = config.get("sql_settings").and_then(|settings| settings.property("citus_config"));
        let spread =
            spread.filter(|spread| spread.property("distribution_type").and_then(Value::as_str) == Some("hash"));
        let by = spread.and_then(|spread| spread.property("distribution_column")).and_then(Value::as_str);
        if by.is_some_and(|by| by != "doc_id" && is_column(by)) {
            let columns = vec!["doc_id".to_owned()];
            add(Index { name: names::custom_index_name(table, &columns), columns });
        }
        indexes
    }
}

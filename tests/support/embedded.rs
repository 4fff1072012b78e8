//! Settings that need no server: change log, documents, tables and checkpoints in one file, indices in a folder. What
//! other tests write of the same is made of the same pieces.

use std::path::Path;

/// Rows in the database of the checkpoints.
pub(crate) const TABLES: &str = "
[sinks.tables]
kind = \"sql\"
";

/// Indices in a folder.
pub(crate) const SEARCH: &str = "
[sinks.search]
kind = \"search\"
folder = \"search\"
";

/// A change log and its documents in the database of this name.
pub(crate) fn change_log(database: &str) -> String {
    format!(
        r#"
[feeds.log]
kind = "changelog"
database = "{database}"
partitions = 4

[documents.store]
kind = "sql"
database = "{database}"
query = "select id, document, revision, deleted from documents where id in (:ids)"
ids = "select id, source from documents where not deleted"
"#
    )
}

/// A folder for compiled modules that many runs may share; more limits may follow.
pub(crate) fn limits(compiled: &Path) -> String {
    format!("\n[limits]\nmodule-cache = {compiled:?}\n")
}

/// All of it, and more settings, which go on with `[limits]`.
pub(crate) fn settings(compiled: &Path, more: &str) -> String {
    let (log, limits) = (change_log("main"), limits(compiled));
    format!(
        r#"
[database]
url = "sqlite:pillowtop.db"

[documents.inline]
kind = "inline"
{log}{TABLES}{SEARCH}{limits}{more}"#
    )
}

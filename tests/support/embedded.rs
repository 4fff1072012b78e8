//! Settings that need no server: change log, documents, tables and checkpoints in one file, indices in a folder.

use std::path::Path;

const EMBEDDED: &str = r#"
[database]
url = "sqlite:pillowtop.db"

[feeds.log]
kind = "changelog"
partitions = 4

[documents.store]
kind = "sql"
query = "select id, document, revision, deleted from documents where id in (:ids)"
ids = "select id, source from documents where not deleted"

[documents.inline]
kind = "inline"

[sinks.tables]
kind = "sql"

[sinks.search]
kind = "search"
folder = "search"

[limits]
"#;

/// With a folder for compiled modules that many runs may share, and more settings, which go on with `[limits]`.
pub(crate) fn settings(compiled: &Path, more: &str) -> String {
    format!("{EMBEDDED}module-cache = {compiled:?}\n{more}")
}

//! Texts of manifests, put together from their parts.

/// What a pillow reads: a topic of the change log, its documents from the database.
pub(crate) fn reads(topic: &str) -> String {
    format!("[feed]\nfrom = \"log\"\ntopics = [\"{topic}\"]\n\n[documents]\ndefault = \"store\"\n")
}

/// Batches of at most so many changes.
pub(crate) fn batches(count: usize, in_flight: usize) -> String {
    format!("\n[batch]\ncount = {count}\nin-flight = {in_flight}\n")
}

/// A processor that indexes `form` or `case`.
pub(crate) fn search(profile: &str, index: &str) -> String {
    format!(
        r#"
[[processors]]
name = "search"
module = "{{es-indexer}}"
grants = ["log"]
indices = "search"
config = {{ profile = "{profile}", index = "{index}" }}
"#
    )
}

/// The processor that writes rows of visits.
pub(crate) fn visits() -> String {
    let config = r#"{ xmlns = "http://openrosa.org/formdesigner/household-visit", table = "visits" }"#;
    format!(
        r#"
[[processors]]
name = "visits"
module = "{{visit-rows}}"
grants = ["log"]
tables = "tables"
config = {config}
"#
    )
}

/// A processor that misbehaves as `mode` says, at documents with the word `poison`; the others it puts into the index
/// `hostile` and the table `hostile_rows`.
pub(crate) fn hostile(mode: &str) -> String {
    format!(
        r#"
[[processors]]
name = "hostile"
module = "{{hostile}}"
grants = ["log"]
lookups = {{ parent = "store" }}
indices = "search"
tables = "tables"
config = {{ mode = "{mode}", version = "{mode}" }}
"#
    )
}

/// The quick start's pillow of forms.
pub(crate) fn forms() -> String {
    reads("form-sql") + &search("form", "forms") + &visits()
}

/// The quick start's pillow of cases.
pub(crate) fn cases() -> String {
    reads("case-sql") + &search("case", "cases")
}

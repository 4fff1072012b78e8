//! What loading promises as a whole, and that `docs/manifest.md` says all of it. Single problems are cases in
//! `tests/manifests`.

use std::io;
use std::path::Path;

use proptest::prelude::*;

use super::*;

/// An environment without variables and files.
struct Nothing;

impl Lookup for Nothing {
    fn variable(&self, _: &str) -> Option<String> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<String> {
        Err(io::ErrorKind::NotFound.into())
    }
}

const SETTINGS: &str = r#"
[database]
url = "sqlite:pillowtop.db"
[databases.reporting]
url = "sqlite:reporting.db"
[feeds.changes]
kind = "changelog"
[documents.documents]
kind = "sql"
query = "select id, document, revision, deleted from documents where id in (:ids)"
[sinks.tables]
kind = "sql"
[sinks.reports]
kind = "sql"
database = "reporting"
"#;

const CASES: &str = r#"
name = "cases"
[feed]
from = "changes"
topics = ["case"]
[documents]
default = "documents"
[[processors]]
name = "rows"
module = "rows.wasm"
tables = "reports"
config = { b = 1, a = 2 }
"#;

fn load_texts(settings: &str, manifests: &[&str]) -> Loaded {
    let source = |path: String, text: &str| Source { path: path.into(), text: text.to_owned() };
    let manifests: Vec<Source> =
        manifests.iter().enumerate().map(|(at, text)| source(format!("pipelines/{at}.toml"), text)).collect();
    load(&source("pillowtop.toml".to_owned(), settings), &manifests, &Nothing)
}

fn manifest(text: &str) -> Manifest {
    let loaded = load_texts(SETTINGS, &[text]);
    assert_eq!(loaded.problems, []);
    loaded.manifests.into_iter().next().unwrap()
}

fn names(loaded: &Loaded) -> Vec<&str> {
    loaded.manifests.iter().map(|manifest| manifest.name().as_str()).collect()
}

#[test]
fn a_broken_manifest_does_not_keep_the_others_from_loading() {
    let forms = CASES.replace("cases", "forms");
    let broken = CASES.replace("cases", "broken").replace("changes", "nowhere");
    let loaded = load_texts(SETTINGS, &[CASES, &broken, "name = 'syntax'\n=", &forms]);
    assert_eq!(names(&loaded), ["cases", "forms"]);
    let broken: Vec<_> = loaded.broken.iter().map(|broken| (broken.file.to_str(), broken.name.as_ref())).collect();
    let (one, two) = (PillowName::new("broken"), PillowName::new("syntax"));
    assert_eq!(broken, [(Some("pipelines/1.toml"), Some(&one)), (Some("pipelines/2.toml"), Some(&two))]);
}

#[test]
fn broken_settings_load_nothing_and_break_every_manifest() {
    for settings in ["database", &SETTINGS.replace("[sinks.tables]", "[limits]\nworkers = 0\n[sinks.tables]")] {
        let loaded = load_texts(settings, &[CASES]);
        assert!(loaded.settings.is_none() && loaded.manifests.is_empty());
        assert_eq!(loaded.broken[0].name, Some(PillowName::new("cases")));
        assert!(loaded.problems.iter().all(|problem| problem.file == Path::new("pillowtop.toml")), "{loaded:?}");
    }
}

#[test]
fn of_two_pillows_with_one_name_neither_loads() {
    let loaded = load_texts(SETTINGS, &[CASES, CASES]);
    assert_eq!((names(&loaded).len(), loaded.broken.len(), loaded.problems.len()), (0, 2, 2));
}

#[test]
fn paths_are_relative_to_their_file() {
    assert_eq!(manifest(CASES).pillow().processors[0].module, Path::new("pipelines/rows.wasm"));
    let settings = Source { path: "etc/a%b/pillowtop.toml".into(), text: SETTINGS.to_owned() };
    let settings = load(&settings, &[], &Nothing).settings.unwrap();
    assert_eq!(settings.main().url.reveal(), "sqlite:etc/a%25b/pillowtop.db");
    assert_eq!(settings.limits().module_cache, Path::new("etc/a%b/.pillowtop/modules"));
}

#[test]
fn only_what_is_declared_makes_manifests_differ() {
    let same = CASES
        .replace("{ b = 1, a = 2 }", "{ a = 0x2, b = 1 } # the same")
        .replace("[feed]", "collapse = \"by-document\"\n[batch]\nbytes = \"512KiB\"\n[feed]\nstart = 'earliest'");
    assert_eq!(manifest(CASES), manifest(&same));
    assert_eq!(manifest(CASES).fingerprint(), manifest(&same).fingerprint());

    let other = [
        ("cases", "forms"),
        ("[feed]", "paused = true\n[feed]"),
        ("[feed]", "collapse = \"none\"\n[feed]"),
        ("[feed]", "[batch]\ncount = 1\n[feed]"),
        ("[feed]", "[batch]\nbytes = \"1 KiB\"\n[feed]"),
        ("[feed]", "[batch]\nin-flight = 1\n[feed]"),
        ("[feed]", "[failures]\nwindow = 2000\n[feed]"),
        ("[feed]", "[failures]\nminimum = 1\n[feed]"),
        ("[feed]", "[failures]\nhalt-above = 1\n[feed]"),
        ("[\"case\"]", "[\"form\"]"),
        ("[feed]", "[feed]\nstart = \"latest\""),
        ("[[processors]]", "sources = { a = \"documents\" }\n[[processors]]"),
        ("rows.wasm", "columns.wasm"),
        ("\"rows\"", "\"row\""),
        ("\"reports\"", "\"tables\""),
        ("b = 1", "b = 2"),
        ("config", "grants = [\"log\"]\nconfig"),
        ("config", "lookups = { a = \"documents\" }\nconfig"),
        ("config", "config-lists = [{ key = \"c\", files = [\"*.json\"] }]\nconfig"),
    ];
    for (from, to) in other {
        let other = manifest(&CASES.replace(from, to));
        assert_ne!(manifest(CASES), other, "{to}");
        assert_ne!(manifest(CASES).fingerprint(), other.fingerprint(), "{to}");
    }
}

#[test]
fn a_swap_is_enough_where_only_processors_differ() {
    let check = |from, to, expected| {
        let swaps = manifest(CASES).pillow().can_swap_to(manifest(&CASES.replace(from, to)).pillow());
        assert_eq!(swaps, expected, "{to}");
    };
    check("rows.wasm", "columns.wasm", true);
    check("[feed]", "[failures]\nhalt-above = 1\n[feed]", false);
    check("[\"case\"]", "[\"form\"]", false);
    check("[feed]", "[batch]\ncount = 1\n[feed]", false);
}

#[test]
fn a_change_of_the_settings_concerns_who_uses_the_entry() {
    let manifest = manifest(CASES);
    let check = |from, to, expected| {
        let before = load_texts(SETTINGS, &[]).settings.unwrap();
        let after = load_texts(&SETTINGS.replace(from, to), &[]).settings.unwrap();
        assert_eq!(manifest.is_concerned(&before, &after), expected, "{to}");
    };
    check("pillowtop.db", "other.db", true);
    check("reporting.db", "other.db", true);
    check("\"changelog\"", "\"changelog\"\npartitions = 8", true);
    check("(:ids)", "(:ids) and 1", true);
    check("[sinks.tables]", "[sinks.more]\nkind = \"memory\"\n[sinks.tables]", false);
    check("[sinks.tables]\nkind = \"sql\"", "[sinks.tables]\nkind = \"memory\"", false);
}

#[test]
fn a_store_that_passes_on_to_others_changes_with_them_and_their_databases() {
    let settings = SETTINGS.to_owned()
        + "[documents.related]\nkind = 'by-type'\ntypes = { A = 'others' }\n\
           [documents.others]\nkind = 'sql-lookup'\ndatabase = 'elsewhere'\nquery = 'select key, document from a where key in (:ids)'\n\
           [databases.elsewhere]\nurl = 'sqlite:elsewhere.db'\n";
    let granted = CASES.replace("config =", "lookups = { documents = \"related\" }\nconfig =");
    let loaded = load_texts(&settings, &[&granted]);
    assert_eq!(loaded.problems, []);
    for (from, to, expected) in [("from a", "from b", true), ("elsewhere.db", "other.db", true), ("x", "x", false)] {
        let after = load_texts(&settings.replace(from, to), &[]).settings.unwrap();
        assert_eq!(loaded.manifests[0].is_concerned(loaded.settings.as_ref().unwrap(), &after), expected, "{to}");
    }
}

const DOCS: &str = include_str!("../../../docs/manifest.md");

/// The part of the docs below this heading, up to the next one.
fn section<'a>(docs: &'a str, heading: &str) -> &'a str {
    let (_, after) = docs.split_once(&format!("\n{heading}\n")).unwrap_or_else(|| panic!("no heading {heading}"));
    after.find("\n#").map_or(after, |end| &after[..end])
}

/// The keys of a section: what stands first in the rows of its tables.
fn documented(section: &str) -> BTreeSet<&str> {
    section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect()
}

#[test]
fn the_docs_name_every_key_and_no_other() {
    let (settings, manifests) = DOCS.split_once("\n# The manifest").unwrap();
    for (docs, shapes) in [(settings, shapes::settings::all()), (manifests, shapes::pillow::all())] {
        for shape in shapes {
            let Some(keys) = shape.keys else { continue };
            let path = match shape.path {
                "" => "Top level".to_owned(),
                "processors" | "processors.config-lists" => format!("`[[{}]]`", shape.path),
                path => format!("`[{path}]`"),
            };
            let kind = shape.kind.map(|kind| format!(", kind `{kind}`")).unwrap_or_default();
            let heading = format!("## {path}{kind}");
            assert_eq!(documented(section(docs, &heading)), keys.iter().copied().collect(), "{heading}");
        }
    }
}

#[test]
fn the_docs_name_every_code() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(documented(section(DOCS, "# Problems")), codes);
}

/// The text of the block that the docs mark with this word.
fn block(mark: &str) -> &'static str {
    let (_, after) = DOCS.split_once(&format!("```toml {mark}\n")).unwrap_or_else(|| panic!("no block {mark}"));
    after.split("```").next().unwrap()
}

#[test]
fn the_examples_of_the_docs_load() {
    let loaded = load_texts(block("settings"), &[block("manifest")]);
    assert_eq!(loaded.problems, []);
    assert_eq!(loaded.manifests.len(), 1);
}

#[test]
fn the_defaults_of_the_docs_are_the_defaults() {
    let smallest = load_texts(SETTINGS, &[CASES]);
    let settings = format!("{SETTINGS}{}", block("settings-defaults"));
    let cases = CASES.replace("[feed]", &format!("{}\n[feed]", block("manifest-defaults")));
    let loaded = load_texts(&settings, &[&cases]);
    assert_eq!(loaded.problems, []);
    assert_eq!(smallest.settings, loaded.settings);
    assert_eq!(smallest.manifests, loaded.manifests);
    // Each default is written down: but for names and the number of cores, which have none.
    for key in
        ["memory", "memory-mark", "cpu-deadline", "wall-limit", "batches-in-flight", "module-cache", "grace-period"]
    {
        assert!(block("settings-defaults").contains(&format!("\n{key} = ")), "{key}");
    }
    for key in shapes::pillow::BATCH.keys.unwrap().iter().chain(shapes::pillow::FAILURES.keys.unwrap()) {
        assert!(block("manifest-defaults").contains(&format!("\n{key} = ")), "{key}");
    }
}

proptest! {
    #[test]
    fn the_line_and_column_of_a_problem_find_its_place(lines in proptest::collection::vec("[a-zé]{1,5} = 1", 1..6)) {
        let text = lines.join("\n");
        for problem in load_texts(&text, &[]).problems {
            let line = text.lines().nth(problem.line - 1).unwrap();
            let at = line.char_indices().nth(problem.column - 1).map_or(line.len(), |(at, _)| at);
            prop_assert!(text[problem.span.start..].starts_with(&line[at..]));
        }
    }
}

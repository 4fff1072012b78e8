//! Says what a changed settings file changes, and whom it concerns. It takes effect at the next start only: a database
//! or an index that is open cannot be exchanged under the pillows that use it.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::manifest::{MAIN, Manifest, Settings, Used};

/// The names that differ, each with the pillows that use it; none when nothing differs.
pub(super) fn describe(before: &Settings, after: &Settings, manifests: &[Manifest]) -> Option<String> {
    let mut changes: Vec<String> = names(before)
        .union(&names(after))
        .filter(|used| !before.agrees(after, used))
        .map(|used| describe_one(used, manifests))
        .collect();
    if before.limits() != after.limits() {
        changes.push("limits".to_owned());
    }
    if before.log() != after.log() {
        changes.push("log".to_owned());
    }
    let (observed, observes) = (before.observe(), after.observe());
    let watched = [
        ("metrics", observed.metrics != observes.metrics),
        ("admin", observed.admin != observes.admin),
        ("traces", observed.traces != observes.traces),
    ];
    changes.extend(watched.iter().filter(|(_, differs)| *differs).map(|(table, _)| (*table).to_owned()));
    (!changes.is_empty()).then(|| changes.join(", "))
}

fn names(settings: &Settings) -> BTreeSet<Used> {
    let names = |keys: Vec<&Arc<str>>, used: fn(Arc<str>) -> Used| keys.into_iter().cloned().map(used).collect();
    let all: [Vec<Used>; 4] = [
        names(settings.databases().keys().collect(), Used::Database),
        names(settings.feeds().keys().collect(), Used::Feed),
        names(settings.documents().keys().collect(), Used::Documents),
        names(settings.sinks().keys().collect(), Used::Sink),
    ];
    all.into_iter().flatten().collect()
}

fn describe_one(used: &Used, manifests: &[Manifest]) -> String {
    let place = match used {
        Used::Database(name) if name.as_ref() == MAIN => "database".to_owned(),
        Used::Database(name) => format!("databases.{name}"),
        Used::Feed(name) => format!("feeds.{name}"),
        Used::Documents(name) => format!("documents.{name}"),
        Used::Sink(name) => format!("sinks.{name}"),
    };
    let users: Vec<&str> = manifests
        .iter()
        .filter(|manifest| manifest.uses().contains(used))
        .map(|manifest| manifest.name().as_str())
        .collect();
    if users.is_empty() { place } else { format!("{place} (used by {})", users.join(", ")) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::load::load;
    use super::super::scan::Texts;
    use super::*;

    const SETTINGS: &str = "[database]\nurl = \"sqlite:p.db\"\n[feeds.log]\nkind = \"changelog\"\n\
        [documents.store]\nkind = \"inline\"\n[sinks.rows]\nkind = \"sql\"\n[limits]\nworkers = 1\n";
    const MANIFEST: &str = "name = \"NAME\"\n[feed]\nfrom = \"log\"\ntopics = [\"t\"]\n[documents]\n\
        default = \"store\"\n[[processors]]\nname = \"p\"\nmodule = \"p.wasm\"\n";

    fn check(from: &str, to: &str, expected: Option<&str>) {
        let manifests = vec![
            ("a.toml".into(), format!("{}tables = \"rows\"\n", MANIFEST.replace("NAME", "a"))),
            ("b.toml".into(), MANIFEST.replace("NAME", "b")),
        ];
        let texts = Texts { settings: Some(SETTINGS.to_owned()), manifests, unreadable: Vec::new() };
        let before = load(Path::new("s.toml"), &texts);
        let after = Texts { settings: Some(SETTINGS.replace(from, to)), ..Texts::default() };
        let after = load(Path::new("s.toml"), &after).settings.unwrap();
        assert_eq!(describe(&before.settings.unwrap(), &after, &before.manifests).as_deref(), expected, "{to}");
    }

    #[test]
    fn what_changed_is_named_with_those_who_use_it() {
        check("workers = 1", "workers = 1 # one", None);
        check("workers = 1", "workers = 2", Some("limits"));
        check("kind = \"changelog\"", "kind = \"changelog\"\npartitions = 8", Some("feeds.log (used by a, b)"));
        check("sinks.rows", "sinks.lines", Some("sinks.lines, sinks.rows (used by a)"));
        check("p.db", "q.db", Some("database (used by a, b)"));
        check(
            "[limits]",
            "[log]\nlevel = \"debug\"\n[databases.second]\nurl = \"sqlite:s.db\"\n[limits]",
            Some("databases.second, log"),
        );
        check(
            "[limits]",
            "[admin]\n[traces]\nendpoint = \"http://collector:4318\"\n[metrics]\nstatsd = \"agent:8125\"\n[limits]",
            Some("metrics, admin, traces"),
        );
    }
}

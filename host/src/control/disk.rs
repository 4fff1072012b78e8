//! One look at the disk: what is wanted now, what is to go on as it is, and what is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::manifest::{ListSource, Loaded, Manifest, Settings};
use crate::model::PillowName;

use super::lists::{Files, Found};
use super::load::load;
use super::modules::Modules;
use super::plan::{Held, Shape};
use super::scan::{self, Texts};
use super::settings_change;

/// Looks at the disk, and remembers what need not be read again.
pub(super) struct Disk {
    settings_file: PathBuf,
    pipelines: PathBuf,
    /// Only these pillows; all when empty.
    only: Vec<String>,
    /// The settings that the host runs with, and their text: manifests mean these, also when the file has changed.
    in_force: (Settings, Option<String>),
    modules: Modules,
    lists: Files,
}

/// What a look found.
#[derive(Debug)]
pub(super) struct Seen {
    /// The pillows that are to run, as their manifests say.
    pub(super) manifests: BTreeMap<PillowName, Manifest>,
    /// And what they are made of now.
    pub(super) wanted: BTreeMap<PillowName, Shape>,
    /// What goes on as it is.
    pub(super) held: Held,
    /// What is wrong, a line each.
    pub(super) problems: BTreeSet<String>,
    /// What differs from the settings in force.
    pub(super) changed_settings: Option<String>,
    /// Every file that matters.
    pub(super) files: BTreeSet<PathBuf>,
    /// Folders of which every file matters, since a list may take it in.
    pub(super) folders: BTreeSet<PathBuf>,
}

impl Disk {
    /// A disk of which nothing is known but the settings that the host runs with.
    pub(super) fn new(
        settings_file: PathBuf,
        pipelines: PathBuf,
        only: Vec<String>,
        in_force: (Settings, Option<String>),
    ) -> Self {
        Self { settings_file, pipelines, only, in_force, modules: Modules::default(), lists: Files::default() }
    }

    /// Looks. Blocks while it reads.
    pub(super) fn look(&mut self) -> Seen {
        let texts = scan::texts(&self.settings_file, &self.pipelines);
        let mut problems: BTreeSet<String> = texts
            .unreadable
            .iter()
            .map(|(path, reason)| format!("could not read {}: {reason}", path.display()))
            .collect();
        let (loaded, found) = self.load(&texts, &mut problems);
        let mut seen = Seen {
            manifests: BTreeMap::new(),
            wanted: BTreeMap::new(),
            held: held(&texts, &loaded, &self.pipelines),
            problems,
            changed_settings: found
                .and_then(|found| settings_change::describe(&self.in_force.0, &found, &loaded.manifests)),
            files: loaded.files,
            folders: BTreeSet::new(),
        };
        seen.files.insert(self.settings_file.clone());
        seen.files.extend(texts.manifests.into_iter().map(|(file, _)| file));
        seen.files.extend(texts.unreadable.into_iter().map(|(file, _)| file));
        for manifest in loaded.manifests {
            let name = manifest.name().clone();
            if !self.only.is_empty() && !self.only.iter().any(|only| only == name.as_str()) {
                continue;
            }
            let pillow = manifest.pillow();
            let modules = pillow.processors.iter().map(|entry| self.modules.find(&entry.module)).collect();
            seen.files.extend(pillow.processors.iter().map(|entry| entry.module.clone()));
            let lists = self.lists(&manifest, &mut seen);
            seen.wanted.insert(name.clone(), Shape { pillow: pillow.clone(), modules, lists });
            seen.manifests.insert(name, manifest);
        }
        seen
    }

    /// The lists of the manifest's processors, as far as they are in files.
    fn lists(&mut self, manifest: &Manifest, seen: &mut Seen) -> Vec<Vec<Found>> {
        let mut all = Vec::new();
        for entry in &manifest.pillow().processors {
            let mut lists = Vec::new();
            for list in &entry.lists {
                let ListSource::Files(patterns) = &list.from else {
                    lists.push(Found::Loading);
                    continue;
                };
                let look = self.lists.find(patterns);
                seen.problems.extend(look.problems);
                seen.files.extend(look.files);
                seen.folders.extend(look.folders);
                lists.push(look.found);
            }
            all.push(lists);
        }
        all
    }

    /// The manifests under the settings in force, and the settings that are on disk, unless they have problems.
    fn load(&self, texts: &Texts, problems: &mut BTreeSet<String>) -> (Loaded, Option<Settings>) {
        let (_, in_force) = &self.in_force;
        let mut found = None;
        if texts.settings != *in_force && texts.settings.is_some() {
            let alone = Texts { settings: texts.settings.clone(), ..Texts::default() };
            let loaded = load(&self.settings_file, &alone);
            problems.extend(loaded.problems.iter().map(ToString::to_string));
            found = loaded.settings;
        }
        let texts = Texts { settings: in_force.clone(), ..texts.clone() };
        let loaded = load(&self.settings_file, &texts);
        problems.extend(loaded.problems.iter().map(ToString::to_string));
        // The text is the same, but a secret in a file of its own may have changed.
        let found = found.or_else(|| loaded.settings.clone());
        (loaded, found)
    }
}

fn held(texts: &Texts, loaded: &Loaded, pipelines: &PathBuf) -> Held {
    let unreadable = texts.unreadable.iter().map(|(file, _)| file.clone());
    Held {
        all: texts.unreadable.iter().any(|(file, _)| file == pipelines),
        files: loaded.broken.iter().map(|broken| broken.file.clone()).chain(unreadable).collect(),
        names: loaded.broken.iter().filter_map(|broken| broken.name.clone()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const SETTINGS: &str = "[database]\nurl = \"sqlite:p.db\"\n[feeds.log]\nkind = \"changelog\"\n\
        [documents.store]\nkind = \"inline\"\n[sinks.memory]\nkind = \"memory\"\n";

    fn manifest(name: &str, sink: &str) -> String {
        format!(
            "name = \"{name}\"\n[feed]\nfrom = \"log\"\ntopics = [\"t\"]\n[documents]\ndefault = \"store\"\n\
             [[processors]]\nname = \"p\"\nmodule = \"p.wasm\"\ntables = \"{sink}\"\n"
        )
    }

    struct Folder {
        folder: tempfile::TempDir,
        disk: Disk,
    }

    impl Folder {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (file, pipelines) = (folder.path().join("pillowtop.toml"), folder.path().join("pipelines"));
            fs::create_dir(&pipelines).unwrap();
            fs::write(&file, SETTINGS).unwrap();
            let texts = Texts { settings: Some(SETTINGS.to_owned()), ..Texts::default() };
            let settings = load(&file, &texts).settings.unwrap();
            let disk = Disk::new(file, pipelines, Vec::new(), (settings, Some(SETTINGS.to_owned())));
            Self { folder, disk }
        }

        fn write(&self, file: &str, text: &str) {
            fs::write(self.folder.path().join(file), text).unwrap();
        }

        /// The wanted and the held pillows, and how many problems there are.
        fn check(&mut self, wanted: &str, held: &str, problems: usize) -> Seen {
            let seen = self.disk.look();
            let names = |names: Vec<&PillowName>| names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            assert_eq!(names(seen.wanted.keys().collect()), wanted, "{:?}", seen.problems);
            assert_eq!(names(seen.held.names.iter().collect()), held, "{:?}", seen.problems);
            assert_eq!(seen.problems.len(), problems, "{:?}", seen.problems);
            seen
        }
    }

    #[test]
    fn a_broken_manifest_is_held_and_the_others_are_wanted() {
        let mut folder = Folder::new();
        folder.write("pipelines/a.toml", &manifest("a", "memory"));
        folder.write("pipelines/b.toml", &manifest("b", "nowhere"));
        folder.check("a", "b", 1);
    }

    #[test]
    fn settings_that_are_broken_or_gone_hold_no_manifest_up() {
        let mut folder = Folder::new();
        folder.write("pipelines/a.toml", &manifest("a", "memory"));
        folder.write("pillowtop.toml", "[database");
        assert_eq!(folder.check("a", "", 1).changed_settings, None);
        fs::remove_file(folder.folder.path().join("pillowtop.toml")).unwrap();
        assert_eq!(folder.check("a", "", 1).changed_settings, None);
    }

    #[test]
    fn manifests_mean_the_settings_that_the_host_runs_with() {
        let mut folder = Folder::new();
        folder.write("pillowtop.toml", &SETTINGS.replace("sinks.memory", "sinks.other"));
        folder.write("pipelines/a.toml", &manifest("a", "memory"));
        folder.write("pipelines/b.toml", &manifest("b", "other"));
        let seen = folder.check("a", "b", 1);
        assert_eq!(seen.changed_settings.as_deref(), Some("sinks.memory (used by a), sinks.other"));
    }

    #[test]
    fn a_folder_that_is_gone_holds_everything() {
        let mut folder = Folder::new();
        fs::remove_dir(folder.folder.path().join("pipelines")).unwrap();
        assert!(folder.check("", "", 1).held.all);
    }
}

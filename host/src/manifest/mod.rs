//! Manifests: from the text of the settings and of the pillows' files to checked values.
//!
//! Promise: every problem of every file is found in one pass, each with its place; what is handed out was checked,
//! and there is no second check. A broken manifest does not keep the others from loading. No secret is in a problem.
//!
//! Deliberately absent: I/O. The caller brings the texts, and answers for variables and other files by [`Lookup`].
//! Whether a module can be loaded or a server answers is not asked here.

mod lists;
mod names;
mod observe;
mod pillow;
mod problem;
mod read_elasticsearch;
mod read_feed;
mod read_lists;
mod read_lookups;
mod read_pillow;
mod read_settings;
mod report;
mod secret;
mod section;
mod settings;
mod shapes;
#[cfg(test)]
mod tests;
mod units;

pub use lists::{ConfigList, ListSource, Times};
pub use observe::{Admin, MetricsUse, Observe, Traces};
pub use pillow::{Batches, Configuration, DocumentsUse, Failures, FeedUse, Manifest, Pillow, Processor};
pub use problem::{Code, Problem};
pub use read_lookups::LookupStore;
pub use secret::{Lookup, Secret};
pub use settings::{Database, Documents, Feed, Format, Level, Limits, Log, MAIN, Settings, Sink, Used};

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::Arc;

use read_settings::Defined;
use report::Report;

use crate::model::PillowName;

/// A file that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Where it lies; paths inside of it are relative to its folder.
    pub path: PathBuf,
    /// What it holds.
    pub text: String,
}

/// Everything that the files say.
#[derive(Debug)]
pub struct Loaded {
    /// The settings; none when they have problems.
    pub settings: Option<Settings>,
    /// The manifests without problems, by file; none when the settings have problems.
    pub manifests: Vec<Manifest>,
    /// The manifests that have problems, or whose settings have: what runs of them should go on as it is.
    pub broken: Vec<Broken>,
    /// All problems of all files, by file and place; those of the settings first.
    pub problems: Vec<Problem>,
    /// The given files with their secrets blotted out, to show problems in.
    pub shown: Vec<Source>,
    /// Other files that text was taken from: when one changes, what was loaded changes.
    pub files: BTreeSet<PathBuf>,
}

/// A manifest that was not loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// The file.
    pub file: PathBuf,
    /// The name that it gives its pillow, where that can be made out.
    pub name: Option<PillowName>,
}

/// One manifest on its way.
struct Draft {
    file: PathBuf,
    name: Option<read_pillow::Named>,
    pillow: Option<Pillow>,
    problems: Vec<Problem>,
}

/// Loads the settings and the manifests.
pub fn load(settings: &Source, manifests: &[Source], lookup: &dyn Lookup) -> Loaded {
    let mut loaded = Loaded {
        settings: None,
        manifests: Vec::new(),
        broken: Vec::new(),
        problems: Vec::new(),
        shown: Vec::new(),
        files: BTreeSet::new(),
    };
    let defined = loaded.read_settings(settings, lookup);
    let mut sources: Vec<&Source> = manifests.iter().collect();
    sources.sort_by(|one, other| one.path.cmp(&other.path));
    let mut drafts: Vec<Draft> =
        sources.iter().map(|source| loaded.read_manifest(source, defined.as_ref(), lookup)).collect();
    refuse_duplicates(&mut drafts, &sources);
    for draft in drafts {
        loaded.take(draft);
    }
    loaded
}

impl Loaded {
    /// What the settings define; none when they cannot be read at all.
    fn read_settings(&mut self, source: &Source, lookup: &dyn Lookup) -> Option<Defined> {
        let report = Report::new(source, lookup, shapes::settings::all());
        let table = report.parse();
        let mut defined = None;
        if report.is_clean() {
            let (settings, names) = read_settings::read(&report, table.get_ref());
            defined = Some(names);
            self.settings = report.is_clean().then_some(settings);
        }
        let problems = self.gather(report);
        self.problems.extend(problems);
        defined
    }

    fn read_manifest(&mut self, source: &Source, defined: Option<&Defined>, lookup: &dyn Lookup) -> Draft {
        let report = Report::new(source, lookup, shapes::pillow::all());
        let table = report.parse();
        let (name, pillow) = if report.is_clean() {
            read_pillow::read(&report, table.get_ref(), defined)
        } else {
            // What recovers from a syntax error would only raise doubtful problems of its own.
            (read_pillow::name_of(table.get_ref()).map(|name| (name, 0..0)), None)
        };
        Draft { file: source.path.clone(), name, pillow, problems: self.gather(report) }
    }

    fn gather(&mut self, report: Report<'_>) -> Vec<Problem> {
        let gathered = report.finish();
        self.shown.push(gathered.shown);
        self.files.extend(gathered.files);
        gathered.problems
    }

    fn take(&mut self, draft: Draft) {
        let Draft { file, name, pillow, problems } = draft;
        match (&self.settings, pillow) {
            (Some(settings), Some(pillow)) if problems.is_empty() => {
                let mut uses = pillow.names();
                let databases: Vec<Arc<str>> = uses.iter().flat_map(|used| settings.databases_of(used)).collect();
                uses.extend(databases.into_iter().map(Used::Database));
                self.manifests.push(Manifest { file, uses, pillow });
            }
            _ => self.broken.push(Broken { file, name: name.map(|(name, _)| PillowName::new(name)) }),
        }
        self.problems.extend(problems);
    }
}

/// Refuses every file that names a pillow which another one names too: to prefer one of them would let a stray copy
/// take over what runs.
fn refuse_duplicates(drafts: &mut [Draft], sources: &[&Source]) {
    let mut by_name: BTreeMap<Arc<str>, Vec<usize>> = BTreeMap::new();
    for (at, draft) in drafts.iter().enumerate() {
        if let Some((name, _)) = &draft.name {
            by_name.entry(Arc::clone(name)).or_default().push(at);
        }
    }
    for (name, places) in by_name {
        for (index, at) in places.iter().enumerate() {
            let other = places[if index == 0 { places.len() - 1 } else { 0 }];
            if other == *at {
                continue;
            }
            let message = format!("pillow `{name}` is also declared in {}", sources[other].path.display());
            let Source { path, text } = sources[*at];
            let span = drafts[*at].name.as_ref().map_or(0..0, |(_, span)| span.clone());
            let help = "two pillows of one name would share their checkpoints";
            let problem = Problem::new(path, text, span, Code::Duplicate, message).with_help(help);
            drafts[*at].problems.push(problem);
        }
    }
}

/// A constant that is not 0.
const fn non_zero(number: usize) -> NonZeroUsize {
    match NonZeroUsize::new(number) {
        Some(number) => number,
        None => NonZeroUsize::MIN,
    }
}

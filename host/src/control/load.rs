//! From the files on disk to checked settings and manifests.

use std::io;
use std::path::Path;

use crate::manifest::{self, Loaded, Source};

use super::Error;
use super::environment::Environment;
use super::scan::{self, Texts};

/// Reads and checks settings and manifests, with every problem of every file.
///
/// # Errors
/// When there are no settings at all.
pub fn load_files(settings: &Path, pipelines: &Path) -> Result<Loaded, Error> {
    let texts = scan::texts(settings, pipelines);
    if texts.settings.is_none() {
        let source = io::Error::other(reason_for(&texts, settings));
        return Err(Error::Settings { path: settings.to_path_buf(), source });
    }
    // A folder that cannot be read has no manifest that could tell.
    if let Some((path, reason)) = texts.unreadable.first() {
        let source = io::Error::other(reason.clone());
        return Err(Error::Pipelines { path: path.clone(), source });
    }
    Ok(load(settings, &texts))
}

/// Checks texts that were read.
pub(super) fn load(settings: &Path, texts: &Texts) -> Loaded {
    let source = Source { path: settings.to_path_buf(), text: texts.settings.clone().unwrap_or_default() };
    let manifests: Vec<Source> =
        texts.manifests.iter().map(|(path, text)| Source { path: path.clone(), text: text.clone() }).collect();
    manifest::load(&source, &manifests, &Environment::read())
}

fn reason_for(texts: &Texts, path: &Path) -> String {
    let found = texts.unreadable.iter().find(|(unreadable, _)| unreadable == path);
    found.map_or_else(|| "it is not there".to_owned(), |(_, reason)| reason.clone())
}

//! Reads the texts that are on disk: settings and manifests.

use std::path::{Path, PathBuf};

/// Texts as they were read. Whoever cannot be read is in `unreadable` with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Texts {
    /// The settings; none when the file is not there.
    pub(crate) settings: Option<String>,
    /// The manifests by file, in the order of their names.
    pub(crate) manifests: Vec<(PathBuf, String)>,
    /// Files that are there and cannot be read.
    pub(crate) unreadable: Vec<(PathBuf, String)>,
}

/// Reads the settings and every `*.toml` of the folder, but for the settings themselves.
pub(crate) fn texts(settings: &Path, pipelines: &Path) -> Texts {
    let mut texts = Texts::default();
    match std::fs::read_to_string(settings) {
        Ok(text) => texts.settings = Some(text),
        Err(error) => texts.unreadable.push((settings.to_path_buf(), error.to_string())),
    }
    // An entry that cannot be read may be a manifest: it must not look as if that were gone.
    let entries = std::fs::read_dir(pipelines)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>());
    let mut files = match entries {
        Ok(files) => files,
        Err(error) => {
            texts.unreadable.push((pipelines.to_path_buf(), error.to_string()));
            return texts;
        }
    };
    let settings = settings.canonicalize().ok();
    files.retain(|path| is_manifest(path) && (settings.is_none() || path.canonicalize().ok() != settings));
    files.sort();
    for file in files {
        match std::fs::read_to_string(&file) {
            Ok(text) => texts.manifests.push((file, text)),
            // Between listing and reading it was deleted: as if it had never been there.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => texts.unreadable.push((file, error.to_string())),
        }
    }
    texts
}

/// Whether a file is a manifest by its name. Editors write beside the file, with a leading dot.
pub(super) fn is_manifest(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
        && !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_that_leads_nowhere_is_not_taken_for_settings_that_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (settings, manifest) = (folder.path().join("pillowtop.toml"), folder.path().join("a.toml"));
        std::os::unix::fs::symlink(&manifest, &manifest).unwrap();
        let unreadable: Vec<PathBuf> =
            texts(&settings, folder.path()).unreadable.into_iter().map(|(path, _)| path).collect();
        assert_eq!(unreadable, [settings, manifest]);
    }
}

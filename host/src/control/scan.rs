//! Reads what is on disk: settings, manifests, modules. A value, so that planning stays pure.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::model::Digest;

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
    let entries = match std::fs::read_dir(pipelines) {
        Ok(entries) => entries,
        Err(error) => {
            texts.unreadable.push((pipelines.to_path_buf(), error.to_string()));
            return texts;
        }
    };
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
        // Editors write beside the file, with a leading dot.
        .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
        .filter(|path| path.canonicalize().ok() != settings.canonicalize().ok())
        .collect();
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

/// Digests of modules; a file is read again only when its metadata changed.
#[derive(Debug, Default)]
pub(super) struct Modules {
    known: BTreeMap<PathBuf, (Stamp, Digest)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    inode: u64,
}

impl Modules {
    /// The digest of the module.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn digest(&mut self, path: &Path) -> std::io::Result<Digest> {
        let metadata = std::fs::metadata(path)?;
        let stamp = Stamp { modified: metadata.modified().ok(), length: metadata.len(), inode: metadata.ino() };
        if let Some((known, digest)) = self.known.get(path)
            && *known == stamp
        {
            return Ok(*digest);
        }
        let digest = Digest(Sha256::digest(std::fs::read(path)?).into());
        self.known.insert(path.to_path_buf(), (stamp, digest));
        Ok(digest)
    }
}

//! Modules on disk: their content, and a digest that is not read again while the file stays as it is.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use crate::model::Digest;

/// The state of a module; one that cannot be read is a state of its own, so that it is tried again when it changes.
pub(super) type Found = Result<Digest, io::ErrorKind>;

/// A file that was changed so short a time ago may change again without its metadata telling: clocks of file systems
/// tick in milliseconds to two seconds.
const RACY: Duration = Duration::from_secs(2);

/// Digests of modules; a file is read again only when its metadata changed.
#[derive(Debug, Default)]
pub(super) struct Modules {
    known: BTreeMap<PathBuf, (Stamp, Digest)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: SystemTime,
    changed: (i64, i64),
    length: u64,
    inode: u64,
}

impl Modules {
    /// What the module is now.
    pub(super) fn find(&mut self, path: &Path) -> Found {
        self.digest(path).map_err(|error| error.kind())
    }

    fn digest(&mut self, path: &Path) -> io::Result<Digest> {
        let metadata = std::fs::metadata(path)?;
        let stamp = Stamp {
            modified: metadata.modified()?,
            changed: (metadata.ctime(), metadata.ctime_nsec()),
            length: metadata.len(),
            inode: metadata.ino(),
        };
        if let Some((known, digest)) = self.known.get(path)
            && *known == stamp
        {
            return Ok(*digest);
        }
        let digest = digest(&std::fs::read(path)?);
        // One with a time in the future is never old enough, and is read each time.
        if SystemTime::now().duration_since(stamp.modified).is_ok_and(|age| age > RACY) {
            self.known.insert(path.to_path_buf(), (stamp, digest));
        }
        Ok(digest)
    }
}

/// The digest of a module's content.
pub(super) fn digest(bytes: &[u8]) -> Digest {
    Digest(Sha256::digest(bytes).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_found_even_when_the_metadata_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module.wasm");
        let mut modules = Modules::default();
        assert_eq!(modules.find(&path), Err(io::ErrorKind::NotFound));
        std::fs::write(&path, "one").unwrap();
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        assert_eq!(modules.find(&path), Ok(digest(b"one")));
        std::fs::write(&path, "two").unwrap();
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert_eq!(modules.find(&path), Ok(digest(b"two")));
    }

    #[test]
    fn an_old_file_is_read_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("module.wasm");
        std::fs::write(&path, "one").unwrap();
        let old = SystemTime::now() - Duration::from_secs(60);
        std::fs::File::options().append(true).open(&path).unwrap().set_modified(old).unwrap();
        let mut modules = Modules::default();
        assert_eq!(modules.find(&path), Ok(digest(b"one")));
        assert!(modules.known.contains_key(&path));
    }
}

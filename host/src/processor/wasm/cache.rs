//! Compiled code on disk, so that a restart does not compile again.
//!
//! An entry is named after the module's digest and the engine's settings, and written under another name first. Beside
//! it stands its own hash: a torn or changed entry is not loaded but compiled again. The folder belongs to the host's
//! user alone, because loading machine code means trusting whoever can write it.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};
use tracing::{debug, warn};
use wasmtime::component::Component;

use super::engine::{Engine, in_one_line};
use crate::model::Digest;

/// Entries that are kept; beyond, the oldest go. A working day of edits, and a few megabytes each.
const ENTRIES: usize = 200;

/// A folder of compiled code.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
}

/// A folder that cannot hold compiled code.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// It cannot be made or looked at.
    #[error("could not open the folder for compiled processors {}", path.display())]
    Open {
        /// The folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is another user's, who could put code there.
    #[error("the folder for compiled processors {} belongs to another user", path.display())]
    Owner {
        /// The folder.
        path: PathBuf,
    },
}

impl Cache {
    /// Opens `folder`, makes it if it is absent, and closes it to other users.
    ///
    /// # Errors
    /// When that is not possible.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, CacheError> {
        let folder = folder.into();
        let failed = |source| CacheError::Open { path: folder.clone(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder).map_err(failed)?;
        let found = fs::metadata(&folder).map_err(failed)?;
        if found.uid() != rustix::process::geteuid().as_raw() {
            return Err(CacheError::Owner { path: folder });
        }
        if found.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).map_err(failed)?;
        }
        Ok(Self { folder })
    }

    /// The component of the module `digest`, from the folder or else compiled by `compile` and put there. That the disk
    /// does not take it is no reason to refuse a processor.
    pub(super) fn load(
        &self,
        engine: &Engine,
        digest: Digest,
        compile: impl FnOnce() -> wasmtime::Result<Vec<u8>>,
    ) -> wasmtime::Result<Component> {
        let entry = Entry::new(&self.folder, engine, digest);
        match entry.read(engine) {
            Ok(Some(component)) => return Ok(component),
            Ok(None) => {}
            Err(reason) => warn!(file = %entry.code.display(), reason, "compiled processor is compiled again"),
        }
        let code = compile()?;
        let stored = entry.write(&code).map_err(|error| error.to_string());
        match stored.and_then(|()| entry.read(engine)) {
            Ok(Some(component)) => {
                self.drop_oldest();
                Ok(component)
            }
            Ok(None) => from_memory(engine, &code),
            Err(reason) => {
                warn!(file = %entry.code.display(), reason, "compiled processor is not kept");
                from_memory(engine, &code)
            }
        }
    }

    fn drop_oldest(&self) {
        let Ok(files) = fs::read_dir(&self.folder) else { return };
        let mut found: Vec<_> = files
            .filter_map(Result::ok)
            .filter_map(|file| Some((file.metadata().ok()?.modified().ok()?, file.path())))
            .collect();
        found.sort();
        // Each entry has two files. One that is mapped by a running processor stays readable to it.
        let too_many = found.len().saturating_sub(2 * ENTRIES);
        for (_, path) in found.into_iter().take(too_many) {
            if let Err(error) = fs::remove_file(&path) {
                debug!(file = %path.display(), %error, "old compiled processor is not removed");
            }
        }
    }
}

/// The two files of one module's code.
struct Entry {
    code: PathBuf,
    hash: PathBuf,
}

impl Entry {
    fn new(folder: &Path, engine: &Engine, digest: Digest) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.runtime().precompile_compatibility_hash().hash(&mut hasher);
        let name = format!("{digest}-{:016x}", hasher.finish());
        Self { code: folder.join(format!("{name}.cwasm")), hash: folder.join(format!("{name}.sha256")) }
    }

    /// The component, or nothing when there is no entry.
    fn read(&self, engine: &Engine) -> Result<Option<Component>, String> {
        let (Ok(found), Ok(hash)) = (hash_of_file(&self.code), fs::read_to_string(&self.hash)) else {
            return Ok(None);
        };
        if hash != found {
            return Err("it does not have the hash that is stored beside it".to_owned());
        }
        #[expect(unsafe_code, reason = "loading compiled code from the host's own folder")]
        // SAFETY: the file holds what this program's compiler wrote: its hash was checked just now, the folder is
        // writable by the host's user alone, and files in it are replaced by renaming, never changed in place, so that
        // what is mapped here stays as it is.
        let component = unsafe { Component::deserialize_file(engine.runtime(), &self.code) };
        component.map(Some).map_err(|error| in_one_line(&error))
    }

    fn write(&self, code: &[u8]) -> std::io::Result<()> {
        write_atomically(&self.code, code)?;
        write_atomically(&self.hash, hash_of(code).as_bytes())
    }
}

fn from_memory(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    #[expect(unsafe_code, reason = "loading code that was compiled a moment ago")]
    // SAFETY: the bytes come from this engine's own compiler and have not left this process.
    unsafe {
        Component::deserialize(engine.runtime(), code)
    }
}

fn hash_of(code: &[u8]) -> String {
    Digest(Sha256::digest(code).into()).to_string()
}

/// Reads the file piece by piece: it is mapped afterwards, and never as a whole in memory of our own.
fn hash_of_file(path: &Path) -> std::io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut piece = [0; 16 << 10];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest(hasher.finalize().into()).to_string()),
            read => hasher.update(&piece[..read]),
        }
    }
}

fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    // The name of a version 4 UUID, so that two hosts on one folder do not write the same file.
    let temporary = path.with_extension(uuid::Uuid::new_v4().simple().to_string());
    let written = fs::File::create_new(&temporary).and_then(|mut file| file.write_all(bytes));
    written.and_then(|()| fs::rename(&temporary, path)).inspect_err(|_| {
        if let Err(error) = fs::remove_file(&temporary) {
            debug!(file = %temporary.display(), %error, "temporary file is not removed");
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(engine: &Engine) -> wasmtime::Result<Vec<u8>> {
        engine.precompile(&wat::parse_str("(component)").unwrap())
    }

    #[test]
    fn code_is_compiled_once_and_again_when_it_is_damaged() {
        let engine = Engine::new().unwrap();
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("compiled");
        let cache = Cache::open(&folder).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
        let digest = Digest([7; 32]);
        let mut compiled = 0;
        let mut load = || {
            cache.load(&engine, digest, || {
                compiled += 1;
                compile(&engine)
            })
        };
        load().unwrap();
        load().unwrap();
        let entry = Entry::new(&folder, &engine, digest);
        let mut code = fs::read(&entry.code).unwrap();
        let middle = code.len() / 2;
        code[middle] ^= 1;
        fs::write(&entry.code, &code).unwrap();
        load().unwrap();
        fs::write(&entry.hash, hash_of(b"")).unwrap();
        fs::write(&entry.code, b"").unwrap();
        load().unwrap();
        load().unwrap();
        assert_eq!(compiled, 3);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2);
    }

    #[test]
    fn a_folder_open_to_others_is_closed() {
        let parent = tempfile::tempdir().unwrap();
        fs::set_permissions(parent.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Cache::open(parent.path()).unwrap();
        assert_eq!(fs::metadata(parent.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_folder_that_takes_no_files_is_no_reason_to_refuse_a_processor() {
        let engine = Engine::new().unwrap();
        let parent = tempfile::tempdir().unwrap();
        let cache = Cache::open(parent.path().join("compiled")).unwrap();
        fs::remove_dir(parent.path().join("compiled")).unwrap();
        assert!(cache.load(&engine, Digest([7; 32]), || compile(&engine)).is_ok());
    }
}

//! What manifests may take from around them: the environment as it was at start, and files.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use crate::manifest::Lookup;

/// The process's environment. Variables are read once; files whenever they are asked for.
pub(super) struct Environment {
    variables: HashMap<String, String>,
}

impl Environment {
    /// Takes the variables as they are now; those that are not UTF-8 count as absent.
    pub(super) fn read() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self { variables: std::env::vars_os().filter_map(text).collect() }
    }
}

impl Lookup for Environment {
    fn variable(&self, name: &str) -> Option<String> {
        self.variables.get(name).cloned()
    }

    fn read(&self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_files_are_found() {
        let environment = Environment::read();
        assert_eq!(environment.variable("CARGO_PKG_NAME").as_deref(), Some("pillowtop"));
        assert_eq!(environment.variable("PILLOWTOP_NO_SUCH_VARIABLE"), None);
        assert!(environment.read(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"))).is_ok());
        assert_eq!(environment.read(Path::new("no/such/file")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}

//! A real server for tests, through a script of `tests/services`: started when it is first needed, and ended when this
//! process ends, however it does. Suites include this file with `#[path]`.
#![allow(dead_code, reason = "each suite that includes this file uses a part of it")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};

use tempfile::TempDir;

/// A server.
pub(crate) struct Service {
    /// Where it answers, as its script prints it.
    pub(crate) address: String,
    name: &'static str,
    /// The script ends the server when this closes; so does the operating system for a process that dies.
    lifeline: Option<ChildStdin>,
    script: Child,
    folder: Option<TempDir>,
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.lifeline.take());
        // The folder may go only when the server is gone.
        self.script.wait().expect("the script ends");
    }
}

impl Service {
    /// A server of the script `name`, or the one that the environment names. For one that all tests of a process share,
    /// keep it in a `static`.
    pub(crate) fn shared(name: &'static str) -> Self {
        Self::run(name, Command::new(script(name)).arg("run"), None)
    }

    /// A server of one's own, which can be stopped, whatever the environment says.
    pub(crate) fn own(name: &'static str) -> Self {
        Self::own_with(name, &[])
    }

    /// The same with variables for its script.
    pub(crate) fn own_with(name: &'static str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut command = Command::new(script(name));
        command.arg("run").arg(folder.path()).env_remove(existing(name)).envs(variables.iter().copied());
        Self::run(name, &mut command, Some(folder))
    }

    /// Where a server of one's own has its files.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.as_ref().expect("a server of one's own").path()
    }

    fn run(name: &'static str, command: &mut Command, folder: Option<TempDir>) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the script runs");
        let mut address = String::new();
        let stdout = child.stdout.take().expect("a pipe");
        BufReader::new(stdout).read_line(&mut address).expect("its output can be read");
        let address = address.trim().to_owned();
        assert!(!address.is_empty(), "tests/services/{name} did not start a server; its reason stands above");
        Self { address, name, lifeline: child.stdin.take(), script: child, folder }
    }

    /// Stops the server as a crash would; its data stay.
    pub(crate) fn kill(&self) {
        self.control("kill");
    }

    /// Starts it again, where it was.
    pub(crate) fn start_again(&self) {
        self.control("start");
    }

    /// Freezes it: connections stay open, and nothing answers.
    pub(crate) fn pause(&self) {
        self.control("pause");
    }

    /// Lets it go on.
    pub(crate) fn resume(&self) {
        self.control("resume");
    }

    fn control(&self, word: &str) {
        let folder = self.folder.as_ref().expect("a server of one's own").path();
        let mut command = Command::new(script(self.name));
        command.arg(word).arg(folder).env_remove(existing(self.name)).stdout(Stdio::null());
        assert!(command.status().expect("the script runs").success(), "{word} failed");
    }
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/services").join(name)
}

/// The variable that names a server to use instead.
fn existing(name: &str) -> String {
    format!("PILLOWTOP_TEST_{}", name.to_uppercase())
}

//! What runs equals what is on disk: watches manifests and modules, plans, assembles, supervises, swaps.
//!
//! Promise: a change on disk touches only the pillow that it concerns. A generation is loaded, configured and checked
//! against its sinks beside the running one, and takes over between two batches; whatever fails on the way leaves the
//! running one untouched and is said in the log and in `status`. A manifest that cannot be read keeps its pillow
//! running; one that is gone stops it.
//!
//! `assemble.rs` is the only file of the host that names every adapter.

mod assemble;
mod backfill;
mod console;
mod disk;
mod environment;
mod heartbeat;
mod host;
mod lists;
mod load;
mod modules;
mod pillows;
mod plan;
mod queue;
mod rebuild;
mod scan;
mod settings_change;
mod supervise;
mod swap;
mod watch;

use std::path::PathBuf;

use crate::model::Outage;

pub use assemble::{Indices, Resources, open_checkpoints, search_indices, tables_url};
pub use console::{Console, ConsoleError, Overview, Reloaded, status_rows};
pub use host::{Host, HostEnd, Observer, Options, Until};
pub use load::load_files;
pub use queue::{queue_failure, queue_report, read_queue};
pub use rebuild::ask_to_fill;
pub use swap::{DeclaredTable, check_modules, declared_tables};

/// Why a host cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The settings cannot be read.
    #[error("could not read the settings {}", path.display())]
    Settings {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder of the manifests, or one of them, cannot be read.
    #[error("could not read {}", path.display())]
    Pipelines {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Settings that are wrong; one line for each problem.
    #[error("{}", .0.join("\n"))]
    Problems(Vec<String>),
    /// What the settings name cannot be opened.
    #[error("could not open what the settings name")]
    Resources(#[source] Outage),
    /// Traces cannot be sent where the settings say.
    #[error("traces cannot be sent")]
    Traces(#[source] crate::traces::Error),
}

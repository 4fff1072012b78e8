//! The engine: what all components of a host are compiled for and run on.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::Component;
use wasmtime::{Config, OptLevel};

use super::loaded::Loaded;

/// How often running code is looked at. Deadlines are held with about this precision.
const TICK: Duration = Duration::from_millis(10);

/// Compiles and runs components; one for each host, cheap to clone.
///
/// Code is interrupted by epochs and not by fuel: fuel costs as much and counts instructions, where a deadline is meant
/// in time. Memories keep the default reservation of 4 GiB of address space with guard pages, because explicit bounds
/// checks cost a fifth of the speed.
#[derive(Clone)]
pub struct Engine {
    runtime: wasmtime::Engine,
    compilers: Arc<rayon::ThreadPool>,
    loaded: Loaded,
}

/// An engine that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The machine lacks what the runtime needs.
    #[error("could not set up the WASM runtime: {0}")]
    Runtime(String),
    /// The threads for compiling could not be started.
    #[error("could not start the threads that compile processors")]
    Compilers(#[source] rayon::ThreadPoolBuildError),
    /// The thread that interrupts running code could not be started.
    #[error("could not start the thread that holds the deadlines of processors")]
    Ticker(#[source] std::io::Error),
}

impl Engine {
    /// Makes an engine with its ticking thread, which ends when the last user of the engine is gone.
    ///
    /// # Errors
    /// When the machine lacks what the runtime needs, or threads cannot be started.
    pub fn new() -> Result<Self, EngineError> {
        let mut config = Config::new();
        config.cranelift_opt_level(OptLevel::Speed).epoch_interruption(true).concurrency_support(false);
        let runtime = wasmtime::Engine::new(&config).map_err(|error| EngineError::Runtime(in_one_line(&error)))?;
        // One core stays free for the pipelines, which go on while a new processor is compiled.
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let compilers = rayon::ThreadPoolBuilder::new()
            .num_threads(cores.saturating_sub(1).max(1))
            .thread_name(|number| format!("compile-{number}"))
            .build()
            .map_err(EngineError::Compilers)?;
        let watched = runtime.weak();
        let tick = move || {
            loop {
                std::thread::park_timeout(TICK);
                let Some(runtime) = watched.upgrade() else { return };
                runtime.increment_epoch();
            }
        };
        std::thread::Builder::new().name("epochs".to_owned()).spawn(tick).map_err(EngineError::Ticker)?;
        Ok(Self { runtime, compilers: Arc::new(compilers), loaded: Loaded::default() })
    }

    pub(super) fn runtime(&self) -> &wasmtime::Engine {
        &self.runtime
    }

    /// The components in use on this engine.
    pub(super) fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// Compiles a component to what [`Self::precompile`] would write. Takes about a second of CPU for a megabyte.
    pub(super) fn compile(&self, component: &[u8]) -> wasmtime::Result<Component> {
        self.compilers.install(|| Component::new(&self.runtime, component))
    }

    /// Compiles a component to bytes that are kept on disk.
    pub(super) fn precompile(&self, component: &[u8]) -> wasmtime::Result<Vec<u8>> {
        self.compilers.install(|| self.runtime.precompile_component(component))
    }
}

/// The runtime's error with its causes, each once.
pub(super) fn in_one_line(error: &wasmtime::Error) -> String {
    let mut text = String::new();
    for said in error.chain().map(ToString::to_string) {
        if text.ends_with(&said) {
            continue;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&said);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticking_thread_does_not_keep_the_engine_alive() {
        let engine = Engine::new().unwrap();
        let weak = engine.runtime.weak();
        drop(engine);
        // The thread holds the engine for the moment of a tick only.
        let gone = (0..1_000_000).any(|_| {
            std::thread::yield_now();
            weak.upgrade().is_none()
        });
        assert!(gone);
    }
}

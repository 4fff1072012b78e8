//! Processors in a sandbox: WASM components of contract 0.1.0, run by wasmtime.
//!
//! A component can do nothing but compute: it is linked with the log and the look-ups that its manifest grants, and
//! refused when it imports anything else. Every call has a deadline in CPU time and in wall time, every instance a bound
//! of memory, every answer a bound of size; what it answers is checked against what it declared. A fault ends the
//! instance, never the host.
//!
//! Loading compiles, which takes seconds of CPU for large modules: call [`load`] from a thread that may block. Calls of
//! an instance block as well; they belong on the pipeline's worker threads.

mod bindings;
mod cache;
mod component;
mod convert;
mod engine;
mod fault;
mod grants;
mod imports;
mod inspect;
mod instance;
mod limits;
mod loaded;
mod log;

pub use cache::{Cache, CacheError};
pub use engine::{Engine, EngineError};
pub use grants::Grants;
pub use inspect::{Import, Inspection, Kind, inspect};
pub use limits::Limits;
pub use log::Names;

use std::path::Path;
use std::sync::Arc;

use wasmtime::component::Component;

use self::bindings::ProcessorPre;
use self::convert::Declared;
use self::instance::Template;
use super::{Instance, Lookups, Processor, StartError};
use crate::model::{Description, Digest};

/// What to load.
#[derive(Debug, Clone)]
pub struct Source<'a> {
    /// The file: read unless `bytes` are given, and named in errors.
    pub path: &'a Path,
    /// The file's content, where the caller has read it already.
    pub bytes: Option<&'a [u8]>,
    /// Whose processor it is, for its log lines.
    pub names: Names,
    /// What it may import.
    pub grants: Grants,
    /// Its configuration, as JSON.
    pub config: Vec<u8>,
    /// What it may use.
    pub limits: Limits,
}

/// A component that was loaded, and that described itself.
pub struct WasmProcessor {
    template: Arc<Template>,
    declared: Arc<Declared>,
    description: Description,
    digest: Digest,
    /// Held so that the next one of the same module finds it.
    _component: Arc<Component>,
}

/// Loads a processor and proves that it starts: compiles it, or finds it in the cache, and configures one instance.
///
/// Blocks for as long as compiling takes, about a second of CPU for a megabyte: from async code, call it in
/// `spawn_blocking`.
///
/// # Errors
/// When the file cannot be read, is no processor of this contract or imports what is not granted; when it does not
/// start; when it refuses its configuration.
pub fn load(engine: &Engine, source: Source<'_>, cache: Option<&Cache>) -> Result<WasmProcessor, StartError> {
    let read;
    let bytes = match source.bytes {
        Some(bytes) => bytes,
        None => {
            read = inspect::read(source.path)?;
            &read
        }
    };
    let (component, digest) = component::load(engine, source.path, bytes, &source.grants, cache)?;
    let linked = imports::link(engine, &source.grants).and_then(|linker| linker.instantiate_pre(&component));
    let code = linked.and_then(ProcessorPre::new).map_err(|error| {
        let reason = engine::in_one_line(&error);
        StartError::Module(format!("{} does not fit the contract: {reason}", source.path.display()))
    })?;
    let template = Arc::new(Template {
        code,
        names: source.names,
        limits: source.limits,
        lookups: source.grants.lookups.iter().map(|name| Arc::from(name.as_str())).collect(),
        config: source.config,
    });
    let description = template.configure()?.description;
    Ok(WasmProcessor {
        declared: Arc::new(Declared::new(&description)),
        template,
        description,
        digest,
        _component: component,
    })
}

impl Processor for WasmProcessor {
    fn description(&self) -> &Description {
        &self.description
    }

    fn digest(&self) -> Digest {
        self.digest
    }

    fn start(&self, lookups: Arc<dyn Lookups>) -> Result<Box<dyn Instance>, StartError> {
        let configured = self.template.configure()?;
        if configured.description != self.description {
            // Tables and indices were prepared for the first description.
            let reason = "it describes itself otherwise than when it was loaded, from the same configuration";
            return Err(StartError::Start(reason.to_owned()));
        }
        let (template, declared) = (Arc::clone(&self.template), Arc::clone(&self.declared));
        Ok(Box::new(configured.into_instance(template, declared, lookups)))
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

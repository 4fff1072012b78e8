//! From the bytes of a file to a compiled component: checked, encoded when it is a core module, compiled or found in the
//! cache.

use std::path::Path;
use std::sync::Arc;

use wasmtime::component::Component;
use wit_component::ComponentEncoder;

use super::cache::Cache;
use super::engine::{Engine, in_one_line};
use super::grants::{self, Grants};
use super::inspect::{Kind, inspect_bytes};
use crate::model::Digest;
use crate::processor::StartError;

/// Makes a component of a module's file. Everything that can be refused without compiling is.
pub(super) fn load(
    engine: &Engine,
    path: &Path,
    bytes: &[u8],
    granted: &Grants,
    cache: Option<&Cache>,
) -> Result<(Arc<Component>, Digest), StartError> {
    let inspection = inspect_bytes(path, bytes)?;
    grants::check(path, &inspection, granted)?;
    let refused = |reason: String| StartError::Module(format!("{} is refused: {reason}", path.display()));
    let encoded = || match inspection.kind {
        Kind::Component => Ok(None),
        Kind::Module { .. } => encode(bytes).map(Some),
    };
    let make = || match cache {
        Some(cache) => cache.load(engine, inspection.digest, || {
            let encoded = encoded()?;
            engine.precompile(encoded.as_deref().unwrap_or(bytes))
        }),
        None => encoded().and_then(|encoded| engine.compile(encoded.as_deref().unwrap_or(bytes))),
    };
    let component = engine.loaded().get(inspection.digest, make).map_err(|error| refused(in_one_line(&error)))?;
    Ok((component, inspection.digest))
}

/// What a compiler writes is a core module; the types of its world stand in a section that the SDK puts there.
fn encode(module: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let encoded = ComponentEncoder::default().validate(true).module(module).and_then(|mut encoder| encoder.encode());
    encoded.map_err(|error| wasmtime::Error::msg(format!("no component can be made of it: {error:#}")))
}

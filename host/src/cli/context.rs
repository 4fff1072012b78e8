//! What most commands begin with: the settings, the manifests, the checkpoint database.

use std::sync::Arc;

use crate::checkpoint::CheckpointStore;
use crate::control;
use crate::manifest::{Manifest, Settings};
use crate::sql::Database;

use super::args::Arguments;
use super::check;

pub(crate) struct Context {
    pub(crate) settings: Settings,
    pub(crate) manifests: Vec<Manifest>,
    pub(crate) checkpoints: Arc<dyn CheckpointStore>,
}

impl Context {
    /// Opens it. None when the settings are wrong: their problems have been printed.
    pub(crate) async fn open(arguments: &Arguments) -> anyhow::Result<Option<Self>> {
        let loaded = control::load_files(&arguments.settings, &arguments.pipelines)?;
        if loaded.settings.is_none() {
            check::print(arguments, &loaded)?;
        }
        let Some(settings) = loaded.settings else { return Ok(None) };
        let main = Database::open(settings.main().url.reveal()).await?;
        let checkpoints = control::open_checkpoints(&main).await?;
        Ok(Some(Self { settings, manifests: loaded.manifests, checkpoints }))
    }
}

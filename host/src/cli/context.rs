//! What most commands begin with: the settings, the manifests, the checkpoint database.

use std::sync::Arc;

use crate::checkpoint::CheckpointStore;
use crate::control;
use crate::manifest::{Manifest, Settings};
use crate::sql::Database;

use super::args::Arguments;
use super::{WrongInput, check};

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

    /// The manifest of a pillow.
    ///
    /// # Errors
    /// No manifest declares it.
    pub(crate) fn manifest(&self, pillow: &str) -> Result<&Manifest, WrongInput> {
        self.manifests.iter().find(|manifest| manifest.name().as_str() == pillow).ok_or_else(|| {
            let known: Vec<&str> = self.manifests.iter().map(|manifest| manifest.name().as_str()).collect();
            WrongInput(format!("there is no pillow `{pillow}`; the manifests declare: {}", known.join(", ")))
        })
    }
}

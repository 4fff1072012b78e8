//! `pause` and `resume`.

use crate::model::PillowName;

use super::Outcome;
use super::args::Arguments;
use super::context::Context;
use super::output::say_line;

pub(crate) async fn run(arguments: &Arguments, pillow: &str, paused: bool) -> anyhow::Result<Outcome> {
    let context = Context::open(arguments).await?;
    let Some(context) = context else { return Ok(Outcome::WrongInput) };
    let name = PillowName::new(pillow);
    let known = context.manifests.iter().any(|manifest| *manifest.name() == name)
        || context.checkpoints.heartbeats().await?.iter().any(|beat| beat.pillow == name);
    anyhow::ensure!(known, "there is no pillow `{pillow}`: `pillowtop status` lists them");
    context.checkpoints.set_paused(&name, paused).await?;
    let word = if paused { "paused" } else { "resumed" };
    if arguments.json {
        say_line(&format!("{}", serde_json::json!({ "pillow": pillow, "paused": paused })));
    } else {
        say_line(&format!("{pillow} is {word}; a running host follows within a second"));
    }
    Ok(Outcome::Done)
}

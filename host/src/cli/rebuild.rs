//! `rebuild`: begins to fill a table anew, or finds the one that is being filled, and follows it until it took its place.

use anyhow::Context as _;

use crate::control::{DeclaredTable, ask_to_fill, declared_tables};
use crate::model::{PillowName, TableChange};
use crate::replay::{Backfills, Request, RequestState};
use crate::sink::{Rebuild as UnderWay, RebuildState, Rebuilds};
use crate::sql::Database;

use super::args::{Arguments, Rebuild};
use super::backfill::{Worker, follow, work, worker};
use super::context::Context;
use super::output::say_line;
use super::{Outcome, WrongInput};

pub(crate) async fn run(arguments: &Arguments, command: &Rebuild) -> anyhow::Result<Outcome> {
    let Some(context) = Context::open(arguments).await? else { return Ok(Outcome::WrongInput) };
    let pillow = PillowName::new(&command.pillow);
    let declared = find(&context, &pillow, &command.table).await?;
    rebuild(arguments, &context, &declared).await
}

/// Has a table filled anew, and follows that until it took its place.
pub(super) async fn rebuild(
    arguments: &Arguments,
    context: &Context,
    declared: &DeclaredTable,
) -> anyhow::Result<Outcome> {
    let pillow = &declared.owner.pillow;
    may_be_rebuilt(declared)?;
    let main = Database::open(context.settings.main().url.reveal()).await?;
    let backfills = Backfills::open(main).await?;
    let begun = begin(&backfills, declared).await?;
    let Some(request) = request(&backfills, declared, &begun).await? else {
        let busy = format!(
            "another backfill of {pillow} is under way: a running host fills the new table when that is done, and so does \
             this command then"
        );
        return Err(WrongInput(busy).into());
    };
    let outcome = match worker(context, pillow).await? {
        Worker::Host => follow(arguments, context, &backfills, &request).await?,
        Worker::Here => None,
    };
    let outcome = match outcome {
        Some(outcome) => outcome,
        None => work(arguments, context, &backfills, &request).await?,
    };
    if backfills.get(request.number).await?.is_some_and(|request| request.state == RequestState::Done) {
        // A host does the same within a second: of the two one finds that it is done.
        for (rebuilds, rebuild) in &begun {
            rebuilds.switch(rebuild).await?;
            if let Err(reason) = rebuilds.drop_old(rebuild).await? {
                eprintln!("{reason}");
            }
        }
        if !arguments.json {
            say_line(&format!("{} is rebuilt", declared.table.name));
        }
    }
    Ok(outcome)
}

/// The table as the pillow's processors declare it.
async fn find(context: &Context, pillow: &PillowName, table: &str) -> anyhow::Result<DeclaredTable> {
    let manifest = context.manifest(pillow.as_str())?;
    let mut declared = declared_tables(&context.settings, manifest).await.map_err(anyhow::Error::msg)?;
    let Some(at) = declared.iter().position(|one| one.table.name == table) else {
        let known: Vec<&str> = declared.iter().map(|one| one.table.name.as_str()).collect();
        let unknown = format!("pillow {pillow} has no table `{table}`; it has: {}", known.join(", "));
        return Err(WrongInput(unknown).into());
    };
    Ok(declared.swap_remove(at))
}

fn may_be_rebuilt(declared: &DeclaredTable) -> anyhow::Result<()> {
    let reason = match declared.table.on_change {
        TableChange::Rebuild => return Ok(()),
        TableChange::Refuse => "its processor does not say that it may be",
        TableChange::Keep => "its processor says that it stays as it is, as `disable_destructive_rebuild` asks for",
    };
    Err(WrongInput(format!("table `{}` is not rebuilt: {reason}", declared.table.name)).into())
}

/// In each database that holds the table: makes the new one, unless one is being filled.
async fn begin(backfills: &Backfills, declared: &DeclaredTable) -> anyhow::Result<Vec<(Rebuilds, UnderWay)>> {
    let mut begun = Vec::new();
    for sink in &declared.sinks {
        let rebuilds = sink.rebuilds().with_context(|| format!("{} is in no database", declared.table.name))?;
        // Also where the declaration changed since a host last looked.
        sink.prepare_tables(&declared.owner, std::slice::from_ref(&declared.table)).await?;
        let mut rebuild = rebuilds.begin(&declared.owner, &declared.table).await?;
        if let Some(number) = rebuild.backfill {
            let state = backfills.get(number).await?.map(|request| request.state);
            if !matches!(state, Some(RequestState::Open | RequestState::Done)) {
                rebuilds.note_backfill(&rebuild, None).await?;
                rebuild.backfill = None;
            }
        }
        begun.push((rebuilds, rebuild));
    }
    Ok(begun)
}

/// The backfill that fills the new tables. None while another one of the pillow is under way.
async fn request(
    backfills: &Backfills,
    declared: &DeclaredTable,
    begun: &[(Rebuilds, UnderWay)],
) -> anyhow::Result<Option<Request>> {
    let empty: Vec<_> = begun
        .iter()
        .filter(|(_, rebuild)| rebuild.backfill.is_none() && rebuild.state == RebuildState::Filling)
        .cloned()
        .collect();
    if let Some(request) = ask_to_fill(backfills, &declared.owner, &empty).await? {
        return Ok(Some(request));
    }
    // A host may have asked for it just now.
    for (rebuilds, rebuild) in begun {
        let known = rebuilds.of(&declared.owner).await?.into_iter().find(|known| known.table == rebuild.table);
        if let Some(number) = known.and_then(|known| known.backfill) {
            return Ok(backfills.get(number).await?);
        }
    }
    Ok(None)
}

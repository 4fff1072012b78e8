//! Once a second: has new tables filled by backfills of their parts, and puts those that are full in their places.
//!
//! Nothing of it is kept here: what is under way stands in the databases of the tables and in the list of backfills, so
//! that any host goes on with it. Of two that do, one finds that the other did.

use std::collections::HashSet;

use tokio::task::JoinSet;

use crate::fault;
use crate::model::{Clock, Outage, TableChange, chain};
use crate::replay::{Backfills, Request, RequestState, Wanted};
use crate::sink::{Owner, Rebuild, RebuildState, Rebuilds, shape};

use super::pillows::Pillows;
use super::swap::tables_by_sink;

/// The rebuilds of this host's pillows.
#[derive(Default)]
pub(super) struct Rebuilding {
    /// The switch that is under way: a transaction that may take longer than a beat.
    steps: JoinSet<()>,
    /// Backfills of whose end was spoken.
    said: HashSet<i64>,
}

impl Rebuilding {
    /// One beat; how many tables are about to change places.
    pub(super) async fn beat(&mut self, pillows: &Pillows, backfills: &Backfills) -> Result<usize, Outage> {
        while let Some(ended) = self.steps.try_join_next() {
            if let Err(error) = ended {
                tracing::error!(%error, "a rebuilt table did not take its place, a defect of the host");
            }
        }
        let mut due = self.steps.len();
        for (name, running) in pillows.running() {
            let generation = running.handle.generations.borrow().clone();
            for stage in &generation.stages {
                if stage.tables_declared().iter().all(|table| table.on_change != TableChange::Rebuild) {
                    continue;
                }
                let owner = Owner { pillow: name.clone(), processor: stage.name.clone() };
                let mut empty = Vec::new();
                for (sink, _) in tables_by_sink(stage) {
                    let Some(rebuilds) = sink.rebuilds() else { continue };
                    for rebuild in rebuilds.of(&owner).await? {
                        // What another generation wants, which is still to take over or is gone, is not filled by this.
                        let is_ours = || stage.table(&rebuild.table).is_some_and(|table| shape(table) == rebuild.shape);
                        match (rebuild.state, rebuild.backfill) {
                            (RebuildState::Kept, _) => {}
                            (RebuildState::Filling, _) if !is_ours() => {}
                            (RebuildState::Filling, None) => empty.push((rebuilds.clone(), rebuild)),
                            (RebuildState::Filling, Some(number)) => {
                                let request = backfills.get(number).await?;
                                match request.map(|request| request.state) {
                                    Some(RequestState::Open) => {}
                                    Some(RequestState::Done) => due += self.step(&owner, rebuilds.clone(), rebuild),
                                    Some(RequestState::Failed | RequestState::Cancelled) | None => {
                                        self.say_unfilled(&owner, &rebuild, number);
                                    }
                                }
                            }
                            (RebuildState::Switched, _) => due += self.step(&owner, rebuilds.clone(), rebuild),
                        }
                    }
                }
                ask_to_fill(backfills, &owner, &empty).await?;
            }
        }
        Ok(due)
    }

    /// Takes the next step of a rebuild beside the beats, unless another one is being taken.
    fn step(&mut self, owner: &Owner, rebuilds: Rebuilds, rebuild: Rebuild) -> usize {
        if self.steps.is_empty() {
            let owner = owner.clone();
            self.steps.spawn(async move {
                if let Err(outage) = finish(&rebuilds, &rebuild, &owner).await {
                    tracing::warn!(pillow = %owner.pillow, table = rebuild.table, error = %chain(&outage), "tries again");
                }
            });
        }
        1
    }

    fn say_unfilled(&mut self, owner: &Owner, rebuild: &Rebuild, number: i64) {
        if self.said.insert(number) {
            tracing::error!(
                pillow = %owner.pillow, table = rebuild.table, backfill = number,
                "the new table was not filled, the old one stays in use; `pillowtop rebuild` begins again"
            );
        }
    }
}

/// Puts a full table in its place and drops the one before.
async fn finish(rebuilds: &Rebuilds, rebuild: &Rebuild, owner: &Owner) -> Result<(), Outage> {
    fault::point("rebuild.filled");
    if rebuild.state == RebuildState::Filling && rebuilds.switch(rebuild).await? {
        tracing::info!(pillow = %owner.pillow, table = rebuild.table, "the new table took its place");
    }
    fault::point("rebuild.switched");
    if let Err(reason) = rebuilds.drop_old(rebuild).await? {
        tracing::warn!(pillow = %owner.pillow, table = rebuild.table, reason, "the old table is not dropped");
    }
    Ok(())
}

/// Asks for one backfill that fills these new tables, and notes it beside them. None when nothing is to be filled, or
/// another backfill of the pillow comes first.
///
/// # Errors
/// When a database does not answer.
pub async fn ask_to_fill(
    backfills: &Backfills,
    owner: &Owner,
    empty: &[(Rebuilds, Rebuild)],
) -> Result<Option<Request>, Outage> {
    if empty.is_empty() {
        return Ok(None);
    }
    let mut parts: Vec<String> = empty.iter().filter_map(|(_, rebuild)| rebuild.part.clone()).collect();
    let all_have_parts = parts.len() == empty.len();
    parts.sort();
    parts.dedup();
    // By it the backfill is known again when the note about it was lost: one that began for other new tables may be past
    // the first documents.
    let mut marks: Vec<&str> = empty.iter().map(|(_, rebuild)| rebuild.mark()).collect();
    marks.sort_unstable();
    let purpose = format!("rebuild {}", marks.join(" "));
    if let Some(open) = backfills.of(&owner.pillow).await?
        && open.purpose.as_ref() != Some(&purpose)
    {
        // One that no new table waits for any more is in the way.
        let mut orphan = open.purpose.is_some() && open.processor.as_deref() == Some(owner.processor.as_str());
        for (rebuilds, _) in empty {
            orphan &= rebuilds.of(owner).await?.iter().all(|rebuild| rebuild.backfill != Some(open.number));
        }
        if !orphan {
            return Ok(None);
        }
        backfills.cancel(&owner.pillow).await?;
    }
    let wanted = Wanted {
        processor: Some(owner.processor.as_str()),
        parts: all_have_parts.then_some(&parts),
        purpose: Some(&purpose),
        rate: None,
    };
    let request = backfills.ask(&owner.pillow, wanted, Clock::System.now()).await?;
    let Some(request) = request.filter(|request| request.purpose.as_ref() == Some(&purpose)) else { return Ok(None) };
    for (rebuilds, rebuild) in empty {
        rebuilds.note_backfill(rebuild, Some(request.number)).await?;
    }
    Ok(Some(request))
}

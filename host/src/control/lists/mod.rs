//! Lists inside configurations that live in files, databases and document stores: read, watched, put in their place.
//!
//! Promise: a list that was read once stays in force until it is read anew, whatever becomes of its source; that its
//! source is away is said, once. The same list is the same content, so that nothing is swapped for it.
//!
//! Files are read by whoever looks at the disk; the others have a task each.

mod content;
mod files;
mod merge;
mod remote;
mod source;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{Notify, watch};
use tokio::task::{AbortHandle, JoinSet};

use crate::manifest::{ListSource, Manifest};
use crate::model::PillowName;

use super::assemble::Resources;
use super::disk::Seen;
use super::plan::Shape;

pub(super) use content::Found;
pub(super) use files::Files;
pub(super) use merge::{config, problems};

use merge::status;
use remote::{Known, follow};

/// The lists that come from databases and document stores.
pub(super) struct Lists {
    resources: Arc<Resources>,
    followed: Vec<Followed>,
    tasks: JoinSet<()>,
    changed: Arc<Notify>,
}

struct Followed {
    source: ListSource,
    known: watch::Receiver<Known>,
    again: Arc<Notify>,
    task: AbortHandle,
}

impl Lists {
    /// None yet.
    pub(super) fn new(resources: Arc<Resources>) -> Self {
        Self { resources, followed: Vec::new(), tasks: JoinSet::new(), changed: Arc::default() }
    }

    /// Waits until one of them changed, or what is known of its source. Cancel-safe: what was noticed is kept.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Reads every list again.
    pub(super) fn read_again(&self) {
        self.followed.iter().for_each(|followed| followed.again.notify_one());
    }

    /// Follows the sources that the manifests name, and no others, and fills in what is known of them.
    pub(super) fn fill(&mut self, seen: &mut Seen) {
        let wanted: Vec<&ListSource> = seen.manifests.values().flat_map(sources).collect();
        self.followed.retain(|followed| {
            let stays = wanted.contains(&&followed.source);
            if !stays {
                followed.task.abort();
            }
            stays
        });
        while let Some(ended) = self.tasks.try_join_next() {
            // Others were told to end.
            if let Err(error) = ended
                && error.is_panic()
            {
                tracing::error!(%error, "what follows a list died, a defect of the host; it begins again");
            }
        }
        for source in wanted {
            match self.followed.iter_mut().find(|followed| followed.source == *source) {
                Some(followed) if !followed.task.is_finished() => {}
                Some(died) => {
                    // What is known stays in force until it is read anew.
                    let known = died.known.borrow().clone();
                    *died = begin(&self.resources, &self.changed, &mut self.tasks, source, known);
                }
                None => {
                    let known = Known::default();
                    self.followed.push(begin(&self.resources, &self.changed, &mut self.tasks, source, known));
                }
            }
        }
        for shape in seen.wanted.values_mut() {
            for (entry, lists) in shape.pillow.processors.iter().zip(&mut shape.lists) {
                for (list, found) in entry.lists.iter().zip(lists) {
                    if let Some(followed) = self.followed.iter().find(|followed| followed.source == list.from) {
                        *found = followed.known.borrow().found.clone();
                    }
                }
            }
        }
    }

    /// How the lists of each pillow are.
    pub(super) fn status(&self, seen: &Seen) -> BTreeMap<PillowName, Vec<Value>> {
        let of = |(name, shape): (&PillowName, &Shape)| {
            let processors = shape.pillow.processors.iter().zip(&shape.lists);
            let lists = processors.flat_map(|(entry, lists)| status(entry, lists, |source| self.trouble(source)));
            (name.clone(), lists.collect::<Vec<_>>())
        };
        seen.wanted.iter().map(of).filter(|(_, lists)| !lists.is_empty()).collect()
    }

    /// Why the source of a list cannot be read now.
    fn trouble(&self, source: &ListSource) -> Option<String> {
        let followed = self.followed.iter().find(|followed| followed.source == *source)?;
        followed.known.borrow().away.clone()
    }
}

fn begin(
    resources: &Arc<Resources>,
    changed: &Arc<Notify>,
    tasks: &mut JoinSet<()>,
    source: &ListSource,
    known: Known,
) -> Followed {
    let again = Arc::new(Notify::new());
    let (sender, known) = watch::channel(known);
    let task = follow(source.clone(), Arc::clone(resources), sender, Arc::clone(&again), Arc::clone(changed));
    Followed { source: source.clone(), known, again, task: tasks.spawn(task) }
}

/// The lists of a manifest that are not in files.
fn sources(manifest: &Manifest) -> impl Iterator<Item = &ListSource> {
    let lists = manifest.pillow().processors.iter().flat_map(|entry| &entry.lists);
    lists.map(|list| &list.from).filter(|from| !matches!(from, ListSource::Files(_)))
}

/// Reads the lists of a manifest once.
pub(super) async fn read(manifest: &Manifest, resources: &Resources) -> Vec<Vec<Found>> {
    let mut files = Files::default();
    let mut all = Vec::new();
    for entry in &manifest.pillow().processors {
        let mut lists = Vec::new();
        for list in &entry.lists {
            lists.push(match &list.from {
                ListSource::Files(patterns) => files.find(patterns).found,
                source => match remote::read(source, resources).await {
                    Ok(content) => Found::Ready(Arc::new(content)),
                    Err(reason) => Found::Away(reason),
                },
            });
        }
        all.push(lists);
    }
    all
}

/// What of the lists is no element, or why one is not there.
pub(super) fn troubles(lists: &[Found]) -> Vec<String> {
    let of = |found: &Found| match found {
        Found::Ready(content) => content.troubles.clone(),
        // Who builds with it says so.
        Found::Loading | Found::Away(_) => Vec::new(),
    };
    lists.iter().flat_map(of).collect()
}

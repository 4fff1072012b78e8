//! What is to be done so that what runs equals what is on disk. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::manifest::Pillow;
use crate::model::PillowName;

use super::lists;
use super::modules::Found;

/// What a pillow is made of: two that are equal need no step from one to the other.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    /// What is declared. A change beyond the processors restarts.
    pub(super) pillow: Pillow,
    /// The modules of its processors, in their order. A change swaps.
    pub(super) modules: Vec<Found>,
    /// The lists of each processor's configuration that live elsewhere. A change swaps, too.
    pub(super) lists: Vec<Vec<lists::Found>>,
}

impl Shape {
    /// Whether something of it is still being read for the first time.
    pub(super) fn is_loading(&self) -> bool {
        self.lists.iter().flatten().any(|found| matches!(found, lists::Found::Loading))
    }
}

/// Pillows that go on as they are although they are not among the wanted, because their files cannot be read now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// The folder of the manifests cannot be read: nothing is known of any.
    pub(super) all: bool,
    /// Manifests with problems, and those that cannot be opened.
    pub(super) files: BTreeSet<PathBuf>,
    /// The names that they give, where that can be made out.
    pub(super) names: BTreeSet<PillowName>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    /// A pillow that is new.
    Start(PillowName),
    /// A pillow whose file is gone.
    Stop(PillowName),
    /// A pillow that has to begin anew.
    Restart(PillowName),
    /// A pillow that only gets new processors.
    Swap(PillowName),
}

/// The steps from `running`, by name with the file that declared it, to `wanted`. `refused` are shapes that failed
/// before, which are not tried again until they change.
pub(super) fn plan(
    running: &BTreeMap<PillowName, (PathBuf, Shape)>,
    wanted: &BTreeMap<PillowName, Shape>,
    held: &Held,
    refused: &BTreeMap<PillowName, Shape>,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for (name, (file, _)) in running {
        if !wanted.contains_key(name) && !held.holds(name, file) {
            actions.push(Action::Stop(name.clone()));
        }
    }
    for (name, shape) in wanted {
        if refused.get(name) == Some(shape) {
            continue;
        }
        match running.get(name).map(|(_, current)| current) {
            None => actions.push(Action::Start(name.clone())),
            Some(current) if !current.pillow.can_swap_to(&shape.pillow) => actions.push(Action::Restart(name.clone())),
            Some(current) if current != shape => actions.push(Action::Swap(name.clone())),
            Some(_) => {}
        }
    }
    actions
}

impl Held {
    /// Whether the pillow of this name, declared in this file when it was last read, goes on.
    pub(super) fn holds(&self, name: &PillowName, file: &PathBuf) -> bool {
        self.all || self.files.contains(file) || self.names.contains(name)
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::feed::{Limits, Start};
    use crate::manifest::{Batches, DocumentsUse, Failures, FeedUse};
    use crate::model::{Collapse, Digest};

    /// A pillow that reads `topic`.
    fn pillow(topic: &str) -> Pillow {
        Pillow {
            name: PillowName::new("p"),
            paused: false,
            feed: FeedUse { from: "f".into(), topics: vec![topic.into()], start: Start::Earliest, group: None },
            documents: DocumentsUse { default: "d".into(), sources: BTreeMap::new() },
            collapse: Collapse::ByDocument,
            batch: Batches {
                limits: Limits { count: NonZeroUsize::MIN, bytes: NonZeroUsize::MIN },
                in_flight: NonZeroUsize::MIN,
            },
            failures: Failures { halt_above: 0.5, window: NonZeroUsize::MIN, minimum: NonZeroUsize::MIN },
            queue_delay: std::time::Duration::ZERO,
            processors: Vec::new(),
        }
    }

    /// `NAME=TOPIC/MODULE`, the module as one number.
    fn shapes(text: &str) -> BTreeMap<PillowName, Shape> {
        let shape = |word: &str| {
            let (name, numbers) = word.split_once('=').unwrap();
            let (topic, module) = numbers.split_once('/').unwrap();
            let modules = vec![Ok(Digest([module.parse().unwrap(); 32]))];
            (PillowName::new(name), Shape { pillow: pillow(topic), modules, lists: Vec::new() })
        };
        text.split_whitespace().map(shape).collect()
    }

    /// `held` are words: a file, `name:NAME` or `all`.
    fn check(running: &str, wanted: &str, held: &str, refused: &str, expected: &str) {
        let running = shapes(running).into_iter().map(|(name, shape)| {
            let file = PathBuf::from(format!("{name}.toml"));
            (name, (file, shape))
        });
        let mut all = Held::default();
        for word in held.split_whitespace() {
            match word.strip_prefix("name:") {
                Some(name) => drop(all.names.insert(PillowName::new(name))),
                None if word == "all" => all.all = true,
                None => drop(all.files.insert(word.into())),
            }
        }
        let actions = plan(&running.collect(), &shapes(wanted), &all, &shapes(refused));
        let text: Vec<String> = actions
            .iter()
            .map(|action| match action {
                Action::Start(name) => format!("start {name}"),
                Action::Stop(name) => format!("stop {name}"),
                Action::Restart(name) => format!("restart {name}"),
                Action::Swap(name) => format!("swap {name}"),
            })
            .collect();
        assert_eq!(text.join(", "), expected);
    }

    #[test]
    fn only_the_pillow_that_a_change_concerns_is_touched() {
        check("a=1/1 b=1/1 c=1/1", "a=1/1 b=1/2 c=2/1 d=1/1", "", "", "swap b, restart c, start d");
    }

    #[test]
    fn a_deleted_file_stops_its_pillow_and_a_broken_one_does_not() {
        check("a=1/1 b=1/1", "", "a.toml", "", "stop b");
        check("a=1/1 b=1/1", "", "name:b", "", "stop a");
    }

    #[test]
    fn nothing_stops_while_the_folder_cannot_be_read() {
        check("a=1/1 b=1/1", "", "all", "", "");
    }

    #[test]
    fn what_failed_is_not_tried_again_before_it_changes() {
        check("a=1/1", "a=1/2", "", "a=1/2", "");
        check("a=1/1", "a=1/3", "", "a=1/2", "swap a");
    }
}

//! What is to be done so that what runs equals what is on disk. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::manifest::Pillow;
use crate::model::PillowName;

/// What a pillow is made of, as far as it decides between swapping and restarting.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Shape {
    /// The file that declares it.
    pub(super) file: PathBuf,
    /// What is declared. A change beyond the processors restarts.
    pub(super) pillow: Pillow,
    /// The declaration with the digests of its modules. A change swaps.
    pub(super) processors: u64,
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

/// The steps from `running` to `wanted`. A pillow whose file cannot be read as a manifest now (`broken`) goes on as
/// it is; `tried` are shapes that failed before, which are not tried again until they change.
pub(super) fn plan(
    running: &BTreeMap<PillowName, Shape>,
    wanted: &BTreeMap<PillowName, Shape>,
    broken: &BTreeSet<PathBuf>,
    tried: &BTreeMap<PillowName, Shape>,
) -> Vec<Action> {
    let mut actions = Vec::new();
    for (name, shape) in running {
        if !wanted.contains_key(name) && !broken.contains(&shape.file) {
            actions.push(Action::Stop(name.clone()));
        }
    }
    for (name, shape) in wanted {
        if tried.get(name) == Some(shape) {
            continue;
        }
        match running.get(name) {
            None => actions.push(Action::Start(name.clone())),
            Some(current) if !current.pillow.can_swap_to(&shape.pillow) => actions.push(Action::Restart(name.clone())),
            Some(current) if current.processors != shape.processors => actions.push(Action::Swap(name.clone())),
            Some(_) => {}
        }
    }
    actions
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::feed::{Limits, Start};
    use crate::manifest::{Batches, DocumentsUse, Failures, FeedUse};
    use crate::model::Collapse;

    /// A pillow that reads `topic`.
    fn pillow(topic: &str) -> Pillow {
        Pillow {
            name: PillowName::new("p"),
            paused: false,
            feed: FeedUse { from: "f".into(), topics: vec![topic.into()], start: Start::Earliest },
            documents: DocumentsUse { default: "d".into(), sources: BTreeMap::new() },
            collapse: Collapse::ByDocument,
            batch: Batches {
                limits: Limits { count: NonZeroUsize::MIN, bytes: NonZeroUsize::MIN },
                in_flight: NonZeroUsize::MIN,
            },
            failures: Failures { halt_above: 0.5, window: NonZeroUsize::MIN, minimum: NonZeroUsize::MIN },
            processors: Vec::new(),
        }
    }

    fn shapes(text: &str) -> BTreeMap<PillowName, Shape> {
        let shape = |word: &str| {
            let (name, numbers) = word.split_once('=').unwrap();
            let (frame, processors) = numbers.split_once('/').unwrap();
            let shape = Shape {
                file: PathBuf::from(format!("{name}.toml")),
                pillow: pillow(frame),
                processors: processors.parse().unwrap(),
            };
            (PillowName::new(name), shape)
        };
        text.split_whitespace().map(shape).collect()
    }

    fn check(running: &str, wanted: &str, broken: &str, tried: &str, expected: &str) {
        let broken = broken.split_whitespace().map(PathBuf::from).collect();
        let actions = plan(&shapes(running), &shapes(wanted), &broken, &shapes(tried));
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
    }

    #[test]
    fn what_failed_is_not_tried_again_before_it_changes() {
        check("a=1/1", "a=1/2", "", "a=1/2", "");
        check("a=1/1", "a=1/3", "", "a=1/2", "swap a");
    }
}

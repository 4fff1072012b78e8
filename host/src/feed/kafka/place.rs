//! Where reading of a partition begins, or why it cannot: a pure decision over a checkpoint and what the cluster has.

use std::sync::Arc;

use super::client::Bounds;
use crate::feed::Error;
use crate::model::{Checkpoint, Partition, Position};

/// The offset to begin with.
///
/// # Errors
/// When the checkpoint's topic was made again, when messages that were never read are gone, and when the checkpoint is
/// beyond the end of the partition.
pub(super) fn place(
    partition: &Partition,
    topic_id: &Arc<str>,
    bounds: Bounds,
    checkpoint: Option<&Checkpoint>,
) -> Result<u64, Error> {
    let Some(checkpoint) = checkpoint else { return Ok(bounds.begin) };
    let needed = checkpoint.position.as_number();
    if checkpoint.incarnation != *topic_id {
        return Err(other_topic(partition, &checkpoint.incarnation, topic_id, bounds.low));
    }
    // Equal to the end is fine: all that was ever written was read, however much of it is gone since.
    if needed < bounds.low {
        return Err(Error::Unavailable {
            partition: partition.clone(),
            available: Position::number(bounds.low),
            needed: Position::number(needed),
        });
    }
    if needed > bounds.high {
        let what = format!(
            "the checkpoint is at {needed}, but the partition ends at {}: the cluster lost messages, or the checkpoint \
             is of another cluster; to go on at the end: pillowtop checkpoint set PILLOW {partition} {} --why REASON",
            bounds.high, bounds.high
        );
        return Err(Error::Incarnation { partition: partition.clone(), what });
    }
    Ok(needed)
}

/// That the topic of a checkpoint is another one now, which can be read from `low` on.
pub(super) fn other_topic(partition: &Partition, known: &str, now: &str, low: u64) -> Error {
    let what = format!(
        "the checkpoint belongs to topic id {known}, but the topic was made again and has id {now} now; to read the new \
         one from its first message: pillowtop checkpoint set PILLOW {partition} {low} --incarnation {now} --why REASON"
    );
    Error::Incarnation { partition: partition.clone(), what }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(checkpoint: Option<(&str, u64)>, expected: Result<u64, &str>) {
        let checkpoint = checkpoint.map(|(incarnation, position)| Checkpoint {
            incarnation: incarnation.into(),
            position: Position::number(position),
        });
        let bounds = Bounds { low: 5, high: 9, begin: 6 };
        let found = place(&Partition::new("form", 2), &Arc::from("id-a"), bounds, checkpoint.as_ref());
        assert_eq!(found.map_err(|error| error.to_string()), expected.map_err(str::to_owned));
    }

    #[test]
    fn a_new_pillow_begins_where_its_manifest_says() {
        check(None, Ok(6));
    }

    #[test]
    fn a_checkpoint_is_gone_on_with_from_the_first_available_offset_to_the_end() {
        for position in [5, 7, 9] {
            check(Some(("id-a", position)), Ok(position));
        }
    }

    #[test]
    fn messages_that_are_gone_are_said_with_both_offsets() {
        let expected = "First available topic offset for form:2 is 5 but needed 4.";
        check(Some(("id-a", 4)), Err(expected));
    }

    #[test]
    fn a_checkpoint_beyond_the_end_names_the_command_that_resolves_it() {
        let expected = "form:2: the checkpoint is at 10, but the partition ends at 9: the cluster lost messages, or the \
                        checkpoint is of another cluster; to go on at the end: pillowtop checkpoint set PILLOW form:2 9 \
                        --why REASON";
        check(Some(("id-a", 10)), Err(expected));
    }

    #[test]
    fn a_topic_that_was_made_again_names_the_command_that_resolves_it() {
        let expected = "form:2: the checkpoint belongs to topic id id-z, but the topic was made again and has id id-a \
                        now; to read the new one from its first message: pillowtop checkpoint set PILLOW form:2 5 \
                        --incarnation id-a --why REASON";
        check(Some(("id-z", 7)), Err(expected));
    }
}

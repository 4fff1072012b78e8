//! Names and numbers that must not be mixed up: newtypes without behaviour.

use std::fmt;
use std::sync::Arc;

use super::Position;

/// The name of a pillow: the identity of its checkpoint. Index and table names are not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PillowName(pub Arc<str>);

/// The name of a processor within its pillow.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessorName(pub Arc<str>);

/// The identity of a document: where it lives and its id there, as canonical text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DocumentKey {
    /// The name of the source in the change (`data_source_name`).
    pub source: Arc<str>,
    /// The id; an integer id stands here in decimal.
    pub id: Arc<str>,
}

/// One partition of one topic: the unit of order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// The topic.
    pub topic: Arc<str>,
    /// The number of the partition, from 0.
    pub number: u32,
}

/// Which owner of a (pillow, partition) is speaking; a later owner has a greater epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Epoch(pub u64);

/// The version of a write: drawn when its batch closed and before its documents were fetched, so that an older read
/// never overwrites a newer one. Documents that travel in their changes have one by place: [`WriteVersion::at`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteVersion(pub u64);

/// When the owner that reads a partition took it over; a later owner has a greater era. It is what places in the log
/// are compared within: see `docs/decisions/version-of-inline-writes.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Era(u64);

/// The SHA-256 of a module, which says which code ran.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

macro_rules! text_name {
    ($name:ident) => {
        impl $name {
            /// Makes a name of `text`, as it is.
            pub fn new(text: impl AsRef<str>) -> Self {
                Self(Arc::from(text.as_ref()))
            }

            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}

text_name!(PillowName);
text_name!(ProcessorName);

impl Era {
    /// An era in bits of a version; they last for two million owners.
    const BITS: u32 = 22;
    /// Drawn numbers begin with the clock's microseconds; so many bits fewer are a clock of 72 minutes.
    const CLOCK_SHIFT: u32 = 32;

    /// The era of an owner that drew `drawn` after it had acquired its partition under `epoch`. The epoch makes each
    /// owner's era differ from the one before; the drawn number keeps eras from going back with a database that was
    /// restored from a copy.
    pub fn new(epoch: Epoch, drawn: WriteVersion) -> Self {
        Self((drawn.0 >> Self::CLOCK_SHIFT).saturating_add(epoch.0).min((1 << Self::BITS) - 1))
    }
}

impl WriteVersion {
    /// A place in bits of a version: two million million entries of one partition.
    const PLACE_BITS: u32 = 63 - Era::BITS;

    /// The version of what travels in the change at `position`: bit 63 is 0, because Elasticsearch's versions are
    /// signed; bits 62 to 41 are the era; bits 40 to 0 the position's first number. What does not fit counts as the
    /// greatest that does: among equal versions the last one to arrive wins, and a lane's arrive in order.
    pub fn at(era: Era, position: &Position) -> Self {
        Self((era.0 << Self::PLACE_BITS) | position.order[0].min((1 << Self::PLACE_BITS) - 1))
    }
}

impl DocumentKey {
    /// The key of document `id` in `source`.
    pub fn new(source: impl AsRef<str>, id: impl AsRef<str>) -> Self {
        Self { source: Arc::from(source.as_ref()), id: Arc::from(id.as_ref()) }
    }
}

impl fmt::Display for DocumentKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.source, self.id)
    }
}

impl Partition {
    /// Partition `number` of `topic`.
    pub fn new(topic: impl AsRef<str>, number: u32) -> Self {
        Self { topic: Arc::from(topic.as_ref()), number }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.topic, self.number)
    }
}

impl Digest {
    /// The first twelve hexadecimal digits: enough for people.
    pub fn short(&self) -> String {
        self.to_string()[..12].to_owned()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Digest({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drawn on 1 July 2026.
    const DRAWN: u64 = 1_782_864_000_000_000;

    fn version(epoch: u64, drawn: u64, position: u64) -> WriteVersion {
        WriteVersion::at(Era::new(Epoch(epoch), WriteVersion(drawn)), &Position::number(position))
    }

    #[test]
    fn a_later_place_has_a_greater_version_and_a_later_owner_a_greater_one_still() {
        let ascending = [
            version(1, DRAWN, 0),
            version(1, DRAWN, 7),
            version(1, DRAWN, (1 << 41) - 1),
            version(2, DRAWN, 0),
            version(2, DRAWN + 1, 5),
            version(3, DRAWN + 1, 4),
        ];
        assert!(ascending.is_sorted_by(|one, other| one < other), "{ascending:?}");
    }

    #[test]
    fn eras_do_not_go_back_with_a_restored_database() {
        let day = 86_400_000_000;
        assert!(version(57, DRAWN, 1000) < version(41, DRAWN + day, 0));
    }

    #[test]
    fn what_does_not_fit_is_the_greatest_that_does_and_no_version_is_negative() {
        assert_eq!(version(1, DRAWN, 1 << 41), version(1, DRAWN, u64::MAX));
        assert!(version(1, DRAWN, u64::MAX) < version(2, DRAWN, 0));
        assert_eq!(version(u64::MAX, u64::MAX, u64::MAX), WriteVersion(u64::MAX >> 1));
    }
}

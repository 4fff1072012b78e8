//! Names and numbers that must not be mixed up: newtypes without behaviour.

use std::fmt;
use std::sync::Arc;

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

/// The version of a batch's writes: drawn when the batch closed and before its documents were fetched, so that an
/// older read never overwrites a newer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteVersion(pub u64);

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

//! Names of properties, found by a hash of their text.

use std::fmt;
use std::ops::Deref;

/// A name that is looked for again and again: its hash is known.
#[derive(Clone, PartialEq, Eq)]
pub struct Name {
    text: Box<str>,
    pub(super) hash: u32,
}

impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self { text: text.into(), hash: hash(text) }
    }
}

impl From<String> for Name {
    fn from(text: String) -> Self {
        Self { hash: hash(&text), text: text.into_boxed_str() }
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

/// By the length and the bytes at both ends. Whoever writes documents can choose names with the same hash, so that nothing
/// may become slow by them.
#[inline]
pub(super) fn hash(name: &str) -> u32 {
    let bytes = name.as_bytes();
    let ends = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from_le_bytes(*first) ^ u64::from_le_bytes(*last).rotate_left(29)
    } else if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
        u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last))
    } else {
        bytes.iter().fold(0, |ends, byte| ends << 8 | u64::from(*byte))
    };
    // A multiplication brings every bit to the high ones.
    let mixed = (ends ^ bytes.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as u32
}

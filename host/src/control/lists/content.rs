//! What a list holds, and what is known of one.

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use crate::model::Digest;

/// Further elements are more than a processor can be configured with.
pub(super) const MOST_ELEMENTS: usize = 100_000;
/// As much as an instance of a processor has by default.
pub(super) const MOST_BYTES: usize = 256 << 20;

/// A list that was read. Two are equal when they hold the same, at the same places.
pub(crate) struct Content {
    /// In their order.
    pub(super) elements: Vec<Element>,
    /// What of the source is no element, and why.
    pub(super) troubles: Vec<String>,
    digest: Digest,
}

/// An element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    /// Where it comes from, for messages.
    pub(super) origin: Arc<str>,
    /// As it stands there.
    pub(super) json: Arc<str>,
}

/// What is known of a list.
#[derive(Clone)]
pub(crate) enum Found {
    /// Nothing yet.
    Loading,
    /// It was never read, and why.
    Away(String),
    /// It was read.
    Ready(Arc<Content>),
}

impl Content {
    /// # Errors
    /// When it is too long.
    pub(super) fn new(elements: Vec<Element>, troubles: Vec<String>) -> Result<Self, String> {
        if elements.len() > MOST_ELEMENTS {
            return Err(format!("it has more than {MOST_ELEMENTS} elements"));
        }
        if elements.iter().map(|element| element.json.len()).sum::<usize>() > MOST_BYTES {
            return Err(format!("it is larger than {} MiB", MOST_BYTES >> 20));
        }
        let mut digest = Sha256::new();
        for text in elements.iter().flat_map(|element| [&element.origin, &element.json]) {
            digest.update(text.len().to_le_bytes());
            digest.update(text.as_bytes());
        }
        Ok(Self { elements, troubles, digest: Digest(digest.finalize().into()) })
    }
}

/// The text as JSON, without what stands around it.
pub(super) fn json(text: &str) -> Result<Arc<str>, String> {
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
    Ok(Arc::from(raw.get()))
}

impl PartialEq for Content {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

impl PartialEq for Found {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Loading, Self::Loading) => true,
            (Self::Away(one), Self::Away(other)) => one == other,
            (Self::Ready(one), Self::Ready(other)) => one == other,
            _ => false,
        }
    }
}

/// It may hold secrets of a configuration: nothing of it is printed.
impl fmt::Debug for Found {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Loading => formatter.write_str("Loading"),
            Self::Away(reason) => write!(formatter, "Away({reason})"),
            Self::Ready(content) => write!(formatter, "Ready({}…)", content.digest.short()),
        }
    }
}

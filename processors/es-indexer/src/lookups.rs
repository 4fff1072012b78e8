//! What the host found for a change, and what is still wanted of it.

use crate::object::Object;

/// One answer of the host.
#[derive(Debug, Clone)]
pub struct Found<'a> {
    /// The look-up, as the configuration names it.
    pub lookup: &'a str,
    /// The key that was asked for.
    pub key: &'a str,
    /// The documents that were found.
    pub documents: Vec<&'a [u8]>,
}

/// Something that the host should find before the change can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The look-up.
    pub lookup: String,
    /// The key.
    pub key: String,
}

/// Reads answers, and gathers the questions that have none, so that one round is enough for all of them.
#[derive(Debug)]
pub struct Lookups<'a> {
    found: &'a [Found<'a>],
    wants: Vec<Want>,
}

impl<'a> Lookups<'a> {
    /// With the answers that came with the change.
    pub fn new(found: &'a [Found<'a>]) -> Self {
        Self { found, wants: Vec::new() }
    }

    /// The first document found; none when there is no such document, it cannot be read, or it was not asked for yet.
    pub fn first(&mut self, lookup: &str, key: &str) -> Option<Object<'a>> {
        if let Some(found) = self.found.iter().find(|found| found.lookup == lookup && found.key == key) {
            let document = std::str::from_utf8(found.documents.first()?).ok()?;
            return Object::parse(document).ok();
        }
        let want = Want { lookup: lookup.to_owned(), key: key.to_owned() };
        if !self.wants.contains(&want) {
            self.wants.push(want);
        }
        None
    }

    /// What must be found first.
    pub fn into_wants(self) -> Vec<Want> {
        self.wants
    }
}

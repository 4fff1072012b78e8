//! What the host found for a change, and what is still wanted of it.

use crate::object::Object;

/// What a look-up found for a key; none when that was not asked for yet.
pub type Find<'f, 'a> = &'f dyn Fn(&str, &str) -> Option<&'a [Vec<u8>]>;

/// Something that the host should find before the change can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// The look-up.
    pub lookup: String,
    /// The key.
    pub key: String,
}

/// Reads answers, and gathers the questions that have none, so that one round is enough for all of them.
pub struct Lookups<'f, 'a> {
    find: Find<'f, 'a>,
    wants: Vec<Want>,
}

impl<'f, 'a> Lookups<'f, 'a> {
    /// With the answers that came with the change.
    pub fn new(find: Find<'f, 'a>) -> Self {
        Self { find, wants: Vec::new() }
    }

    /// The first document found; none when there is no such document, it cannot be read, or it was not asked for yet.
    pub fn first(&mut self, lookup: &str, key: &str) -> Option<Object<'a>> {
        read(self.found(lookup, key)?.first()?)
    }

    /// All documents found, but for those that cannot be read; none also when it was not asked for yet.
    pub fn all(&mut self, lookup: &str, key: &str) -> Vec<Object<'a>> {
        self.found(lookup, key).unwrap_or_default().iter().filter_map(|document| read(document)).collect()
    }

    fn found(&mut self, lookup: &str, key: &str) -> Option<&'a [Vec<u8>]> {
        if let Some(documents) = (self.find)(lookup, key) {
            return Some(documents);
        }
        let want = Want { lookup: lookup.to_owned(), key: key.to_owned() };
        if !self.wants.contains(&want) {
            self.wants.push(want);
        }
        None
    }

    /// Whether something must be found first.
    pub fn are_wanting(&self) -> bool {
        !self.wants.is_empty()
    }

    /// What must be found first.
    pub fn into_wants(self) -> Vec<Want> {
        self.wants
    }
}

fn read(document: &[u8]) -> Option<Object<'_>> {
    Object::parse(std::str::from_utf8(document).ok()?).ok()
}

/// Finds nothing, because nothing was asked for yet.
pub fn nothing<'a>(_lookup: &str, _key: &str) -> Option<&'a [Vec<u8>]> {
    None
}

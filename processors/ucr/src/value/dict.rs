//! A dict: keys in the order of their insertion, found quickly by text.

use super::name::hash;
use super::{Text, Value};

/// Up to so many entries are compared one by one, which is faster than any index over them.
const SMALL: usize = 32;

#[derive(Clone, Debug, Default)]
pub struct Dict<'a> {
    entries: Vec<Entry<'a>>,
    /// For more than [`SMALL`] entries: the numbers of those with a text as key, sorted by hash and text.
    sorted: Vec<u32>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry<'a> {
    pub(super) key: Value<'a>,
    pub(super) value: Value<'a>,
    /// Of a key that is a text.
    pub(super) hash: u32,
}

impl<'a> Entry<'a> {
    fn new(key: Value<'a>, value: Value<'a>) -> Self {
        let hash = key.as_str().map_or(0, hash);
        Self { key, value, hash }
    }

    #[inline]
    fn is(&self, name: &str, hash: u32) -> bool {
        self.hash == hash && matches!(&self.key, Value::Str(text) if **text == *name)
    }

    fn has_key_of(&self, other: &Entry<'_>) -> bool {
        match &other.key {
            Value::Str(name) => self.is(name, other.hash),
            key => super::equal(&self.key, key),
        }
    }

    /// Nothing for a key that is no text.
    fn name(&self) -> &str {
        self.key.as_str().unwrap_or_default()
    }
}

impl<'a> Dict<'a> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Value<'a>, &Value<'a>)> {
        self.entries.iter().map(|entry| (&entry.key, &entry.value))
    }

    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.find(name, hash(name))
    }

    #[inline]
    pub(super) fn find(&self, name: &str, hash: u32) -> Option<&Value<'a>> {
        if self.sorted.is_empty() {
            return self.entries.iter().find(|entry| entry.is(name, hash)).map(|entry| &entry.value);
        }
        let order =
            |at: &u32| self.entries.get(*at as usize).map(|entry| (entry.hash, entry.name())).cmp(&Some((hash, name)));
        let found = self.sorted.binary_search_by(order).ok()?;
        self.entries.get(*self.sorted.get(found)? as usize).map(|entry| &entry.value)
    }

    /// The value of a key of any type, found by Python's equality.
    pub fn get_value(&self, key: &Value<'_>) -> Option<&Value<'a>> {
        match key {
            Value::Str(name) => self.get(name),
            key => self.entries.iter().find(|entry| super::equal(&entry.key, key)).map(|entry| &entry.value),
        }
    }

    /// Of equal keys the first keeps its place and the last gives the value.
    pub(super) fn from_entries(entries: Vec<Entry<'a>>) -> Self {
        let mut dict = Self { entries, sorted: Vec::new() };
        if dict.entries.len() <= SMALL {
            dict.remove_repeated_few();
        } else {
            dict.remove_repeated_many();
        }
        dict
    }
}

/// Of equal keys the first keeps its place and the last gives the value.
impl<'a> FromIterator<(Value<'a>, Value<'a>)> for Dict<'a> {
    fn from_iter<I: IntoIterator<Item = (Value<'a>, Value<'a>)>>(entries: I) -> Self {
        Self::from_entries(entries.into_iter().map(|(key, value)| Entry::new(key, value)).collect())
    }
}

impl<'a> FromIterator<(Text<'a>, Value<'a>)> for Dict<'a> {
    fn from_iter<I: IntoIterator<Item = (Text<'a>, Value<'a>)>>(entries: I) -> Self {
        entries.into_iter().map(|(name, value)| (Value::Str(name), value)).collect()
    }
}

impl Dict<'_> {
    fn remove_repeated_few(&mut self) {
        // A text whose bit no earlier one has is none of them.
        let mut seen = 0_u64;
        let mut at = 0;
        while let Some(entry) = self.entries.get(at) {
            if let Value::Str(_) = entry.key {
                let bit = 1 << (entry.hash & 63);
                if seen & bit == 0 {
                    seen |= bit;
                    at += 1;
                    continue;
                }
            }
            match self.entries.iter().take(at).position(|earlier| earlier.has_key_of(entry)) {
                None => at += 1,
                Some(first) => {
                    let value = self.entries.remove(at).value;
                    if let Some(entry) = self.entries.get_mut(first) {
                        entry.value = value;
                    }
                }
            }
        }
    }

    fn remove_repeated_many(&mut self) {
        self.index();
        let is_repeated = |pair: &[u32]| match pair {
            [a, b] => self.are_same(*a, *b),
            _ => false,
        };
        let repeated = self.sorted.windows(2).any(is_repeated);
        let others = self.entries.len() > self.sorted.len();
        if repeated {
            let mut keep = vec![true; self.entries.len()];
            let mut first = 0;
            for at in 1..self.sorted.len() {
                let (Some(a), Some(b)) = (self.sorted.get(first).copied(), self.sorted.get(at).copied()) else { break };
                if self.are_same(a, b) {
                    // The sort is stable: `b` stands later in the document.
                    let value = self.entries.get_mut(b as usize).map(|entry| std::mem::take(&mut entry.value));
                    if let (Some(entry), Some(value)) = (self.entries.get_mut(a as usize), value) {
                        entry.value = value;
                    }
                    if let Some(flag) = keep.get_mut(b as usize) {
                        *flag = false;
                    }
                } else {
                    first = at;
                }
            }
            let mut flags = keep.into_iter();
            self.entries.retain(|_| flags.next().unwrap_or(true));
            self.index();
        }
        if others {
            self.remove_repeated_few();
            self.index();
        }
    }

    fn are_same(&self, a: u32, b: u32) -> bool {
        let (a, b) = (self.entries.get(a as usize), self.entries.get(b as usize));
        a.zip(b).is_some_and(|(a, b)| a.is(b.name(), b.hash))
    }

    fn index(&mut self) {
        let texts = (0_u32..).zip(&self.entries).filter(|(_, entry)| matches!(entry.key, Value::Str(_)));
        let mut sorted: Vec<(u32, &Entry<'_>)> = texts.collect();
        sorted.sort_by(|(_, a), (_, b)| (a.hash, a.name()).cmp(&(b.hash, b.name())));
        self.sorted = sorted.into_iter().map(|(at, _)| at).collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(names: impl IntoIterator<Item = String>) -> Dict<'static> {
        names.into_iter().zip(0..).map(|(name, number)| (Text::from(name), Value::Int(number))).collect()
    }

    #[test]
    fn of_equal_keys_the_first_keeps_its_place_and_the_last_gives_the_value() {
        for count in [3, 100] {
            let names = (0..count).map(|number| format!("k{number}")).chain(["k1".to_owned(), "k0".to_owned()]);
            let dict = numbered(names);
            assert_eq!(dict.len(), count);
            assert_eq!(dict.get("k0"), Some(&Value::Int(i64::try_from(count).unwrap() + 1)));
            assert_eq!(dict.get("k2"), Some(&Value::Int(2)));
            assert_eq!(dict.get("none"), None);
            assert_eq!(dict.iter().next().map(|(key, _)| key), Some(&Value::text("k0")));
        }
    }
}

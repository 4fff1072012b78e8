//! A dict: keys in the order of their insertion, found quickly by text.

use super::{Text, Value};

/// Up to so many entries are compared one by one, which is faster than any index over them.
const SMALL: usize = 32;

#[derive(Clone, Debug, Default)]
pub struct Dict<'a> {
    entries: Vec<(Value<'a>, Value<'a>)>,
    /// For more than [`SMALL`] entries: the numbers of those with a text as key, sorted by it. A sorted index, not a
    /// hash table, because whoever writes a document could choose keys that collide.
    sorted: Vec<u32>,
}

impl<'a> Dict<'a> {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Value<'a>, &Value<'a>)> {
        self.entries.iter().map(|(key, value)| (key, value))
    }

    pub fn get(&self, name: &str) -> Option<&Value<'a>> {
        self.position(name).and_then(|at| self.entries.get(at)).map(|(_, value)| value)
    }

    /// The value of a key of any type, found by Python's equality.
    pub fn get_value(&self, key: &Value<'_>) -> Option<&Value<'a>> {
        match key {
            Value::Str(name) => self.get(name),
            key => self.entries.iter().find(|(known, _)| super::equal(known, key)).map(|(_, value)| value),
        }
    }

    fn position(&self, name: &str) -> Option<usize> {
        if self.sorted.is_empty() {
            // Most names differ in their length or their last byte already.
            let last = name.as_bytes().last();
            let is_it = |text: &str| text.len() == name.len() && text.as_bytes().last() == last && text == name;
            return self.entries.iter().position(|(key, _)| matches!(key, Value::Str(text) if is_it(text)));
        }
        let found = self.sorted.binary_search_by(|at| self.name_at(*at).cmp(name)).ok()?;
        self.sorted.get(found).map(|at| *at as usize)
    }

    fn name_at(&self, at: u32) -> &str {
        self.entries.get(at as usize).and_then(|(key, _)| key.as_str()).unwrap_or_default()
    }
}

/// Of equal keys the first keeps its place and the last gives the value.
impl<'a> FromIterator<(Value<'a>, Value<'a>)> for Dict<'a> {
    fn from_iter<I: IntoIterator<Item = (Value<'a>, Value<'a>)>>(entries: I) -> Self {
        let mut dict = Self { entries: entries.into_iter().collect(), sorted: Vec::new() };
        if dict.entries.len() <= SMALL {
            dict.remove_repeated_few();
        } else {
            dict.remove_repeated_many();
        }
        dict
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
        while let Some((key, _)) = self.entries.get(at) {
            if let Value::Str(name) = key {
                let bit = bit(name);
                if seen & bit == 0 {
                    seen |= bit;
                    at += 1;
                    continue;
                }
            }
            let mut earlier = self.entries.iter().take(at);
            let earlier = match key {
                Value::Str(name) => earlier.position(|(known, _)| matches!(known, Value::Str(known) if known == name)),
                key => earlier.position(|(known, _)| super::equal(known, key)),
            };
            match earlier {
                None => at += 1,
                Some(first) => {
                    let (_, value) = self.entries.remove(at);
                    if let Some(entry) = self.entries.get_mut(first) {
                        entry.1 = value;
                    }
                }
            }
        }
    }

    fn remove_repeated_many(&mut self) {
        self.index();
        let repeated =
            self.sorted.windows(2).any(|pair| matches!(pair, [a, b] if self.name_at(*a) == self.name_at(*b)));
        let others = self.entries.len() > self.sorted.len();
        if repeated {
            let mut keep = vec![true; self.entries.len()];
            let mut first = 0;
            for at in 1..self.sorted.len() {
                let (Some(a), Some(b)) = (self.sorted.get(first).copied(), self.sorted.get(at).copied()) else { break };
                if self.name_at(a) == self.name_at(b) {
                    // The sort is stable: `b` stands later in the document.
                    let value = self.entries.get_mut(b as usize).map(|entry| std::mem::take(&mut entry.1));
                    if let (Some(entry), Some(value)) = (self.entries.get_mut(a as usize), value) {
                        entry.1 = value;
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

    fn index(&mut self) {
        let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        let mut sorted: Vec<u32> =
            (0..count).filter(|at| matches!(self.entries.get(*at as usize), Some((Value::Str(_), _)))).collect();
        sorted.sort_by(|a, b| self.name_at(*a).cmp(self.name_at(*b)));
        self.sorted = sorted;
    }
}

/// One of 64 bits, the same for equal texts.
fn bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().map_or(0, usize::from);
    let length = bytes.len();
    let mixed = (length * 7) ^ (byte(0) * 5) ^ (byte(length.wrapping_sub(1)) * 37) ^ (byte(length / 2) * 11);
    1 << ((mixed ^ (mixed >> 6)) & 63)
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

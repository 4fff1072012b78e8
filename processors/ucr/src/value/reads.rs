//! Which properties of a document are read, so that the others need not be built when it is parsed.

/// What of a value is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reads {
    /// It may be looked at as a whole.
    All,
    /// Of a dict only these properties; whatever else it is stays whole.
    Parts(Parts),
}

/// Properties of a dict, each with what is read of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    names: Vec<(Box<str>, Reads)>,
    /// A bit for each name, so that most of the other names are told apart at once.
    known: [u64; 4],
}

impl Default for Reads {
    fn default() -> Self {
        Self::Parts(Parts::default())
    }
}

impl Reads {
    /// Adds what a path leads to, as a whole.
    pub fn add(&mut self, path: &[Box<str>]) {
        let Self::Parts(parts) = self else { return };
        match path.split_first() {
            None => *self = Self::All,
            Some((name, rest)) => parts.entry(name).add(rest),
        }
    }

    /// What a document is that was parsed with this.
    #[cfg(any(test, feature = "vectors"))]
    pub(crate) fn of<'a>(&self, value: &super::Value<'a>) -> super::Value<'a> {
        let (Self::Parts(parts), super::Value::Dict(dict)) = (self, value) else { return value.clone() };
        let read = dict.iter().filter_map(|(name, value)| {
            let reads = name.as_str().and_then(|name| parts.get(name))?;
            Some((name.clone(), reads.of(value)))
        });
        super::Value::dict(read.collect())
    }

    /// Adds all that the other reads.
    pub fn merge(&mut self, other: &Self) {
        let Self::Parts(parts) = self else { return };
        match other {
            Self::All => *self = Self::All,
            Self::Parts(others) => {
                for (name, reads) in &others.names {
                    parts.entry(name).merge(reads);
                }
            }
        }
    }
}

impl Parts {
    /// What is read of a property; none when nothing is.
    pub(super) fn get(&self, name: &str) -> Option<&Reads> {
        let (word, bit) = place(name);
        if self.known.get(word).is_none_or(|known| known & bit == 0) {
            return None;
        }
        self.names.iter().find(|(known, _)| **known == *name).map(|(_, reads)| reads)
    }

    fn entry(&mut self, name: &str) -> &mut Reads {
        let (word, bit) = place(name);
        if let Some(known) = self.known.get_mut(word) {
            *known |= bit;
        }
        let at = self.names.iter().position(|(known, _)| **known == *name).unwrap_or_else(|| {
            self.names.push((name.into(), Reads::default()));
            self.names.len() - 1
        });
        &mut self.names[at].1
    }
}

/// The bit of a name, by its length and three of its bytes.
fn place(name: &str) -> (usize, u64) {
    let bytes = name.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().map_or(0, usize::from);
    let (length, last) = (bytes.len(), bytes.len().wrapping_sub(1));
    let mixed = (length * 7) ^ (byte(0) * 5) ^ (byte(last) * 37) ^ (byte(length / 2) * 11);
    (mixed >> 6 & 3, 1 << (mixed & 63))
}

#[cfg(test)]
mod tests {
    use super::super::{Value, parse, parse_parts};
    use super::*;

    fn reads(paths: &[&str]) -> Reads {
        let mut reads = Reads::default();
        for path in paths {
            reads.add(&path.split('.').map(Box::from).collect::<Vec<_>>());
        }
        reads
    }

    fn check(json: &str, paths: &[&str], expected: &str) {
        assert_eq!(parse_parts(json, &reads(paths)).unwrap(), parse(expected).unwrap(), "{paths:?} of {json}");
    }

    #[test]
    fn only_what_is_read_is_built() {
        let json = r#"{"a": {"b": 1, "c": {"d": [2, {"x": null}]}, "c2": "\u00e9"}, "e": -1.5e3, "f": [true, {}]}"#;
        check(json, &["a.c"], r#"{"a": {"c": {"d": [2, {"x": null}]}}}"#);
        check(json, &["a.b", "f", "none"], r#"{"a": {"b": 1}, "f": [true, {}]}"#);
        check(json, &["a.c", "a"], r#"{"a": {"b": 1, "c": {"d": [2, {"x": null}]}, "c2": "é"}}"#);
        assert_eq!(parse_parts(json, &Reads::All), parse(json));
    }

    #[test]
    fn names_with_escapes_and_repeated_names_are_found() {
        check(r#"{"\u0061": 1, "b": 2, "a": 3}"#, &["a"], r#"{"a": 3}"#);
        check(r#"{"a": {"b": 1}, "a": {"c": 1}}"#, &["a.b"], r#"{"a": {}}"#);
    }

    #[test]
    fn what_is_no_dict_stays_whole() {
        check(r#"{"a": [{"b": 1, "c": 2}]}"#, &["a.b"], r#"{"a": [{"b": 1, "c": 2}]}"#);
        check(r#"{"a": "text"}"#, &["a.b"], r#"{"a": "text"}"#);
        assert_eq!(parse_parts("[{\"a\": 1}]", &reads(&["b"])).unwrap().as_list().map(<[Value<'_>]>::len), Some(1));
    }

    #[test]
    fn what_is_not_read_is_refused_all_the_same() {
        let long = "9".repeat(20_001);
        for wrong in [
            "{",
            "{\"a\"}",
            "{\"a\": }",
            "[1,",
            "[1 2]",
            "01",
            "1.",
            "1e",
            "-",
            "nul",
            "truE",
            "\"\\x\"",
            "\"\\u12\"",
            "\"",
            "\"\\u12g4\"",
            "\"\n\"",
            "{\"a\": 1,}",
            "[,]",
            &long,
            &"[".repeat(500),
            &"{\"a\":".repeat(500),
            "{1: 2}",
            "\"\\",
        ] {
            let json = format!("{{\"skipped\": {wrong}");
            let (whole, parts) = (parse(&json), parse_parts(&json, &reads(&["b"])));
            assert_eq!(parts.map(|_| ()), whole.map(|_| ()), "{json:.80}");
        }
    }
}

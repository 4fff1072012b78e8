//! Which properties of a document are read, so that the others need not be built when it is parsed.

use super::name::hash;

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
    /// Where in `names` those of each hash begin to be looked for, counted from 1: a table with room for twice as many,
    /// so that most other names are told apart at once. Equal hashes stand one behind the other, around the end.
    places: Box<[u32]>,
}

impl Default for Reads {
    fn default() -> Self {
        Self::Parts(Parts::default())
    }
}

impl Reads {
    /// Adds what a path leads to, as a whole.
    pub fn add<N: AsRef<str>>(&mut self, path: &[N]) {
        let Self::Parts(parts) = self else { return };
        match path.split_first() {
            None => *self = Self::All,
            Some((name, rest)) => parts.entry(name.as_ref()).add(rest),
        }
    }

    /// What a document is that was parsed with this.
    #[cfg(any(test, feature = "vectors"))]
    pub(crate) fn of<'a>(&self, value: &super::Value<'a>) -> super::Value<'a> {
        let (Self::Parts(parts), super::Value::Dict(dict)) = (self, value) else { return value.clone() };
        let read = dict.iter().filter_map(|(name, value)| {
            let reads = name.as_str().and_then(|name| parts.get(name, hash(name)))?;
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
    #[inline]
    pub(super) fn get(&self, name: &str, hash: u32) -> Option<&Reads> {
        let mask = self.places.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        // It ends, because half of the places are free.
        while let Some(place) = self.places.get(at).copied().filter(|place| *place > 0) {
            let (known, reads) = self.names.get(place as usize - 1)?;
            if **known == *name {
                return Some(reads);
            }
            at = (at + 1) & mask;
        }
        None
    }

    fn entry(&mut self, name: &str) -> &mut Reads {
        let known = self.names.iter().position(|(known, _)| **known == *name);
        let at = known.unwrap_or_else(|| {
            self.names.push((name.into(), Reads::default()));
            self.note_last();
            self.names.len() - 1
        });
        &mut self.names[at].1
    }

    /// Notes the place of the name that came last, and that of all where the table has to grow.
    fn note_last(&mut self) {
        let room = (self.names.len() * 2).next_power_of_two();
        let first = if room == self.places.len() { self.names.len() - 1 } else { 0 };
        if first == 0 {
            self.places = vec![0; room].into_boxed_slice();
        }
        for (index, (name, _)) in self.names.iter().enumerate().skip(first) {
            let mut at = hash(name) as usize & (room - 1);
            while self.places[at] > 0 {
                at = (at + 1) & (room - 1);
            }
            self.places[at] = u32::try_from(index + 1).unwrap_or(u32::MAX);
        }
    }
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
    fn many_names_are_told_apart() {
        let names: Vec<String> = (0..300).map(|number| format!("{}{number}", &"question_"[number % 9..])).collect();
        let half: Vec<&str> = names.iter().step_by(2).map(String::as_str).collect();
        let object = |names: &mut dyn Iterator<Item = &str>| {
            let entries: Vec<String> = names.map(|name| format!("\"{name}\": \"{name}\"")).collect();
            format!("{{{}}}", entries.join(","))
        };
        let all = object(&mut names.iter().map(String::as_str));
        check(&all, &half, &object(&mut half.iter().copied()));
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

//! Whether bytes are the JSON that they should be, without building anything of it.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};

/// Checks that `bytes` are JSON of any kind, and gives them as text.
pub(super) fn json(bytes: &[u8]) -> Result<&str, String> {
    let text = utf8(bytes)?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|error| format!("not JSON: {error}"))?;
    Ok(text)
}

/// Checks that `bytes` are a JSON object whose fields `allow` does not mind. Nothing is built from it.
pub(super) fn json_object(bytes: &[u8], allow: &dyn Fn(&str) -> Result<(), String>) -> Result<(), String> {
    let mut deserializer = serde_json::Deserializer::from_str(utf8(bytes)?);
    let visited = deserializer.deserialize_map(Fields { allow }).and_then(|()| deserializer.end());
    visited.map_err(|error| format!("not a JSON object as it should be: {error}"))
}

/// The JSON reader does not look into strings that it skips, so this is checked by itself.
fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| format!("not UTF-8: {error}"))
}

struct Fields<'a> {
    allow: &'a dyn Fn(&str) -> Result<(), String>,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(Field { allow: self.allow })?.is_some() {
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

struct Field<'a> {
    allow: &'a dyn Fn(&str) -> Result<(), String>,
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Field<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        (self.allow)(name).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(bytes: &[u8], expected: Result<(), &str>) {
        let allow = |name: &str| if name == "no" { Err("field `no` is another's".to_owned()) } else { Ok(()) };
        match (json_object(bytes, &allow), expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(expected)) => assert!(found.contains(expected), "{found:?} does not say {expected:?}"),
            (found, expected) => panic!("{found:?} is not {expected:?}"),
        }
    }

    #[test]
    fn only_a_whole_object_is_an_object() {
        check(br#" {"a": {"no": 1}, "b\n": ["x"]} "#, Ok(()));
        check(b"{}", Ok(()));
        check(b"", Err("EOF"));
        check(b"[]", Err("expected an object"));
        check(b"null", Err("expected an object"));
        check(br#"{"a": 1} x"#, Err("trailing characters"));
        check(br#"{"a": "#, Err("EOF"));
        check(b"{\"a\": \"\xff\"}", Err("not UTF-8"));
        check(br#"{"a": 1, "no": 2}"#, Err("field `no` is another's"));
    }

    #[test]
    fn any_value_is_json() {
        for text in ["null", "1.5", "\"é\"", "[1, {}]"] {
            assert_eq!(json(text.as_bytes()), Ok(text));
        }
        assert!(json(b"nul").unwrap_err().starts_with("not JSON"));
        assert!(json(b"\"\xff\"").unwrap_err().starts_with("not UTF-8"));
    }
}

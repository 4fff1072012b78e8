//! Filter and rename: what a document is made of is found, and nothing of it is read that does not matter.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The new names of fields; an empty one leaves the field out.
const NAMES: [(&str, &str); 5] =
    [("name", "title"), ("owner", "owner_id"), ("kind", ""), ("village", ""), ("weight", "")];

/// The object without the fields that go, as text; none for a closed one.
struct Renamed(Option<Vec<u8>>);

/// The document with other names; none when it is closed.
///
/// # Errors
/// When it is no JSON object.
pub fn run(document: &[u8]) -> Result<Option<Vec<u8>>, serde_json::Error> {
    serde_json::from_slice(document).map(|Renamed(renamed)| renamed)
}

impl<'de> Deserialize<'de> for Renamed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields)
    }
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = Renamed;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Renamed, A::Error> {
        let mut out = Vec::with_capacity(1024);
        let mut closed = false;
        while let Some((Key(key), value)) = fields.next_entry::<Key<'de>, &'de RawValue>()? {
            if key == "closed" && value.get() == "true" {
                closed = true;
            }
            let name = NAMES.iter().find(|(name, _)| *name == key).map_or(&*key, |(_, name)| name);
            if closed || name.is_empty() {
                continue;
            }
            out.push(if out.is_empty() { b'{' } else { b',' });
            serde_json::to_writer(&mut out, name).map_err(Error::custom)?;
            out.push(b':');
            out.extend_from_slice(value.get().as_bytes());
        }
        out.extend_from_slice(if out.is_empty() { b"{}" } else { b"}" });
        Ok(Renamed((!closed).then_some(out)))
    }
}

/// A name, borrowed where it has no escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn check(document: &str, expected: Option<&str>) {
        let out = run(document.as_bytes()).unwrap().map(|out| String::from_utf8(out).unwrap());
        assert_eq!(out.as_deref(), expected);
    }

    #[test]
    fn two_fields_get_other_names_three_go_and_the_rest_stays_as_it_is_written() {
        check(
            r#"{"name":"a","kind":1,"n\u0061":{"name": 1.50},"owner":null,"village":[],"weight":2,"closed":false}"#,
            Some(r#"{"title":"a","na":{"name": 1.50},"owner_id":null,"closed":false}"#),
        );
        check("{}", Some("{}"));
    }

    #[test]
    fn what_is_closed_is_left_out() {
        check(r#"{"name":"a","closed":true,"owner":1}"#, None);
    }
}

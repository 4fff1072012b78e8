//! A JSON object as its fields' names and unread values, and how it is written again with some of them changed.
//!
//! Values are passed on as they stand in the input, so numbers keep their digits, and what is not looked at costs
//! one scan. A field that is written twice counts with its last value, as in the readers of the original.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The fields of an object, in order.
#[derive(Debug)]
pub struct Object<'a> {
    fields: Vec<(Name<'a>, &'a str)>,
    length: usize,
}

/// What happens to a field when an object is written again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit<'a> {
    /// It gets this JSON value; a field that the object lacks is added at its end.
    Set(Cow<'a, str>),
    /// It is left out.
    Remove,
}

/// A name of a field and its edit.
pub type Edits<'a> = Vec<(&'static str, Edit<'a>)>;

impl<'a> Object<'a> {
    /// Reads `json`.
    ///
    /// # Errors
    /// When it is not one JSON object.
    pub fn parse(json: &'a str) -> Result<Self, serde_json::Error> {
        let mut object: Self = serde_json::from_str(json)?;
        object.length = json.len();
        Ok(object)
    }

    /// The JSON of a field's value; none when the object has no such field.
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.fields.iter().rev().find(|(field, _)| field.0 == name).map(|(_, value)| *value)
    }

    /// The decoded text of a field that holds a text.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(text)
    }

    /// The fields with their values, as often as they stand there.
    pub fn fields(&self) -> impl Iterator<Item = (&Name<'a>, &'a str)> {
        self.fields.iter().map(|(name, value)| (name, *value))
    }

    /// Writes the object with its fields edited.
    pub fn write(&self, edits: &[(&str, Edit<'_>)], out: &mut String) {
        let added: usize = edits.iter().map(|(name, edit)| name.len() + edit.length() + 4).sum();
        out.reserve(self.length + added);
        let mut writer = Writer::new(out);
        let mut written = vec![false; edits.len()];
        for (name, value) in &self.fields {
            match edits.iter().position(|(edited, _)| *edited == name.0) {
                None => writer.name(name).push_str(value),
                Some(position) => {
                    if let Edit::Set(value) = &edits[position].1
                        && !written[position]
                    {
                        writer.name(name).push_str(value);
                    }
                    written[position] = true;
                }
            }
        }
        for ((name, edit), written) in edits.iter().zip(written) {
            if let Edit::Set(value) = edit
                && !written
            {
                writer.name(&Name(Cow::Borrowed(name))).push_str(value);
            }
        }
        writer.end();
    }
}

impl Edit<'_> {
    /// Sets a field to null.
    pub const NULL: Self = Self::Set(Cow::Borrowed("null"));

    /// Sets a field to a text.
    pub fn text(text: &str) -> Self {
        Self::Set(Cow::Owned(quoted(text)))
    }

    fn length(&self) -> usize {
        match self {
            Self::Set(value) => value.len(),
            Self::Remove => 0,
        }
    }
}

/// Writes an object field by field.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut String,
    first: bool,
}

impl<'o> Writer<'o> {
    /// Begins the object.
    pub fn new(out: &'o mut String) -> Self {
        out.push('{');
        Self { out, first: true }
    }

    /// Begins a field, whose value the caller writes next.
    pub fn name(&mut self, name: &Name<'_>) -> &mut String {
        if !self.first {
            self.out.push(',');
        }
        self.first = false;
        match &name.0 {
            // What could be borrowed from the input had no escapes, so it needs none.
            Cow::Borrowed(name) => {
                self.out.push('"');
                self.out.push_str(name);
                self.out.push('"');
            }
            Cow::Owned(name) => self.out.push_str(&quoted(name)),
        }
        self.out.push(':');
        self.out
    }

    /// Ends the object.
    pub fn end(self) {
        self.out.push('}');
    }
}

/// The decoded text of a JSON value that is a text.
pub fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') { serde_json::from_str(json).ok().map(Cow::Owned) } else { Some(Cow::Borrowed(inner)) }
}

/// Whether a field's value is what the original takes for nothing: absent, null or the empty text.
pub fn is_empty(json: Option<&str>) -> bool {
    matches!(json, None | Some("null" | "\"\""))
}

/// `text` as a JSON value.
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The items of a JSON list, unread.
///
/// # Errors
/// When `json` is not a list.
pub fn items(json: &str) -> Result<Vec<&str>, serde_json::Error> {
    let items: Vec<&RawValue> = serde_json::from_str(json)?;
    Ok(items.into_iter().map(RawValue::get).collect())
}

/// The name of a field: borrowed from the input where it has no escapes.
#[derive(Debug)]
pub struct Name<'a>(Cow<'a, str>);

impl Name<'_> {
    /// The name without escapes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Name<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("the name of a field")
            }
            fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(text)))
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Reader)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Object<'de>;
            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                // Forms and cases have 20 to 40 fields; growing from nothing would copy them four times.
                let mut fields = Vec::with_capacity(32);
                while let Some(name) = map.next_key::<Name<'de>>()? {
                    fields.push((name, map.next_value::<&'de RawValue>()?.get()));
                }
                Ok(Object { fields, length: 0 })
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str, edits: &[(&str, Edit<'_>)], expected: &str) {
        let mut out = String::new();
        Object::parse(json).unwrap().write(edits, &mut out);
        assert_eq!(out, expected);
    }

    #[test]
    fn what_is_not_edited_keeps_its_digits_and_its_order() {
        check(
            r#"{"z": 1.10000000000000000001, "a":123456789012345678901234567890,"n":{"k":[1e400]}}"#,
            &[],
            r#"{"z":1.10000000000000000001,"a":123456789012345678901234567890,"n":{"k":[1e400]}}"#,
        );
    }

    #[test]
    fn a_field_is_replaced_in_its_place_removed_or_added_at_the_end() {
        let edits = [("b", Edit::text("x\"")), ("c", Edit::NULL), ("a", Edit::Remove), ("d", Edit::Remove)];
        check(r#"{"a":1,"b":2,"e":3}"#, &edits, r#"{"b":"x\"","e":3,"c":null}"#);
        check("{}", &edits, r#"{"b":"x\"","c":null}"#);
    }

    #[test]
    fn a_name_with_escapes_is_the_same_name() {
        check(r#"{"\u0061":1,"q\"":2,"\n":3}"#, &[("a", Edit::NULL)], r#"{"a":null,"q\"":2,"\n":3}"#);
    }

    #[test]
    fn a_field_that_stands_twice_counts_with_its_last_value() {
        assert_eq!(Object::parse(r#"{"a":1,"a":2}"#).unwrap().get("a"), Some("2"));
        check(r#"{"a":1,"b":3,"a":2}"#, &[("a", Edit::text("x"))], r#"{"a":"x","b":3}"#);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for json in ["", "[]", "1", "\"a\"", "{", "{\"a\":}", "{} x", "{\"a\":\"\u{1}\"}"] {
            assert!(Object::parse(json).is_err(), "{json}");
        }
    }

    #[test]
    fn depth_alone_is_no_reason_to_fail() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        check(&deep, &[], &deep);
    }
}

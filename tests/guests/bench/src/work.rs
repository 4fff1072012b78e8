//! The work on one document: bytes in, bytes out, the same code for both ways of running it.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::rename;

/// What is done with each document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// Nothing: what is left is the way in and out.
    Nothing,
    /// Parse into a tree, change it in every place, write it.
    Tree,
    /// Read some fields without copying them, and write them with the rest as it stands.
    Borrowed,
    /// Write it as it stands.
    Copy,
    /// Leave out what is closed; of the others two fields get other names, and three go.
    Rename,
}

#[derive(Deserialize, Serialize)]
struct Form<'a> {
    #[serde(borrow, rename = "_id")]
    id: Cow<'a, str>,
    #[serde(borrow)]
    domain: Cow<'a, str>,
    #[serde(borrow)]
    received_on: Cow<'a, str>,
    #[serde(borrow)]
    form: &'a RawValue,
    #[serde(default)]
    is_test: bool,
}

impl Work {
    /// The new document; none when there is nothing to write.
    ///
    /// # Errors
    /// When the document is no JSON, or not what the work reads.
    pub fn run(self, document: &[u8]) -> Result<Option<Vec<u8>>, serde_json::Error> {
        match self {
            Self::Nothing => Ok(None),
            Self::Tree => {
                let mut tree: Value = serde_json::from_slice(document)?;
                add_lengths(&mut tree);
                serde_json::to_vec(&tree).map(Some)
            }
            Self::Borrowed => {
                let mut form: Form<'_> = serde_json::from_slice(document)?;
                form.is_test = form.domain.ends_with("-test");
                serde_json::to_vec(&form).map(Some)
            }
            Self::Copy => Ok(Some(document.to_vec())),
            Self::Rename => rename::run(document),
        }
    }
}

/// Adds to each object how many fields it has, drops nulls, and trims texts: reads and writes all of the tree.
fn add_lengths(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.values_mut().for_each(add_lengths);
            let count = fields.len();
            Map::insert(fields, "fields".to_owned(), Value::from(count));
        }
        Value::Array(values) => values.iter_mut().for_each(add_lengths),
        Value::String(text) if text.ends_with(' ') => {
            *value = Value::from(text.trim_end());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents;

    #[test]
    fn a_tree_is_changed_everywhere() {
        let out = Work::Tree.run(br#"{"a":{"b":null,"c":" x "},"d":[{"e":1}]}"#).unwrap().unwrap();
        let expected = r#"{"a":{"c":" x","fields":1},"d":[{"e":1,"fields":1}],"fields":2}"#;
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn documents_have_about_the_size_that_was_asked_for_and_every_work_takes_them() {
        for bytes in [1 << 10, 4 << 10, 20 << 10] {
            let document = documents::form(7, bytes);
            assert!(document.len() >= bytes && document.len() < bytes + 256, "{} for {bytes}", document.len());
            assert_ne!(document, documents::form(8, bytes));
            let tree: Value = serde_json::from_slice(&Work::Tree.run(&document).unwrap().unwrap()).unwrap();
            let form: Value = serde_json::from_slice(&Work::Borrowed.run(&document).unwrap().unwrap()).unwrap();
            assert_eq!(tree["_id"], form["_id"]);
            assert!(form["form"].is_object());
            assert_eq!(Work::Nothing.run(&document).unwrap(), None);
        }
        let case: Value = serde_json::from_slice(&documents::case(7)).unwrap();
        assert_eq!(case["_id"], documents::id(7));
        assert!((1000..1100).contains(&documents::case(7).len()), "{}", documents::case(7).len());
    }
}

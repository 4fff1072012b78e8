//! Lists of texts: JSON on their way, arrays in PostgreSQL.
//!
//! A list of lists is an array of two dimensions, which has lists of one length only; so do more of them.

use serde_json::Value;

/// Dimensions that an array of PostgreSQL may have (`MAXDIM`).
const MOST_DIMENSIONS: usize = 6;

/// Whether a JSON text is a list that an array can hold.
///
/// # Errors
/// What is wrong, as the rest of a sentence about the column.
pub(crate) fn check(json: &str) -> Result<(), String> {
    let value: Value = serde_json::from_str(json).map_err(|error| format!("is not JSON: {error}"))?;
    if !value.is_array() {
        return Err("is not a list".to_owned());
    }
    let shape = shape(&value)?;
    match shape.len() <= MOST_DIMENSIONS {
        true => Ok(()),
        false => Err(format!("lists stand more than {MOST_DIMENSIONS} deep in each other")),
    }
}

/// The text that PostgreSQL reads as the array.
///
/// # Errors
/// As for [`check`].
pub(crate) fn literal(json: &str) -> Result<String, String> {
    let value: Value = serde_json::from_str(json).map_err(|error| format!("is not JSON: {error}"))?;
    let mut text = String::with_capacity(json.len());
    // Of empty lists in a list nothing is left: an array without elements has no dimensions.
    match shape(&value)?.contains(&0) {
        true => text.push_str("{}"),
        false => write(&value, &mut text),
    }
    Ok(text)
}

/// The lengths of a list and of the lists in it.
fn shape(value: &Value) -> Result<Vec<usize>, String> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) if text.contains('\0') => Err("a text in it has a null character".to_owned()),
        Value::String(_) => Ok(Vec::new()),
        Value::Array(elements) => {
            let mut inner: Option<Vec<usize>> = None;
            for element in elements {
                let found = shape(element)?;
                if inner.as_ref().is_some_and(|inner| *inner != found) {
                    return Err("the lists in it are not of one length".to_owned());
                }
                inner = Some(found);
            }
            let mut lengths = vec![elements.len()];
            lengths.extend(inner.unwrap_or_default());
            Ok(lengths)
        }
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err("is not a list of texts".to_owned()),
    }
}

fn write(value: &Value, to: &mut String) {
    match value {
        Value::Array(elements) => {
            to.push('{');
            for (at, element) in elements.iter().enumerate() {
                if at > 0 {
                    to.push(',');
                }
                write(element, to);
            }
            to.push('}');
        }
        Value::String(text) => {
            to.push('"');
            for sign in text.chars() {
                if matches!(sign, '"' | '\\') {
                    to.push('\\');
                }
                to.push(sign);
            }
            to.push('"');
        }
        // The others were refused.
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => to.push_str("NULL"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_written_as_arrays() {
        let cases = [
            ("[]", "{}"),
            ("[null]", "{NULL}"),
            (r#"["a","b,c","null",""]"#, r#"{"a","b,c","null",""}"#),
            (r#"["\"","\\"]"#, r#"{"\"","\\"}"#),
            (r#"[["1"],["2"]]"#, r#"{{"1"},{"2"}}"#),
            ("[[],[]]", "{}"),
        ];
        for (json, expected) in cases {
            assert_eq!(check(json), Ok(()), "{json}");
            assert_eq!(literal(json).unwrap(), expected);
        }
    }

    #[test]
    fn what_no_array_can_hold_is_refused() {
        let cases = [
            ("{}", "is not a list"),
            ("[1]", "is not a list of texts"),
            (r#"[["a"],["b","c"]]"#, "the lists in it are not of one length"),
            (r#"[["a"],null]"#, "the lists in it are not of one length"),
            (r#"["\u0000"]"#, "a text in it has a null character"),
            ("[[[[[[[]]]]]]]", "lists stand more than 6 deep in each other"),
        ];
        for (json, expected) in cases {
            assert_eq!(check(json).unwrap_err(), expected);
        }
    }
}

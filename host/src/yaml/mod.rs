//! YAML as JSON: the values that PyYAML's safe loader finds in a file, as far as JSON can say them.
//!
//! Promise: every text ends in JSON or in an error with its place, and the work and the memory are bounded by the length
//! of the text and by what aliases may repeat.
//!
//! Deliberately absent: several documents in a file, the tags of a language or of an application, keys that are no
//! texts, and numbers that are none. JSON has no word for them, and what stood in their place would mean something else.

mod compose;
mod node;
mod scalar;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ffi::OsStr;
use std::path::Path;

/// Why a text is no YAML, or cannot be said in JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct Error {
    /// From 1 on.
    pub line: usize,
    /// In characters, from 1 on.
    pub column: usize,
    /// What is wrong there.
    pub problem: String,
}

/// The text of a file of YAML or JSON as JSON; which of them it is, its name says.
///
/// # Errors
/// As [`to_json`]. JSON is taken as it is.
pub fn as_json<'a>(file: &Path, text: &'a str) -> Result<Cow<'a, str>, Error> {
    if is_yaml(file) { to_json(text).map(Cow::Owned) } else { Ok(Cow::Borrowed(text)) }
}

fn is_yaml(file: &Path) -> bool {
    let extension = file.extension().and_then(OsStr::to_str);
    extension.is_some_and(|extension| ["yaml", "yml"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}

/// The value of a YAML document as JSON.
///
/// # Errors
/// What is no YAML, what JSON cannot say, and what grows beyond all bounds; the first of it.
pub fn to_json(text: &str) -> Result<String, Error> {
    Ok(compose::compose(text)?.json())
}

//! Secrets, and what the files may take from their surroundings: variables and other files.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// Text that is never printed: neither `Debug` nor `Display` says anything of it, not even its length.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Secret(Arc<str>);

/// What stands around the files. The caller reads the environment and the disk; this room only asks.
pub trait Lookup {
    /// The environment variable `name`; none when it is not set.
    fn variable(&self, name: &str) -> Option<String>;

    /// The text of the file at `path`, for `…-file` keys and configurations.
    ///
    /// # Errors
    /// When it cannot be read, or is not UTF-8.
    fn read(&self, path: &Path) -> io::Result<String>;
}

/// Why `${…}` could not be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum VariableError {
    /// There is no such variable.
    Undefined(String),
    /// `${` without a name and a closing brace.
    Malformed,
}

impl Secret {
    pub(crate) fn new(text: impl AsRef<str>) -> Self {
        Self(Arc::from(text.as_ref()))
    }

    /// The text itself, for whoever logs in with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("…")
    }
}

/// Replaces each `${NAME}` by the variable, and each `$${` by `${`. Replaced text is not looked at again.
pub(super) fn interpolate(text: &str, lookup: &dyn Lookup) -> Result<String, VariableError> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        let (before, from) = rest.split_at(dollar);
        out.push_str(before);
        if let Some(after) = from.strip_prefix("$${") {
            out.push_str("${");
            rest = after;
        } else if let Some(after) = from.strip_prefix("${") {
            let (name, after) = after.split_once('}').ok_or(VariableError::Malformed)?;
            let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
            if !starts_well || !name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
                return Err(VariableError::Malformed);
            }
            out.push_str(&lookup.variable(name).ok_or_else(|| VariableError::Undefined(name.to_owned()))?);
            rest = after;
        } else {
            out.push('$');
            rest = &from[1..];
        }
    }
    out.push_str(rest);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One;

    impl Lookup for One {
        fn variable(&self, name: &str) -> Option<String> {
            (name == "ONE").then(|| "1${ONE}".to_owned())
        }

        fn read(&self, _: &Path) -> io::Result<String> {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    fn check(text: &str, expected: Result<&str, VariableError>) {
        assert_eq!(interpolate(text, &One), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn variables_are_replaced_once_and_escapes_are_left() {
        check("a ${ONE} b", Ok("a 1${ONE} b"));
        check("$${ONE} $ $$ $", Ok("${ONE} $ $$ $"));
        check("é${ONE}", Ok("é1${ONE}"));
        check("${TWO}", Err(VariableError::Undefined("TWO".to_owned())));
        check("${ONE", Err(VariableError::Malformed));
        check("${}", Err(VariableError::Malformed));
        check("${a b}", Err(VariableError::Malformed));
    }

    #[test]
    fn a_secret_prints_nothing_of_itself() {
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret} {secret:?} {:?}", Some(&secret)), "… Secret(…) Some(Secret(…))");
        assert_eq!(secret.reveal(), "hunter2");
    }
}

//! What every room's errors share: an outage, and how a chain of causes is printed.

use std::error::Error;
use std::fmt::Write as _;

/// A server or a disk that does not do its work now. It is not a failure of a change: whoever meets it waits and
/// tries again, and holds nothing but its own pillow.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct Outage {
    /// What could not be done, with the name of the server or file.
    pub operation: String,
    /// Why.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Outage {
    /// An outage met during `operation`.
    pub fn new(operation: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { operation: operation.into(), source: Some(source.into()) }
    }
}

/// The error and its causes in one line, each said once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        // Some libraries repeat their cause in their own text.
        if !text.ends_with(&said) {
            write!(text, ": {said}").expect("a String takes any text");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let outage = Outage::new("could not read it", std::io::Error::other("disk is gone"));
        assert_eq!(chain(&outage), "could not read it: disk is gone");
    }
}

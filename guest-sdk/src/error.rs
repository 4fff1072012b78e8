//! Why a change, or one part of a processor, failed.

use std::fmt;

use crate::Absence;
use crate::bindings::pillowtop::processor::types as raw;

/// A failure of one change, or of one part of the processor for that change. The host parks it with its message.
///
/// It is deliberately no `std::error::Error`: that lets every such error become one through `?`, as invalid input that
/// a retry cannot help, because a pure function that fails on a document fails on it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    retry_can_help: bool,
}

/// The class of an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The document or the change cannot be processed as it is.
    InvalidInput,
    /// The document, or one that it leads to, should be there and is not.
    DocumentMissing,
    /// Anything else.
    Other,
    /// No failure: see [`Error::deferred`].
    Deferred,
}

impl Error {
    /// The document cannot be processed as it is; a retry cannot help.
    pub fn invalid_input(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::InvalidInput, message: message.to_string(), retry_can_help: false }
    }

    /// A document should be there and is not; a retry can help.
    pub fn document_missing(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::DocumentMissing, message: message.to_string(), retry_can_help: true }
    }

    /// Anything else; a retry cannot help.
    pub fn other(message: impl fmt::Display) -> Self {
        Self { kind: ErrorKind::Other, message: message.to_string(), retry_can_help: false }
    }

    /// No failure: the document is wanted later. Returned for the whole change, or by
    /// [`Writes::defer_part`](crate::Writes::defer_part) for a part. Only for a change of no attempts yet: one that comes again
    /// is to be done.
    pub fn deferred() -> Self {
        Self { kind: ErrorKind::Deferred, message: "deferred".to_owned(), retry_can_help: true }
    }

    /// The same, with a word on whether trying again later, with the same code and configuration, can help.
    #[must_use]
    pub fn retry_can_help(self, retry_can_help: bool) -> Self {
        Self { retry_can_help, ..self }
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What happened.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn into_raw(self) -> raw::Failure {
        let kind = match self.kind {
            ErrorKind::InvalidInput => raw::FailureKind::InvalidInput,
            ErrorKind::DocumentMissing => raw::FailureKind::DocumentMissing,
            ErrorKind::Other => raw::FailureKind::Other,
            ErrorKind::Deferred => raw::FailureKind::Deferred,
        };
        raw::Failure { kind, message: self.message, retry_can_help: self.retry_can_help }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

impl<E: std::error::Error> From<E> for Error {
    fn from(error: E) -> Self {
        let mut message = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            message.push_str(": ");
            message.push_str(&error.to_string());
            cause = error.source();
        }
        Self::invalid_input(message)
    }
}

impl From<Absence> for Error {
    fn from(absence: Absence) -> Self {
        match absence {
            // Deletions are ordinary; a processor that asks for the document of one forgot to handle them.
            Absence::Deleted => Self::document_missing("the document was deleted").retry_can_help(false),
            Absence::Missing => Self::document_missing("the document is not in its store"),
            Absence::Stale => Self::document_missing("the store has an older revision than the change"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_from_elsewhere_is_invalid_input_with_its_causes() {
        #[derive(Debug)]
        struct Outer(std::num::ParseIntError);
        impl fmt::Display for Outer {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("bad age")
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let error = Error::from(Outer("x".parse::<i64>().unwrap_err()));
        assert_eq!(error, Error::invalid_input("bad age: invalid digit found in string"));
        assert!(!error.into_raw().retry_can_help);
    }

    #[test]
    fn a_retry_helps_where_the_document_may_still_come() {
        let helps = |absence: Absence| Error::from(absence).into_raw().retry_can_help;
        assert!(helps(Absence::Missing));
        assert!(helps(Absence::Stale));
        assert!(!helps(Absence::Deleted));
    }
}

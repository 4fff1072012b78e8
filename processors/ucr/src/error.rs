//! What can be wrong with a configuration, and what can go wrong with a document.

use std::fmt;

use crate::Query;
use crate::number::DecimalError;
use crate::value::Incomparable;

/// Everything that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    pub problems: Vec<Problem>,
}

/// One thing that is wrong with a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Where, such as `configured_indicators[3].expression.test`; empty for the configuration as a whole.
    pub path: String,
    /// What is wrong there, and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.problems.iter().enumerate() {
            write!(f, "{}{problem}", if at == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

/// Why a document gives no rows. The variants are those that some expression treats differently from the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvalError {
    /// Operators make false of it, the evaluator and aggregations null.
    #[error("{0}")]
    Type(Box<str>),
    /// A value of the right type that cannot be used.
    #[error("{0}")]
    Value(Box<str>),
    #[error("{0}")]
    Attribute(Box<str>),
    #[error("{0}")]
    Overflow(Box<str>),
    /// Only the evaluator makes null of it.
    #[error("division by zero")]
    DivisionByZero,
    /// A key or index that is not there.
    #[error("{0}")]
    Missing(Box<str>),
    /// A part of the configuration that turns out to be wrong only when it is used.
    #[error("{0}")]
    Config(Box<str>),
    /// Too deep, too large or too long; nothing turns it into a value.
    #[error("{0}")]
    Limit(Box<str>),
    /// Not an error of the document: these answers are needed first, then evaluate again.
    #[error("look-ups without an answer yet")]
    Need(Box<[Query]>),
}

impl EvalError {
    pub fn type_error(message: impl Into<Box<str>>) -> Self {
        Self::Type(message.into())
    }

    pub fn limit(message: impl Into<Box<str>>) -> Self {
        Self::Limit(message.into())
    }
}

impl From<Incomparable> for EvalError {
    fn from(error: Incomparable) -> Self {
        let message = error.to_string().into();
        match error {
            Incomparable::Types => Self::Type(message),
            Incomparable::NotANumber => Self::Value(message),
        }
    }
}

impl From<DecimalError> for EvalError {
    fn from(error: DecimalError) -> Self {
        match error {
            DecimalError::DivisionByZero => Self::DivisionByZero,
            DecimalError::Invalid => Self::Value(error.to_string().into()),
            DecimalError::TooLarge => Self::Limit(error.to_string().into()),
        }
    }
}

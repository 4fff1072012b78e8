//! Values of columns.

use serde::Serialize;

use crate::Error;
use crate::bindings::pillowtop::processor::types as raw;

/// Values in the order of the table's columns.
pub type Row = Vec<Value>;

/// A value of a column.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// No value.
    Null,
    /// True or false.
    Boolean(bool),
    /// A 64-bit integer.
    Integer(i64),
    /// A double.
    Double(f64),
    /// Decimal text, such as `-12.50`.
    Decimal(String),
    /// Text.
    Text(String),
    /// Bytes.
    Bytes(Vec<u8>),
    /// `YYYY-MM-DD`.
    Date(String),
    /// RFC 3339.
    Timestamp(String),
    /// JSON text.
    Json(Vec<u8>),
}

impl Value {
    /// A value for a JSON column.
    ///
    /// # Errors
    /// When `value` cannot be written as JSON, for instance a map whose keys are no texts.
    pub fn json(value: &impl Serialize) -> Result<Self, Error> {
        Ok(Self::Json(serde_json::to_vec(value)?))
    }

    /// A value for a date column: `YYYY-MM-DD`.
    pub fn date(text: impl Into<String>) -> Self {
        Self::Date(text.into())
    }

    /// A value for a timestamp column: RFC 3339.
    pub fn timestamp(text: impl Into<String>) -> Self {
        Self::Timestamp(text.into())
    }

    fn into_raw(self) -> raw::Value {
        match self {
            Self::Null => raw::Value::Null,
            Self::Boolean(value) => raw::Value::Boolean(value),
            Self::Integer(value) => raw::Value::Integer(value),
            Self::Double(value) => raw::Value::Double(value),
            Self::Decimal(value) => raw::Value::Decimal(value),
            Self::Text(value) => raw::Value::Text(value),
            Self::Bytes(value) => raw::Value::Bytes(value),
            Self::Date(value) => raw::Value::Date(value),
            Self::Timestamp(value) => raw::Value::Timestamp(value),
            Self::Json(value) => raw::Value::Json(value),
        }
    }
}

pub(crate) fn raw_row(row: Row) -> raw::Row {
    raw::Row { values: row.into_iter().map(Value::into_raw).collect() }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Boolean(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Integer(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Integer(i64::from(value))
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

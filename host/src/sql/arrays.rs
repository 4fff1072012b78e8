//! Many rows as a few bound values: each column of them travels to PostgreSQL as one array, in its binary form.
//!
//! A statement then has as many parameters as columns, whatever the number of rows, so that one prepared statement
//! serves them all. Kinds whose text every PostgreSQL reads the same way travel as texts, which the statement casts.

use sqlx::encode::{Encode, IsNull};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgTypeInfo};
use sqlx::{Postgres, Type};

use super::text_list;
use super::values::CheckedRow;
use crate::model::{ColumnKind, Value};

/// One column of some rows.
pub(crate) struct ColumnArray<'a> {
    /// What the column holds.
    pub(crate) kind: ColumnKind,
    /// Which of the values of each row.
    pub(crate) at: usize,
    /// The rows.
    pub(crate) rows: &'a [&'a CheckedRow<'a>],
}

/// How the values of a column travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Boolean,
    Integer,
    Double,
    Bytes,
    Text,
}

impl Element {
    fn of(kind: ColumnKind) -> Self {
        match kind {
            ColumnKind::Boolean => Self::Boolean,
            ColumnKind::Integer | ColumnKind::Integer16 | ColumnKind::Integer32 => Self::Integer,
            ColumnKind::Double => Self::Double,
            ColumnKind::Bytes => Self::Bytes,
            ColumnKind::Decimal
            | ColumnKind::SizedDecimal { .. }
            | ColumnKind::Text
            | ColumnKind::Date
            | ColumnKind::Timestamp
            | ColumnKind::LocalTimestamp
            | ColumnKind::Json
            | ColumnKind::TextList => Self::Text,
        }
    }

    /// The object ids of PostgreSQL's own types never change (`pg_type.dat`).
    fn id(self) -> u32 {
        match self {
            Self::Boolean => 16,
            Self::Integer => 20,
            Self::Double => 701,
            Self::Bytes => 17,
            Self::Text => 25,
        }
    }

    fn array(self) -> PgTypeInfo {
        match self {
            Self::Boolean => <Vec<bool> as Type<Postgres>>::type_info(),
            Self::Integer => <Vec<i64> as Type<Postgres>>::type_info(),
            Self::Double => <Vec<f64> as Type<Postgres>>::type_info(),
            Self::Bytes => <Vec<Vec<u8>> as Type<Postgres>>::type_info(),
            Self::Text => <Vec<String> as Type<Postgres>>::type_info(),
        }
    }
}

impl ColumnArray<'_> {
    /// The type of the bound array, as a cast says it.
    pub(crate) fn type_name(kind: ColumnKind) -> &'static str {
        match Element::of(kind) {
            Element::Boolean => "boolean[]",
            Element::Integer => "bigint[]",
            Element::Double => "double precision[]",
            Element::Bytes => "bytea[]",
            Element::Text => "text[]",
        }
    }

    /// Whether an element of the array is not yet of the column's type.
    pub(crate) fn needs_cast(kind: ColumnKind) -> bool {
        match Element::of(kind) {
            Element::Text => kind != ColumnKind::Text,
            // Every value was checked to fit.
            Element::Integer => kind != ColumnKind::Integer,
            Element::Boolean | Element::Double | Element::Bytes => false,
        }
    }
}

impl Type<Postgres> for ColumnArray<'_> {
    fn type_info() -> PgTypeInfo {
        Element::Text.array()
    }
}

impl Encode<'_, Postgres> for ColumnArray<'_> {
    /// The form that `array_recv` of PostgreSQL reads: one dimension that counts from 1, each element after its length.
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let element = Element::of(self.kind);
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        // Whether there are nulls; the server looks for itself.
        buffer.extend_from_slice(&0_i32.to_be_bytes());
        buffer.extend_from_slice(&element.id().to_be_bytes());
        buffer.extend_from_slice(&i32::try_from(self.rows.len())?.to_be_bytes());
        buffer.extend_from_slice(&1_i32.to_be_bytes());
        for row in self.rows {
            match (element, row[self.at].as_ref()) {
                (_, Value::Null) => buffer.extend_from_slice(&(-1_i32).to_be_bytes()),
                (Element::Boolean, Value::Boolean(truth)) => sized(buffer, &[u8::from(*truth)])?,
                (Element::Integer, Value::Integer(number)) => sized(buffer, &number.to_be_bytes())?,
                (Element::Double, Value::Double(number)) => sized(buffer, &number.to_be_bytes())?,
                (Element::Bytes, Value::Bytes(bytes)) => sized(buffer, bytes)?,
                (Element::Text, Value::Json(text)) if self.kind == ColumnKind::TextList => {
                    sized(buffer, text_list::literal(text)?.as_bytes())?;
                }
                (
                    Element::Text,
                    Value::Decimal(text)
                    | Value::Text(text)
                    | Value::Date(text)
                    | Value::Timestamp(text)
                    | Value::Json(text),
                ) => sized(buffer, text.as_bytes())?,
                (_, other) => return Err(format!("a value was not checked against its column: {other:?}").into()),
            }
        }
        Ok(IsNull::No)
    }

    fn produces(&self) -> Option<PgTypeInfo> {
        Some(Element::of(self.kind).array())
    }
}

fn sized(buffer: &mut PgArgumentBuffer, bytes: &[u8]) -> Result<(), BoxDynError> {
    buffer.extend_from_slice(&i32::try_from(bytes.len())?.to_be_bytes());
    buffer.extend_from_slice(bytes);
    Ok(())
}

//! Rows in one block of bytes, as the contract lays them out.

use crate::{Row, Value};

/// Rows of a table, written value by value: for a processor that makes many of them, and does not want each value as a
/// [`Value`] first. [`Write::replace_rows`](crate::Write::replace_rows) takes them, and other rows as well.
///
/// ```
/// use pillowtop_sdk::{Rows, Write};
///
/// let mut rows = Rows::new();
/// rows.begin(2);
/// rows.text("form-7");
/// rows.integer(3);
/// let write = Write::replace_block("visits", rows);
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    bytes: Vec<u8>,
}

// Which case of the contract's `value` it is.
const NULL: u8 = 0;
const BOOLEAN: u8 = 1;
const INTEGER: u8 = 2;
const DOUBLE: u8 = 3;
const DECIMAL: u8 = 4;
const TEXT: u8 = 5;
const BYTES: u8 = 6;
const DATE: u8 = 7;
const TIMESTAMP: u8 = 8;
const JSON: u8 = 9;

impl Rows {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a row of so many values, which have to follow it in the order of the table's columns. The host refuses a
    /// block that does not come out even.
    #[inline]
    pub fn begin(&mut self, values: usize) {
        self.bytes.extend_from_slice(&four(values));
    }

    /// No value.
    #[inline]
    pub fn null(&mut self) {
        self.bytes.push(NULL);
    }

    /// True or false.
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.bytes.extend_from_slice(&[BOOLEAN, u8::from(value)]);
    }

    /// A 64-bit integer.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.eight(INTEGER, value.to_le_bytes());
    }

    /// A double.
    #[inline]
    pub fn double(&mut self, value: f64) {
        self.eight(DOUBLE, value.to_le_bytes());
    }

    /// Decimal text, such as `-12.50`.
    pub fn decimal(&mut self, text: &str) {
        self.long(DECIMAL, text.as_bytes());
    }

    /// Text.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.long(TEXT, text.as_bytes());
    }

    /// Bytes.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.long(BYTES, bytes);
    }

    /// `YYYY-MM-DD`.
    pub fn date(&mut self, text: &str) {
        self.long(DATE, text.as_bytes());
    }

    /// RFC 3339.
    pub fn timestamp(&mut self, text: &str) {
        self.long(TIMESTAMP, text.as_bytes());
    }

    /// JSON text.
    pub fn json(&mut self, text: &[u8]) {
        self.long(JSON, text);
    }

    /// A value of any kind.
    pub fn push(&mut self, value: &Value) {
        match value {
            Value::Null => self.null(),
            Value::Boolean(value) => self.boolean(*value),
            Value::Integer(value) => self.integer(*value),
            Value::Double(value) => self.double(*value),
            Value::Decimal(text) => self.decimal(text),
            Value::Text(text) => self.text(text),
            Value::Bytes(bytes) => self.bytes(bytes),
            Value::Date(text) => self.date(text),
            Value::Timestamp(text) => self.timestamp(text),
            Value::Json(text) => self.json(text),
        }
    }

    #[inline]
    fn eight(&mut self, case: u8, value: [u8; 8]) {
        // At once, so that the room is looked at once.
        let [a, b, c, d, e, f, g, h] = value;
        self.bytes.extend_from_slice(&[case, a, b, c, d, e, f, g, h]);
    }

    #[inline]
    fn long(&mut self, case: u8, content: &[u8]) {
        let [a, b, c, d] = four(content.len());
        self.bytes.extend_from_slice(&[case, a, b, c, d]);
        self.bytes.extend_from_slice(content);
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// More than fits does not fit into the memory of a processor either.
fn four(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes()
}

impl FromIterator<Row> for Rows {
    fn from_iter<I: IntoIterator<Item = Row>>(rows: I) -> Self {
        let mut block = Self::new();
        for row in rows {
            block.begin(row.len());
            row.iter().for_each(|value| block.push(value));
        }
        block
    }
}

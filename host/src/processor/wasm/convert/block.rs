//! Rows in one block of bytes, as a guest may give them; `replace-block-write` of the contract says how they stand in it.

use super::row::row;
use super::write::DeclaredTable;
use crate::model::Row;
use crate::processor::wasm::bindings::pillowtop::processor::types as contract;

/// What is left of a block.
pub(super) struct Block<'b>(&'b [u8]);

impl<'b> Block<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// The next row and its bytes; none behind the last one.
    pub(super) fn row(&mut self, table: &DeclaredTable) -> Option<Result<(Row, usize), String>> {
        if self.0.is_empty() {
            return None;
        }
        Some(self.length().and_then(|count| row(count, || self.value(), table)))
    }

    fn value(&mut self) -> Result<contract::Value, String> {
        let [case] = self.take()?;
        Ok(match case {
            0 => contract::Value::Null,
            1 => match self.take()? {
                [0] => contract::Value::Boolean(false),
                [1] => contract::Value::Boolean(true),
                [other] => return Err(format!("a boolean is a byte 0 or 1, not {other}")),
            },
            2 => contract::Value::Integer(i64::from_le_bytes(self.take()?)),
            3 => contract::Value::Double(f64::from_le_bytes(self.take()?)),
            4 => contract::Value::Decimal(self.text()?),
            5 => contract::Value::Text(self.text()?),
            6 => contract::Value::Bytes(self.long()?.to_vec()),
            7 => contract::Value::Date(self.text()?),
            8 => contract::Value::Timestamp(self.text()?),
            9 => contract::Value::Json(self.long()?.to_vec()),
            other => return Err(format!("no value begins with a byte {other}")),
        })
    }

    fn text(&mut self) -> Result<String, String> {
        let text = std::str::from_utf8(self.long()?).map_err(|error| format!("not UTF-8: {error}"))?;
        Ok(text.to_owned())
    }

    fn long(&mut self) -> Result<&'b [u8], String> {
        let length = self.length()?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or_else(|| self.too_short(length))?;
        self.0 = rest;
        Ok(taken)
    }

    fn length(&mut self) -> Result<usize, String> {
        self.take().map(|length| u32::from_le_bytes(length) as usize)
    }

    fn take<const LENGTH: usize>(&mut self) -> Result<[u8; LENGTH], String> {
        let (taken, rest) = self.0.split_first_chunk().ok_or_else(|| self.too_short(LENGTH))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn too_short(&self, wanted: usize) -> String {
        format!("the block should go on with {wanted} bytes, and ends after {}", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnKind, Table, Value};

    fn table() -> DeclaredTable {
        use ColumnKind::{Boolean, Bytes, Date, Decimal, Double, Integer, Json, Text, Timestamp};
        let kinds = [Text, Boolean, Integer, Double, Decimal, Bytes, Date, Timestamp, Json];
        let column = |(number, kind)| Column { name: format!("c{number}"), kind, nullable: number > 0 };
        let columns = kinds.into_iter().enumerate().map(column).collect();
        DeclaredTable::new(Table { name: "t".into(), columns, key: vec!["c0".into(), "c2".into()], ..Table::default() })
    }

    fn long(case: u8, content: &[u8]) -> Vec<u8> {
        [&[case][..], &u32::try_from(content.len()).unwrap().to_le_bytes(), content].concat()
    }

    /// A value of every case but null, in the columns' order.
    fn values() -> Vec<Vec<u8>> {
        let number = |case: u8, bytes: [u8; 8]| [&[case][..], &bytes].concat();
        vec![
            long(5, "é".as_bytes()),
            vec![1, 1],
            number(2, (-7_i64).to_le_bytes()),
            number(3, 0.5_f64.to_le_bytes()),
            long(4, b"-1.50"),
            long(6, &[0, 255]),
            long(7, b"2026-02-03"),
            long(8, b"2026-02-03T10:00:00Z"),
            long(9, b"[1]"),
        ]
    }

    fn block(values: &[Vec<u8>]) -> Vec<u8> {
        [&u32::try_from(values.len()).unwrap().to_le_bytes()[..], &values.concat()].concat()
    }

    fn refused(block: &[u8]) -> String {
        Block::new(block).row(&table()).unwrap().unwrap_err()
    }

    #[test]
    fn rows_are_read_until_the_block_ends() {
        let nulls: Vec<Vec<u8>> = values()
            .into_iter()
            .enumerate()
            .map(|(at, value)| if [0, 2].contains(&at) { value } else { vec![0] })
            .collect();
        let both = [block(&values()), block(&nulls)].concat();
        let mut both = Block::new(&both);
        let (row, size) = both.row(&table()).unwrap().unwrap();
        let expected = [
            Value::Text("é".into()),
            Value::Boolean(true),
            Value::Integer(-7),
            Value::Double(0.5),
            Value::Decimal("-1.50".into()),
            Value::Bytes(vec![0, 255]),
            Value::Date("2026-02-03".into()),
            Value::Timestamp("2026-02-03T10:00:00.000000Z".into()),
            Value::Json("[1]".into()),
        ];
        assert_eq!(row, expected);
        assert!(size > 9 * size_of::<Value>());
        let (row, _) = both.row(&table()).unwrap().unwrap();
        assert_eq!(row[1..4], [Value::Null, Value::Integer(-7), Value::Null]);
        assert!(both.row(&table()).is_none());
    }

    #[test]
    fn a_row_is_as_wide_as_the_table() {
        assert_eq!(refused(&block(&values()[..8])), "the row has 8 values, and the table 9 columns");
        assert_eq!(refused(&u32::MAX.to_le_bytes()), "the row has 4294967295 values, and the table 9 columns");
    }

    #[test]
    fn a_value_is_what_the_contract_says() {
        let with = |at: usize, value: Vec<u8>| {
            let mut values = values();
            values[at] = value;
            refused(&block(&values))
        };
        assert_eq!(with(1, vec![1, 2]), "column `c1`: a boolean is a byte 0 or 1, not 2");
        assert_eq!(with(1, vec![10]), "column `c1`: no value begins with a byte 10");
        assert!(with(0, long(5, &[0xff])).starts_with("column `c0`: not UTF-8"));
        assert_eq!(with(1, long(5, b"x")), "column `c1`: holds boolean, and the value is text");
        assert_eq!(with(2, vec![0]), "column `c2` is part of the key and must not be null");
        let endless = [&[5][..], &u32::MAX.to_le_bytes()].concat();
        assert_eq!(with(8, endless), "column `c8`: the block should go on with 4294967295 bytes, and ends after 0");
    }

    #[test]
    fn a_block_that_is_cut_off_anywhere_is_refused() {
        let whole = block(&values());
        for length in 1..whole.len() {
            assert!(refused(&whole[..length]).contains("the block should go on with"), "{length}");
        }
    }
}

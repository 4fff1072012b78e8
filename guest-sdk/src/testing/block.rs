//! Reads blocks of rows, and refuses what the host would refuse.

use crate::bindings::pillowtop::processor::types as raw;

const UNEVEN: &str = "a row has fewer or more values than it says";

pub(super) fn rows(mut block: &[u8]) -> Vec<raw::Row> {
    let mut rows = Vec::new();
    while !block.is_empty() {
        let count = length(&mut block);
        rows.push(raw::Row { values: (0..count).map(|_| value(&mut block)).collect() });
    }
    rows
}

fn value(block: &mut &[u8]) -> raw::Value {
    let [case] = take(block);
    let text = |block: &mut &[u8]| String::from_utf8(long(block)).expect("texts of a block are UTF-8");
    match case {
        0 => raw::Value::Null,
        1 => raw::Value::Boolean(take(block) == [1]),
        2 => raw::Value::Integer(i64::from_le_bytes(take(block))),
        3 => raw::Value::Double(f64::from_le_bytes(take(block))),
        4 => raw::Value::Decimal(text(block)),
        5 => raw::Value::Text(text(block)),
        6 => raw::Value::Bytes(long(block)),
        7 => raw::Value::Date(text(block)),
        8 => raw::Value::Timestamp(text(block)),
        9 => raw::Value::Json(long(block)),
        case => unreachable!("no value begins with {case}: {UNEVEN}"),
    }
}

fn long(block: &mut &[u8]) -> Vec<u8> {
    let length = length(block);
    let (content, rest) = block.split_at_checked(length).expect(UNEVEN);
    *block = rest;
    content.to_vec()
}

fn length(block: &mut &[u8]) -> usize {
    u32::from_le_bytes(take(block)) as usize
}

fn take<const LENGTH: usize>(block: &mut &[u8]) -> [u8; LENGTH] {
    let (taken, rest) = block.split_first_chunk().expect(UNEVEN);
    *block = rest;
    *taken
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Row, Rows, Value};

    fn raw_rows(rows: &[Row]) -> String {
        let rows: Vec<raw::Row> = rows.iter().cloned().map(crate::value::raw_row).collect();
        format!("{rows:?}")
    }

    #[test]
    fn what_was_written_is_read() {
        let every = vec![
            Value::Null,
            Value::Boolean(true),
            Value::Integer(-7),
            Value::Double(0.5),
            Value::Decimal("-1.50".to_owned()),
            Value::Text("é\n".to_owned()),
            Value::Bytes(vec![0, 255]),
            Value::Date("2026-02-03".to_owned()),
            Value::Timestamp("2026-02-03T10:00:00.000000Z".to_owned()),
            Value::Json(b"[1]".to_vec()),
        ];
        let written = [every, vec![], vec![Value::Text(String::new())]];
        let block = written.iter().cloned().collect::<Rows>().into_bytes();
        assert_eq!(format!("{:?}", rows(&block)), raw_rows(&written));
        assert_eq!(format!("{:?}", rows(&[])), "[]");
    }

    #[test]
    #[should_panic(expected = "a row has fewer or more values than it says")]
    fn a_row_with_more_values_than_it_says_is_refused() {
        let mut wrong = Rows::new();
        wrong.begin(1);
        wrong.integer(1);
        wrong.integer(0x7f);
        rows(&wrong.into_bytes());
    }
}

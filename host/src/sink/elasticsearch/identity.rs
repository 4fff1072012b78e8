//! Takes the member `_id` out of a document: the id stands beside the document, and servers refuse it inside.
//!
//! The text is looked through, not parsed: what is found is cut out, and every other byte stays as it is.

use std::ops::Range;

/// Where the member `_id` of the outermost object stands, with one of the commas around it. None also for what is no
/// JSON object: the server says so in its own words.
pub(super) fn member(document: &[u8]) -> Option<Range<usize>> {
    const KEY: &[u8] = b"\"_id\"";
    let mut at = blank(document, 0);
    if document.get(at) != Some(&b'{') {
        return None;
    }
    at = blank(document, at + 1);
    let mut comma = None;
    loop {
        let start = at;
        let key_end = string(document, at)?;
        at = blank(document, key_end);
        if document.get(at) != Some(&b':') {
            return None;
        }
        let end = value(document, blank(document, at + 1))?;
        at = blank(document, end);
        let next = (document.get(at) == Some(&b',')).then_some(at);
        if &document[start..key_end] == KEY {
            return Some(match (comma, next) {
                (Some(comma), _) => comma..end,
                (None, Some(next)) => start..next + 1,
                (None, None) => start..end,
            });
        }
        comma = Some(next?);
        at = blank(document, at + 1);
    }
}

/// Past blanks.
fn blank(document: &[u8], mut at: usize) -> usize {
    while document.get(at).is_some_and(u8::is_ascii_whitespace) {
        at += 1;
    }
    at
}

/// Past a text.
fn string(document: &[u8], at: usize) -> Option<usize> {
    if document.get(at) != Some(&b'"') {
        return None;
    }
    let mut at = at + 1;
    loop {
        match document.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Past a value.
fn value(document: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match document.get(at)? {
            b'"' => at = string(document, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
                continue;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            _ if depth > 0 => {
                at += 1;
                continue;
            }
            _ => {
                let end = |byte: &u8| matches!(byte, b',' | b'}' | b']') || byte.is_ascii_whitespace();
                let length = document[at..].iter().position(end)?;
                return (length > 0).then_some(at + length);
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn cut(document: &str) -> String {
        let mut text = document.to_owned();
        if let Some(range) = member(document.as_bytes()) {
            text.replace_range(range, "");
        }
        text
    }

    #[test]
    fn the_member_goes_with_one_comma() {
        assert_eq!(cut(r#"{"_id":"a","b":1}"#), r#"{"b":1}"#);
        assert_eq!(cut(r#"{"b":1,"_id":"a"}"#), r#"{"b":1}"#);
        assert_eq!(cut(r#"{"b":[1,{"_id":2}] , "_id" : {"x":"}"} ,"c":null}"#), r#"{"b":[1,{"_id":2}]  ,"c":null}"#);
        assert_eq!(cut(r#"{"_id":7}"#), "{}");
    }

    #[test]
    fn what_is_deeper_or_is_a_value_stays() {
        for text in
            [r#"{"a":{"_id":1}}"#, r#"{"a":"_id","b":"\"_id\":"}"#, "{}", "{ }", r#"{"_id"#, "[1]", "", "{\"a\\"]
        {
            assert_eq!(cut(text), text);
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let key = prop_oneof![Just("_id".to_owned()), "[a-z\"\\\\,:{}]{0,3}"];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~é\\n]{0,6}".prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 24, 5, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map(key.clone(), inner, 0..5)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn nothing_else_of_any_document_is_touched(document in json(), pretty in any::<bool>()) {
            let text = if pretty { format!("{document:#}") } else { document.to_string() };
            let mut expected = document;
            if let Some(object) = expected.as_object_mut() {
                object.remove("_id");
            }
            prop_assert_eq!(serde_json::from_str::<Value>(&cut(&text)).unwrap(), expected);
        }

        #[test]
        fn no_bytes_break_it(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            member(&bytes);
        }
    }
}

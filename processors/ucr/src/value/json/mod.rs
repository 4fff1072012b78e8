//! Reads JSON into values.
//!
//! Not `serde_json`: that makes floats of long integers, and copies what this reader borrows.

mod skip;

use num_bigint::BigInt;
use std::rc::Rc;

use skip::plain_end;

use super::dict::Entry;
use super::name::hash;
use super::{Dict, Parts, Reads, Text, Value};
use crate::number::MOST_INTEGER_DIGITS;

/// Deeper documents are refused.
pub const MOST_DEPTH: usize = 200;

const TOO_MANY_DIGITS: &str = "an integer with too many digits";

/// Why a text is no JSON document, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no JSON at byte {at}: {problem}")]
pub struct JsonError {
    pub at: usize,
    pub problem: &'static str,
}

/// Reads one document. Of equal keys the last one counts. Half of a surrogate pair, which Python keeps and UTF-8
/// cannot hold, becomes U+FFFD.
///
/// # Errors
///
/// What is no JSON, nested deeper than [`MOST_DEPTH`], or has an integer of more digits than can be converted.
pub fn parse(json: &str) -> Result<Value<'_>, JsonError> {
    parse_parts(json, &Reads::All)
}

/// As [`parse`], but of dicts only what is read; the rest is checked and left out.
///
/// # Errors
///
/// As for [`parse`], also in what is left out.
pub fn parse_parts<'a>(json: &'a str, reads: &Reads) -> Result<Value<'a>, JsonError> {
    let mut reader = Reader { json, bytes: json.as_bytes(), at: 0, depth: 0, values: Vec::new(), entries: Vec::new() };
    reader.skip_whitespace();
    let value = reader.read(reads)?;
    reader.skip_whitespace();
    if reader.at < reader.bytes.len() { Err(reader.error("text behind the document")) } else { Ok(value) }
}

struct Reader<'a> {
    json: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
    /// Elements and entries of the lists and dicts that are open, so that each gets one allocation of its size.
    values: Vec<Value<'a>>,
    entries: Vec<Entry<'a>>,
}

/// The byte there; behind the end 0, which no value, key or sign of JSON is.
#[inline(always)]
fn byte(bytes: &[u8], at: usize) -> u8 {
    bytes.get(at).copied().unwrap_or(0)
}

/// Where no space is any more.
#[inline(always)]
fn space_end(bytes: &[u8], mut at: usize) -> usize {
    // Most documents have none: one comparison says so.
    while byte(bytes, at) <= b' ' && matches!(byte(bytes, at), b' ' | b'\n' | b'\t' | b'\r') {
        at += 1;
    }
    at
}

impl<'a> Reader<'a> {
    fn error(&self, problem: &'static str) -> JsonError {
        self.error_at(self.at, problem)
    }

    #[cold]
    fn error_at(&self, at: usize, problem: &'static str) -> JsonError {
        JsonError { at, problem }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_whitespace(&mut self) {
        self.at = space_end(self.bytes, self.at);
    }

    fn read(&mut self, reads: &Reads) -> Result<Value<'a>, JsonError> {
        match reads {
            Reads::Parts(parts) if self.peek() == Some(b'{') => self.nested(|reader| reader.dict(Some(parts))),
            _ => self.value(),
        }
    }

    fn value(&mut self) -> Result<Value<'a>, JsonError> {
        // What most values are, before the jump to the others.
        if self.peek() == Some(b'"') {
            self.at += 1;
            return self.text().map(Value::Str);
        }
        match self.peek() {
            Some(b'{') => self.nested(|reader| reader.dict(None)),
            Some(b'[') => self.nested(Self::list),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            Some(_) => Err(self.error("no value begins like this")),
            None => Err(self.error("the text ends where a value should stand")),
        }
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, JsonError> {
        if self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(word.as_bytes())) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.error("no value begins like this"))
        }
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, JsonError>) -> Result<T, JsonError> {
        if self.depth == MOST_DEPTH {
            return Err(self.error("nested too deep"));
        }
        self.at += 1;
        self.depth += 1;
        self.skip_whitespace();
        let value = read(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn list(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.values.len();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::list(Vec::new()));
        }
        loop {
            let value = self.value()?;
            self.values.push(value);
            let is_last;
            (is_last, self.at) = self.end_or_next(self.at, b']')?;
            if is_last {
                break;
            }
        }
        Ok(Value::list(self.values.drain(start..).collect()))
    }

    /// A dict from its first key on: all of it, or of the parts only.
    fn dict(&mut self, parts: Option<&Parts>) -> Result<Value<'a>, JsonError> {
        let first = self.entries.len();
        // The place is kept out of `self`, here and where values are skipped: what lies there goes through memory.
        let mut at = self.at;
        if byte(self.bytes, at) == b'}' {
            self.at += 1;
            return Ok(Value::dict(Dict::default()));
        }
        loop {
            let key;
            (key, at) = self.key(at)?;
            let hash = hash(&key);
            let reads = parts.map_or(Some(&Reads::All), |parts| parts.get(&key, hash));
            if let Some(reads) = reads {
                self.at = at;
                let value = self.read(reads)?;
                at = self.at;
                self.entries.push(Entry { key: Value::Str(key), value, hash });
            } else {
                at = self.value_end(at)?;
            }
            let is_last;
            (is_last, at) = self.end_or_next(at, b'}')?;
            if is_last {
                break;
            }
        }
        self.at = at;
        Ok(Value::dict(Dict::from_entries(self.entries.drain(first..).collect())))
    }

    /// A key, and where its value begins.
    #[inline(always)]
    fn key(&mut self, at: usize) -> Result<(Text<'a>, usize), JsonError> {
        let start = self.opening_quote(at)?;
        let end = plain_end(self.bytes, start);
        if byte(self.bytes, end) == b'"' {
            let key = Text::Borrowed(self.json.get(start..end).unwrap_or_default());
            return Ok((key, self.colon_end(end + 1)?));
        }
        self.at = start;
        let key = self.text()?;
        Ok((key, self.colon_end(self.at)?))
    }

    #[inline(always)]
    fn opening_quote(&mut self, at: usize) -> Result<usize, JsonError> {
        if byte(self.bytes, at) == b'"' { Ok(at + 1) } else { Err(self.error_at(at, "expected a key in quotes")) }
    }

    /// Behind the colon that follows a key, and behind the space around it.
    #[inline(always)]
    fn colon_end(&mut self, at: usize) -> Result<usize, JsonError> {
        let at = space_end(self.bytes, at);
        if byte(self.bytes, at) != b':' {
            return Err(self.error_at(at, "expected : behind a key"));
        }
        Ok(space_end(self.bytes, at + 1))
    }

    /// Behind an element or entry: whether it was the last one, and where to go on.
    #[inline(always)]
    fn end_or_next(&mut self, at: usize, end: u8) -> Result<(bool, usize), JsonError> {
        let at = space_end(self.bytes, at);
        let found = byte(self.bytes, at);
        if found == b',' {
            Ok((false, space_end(self.bytes, at + 1)))
        } else if found == end {
            Ok((true, at + 1))
        } else if end == b'}' {
            Err(self.error_at(at, "expected , or } in an object"))
        } else {
            Err(self.error_at(at, "expected , or ] in a list"))
        }
    }

    /// Behind the opening quote.
    fn text(&mut self) -> Result<Text<'a>, JsonError> {
        let start = self.at;
        let run = self.plain_run();
        if self.peek() == Some(b'"') {
            self.at += 1;
            return Ok(Text::Borrowed(self.json.get(start..start + run).unwrap_or_default()));
        }
        let mut unescaped = String::with_capacity(run + 16);
        unescaped.push_str(self.json.get(start..start + run).unwrap_or_default());
        loop {
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(Text::Shared(Rc::from(unescaped)));
                }
                Some(b'\\') => {
                    self.at += 1;
                    unescaped.push(self.escape()?);
                }
                Some(_) => return Err(self.error("a control character in a text")),
                None => return Err(self.error("a text without an end")),
            }
            let start = self.at;
            let run = self.plain_run();
            unescaped.push_str(self.json.get(start..start + run).unwrap_or_default());
        }
    }

    /// Goes on to the next quote, backslash or control character, and says how many bytes that were.
    fn plain_run(&mut self) -> usize {
        let start = self.at;
        self.at = plain_end(self.bytes, start);
        self.at - start
    }

    fn escape(&mut self) -> Result<char, JsonError> {
        let Some(byte) = self.peek() else { return Err(self.error("a text without an end")) };
        self.at += 1;
        Ok(match byte {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode_escape(),
            _ => return Err(self.error("an unknown escape")),
        })
    }

    fn unicode_escape(&mut self) -> Result<char, JsonError> {
        let high = self.four_digits()?;
        if (0xd800..0xdc00).contains(&high) && self.bytes.get(self.at..self.at + 2) == Some(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.four_digits()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn four_digits(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at..self.at + 4).unwrap_or_default();
        let mut code = 0;
        for digit in digits {
            let digit =
                char::from(*digit).to_digit(16).ok_or_else(|| self.error("expected four hexadecimal digits"))?;
            code = code * 16 + digit;
        }
        if digits.len() < 4 {
            return Err(self.error("a text without an end"));
        }
        self.at += 4;
        Ok(code)
    }

    fn number(&mut self) -> Result<Value<'a>, JsonError> {
        let start = self.at;
        let (_, is_integer) = self.number_text()?;
        let text = self.json.get(start..self.at).unwrap_or_default();
        if !is_integer {
            return text.parse().ok().map(Value::Float).ok_or_else(|| self.error("no number is written like this"));
        }
        if let Ok(integer) = text.parse() {
            return Ok(Value::Int(integer));
        }
        if text.len() > MOST_INTEGER_DIGITS {
            return Err(self.error(TOO_MANY_DIGITS));
        }
        let integer = text.parse::<BigInt>().ok();
        integer.map(Value::from_big).ok_or_else(|| self.error("no number is written like this"))
    }

    /// Goes behind a number, and says how long it is and whether it is an integer.
    fn number_text(&mut self) -> Result<(usize, bool), JsonError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let whole = self.digits();
        let leading_zero = whole > 1 && self.bytes.get(self.at - whole) == Some(&b'0');
        if whole == 0 || leading_zero {
            return Err(self.error("no number is written like this"));
        }
        let mut is_integer = true;
        if self.peek() == Some(b'.') {
            self.at += 1;
            is_integer = false;
            if self.digits() == 0 {
                return Err(self.error("no digit behind the point"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            is_integer = false;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.error("no digit in the exponent"));
            }
        }
        Ok((self.at - start, is_integer))
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(json: &str) -> &'static str {
        parse(json).unwrap_err().problem
    }

    #[test]
    fn integers_keep_all_their_digits_and_floats_stay_floats() {
        assert!(matches!(parse("99999999999999999999").unwrap(), Value::Big(_)));
        assert!(matches!(parse("-9223372036854775808").unwrap(), Value::Int(i64::MIN)));
        assert!(matches!(parse("2.0").unwrap(), Value::Float(_)));
        assert!(matches!(parse("1e400").unwrap(), Value::Float(f) if f.is_infinite()));
    }

    #[test]
    fn texts_without_escapes_are_borrowed() {
        let Value::Str(text) = parse(r#""plain é""#).unwrap() else { panic!() };
        assert!(matches!(text, Text::Borrowed("plain é")));
        assert_eq!(parse(r#""\ud83d\ude00\n\u00e9\ud800x""#).unwrap().as_str(), Some("😀\né\u{fffd}x"));
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for json in [
            "",
            "{",
            "[1,",
            "[1 2]",
            "{\"a\" 1}",
            "{a:1}",
            "\"",
            "\"\\x\"",
            "\"\\u12\"",
            "01",
            "1.",
            "1e",
            "-",
            "nul",
            "1 2",
        ] {
            assert!(parse(json).is_err(), "{json}");
        }
        assert_eq!(parse("[1, }").unwrap_err().at, 4);
    }

    #[test]
    fn what_is_too_deep_or_too_long_is_refused() {
        assert_eq!(refused(&"[".repeat(100_000)), "nested too deep");
        assert!(parse(&format!("{}{}", "[".repeat(MOST_DEPTH), "]".repeat(MOST_DEPTH))).is_ok());
        assert_eq!(refused(&"9".repeat(MOST_INTEGER_DIGITS + 1)), "an integer with too many digits");
    }
}

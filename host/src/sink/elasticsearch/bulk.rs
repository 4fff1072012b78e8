//! The body of a bulk request: for each write a line that says what to do, and the document as it is.
//!
//! Documents are copied, not parsed: they are JSON already, and a line break in JSON can only be a blank between its
//! parts.

use super::identity;
use crate::model::WriteVersion;

/// The most bytes of an id, as Elasticsearch has it.
const LONGEST_ID: usize = 512;

/// One write of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Action<'a> {
    pub(super) id: &'a str,
    /// None: it is deleted.
    pub(super) document: Option<&'a [u8]>,
    pub(super) guard: Guard,
}

/// What must be true of the document that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Guard {
    /// Its version is not greater.
    Version(WriteVersion),
    /// It is the one that was read.
    Seen { seq_no: u64, primary_term: u64 },
    /// There is none.
    Absent,
}

impl Action<'_> {
    /// About how many bytes it takes.
    pub(super) fn size(&self) -> usize {
        const LINE: usize = 80;
        LINE + self.id.len() + self.document.map_or(0, <[u8]>::len)
    }

    /// Appends its lines.
    pub(super) fn append(&self, body: &mut Vec<u8>) {
        let verb: &[u8] = match (self.document, self.guard) {
            (None, _) => br#"{"delete":{"_id":"#,
            (Some(_), Guard::Absent) => br#"{"create":{"_id":"#,
            (Some(_), _) => br#"{"index":{"_id":"#,
        };
        body.extend_from_slice(verb);
        append_text(self.id, body);
        match self.guard {
            Guard::Version(version) => {
                body.extend_from_slice(br#","version":"#);
                append_number(version.0, body);
                body.extend_from_slice(br#","version_type":"external_gte""#);
            }
            Guard::Seen { seq_no, primary_term } => {
                body.extend_from_slice(br#","if_seq_no":"#);
                append_number(seq_no, body);
                body.extend_from_slice(br#","if_primary_term":"#);
                append_number(primary_term, body);
            }
            Guard::Absent => {}
        }
        body.extend_from_slice(b"}}\n");
        if let Some(document) = self.document {
            let start = body.len();
            match identity::member(document) {
                None => body.extend_from_slice(document),
                Some(member) => {
                    body.extend_from_slice(&document[..member.start]);
                    body.extend_from_slice(&document[member.end..]);
                }
            }
            if document.contains(&b'\n') || document.contains(&b'\r') {
                for byte in &mut body[start..] {
                    if matches!(*byte, b'\n' | b'\r') {
                        *byte = b' ';
                    }
                }
            }
            body.push(b'\n');
        }
    }
}

/// Why a write cannot be part of a request, where it would spoil the others.
///
/// # Errors
/// The reason.
pub(super) fn check(id: &str, document: Option<&[u8]>) -> Result<(), String> {
    if id.is_empty() || id.len() > LONGEST_ID {
        return Err(format!("an id has 1 to {LONGEST_ID} bytes, and this one {}", id.len()));
    }
    if let Some(document) = document {
        let trimmed = document.trim_ascii();
        if !(trimmed.starts_with(b"{") && trimmed.ends_with(b"}")) {
            return Err("the document is not a JSON object".to_owned());
        }
    }
    Ok(())
}

/// Text as JSON.
fn append_text(text: &str, body: &mut Vec<u8>) {
    let plain = |byte: u8| byte >= b' ' && byte != b'"' && byte != b'\\';
    if text.bytes().all(plain) {
        body.push(b'"');
        body.extend_from_slice(text.as_bytes());
        body.push(b'"');
    } else {
        serde_json::to_writer(body, text).expect("text goes into memory");
    }
}

fn append_number(mut number: u64, body: &mut Vec<u8>) {
    const MOST_DIGITS: usize = 20;
    let mut digits = [0; MOST_DIGITS];
    let mut at = MOST_DIGITS;
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    body.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(id: &str, document: Option<&str>, guard: Guard) -> String {
        let mut body = Vec::new();
        Action { id, document: document.map(str::as_bytes), guard }.append(&mut body);
        String::from_utf8(body).unwrap()
    }

    #[test]
    fn a_write_is_a_line_and_its_document() {
        let version = Guard::Version(WriteVersion(1_795_271_244_261_000));
        insta::assert_snapshot!([
            lines("a", Some(r#"{"_id":"a","n":1}"#), version),
            lines("a", None, version),
            lines("a", Some("{}"), Guard::Seen { seq_no: 0, primary_term: 12 }),
            lines("a", Some("{}"), Guard::Absent),
            lines("a\"b\\\n\u{e9}", None, Guard::Version(WriteVersion(u64::MAX >> 1))),
        ].concat(), @r#"
        {"index":{"_id":"a","version":1795271244261000,"version_type":"external_gte"}}
        {"n":1}
        {"delete":{"_id":"a","version":1795271244261000,"version_type":"external_gte"}}
        {"index":{"_id":"a","if_seq_no":0,"if_primary_term":12}}
        {}
        {"create":{"_id":"a"}}
        {}
        {"delete":{"_id":"a\"b\\\né","version":9223372036854775807,"version_type":"external_gte"}}
        "#);
    }

    #[test]
    fn a_document_of_several_lines_becomes_one() {
        let body = lines("a", Some("{\r\n  \"a\": \"x\\ny\"\n}"), Guard::Absent);
        assert_eq!(body.lines().nth(1), Some("{    \"a\": \"x\\ny\" }"));
        assert_eq!(body.lines().count(), 2);
    }

    #[test]
    fn what_would_spoil_a_request_stays_out() {
        assert_eq!(check("a", Some(b" {\"a\": 1}\n")), Ok(()));
        assert_eq!(check("a", None), Ok(()));
        for document in ["", " ", "[1]", "{", "null"] {
            assert!(check("a", Some(document.as_bytes())).is_err(), "{document}");
        }
        assert!(check("", None).is_err());
        assert!(check(&"x".repeat(513), None).is_err());
    }
}

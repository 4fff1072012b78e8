//! The case blocks of a form: the parts that create and change cases, at any depth.

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::date::is_date;
use crate::object::{self, Edit, Edits, Object, Writer, items};

/// How deep a form may be nested around a case block. Real forms stay below 20; what is deeper is refused, because
/// walking it would take the stack.
const DEEPEST: usize = 200;

/// A form whose case blocks were put right.
#[derive(Debug)]
pub struct Rewritten<'a> {
    /// The JSON of the form.
    pub form: Cow<'a, str>,
    /// The ids of its cases, each once, in the order of the form; empty when one of them cannot be read.
    pub case_ids: Vec<String>,
}

/// A form that cannot be walked.
#[derive(Debug, PartialEq, Eq)]
pub enum WalkError {
    /// It is nested too deep.
    TooDeep,
    /// It is no JSON that can be read.
    Json(String),
}

/// Puts the case blocks of a form right, so that the index can hold them.
///
/// A case block is an object with a `@case_id` or `case_id` that stands in a field `case`, alone or in a list. In each,
/// a date that is none becomes null where it was the empty text and is left out otherwise, and parts that should be
/// objects and are not become null.
///
/// # Errors
/// When the form is nested too deep, or broken.
pub fn rewrite(form: &str) -> Result<Rewritten<'_>, WalkError> {
    let mut walk = Walk { ids: Vec::new(), seen: BTreeSet::new(), unreadable: false };
    let form = if may_have_cases(form) {
        let mut out = String::with_capacity(form.len());
        walk.value(form, Place::Elsewhere, DEEPEST, &mut out)?;
        Cow::Owned(out)
    } else {
        Cow::Borrowed(form)
    };
    Ok(Rewritten { form, case_ids: if walk.unreadable { Vec::new() } else { walk.ids } })
}

impl WalkError {
    /// What is wrong, for people.
    pub fn message(&self) -> String {
        match self {
            Self::TooDeep => format!("the form is nested deeper than {DEEPEST}"),
            Self::Json(error) => format!("the form cannot be read: {error}"),
        }
    }
}

struct Walk {
    ids: Vec<String>,
    seen: BTreeSet<String>,
    unreadable: bool,
}

/// Where a value stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a field `case`, or in a list there.
    Case,
    /// Anywhere else.
    Elsewhere,
}

impl Walk {
    fn value(&mut self, json: &str, place: Place, depth: usize, out: &mut String) -> Result<(), WalkError> {
        let depth = depth.checked_sub(1).ok_or(WalkError::TooDeep)?;
        match json.as_bytes().first() {
            Some(b'{') => self.object(json, place, depth, out),
            Some(b'[') => self.list(json, place, depth, out),
            _ => {
                out.push_str(json);
                Ok(())
            }
        }
    }

    fn list(&mut self, json: &str, place: Place, depth: usize, out: &mut String) -> Result<(), WalkError> {
        out.push('[');
        for (position, item) in items(json).map_err(unreadable)?.into_iter().enumerate() {
            if position > 0 {
                out.push(',');
            }
            if place == Place::Case || may_have_cases(item) {
                self.value(item, place, depth, out)?;
            } else {
                out.push_str(item);
            }
        }
        out.push(']');
        Ok(())
    }

    fn object(&mut self, json: &str, place: Place, depth: usize, out: &mut String) -> Result<(), WalkError> {
        let object = Object::parse(json).map_err(unreadable)?;
        if place == Place::Case && (object.get("@case_id").is_some() || object.get("case_id").is_some()) {
            self.remember(&object);
            object.write(&block_edits(&object), out);
            return Ok(());
        }
        let mut writer = Writer::new(out);
        for (name, value) in object.fields() {
            let place = if name.as_str() == "case" { Place::Case } else { Place::Elsewhere };
            let out = writer.name(name);
            if place == Place::Case || may_have_cases(value) {
                self.value(value, place, depth, out)?;
            } else {
                out.push_str(value);
            }
        }
        writer.end();
        Ok(())
    }

    fn remember(&mut self, block: &Object<'_>) {
        let id = block.text("@case_id").or_else(|| block.text("case_id")).filter(|id| !id.is_empty());
        match id {
            None => self.unreadable = true,
            Some(id) => {
                if !self.seen.contains(id.as_ref()) {
                    self.seen.insert(id.clone().into_owned());
                    self.ids.push(id.into_owned());
                }
            }
        }
    }
}

/// Whether a value may have a field `case`: most parts of a form have none, and are passed on unread. With an escape
/// the name could be written in other ways.
fn may_have_cases(json: &str) -> bool {
    json.contains("\"case\"") || json.contains("\\u")
}

fn block_edits(block: &Object<'_>) -> Edits<'static> {
    let mut edits = Vec::new();
    for name in ["date_modified", "@date_modified"] {
        match block.get(name) {
            None => {}
            Some("\"\"") => edits.push((name, Edit::NULL)),
            Some(value) if object::text(value).is_some_and(|text| is_date(&text)) => {}
            Some(_) => edits.push((name, Edit::Remove)),
        }
    }
    for name in ["index", "attachment", "create", "update"] {
        if block.get(name).is_some_and(|value| !value.starts_with('{')) {
            edits.push((name, Edit::NULL));
        }
    }
    edits
}

#[expect(clippy::needless_pass_by_value, reason = "it is the argument of map_err")]
fn unreadable(error: serde_json::Error) -> WalkError {
    WalkError::Json(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(form: &str, expected: &str, case_ids: &[&str]) {
        let rewritten = rewrite(form).unwrap();
        assert_eq!(rewritten.form, expected);
        assert_eq!(rewritten.case_ids, case_ids, "{form}");
    }

    #[test]
    fn one_block_and_a_list_of_blocks_both_give_the_ids() {
        // Acceptance case 91.
        check(r#"{"case":{"@case_id":"a"}}"#, r#"{"case":{"@case_id":"a"}}"#, &["a"]);
        let list = r#"{"case":[{"@case_id":"a"},{"case_id":"b"},{"@case_id":"a"}]}"#;
        check(list, list, &["a", "b"]);
    }

    #[test]
    fn blocks_are_found_at_any_depth_and_in_repeats() {
        let form = r#"{"g":{"child":[{"case":{"@case_id":"a"}},{"x":1.0,"sub":{"case":{"@case_id":"b","update":{"case":"no"}}}}]},"case":{"@case_id":"c"}}"#;
        check(form, form, &["a", "b", "c"]);
    }

    #[test]
    fn a_question_named_case_is_no_block_but_may_hold_one() {
        let form = r#"{"case":{"case_type":"malaria","inner":{"case":{"@case_id":"a"}}},"y":{"case":"text"}}"#;
        check(form, form, &["a"]);
    }

    #[test]
    fn a_date_without_day_or_no_date_at_all_is_accepted() {
        // Acceptance case 90.
        check(r#"{"case":{"@case_id":"a","@date_modified":"13:54Z"}}"#, r#"{"case":{"@case_id":"a"}}"#, &["a"]);
        let bare = r#"{"case":{"@case_id":"a","@xmlns":"http://commcarehq.org/case/transaction/v2"}}"#;
        check(bare, bare, &["a"]);
    }

    #[test]
    fn an_empty_date_and_empty_parts_become_null() {
        // Acceptance case 93.
        check(
            r#"{"case":{"@case_id":"a","date_modified":"","@date_modified":"","index":"","create":"","update":"","attachment":""}}"#,
            r#"{"case":{"@case_id":"a","date_modified":null,"@date_modified":null,"index":null,"create":null,"update":null,"attachment":null}}"#,
            &["a"],
        );
    }

    #[test]
    fn good_dates_and_parts_stay_and_other_dates_go() {
        let good = r#"{"case":{"@case_id":"a","@date_modified":"2013-03-09T06:30:09.007000Z","update":{"n":1.50}}}"#;
        check(good, good, &["a"]);
        check(r#"{"case":{"@case_id":"a","date_modified":5}}"#, r#"{"case":{"@case_id":"a"}}"#, &["a"]);
        check(r#"{"case":{"@case_id":"a","date_modified":null}}"#, r#"{"case":{"@case_id":"a"}}"#, &["a"]);
        check(r#"{"case":{"@case_id":"a","index":[1]}}"#, r#"{"case":{"@case_id":"a","index":null}}"#, &["a"]);
    }

    #[test]
    fn a_block_without_readable_id_makes_the_list_empty() {
        let form = r#"{"case":[{"@case_id":"a"},{"@case_id":{"x":1}}]}"#;
        check(form, form, &[]);
        let empty = r#"{"case":[{"@case_id":"a"},{"case_id":""}]}"#;
        check(empty, empty, &[]);
    }

    #[test]
    fn an_escaped_name_is_found_too() {
        check(r#"{"c\u0061se":{"@case_id":"\u0061\n"}}"#, r#"{"case":{"@case_id":"\u0061\n"}}"#, &["a\n"]);
    }

    #[test]
    fn deep_nesting_around_a_case_is_refused_and_elsewhere_passed_on() {
        let deep = |inner: &str| format!("{{\"g\":{}{inner}{}}}", "[".repeat(5000), "]".repeat(5000));
        assert_eq!(rewrite(&deep(r#"{"case":1}"#)).unwrap_err(), WalkError::TooDeep);
        let plain = deep("1");
        check(&plain, &plain, &[]);
    }
}

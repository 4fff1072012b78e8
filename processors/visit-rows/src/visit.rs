//! What a form says about a visit: the pure core, which knows forms and no tables.

use std::borrow::Cow;

use jiff::{Timestamp, Unit};
use serde::Deserialize;
use serde::de::IgnoredAny;

/// A form, as far as it matters here. Everything else in it is skipped without being built up.
#[derive(Debug, Deserialize)]
pub struct Form<'a> {
    #[serde(borrow)]
    doc_type: Cow<'a, str>,
    #[serde(borrow)]
    xmlns: Option<Cow<'a, str>>,
    #[serde(borrow)]
    domain: Option<Cow<'a, str>>,
    #[serde(borrow)]
    received_on: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    form: Body<'a>,
}

/// One visit of one case. A form that updates several cases reports several visits, one that updates none reports one.
#[derive(Debug, PartialEq, Eq)]
pub struct Visit<'a> {
    /// Which of the form's visits it is, from 0.
    pub number: u32,
    /// The case that was visited.
    pub case_id: Option<&'a str>,
    /// The project space.
    pub domain: Option<&'a str>,
    /// Who visited.
    pub user_id: Option<&'a str>,
    /// When the form was begun, RFC 3339.
    pub started_at: Option<&'a str>,
    /// When the form was finished, RFC 3339.
    pub visited_at: Option<&'a str>,
    /// When the server received the form, RFC 3339.
    pub received_at: Option<&'a str>,
}

#[derive(Debug, Default, Deserialize)]
struct Body<'a> {
    #[serde(borrow, default)]
    meta: Meta<'a>,
    #[serde(borrow, default)]
    case: OneOrMany<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Meta<'a> {
    #[serde(borrow, rename = "timeStart")]
    time_start: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "timeEnd")]
    time_end: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "userID")]
    user_id: Option<Cow<'a, str>>,
}

#[derive(Debug, Default, Deserialize)]
struct CaseBlock<'a> {
    // Forms of before 2011 write the id without the sign of an attribute.
    #[serde(borrow, alias = "case_id", rename = "@case_id")]
    case_id: Option<Cow<'a, str>>,
}

/// XML does not tell a list of one from a single element, so neither does the JSON made of it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany<'a> {
    Many(#[serde(borrow)] Vec<CaseBlock<'a>>),
    One(#[serde(borrow)] CaseBlock<'a>),
    /// An empty element is an empty text; that, like anything else that is no case block, names no case.
    NoCase(IgnoredAny),
}

impl Form<'_> {
    /// Whether it counts: archived, duplicate and deleted forms do not.
    pub fn counts(&self) -> bool {
        self.doc_type == "XFormInstance"
    }

    /// Its kind.
    pub fn xmlns(&self) -> Option<&str> {
        self.xmlns.as_deref()
    }

    /// The visits that it reports.
    pub fn visits(&self) -> Vec<Visit<'_>> {
        let visit = |(number, case_id)| Visit {
            number,
            case_id,
            domain: given(self.domain.as_ref()),
            user_id: given(self.form.meta.user_id.as_ref()),
            started_at: given(self.form.meta.time_start.as_ref()),
            visited_at: given(self.form.meta.time_end.as_ref()),
            received_at: given(self.received_on.as_ref()),
        };
        (0..).zip(self.form.case.ids()).map(visit).collect()
    }
}

impl Visit<'_> {
    /// How long the form was open, in whole minutes; none where a time is not given. Negative where the phone's clock
    /// was put back meanwhile.
    ///
    /// # Errors
    /// When a time is given that is no time.
    pub fn minutes(&self) -> Result<Option<i64>, jiff::Error> {
        let (Some(started_at), Some(visited_at)) = (self.started_at, self.visited_at) else {
            return Ok(None);
        };
        let (started_at, visited_at): (Timestamp, Timestamp) = (started_at.parse()?, visited_at.parse()?);
        Ok(Some(started_at.until((Unit::Minute, visited_at))?.get_minutes()))
    }
}

/// XML does not tell an empty element from one that is not filled in: an empty text is no answer.
fn given<'a>(text: Option<&'a Cow<'_, str>>) -> Option<&'a str> {
    text.map(AsRef::as_ref).filter(|text: &&str| !text.is_empty())
}

impl OneOrMany<'_> {
    fn ids(&self) -> Vec<Option<&str>> {
        match self {
            Self::Many(blocks) => blocks.iter().map(|block| given(block.case_id.as_ref())).collect(),
            Self::One(block) => vec![given(block.case_id.as_ref())],
            Self::NoCase(_) => vec![None],
        }
    }
}

impl Default for OneOrMany<'_> {
    fn default() -> Self {
        Self::NoCase(IgnoredAny)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &[Option<&str>]) {
        let text = format!(r#"{{"doc_type":"XFormInstance","xmlns":"http://x.example/v","form":{body}}}"#);
        let form: Form<'_> = serde_json::from_str(&text).unwrap();
        let ids: Vec<Option<&str>> = form.visits().iter().map(|visit| visit.case_id).collect();
        assert_eq!(ids, expected, "{body}");
    }

    #[test]
    fn each_case_block_is_a_visit_and_a_form_without_one_too() {
        check(r#"{"case":{"@case_id":"c1","update":{"a":"b"}}}"#, &[Some("c1")]);
        check(r#"{"case":[{"@case_id":"c1"},{"@case_id":"c2"}]}"#, &[Some("c1"), Some("c2")]);
        check(r#"{"case":{"case_id":"old"}}"#, &[Some("old")]);
        check(r#"{"case":""}"#, &[None]);
        check(r#"{"case":{"case_type":"no id"}}"#, &[None]);
        check(r#"{"case":{"@case_id":""}}"#, &[None]);
        check(r#"{"case":[]}"#, &[]);
        check("{}", &[None]);
    }

    #[test]
    fn what_the_form_says_is_read_with_its_escapes() {
        let text = r#"{"doc_type":"XFormInstance","domain":"clinic-\u0061","received_on":"2026-02-03T10:00:01Z",
            "form":{"name":"\ud83d\ude00","meta":{"timeStart":"2026-02-03T09:00:00+05:30",
            "timeEnd":"2026-02-03T10:00:00+05:30","userID":"u\"1"}}}"#;
        let form: Form<'_> = serde_json::from_str(text).unwrap();
        let expected = Visit {
            number: 0,
            case_id: None,
            domain: Some("clinic-a"),
            user_id: Some("u\"1"),
            started_at: Some("2026-02-03T09:00:00+05:30"),
            visited_at: Some("2026-02-03T10:00:00+05:30"),
            received_at: Some("2026-02-03T10:00:01Z"),
        };
        assert_eq!(form.visits(), [expected]);
    }

    #[test]
    fn an_empty_text_is_no_answer() {
        let text = r#"{"doc_type":"XFormInstance","domain":"","received_on":"",
            "form":{"meta":{"timeStart":"","timeEnd":"","userID":""}}}"#;
        let form: Form<'_> = serde_json::from_str(text).unwrap();
        let expected = Visit {
            number: 0,
            case_id: None,
            domain: None,
            user_id: None,
            started_at: None,
            visited_at: None,
            received_at: None,
        };
        assert_eq!(form.visits(), [expected]);
    }

    #[test]
    fn a_visit_lasts_from_the_start_of_the_form_to_its_end() {
        let check = |start: &str, end: &str, expected: Option<i64>| {
            let text = format!(r#"{{"doc_type":"x","form":{{"meta":{{"timeStart":"{start}","timeEnd":"{end}"}}}}}}"#);
            let form: Form<'_> = serde_json::from_str(&text).unwrap();
            assert_eq!(form.visits()[0].minutes().ok(), expected.map(Some), "{start} {end}");
        };
        check("2026-02-03T09:00:00Z", "2026-02-03T11:02:59.5+01:00", Some(62));
        check("2026-02-03T09:00:00Z", "2026-02-03T08:58:00Z", Some(-2));
        check("yesterday", "2026-02-03T09:00:00Z", None);
    }
}

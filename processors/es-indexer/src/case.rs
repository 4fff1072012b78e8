//! The document of a case, as the case index holds it.

use std::borrow::Cow;

use crate::lookups::Lookups;
use crate::object::{self, Edit, Object};
use crate::user_type::user_type;

/// What the configuration says about cases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The `backend_id` of a case that names none.
    pub backend_id: String,
    /// Whether the lists of actions and forms are left empty.
    pub form_fields: FormFields,
    /// The look-up for users by id.
    pub user_lookup: Option<String>,
}

/// The fields of a case that tell of its forms: large, and hardly searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FormFields {
    /// They are indexed.
    Keep,
    /// They are indexed as empty lists.
    Drop,
}

/// The document for the index.
pub fn transform(case: &Object<'_>, time: &str, settings: &Settings, lookups: &mut Lookups<'_, '_>) -> String {
    let owner = case.get("owner_id").filter(|owner| !object::is_empty(Some(owner)));
    let owner_or_user = owner.or_else(|| case.get("user_id"));
    let owner_type = user_type(owner_or_user, settings.user_lookup.as_deref(), lookups);
    let mut edits = Vec::with_capacity(6);
    if owner.is_none() {
        edits.push(("owner_id", Edit::Set(Cow::Borrowed(owner_or_user.unwrap_or("null")))));
    }
    edits.push(("owner_type", Edit::text(owner_type)));
    edits.push(("inserted_at", Edit::text(time)));
    if case.get("backend_id").is_none() {
        edits.push(("backend_id", Edit::text(&settings.backend_id)));
    }
    if settings.form_fields == FormFields::Drop {
        edits.push(("actions", Edit::Set(Cow::Borrowed("[]"))));
        edits.push(("xform_ids", Edit::Set(Cow::Borrowed("[]"))));
    }
    let mut document = String::new();
    case.write(&edits, &mut document);
    document
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lookups::nothing;

    const TIME: &str = "2026-02-03T10:00:00.123456Z";

    fn settings() -> Settings {
        Settings { backend_id: "sql".to_owned(), form_fields: FormFields::Keep, user_lookup: None }
    }

    fn check(case: &str, expected: &str) {
        let document = transform(&Object::parse(case).unwrap(), TIME, &settings(), &mut Lookups::new(&nothing));
        assert_eq!(document, expected.replace("TIME", TIME));
    }

    #[test]
    fn a_case_without_owner_belongs_to_its_user() {
        // Acceptance case 92.
        for owner in ["", r#""owner_id":"","#, r#""owner_id":null,"#] {
            let case = format!(r#"{{{owner}"user_id":"demo_user","backend_id":"x"}}"#);
            let document = transform(&Object::parse(&case).unwrap(), TIME, &settings(), &mut Lookups::new(&nothing));
            let document: serde_json::Value = serde_json::from_str(&document).unwrap();
            assert_eq!(document["owner_id"], "demo_user", "{case}");
            assert_eq!(document["owner_type"], "demo", "{case}");
        }
    }

    #[test]
    fn a_case_keeps_its_owner_and_everything_else_as_it_stands() {
        check(
            r#"{"_id":"c","owner_id":"o","user_id":"u","weight":3.10,"backend_id":null}"#,
            r#"{"_id":"c","owner_id":"o","user_id":"u","weight":3.10,"backend_id":null,"owner_type":"unknown","inserted_at":"TIME"}"#,
        );
    }

    #[test]
    fn a_case_without_anybody_has_no_owner() {
        check("{}", r#"{"owner_id":null,"owner_type":"unknown","inserted_at":"TIME","backend_id":"sql"}"#);
    }

    #[test]
    fn the_fields_about_forms_can_be_dropped() {
        let case = Object::parse(r#"{"owner_id":"o","backend_id":"b","actions":[{"a":1}],"x":[1]}"#).unwrap();
        let settings = Settings { form_fields: FormFields::Drop, ..settings() };
        let document = transform(&case, "T", &settings, &mut Lookups::new(&nothing));
        assert_eq!(
            document,
            r#"{"owner_id":"o","backend_id":"b","actions":[],"x":[1],"owner_type":"unknown","inserted_at":"T","xform_ids":[]}"#
        );
    }
}

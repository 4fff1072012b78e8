//! What happens to the index when a document changed.

use crate::config::{Config, Profile};
use crate::group_members::{self, Members};
use crate::lookups::{Find, Lookups, Want};
use crate::object::Object;
use crate::{app, case, case_search, domain, form, user};

/// A change with its document.
#[derive(Clone, Copy)]
pub struct Change<'f, 'a> {
    /// The id of the document.
    pub id: &'a str,
    /// The domain that the change names.
    pub domain: Option<&'a str>,
    /// Whether the change says that the document is gone.
    pub deleted: bool,
    /// What the store says about it.
    pub document: Document<'a>,
    /// When the batch closed, as RFC 3339.
    pub time: &'a str,
    /// What was looked up for it.
    pub find: Find<'f, 'a>,
}

/// What the store says about a document.
#[derive(Debug, Clone, Copy)]
pub enum Document<'a> {
    /// Its bytes.
    Present(&'a [u8]),
    /// It was deleted.
    Deleted,
    /// Nobody has heard of it.
    Missing,
    /// The store has an older one than the change announces.
    Stale,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing, and why.
    Skip(&'static str),
    /// Index this, under the id of the change.
    Index(String),
    /// Remove it from the index.
    Delete,
    /// Edit the documents of a group's members.
    EditMembers(Members),
    /// Find these first.
    Need(Vec<Want>),
}

/// Why a change cannot be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The document is not what it should be; trying again does not help.
    InvalidInput(String),
    /// The document should be there; it may come.
    DocumentMissing,
    /// The store's document is older than the change; the new one may come.
    DocumentStale,
}

/// Decides on one change.
///
/// # Errors
/// When the change cannot be done.
pub fn action(config: &Config, change: &Change<'_, '_>) -> Result<Action, Failure> {
    let is_gone = matches!(change.document, Document::Deleted)
        || (change.deleted && matches!(change.document, Document::Missing));
    if is_gone && config.profile == Profile::GroupMembers {
        return Ok(Action::Skip("a group whose members nobody knows"));
    }
    let bytes = match change.document {
        Document::Present(bytes) => bytes,
        Document::Deleted => return Ok(Action::Delete),
        Document::Missing if change.deleted => return Ok(Action::Delete),
        Document::Missing => return Err(Failure::DocumentMissing),
        // Also of a deletion: an older document tells neither that it is gone nor that it came back.
        Document::Stale => return Err(Failure::DocumentStale),
    };
    let json = std::str::from_utf8(bytes).map_err(|error| invalid(&error))?;
    let document = Object::parse(json).map_err(|error| invalid(&error))?;
    let document_is_deleted = document.text("doc_type").is_some_and(|doc_type| is_deleted_type(&doc_type));
    if config.profile == Profile::GroupMembers && (document_is_deleted || !change.deleted) {
        let members = group_members::members(&document, change.id, document_is_deleted);
        let is_empty = members.memberships.is_empty();
        return Ok(if is_empty { Action::Skip("a group without users") } else { Action::EditMembers(members) });
    }
    if change.deleted {
        // A deletion that is tried again late must not remove a document that was restored since.
        return Ok(if document_is_deleted { Action::Delete } else { Action::Skip("restored since") });
    }
    if let Profile::Form(_) = config.profile
        && let Some(reason) = form::reason_to_skip(&document)
    {
        return Ok(Action::Skip(reason));
    }
    if document_is_deleted {
        return Ok(Action::Delete);
    }
    let mut lookups = Lookups::new(change.find);
    if let Profile::CaseSearch(settings) = &config.profile {
        let own_domain = document.text("domain");
        let domain = change.domain.or(own_domain.as_deref());
        if let Some(reason) = case_search::reason_to_skip(domain, settings, &mut lookups) {
            return Ok(Action::Skip(reason));
        }
    }
    let indexed = match &config.profile {
        Profile::Form(settings) => form::transform(&document, change.time, settings, &mut lookups)
            .map_err(|error| Failure::InvalidInput(error.message()))?,
        Profile::Case(settings) => case::transform(&document, change.time, settings, &mut lookups),
        Profile::CaseSearch(settings) => case_search::transform(&document, change.id, change.time, settings),
        Profile::User(settings) => user::transform(&document, change.id, settings, &mut lookups),
        Profile::Domain(settings) => domain::transform(&document, settings, &mut lookups),
        Profile::App => app::transform(&document, change.time),
        Profile::Group | Profile::GroupMembers | Profile::Sms | Profile::Plain(_) => json.to_owned(),
    };
    let wants = lookups.into_wants();
    Ok(if wants.is_empty() { Action::Index(indexed) } else { Action::Need(wants) })
}

/// Doc types that stand for a document that is gone.
fn is_deleted_type(doc_type: &str) -> bool {
    doc_type.ends_with("-Deleted") || doc_type == "Domain-DUPLICATE"
}

fn invalid(error: &dyn std::error::Error) -> Failure {
    Failure::InvalidInput(format!("the document is no JSON object: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group_members::State;
    use crate::lookups::nothing;

    fn decide(profile: &str, deleted: bool, document: Document<'_>) -> Result<Action, Failure> {
        let config = format!(r#"{{"profile": "{profile}", "index": "i"}}"#);
        let config = Config::parse(config.as_bytes()).unwrap();
        action(&config, &Change { id: "c", domain: None, deleted, document, time: "T", find: &nothing })
    }

    fn check(profile: &str, deleted: bool, document: &str, expected: &Result<Action, Failure>) {
        let found = decide(profile, deleted, Document::Present(document.as_bytes()));
        assert_eq!(&found, expected, "{profile} {document}");
    }

    #[test]
    fn a_saved_case_is_indexed_and_a_deleted_one_is_gone() {
        // Acceptance case 95.
        let case = r#"{"_id":"c","domain":"d","name":"n","doc_type":"CommCareCase","owner_id":"o","backend_id":"sql"}"#;
        let Ok(Action::Index(indexed)) = decide("case", false, Document::Present(case.as_bytes())) else {
            panic!("not indexed")
        };
        assert!(indexed.starts_with(r#"{"_id":"c","domain":"d","name":"n","doc_type":"CommCareCase","#));
        check("case", false, r#"{"_id":"c","doc_type":"CommCareCase-Deleted"}"#, &Ok(Action::Delete));
        check("case", true, r#"{"_id":"c","doc_type":"CommCareCase-Deleted"}"#, &Ok(Action::Delete));
    }

    #[test]
    fn a_saved_form_is_indexed_and_a_deleted_one_is_gone() {
        // Acceptance case 97.
        let form = r#"{"_id":"f","domain":"d","xmlns":"x","doc_type":"XFormInstance","form":{},"backend_id":"sql"}"#;
        let Ok(Action::Index(indexed)) = decide("form", false, Document::Present(form.as_bytes())) else {
            panic!("not indexed")
        };
        assert!(indexed.starts_with(r#"{"_id":"f","domain":"d","xmlns":"x","doc_type":"XFormInstance","form":{},"#));
        check("form", false, r#"{"domain":"d","doc_type":"XFormInstance-Deleted","form":{}}"#, &Ok(Action::Delete));
        // The filter comes first, as in the original: what it passes over was never indexed.
        let report = r#"{"doc_type":"XFormInstance-Deleted","form":{}}"#;
        check("form", false, report, &Ok(Action::Skip("form without domain")));
        check("form", true, report, &Ok(Action::Delete));
    }

    #[test]
    fn a_plain_document_is_indexed_to_the_byte() {
        let document = "{ \"n\" : 1.10 }";
        check("plain", false, document, &Ok(Action::Index(document.to_owned())));
        check("plain", false, r#"{"doc_type":"Group-Deleted"}"#, &Ok(Action::Delete));
        check("plain", false, r#"{"doc_type":"Domain-DUPLICATE"}"#, &Ok(Action::Delete));
    }

    #[test]
    fn users_domains_groups_and_applications_are_indexed_and_gone_when_they_are_deleted() {
        // Acceptance cases 99 to 102.
        for (profile, kept, gone) in [
            ("app", "Application", "Application-Deleted"),
            ("domain", "Domain", "Domain-DUPLICATE"),
            ("user", "CommCareUser", "CommCareUser-Deleted"),
            ("user", "WebUser", "WebUser-Deleted"),
            ("group", "Group", "Group-Deleted"),
        ] {
            let document = |doc_type: &str| format!(r#"{{"_id":"c","doc_type":"{doc_type}","name":"n"}}"#);
            let Ok(Action::Index(indexed)) = decide(profile, false, Document::Present(document(kept).as_bytes()))
            else {
                panic!("{kept} was not indexed")
            };
            let beginning = format!(r#"{{"_id":"c","doc_type":"{kept}","name":"n""#);
            assert!(indexed.starts_with(&beginning), "{indexed}");
            check(profile, false, &document(gone), &Ok(Action::Delete));
            assert_eq!(decide(profile, true, Document::Deleted), Ok(Action::Delete));
        }
    }

    #[test]
    fn groups_and_text_messages_are_indexed_to_the_byte() {
        // Acceptance cases 102 and 105.
        for profile in ["group", "sms"] {
            let document = r#"{ "users": ["u1"], "doc_type": "x", "n": 1.10 }"#;
            check(profile, false, document, &Ok(Action::Index(document.to_owned())));
        }
    }

    #[test]
    fn a_case_is_searched_for_only_where_its_domain_needs_it() {
        // Acceptance case 98.
        let decide = |domain: Option<&str>, document: &str| {
            let config = Config::parse(br#"{"profile": "case-search", "index": "i", "domains": ["d"]}"#).unwrap();
            let document = Document::Present(document.as_bytes());
            action(&config, &Change { id: "c", domain, deleted: false, document, time: "T", find: &nothing }).unwrap()
        };
        let skipped = Action::Skip("a domain without case search");
        assert_eq!(decide(Some("e"), r#"{"doc_type":"CommCareCase","domain":"d"}"#), skipped);
        assert_eq!(decide(None, r#"{"doc_type":"CommCareCase","domain":"e"}"#), skipped);
        let Action::Index(indexed) = decide(None, r#"{"doc_type":"CommCareCase","domain":"d","name":"n"}"#) else {
            panic!("not indexed")
        };
        assert!(indexed.starts_with(r#"{"_id":"c","#), "{indexed}");
        assert_eq!(decide(Some("d"), r#"{"doc_type":"CommCareCase-Deleted"}"#), Action::Delete);
    }

    #[test]
    fn a_group_edits_its_members_and_a_deleted_one_too() {
        // Acceptance case 104.
        let states = |document: &str| match decide("group-members", false, Document::Present(document.as_bytes())) {
            Ok(Action::EditMembers(members)) => members.memberships.into_iter().map(|one| one.state).collect(),
            Ok(Action::Skip(_)) => Vec::new(),
            other => panic!("{other:?}"),
        };
        assert_eq!(states(r#"{"doc_type":"Group","users":["u"]}"#), [State::In]);
        assert_eq!(states(r#"{"doc_type":"Group","users":[],"removed_users":["u"]}"#), [State::Out]);
        assert_eq!(states(r#"{"doc_type":"Group-Deleted","users":["u"]}"#), [State::Out]);
        assert_eq!(states(r#"{"doc_type":"Group"}"#), []);
        let skipped = Ok(Action::Skip("a group whose members nobody knows"));
        assert_eq!(decide("group-members", true, Document::Deleted), skipped);
        assert_eq!(decide("group-members", true, Document::Missing), skipped);
        assert_eq!(decide("group-members", false, Document::Missing), Err(Failure::DocumentMissing));
    }

    #[test]
    fn a_late_deletion_spares_a_document_that_came_back() {
        check("case", true, r#"{"doc_type":"CommCareCase"}"#, &Ok(Action::Skip("restored since")));
    }

    #[test]
    fn a_document_that_is_not_there_is_gone_or_missing() {
        assert_eq!(decide("case", true, Document::Deleted), Ok(Action::Delete));
        assert_eq!(decide("case", false, Document::Deleted), Ok(Action::Delete));
        assert_eq!(decide("case", true, Document::Missing), Ok(Action::Delete));
        assert_eq!(decide("case", false, Document::Missing), Err(Failure::DocumentMissing));
    }

    #[test]
    fn a_stale_document_is_waited_for() {
        // Acceptance case 33, as a processor sees it.
        assert_eq!(decide("case", false, Document::Stale), Err(Failure::DocumentStale));
        assert_eq!(decide("case", true, Document::Stale), Err(Failure::DocumentStale));
    }

    #[test]
    fn what_is_no_object_is_invalid() {
        for document in ["", "[1]", "null", "{\"a\":1}{", "\u{feff}{}"] {
            let found = decide("plain", false, Document::Present(document.as_bytes()));
            assert!(matches!(found, Err(Failure::InvalidInput(_))), "{document}");
        }
        let found = decide("plain", false, Document::Present(b"{\"a\":\"\xff\"}"));
        assert!(matches!(found, Err(Failure::InvalidInput(_))));
    }
}

//! What a document says about its change: the topic it belongs to, and the fields of the change message.
//!
//! Pure functions of a document's head (its top-level fields that matter here); the rules are those that CommCare HQ
//! publishes by.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::model::timestamp_text;

/// The kind of store that a document lives in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceType {
    /// CouchDB.
    Couch,
    /// A SQL database.
    Sql,
}

/// The top-level fields of a document that its change is made of.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct Head {
    #[serde(rename = "_id", default)]
    underscore_id: Option<serde_json::Value>,
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(rename = "_rev", default)]
    revision: Option<serde_json::Value>,
    #[serde(default)]
    doc_type: Option<serde_json::Value>,
    #[serde(rename = "type", default)]
    case_type: Option<serde_json::Value>,
    #[serde(default)]
    xmlns: Option<serde_json::Value>,
    #[serde(default)]
    domain: Option<serde_json::Value>,
    #[serde(default)]
    name: Option<serde_json::Value>,
    #[serde(rename = "_deleted", default)]
    deleted: Option<serde_json::Value>,
}

/// The fields of a change message, but for its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metadata {
    /// The document's id as canonical text.
    pub document_id: String,
    /// Its revision, where it has one.
    pub document_rev: Option<String>,
    /// Its `doc_type`; none for a document that is gone for good.
    pub document_type: Option<String>,
    /// The type of a case, the xmlns of a form.
    pub document_subtype: Option<String>,
    /// The project space.
    pub domain: Option<String>,
    /// Whether the document is gone, softly or for good.
    pub is_deletion: bool,
}

/// Why a document has no metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MissingMetadata {
    /// It has no id, or one that is neither text nor an integer.
    #[error("the document has no id: add _id, a text or an integer")]
    Id,
    /// It has no type.
    #[error("the document has no doc_type: add one, it says which topic its changes belong to")]
    DocumentType,
}

/// The message as it is written; every field of the original's is there, absent ones as null.
#[derive(Serialize)]
struct Message<'a> {
    document_id: &'a str,
    document_rev: Option<&'a str>,
    data_source_type: &'a str,
    data_source_name: &'a str,
    document_type: Option<&'a str>,
    document_subtype: Option<&'a str>,
    domain: Option<&'a str>,
    is_deletion: bool,
    publish_timestamp: &'a str,
    attempts: u32,
    original_publication_datetime: &'a str,
}

impl SourceType {
    /// The text in a change message.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Couch => "couch",
            Self::Sql => "sql",
        }
    }
}

impl Head {
    /// The document's id.
    pub fn id(&self) -> Option<Cow<'_, str>> {
        match self.underscore_id.as_ref().or(self.id.as_ref())? {
            serde_json::Value::String(id) => Some(Cow::Borrowed(id)),
            serde_json::Value::Number(id) if !id.is_f64() => Some(Cow::Owned(id.to_string())),
            _ => None,
        }
    }

    /// The document's type.
    pub fn document_type(&self) -> Option<&str> {
        text(self.doc_type.as_ref())
    }

    /// Whether it stands for a document that is gone for good, as CouchDB writes it.
    pub fn is_deleted(&self) -> bool {
        self.deleted == Some(serde_json::Value::Bool(true))
    }
}

impl Metadata {
    /// The metadata of a document that exists.
    ///
    /// # Errors
    /// When it has no id or no type.
    pub fn of_document(head: &Head) -> Result<Self, MissingMetadata> {
        let document_id = head.id().ok_or(MissingMetadata::Id)?.into_owned();
        let document_type = head.document_type().ok_or(MissingMetadata::DocumentType)?;
        let subtype = match document_type {
            "CommCareCase" | "CommCareCase-Deleted" => text(head.case_type.as_ref()),
            other if is_form(other) => text(head.xmlns.as_ref()),
            _ => None,
        };
        // A project space is its own domain, and its `domain` field means something else.
        let domain = if is_domain(document_type) { &head.name } else { &head.domain };
        Ok(Self {
            document_id,
            document_rev: text(head.revision.as_ref()).map(str::to_owned),
            document_type: Some(document_type.to_owned()),
            document_subtype: subtype.map(str::to_owned),
            domain: text(domain.as_ref()).map(str::to_owned),
            is_deletion: document_type.ends_with("-Deleted") || document_type == "Domain-DUPLICATE",
        })
    }

    /// The metadata of a document that is gone for good: nothing of it is known any more but its id.
    ///
    /// # Errors
    /// When there is no id.
    pub fn of_deletion(head: &Head) -> Result<Self, MissingMetadata> {
        Ok(Self {
            document_id: head.id().ok_or(MissingMetadata::Id)?.into_owned(),
            document_rev: text(head.revision.as_ref()).map(str::to_owned),
            document_type: None,
            document_subtype: None,
            domain: None,
            is_deletion: true,
        })
    }

    /// The change message.
    pub fn message(&self, source_type: SourceType, source_name: &str, now: Timestamp) -> String {
        let now = timestamp_text(now);
        let message = Message {
            document_id: &self.document_id,
            document_rev: self.document_rev.as_deref(),
            data_source_type: source_type.as_str(),
            data_source_name: source_name,
            document_type: self.document_type.as_deref(),
            document_subtype: self.document_subtype.as_deref(),
            domain: self.domain.as_deref(),
            is_deletion: self.is_deletion,
            publish_timestamp: &now,
            attempts: 0,
            original_publication_datetime: &now,
        };
        serde_json::to_string(&message).expect("texts, numbers and booleans are always JSON")
    }
}

/// Every topic of the original.
const TOPICS: [&str; 14] = [
    "case",
    "case-sql",
    "commcare-user",
    "domain",
    "form",
    "form-sql",
    "group",
    "ledger",
    "meta",
    "sms",
    "web-user",
    "app",
    "location",
    "synclog-sql",
];

/// The topic that documents of this type belong to: what the first rule says that knows the type, then the default,
/// then `meta`.
pub fn topic_of<'a>(document_type: &str, source: Option<SourceType>, default: Option<&'a str>) -> &'a str {
    let sql = source == Some(SourceType::Sql);
    match document_type {
        "CommCareCase" | "CommCareCase-Deleted" => {
            if sql {
                "case-sql"
            } else {
                "case"
            }
        }
        form if is_form(form) => {
            if sql {
                "form-sql"
            } else {
                "form"
            }
        }
        domain if is_domain(domain) => "domain",
        "CommCareUser" | "CommCareUser-Deleted" => "commcare-user",
        "WebUser" | "WebUser-Deleted" => "web-user",
        "Group" | "Group-Deleted" => "group",
        "SimplifiedSyncLog" => "synclog-sql",
        "Application" | "RemoteApp" | "LinkedApplication" => "app",
        "Application-Deleted" | "RemoteApp-Deleted" | "LinkedApplication-Deleted" => "app",
        "Location" => "location",
        other => topic_named(other).or(default).unwrap_or("meta"),
    }
}

/// The topic of this name, if there is one.
pub(super) fn topic_named(name: &str) -> Option<&'static str> {
    TOPICS.into_iter().find(|topic| *topic == name)
}

fn is_form(document_type: &str) -> bool {
    matches!(
        document_type,
        "XFormInstance"
            | "XFormArchived"
            | "XFormDeprecated"
            | "XFormDuplicate"
            | "XFormError"
            | "SubmissionErrorLog"
            | "XFormInstance-Deleted"
            | "HQSubmission"
    )
}

fn is_domain(document_type: &str) -> bool {
    matches!(document_type, "Domain" | "Domain-Deleted" | "Domain-DUPLICATE")
}

fn text(value: Option<&serde_json::Value>) -> Option<&str> {
    value.and_then(serde_json::Value::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Position};

    fn metadata(document: &str) -> Result<Metadata, MissingMetadata> {
        Metadata::of_document(&serde_json::from_str(document).unwrap())
    }

    #[test]
    fn a_case_has_its_type_and_a_form_its_xmlns_as_subtype() {
        // Acceptance case 12.
        for (document, subtype) in [
            (r#"{"_id":"a","doc_type":"CommCareCase","type":"person","xmlns":"x"}"#, Some("person")),
            (r#"{"_id":"a","doc_type":"XFormInstance","type":"person","xmlns":"my-xmlns"}"#, Some("my-xmlns")),
            (r#"{"_id":"a","doc_type":"Group","type":"person","xmlns":"x"}"#, None),
        ] {
            assert_eq!(metadata(document).unwrap().document_subtype.as_deref(), subtype, "{document}");
        }
    }

    #[test]
    fn the_domain_of_a_project_space_is_its_name() {
        // Acceptance case 13.
        let found = metadata(r#"{"_id":"a","doc_type":"Domain","name":"right","domain":"wrong"}"#).unwrap();
        assert_eq!(found.domain.as_deref(), Some("right"));
    }

    #[test]
    fn deletions_are_known_by_the_type() {
        // Acceptance case 14.
        let of_type =
            |document_type: &str| metadata(&format!(r#"{{"_id":"a","doc_type":"{document_type}"}}"#)).unwrap();
        for deleted in [
            "CommCareCase-Deleted",
            "XFormInstance-Deleted",
            "Domain-Deleted",
            "Domain-DUPLICATE",
            "CommCareUser-Deleted",
            "WebUser-Deleted",
            "Group-Deleted",
        ] {
            assert!(of_type(deleted).is_deletion, "{deleted}");
        }
        for alive in ["CommCareCase", "XFormInstance", "XFormArchived", "Domain", "Group"] {
            assert!(!of_type(alive).is_deletion, "{alive}");
        }
    }

    #[test]
    fn a_document_without_id_or_type_has_no_metadata() {
        // Acceptance case 15.
        for (document, expected) in [
            ("{}", MissingMetadata::Id),
            (r#"{"doc_type":"CommCareCase"}"#, MissingMetadata::Id),
            (r#"{"_id":["a"],"doc_type":"CommCareCase"}"#, MissingMetadata::Id),
            (r#"{"_id":"a"}"#, MissingMetadata::DocumentType),
            (r#"{"_id":"a","doc_type":3}"#, MissingMetadata::DocumentType),
        ] {
            assert_eq!(metadata(document), Err(expected), "{document}");
        }
        assert!(serde_json::from_str::<Head>("null").is_err());
    }

    #[test]
    fn a_message_says_what_the_document_says_and_the_source_that_is_passed() {
        // Acceptance case 16.
        let found = metadata(r#"{"_id":"id","_rev":"1-a","doc_type":"CommCareCase","domain":"test-domain"}"#).unwrap();
        let now = "2026-02-03T10:00:00.123456Z".parse().unwrap();
        let message = found.message(SourceType::Couch, "test-source", now);
        assert_eq!(
            message,
            r#"{"document_id":"id","document_rev":"1-a","data_source_type":"couch","data_source_name":"test-source","#
                .to_owned()
                + r#""document_type":"CommCareCase","document_subtype":null,"domain":"test-domain","is_deletion":false,"#
                + r#""publish_timestamp":"2026-02-03T10:00:00.123456Z","attempts":0,"#
                + r#""original_publication_datetime":"2026-02-03T10:00:00.123456Z"}"#
        );
        let change = Change::decode(message.as_bytes(), Position::number(0)).unwrap();
        assert_eq!((change.key.id.as_ref(), change.key.source.as_ref()), ("id", "test-source"));
        assert_eq!(change.published_at, Some(now));
    }

    #[test]
    fn a_type_chooses_its_topic() {
        // Acceptance case 17, and the other rules.
        let (couch, sql) = (Some(SourceType::Couch), Some(SourceType::Sql));
        for (document_type, source, topic) in [
            ("CommCareCase", couch, "case"),
            ("CommCareCase", None, "case"),
            ("CommCareCase", sql, "case-sql"),
            ("CommCareCase-Deleted", sql, "case-sql"),
            ("XFormInstance", couch, "form"),
            ("XFormInstance", None, "form"),
            ("XFormInstance", sql, "form-sql"),
            ("HQSubmission", sql, "form-sql"),
            ("Domain-DUPLICATE", sql, "domain"),
            ("CommCareUser-Deleted", sql, "commcare-user"),
            ("WebUser", None, "web-user"),
            ("Group", None, "group"),
            ("SimplifiedSyncLog", sql, "synclog-sql"),
            ("LinkedApplication-Deleted", None, "app"),
            ("Location", sql, "location"),
            ("sms", sql, "sms"),
            ("Toggle", None, "meta"),
        ] {
            assert_eq!(topic_of(document_type, source, None), topic, "{document_type} {source:?}");
        }
        assert_eq!(topic_of("Toggle", sql, Some("visits")), "visits");
        assert_eq!(topic_of("CommCareCase", sql, Some("visits")), "case-sql");
    }
}

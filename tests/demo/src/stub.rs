//! What an application says on Kafka about a document that changed: not the document, only which one it is.

use serde_json::{Value, json};

/// The topic that a document's change belongs to, and the change. None for documents that are neither forms nor cases.
pub fn of(document: &Value) -> Option<(&'static str, Value)> {
    let doc_type = document["doc_type"].as_str()?;
    let topic = match doc_type {
        "HQSubmission" | "SubmissionErrorLog" => "form-sql",
        _ if doc_type.starts_with("XForm") => "form-sql",
        _ if doc_type.starts_with("CommCareCase") => "case-sql",
        _ => return None,
    };
    let subtype = if topic == "form-sql" { &document["xmlns"] } else { &document["type"] };
    let stub = json!({
        "document_id": document["_id"], "data_source_type": "sql", "data_source_name": topic,
        "document_type": doc_type, "document_subtype": subtype, "domain": document["domain"],
        "is_deletion": doc_type.ends_with("-Deleted"),
    });
    Some((topic, stub))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stub_says_which_document_changed_and_where_that_belongs() {
        let (topic, stub) = of(&json!({"_id": "c", "doc_type": "CommCareCase", "type": "child", "name": "A"})).unwrap();
        assert_eq!(
            (topic, &stub["document_id"], &stub["document_subtype"]),
            ("case-sql", &json!("c"), &json!("child"))
        );
        assert_eq!((&stub["is_deletion"], stub.get("name")), (&json!(false), None));
        let (topic, stub) = of(&json!({"_id": "f", "doc_type": "XFormInstance-Deleted"})).unwrap();
        assert_eq!((topic, &stub["is_deletion"]), ("form-sql", &json!(true)));
        assert!(of(&json!({"_id": "u", "doc_type": "CommCareUser"})).is_none());
    }
}

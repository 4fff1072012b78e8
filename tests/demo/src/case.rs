//! Cases: what is known about a household, a person, a pregnancy or a child, and how it is written as a document.

use serde_json::{Map, Value, json};

use crate::calendar::Moment;
use crate::places::PLACES;

/// A case in its present version.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its id.
    pub id: String,
    /// `household`, `person`, `pregnancy` or `child`.
    pub kind: &'static str,
    /// Where, as a place in [`PLACES`].
    pub place: usize,
    /// Its name.
    pub name: String,
    /// Who looks after it.
    pub owner_id: String,
    /// When it was opened.
    pub opened_on: Moment,
    /// When it last changed.
    pub modified_on: Moment,
    /// Who changed it last.
    pub user_id: String,
    /// When it was closed.
    pub closed_on: Option<Moment>,
    /// The case it belongs to: its id and its kind.
    pub parent: Option<(String, &'static str)>,
    /// Everything else that is known.
    pub properties: Map<String, Value>,
    /// The forms that changed it.
    pub forms: Vec<String>,
    /// How many visits it had.
    pub visits: u64,
}

impl Case {
    /// The document as its store has it.
    pub fn document(&self) -> Value {
        let parent: Vec<_> = self
            .parent
            .iter()
            .map(|(id, kind)| {
                json!({
                    "doc_type": "CommCareCaseIndex", "identifier": "parent", "referenced_id": id,
                    "referenced_type": kind, "relationship": "child",
                })
            })
            .collect();
        let actions: Vec<_> = self
            .forms
            .iter()
            .enumerate()
            .map(|(position, form)| {
                json!({
                    "action_type": if position == 0 { "create" } else { "update" }, "doc_type": "CommCareCaseAction",
                    "date": self.modified_on.to_string(), "server_date": self.modified_on.plus_seconds(40).to_string(),
                    "user_id": self.user_id, "xform_id": form, "indices": [],
                })
            })
            .collect();
        let document = json!({
            "_id": self.id,
            "doc_type": "CommCareCase",
            "domain": PLACES[self.place].domain,
            "type": self.kind,
            "name": self.name,
            // Old phones left the owner out; whoever sent the form owns the case then.
            "owner_id": if self.modified_on.year() < 2014 { "" } else { &self.owner_id },
            "user_id": self.user_id,
            "opened_on": self.opened_on.to_string(),
            "opened_by": self.owner_id,
            "modified_on": self.modified_on.to_string(),
            "server_modified_on": self.modified_on.plus_seconds(41).to_string(),
            "closed": self.closed_on.is_some(),
            "closed_on": self.closed_on.map(|moment| moment.to_string()),
            "closed_by": self.closed_on.map(|_| &self.user_id),
            "external_id": null,
            "location_id": null,
            "version": "2.0",
            "export_tag": ["domain", "type"],
            "indices": parent,
            "actions": actions,
            "xform_ids": self.forms,
            "case_attachments": {},
        });
        let mut document = document;
        if let Value::Object(fields) = &mut document {
            for (name, value) in &self.properties {
                fields.insert(name.clone(), value.clone());
            }
        }
        document
    }
}

/// A document after it was deleted softly: it stays in its store, under another type.
pub fn soft_deleted(mut document: Value, moment: Moment) -> Value {
    let deleted_type = format!("{}-Deleted", document["doc_type"].as_str().unwrap_or_default());
    document["doc_type"] = Value::from(deleted_type);
    document["deleted_on"] = Value::from(moment.to_string());
    document
}

/// What is said about a document that was deleted for good.
pub fn hard_deleted(document: &Value) -> Value {
    let doc_type = document["doc_type"].as_str().unwrap_or_default();
    json!({
        "_id": document["_id"], "_deleted": true, "doc_type": format!("{doc_type}-Deleted"),
        "domain": document["domain"],
    })
}

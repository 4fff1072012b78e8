//! Made-up documents, and what tables and indices must hold because of them.
//!
//! It is worked out from the documents alone, in another way than the processors do: this is what the suites compare
//! with.

use std::collections::BTreeMap;

use pillowtop_demo::World;
use serde_json::{Value, json};

/// The kind of form that reports visits, as the quick start's manifest names it.
pub(crate) const VISIT: &str = "http://openrosa.org/formdesigner/household-visit";

/// What phones send about themselves; no index holds it.
const DEVICE_REPORT: &str = "http://code.javarosa.org/devicereport";

/// Documents in the order in which they change.
pub(crate) fn made_up(count: usize, seed: u64) -> Vec<Value> {
    World::new(count as u64, seed).take(count).collect()
}

/// The forms that report visits, each as it was first sent.
pub(crate) fn visit_forms(count: usize, seed: u64) -> Vec<Value> {
    let mut forms: BTreeMap<String, Value> = BTreeMap::new();
    for document in World::new(100 * count as u64, seed) {
        if document["xmlns"] == VISIT && document["doc_type"] == "XFormInstance" {
            forms.entry(id(&document).to_owned()).or_insert(document);
        }
        if forms.len() == count {
            break;
        }
    }
    forms.into_values().collect()
}

/// Versions of cases, in their order.
pub(crate) fn cases(count: usize, seed: u64) -> Vec<Value> {
    World::new(2 * count as u64, seed).filter(|document| document["doc_type"] == "CommCareCase").take(count).collect()
}

/// One document a line.
pub(crate) fn lines(documents: &[Value]) -> String {
    documents.iter().map(|document| format!("{document}\n")).collect()
}

/// A document's id.
pub(crate) fn id(document: &Value) -> &str {
    document["_id"].as_str().unwrap()
}

/// A form that reports a visit of one case.
pub(crate) fn visit_form(id: &str, case_id: &str, at: &str) -> Value {
    json!({
        "_id": id, "doc_type": "XFormInstance", "domain": "clinic", "xmlns": VISIT, "received_on": at,
        "form": {"case": {"@case_id": case_id}, "meta": {"timeEnd": at, "userID": "u1"}},
    })
}

/// What must be there.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    documents: BTreeMap<String, Value>,
    last_visits: BTreeMap<String, String>,
}

impl Expected {
    /// These documents changed in this order, and then the pillows caught up.
    pub(crate) fn change(&mut self, documents: &[Value]) {
        let mut changed: BTreeMap<&str, &Value> = BTreeMap::new();
        documents.iter().for_each(|document| {
            changed.insert(id(document), document);
        });
        for (id, document) in changed {
            self.documents.insert(id.to_owned(), document.clone());
            if reports_a_visit(document)
                && let (Some(case), Some(time)) = (case_of(document), time_of(document))
                && self.last_visits.get(case).is_none_or(|known| known.as_str() < time)
            {
                self.last_visits.insert(case.to_owned(), time.to_owned());
            }
        }
    }

    /// A document as it is now.
    pub(crate) fn document(&self, id: &str) -> Option<&Value> {
        self.documents.get(id)
    }

    /// The rows of the table of visits, by form.
    pub(crate) fn visits(&self) -> Vec<Value> {
        let row = |form: &Value| {
            json!([
                form["_id"],
                0,
                case_of(form),
                form["domain"],
                form["form"]["meta"]["userID"],
                time_of(form),
                form["received_on"]
            ])
        };
        self.documents.values().filter(|form| reports_a_visit(form)).map(row).collect()
    }

    /// The last visit of each case: its id and the time.
    pub(crate) fn last_visits(&self) -> Vec<Value> {
        self.last_visits.iter().map(|(case, time)| json!([case, time])).collect()
    }

    /// The documents that the index of forms holds, by id.
    pub(crate) fn forms(&self) -> BTreeMap<&str, &Value> {
        self.indexed("XForm")
    }

    /// The documents that the index of cases holds, by id.
    pub(crate) fn cases(&self) -> BTreeMap<&str, &Value> {
        self.indexed("CommCareCase")
    }

    fn indexed(&self, doc_type: &str) -> BTreeMap<&str, &Value> {
        let is_indexed = |document: &&Value| {
            let found = document["doc_type"].as_str().unwrap();
            found.starts_with(doc_type) && !found.ends_with("-Deleted") && document["xmlns"] != DEVICE_REPORT
        };
        self.documents.values().filter(is_indexed).map(|document| (id(document), document)).collect()
    }
}

fn reports_a_visit(form: &Value) -> bool {
    form["doc_type"] == "XFormInstance" && form["xmlns"] == VISIT
}

fn case_of(form: &Value) -> Option<&str> {
    form["form"]["case"]["@case_id"].as_str()
}

/// When the visit was, if the phone said so.
fn time_of(form: &Value) -> Option<&str> {
    form["form"]["meta"]["timeEnd"].as_str().filter(|time| !time.is_empty())
}

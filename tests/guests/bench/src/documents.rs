//! Made-up documents of a given size: forms as a tree of groups and questions, and cases. The same number gives the
//! same document.

use serde_json::{Map, Value, json};

/// The id of document `number`; spread over partitions by its last digits.
pub fn id(number: usize) -> String {
    // Fibonacci hashing: ids that look random, each another.
    let mixed = (number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{mixed:016x}{:016x}", mixed.rotate_left(29) ^ 0x5bd1_e995)
}

/// A form of at least `bytes` bytes, and little more.
pub fn form(number: usize, bytes: usize) -> Vec<u8> {
    let mut questions = Map::new();
    let mut form = json!({
        "_id": id(number), "doc_type": "XFormInstance", "domain": domain(number), "app_id": id(number % 7),
        "xmlns": "http://openrosa.example/visit", "received_on": time(number), "initial_processing_complete": true,
        "form": { "@name": "Visit", "case": { "@case_id": id(number / 3), "update": null } },
        "external_blobs": {}, "edited_on": null,
    });
    let mut group = 0;
    while length(&form) < bytes {
        // Texts, numbers, choices and nulls, some nested, as in real forms.
        let group_questions = json!({
            "weight": number % 90, "height": f64::from(u8::try_from(number % 200).unwrap_or(0)) + 0.5,
            "note": "came with her mother; \"fine\" \u{2013} next visit in May ", "fever": number % 3 == 0,
            "given": ["iron", "zinc"], "photo": null, "where": { "village": domain(number + 1), "gps": "12.9 77.5 0 10" },
        });
        questions.insert(format!("group_{group}"), group_questions);
        group += 1;
        form["form"]["questions"] = Value::Object(questions.clone());
        if length(&form) > bytes {
            questions.remove(&format!("group_{}", group - 1));
            form["form"]["questions"] = Value::Object(questions.clone());
            // What a whole group would exceed is filled with a text.
            let missing = bytes.saturating_sub(length(&form));
            form["form"]["remark"] = Value::from("x".repeat(missing));
        }
    }
    form.to_string().into_bytes()
}

/// A case of about 1 KB.
pub fn case(number: usize) -> Vec<u8> {
    let case = json!({
        "_id": id(number), "doc_type": "CommCareCase", "domain": domain(number), "type": "pregnancy",
        "name": format!("Asha {number}"), "owner_id": id(number % 97), "user_id": id(number % 97),
        "opened_on": time(number), "opened_by": id(number % 97), "modified_on": time(number + 1),
        "server_modified_on": time(number + 2), "closed": false, "closed_on": null, "closed_by": null,
        "external_id": null, "location_id": null, "version": "2.0", "export_tag": ["domain", "type"],
        "indices": [{
            "doc_type": "CommCareCaseIndex", "identifier": "parent", "referenced_id": id(number / 2),
            "referenced_type": "household", "relationship": "child",
        }],
        "actions": [], "xform_ids": [id(number + 1), id(number + 2)], "case_attachments": {},
        "edd": "2026-08-14", "last_visit": "2026-02-03", "risk": if number % 9 == 0 { "high" } else { "low" },
        "visits": number % 12, "village": "Hosahalli", "phone": "+91 80 0000 0000",
        "remark": "came with her mother and the younger child; next visit in the second week of May",
    });
    case.to_string().into_bytes()
}

fn length(value: &Value) -> usize {
    value.to_string().len()
}

fn domain(number: usize) -> String {
    format!("clinic-{}", number % 50)
}

fn time(number: usize) -> String {
    format!("2026-02-{:02}T{:02}:{:02}:00.123456Z", number % 28 + 1, number % 24, number % 60)
}

/// FNV-1a over outputs and their bounds: that two ways of doing the work did the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    /// Bytes so far.
    pub length: usize,
    /// Their sum.
    pub sum: u64,
}

impl Default for Checksum {
    fn default() -> Self {
        Self { length: 0, sum: 0xcbf2_9ce4_8422_2325 }
    }
}

impl Checksum {
    /// Adds one output.
    pub fn add(&mut self, output: &[u8]) {
        self.length += output.len();
        for byte in output.iter().chain(&output.len().to_le_bytes()) {
            self.sum = (self.sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

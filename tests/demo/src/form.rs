//! Forms: the document around what was filled in, and the block that says where it comes from.

use serde_json::{Value, json};

use crate::calendar::Moment;
use crate::places::{PLACES, app_version};
use crate::random::Random;

/// Who fills in a form, where and when.
#[derive(Debug)]
pub struct Visit {
    /// Where, as a place in [`PLACES`].
    pub place: usize,
    /// The id of the user.
    pub user_id: String,
    /// The name of the user.
    pub username: String,
    /// When the form was finished.
    pub at: Moment,
}

/// The document of a form. `content` is what was filled in; `kind` its name, which is also part of its `xmlns`.
pub fn document(id: &str, kind: &str, mut content: Value, visit: &Visit, random: &mut Random) -> Value {
    let place = visit.place;
    let xmlns = format!("http://openrosa.org/formdesigner/{}", kind.to_lowercase().replace(' ', "-"));
    content["#type"] = Value::from("data");
    content["@name"] = Value::from(kind);
    content["@uiVersion"] = Value::from("1");
    content["@version"] = Value::from("303");
    content["@xmlns"] = Value::from(xmlns.as_str());
    content["meta"] = meta(id, visit, random);
    json!({
        "_id": id,
        "doc_type": "XFormInstance",
        "domain": PLACES[place].domain,
        "xmlns": xmlns,
        "app_id": format!("{place:02}da3f8c11e0dd8a5b77f63a1c4e9b2d"),
        "build_id": format!("{place:02}b1{}c7f8c4d2e0dd8a5b77f63a1c4e9", visit.at.year()),
        "form": content,
        "received_on": visit.at.plus_seconds(37).to_string(),
        "server_modified_on": visit.at.plus_seconds(38).to_string(),
        "user_id": visit.user_id,
        "history": [],
        "initial_processing_complete": true,
        "partial_submission": false,
        "#export_tag": ["domain", "xmlns"],
        "auth_context": {"doc_type": "DefaultAuthContext"},
        "openrosa_headers": {"HTTP_X_OPENROSA_VERSION": "2.0"},
        "external_blobs": {"form.xml": {"content_type": "text/xml", "content_length": random.between(900, 9_000)}},
        "submit_ip": format!("10.{place}.{}.{}", random.below(250), random.between(1, 250)),
        "path": format!("/a/{}/receiver/submission/", PLACES[place].domain),
        "date_header": null,
        "last_sync_token": random.id(),
        "computed_": {},
        "computed_modified_on_": null,
    })
}

/// What a phone sends about itself: not filled in by anybody, and of no use to an index of forms.
pub fn device_report(id: &str, visit: &Visit, random: &mut Random) -> Value {
    let entries: Vec<_> = (0..random.between(1, 4))
        .map(|number| json!({"@date": visit.at.to_string(), "type": "resources", "msg": format!("step {number}")}))
        .collect();
    let mut report = document(id, "Device report", json!({"log_subreport": {"log": entries}}), visit, random);
    report["xmlns"] = Value::from("http://code.javarosa.org/devicereport");
    report["form"]["@xmlns"] = report["xmlns"].clone();
    report
}

/// A case block.
pub fn case_block(case_id: &str, visit: &Visit) -> Value {
    json!({
        "@case_id": case_id, "@date_modified": visit.at.to_string(), "@user_id": visit.user_id,
        "@xmlns": "http://commcarehq.org/case/transaction/v2",
    })
}

/// Items of a repeat, as the conversion from XML leaves them: one item is no list.
pub fn repeat(mut items: Vec<Value>) -> Value {
    match (items.len(), items.pop()) {
        (_, None) => Value::from(""),
        (1, Some(item)) => item,
        (_, Some(item)) => {
            items.push(item);
            Value::from(items)
        }
    }
}

fn meta(id: &str, visit: &Visit, random: &mut Random) -> Value {
    let (text, in_object) = app_version(visit.at, random);
    let app_version =
        if in_object { json!({"#text": text, "@xmlns": "http://commcarehq.org/xforms"}) } else { Value::from(text) };
    let mut meta = json!({
        "@xmlns": "http://openrosa.org/jr/xforms",
        "appVersion": app_version,
        "deviceID": format!("35851004391{:04}", random.below(10_000)),
        "instanceID": id,
        "timeStart": visit.at.minus_seconds(random.between(60, 1_500)).to_string(),
        "timeEnd": visit.at.to_string(),
        "userID": visit.user_id,
        "username": visit.username,
    });
    if random.chance(3) {
        meta["timeEnd"] = Value::from("");
    }
    match random.below(10) {
        0..=5 => {
            let (latitude, longitude) = PLACES[visit.place].middle;
            let (north, east) = (random.around_zero() / 5.0, random.around_zero() / 5.0);
            let (altitude, accuracy) = (random.between(3, 1_900), random.between(3, 60));
            meta["location"] =
                Value::from(format!("{:.7} {:.7} {altitude}.0 {accuracy}.0", latitude + north, longitude + east));
        }
        6 => meta["location"] = Value::from(""),
        _ => {}
    }
    meta
}

//! Made-up documents for data sources: everything that the configurations name, in the shape of real forms and cases,
//! filled up with other questions. The same number gives the same document.

use bench_guest::documents::id;
use serde_json::{Map, Value, json};

use super::shape::{Node, shape};

/// Bytes of documents, one after the other: forms of the field have 1 to 4 KB, and few have more.
const SIZES: [usize; 8] = [1 << 10, 1536, 2 << 10, 3 << 10, 2 << 10, 4 << 10, 1536, 8 << 10];
/// Documents that are tried for one that the data source's filter takes.
const MOST_TRIES: usize = 500;

const WORDS: [&str; 12] = [
    "yes",
    "no",
    "Hosahalli",
    "came with her mother",
    "3",
    "not asked",
    "iron zinc",
    "b2",
    "Awa Diop",
    "low",
    "next visit in the second week of May",
    "ok",
];

/// A document that the data source takes.
pub(crate) fn document(config: &Value, number: usize) -> Value {
    let text = config.to_string();
    let read = ucr::value::parse(&text).unwrap();
    let source = ucr::DataSource::compile(&read).unwrap();
    let shape = shape(config);
    let taken = (0..MOST_TRIES).map(|attempt| made(config, &shape, number, attempt)).find(|document| {
        let document = document.to_string();
        let now = ucr::value::Moment::naive(jiff::civil::date(2026, 2, 3).at(10, 0, 0, 0));
        source.filter(&ucr::value::parse(&document).unwrap(), now, &ucr::EmptyWorld) == Ok(true)
    });
    taken.unwrap_or_else(|| panic!("no document that {} takes", config["table_id"]))
}

fn made(config: &Value, shape: &Node, number: usize, attempt: usize) -> Value {
    let seed = mix(number as u64 ^ (attempt as u64) << 32);
    let Value::Object(mut document) = filled(shape, seed) else { unreachable!("the root is an object") };
    let doc_type = &config["referenced_doc_type"];
    let standard = if doc_type == "CommCareCase" { case(number) } else { form(number) };
    merge(&mut document, standard);
    document.insert("_id".to_owned(), id(number).into());
    document.insert("doc_type".to_owned(), doc_type.clone());
    document.insert("domain".to_owned(), config["domain"].clone());
    let bytes = SIZES[number % SIZES.len()];
    let questions = if doc_type == "CommCareCase" { &mut document } else { document["form"].as_object_mut().unwrap() };
    let mut length = Value::Object(questions.clone()).to_string().len();
    for more in 0.. {
        let (name, value) = question(mix(seed ^ more), more);
        length += name.len() + value.to_string().len() + 4;
        if length > bytes {
            break;
        }
        questions.entry(name).or_insert(value);
    }
    Value::Object(document)
}

fn filled(node: &Node, seed: u64) -> Value {
    if node.children.is_empty() {
        let value = leaf(node, seed);
        return if node.is_list { json!([value]) } else { value };
    }
    let object = |seed: u64| {
        let children = node.children.iter().enumerate();
        children
            .map(|(at, (name, child))| (name.clone(), filled(child, mix(seed ^ (at as u64 + 1)))))
            .collect::<Map<_, _>>()
    };
    if node.is_list {
        (0..1 + seed % 3).map(|item| Value::Object(object(mix(seed ^ (item << 16))))).collect()
    } else {
        Value::Object(object(seed))
    }
}

/// Most often what the data source compares it with, so that its branches are taken.
fn leaf(node: &Node, seed: u64) -> Value {
    if !node.compared.is_empty() && !seed.is_multiple_of(4) {
        return node.compared[pick(seed >> 8, node.compared.len())].clone();
    }
    let day = seed % 28 + 1;
    match node.datatype.as_deref() {
        Some("date") => json!(format!("2026-02-{day:02}")),
        Some("datetime") => json!(format!("2026-02-{day:02}T10:{:02}:00.123456Z", seed % 60)),
        // Forms send numbers as texts.
        Some("integer" | "small_integer") => json!((seed % 90).to_string()),
        Some("decimal") => json!(format!("{}.5", seed % 90)),
        _ => json!(WORDS[pick(seed >> 4, WORDS.len())]),
    }
}

/// A question that no data source reads.
fn question(seed: u64, number: u64) -> (String, Value) {
    let word = |at: u64| WORDS[pick(seed >> at, WORDS.len())];
    let value = match number % 5 {
        0 => {
            json!({ "label": word(1), "given": [word(5), word(9)], "where": { "village": word(13), "gps": "12.9 77.5 0 10" } })
        }
        1 => json!(format!("{} \u{2013} \"{}\"", word(2), word(6))),
        2 => json!(seed % 200),
        3 => Value::Null,
        _ => json!(word(3)),
    };
    (format!("question_{number}_{}", seed % 7), value)
}

fn form(number: usize) -> Value {
    json!({
        "app_id": id(number % 7), "build_id": id(number % 11), "received_on": time(number), "edited_on": null,
        "initial_processing_complete": true, "partial_submission": false, "version": "303", "xmlns": "http://openrosa.example/other",
        "external_blobs": { "form.xml": { "content_type": "text/xml", "content_length": 3323, "id": id(number + 5) } },
        "form": {
            "#type": "data", "@name": "Visit", "@uiVersion": "1", "@version": "303",
            "case": { "@case_id": id(number / 3), "@date_modified": time(number), "@user_id": id(number % 97), "update": { "last_visit": "2026-02-03" } },
            "meta": {
                "appVersion": "CommCare Android, version \"2.53.1\"(464694). App v303.", "deviceID": "358510043913306",
                "instanceID": id(number), "timeStart": time(number), "timeEnd": time(number + 1),
                "userID": id(number % 97), "username": "awa.diop",
            },
        },
    })
}

fn case(number: usize) -> Value {
    json!({
        "name": format!("Awa Diop {number}"), "owner_id": id(number % 97), "user_id": id(number % 97), "type": "other",
        "opened_on": time(number), "opened_by": id(number % 97), "modified_on": time(number + 1), "closed": false,
        "server_modified_on": time(number + 1), "closed_on": null, "closed_by": null, "external_id": null,
        "indices": [], "actions": [], "xform_ids": [id(number + 1), id(number + 2)], "version": "2.0",
    })
}

/// Adds what is not there yet.
fn merge(document: &mut Map<String, Value>, more: Value) {
    let Value::Object(more) = more else { return };
    for (name, value) in more {
        match document.get_mut(&name) {
            Some(Value::Object(inner)) => merge(inner, value),
            Some(_) => {}
            None => drop(document.insert(name, value)),
        }
    }
}

fn time(number: usize) -> String {
    format!("2026-02-{:02}T{:02}:{:02}:00.123456Z", number % 28 + 1, number % 24, number % 60)
}

fn mix(seed: u64) -> u64 {
    let mixed = (seed ^ seed >> 31).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 29
}

fn pick(seed: u64, among: usize) -> usize {
    usize::try_from(seed % among as u64).unwrap()
}

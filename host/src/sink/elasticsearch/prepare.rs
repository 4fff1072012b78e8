//! Makes the indices that are declared, or finds out whether those that are there will do.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Map, Value, json};

use super::http::{Content, Http};
use super::mapping::{covers, differences, extend, modern};
use super::merge::RESERVED;
use super::outage;
use super::settings::Settings;
use crate::model::{Index, Outage};
use crate::sink::PrepareError;
use crate::sink::decide::{Owners, extend_owners};
use crate::sink::search::IndexName;

/// What the server remembers of deletions where nobody says otherwise.
const GC_DELETES: Duration = Duration::from_secs(60);

/// What is declared of one index, by all who do.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Declared {
    pub(super) name: String,
    pub(super) mapping: Map<String, Value>,
    pub(super) owners: Owners,
}

/// An index that can be written.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    /// Whether its name is an alias.
    pub(super) alias: bool,
    pub(super) owners: Owners,
}

/// What has to be done for one index.
#[derive(Debug)]
pub(super) struct Plan {
    name: String,
    target: Target,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Create(Value),
    Extend {
        /// The mapping to put, unless all of it is there.
        mapping: Option<Value>,
        /// `index.gc_deletes` to set, unless it is long enough.
        gc_deletes: Option<String>,
    },
}

/// An index as the server describes it.
#[derive(Debug, Clone, PartialEq)]
struct Known {
    alias: bool,
    mapping: Map<String, Value>,
    owners: Owners,
    gc_deletes: Duration,
    /// Whether it acknowledges writes when they are on disk.
    durable: bool,
}

/// Declarations of the same index as one.
///
/// # Errors
/// One line for each thing that is wrong with them.
pub(super) fn declared(indices: &[Index]) -> Result<Vec<Declared>, Vec<String>> {
    let mut declared: Vec<Declared> = Vec::new();
    let mut problems = Vec::new();
    for index in indices {
        let named = |problem: String| format!("index {}: {problem}", index.name);
        let name = match IndexName::parse(&index.name) {
            Ok(name) => name.as_str().to_owned(),
            Err(problem) => {
                problems.push(problem);
                continue;
            }
        };
        let mapping = match modern(&index.mapping) {
            Ok(mapping) => mapping,
            Err(problem) => {
                problems.push(named(problem));
                continue;
            }
        };
        let owner = index.owned_fields.iter().cloned().collect::<std::collections::BTreeSet<_>>();
        let owners = if owner.is_empty() { Vec::new() } else { vec![owner] };
        let of_server = ["properties", RESERVED].iter().try_fold(&mapping, |object, key| object.get(*key)?.as_object());
        if of_server.is_some() || owners.iter().any(|owner| owner.contains(RESERVED)) {
            problems.push(named(format!("field {RESERVED} is the sink's own")));
        }
        match declared.iter_mut().find(|known| known.name == name) {
            None => declared.push(Declared { name, mapping, owners }),
            Some(known) => {
                let different = differences(&known.mapping, &mapping);
                problems.extend(different.into_iter().map(named));
                extend(&mut known.mapping, &mapping);
                match extend_owners(&known.owners, &owners) {
                    Ok(owners) => known.owners = owners,
                    Err(more) => problems.extend(more.into_iter().map(named)),
                }
            }
        }
    }
    if problems.is_empty() { Ok(declared) } else { Err(problems) }
}

/// Finds out what has to be done for an index. Changes nothing.
///
/// # Errors
/// An outage; inside, one line for each reason why the index that is there will not do.
pub(super) async fn plan(
    http: &Http,
    settings: &Settings,
    declared: &Declared,
) -> Result<Result<Plan, Vec<String>>, Outage> {
    let answer = http.send(Method::GET, &format!("/{}", declared.name), Content::None).await?;
    if answer.status == 404 {
        let target = Target { alias: true, owners: declared.owners.clone() };
        let step = Step::Create(creation(settings, declared));
        return Ok(Ok(Plan { name: declared.name.clone(), target, step }));
    }
    if !answer.is_success() {
        return Err(outage::of_answer(http, &format!("could not look at index {}", declared.name), &answer));
    }
    let planned = known(&declared.name, &answer.json()).map_err(|problem| vec![problem]);
    let planned = planned.and_then(|known| extension(settings, declared, known));
    let named = |problems: Vec<String>| {
        problems.into_iter().map(|problem| format!("index {}: {problem}", declared.name)).collect()
    };
    Ok(planned.map_err(named))
}

/// Does what was planned. None: another host made the index meanwhile, and a new plan is needed.
///
/// # Errors
/// An outage, or what the server says against it.
pub(super) async fn carry_out(http: &Http, plan: Plan) -> Result<Option<Target>, PrepareError> {
    let name = &plan.name;
    let mut requests = Vec::new();
    match plan.step {
        Step::Create(body) => requests.push((format!("/{name}-000001"), body)),
        Step::Extend { mapping, gc_deletes } => {
            requests.extend(mapping.map(|mapping| (format!("/{name}/_mapping"), mapping)));
            let settings = gc_deletes.map(|text| json!({ "index.gc_deletes": text }));
            requests.extend(settings.map(|settings| (format!("/{name}/_settings"), settings)));
        }
    }
    for (path, body) in requests {
        let answer = http.send(Method::PUT, &path, Content::Json(body)).await.map_err(PrepareError::Outage)?;
        let operation = format!("could not prepare index {name}");
        match answer.status {
            200..=299 => {}
            400 if answer.error_type() == "resource_already_exists_exception" => return Ok(None),
            400 => return Err(PrepareError::Refused(vec![format!("index {name}: {answer}")])),
            _ => return Err(PrepareError::Outage(outage::of_answer(http, &operation, &answer))),
        }
    }
    Ok(Some(plan.target))
}

fn creation(settings: &Settings, declared: &Declared) -> Value {
    // The analyser of the embedded index: words between blanks, in lower case.
    let words =
        json!({"analyzer": {"default": {"type": "custom", "tokenizer": "whitespace", "filter": ["lowercase"]}}});
    let mut index = Map::new();
    index.insert("gc_deletes".to_owned(), text_of(settings.gc_deletes).into());
    index.insert("analysis".to_owned(), words);
    for (key, value) in &settings.index_settings {
        let key = key.strip_prefix("index.").unwrap_or(key);
        index.insert(key.to_owned(), value.clone());
    }
    let aliases = json!({ &declared.name: {"is_write_index": true} });
    json!({"settings": {"index": index}, "mappings": mapping(declared, &declared.owners), "aliases": aliases})
}

/// The mapping to put: a shared index also has the sink's own field, and remembers its owners.
fn mapping(declared: &Declared, owners: &Owners) -> Value {
    let mut mapping = declared.mapping.clone();
    if !owners.is_empty() {
        let own = json!({
            "properties": {RESERVED: {"properties": {"version": {"type": "long"}, "deleted_at": {"type": "date"}}}},
            "_meta": {RESERVED: {"owners": owners}},
        });
        extend(&mut mapping, own.as_object().expect("it is written so"));
    }
    Value::Object(mapping)
}

/// Reads what the server says about an index or alias.
///
/// # Errors
/// Why it cannot be written.
fn known(name: &str, described: &Value) -> Result<Known, String> {
    let indices = described.as_object().ok_or("the server describes it as nothing that is known here")?;
    let mut all = indices.iter();
    let (Some((physical, index)), None) = (all.next(), all.next()) else {
        let names: Vec<&str> = indices.keys().map(String::as_str).collect();
        return Err(format!("it is an alias of {}, and documents are read and written by id in one", names.join(", ")));
    };
    let mapping = index.get("mappings").and_then(Value::as_object).cloned().unwrap_or_default();
    let setting = |path: &str| index.pointer(&format!("/settings/index/{path}")).and_then(Value::as_str);
    let owners = mapping.get("_meta").and_then(|meta| meta.pointer(&format!("/{RESERVED}/owners")));
    let owners = owners.map_or_else(|| Ok(Vec::new()), |owners| serde_json::from_value(owners.clone()));
    Ok(Known {
        alias: physical != name,
        owners: owners.map_err(|error| format!("its owners cannot be read: {error}"))?,
        mapping,
        gc_deletes: setting("gc_deletes").and_then(duration_of).unwrap_or(GC_DELETES),
        durable: setting("translog/durability").is_none_or(|durability| durability.eq_ignore_ascii_case("request")),
    })
}

fn extension(settings: &Settings, declared: &Declared, known: Known) -> Result<Plan, Vec<String>> {
    let mut problems = differences(&known.mapping, &declared.mapping);
    if !known.durable {
        problems.push("it acknowledges writes before they are on disk (index.translog.durability)".to_owned());
    }
    let owners = extend_owners(&known.owners, &declared.owners).unwrap_or_else(|more| {
        problems.extend(more);
        Owners::new()
    });
    if !problems.is_empty() {
        return Err(problems);
    }
    let mut mapping = mapping(declared, &owners);
    // It is put as a whole, and may hold what others keep there.
    if let (Some(Value::Object(theirs)), Some(Value::Object(ours))) =
        (known.mapping.get("_meta"), mapping.get_mut("_meta"))
    {
        let ours = std::mem::replace(ours, theirs.clone());
        extend(mapping["_meta"].as_object_mut().expect("it was replaced by one"), &ours);
    }
    // Owners are a list, and a list is compared as a whole.
    let is_there = covers(&Value::Object(known.mapping), &mapping);
    let gc_deletes = (known.gc_deletes < settings.gc_deletes).then(|| text_of(settings.gc_deletes));
    let step = Step::Extend { mapping: (!is_there).then_some(mapping), gc_deletes };
    Ok(Plan { name: declared.name.clone(), target: Target { alias: known.alias, owners }, step })
}

fn text_of(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}

/// A time as servers write it.
fn duration_of(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    match &text[digits..] {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_secs(number.checked_mul(60)?)),
        "h" => Some(Duration::from_secs(number.checked_mul(3600)?)),
        "d" => Some(Duration::from_secs(number.checked_mul(86_400)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(name: &str, mapping: &Value, owned: &[&str]) -> Index {
        let owned_fields = owned.iter().map(|field| (*field).to_owned()).collect();
        Index { name: name.to_owned(), part: None, mapping: mapping.to_string().into(), owned_fields }
    }

    fn described(mapping: &Value, settings: &Value) -> Value {
        json!({"cases-000001": {"aliases": {"cases": {}}, "mappings": mapping, "settings": {"index": settings}}})
    }

    #[test]
    fn an_alias_of_several_indices_is_refused() {
        let refused = known("cases", &json!({"a": {}, "b": {}})).unwrap_err();
        assert_eq!(refused, "it is an alias of a, b, and documents are read and written by id in one");
        assert!(!known("cases", &json!({"cases": {}})).unwrap().alias);
        assert!(known("cases", &json!({"cases-2": {}})).unwrap().alias);
    }

    #[test]
    fn an_index_that_acknowledges_early_is_refused() {
        let declared = declared(&[index("cases", &json!({}), &[])]).unwrap().remove(0);
        let known = known("cases", &described(&json!({}), &json!({"translog": {"durability": "ASYNC"}}))).unwrap();
        let refused = extension(&Settings::new("http://x"), &declared, known).unwrap_err();
        assert_eq!(refused, ["it acknowledges writes before they are on disk (index.translog.durability)"]);
    }

    #[test]
    fn what_is_there_is_not_put_again() {
        let shared = json!({"dynamic": false, "properties": {"a": {"type": "long"}}});
        let declared = declared(&[index("cases", &shared, &["a"])]).unwrap().remove(0);
        let now = mapping(&declared, &declared.owners);
        let known = known("cases", &described(&now, &json!({"gc_deletes": "2h"}))).unwrap();
        let plan = extension(&Settings::new("http://x"), &declared, known).unwrap();
        assert!(matches!(plan.step, Step::Extend { mapping: None, gc_deletes: None }), "{plan:?}");
    }

    #[test]
    fn several_declarations_are_one() {
        let a = json!({"properties": {"a": {"type": "long"}}});
        let b = json!({"properties": {"b": {"type": "long"}}});
        let both = declared(&[index("cases", &a, &["a"]), index("cases", &b, &["b"])]).unwrap();
        assert_eq!(both.len(), 1);
        assert_eq!(both[0].owners.len(), 2);
        assert_eq!(both[0].mapping["properties"].as_object().unwrap().len(), 2);
        let reserved = json!({"properties": {RESERVED: {"properties": {}}}});
        let refused = declared(&[index("Cases", &a, &[]), index("x", &reserved, &[]), index("y", &a, &[RESERVED])]);
        assert_eq!(refused.unwrap_err().len(), 3);
    }

    #[test]
    fn times_are_read_as_servers_write_them() {
        assert_eq!(duration_of("60s"), Some(GC_DELETES));
        assert_eq!(duration_of("3600000ms"), Some(Duration::from_hours(1)));
        assert_eq!(duration_of("7d"), Some(Duration::from_hours(168)));
        assert_eq!(duration_of("-1"), None);
    }
}

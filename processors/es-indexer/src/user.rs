//! The document of a user, as the user index holds it.

use std::borrow::Cow;

use crate::lookups::Lookups;
use crate::object::{self, Edit, Object};

/// What the configuration says about users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The look-up for the groups of a user, by the user's id.
    pub group_lookup: Option<String>,
    /// The fields that are written, where other processors write others of the same documents; none where the whole
    /// document is this processor's.
    pub owned_fields: Option<Vec<String>>,
}

/// The document for the index. `id` is the user's.
pub fn transform(user: &Object<'_>, id: &str, settings: &Settings, lookups: &mut Lookups<'_, '_>) -> String {
    let username = user.text("username");
    let base_username = match user.text("doc_type").as_deref() {
        Some("CommCareUser") => username.as_deref().and_then(|name| name.split('@').next()),
        _ => username.as_deref(),
    };
    let mut edits: Vec<(&str, Edit<'_>)> = Vec::with_capacity(4);
    edits.push(("base_username", base_username.map_or(Edit::NULL, Edit::text)));
    if let Some(lookup) = settings.group_lookup.as_deref() {
        let (ids, names) = groups(&lookups.all(lookup, id));
        edits.push(("__group_ids", Edit::Set(Cow::Owned(list(&ids)))));
        edits.push(("__group_names", Edit::Set(Cow::Owned(list(&names)))));
    }
    if let Some(data) = user.get("user_data").and_then(|data| Object::parse(data).ok()) {
        edits.push(("user_data_es", Edit::Set(Cow::Owned(pairs(&data)))));
    }
    if let Some(owned) = &settings.owned_fields {
        let foreign = user.fields().map(|(name, _)| name.as_str()).filter(|name| !owned.iter().any(|own| own == name));
        edits.extend(foreign.map(|name| (name, Edit::Remove)));
    }
    let mut document = String::new();
    user.write(&edits, &mut document);
    document
}

/// Ids and names of the groups that were found: each a document of its own, or all in a list `groups` of one, because
/// a store that answers one document for an id has no other way.
fn groups<'a>(found: &[Object<'a>]) -> (Vec<&'a str>, Vec<&'a str>) {
    let (mut ids, mut names) = (Vec::new(), Vec::new());
    let mut add = |group: &Object<'a>| {
        if let Some(id) = group.get("_id") {
            ids.push(id);
            names.push(group.get("name").unwrap_or("null"));
        }
    };
    for document in found {
        match document.get("groups").and_then(|groups| object::items(groups).ok()) {
            Some(groups) => {
                groups.into_iter().filter_map(|group| Object::parse(group).ok()).for_each(|group| add(&group));
            }
            None => add(document),
        }
    }
    (ids, names)
}

/// Values as a JSON list.
fn list(values: &[&str]) -> String {
    format!("[{}]", values.join(","))
}

fn pairs(data: &Object<'_>) -> String {
    let pair = |(name, value): (&object::Name<'_>, &str)| {
        format!("{{\"key\":{},\"value\":{value}}}", object::quoted(name.as_str()))
    };
    format!("[{}]", data.fields().map(pair).collect::<Vec<_>>().join(","))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::lookups::{Want, nothing};

    fn indexed(user: &Value, groups: Option<&[Vec<u8>]>) -> (Value, Vec<Want>) {
        let settings = Settings { group_lookup: Some("groups".to_owned()), owned_fields: None };
        let text = user.to_string();
        let find = |_: &str, id: &str| groups.filter(|_| id == "u");
        let mut lookups = Lookups::new(&find);
        let document = transform(&Object::parse(&text).unwrap(), "u", &settings, &mut lookups);
        (serde_json::from_str(&document).unwrap(), lookups.into_wants())
    }

    #[test]
    fn the_domain_is_cut_off_the_names_of_phone_users_alone() {
        let base = |doc_type: &str| {
            let user = json!({"doc_type": doc_type, "username": "ada@d.commcarehq.org"});
            indexed(&user, Some(&[])).0["base_username"].clone()
        };
        assert_eq!(base("CommCareUser"), "ada");
        assert_eq!(base("WebUser"), "ada@d.commcarehq.org");
        assert_eq!(indexed(&json!({"doc_type": "CommCareUser"}), Some(&[])).0["base_username"], Value::Null);
    }

    #[test]
    fn the_groups_are_looked_up() {
        let user = json!({"doc_type": "CommCareUser", "username": "a"});
        let (_, wants) = indexed(&user, None);
        assert_eq!(wants, [Want { lookup: "groups".to_owned(), key: "u".to_owned() }]);
        let single = [br#"{"_id":"g1","name":"one"}"#.to_vec(), br#"{"_id":"g2","name":"two"}"#.to_vec()];
        let together = [br#"{"groups":[{"_id":"g1","name":"one"},{"_id":"g2","name":"two"}]}"#.to_vec()];
        for found in [&single[..], &together] {
            let (document, wants) = indexed(&user, Some(found));
            assert!(wants.is_empty());
            assert_eq!(
                (&document["__group_ids"], &document["__group_names"]),
                (&json!(["g1", "g2"]), &json!(["one", "two"]))
            );
        }
        let (document, _) = indexed(&user, Some(&[]));
        assert_eq!((&document["__group_ids"], &document["__group_names"]), (&json!([]), &json!([])));
    }

    #[test]
    fn without_the_look_up_nothing_is_said_of_groups() {
        let settings = Settings { group_lookup: None, owned_fields: None };
        let document =
            transform(&Object::parse(r#"{"username":"a"}"#).unwrap(), "u", &settings, &mut Lookups::new(&nothing));
        assert_eq!(document, r#"{"username":"a","base_username":"a"}"#);
    }

    #[test]
    fn in_a_shared_index_only_owned_fields_are_written() {
        let owned_fields = Some(vec!["username".to_owned(), "base_username".to_owned()]);
        let settings = Settings { group_lookup: None, owned_fields };
        let user = Object::parse(r#"{"_rev":"1","username":"a","\u0078":1}"#).unwrap();
        let document = transform(&user, "u", &settings, &mut Lookups::new(&nothing));
        assert_eq!(document, r#"{"username":"a","base_username":"a"}"#);
    }

    #[test]
    fn the_data_of_a_user_becomes_pairs() {
        let user = json!({"user_data": {"age": 1.5, "role": "nurse"}});
        let (document, _) = indexed(&user, Some(&[]));
        assert_eq!(document["user_data_es"], json!([{"key": "age", "value": 1.5}, {"key": "role", "value": "nurse"}]));
        assert_eq!(document["user_data"], user["user_data"]);
        assert_eq!(indexed(&json!({"user_data": null}), Some(&[])).0.get("user_data_es"), None);
    }
}

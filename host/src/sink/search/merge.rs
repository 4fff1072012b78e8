//! Merges into a document, as values: deep for objects, arrays replaced, nulls stored, lists edited by value.

use serde_json::{Map, Value};

use crate::model::ListEdit;

/// Puts `fields` into `document`: objects are merged, everything else replaces what was there.
pub fn merge(document: &mut Map<String, Value>, fields: Map<String, Value>) {
    for (name, value) in fields {
        match (document.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(fields)) => merge(known, fields),
            (_, value) => {
                document.insert(name, value);
            }
        }
    }
}

/// Takes values out of a list in `document` and appends those that it lacks. A list that is absent or null is made
/// when there is something to add.
///
/// # Errors
/// When a value is not JSON, the path is empty, or something on it is not what it must be.
pub fn edit_list(document: &mut Map<String, Value>, edit: &ListEdit) -> Result<(), String> {
    let path = edit.path.join(".");
    let parse = |value: &bytes::Bytes| {
        serde_json::from_slice::<Value>(value)
            .map_err(|error| format!("a value for the list {path} is not JSON: {error}"))
    };
    let added = edit.add.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let removed = edit.remove.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    let Some((last, parents)) = edit.path.split_last() else {
        return Err("the path of a list is empty".to_owned());
    };
    let mut object = document;
    for name in parents {
        if added.is_empty() && object.get(name).is_none_or(Value::is_null) {
            return Ok(());
        }
        let child = object.entry(name.as_str()).or_insert(Value::Null);
        if child.is_null() {
            *child = Value::Object(Map::new());
        }
        let Value::Object(child) = child else {
            return Err(format!("{name} in the list's path {path} is not an object"));
        };
        object = child;
    }
    if added.is_empty() && object.get(last).is_none_or(Value::is_null) {
        return Ok(());
    }
    let list = object.entry(last.as_str()).or_insert(Value::Null);
    if list.is_null() {
        *list = Value::Array(Vec::new());
    }
    let Value::Array(list) = list else {
        return Err(format!("{path} is not a list"));
    };
    list.retain(|value| !removed.contains(value));
    for value in added {
        if !list.contains(&value) {
            list.push(value);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(document: Value, edits: &[(&str, &[Value], &[Value])], expected: Result<Value, &str>) {
        let mut document = document.as_object().unwrap().clone();
        let outcome = edits.iter().try_for_each(|(path, add, remove)| {
            let bytes = |values: &[Value]| values.iter().map(|value| value.to_string().into()).collect();
            let path = path.split('.').map(str::to_owned).collect();
            edit_list(&mut document, &ListEdit { path, add: bytes(add), remove: bytes(remove) })
        });
        assert_eq!(outcome.map(|()| Value::Object(document)), expected.map_err(str::to_owned));
    }

    #[test]
    fn objects_are_merged_and_arrays_replaced() {
        let mut document = json!({"a": {"x": 1, "y": [1, 2]}, "keep": 1, "gone": 2}).as_object().unwrap().clone();
        merge(&mut document, json!({"a": {"y": [3], "z": null}, "gone": null}).as_object().unwrap().clone());
        assert_eq!(Value::Object(document), json!({"a": {"x": 1, "y": [3], "z": null}, "keep": 1, "gone": null}));
    }

    #[test]
    fn a_list_takes_each_value_once_whatever_is_repeated() {
        let edit: &[(&str, &[Value], &[Value])] = &[("g.ids", &[json!("b"), json!("c")], &[json!("a")])];
        check(json!({"g": {"ids": ["a", "b", "a"]}}), edit, Ok(json!({"g": {"ids": ["b", "c"]}})));
        check(json!({"g": {"ids": ["b", "c"]}}), edit, Ok(json!({"g": {"ids": ["b", "c"]}})));
        check(json!({}), edit, Ok(json!({"g": {"ids": ["b", "c"]}})));
        check(json!({"g": {"ids": null}}), edit, Ok(json!({"g": {"ids": ["b", "c"]}})));
    }

    #[test]
    fn taking_from_an_absent_list_makes_none() {
        check(json!({"x": 1}), &[("g.ids", &[], &[json!(1)])], Ok(json!({"x": 1})));
    }

    #[test]
    fn what_is_not_a_list_is_left_alone() {
        check(json!({"g": {"ids": 5}}), &[("g.ids", &[json!(1)], &[])], Err("g.ids is not a list"));
        check(json!({"g": 5}), &[("g.ids", &[json!(1)], &[])], Err("g in the list's path g.ids is not an object"));
    }
}

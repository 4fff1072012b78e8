//! Puts lists into a processor's configuration, and says where what it complains of comes from.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::content::{Content, Found};
use crate::manifest::{ConfigList, ListSource, Processor};
use crate::model::Problem;

/// The configuration with its lists, as JSON.
///
/// # Errors
/// Why there is none: a list that was never read.
pub(in super::super) fn config(entry: &Processor, lists: &[Found]) -> Result<String, String> {
    let config = entry.config.json();
    if entry.lists.is_empty() {
        return Ok(config.to_owned());
    }
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(config).map_err(|error| format!("the configuration is no object: {error}"))?;
    let mut elements: BTreeMap<&str, Vec<Arc<str>>> = BTreeMap::new();
    for (list, found) in entry.lists.iter().zip(lists) {
        let content = ready(list, found)?;
        let elements = elements.entry(&list.key).or_insert_with(|| own(config, &list.key));
        elements.extend(content.elements.iter().map(|element| Arc::clone(&element.json)));
    }
    for (key, elements) in elements {
        let text = format!("[{}]", elements.join(","));
        let raw = RawValue::from_string(text).map_err(|error| format!("list `{key}` is no JSON: {error}"))?;
        fields.insert(key.to_owned(), raw);
    }
    serde_json::to_string(&fields).map_err(|error| format!("the configuration cannot be written: {error}"))
}

fn ready<'a>(list: &ConfigList, found: &'a Found) -> Result<&'a Content, String> {
    let of = || format!("list `{}` from {}", list.key, list.from);
    match found {
        Found::Ready(content) => Ok(content),
        Found::Loading => Err(format!("{} was not read yet", of())),
        Found::Away(reason) => Err(format!("{} cannot be read: {reason}", of())),
    }
}

/// The elements that the manifest itself has at the key; it was checked that they are a list.
fn own(config: &str, key: &str) -> Vec<Arc<str>> {
    let fields: BTreeMap<String, &RawValue> = serde_json::from_str(config).unwrap_or_default();
    let list = fields.get(key).and_then(|list| serde_json::from_str::<Vec<&RawValue>>(list.get()).ok());
    list.unwrap_or_default().into_iter().map(|element| Arc::from(element.get())).collect()
}

/// What a processor complains of in its configuration, a line each; elements of lists by the place they come from.
pub(in super::super) fn problems(entry: &Processor, lists: &[Found], problems: &[Problem]) -> Vec<String> {
    let line = |problem: &Problem| match origin(entry, lists, &problem.path) {
        Some((origin, "")) => format!("{origin}: {}", problem.message),
        Some((origin, path)) => format!("{origin}: {path}: {}", problem.message),
        None => format!("{}: {}", problem.path, problem.message),
    };
    problems.iter().map(line).collect()
}

/// Where an element comes from that a path leads into, and the rest of the path.
fn origin<'a>(entry: &Processor, lists: &'a [Found], path: &'a str) -> Option<(&'a str, &'a str)> {
    let (key, rest) = path.split_once('[')?;
    let (index, rest) = rest.split_once(']')?;
    let mut index = index.parse::<usize>().ok()?.checked_sub(own(entry.config.json(), key).len())?;
    for (list, found) in entry.lists.iter().zip(lists) {
        let Found::Ready(content) = found else { continue };
        if *list.key != *key {
            continue;
        }
        match content.elements.get(index) {
            Some(element) => return Some((&element.origin, rest.strip_prefix('.').unwrap_or(rest))),
            None => index -= content.elements.len(),
        }
    }
    None
}

/// How the lists of a processor are, for `status`; `away` says why a source cannot be read now.
pub(in super::super) fn status(
    entry: &Processor,
    lists: &[Found],
    away: impl Fn(&ListSource) -> Option<String>,
) -> Vec<Value> {
    let of = |(list, found): (&ConfigList, &Found)| {
        let mut problems: Vec<String> = away(&list.from).into_iter().collect();
        let mut status = json!({ "processor": entry.name.as_str(), "key": *list.key, "from": list.from.to_string() });
        match found {
            Found::Loading => {}
            Found::Away(reason) => problems.push(reason.clone()),
            Found::Ready(content) => {
                status["elements"] = json!(content.elements.len());
                problems.extend(content.troubles.iter().cloned());
            }
        }
        problems.dedup();
        status["problems"] = json!(problems);
        status
    };
    entry.lists.iter().zip(lists).map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::super::content::Element;
    use super::*;
    use crate::manifest::{self, Lookup, Source};

    struct Nothing;

    impl Lookup for Nothing {
        fn variable(&self, _: &str) -> Option<String> {
            None
        }

        fn read(&self, _: &std::path::Path) -> std::io::Result<String> {
            Err(std::io::ErrorKind::NotFound.into())
        }
    }

    const SETTINGS: &str = "[database]\nurl = \"sqlite:p.db\"\n[feeds.log]\nkind = \"changelog\"\n\
        [documents.store]\nkind = \"inline\"\n";

    /// A processor with lists at these keys.
    fn processor(config: &str, keys: &[&str]) -> Processor {
        let mut text = format!(
            "name = \"a\"\n[feed]\nfrom = \"log\"\ntopics = [\"t\"]\n[documents]\ndefault = \"store\"\n\
             [[processors]]\nname = \"p\"\nmodule = \"p.wasm\"\nconfig = {config}\n"
        );
        for (at, key) in keys.iter().enumerate() {
            text += &format!("[[processors.config-lists]]\nkey = \"{key}\"\nfiles = [\"{at}.json\"]\n");
        }
        let source = |path: &str, text: &str| Source { path: path.into(), text: text.to_owned() };
        let loaded = manifest::load(&source("s.toml", SETTINGS), &[source("a.toml", &text)], &Nothing);
        assert_eq!(loaded.problems, []);
        loaded.manifests[0].pillow().processors[0].clone()
    }

    fn list(name: &str, elements: &[&str]) -> Found {
        let element =
            |(at, json): (usize, &&str)| Element { origin: format!("{name}{at}").into(), json: (*json).into() };
        let elements = elements.iter().enumerate().map(element).collect();
        Found::Ready(Arc::new(Content::new(elements, Vec::new()).unwrap()))
    }

    #[test]
    fn lists_follow_what_the_manifest_has_at_their_key() {
        let entry = processor("{ a = [1, { b = 2 }], z = true }", &["a", "c", "a"]);
        let lists = [list("x", &["{\"x\": 1.0}"]), list("c", &[]), list("y", &["2", "3"])];
        assert_eq!(config(&entry, &lists).unwrap(), r#"{"a":[1,{"b":2},{"x": 1.0},2,3],"c":[],"z":true}"#);
        // Without lists it is handed on as it stands.
        assert_eq!(config(&processor("{ z = 1, a = 2 }", &[]), &[]).unwrap(), r#"{"a":2,"z":1}"#);
    }

    #[test]
    fn a_list_that_was_never_read_is_named() {
        let entry = processor("{}", &["a"]);
        let error = config(&entry, &[Found::Away("no answer".to_owned())]).unwrap_err();
        assert_eq!(error, "list `a` from 0.json cannot be read: no answer");
    }

    #[test]
    fn a_problem_is_told_with_the_place_that_its_element_comes_from() {
        let entry = processor("{ a = [0] }", &["a", "b", "a"]);
        let lists = [list("x", &["1", "2"]), list("b", &["1"]), list("y", &["3"])];
        let check = |path: &str, expected: &str| {
            let problem = Problem { path: path.to_owned(), part: None, message: "is wrong".to_owned() };
            assert_eq!(problems(&entry, &lists, &[problem]), [expected]);
        };
        check("a[0].k", "a[0].k: is wrong");
        check("a[1].k[3].l", "x0: k[3].l: is wrong");
        check("a[2]", "x1: is wrong");
        check("a[3].k", "y0: k: is wrong");
        check("a[4].k", "a[4].k: is wrong");
        check("b[0].k", "b0: k: is wrong");
        check("c", "c: is wrong");
    }
}

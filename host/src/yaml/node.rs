//! Values, shared by the aliases that repeat them.

use std::collections::HashMap;
use std::rc::Rc;

/// A value, with what it costs to write it out.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    /// About so many bytes of JSON, aliases included.
    pub(super) weight: usize,
    /// How deep lists and mappings stand in each other.
    pub(super) depth: usize,
}

#[derive(Debug)]
pub(super) enum Value {
    /// Null, a boolean or a number, as JSON has it.
    Word(String),
    Text(String),
    List(Vec<Rc<Node>>),
    Map(Entries),
}

/// The entries of a mapping. Of several with one key the last counts, in the place of the first, as in Python.
#[derive(Debug, Default)]
pub(super) struct Entries {
    entries: Vec<(String, Rc<Node>)>,
    places: HashMap<String, usize>,
}

impl Entries {
    pub(super) fn insert(&mut self, key: String, node: Rc<Node>) {
        match self.places.get(&key) {
            Some(place) => self.entries[*place].1 = node,
            None => {
                self.places.insert(key.clone(), self.entries.len());
                self.entries.push((key, node));
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &Rc<Node>)> {
        self.entries.iter().map(|(key, node)| (key, node))
    }
}

impl Node {
    pub(super) fn new(value: Value) -> Rc<Self> {
        let (weight, depth) = match &value {
            Value::Word(text) | Value::Text(text) => (text.len() + 3, 0),
            Value::List(nodes) => measure(nodes.iter()),
            Value::Map(entries) => {
                let (weight, depth) = measure(entries.iter().map(|(_, node)| node));
                (entries.iter().fold(weight, |weight, (key, _)| weight.saturating_add(key.len() + 3)), depth)
            }
        };
        Rc::new(Self { value, weight, depth })
    }

    pub(super) fn json(&self) -> String {
        let mut json = String::with_capacity(self.weight);
        self.write(&mut json);
        json
    }

    fn write(&self, json: &mut String) {
        match &self.value {
            Value::Word(word) => json.push_str(word),
            Value::Text(text) => quote(json, text),
            Value::List(nodes) => {
                json.push('[');
                for (at, node) in nodes.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    node.write(json);
                }
                json.push(']');
            }
            Value::Map(entries) => {
                json.push('{');
                for (at, (key, node)) in entries.iter().enumerate() {
                    if at > 0 {
                        json.push(',');
                    }
                    quote(json, key);
                    json.push(':');
                    node.write(json);
                }
                json.push('}');
            }
        }
    }
}

/// Weight and depth of what holds these.
fn measure<'a>(nodes: impl Iterator<Item = &'a Rc<Node>>) -> (usize, usize) {
    nodes.fold((2, 1), |(weight, depth), node| {
        (weight.saturating_add(node.weight).saturating_add(1), depth.max(node.depth.saturating_add(1)))
    })
}

fn quote(json: &mut String, text: &str) {
    json.push_str(&serde_json::Value::from(text).to_string());
}

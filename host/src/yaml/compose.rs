//! From the events of the parser to a value.

use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::Error;
use super::node::{Entries, Node, Value};
use super::scalar::{self, Scalar};

/// Lists and mappings within each other; whoever reads the JSON stops soon after it.
const MOST_DEPTH: usize = 100;
/// So many bytes may aliases repeat, all of them together: nine lines that double and double again are gigabytes.
const MOST_REPEATED: usize = 16 << 20;
/// The namespace of `!!str` and its like.
const CORE: &str = "tag:yaml.org,2002:";

/// A list or a mapping that is not closed.
struct Open {
    anchor: usize,
    place: Marker,
    items: Items,
}

enum Items {
    List(Vec<Rc<Node>>),
    Map {
        own: Vec<(String, Rc<Node>)>,
        /// What `<<` brings, which gives way to the mapping's own.
        merged: Vec<(String, Rc<Node>)>,
        key: Option<Key>,
    },
}

enum Key {
    Text(String),
    Merge,
}

#[derive(Default)]
struct Composer {
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    repeated: usize,
    done: Option<Rc<Node>>,
}

/// The value of the only document.
///
/// # Errors
/// The first thing that is wrong.
pub(super) fn compose(text: &str) -> Result<Rc<Node>, Error> {
    let mut composer = Composer::default();
    let mut documents = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) =
            event.map_err(|error| wrong(*error.marker(), format!("it is no YAML: {}", error.info())))?;
        let place = span.start;
        match event {
            Event::DocumentStart(_) => {
                documents += 1;
                if documents > 1 {
                    return Err(wrong(place, "a second document begins; a file holds one"));
                }
            }
            Event::Scalar(text, style, anchor, tag) => {
                composer.scalar(&text, style, (anchor, tag.as_deref()), place)?;
            }
            Event::Alias(anchor) => composer.alias(anchor, place)?,
            Event::SequenceStart(anchor, tag) => {
                composer.open(Items::List(Vec::new()), "seq", (anchor, tag.as_deref()), place)?;
            }
            Event::MappingStart(anchor, tag) => {
                let items = Items::Map { own: Vec::new(), merged: Vec::new(), key: None };
                composer.open(items, "map", (anchor, tag.as_deref()), place)?;
            }
            Event::SequenceEnd | Event::MappingEnd => composer.close()?,
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
        }
    }
    composer.done.ok_or_else(|| wrong(Marker::new(0, 1, 0), "it is empty"))
}

impl Composer {
    fn scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        (anchor, tag): (usize, Option<&Tag>),
        place: Marker,
    ) -> Result<(), Error> {
        let is_plain = style == ScalarStyle::Plain && tag.is_none();
        if is_plain && text == "<<" && self.key_is_due() {
            return self.begin_entry(Key::Merge);
        }
        let scalar = match tag {
            None if is_plain => scalar::plain(text),
            None => Ok(Scalar::Text),
            // A lone `!` says that the text is not to be looked at.
            Some(tag) if tag.suffix == "!" || (tag.handle == "!" && tag.suffix.is_empty()) => Ok(Scalar::Text),
            Some(tag) if tag.handle == CORE => scalar::tagged(&tag.suffix, text),
            Some(tag) => Err(unknown(tag)),
        };
        let scalar = scalar.map_err(|problem| wrong(place, problem))?;
        if self.key_is_due() && scalar != Scalar::Text {
            let problem = format!(
                "a key must be a text, and `{text}` is {} here: put it in quotes",
                match scalar {
                    Scalar::Null => "null",
                    Scalar::Bool(true) => "the boolean true",
                    Scalar::Bool(false) => "the boolean false",
                    Scalar::Number(_) => "a number",
                    Scalar::Moment(_) => "a date",
                    Scalar::Text => "a text",
                }
            );
            return Err(wrong(place, problem));
        }
        let value = match scalar {
            Scalar::Null => Value::Word("null".to_owned()),
            Scalar::Bool(flag) => Value::Word(flag.to_string()),
            Scalar::Number(number) => Value::Word(number),
            Scalar::Moment(moment) => Value::Text(moment),
            Scalar::Text => Value::Text(text.to_owned()),
        };
        self.put(Node::new(value), anchor, place)
    }

    fn alias(&mut self, anchor: usize, place: Marker) -> Result<(), Error> {
        let Some(node) = self.anchors.get(&anchor).map(Rc::clone) else {
            return Err(wrong(place, "the alias stands within what it would repeat"));
        };
        self.repeated = self.repeated.saturating_add(node.weight);
        if self.repeated > MOST_REPEATED {
            return Err(wrong(place, format!("aliases repeat more than {} MiB", MOST_REPEATED >> 20)));
        }
        self.put(node, 0, place)
    }

    fn open(
        &mut self,
        items: Items,
        kind: &str,
        (anchor, tag): (usize, Option<&Tag>),
        place: Marker,
    ) -> Result<(), Error> {
        if let Some(tag) = tag.filter(|tag| tag.handle != CORE || tag.suffix != kind) {
            return Err(wrong(place, unknown(tag)));
        }
        if self.key_is_due() {
            return Err(wrong(place, "a key must be a text, not a list or a mapping"));
        }
        if self.open.len() >= MOST_DEPTH {
            return Err(too_deep(place));
        }
        self.open.push(Open { anchor, place, items });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Error> {
        // The parser closes what it opened.
        let Some(Open { anchor, place, items }) = self.open.pop() else { return Ok(()) };
        let value = match items {
            Items::List(nodes) => Value::List(nodes),
            Items::Map { own, merged, .. } => {
                let mut entries = Entries::default();
                merged.into_iter().chain(own).for_each(|(key, node)| entries.insert(key, node));
                Value::Map(entries)
            }
        };
        let node = Node::new(value);
        // Aliases make it deeper than it is written.
        if node.depth > MOST_DEPTH {
            return Err(too_deep(place));
        }
        self.put(node, anchor, place)
    }

    /// Whether what comes next is the key of an entry.
    fn key_is_due(&self) -> bool {
        matches!(self.open.last(), Some(Open { items: Items::Map { key: None, .. }, .. }))
    }

    fn begin_entry(&mut self, begun: Key) -> Result<(), Error> {
        if let Some(Open { items: Items::Map { key, .. }, .. }) = self.open.last_mut() {
            *key = Some(begun);
        }
        Ok(())
    }

    /// Puts a whole value where it stands.
    fn put(&mut self, node: Rc<Node>, anchor: usize, place: Marker) -> Result<(), Error> {
        if anchor > 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        if self.key_is_due() {
            let Value::Text(text) = &node.value else {
                return Err(wrong(place, "a key must be a text"));
            };
            return self.begin_entry(Key::Text(text.clone()));
        }
        match self.open.last_mut().map(|open| &mut open.items) {
            None => self.done = Some(node),
            Some(Items::List(nodes)) => nodes.push(node),
            Some(Items::Map { own, merged, key }) => match key.take() {
                Some(Key::Text(key)) => own.push((key, node)),
                Some(Key::Merge) | None => merged.extend(merge(&node).map_err(|problem| wrong(place, problem))?),
            },
        }
        Ok(())
    }
}

/// The entries that `<<` brings: those of a mapping, or of a list of mappings, of which the first counts most.
fn merge(node: &Node) -> Result<Vec<(String, Rc<Node>)>, &'static str> {
    const EXPECTED: &str = "`<<` merges a mapping, or a list of mappings";
    let entries = |node: &Node| match &node.value {
        Value::Map(entries) => Ok(entries.iter().map(|(key, node)| (key.clone(), Rc::clone(node))).collect()),
        _ => Err(EXPECTED),
    };
    match &node.value {
        Value::List(nodes) => {
            let maps: Result<Vec<Vec<_>>, _> = nodes.iter().rev().map(|node| entries(node)).collect();
            Ok(maps?.concat())
        }
        _ => entries(node),
    }
}

fn unknown(tag: &Tag) -> String {
    let Tag { handle, suffix } = tag;
    match handle.as_str() {
        CORE => format!("the tag !!{suffix} does not fit here, or cannot be said in JSON"),
        _ => format!("the tag {handle}{suffix} is not known"),
    }
}

fn too_deep(place: Marker) -> Error {
    wrong(place, format!("lists and mappings stand more than {MOST_DEPTH} deep in each other"))
}

fn wrong(place: Marker, problem: impl Into<String>) -> Error {
    Error { line: place.line(), column: place.col() + 1, problem: problem.into() }
}

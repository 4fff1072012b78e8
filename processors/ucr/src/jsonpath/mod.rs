//! Paths into documents, in the dialect of `jsonpath_ng.ext` 1.5.3.
//!
//! The parser is our own: the dialect has operators (`where`, unions, arithmetic, sorting, quoted operators such as
//! `` `len` ``), a binding of `..` and `|` and conversions in filters that no library for RFC 9535 or its forerunners
//! shares, and what the original's users wrote has to keep its meaning, oddities included: `form..case.name` looks for
//! `case.name` below `form`, `a.b|c.d` is `a.(b|c).d`, `[?(@.n > 1)]` compares integers with the decimals cut off, an
//! index into a text gives a character, and a filter that meets a value it cannot compare fails the document.
//!
//! Differences that are left: paths nested deeper than [`MOST_NESTING`], longer than [`MOST_CHARACTERS`], or with more
//! than [`MOST_MATCHES`] matches on the way are refused; regular expressions are those of [`crate::regex`].

mod find;
mod functions;
mod parse;
mod token;

use crate::EvalError;
use crate::regex::Pattern;
use crate::value::{Text, Value};

pub const MOST_NESTING: usize = 50;
pub const MOST_CHARACTERS: usize = 10_000;
pub const MOST_MATCHES: usize = 1_000_000;

#[derive(Clone, Debug)]
pub struct Path {
    node: Node,
    /// The names of a path that has nothing but names, as nearly all have.
    names: Option<Box<[Box<str>]>>,
}

#[derive(Clone, Debug)]
enum Node {
    Root,
    This,
    Parent,
    /// Names or `*`; one `*` among them stands for all.
    Fields(Vec<Text<'static>>),
    Index(i64),
    Slice(Option<i64>, Option<i64>),
    Filter(Vec<Condition>),
    /// By paths, descending where the flag says so; without paths by the elements themselves.
    Sorted(Vec<(Node, bool)>),
    Len,
    Str,
    Sub(Box<Pattern>, String),
    Split {
        separator: String,
        segment: i64,
        most: i64,
    },
    Chain(Box<Node>, Vec<Step>),
    Union(Vec<Node>),
    /// Parsed by the original, which then cannot find with it.
    Intersection,
    Arithmetic(Box<Operand>, Operator, Box<Operand>),
}

#[derive(Clone, Debug)]
enum Step {
    Child(Node),
    Descendants(Node),
    Where(Node),
}

#[derive(Clone, Debug)]
enum Operand {
    Path(Node),
    Literal(Value<'static>),
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Add,
    Subtract,
    Multiply,
}

#[derive(Clone, Debug)]
struct Condition {
    target: Node,
    test: Option<(Comparison, Value<'static>)>,
}

#[derive(Clone, Debug)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    /// `Err` is what is wrong with the pattern, which the original finds out when it is used.
    Matches(Result<Box<Pattern>, String>),
}

impl Path {
    /// # Errors
    ///
    /// What is wrong with the path.
    pub fn compile(text: &str) -> Result<Self, String> {
        let node = parse::parse(text)?;
        let names = names(&node);
        Ok(Self { node, names })
    }

    /// All matches, in the order of the document.
    ///
    /// # Errors
    ///
    /// Values that cannot be compared, indexed or sorted, and too many matches.
    pub fn find<'a>(&self, value: &Value<'a>) -> Result<Vec<Value<'a>>, EvalError> {
        let Some(names) = &self.names else { return find::find(&self.node, value) };
        let mut found = Some(value);
        for name in names {
            found = found.and_then(|value| value.property(name));
        }
        Ok(found.cloned().into_iter().collect())
    }
}

fn names(node: &Node) -> Option<Box<[Box<str>]>> {
    let name = |node: &Node| match node {
        Node::Fields(fields) => match fields.as_slice() {
            [name] if **name != *"*" => Some(Box::from(&**name)),
            _ => None,
        },
        _ => None,
    };
    let (first, steps) = match node {
        Node::Chain(first, steps) => (&**first, steps.as_slice()),
        node => (node, &[][..]),
    };
    let mut names = match first {
        Node::Root => Vec::new(),
        first => vec![name(first)?],
    };
    for step in steps {
        let Step::Child(node) = step else { return None };
        names.push(name(node)?);
    }
    Some(names.into())
}

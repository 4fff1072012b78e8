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

use crate::regex::Pattern;
use crate::value::{Text, Value};
use crate::{EvalError, Limits};

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
        self.find_counting(value, &mut 0)
    }

    /// As [`Path::find`], where what is looked at on the way counts as steps.
    pub(crate) fn find_within<'a>(&self, value: &Value<'a>, limits: &Limits) -> Result<Vec<Value<'a>>, EvalError> {
        let mut looked_at = 0;
        let found = self.find_counting(value, &mut looked_at);
        limits.spend(looked_at)?;
        found
    }

    fn find_counting<'a>(&self, value: &Value<'a>, looked_at: &mut usize) -> Result<Vec<Value<'a>>, EvalError> {
        let Some(names) = &self.names else { return find::find(&self.node, value, looked_at) };
        *looked_at += names.len();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::parse;

    const DOCUMENT: &str = r#"{"form": {"case": {"name": "a"}, "nested": {"case": {"name": "b"}}, "n": "7", "null": null,
        "list": [{"case": {"name": "c"}, "n": 2}, {"nested": {"case": {"name": "d"}}, "n": 1}], "numbers": [3, 1, 2],
        "@id": "x", "text": "one two", "f": 1.5}}"#;

    fn found(path: &str) -> Result<String, EvalError> {
        let document = parse(DOCUMENT).unwrap();
        let path = Path::compile(path).unwrap_or_else(|problem| panic!("{path}: {problem}"));
        path.find(&document).map(|values| Value::list(values).repr())
    }

    fn check(path: &str, expected: &str) {
        assert_eq!(found(path).as_deref(), Ok(expected), "{path}");
    }

    #[test]
    fn names_indexes_and_slices() {
        check("form.case.name", "['a']");
        check("$.form.case.name", "['a']");
        check("form['case']['name']", "['a']");
        check("form.\"@id\"", "['x']");
        check("form.@id", "['x']");
        check("form.zz", "[]");
        check("form.null", "[None]");
        check("form.case,n", "[{'name': 'a'}, '7']");
        check("form.case.*", "['a']");
        check("form.list[0].n", "[2]");
        check("form.list[-1].n", "[1]");
        check("form.list[5].n", "[]");
        check("form.list[*].n", "[2, 1]");
        check("form.numbers[1:]", "[1, 2]");
        check("form.numbers[:-1]", "[3, 1]");
        check("form.n[0]", "['7']");
        check("form.n[*]", "['7']");
    }

    #[test]
    fn descendants_and_unions_bind_as_in_the_original() {
        check("$..name", "['a', 'b', 'c', 'd']");
        check("form..case.name", "['a', 'b', 'c', 'd']");
        check("form..numbers[0]", "[3]");
        check("form.case.name|form.n", "[]");
        check("(form.case.name)|(form.n)", "['a', '7']");
        check("form.nested.`parent`.n", "['7']");
        check("form.* where name", "[{'name': 'a'}]");
    }

    #[test]
    fn filters_cut_decimals_off_and_take_the_values_of_a_dict() {
        check("form.list[?(@.n > 1)].n", "[2]");
        check("form.list[?n == 1].n", "[1]");
        check("form.list[?case.name = 'c'].n", "[2]");
        check("form.list[?(@.n > 0 & @.case.name = 'c')].n", "[2]");
        check("form.list[?nested].n", "[1]");
        check("form.list[?case.name =~ '^[a-c]$'].n", "[2]");
        check("$[?(@.f > 1)]", "[]");
        check("form[?name != 'x']", "[{'name': 'a'}]");
        assert!(matches!(found("$[?(@.null > 1)]"), Err(EvalError::Type(_))));
        assert!(matches!(found("$[?(@.text =~ '[')]"), Err(EvalError::Config(_))));
    }

    #[test]
    fn sorting_and_quoted_operators() {
        check(r"form.list[/n][0].n", "[1]");
        check(r"form.list[\n][0].n", "[2]");
        check("form.numbers.`sorted`", "[[1, 2, 3]]");
        check("form.list.`len`", "[2]");
        check("form.text.`len`", "[7]");
        check("form.f.`str()`", "['1.5']");
        check("form.text.`sub(/(\\\\w+) (\\\\w+)/, \\\\2 \\\\1)`", "['two one']");
        check("form.text.`split( , 1, -1)`", "['two']");
        assert!(found("form.text.`sorted`").is_err());
    }

    #[test]
    fn arithmetic_is_between_matches_and_takes_lone_names_as_texts() {
        check("$.form.f + 1", "[2.5]");
        check("form.numbers[*] * 2", "[6, 2, 4]");
        check("a + b", "['ab']");
        check("$.form.f + a", "[]");
        check("$.form.f - $.form.f", "[0.0]");
    }

    #[test]
    fn what_the_original_cannot_parse_is_refused() {
        for path in [
            "",
            "a[",
            "[",
            "form..",
            "a b c",
            "`keys`",
            "a.`split(x)`",
            "a / b",
            "[?(@.n > 1)]",
            "a[?]",
            "a.1",
            "5",
            "a[1.5]",
            "'a",
            "a.true",
            "`sub(/[/, x)`",
        ] {
            assert!(Path::compile(path).is_err(), "{path}");
        }
    }

    #[test]
    fn limits_hold_whatever_the_path() {
        for text in ["(".repeat(5000), "a[?".repeat(3000), "a[/".repeat(3000), "1+".repeat(4000), "a".repeat(20_000)] {
            assert!(Path::compile(&text).is_err());
        }
        let long = format!("a{}", ".b".repeat(4000));
        assert_eq!(Path::compile(&long).unwrap().find(&Value::Null).unwrap().len(), 0);
        let nested = format!("{}1{}", "[".repeat(40), "]".repeat(40));
        let value = parse(&nested).unwrap();
        let wide = Path::compile(&format!("${}", "..[*]".repeat(30))).unwrap();
        assert!(matches!(wide.find(&value), Err(EvalError::Limit(_))));
    }
}

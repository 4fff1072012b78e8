//! The query language: words, phrases, `field:value`, ranges, AND, OR, NOT and brackets, as a syntax tree.
//!
//! It is that of Elasticsearch's `query_string` without boosts, fuzziness and regular expressions. AND binds tighter
//! than standing side by side, which binds tighter than OR. Side by side means "at least one, and the more the
//! better"; `+` before a clause makes it necessary, `-` (or NOT) forbids it.

use std::ops::Bound;

/// The deepest nesting of brackets and NOTs that is followed; beyond, the query is refused.
const DEEPEST: usize = 50;

/// A query.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    /// Side by side.
    Clauses(Vec<(Needed, Self)>),
    /// At least one of them.
    Any(Vec<Self>),
    /// All of them.
    All(Vec<Self>),
    /// Everything but this.
    Not(Box<Self>),
    /// A test.
    Leaf(Leaf),
}

/// What a clause means for the ones beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needed {
    Should,
    Must,
    MustNot,
}

/// A test of one field or of all.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Leaf {
    /// None: every field.
    pub(super) field: Option<String>,
    pub(super) test: Test,
    /// Where it stands: a count of bytes.
    pub(super) at: usize,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Test {
    /// There is a value.
    Exists,
    Word(String),
    Prefix(String),
    Phrase(String),
    Range(Bound<String>, Bound<String>),
}

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SyntaxError {
    /// Where: a count of bytes.
    pub(super) at: usize,
    pub(super) problem: String,
}

/// Reads a query.
pub(super) fn parse(text: &str) -> Result<Node, SyntaxError> {
    let mut parser = Parser { text, at: 0, depth: 0 };
    let node = parser.any(None)?;
    parser.blanks();
    if parser.at < text.len() {
        return Err(parser.error("this bracket closes nothing"));
    }
    Ok(node)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

type Parsed<T> = Result<T, SyntaxError>;

impl Parser<'_> {
    fn any(&mut self, field: Option<&str>) -> Parsed<Node> {
        let mut alternatives = vec![self.clauses(field)?];
        while self.keyword("OR") || self.symbol("||") {
            alternatives.push(self.clauses(field)?);
        }
        Ok(single(alternatives, Node::Any))
    }

    fn clauses(&mut self, field: Option<&str>) -> Parsed<Node> {
        let mut clauses = Vec::new();
        loop {
            self.blanks();
            if self.rest().is_empty() || self.rest().starts_with(')') || self.is_keyword("OR") || self.is_symbol("||") {
                break;
            }
            let needed = if self.symbol("+") {
                Needed::Must
            } else if self.negation() {
                Needed::MustNot
            } else {
                Needed::Should
            };
            let node = self.all(field)?;
            clauses.push((needed, node));
        }
        match clauses.as_slice() {
            [] => Err(self.error("a word, a phrase, a field or a bracket is expected here")),
            [(Needed::Should | Needed::Must, node)] => Ok(node.clone()),
            [(Needed::MustNot, node)] => Ok(Node::Not(Box::new(node.clone()))),
            _ => Ok(Node::Clauses(clauses)),
        }
    }

    fn all(&mut self, field: Option<&str>) -> Parsed<Node> {
        let mut nodes = vec![self.one(field)?];
        while self.keyword("AND") || self.symbol("&&") {
            nodes.push(if self.negation() { Node::Not(Box::new(self.one(field)?)) } else { self.one(field)? });
        }
        Ok(single(nodes, Node::All))
    }

    fn one(&mut self, field: Option<&str>) -> Parsed<Node> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(self.error("brackets are nested too deeply"));
        }
        let node = self.one_nested(field);
        self.depth -= 1;
        node
    }

    fn one_nested(&mut self, field: Option<&str>) -> Parsed<Node> {
        self.blanks();
        let at = self.at;
        if self.negation() {
            return Ok(Node::Not(Box::new(self.one(field)?)));
        }
        if self.symbol("(") {
            let inside = self.any(field)?;
            self.blanks();
            if !self.symbol(")") {
                return Err(SyntaxError { at, problem: "this bracket is not closed".to_owned() });
            }
            return Ok(inside);
        }
        if field.is_none()
            && let Some(name) = self.field_name()
        {
            self.blanks();
            if self.rest().starts_with('(') {
                return self.one(Some(&name));
            }
            return self.test(Some(name), at);
        }
        self.test(field.map(str::to_owned), at)
    }

    /// A name and its colon, if they stand here.
    fn field_name(&mut self) -> Option<String> {
        let start = self.at;
        let name = self.word(&[':']);
        if !name.text.is_empty() && self.symbol(":") {
            return Some(name.text);
        }
        self.at = start;
        None
    }

    fn test(&mut self, field: Option<String>, at: usize) -> Parsed<Node> {
        let leaf = |field, test| Ok(Node::Leaf(Leaf { field, test, at }));
        for (symbol, lower, inclusive) in
            [(">=", true, true), ("<=", false, true), (">", true, false), ("<", false, false)]
        {
            if field.is_some() && self.symbol(symbol) {
                self.blanks();
                let value = self.value("a value")?;
                let bound = if inclusive { Bound::Included(value) } else { Bound::Excluded(value) };
                let range = if lower { (bound, Bound::Unbounded) } else { (Bound::Unbounded, bound) };
                return leaf(field, Test::Range(range.0, range.1));
            }
        }
        match self.rest().chars().next() {
            Some('"') => {
                let phrase = self.phrase()?;
                leaf(field, Test::Phrase(phrase))
            }
            Some('[' | '{') if field.is_some() => {
                let (lower, upper) = self.range()?;
                leaf(field, Test::Range(lower, upper))
            }
            Some('[' | '{') => Err(self.error("a range needs a field: field:[from TO to]")),
            _ => {
                let word = self.word(&[]);
                if word.text.is_empty() {
                    let problem =
                        if field.is_some() { "a value is expected after the colon" } else { "a word is expected here" };
                    return Err(self.error(problem));
                }
                match (field, word.stars) {
                    (None, 0) if ["AND", "OR", "NOT", "TO"].contains(&word.text.as_str()) && !word.escaped => {
                        Err(SyntaxError {
                            at,
                            problem: format!("{} needs something on both sides; quote it to search for it", word.text),
                        })
                    }
                    (Some(name), 0) if name == "_exists_" => leaf(Some(word.text), Test::Exists),
                    // `*:*` is everything too.
                    (Some(name), 1) if name == "*" && word.text == "*" => leaf(None, Test::Exists),
                    (field, 0) => leaf(field, Test::Word(word.text)),
                    (field, 1) if word.text == "*" => leaf(field, Test::Exists),
                    (field, 1) if word.ends_with_star => {
                        let prefix = word.text[..word.text.len() - 1].to_owned();
                        leaf(field, Test::Prefix(prefix))
                    }
                    _ => Err(SyntaxError { at, problem: "a * is understood at the end of a word only".to_owned() }),
                }
            }
        }
    }

    fn phrase(&mut self) -> Parsed<String> {
        let start = self.at;
        self.at += 1;
        let mut phrase = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((offset, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += offset + 1;
                    return Ok(phrase);
                }
                '\\' => phrase.extend(chars.next().map(|(_, escaped)| escaped)),
                c => phrase.push(c),
            }
        }
        Err(SyntaxError { at: start, problem: "this quote is not closed".to_owned() })
    }

    fn range(&mut self) -> Parsed<(Bound<String>, Bound<String>)> {
        let start = self.at;
        let from_included = self.rest().starts_with('[');
        self.at += 1;
        self.blanks();
        let from = self.value("where the range starts")?;
        if !self.keyword("TO") {
            return Err(self.error("TO is expected here: [from TO to]"));
        }
        self.blanks();
        let to = self.value("where the range ends")?;
        self.blanks();
        let to_included = match self.rest().chars().next() {
            Some(']') => true,
            Some('}') => false,
            _ => return Err(SyntaxError { at: start, problem: "this range is not closed".to_owned() }),
        };
        self.at += 1;
        let bound = |value: String, included| match value.as_str() {
            "*" => Bound::Unbounded,
            _ if included => Bound::Included(value),
            _ => Bound::Excluded(value),
        };
        Ok((bound(from, from_included), bound(to, to_included)))
    }

    fn value(&mut self, what: &str) -> Parsed<String> {
        if self.rest().starts_with('"') {
            return self.phrase();
        }
        let word = self.word(&[]);
        if word.text.is_empty() { Err(self.error(&format!("{what} is expected here"))) } else { Ok(word.text) }
    }

    fn word(&mut self, also_end: &[char]) -> Word {
        const END: [char; 7] = ['(', ')', '[', ']', '{', '}', '"'];
        let mut word = Word { text: String::new(), stars: 0, ends_with_star: false, escaped: false };
        let mut length = self.rest().len();
        let mut chars = self.rest().char_indices();
        while let Some((offset, c)) = chars.next() {
            if c.is_whitespace() || END.contains(&c) || also_end.contains(&c) {
                length = offset;
                break;
            }
            word.ends_with_star = c == '*';
            word.stars += usize::from(c == '*');
            if c == '\\' {
                word.escaped = true;
                word.text.extend(chars.next().map(|(_, escaped)| escaped));
            } else {
                word.text.push(c);
            }
        }
        self.at += length;
        word
    }

    fn negation(&mut self) -> bool {
        self.keyword("NOT") || self.symbol("!") || self.symbol("-")
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        self.rest().starts_with(symbol)
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let is_here = self.is_symbol(symbol);
        if is_here {
            self.at += symbol.len();
        }
        is_here
    }

    /// A keyword stands alone: `ORDER` is a word.
    fn is_keyword(&self, keyword: &str) -> bool {
        self.rest().strip_prefix(keyword).is_some_and(|rest| {
            rest.chars().next().is_none_or(|next| next.is_whitespace() || ['(', ')', '"'].contains(&next))
        })
    }

    fn keyword(&mut self, keyword: &str) -> bool {
        self.blanks();
        let is_here = self.is_keyword(keyword);
        if is_here {
            self.at += keyword.len();
            self.blanks();
        }
        is_here
    }

    fn blanks(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn error(&self, problem: &str) -> SyntaxError {
        SyntaxError { at: self.at, problem: problem.to_owned() }
    }
}

struct Word {
    text: String,
    stars: usize,
    ends_with_star: bool,
    escaped: bool,
}

fn single(mut nodes: Vec<Node>, many: impl Fn(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        1 => nodes.remove(0),
        _ => many(nodes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn show(node: &Node) -> String {
        let all = |nodes: &[Node], between: &str| nodes.iter().map(show).collect::<Vec<_>>().join(between);
        match node {
            Node::Any(nodes) => format!("({})", all(nodes, " | ")),
            Node::All(nodes) => format!("({})", all(nodes, " & ")),
            Node::Not(node) => format!("!{}", show(node)),
            Node::Clauses(clauses) => {
                let clause = |(needed, node): &(Needed, Node)| match needed {
                    Needed::Should => show(node),
                    Needed::Must => format!("+{}", show(node)),
                    Needed::MustNot => format!("-{}", show(node)),
                };
                format!("({})", clauses.iter().map(clause).collect::<Vec<_>>().join(" "))
            }
            Node::Leaf(leaf) => {
                let field = leaf.field.as_ref().map_or(String::new(), |field| format!("{field}:"));
                match &leaf.test {
                    Test::Exists => format!("{field}*"),
                    Test::Word(word) => format!("{field}<{word}>"),
                    Test::Prefix(prefix) => format!("{field}<{prefix}>*"),
                    Test::Phrase(phrase) => format!("{field}\"{phrase}\""),
                    Test::Range(from, to) => format!("{field}{from:?}..{to:?}"),
                }
            }
        }
    }

    fn check(query: &str, expected: &str) {
        let found = match parse(query) {
            Ok(node) => show(&node),
            Err(error) => format!("{}: {}", error.at, error.problem),
        };
        assert_eq!(found, expected, "{query}");
    }

    #[test]
    fn operators_bind_as_documented() {
        check("a", "<a>");
        check("a b", "(<a> <b>)");
        check("a b OR c AND d", "((<a> <b>) | (<c> & <d>))");
        check("a AND NOT b", "(<a> & !<b>)");
        check("NOT (a OR b)", "!(<a> | <b>)");
        check("+a -b c", "(+<a> -<b> <c>)");
        check("ORDER NOTE", "(<ORDER> <NOTE>)");
    }

    #[test]
    fn fields_take_every_kind_of_value() {
        check("form.meta.userID:u-1", "form.meta.userID:<u-1>");
        check("d:2024-01-01T10:00:00Z", "d:<2024-01-01T10:00:00Z>");
        check(r#"name:"Ada \"L\"""#, r#"name:"Ada "L"""#);
        check("name:(ada OR grace)", "(name:<ada> | name:<grace>)");
        check("n:[1 TO 5}", r#"n:Included("1")..Excluded("5")"#);
        check("n:>=-3", r#"n:Included("-3")..Unbounded"#);
        check("d:[* TO 2024-01-01]", r#"d:Unbounded..Included("2024-01-01")"#);
        check("n:-3", "n:<-3>");
        check("name:ad*", "name:<ad>*");
        check("name:* _exists_:x *:* *", "(name:* x:* * *)");
        check(r"http\://x a\*", r"(<http://x> <a*>)");
    }

    #[test]
    fn errors_say_where() {
        check("", "0: a word, a phrase, a field or a bracket is expected here");
        check("a AND", "5: a word is expected here");
        check("(a OR b", "0: this bracket is not closed");
        check("a) b", "1: this bracket closes nothing");
        check("name:\"ada", "5: this quote is not closed");
        check("name: ", "6: a value is expected after the colon");
        check("n:[1 5]", "5: TO is expected here: [from TO to]");
        check("n:[1 TO 5", "2: this range is not closed");
        check("[1 TO 5]", "0: a range needs a field: field:[from TO to]");
        check("a*b", "0: a * is understood at the end of a word only");
        check("AND b", "0: AND needs something on both sides; quote it to search for it");
        check(&"(".repeat(100), "50: brackets are nested too deeply");
    }

    proptest! {
        #[test]
        fn any_text_is_a_query_or_an_error_within_it(text in "[a-z:()\\[\\]{}\"*+!\\\\ <>=é-]{0,40}|\\PC{0,30}") {
            if let Err(error) = parse(&text) {
                prop_assert!(error.at <= text.len());
            }
        }
    }
}

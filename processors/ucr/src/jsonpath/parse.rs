//! From words to a path.
//!
//! How tightly operators bind follows from the original's grammar: from loose to tight arithmetic (whose right side
//! takes all that follows), `..`, `.`, `|`, `&`, `where`. Brackets bind looser than a dot, so that `a.b[0]` is the
//! first of `a.b`.

use super::functions::named_operator;
use super::token::{Token, tokens};
use super::{Comparison, Condition, MOST_CHARACTERS, MOST_NESTING, Node, Operand, Operator, Step};
use crate::regex::Pattern;
use crate::value::{Text, Value};

const LOOSEST: u8 = 0;
const DESCENDANTS: u8 = 4;
const CHILD: u8 = 5;
const UNION: u8 = 6;
const INTERSECTION: u8 = 7;
const WHERE: u8 = 8;

pub(super) fn parse(text: &str) -> Result<Node, String> {
    if text.len() > MOST_CHARACTERS {
        return Err(format!("a path of more than {MOST_CHARACTERS} characters"));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, nesting: 0 };
    let node = parser.path(LOOSEST)?;
    match parser.peek() {
        None => Ok(node),
        Some(token) => Err(format!("unexpected {token:?}")),
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    nesting: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn peek_symbol(&self) -> Option<char> {
        match self.peek() {
            Some(Token::Symbol(symbol)) => Some(*symbol),
            _ => None,
        }
    }

    fn next(&mut self) -> Result<Token, String> {
        let token = self.peek().cloned().ok_or("the path ends too early")?;
        self.at += 1;
        Ok(token)
    }

    fn take(&mut self, symbol: char) -> bool {
        let found = self.peek_symbol() == Some(symbol);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, symbol: char) -> Result<(), String> {
        if self.take(symbol) { Ok(()) } else { Err(format!("expected {symbol}, found {:?}", self.peek())) }
    }

    fn path(&mut self, loosest: u8) -> Result<Node, String> {
        if self.nesting == MOST_NESTING {
            return Err("nested too deep".to_owned());
        }
        self.nesting += 1;
        let first = self.primary();
        let node = first.and_then(|first| self.continued(first, loosest));
        self.nesting -= 1;
        node
    }

    /// What follows a path that has been read, as long as it binds tightly enough.
    fn continued(&mut self, mut left: Node, loosest: u8) -> Result<Node, String> {
        loop {
            let Some(token) = self.peek() else { return Ok(left) };
            let tightness = match token {
                Token::Symbol('[' | '+' | '-' | '*') => LOOSEST,
                Token::DoubleDot => DESCENDANTS,
                Token::Symbol('.') => CHILD,
                Token::Symbol('|') => UNION,
                Token::Symbol('&') => INTERSECTION,
                Token::Where => WHERE,
                _ => return Ok(left),
            };
            if tightness < loosest {
                return Ok(left);
            }
            let token = self.next()?;
            left = match token {
                Token::Symbol('[') => {
                    let inside = self.bracket(true)?;
                    chained(left, Step::Child(inside))
                }
                Token::DoubleDot => {
                    let right = self.path(DESCENDANTS + 1)?;
                    chained(left, Step::Descendants(right))
                }
                Token::Symbol('.') => {
                    let right = self.path(CHILD + 1)?;
                    chained(left, Step::Child(right))
                }
                Token::Symbol('|') => {
                    let right = self.path(UNION + 1)?;
                    match left {
                        Node::Union(mut nodes) => {
                            nodes.push(right);
                            Node::Union(nodes)
                        }
                        left => Node::Union(vec![left, right]),
                    }
                }
                Token::Symbol('&') => {
                    self.path(INTERSECTION + 1)?;
                    Node::Intersection
                }
                Token::Where => {
                    let right = self.path(WHERE + 1)?;
                    chained(left, Step::Where(right))
                }
                Token::Symbol(symbol) => self.arithmetic(operand(left), symbol)?,
                _ => return Err("unexpected".to_owned()),
            };
        }
    }

    fn primary(&mut self) -> Result<Node, String> {
        match self.next()? {
            Token::Name(name) => self.fields(name),
            Token::Symbol('*') => Ok(Node::Fields(vec![Text::from("*")])),
            Token::Symbol('$') => Ok(Node::Root),
            Token::Symbol('@') => Ok(Node::This),
            Token::Symbol('[') => self.bracket(false),
            Token::Symbol('(') => {
                let node = self.path(LOOSEST)?;
                self.expect(')')?;
                Ok(node)
            }
            Token::Named(text) => named_operator(&text),
            Token::Number(number) => self.number_first(Value::Int(number)),
            Token::Float(number) => self.number_first(Value::Float(number)),
            token => Err(format!("unexpected {token:?}")),
        }
    }

    /// A number is no path by itself, only the left side of arithmetic.
    fn number_first(&mut self, number: Value<'static>) -> Result<Node, String> {
        match self.next()? {
            Token::Symbol(symbol @ ('+' | '-' | '*')) => self.arithmetic(Operand::Literal(number), symbol),
            token => Err(format!("unexpected {token:?} behind a number")),
        }
    }

    fn arithmetic(&mut self, left: Operand, symbol: char) -> Result<Node, String> {
        let operator = match symbol {
            '+' => Operator::Add,
            '-' => Operator::Subtract,
            _ => Operator::Multiply,
        };
        let number = match self.peek() {
            Some(Token::Number(number)) => Some(Value::Int(*number)),
            Some(Token::Float(number)) => Some(Value::Float(*number)),
            _ => None,
        };
        let operator_behind = matches!(self.tokens.get(self.at + 1), Some(Token::Symbol('+' | '-' | '*')));
        // The original takes a number with a number, but an integer only with an integer.
        let mixed = matches!(
            (&left, &number),
            (Operand::Literal(Value::Int(_)), Some(Value::Float(_)))
                | (Operand::Literal(Value::Float(_)), Some(Value::Int(_)))
        );
        let right = match number {
            Some(number) if !operator_behind && !mixed => {
                self.at += 1;
                Operand::Literal(number)
            }
            _ => operand(self.path(LOOSEST)?),
        };
        Ok(Node::Arithmetic(Box::new(left), operator, Box::new(right)))
    }

    fn fields(&mut self, first: String) -> Result<Node, String> {
        let mut names = vec![Text::from(first)];
        while self.take(',') {
            match self.next()? {
                Token::Name(name) => names.push(Text::from(name)),
                token => return Err(format!("expected a name, found {token:?}")),
            }
        }
        Ok(Node::Fields(names))
    }

    /// Behind `[`; conditions and sorting need something to apply to.
    fn bracket(&mut self, behind_path: bool) -> Result<Node, String> {
        let node = match self.next()? {
            Token::Name(name) => self.fields(name)?,
            Token::Symbol('*') => Node::Slice(None, None),
            Token::Number(number) if !self.take(':') => Node::Index(number),
            Token::Number(number) => Node::Slice(Some(number), self.maybe_number()?),
            Token::Symbol(':') => Node::Slice(None, self.maybe_number()?),
            Token::Symbol('?') if behind_path => Node::Filter(self.conditions()?),
            Token::Sort { descending } if behind_path => {
                let mut keys = vec![(self.path(LOOSEST)?, descending)];
                while let Some(Token::Sort { descending }) = self.peek() {
                    let descending = *descending;
                    self.at += 1;
                    keys.push((self.path(LOOSEST)?, descending));
                }
                Node::Sorted(keys)
            }
            token => return Err(format!("unexpected {token:?} in brackets")),
        };
        self.expect(']')?;
        Ok(node)
    }

    fn maybe_number(&mut self) -> Result<Option<i64>, String> {
        match self.peek() {
            Some(Token::Number(number)) => {
                let number = *number;
                self.at += 1;
                Ok(Some(number))
            }
            _ => Ok(None),
        }
    }

    fn conditions(&mut self) -> Result<Vec<Condition>, String> {
        let mut conditions = self.condition()?;
        while self.take('&') {
            conditions.extend(self.condition()?);
        }
        Ok(conditions)
    }

    /// One condition, or several in parentheses.
    fn condition(&mut self) -> Result<Vec<Condition>, String> {
        if self.nesting == MOST_NESTING {
            return Err("nested too deep".to_owned());
        }
        let target = if self.take('(') {
            self.nesting += 1;
            let inside = self.conditions();
            self.nesting -= 1;
            let mut inside = inside?;
            self.expect(')')?;
            match inside.pop() {
                // Parentheses around a path alone belong to the path, which may go on.
                Some(Condition { target, test: None }) if inside.is_empty() => self.continued(target, LOOSEST)?,
                Some(last) => {
                    inside.push(last);
                    return Ok(inside);
                }
                None => return Err("empty parentheses".to_owned()),
            }
        } else {
            self.path(LOOSEST)?
        };
        let Some(Token::Compare(operator)) = self.peek() else { return Ok(vec![Condition { target, test: None }]) };
        let operator = *operator;
        self.at += 1;
        let value = match self.next()? {
            Token::Name(name) => Value::text(name),
            Token::Number(number) => Value::Int(number),
            Token::Float(number) => Value::Float(number),
            Token::Bool(flag) => Value::Bool(flag),
            token => return Err(format!("cannot compare with {token:?}")),
        };
        let comparison = match operator {
            "=~" => Comparison::Matches(match value.as_str() {
                Some(pattern) => Pattern::compile(pattern).map(Box::new),
                None => Err("a pattern has to be text".to_owned()),
            }),
            "!=" => Comparison::NotEqual,
            "<" => Comparison::Less,
            "<=" => Comparison::LessOrEqual,
            ">" => Comparison::Greater,
            ">=" => Comparison::GreaterOrEqual,
            _ => Comparison::Equal,
        };
        Ok(vec![Condition { target, test: Some((comparison, value)) }])
    }
}

fn chained(left: Node, step: Step) -> Node {
    match left {
        Node::Chain(first, mut steps) => {
            steps.push(step);
            Node::Chain(first, steps)
        }
        left => Node::Chain(Box::new(left), vec![step]),
    }
}

/// A name beside an arithmetic operator is a text, not a field.
fn operand(node: Node) -> Operand {
    match node {
        Node::Fields(mut names) if names.len() == 1 => match names.pop() {
            Some(name) => Operand::Literal(Value::Str(name)),
            None => Operand::Path(Node::Fields(names)),
        },
        node => Operand::Path(node),
    }
}

//! The innermost parts of expressions: literals, brackets, and what follows a value without a blank.

use super::fstring;
use super::parse::{MOST_NESTING, Parsed, Parser, Problem};
use super::syntax::{Access, Call, Comprehension, Element, Expression, Function, Generator, Piece, Target};
use super::text::Literal;
use super::token::Token;
use crate::EvalError;
use crate::value::{Text, Value};

/// Texts longer than this may not be written as a literal.
const MOST_CHARACTERS: usize = 100_000;

impl Parser {
    pub(super) fn access(&mut self) -> Parsed<Expression> {
        let mut base = self.atom()?;
        let mut accesses = Vec::new();
        loop {
            if self.take("(") {
                let (arguments, named) = self.arguments()?;
                // Only functions can be called, by their names; nothing of a method call is evaluated.
                base = match &base {
                    Expression::Name(name) if accesses.is_empty() => match Function::named(name) {
                        Some((_, function)) => Expression::Call(Call { function, arguments, named }),
                        None => Expression::Unavailable,
                    },
                    _ => Expression::Unavailable,
                };
                accesses.clear();
            } else if self.take("[") {
                accesses.push(self.subscript()?);
            } else if self.take(".") {
                let Some(Token::Name(name)) = self.tokens.get(self.at) else { return Err(Problem::Syntax) };
                accesses.push(Access::Attribute(name.clone()));
                self.at += 1;
            } else {
                return Ok(if accesses.is_empty() { base } else { Expression::Access(Box::new(base), accesses) });
            }
        }
    }

    /// Behind `[`.
    fn subscript(&mut self) -> Parsed<Access> {
        let first = self.index_or_slice()?;
        if self.operator() != "," {
            self.expect("]")?;
            return Ok(first);
        }
        let mut all = vec![first];
        while self.take(",") && self.operator() != "]" {
            all.push(self.index_or_slice()?);
        }
        self.expect("]")?;
        // Slices of several dimensions are legal, and forbidden.
        let mut elements = Vec::new();
        for access in all {
            match access {
                Access::Index(value) => elements.push(Element { value, starred: false }),
                Access::Attribute(_) | Access::Slice(_) => return Ok(Access::Index(Expression::Unavailable)),
            }
        }
        Ok(Access::Index(Expression::Tuple(elements)))
    }

    fn index_or_slice(&mut self) -> Parsed<Access> {
        let ends = |parser: &Self| matches!(parser.operator(), ":" | "]" | ",");
        let lower = if self.operator() == ":" { None } else { Some(self.expression()?) };
        if !self.take(":") {
            return lower.map(Access::Index).ok_or(Problem::Syntax);
        }
        let upper = if ends(self) { None } else { Some(self.expression()?) };
        let step = if self.take(":") && !ends(self) { Some(self.expression()?) } else { None };
        Ok(Access::Slice(Box::new([lower, upper, step])))
    }

    /// Behind `(`.
    #[expect(clippy::type_complexity, reason = "arguments by place and by name")]
    fn arguments(&mut self) -> Parsed<(Vec<Expression>, Vec<(Option<Text<'static>>, Expression)>)> {
        let mut arguments = Vec::new();
        let mut named: Vec<(Option<Text<'static>>, Expression)> = Vec::new();
        while !self.take(")") {
            if self.take("**") {
                named.push((None, self.expression()?));
            } else if self.take("*") {
                self.expression()?;
                if named.iter().any(|(name, _)| name.is_none()) {
                    return Err(Problem::Syntax);
                }
                arguments.push(Expression::Unavailable);
            } else {
                let name = match (self.tokens.get(self.at), self.tokens.get(self.at + 1)) {
                    (Some(Token::Name(name)), Some(Token::Operator("="))) => Some(name.clone()),
                    _ => None,
                };
                if let Some(name) = name {
                    self.at += 2;
                    if named.iter().any(|(known, _)| known.as_ref() == Some(&name)) {
                        return Err(Problem::Syntax);
                    }
                    named.push((Some(name), self.expression()?));
                } else {
                    if !named.is_empty() {
                        return Err(Problem::Syntax);
                    }
                    let value = self.expression()?;
                    if self.keyword() == "for" {
                        arguments.push(self.comprehension(value)?);
                        // A generator without parentheses has to be the only argument.
                        return if arguments.len() == 1 && self.take(")") {
                            Ok((arguments, named))
                        } else {
                            Err(Problem::Syntax)
                        };
                    }
                    arguments.push(value);
                }
            }
            if !self.take(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok((arguments, named))
    }

    // Atoms.

    fn atom(&mut self) -> Parsed<Expression> {
        let token = self.tokens.get(self.at).cloned().ok_or(Problem::Syntax)?;
        self.at += 1;
        match token {
            Token::Number(value) => Ok(Expression::Constant(value)),
            Token::Imaginary => Ok(Expression::Unavailable),
            Token::Name(name) => Ok(Expression::Name(name)),
            Token::Literal(first) => self.literals(first),
            Token::Operator("(") => self.deeper(Self::parenthesised),
            Token::Operator("[") => self.deeper(Self::list),
            Token::Operator("{") => self.deeper(Self::dict_or_set),
            Token::Operator("...") => Ok(Expression::Unavailable),
            Token::Operator(_) | Token::Keyword(_) | Token::Newline => Err(Problem::Syntax),
        }
    }

    fn parenthesised(&mut self) -> Parsed<Expression> {
        if self.take(")") {
            return Ok(Expression::Tuple(Vec::new()));
        }
        if self.take_keyword("yield") {
            if self.operator() != ")" {
                self.take_keyword("from");
                self.expressions()?;
            }
            self.expect(")")?;
            return Ok(Expression::Unavailable);
        }
        let value = self.starred_expressions()?;
        let value = if self.keyword() == "for" { self.comprehension(value)? } else { value };
        self.expect(")")?;
        Ok(value)
    }

    fn list(&mut self) -> Parsed<Expression> {
        if self.take("]") {
            return Ok(Expression::List(Vec::new()));
        }
        let first = self.element(true)?;
        if self.keyword() == "for" && !first.starred {
            let comprehension = self.comprehension(first.value)?;
            self.expect("]")?;
            return Ok(comprehension);
        }
        let mut elements = vec![first];
        while self.take(",") && self.operator() != "]" {
            elements.push(self.element(true)?);
        }
        self.expect("]")?;
        Ok(Expression::List(elements))
    }

    fn dict_or_set(&mut self) -> Parsed<Expression> {
        if self.take("}") {
            return Ok(Expression::Dict(Vec::new()));
        }
        if self.operator() == "**" {
            return self.dict(Vec::new());
        }
        let first = self.element(true)?;
        if !first.starred && self.take(":") {
            let value = self.expression()?;
            if self.keyword() == "for" {
                self.comprehension(value)?;
                self.expect("}")?;
                return Ok(Expression::Unavailable);
            }
            let more = self.take(",");
            let entries = vec![(Some(first.value), value)];
            if more {
                return self.dict(entries);
            }
            self.expect("}")?;
            return Ok(Expression::Dict(entries));
        }
        if self.keyword() == "for" {
            self.comprehension(first.value)?;
            self.expect("}")?;
            return Ok(Expression::Unavailable);
        }
        let mut elements = vec![first];
        while self.take(",") && self.operator() != "}" {
            elements.push(self.element(true)?);
        }
        self.expect("}")?;
        Ok(Expression::Set(elements))
    }

    fn dict(&mut self, mut entries: Vec<(Option<Expression>, Expression)>) -> Parsed<Expression> {
        while !self.take("}") {
            if self.take("**") {
                entries.push((None, self.bit_or()?));
            } else {
                let key = self.expression()?;
                self.expect(":")?;
                entries.push((Some(key), self.expression()?));
            }
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(Expression::Dict(entries))
    }

    /// Behind its element.
    fn comprehension(&mut self, element: Expression) -> Parsed<Expression> {
        let mut generators: Vec<Generator> = Vec::new();
        while self.take_keyword("for") {
            let target = self.target_list()?;
            if !self.take_keyword("in") {
                return Err(Problem::Syntax);
            }
            let source = self.or()?;
            let mut conditions = Vec::new();
            while self.take_keyword("if") {
                conditions.push(if self.take_keyword("lambda") { self.lambda()? } else { self.or()? });
            }
            generators.push(Generator { target, source, conditions });
            if generators.len() > MOST_NESTING {
                return Err(Problem::Fails(EvalError::limit("a comprehension nested too deep")));
            }
        }
        Ok(Expression::Comprehension(Box::new(Comprehension { element, generators })))
    }

    fn target_list(&mut self) -> Parsed<Target> {
        let one = |parser: &mut Self| {
            let starred = parser.take("*");
            let value = parser.bit_or()?;
            let target = target(&value).ok_or(Problem::Syntax)?;
            Ok(if starred { Target::Other } else { target })
        };
        let first = one(self)?;
        if self.operator() != "," {
            return Ok(first);
        }
        let mut targets = vec![first];
        while self.take(",") && self.keyword() != "in" {
            targets.push(one(self)?);
        }
        Ok(Target::Several(targets))
    }

    /// Literals side by side are one.
    fn literals(&mut self, first: Literal) -> Parsed<Expression> {
        let mut literals = vec![first];
        while let Some(Token::Literal(next)) = self.tokens.get(self.at) {
            literals.push(next.clone());
            self.at += 1;
        }
        let bytes = literals.iter().filter(|literal| matches!(literal, Literal::Bytes)).count();
        if bytes > 0 {
            return if bytes == literals.len() { Ok(Expression::Unavailable) } else { Err(Problem::Syntax) };
        }
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut formatted = false;
        for literal in literals {
            match literal {
                Literal::Text(text) => plain.push_str(&text),
                Literal::Bytes => {}
                Literal::Format { content, raw } => {
                    formatted = true;
                    for piece in self.deeper(|parser| fstring::pieces(&content, raw, parser.nesting))? {
                        match piece {
                            Piece::Text(text) => plain.push_str(&text),
                            value @ Piece::Value { .. } => {
                                if !plain.is_empty() {
                                    pieces.push(Piece::Text(Text::from(std::mem::take(&mut plain))));
                                }
                                pieces.push(value);
                            }
                        }
                    }
                }
            }
        }
        // The original forbids longer literals when it meets them.
        if plain.len() > MOST_CHARACTERS && plain.chars().count() > MOST_CHARACTERS {
            return Ok(Expression::Unavailable);
        }
        if !formatted {
            return Ok(Expression::Constant(Value::text(plain)));
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(Text::from(plain)));
        }
        Ok(Expression::Joined(pieces))
    }
}

/// What may stand on the left of an assignment.
pub(super) fn target(value: &Expression) -> Option<Target> {
    let all = |elements: &[Element]| elements.iter().map(|element| target(&element.value)).collect::<Option<Vec<_>>>();
    match value {
        Expression::Name(name) => Some(Target::Name(name.clone())),
        Expression::Access(..) => Some(Target::Other),
        Expression::Tuple(elements) | Expression::List(elements) => all(elements).map(Target::Several),
        _ => None,
    }
}

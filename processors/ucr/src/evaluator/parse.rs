//! From words to a syntax tree, following the grammar of Python 3.6.

use super::fstring;
use super::syntax::{
    Access, Binary, Call, Comparison, Comprehension, Element, Expression, Function, Generator, Piece, Target, Unary,
};
use super::text::Literal;
use super::token::{Token, tokens};
use crate::EvalError;
use crate::value::{Text, Value};

/// Levels of brackets and prefixes; Python 3.6 gives up at 93.
const MOST_NESTING: usize = 90;

/// Texts longer than this may not be written as a literal.
const MOST_CHARACTERS: usize = 100_000;

pub(super) enum Problem {
    Syntax,
    /// What Python fails with instead of a syntax error.
    Fails(EvalError),
}

pub(super) fn parse(statement: &str) -> Result<Expression, Problem> {
    let text = statement.trim();
    if text.contains('\0') {
        return Err(Problem::Fails(EvalError::Value("source code string cannot contain null bytes".into())));
    }
    let mut parser = Parser { tokens: tokens(text)?, at: 0, nesting: 0 };
    let first = parser.statement()?;
    parser.other_statements()?;
    Ok(first)
}

/// The expression inside an f-string.
pub(super) fn expression_in(source: &str, nesting: usize) -> Result<Expression, Problem> {
    let mut parser = Parser { tokens: tokens(source)?, at: 0, nesting };
    parser.tokens.retain(|token| !matches!(token, Token::Newline));
    let expression = parser.expressions()?;
    if parser.at == parser.tokens.len() { Ok(expression) } else { Err(Problem::Syntax) }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    nesting: usize,
}

type Parsed<T> = Result<T, Problem>;

impl Parser {
    // Words.

    fn operator(&self) -> &'static str {
        match self.tokens.get(self.at) {
            Some(Token::Operator(operator)) => operator,
            _ => "",
        }
    }

    fn keyword(&self) -> &'static str {
        match self.tokens.get(self.at) {
            Some(Token::Keyword(keyword)) => keyword,
            _ => "",
        }
    }

    fn take(&mut self, operator: &str) -> bool {
        let found = self.operator() == operator;
        self.at += usize::from(found);
        found
    }

    fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.keyword() == keyword;
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, operator: &str) -> Parsed<()> {
        if self.take(operator) { Ok(()) } else { Err(Problem::Syntax) }
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == MOST_NESTING {
            return Err(Problem::Fails(EvalError::limit("an expression nested too deep")));
        }
        self.nesting += 1;
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    // Statements.

    fn at_end_of_statement(&self) -> bool {
        self.operator() == ";" || matches!(self.tokens.get(self.at), None | Some(Token::Newline))
    }

    fn statement(&mut self) -> Parsed<Expression> {
        if self.at_end_of_statement() {
            return Err(Problem::Syntax);
        }
        if !matches!(self.keyword(), "" | "not" | "lambda" | "yield") {
            return Err(Problem::Syntax);
        }
        if self.keyword() == "yield" {
            self.at += 1;
            if !self.at_end_of_statement() {
                self.take_keyword("from");
                self.expressions()?;
            }
            return Ok(Expression::Unavailable);
        }
        let mut value = self.starred_expressions()?;
        let augmented = ["+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "@=", "**=", "//=", "<<=", ">>="];
        if augmented.contains(&self.operator()) {
            if !matches!(target(&value), Some(Target::Name(_) | Target::Other)) {
                return Err(Problem::Syntax);
            }
            self.at += 1;
            value = self.right_side()?;
        } else if self.take(":") {
            target(&value).ok_or(Problem::Syntax)?;
            self.expression()?;
            if self.take("=") {
                self.expressions()?;
            }
            value = Expression::Unavailable;
        } else {
            while self.take("=") {
                target(&value).ok_or(Problem::Syntax)?;
                value = self.right_side()?;
            }
        }
        if self.at_end_of_statement() { Ok(value) } else { Err(Problem::Syntax) }
    }

    fn right_side(&mut self) -> Parsed<Expression> {
        if self.take_keyword("yield") {
            if !self.at_end_of_statement() {
                self.take_keyword("from");
                self.expressions()?;
            }
            return Ok(Expression::Unavailable);
        }
        self.starred_expressions()
    }

    /// What follows the first statement is only checked.
    fn other_statements(&mut self) -> Parsed<()> {
        while self.at < self.tokens.len() {
            let separated = self.take(";") || matches!(self.tokens.get(self.at), Some(Token::Newline));
            if !separated {
                return Err(Problem::Syntax);
            }
            while matches!(self.tokens.get(self.at), Some(Token::Newline)) {
                self.at += 1;
            }
            if self.at == self.tokens.len() {
                return Ok(());
            }
            if matches!(self.keyword(), "" | "not" | "lambda" | "yield") {
                self.statement()?;
            } else {
                while !self.at_end_of_statement() {
                    self.at += 1;
                }
            }
        }
        Ok(())
    }

    // Lists of expressions.

    /// `a`, or `a, b` as a tuple.
    fn expressions(&mut self) -> Parsed<Expression> {
        self.expression_list(false)
    }

    fn starred_expressions(&mut self) -> Parsed<Expression> {
        self.expression_list(true)
    }

    fn expression_list(&mut self, starred: bool) -> Parsed<Expression> {
        let first = self.element(starred)?;
        if self.operator() != "," {
            // A star needs a list around it.
            return if first.starred { Err(Problem::Syntax) } else { Ok(first.value) };
        }
        let mut elements = vec![first];
        while self.take(",") && self.starts_expression() {
            elements.push(self.element(starred)?);
        }
        Ok(Expression::Tuple(elements))
    }

    fn element(&mut self, may_be_starred: bool) -> Parsed<Element> {
        if may_be_starred && self.take("*") {
            return Ok(Element { value: self.bit_or()?, starred: true });
        }
        Ok(Element { value: self.expression()?, starred: false })
    }

    fn starts_expression(&self) -> bool {
        match self.tokens.get(self.at) {
            None | Some(Token::Newline) => false,
            Some(Token::Keyword(keyword)) => ["not", "lambda"].contains(keyword),
            Some(Token::Operator(operator)) => ["(", "[", "{", "-", "+", "~", "...", "*"].contains(operator),
            Some(Token::Number(_) | Token::Imaginary | Token::Name(_) | Token::Literal(_)) => true,
        }
    }

    // Expressions, from loose to tight.

    fn expression(&mut self) -> Parsed<Expression> {
        self.deeper(|parser| {
            if parser.take_keyword("lambda") {
                return parser.lambda();
            }
            let mut value = parser.or()?;
            let mut branches = Vec::new();
            // `a if b else c if d else e` goes on to the right.
            while parser.take_keyword("if") {
                let condition = parser.or()?;
                if !parser.take_keyword("else") {
                    return Err(Problem::Syntax);
                }
                branches.push((condition, value));
                if parser.take_keyword("lambda") {
                    value = parser.lambda()?;
                    break;
                }
                value = parser.or()?;
            }
            Ok(if branches.is_empty() { value } else { Expression::Conditional(branches, Box::new(value)) })
        })
    }

    /// Legal, but never to be called.
    fn lambda(&mut self) -> Parsed<Expression> {
        let mut after_comma = true;
        while self.operator() != ":" {
            if !after_comma {
                return Err(Problem::Syntax);
            }
            let starred = self.take("*") || self.take("**");
            match self.tokens.get(self.at) {
                Some(Token::Name(_)) => self.at += 1,
                _ if starred && self.operator() == "," => {}
                _ => return Err(Problem::Syntax),
            }
            if !starred && self.take("=") {
                self.expression()?;
            }
            after_comma = self.take(",");
        }
        self.expect(":")?;
        self.expression()?;
        Ok(Expression::Unavailable)
    }

    fn or(&mut self) -> Parsed<Expression> {
        let first = self.and()?;
        if self.keyword() != "or" {
            return Ok(first);
        }
        let mut values = vec![first];
        while self.take_keyword("or") {
            values.push(self.and()?);
        }
        Ok(Expression::Or(values))
    }

    fn and(&mut self) -> Parsed<Expression> {
        let first = self.not()?;
        if self.keyword() != "and" {
            return Ok(first);
        }
        let mut values = vec![first];
        while self.take_keyword("and") {
            values.push(self.not()?);
        }
        Ok(Expression::And(values))
    }

    fn not(&mut self) -> Parsed<Expression> {
        if self.take_keyword("not") {
            return self.deeper(|parser| Ok(Expression::Unary(Unary::Not, Box::new(parser.not()?))));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let first = self.bit_or()?;
        let mut others = Vec::new();
        while let Some(comparison) = self.comparison_operator() {
            others.push((comparison, self.bit_or()?));
        }
        Ok(if others.is_empty() { first } else { Expression::Compare(Box::new(first), others) })
    }

    fn comparison_operator(&mut self) -> Option<Comparison> {
        let symbol = match self.operator() {
            "==" => Some(Comparison::Equal),
            "!=" => Some(Comparison::NotEqual),
            "<" => Some(Comparison::Less),
            "<=" => Some(Comparison::LessOrEqual),
            ">" => Some(Comparison::Greater),
            ">=" => Some(Comparison::GreaterOrEqual),
            _ => None,
        };
        if symbol.is_some() {
            self.at += 1;
            return symbol;
        }
        if self.take_keyword("in") {
            return Some(Comparison::In);
        }
        if self.take_keyword("is") {
            return Some(if self.take_keyword("not") { Comparison::IsNot } else { Comparison::Is });
        }
        let not_in = self.keyword() == "not" && matches!(self.tokens.get(self.at + 1), Some(Token::Keyword("in")));
        if not_in {
            self.at += 2;
            return Some(Comparison::NotIn);
        }
        None
    }

    fn bit_or(&mut self) -> Parsed<Expression> {
        self.binary(0)
    }

    fn binary(&mut self, level: usize) -> Parsed<Expression> {
        const LEVELS: [&[(&str, Binary)]; 6] = [
            &[("|", Binary::Or)],
            &[("^", Binary::ExclusiveOr)],
            &[("&", Binary::And)],
            &[("<<", Binary::ShiftLeft), (">>", Binary::ShiftRight)],
            &[("+", Binary::Add), ("-", Binary::Subtract)],
            &[
                ("*", Binary::Multiply),
                ("/", Binary::Divide),
                ("//", Binary::FloorDivide),
                ("%", Binary::Remainder),
                ("@", Binary::Matrix),
            ],
        ];
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let first = self.binary(level + 1)?;
        let mut others = Vec::new();
        while let Some((_, operator)) = operators.iter().find(|(symbol, _)| *symbol == self.operator()) {
            self.at += 1;
            others.push((*operator, self.binary(level + 1)?));
        }
        Ok(if others.is_empty() { first } else { Expression::Binary(Box::new(first), others) })
    }

    fn unary(&mut self) -> Parsed<Expression> {
        let operator = match self.operator() {
            "-" => Unary::Minus,
            "+" => Unary::Plus,
            "~" => Unary::Invert,
            _ => return self.power(),
        };
        self.at += 1;
        self.deeper(|parser| Ok(Expression::Unary(operator, Box::new(parser.unary()?))))
    }

    fn power(&mut self) -> Parsed<Expression> {
        let base = self.access()?;
        if !self.take("**") {
            return Ok(base);
        }
        self.deeper(|parser| Ok(Expression::Power(Box::new(base), Box::new(parser.unary()?))))
    }

    fn access(&mut self) -> Parsed<Expression> {
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
        Ok(Access::Slice([lower, upper, step]))
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
fn target(value: &Expression) -> Option<Target> {
    let all = |elements: &[Element]| elements.iter().map(|element| target(&element.value)).collect::<Option<Vec<_>>>();
    match value {
        Expression::Name(name) => Some(Target::Name(name.clone())),
        Expression::Access(..) => Some(Target::Other),
        Expression::Tuple(elements) | Expression::List(elements) => all(elements).map(Target::Several),
        _ => None,
    }
}

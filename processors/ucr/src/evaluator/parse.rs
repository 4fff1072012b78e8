//! From words to a syntax tree, following the grammar of Python 3.6.

use super::primary::target;
use super::syntax::{Binary, Comparison, Element, Expression, Target, Unary};
use super::token::{Token, tokens};
use crate::EvalError;

/// Levels of brackets and prefixes. Python 3.6 gives up at 93; here the stack of a component sets the limit.
pub(super) const MOST_NESTING: usize = 60;

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

pub(super) struct Parser {
    pub(super) tokens: Vec<Token>,
    pub(super) at: usize,
    pub(super) nesting: usize,
}

pub(super) type Parsed<T> = Result<T, Problem>;

impl Parser {
    // Words.

    pub(super) fn operator(&self) -> &'static str {
        match self.tokens.get(self.at) {
            Some(Token::Operator(operator)) => operator,
            _ => "",
        }
    }

    pub(super) fn keyword(&self) -> &'static str {
        match self.tokens.get(self.at) {
            Some(Token::Keyword(keyword)) => keyword,
            _ => "",
        }
    }

    pub(super) fn take(&mut self, operator: &str) -> bool {
        let found = self.operator() == operator;
        self.at += usize::from(found);
        found
    }

    pub(super) fn take_keyword(&mut self, keyword: &str) -> bool {
        let found = self.keyword() == keyword;
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, operator: &str) -> Parsed<()> {
        if self.take(operator) { Ok(()) } else { Err(Problem::Syntax) }
    }

    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
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
    pub(super) fn expressions(&mut self) -> Parsed<Expression> {
        self.expression_list(false)
    }

    pub(super) fn starred_expressions(&mut self) -> Parsed<Expression> {
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

    pub(super) fn element(&mut self, may_be_starred: bool) -> Parsed<Element> {
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

    pub(super) fn expression(&mut self) -> Parsed<Expression> {
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
    pub(super) fn lambda(&mut self) -> Parsed<Expression> {
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

    pub(super) fn or(&mut self) -> Parsed<Expression> {
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

    pub(super) fn bit_or(&mut self) -> Parsed<Expression> {
        self.binary(0)
    }

    /// Operators that bind at least as tightly as the level says. One function for all levels, because each function
    /// on the way down costs stack for each bracket.
    fn binary(&mut self, loosest: u8) -> Parsed<Expression> {
        let mut left = self.unary()?;
        let mut chained = None;
        while let Some((level, operator)) = binary_operator(self.operator()).filter(|(level, _)| *level >= loosest) {
            self.at += 1;
            let right = self.binary(level + 1)?;
            left = match left {
                Expression::Binary(first, mut others) if chained == Some(level) => {
                    others.push((operator, right));
                    Expression::Binary(first, others)
                }
                left => Expression::Binary(Box::new(left), vec![(operator, right)]),
            };
            chained = Some(level);
        }
        Ok(left)
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
}

/// The operator, and how tightly it binds.
fn binary_operator(symbol: &str) -> Option<(u8, Binary)> {
    Some(match symbol {
        "|" => (0, Binary::Or),
        "^" => (1, Binary::ExclusiveOr),
        "&" => (2, Binary::And),
        "<<" => (3, Binary::ShiftLeft),
        ">>" => (3, Binary::ShiftRight),
        "+" => (4, Binary::Add),
        "-" => (4, Binary::Subtract),
        "*" => (5, Binary::Multiply),
        "/" => (5, Binary::Divide),
        "//" => (5, Binary::FloorDivide),
        "%" => (5, Binary::Remainder),
        "@" => (5, Binary::Matrix),
        _ => return None,
    })
}

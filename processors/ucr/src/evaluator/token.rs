//! The words of a Python expression.

use num_bigint::BigInt;

use super::parse::Problem;
use super::text::{Literal, literal};
use crate::EvalError;
use crate::number::MOST_INTEGER_DIGITS;
use crate::value::{Text, Value};

#[derive(Clone, Debug)]
pub(super) enum Token {
    Number(Value<'static>),
    /// `1j`
    Imaginary,
    Name(Text<'static>),
    Keyword(&'static str),
    Literal(Literal),
    Operator(&'static str),
    /// The end of a line outside of brackets.
    Newline,
}

/// All of Python 3.6.
const KEYWORDS: [&str; 33] = [
    "False", "None", "True", "and", "as", "assert", "break", "class", "continue", "def", "del", "elif", "else",
    "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda", "nonlocal", "not", "or",
    "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Longest first.
const OPERATORS: [&str; 46] = [
    "**=", "//=", "<<=", ">>=", "...", "**", "//", "<<", ">>", "<=", ">=", "==", "!=", "->", "+=", "-=", "*=", "/=",
    "%=", "&=", "|=", "^=", "@=", "+", "-", "*", "/", "%", "@", "&", "|", "^", "~", "<", ">", "(", ")", "[", "]", "{",
    "}", ",", ":", ".", ";", "=",
];

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, Problem> {
    let mut lexer = Lexer { rest: text, tokens: Vec::new(), brackets: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'t> {
    rest: &'t str,
    tokens: Vec<Token>,
    brackets: Vec<&'static str>,
}

impl Lexer<'_> {
    fn run(&mut self) -> Result<(), Problem> {
        while let Some(c) = self.rest.chars().next() {
            match c {
                ' ' | '\t' | '\u{c}' => self.skip(1),
                '#' => {
                    let length = self.rest.find('\n').unwrap_or(self.rest.len());
                    self.skip(length);
                }
                '\\' => {
                    let behind = self.rest.strip_prefix("\\\n").or_else(|| self.rest.strip_prefix("\\\r\n"));
                    self.rest = behind.filter(|behind| !behind.is_empty()).ok_or(Problem::Syntax)?;
                }
                '\n' | '\r' => {
                    self.skip(1);
                    if self.brackets.is_empty() {
                        self.end_line()?;
                    }
                }
                '0'..='9' => self.number()?,
                '.' if self.rest.as_bytes().get(1).is_some_and(u8::is_ascii_digit) => self.number()?,
                '\'' | '"' => self.literal("")?,
                c if c == '_' || c.is_alphabetic() => self.name()?,
                _ => self.operator()?,
            }
        }
        if self.brackets.is_empty() { Ok(()) } else { Err(Problem::Syntax) }
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    /// The next line that holds something must not be indented.
    fn end_line(&mut self) -> Result<(), Problem> {
        self.tokens.push(Token::Newline);
        let content = self.rest.trim_start_matches([' ', '\t', '\u{c}']);
        let blank = content.is_empty() || content.starts_with(['\n', '\r', '#']);
        if blank || content.len() == self.rest.len() { Ok(()) } else { Err(Problem::Syntax) }
    }

    fn name(&mut self) -> Result<(), Problem> {
        let length = self.rest.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(self.rest.len());
        let word = self.rest.get(..length).unwrap_or_default();
        let behind = self.rest.get(length..).unwrap_or_default();
        let is_prefix = word.len() <= 2 && word.bytes().all(|byte| b"rRuUbBfF".contains(&byte));
        if is_prefix && behind.starts_with(['\'', '"']) {
            let prefix = word.to_ascii_lowercase();
            if !["r", "u", "b", "f", "br", "rb", "fr", "rf"].contains(&prefix.as_str()) {
                return Err(Problem::Syntax);
            }
            self.skip(length);
            return self.literal(&prefix);
        }
        let token = match KEYWORDS.into_iter().find(|keyword| *keyword == word) {
            Some("None") => Token::Number(Value::Null),
            Some("True") => Token::Number(Value::Bool(true)),
            Some("False") => Token::Number(Value::Bool(false)),
            Some(keyword) => Token::Keyword(keyword),
            None => Token::Name(Text::from(word.to_owned())),
        };
        self.tokens.push(token);
        self.skip(length);
        Ok(())
    }

    fn literal(&mut self, prefix: &str) -> Result<(), Problem> {
        let (literal, length) = literal(self.rest, prefix)?;
        self.tokens.push(Token::Literal(literal));
        self.skip(length);
        Ok(())
    }

    fn operator(&mut self) -> Result<(), Problem> {
        let operator = OPERATORS.into_iter().find(|operator| self.rest.starts_with(operator)).ok_or(Problem::Syntax)?;
        match operator {
            "(" | "[" | "{" => self.brackets.push(operator),
            ")" | "]" | "}" => {
                let open = self.brackets.pop().ok_or(Problem::Syntax)?;
                if !matches!((open, operator), ("(", ")") | ("[", "]") | ("{", "}")) {
                    return Err(Problem::Syntax);
                }
            }
            _ => {}
        }
        self.tokens.push(Token::Operator(operator));
        self.skip(operator.len());
        Ok(())
    }

    fn number(&mut self) -> Result<(), Problem> {
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
            let is_prefix = self.rest.get(..2).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
            if is_prefix {
                self.skip(2);
                let digits = self.digits(radix, true)?;
                let number = BigInt::parse_bytes(digits.as_bytes(), radix).ok_or(Problem::Syntax)?;
                self.tokens.push(Token::Number(Value::from_big(number)));
                return Ok(());
            }
        }
        let mut text = self.digits_or_nothing()?;
        let mut is_float = false;
        if self.rest.starts_with('.') {
            is_float = true;
            self.skip(1);
            text.push('.');
            text.push_str(&self.digits_or_nothing()?);
        }
        if let Some(exponent) = self.exponent()? {
            is_float = true;
            text.push_str(&exponent);
        }
        if self.rest.starts_with(['j', 'J']) {
            self.skip(1);
            self.tokens.push(Token::Imaginary);
            return Ok(());
        }
        let number = if is_float {
            Value::Float(text.parse().map_err(|_problem| Problem::Syntax)?)
        } else {
            // `012` was an octal number once.
            if text.len() > 1 && text.starts_with('0') && text.bytes().any(|digit| digit != b'0') {
                return Err(Problem::Syntax);
            }
            if text.len() > MOST_INTEGER_DIGITS {
                return Err(Problem::Fails(EvalError::limit("a number with too many digits")));
            }
            Value::from_big(text.parse().map_err(|_problem| Problem::Syntax)?)
        };
        self.tokens.push(Token::Number(number));
        Ok(())
    }

    fn exponent(&mut self) -> Result<Option<String>, Problem> {
        let Some(behind) = self.rest.strip_prefix(['e', 'E']) else { return Ok(None) };
        let (sign, behind) = match behind.strip_prefix(['+', '-']) {
            Some(digits) => (behind.get(..1).unwrap_or_default(), digits),
            None => ("", behind),
        };
        if !behind.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(None);
        }
        self.rest = behind;
        let digits = self.digits(10, false)?;
        Ok(Some(format!("e{sign}{digits}")))
    }

    fn digits_or_nothing(&mut self) -> Result<String, Problem> {
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) { self.digits(10, false) } else { Ok(String::new()) }
    }

    /// Digits with single underscores between them, or also before the first.
    fn digits(&mut self, radix: u32, underscore_first: bool) -> Result<String, Problem> {
        let mut digits = String::new();
        let mut after_digit = underscore_first;
        while let Some(c) = self.rest.chars().next() {
            if c == '_' {
                let before_digit = self.rest.chars().nth(1).is_some_and(|next| next.is_digit(radix));
                if !(after_digit && before_digit) {
                    return Err(Problem::Syntax);
                }
                after_digit = false;
            } else if c.is_digit(radix) {
                digits.push(c);
                after_digit = true;
            } else {
                break;
            }
            self.skip(1);
        }
        if digits.is_empty() { Err(Problem::Syntax) } else { Ok(digits) }
    }
}

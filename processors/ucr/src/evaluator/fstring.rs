//! The inside of f-strings.

use super::parse::{Problem, expression_in};
use super::syntax::Piece;
use super::text::unescaped;
use crate::value::Text;

/// Cuts the content of an f-string into texts and values.
pub(super) fn pieces(content: &str, raw: bool, nesting: usize) -> Result<Vec<Piece>, Problem> {
    let mut reader = Reader { rest: content, raw, nesting };
    let pieces = reader.pieces(false)?;
    if reader.rest.is_empty() { Ok(pieces) } else { Err(Problem::Syntax) }
}

struct Reader<'t> {
    rest: &'t str,
    raw: bool,
    nesting: usize,
}

impl Reader<'_> {
    /// Up to the end, or in a format up to the brace that closes its value.
    fn pieces(&mut self, in_format: bool) -> Result<Vec<Piece>, Problem> {
        let mut pieces = Vec::new();
        let mut text = String::new();
        while let Some(c) = self.rest.chars().next() {
            match c {
                '{' if !in_format && self.rest.starts_with("{{") => {
                    text.push('{');
                    self.skip(2);
                }
                '}' if !in_format && self.rest.starts_with("}}") => {
                    text.push('}');
                    self.skip(2);
                }
                '}' if in_format => break,
                '}' => return Err(Problem::Syntax),
                '{' => {
                    self.push_text(&mut pieces, &mut text)?;
                    self.skip(1);
                    let value = self.value(in_format)?;
                    pieces.push(value);
                }
                '\\' if !self.raw => {
                    // With what follows, so that an escaped brace stays with its backslash.
                    let next = self.rest.chars().nth(1).ok_or(Problem::Syntax)?;
                    let length = if matches!(next, '{' | '}') { 1 } else { 1 + next.len_utf8() };
                    text.push_str(self.rest.get(..length).unwrap_or_default());
                    if length == 1 {
                        text.push('\\');
                    }
                    self.skip(length);
                }
                c => {
                    text.push(c);
                    self.skip(c.len_utf8());
                }
            }
        }
        self.push_text(&mut pieces, &mut text)?;
        Ok(pieces)
    }

    fn skip(&mut self, length: usize) {
        self.rest = self.rest.get(length..).unwrap_or_default();
    }

    fn push_text(&self, pieces: &mut Vec<Piece>, text: &mut String) -> Result<(), Problem> {
        if !text.is_empty() {
            let text = std::mem::take(text);
            pieces.push(Piece::Text(Text::from(if self.raw { text } else { unescaped(&text)? })));
        }
        Ok(())
    }

    /// Behind an opening brace.
    fn value(&mut self, in_format: bool) -> Result<Piece, Problem> {
        let length = self.expression_length()?;
        let source = self.rest.get(..length).unwrap_or_default();
        if source.contains('\\') || source.contains('#') || source.trim().is_empty() {
            return Err(Problem::Syntax);
        }
        let value = expression_in(source.trim(), self.nesting)?;
        self.skip(length);
        if self.rest.starts_with('!') {
            // Conversions are accepted, and without effect in the original.
            if !self.rest.get(1..2).is_some_and(|conversion| ["r", "s", "a"].contains(&conversion)) {
                return Err(Problem::Syntax);
            }
            self.skip(2);
        }
        let mut format = None;
        if self.rest.starts_with(':') {
            if in_format {
                return Err(Problem::Syntax);
            }
            self.skip(1);
            format = Some(self.pieces(true)?);
        }
        if !self.rest.starts_with('}') {
            return Err(Problem::Syntax);
        }
        self.skip(1);
        Ok(Piece::Value { value, format })
    }

    /// Up to the `!`, `:` or `}` that ends the expression.
    fn expression_length(&self) -> Result<usize, Problem> {
        let mut open = 0_usize;
        let mut quote = None;
        let mut characters = self.rest.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            if let Some(mark) = quote {
                if c == mark {
                    quote = None;
                }
                continue;
            }
            match c {
                '\'' | '"' => quote = Some(c),
                '(' | '[' | '{' => open += 1,
                ')' | ']' => open = open.checked_sub(1).ok_or(Problem::Syntax)?,
                '}' if open > 0 => open -= 1,
                '!' if open == 0 && characters.peek().is_some_and(|(_, next)| *next == '=') => {}
                '}' | ':' | '!' if open == 0 => return Ok(at),
                _ => {}
            }
        }
        Err(Problem::Syntax)
    }
}

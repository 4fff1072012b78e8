//! Literal texts: quotes, prefixes and escapes.

use super::parse::Problem;

#[derive(Clone, Debug)]
pub(super) enum Literal {
    Text(String),
    /// Bytes are no value that expressions have.
    Bytes,
    /// An f-string: its content as it was written.
    Format {
        content: String,
        raw: bool,
    },
}

/// Reads a literal behind its prefix; also gives its length.
pub(super) fn literal(rest: &str, prefix: &str) -> Result<(Literal, usize), Problem> {
    let raw = prefix.contains('r');
    let quote = if rest.starts_with("'''") {
        "'''"
    } else if rest.starts_with("\"\"\"") {
        "\"\"\""
    } else if rest.starts_with('\'') {
        "'"
    } else {
        "\""
    };
    let content_start = quote.len();
    let mut at = content_start;
    loop {
        let behind = rest.get(at..).ok_or(Problem::Syntax)?;
        if behind.starts_with(quote) {
            break;
        }
        let c = behind.chars().next().ok_or(Problem::Syntax)?;
        match c {
            '\\' => at += 1 + behind.chars().nth(1).ok_or(Problem::Syntax)?.len_utf8(),
            '\n' if quote.len() == 1 => return Err(Problem::Syntax),
            c => at += c.len_utf8(),
        }
    }
    let content = rest.get(content_start..at).unwrap_or_default();
    let length = at + quote.len();
    if prefix.contains('b') {
        return if content.is_ascii() { Ok((Literal::Bytes, length)) } else { Err(Problem::Syntax) };
    }
    let literal = if prefix.contains('f') {
        Literal::Format { content: content.to_owned(), raw }
    } else if raw {
        Literal::Text(content.to_owned())
    } else {
        Literal::Text(unescaped(content)?)
    };
    Ok((literal, length))
}

pub(super) fn unescaped(content: &str) -> Result<String, Problem> {
    let mut text = String::with_capacity(content.len());
    let mut rest = content.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            text.push(c);
            continue;
        }
        let escape = rest.next().ok_or(Problem::Syntax)?;
        match escape {
            '\n' => {}
            '\\' | '\'' | '"' => text.push(escape),
            'a' => text.push('\u{7}'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\u{b}'),
            '0'..='7' => {
                let mut code = escape.to_digit(8).unwrap_or(0);
                for _ in 0..2 {
                    match rest.peek().and_then(|next| next.to_digit(8)) {
                        Some(digit) => code = code * 8 + digit,
                        None => break,
                    }
                    rest.next();
                }
                text.push(char::from_u32(code).ok_or(Problem::Syntax)?);
            }
            'x' | 'u' | 'U' => {
                let digits = match escape {
                    'x' => 2,
                    'u' => 4,
                    _ => 8,
                };
                let mut code: u32 = 0;
                for _ in 0..digits {
                    let digit = rest.next().and_then(|next| next.to_digit(16)).ok_or(Problem::Syntax)?;
                    code = code.wrapping_mul(16).wrapping_add(digit);
                }
                text.push(char::from_u32(code).ok_or(Problem::Syntax)?);
            }
            'N' => return Err(Problem::Syntax),
            other => {
                text.push('\\');
                text.push(other);
            }
        }
    }
    Ok(text)
}

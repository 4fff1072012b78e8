//! The words of a path.

/// A token; quoted names are names, whatever they hold.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Name(String),
    Number(i64),
    Float(f64),
    Bool(bool),
    /// `` `len` ``
    Named(String),
    /// `/` for ascending, `\` for descending, with a comma before it or without.
    Sort {
        descending: bool,
    },
    Compare(&'static str),
    Where,
    DoubleDot,
    Symbol(char),
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        if matches!(c, ' ' | '\t' | '\n') && sort(rest).is_none() {
            rest = rest.get(1..).unwrap_or_default();
            continue;
        }
        let (token, length) = token(rest, c)?;
        tokens.push(token);
        rest = rest.get(length..).unwrap_or_default();
    }
    Ok(tokens)
}

fn token(rest: &str, c: char) -> Result<(Token, usize), String> {
    // Before names, so that `trueish` is two words.
    for (word, flag) in [("true", true), ("false", false)] {
        if rest.starts_with(word) {
            return Ok((Token::Bool(flag), word.len()));
        }
    }
    if let Some((descending, length)) = sort(rest) {
        return Ok((Token::Sort { descending }, length));
    }
    if let Some(length) = name(rest) {
        let name = rest.get(..length).unwrap_or_default();
        return Ok((if name == "where" { Token::Where } else { Token::Name(name.to_owned()) }, length));
    }
    if let Some((token, length)) = number(rest)? {
        return Ok((token, length));
    }
    if matches!(c, '\'' | '"' | '`') {
        let (content, length) = quoted(rest, c)?;
        return Ok((if c == '`' { Token::Named(content) } else { Token::Name(content) }, length));
    }
    for operator in ["=~", "==", "=", "<=", ">=", "!=", "<", ">"] {
        if rest.starts_with(operator) {
            return Ok((Token::Compare(operator), operator.len()));
        }
    }
    if rest.starts_with("..") {
        return Ok((Token::DoubleDot, 2));
    }
    if "*.[]()$,:|&~?@+-".contains(c) {
        return Ok((Token::Symbol(c), 1));
    }
    Err(format!("unexpected character: {c}"))
}

/// `,?\s*[/\\]`: whether it is descending, and its length.
fn sort(rest: &str) -> Option<(bool, usize)> {
    let behind = rest.strip_prefix(',').unwrap_or(rest).trim_start();
    let descending = match behind.chars().next()? {
        '/' => false,
        '\\' => true,
        _ => return None,
    };
    // Blanks between words are skipped before a word begins, but line breaks belong to it.
    Some((descending, rest.len() - behind.len() + 1))
}

fn name(rest: &str) -> Option<usize> {
    let start = rest.strip_prefix('@').unwrap_or(rest);
    if !start.starts_with(|c: char| c == '_' || c.is_ascii_alphabetic()) {
        return None;
    }
    let tail =
        start.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '@' | '-'))).unwrap_or(start.len());
    Some(rest.len() - start.len() + tail)
}

fn number(rest: &str) -> Result<Option<(Token, usize)>, String> {
    let unsigned = rest.strip_prefix('-').unwrap_or(rest);
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let whole = digits(unsigned);
    if whole == 0 {
        return Ok(None);
    }
    let sign = rest.len() - unsigned.len();
    let fraction = unsigned.get(whole..).and_then(|behind| behind.strip_prefix('.')).map_or(0, digits);
    let length = sign + whole + if fraction > 0 { 1 + fraction } else { 0 };
    let text = rest.get(..length).unwrap_or_default();
    let token = if fraction > 0 {
        text.parse().map(Token::Float).map_err(|_problem| format!("not a number: {text}"))?
    } else {
        text.parse().map(Token::Number).map_err(|_problem| format!("a number too large: {text}"))?
    };
    Ok(Some((token, length)))
}

/// The content without its escapes, and the length with both marks.
fn quoted(rest: &str, mark: char) -> Result<(String, usize), String> {
    let mut content = String::new();
    let mut characters = rest.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            c if c == mark => return Ok((content, at + 1)),
            '\\' => match characters.next() {
                Some((_, escaped)) if escaped != '\n' => content.push(escaped),
                _ => return Err("an unfinished escape".to_owned()),
            },
            c => content.push(c),
        }
    }
    Err(format!("a missing {mark}"))
}

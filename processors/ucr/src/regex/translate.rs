//! From Python's syntax of regular expressions to that of `fancy-regex`.

use std::fmt::Write as _;
use std::iter::Peekable;
use std::str::Chars;

use crate::EvalError;

/// Groups nested deeper are refused: the compiler of patterns calls itself for each.
const MOST_NESTING: usize = 50;

pub(super) struct Translated {
    /// For texts that do not end in a line break.
    pub(super) at_end: String,
    /// For those that do, if that makes a difference.
    pub(super) before_last_break: Option<String>,
}

/// Where `$` stands for the end of the text; no pattern holds this character otherwise.
const END_MARK: char = '\u{10ffff}';

pub(super) fn translate(pattern: &str) -> Result<Translated, String> {
    if pattern.contains(END_MARK) {
        return Err("the character U+10FFFF".to_owned());
    }
    let mut translator = Translator {
        rest: pattern.chars().peekable(),
        out: String::with_capacity(pattern.len() + 8),
        flags: String::new(),
        many_lines: vec![global_flags(pattern).contains('m')],
        groups: 0,
        closed: vec![true],
        names: Vec::new(),
        open: Vec::new(),
    };
    translator.run()?;
    let prefix = if translator.flags.is_empty() { String::new() } else { format!("(?{})", translator.flags) };
    let with = |end: &str| prefix.clone() + &translator.out.replace(END_MARK, end);
    let before_last_break = translator.out.contains(END_MARK).then(|| with(r"(?=\n?\z)"));
    Ok(Translated { at_end: with(r"\z"), before_last_break })
}

/// Flags for the whole pattern, which Python allows anywhere in it.
fn global_flags(pattern: &str) -> String {
    let mut flags = String::new();
    for (at, _) in pattern.match_indices("(?") {
        let behind = pattern.get(at + 2..).unwrap_or_default();
        let length = behind.bytes().take_while(|byte| b"aiLmsux".contains(byte)).count();
        if length > 0 && behind.as_bytes().get(length) == Some(&b')') {
            flags.push_str(behind.get(..length).unwrap_or_default());
        }
    }
    flags
}

struct Translator<'p> {
    rest: Peekable<Chars<'p>>,
    out: String,
    flags: String,
    /// Whether `^` and `$` stand at every line, in each open group.
    many_lines: Vec<bool>,
    groups: usize,
    /// Whether each group is complete, by number.
    closed: Vec<bool>,
    /// With the numbers of their groups.
    names: Vec<(String, usize)>,
    /// The numbers of the open groups; 0 for those that capture nothing.
    open: Vec<usize>,
}

/// What a quantifier would repeat.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Nothing,
    Item,
    Repeated,
}

impl Translator<'_> {
    fn run(&mut self) -> Result<(), String> {
        let mut last = Last::Nothing;
        while let Some(c) = self.rest.next() {
            last = match c {
                '\\' => {
                    let is_place = self.rest.peek().is_some_and(|next| "bBAZ".contains(*next));
                    self.escape(false)?;
                    if is_place { Last::Nothing } else { Last::Item }
                }
                '[' => {
                    self.class()?;
                    Last::Item
                }
                '(' => match self.group()? {
                    Opened::Group => Last::Nothing,
                    Opened::Nothing => last,
                    Opened::Item => Last::Item,
                },
                ')' => {
                    let Some(number) = self.open.pop() else { return Err("unbalanced parenthesis".to_owned()) };
                    self.many_lines.pop();
                    if let Some(closed) = self.closed.get_mut(number) {
                        *closed = true;
                    }
                    self.out.push(')');
                    Last::Item
                }
                '|' => {
                    self.out.push('|');
                    Last::Nothing
                }
                '^' => {
                    self.out.push('^');
                    Last::Nothing
                }
                '$' => {
                    let many_lines = self.many_lines.last().copied().unwrap_or(false);
                    self.out.push(if many_lines { '$' } else { END_MARK });
                    Last::Nothing
                }
                '*' | '+' | '?' => self.quantifier(&c.to_string(), last)?,
                '{' => match self.braces()? {
                    Some(quantifier) => self.quantifier(&quantifier, last)?,
                    None => {
                        self.out.push_str(r"\{");
                        Last::Item
                    }
                },
                '}' | ']' => {
                    self.out.push('\\');
                    self.out.push(c);
                    Last::Item
                }
                c => {
                    self.out.push(c);
                    Last::Item
                }
            };
        }
        if self.open.is_empty() { Ok(()) } else { Err("missing ), unterminated subpattern".to_owned()) }
    }

    fn quantifier(&mut self, quantifier: &str, last: Last) -> Result<Last, String> {
        match last {
            Last::Nothing => return Err("nothing to repeat".to_owned()),
            Last::Repeated => return Err("multiple repeat".to_owned()),
            Last::Item => {}
        }
        self.out.push_str(quantifier);
        if self.rest.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        Ok(Last::Repeated)
    }

    /// Behind `{`: a quantifier, or `None` where the brace stands for itself.
    fn braces(&mut self) -> Result<Option<String>, String> {
        let mut ahead = self.rest.clone();
        let mut inside = String::new();
        loop {
            match ahead.next() {
                Some('}') => break,
                Some(c) if (c.is_ascii_digit() || c == ',') && inside.len() < 30 => inside.push(c),
                _ => return Ok(None),
            }
        }
        let (low, high) = match inside.split_once(',') {
            Some((low, high)) if !high.contains(',') => (low, Some(high)),
            Some(_) => return Ok(None),
            None if inside.is_empty() => return Ok(None),
            None => (inside.as_str(), None),
        };
        let low = if low.is_empty() { "0" } else { low };
        let number =
            |text: &str| text.parse::<u32>().map_err(|_overflow| "the repetition number is too large".to_owned());
        let least = number(low)?;
        let quantifier = match high {
            None => format!("{{{least}}}"),
            Some("") => format!("{{{least},}}"),
            Some(high) => {
                let most = number(high)?;
                if most < least {
                    return Err("min repeat greater than max repeat".to_owned());
                }
                format!("{{{least},{most}}}")
            }
        };
        self.rest = ahead;
        Ok(Some(quantifier))
    }

    fn group(&mut self) -> Result<Opened, String> {
        let many_lines = self.many_lines.last().copied().unwrap_or(false);
        let mut inner_lines = many_lines;
        let mut number = 0;
        if self.rest.next_if_eq(&'?').is_none() {
            number = self.open_capture(None)?;
            self.out.push('(');
        } else {
            match self.rest.next() {
                Some(':') => self.out.push_str("(?:"),
                Some('=') => self.out.push_str("(?="),
                Some('!') => self.out.push_str("(?!"),
                Some('#') => {
                    if !self.rest.by_ref().any(|c| c == ')') {
                        return Err("missing ), unterminated comment".to_owned());
                    }
                    return Ok(Opened::Nothing);
                }
                Some('<') => match self.rest.next() {
                    Some('=') => self.out.push_str("(?<="),
                    Some('!') => self.out.push_str("(?<!"),
                    _ => return Err("unknown extension ?<".to_owned()),
                },
                Some('P') => match self.rest.next() {
                    Some('<') => {
                        let name = self.name('>')?;
                        number = self.open_capture(Some(&name))?;
                        let _written = write!(self.out, "(?P<{name}>");
                    }
                    Some('=') => {
                        let name = self.name(')')?;
                        let number = self.names.iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
                        if !number.and_then(|number| self.closed.get(number)).is_some_and(|closed| *closed) {
                            return Err(format!("unknown or open group '{name}'"));
                        }
                        let _written = write!(self.out, "(?P={name})");
                        return Ok(Opened::Item);
                    }
                    _ => return Err("unknown extension ?P".to_owned()),
                },
                Some(flag) if flag == '-' || "aiLmsux".contains(flag) => {
                    let mut flags = flag.to_string();
                    let end = loop {
                        match self.rest.next() {
                            Some(end @ (':' | ')')) => break end,
                            Some(flag) if flag == '-' || "aiLmsux".contains(flag) => flags.push(flag),
                            _ => return Err("unknown flag".to_owned()),
                        }
                    };
                    let (on, off) = flags.split_once('-').unwrap_or((&flags, ""));
                    // Unicode is what texts are; without it `\w` is ASCII.
                    let known = |flags: &str| flags.chars().filter(|flag| "imsx".contains(*flag)).collect::<String>();
                    let ascii = if on.contains('a') { "-u" } else { "" };
                    if end == ')' {
                        if flags.contains('-') {
                            return Err("missing :".to_owned());
                        }
                        for flag in known(on).chars().filter(|flag| !self.flags.contains(*flag)).collect::<Vec<_>>() {
                            self.flags.push(flag);
                        }
                        return if ascii.is_empty() { Ok(Opened::Nothing) } else { Err("the flag a".to_owned()) };
                    }
                    if !ascii.is_empty() {
                        return Err("the flag a".to_owned());
                    }
                    inner_lines = (many_lines || on.contains('m')) && !off.contains('m');
                    let minus = if off.is_empty() { String::new() } else { format!("-{}", known(off)) };
                    let _written = write!(self.out, "(?{}{minus}:", known(on));
                }
                _ => return Err("unknown extension".to_owned()),
            }
        }
        if self.open.len() == MOST_NESTING {
            return Err("groups nested too deep".to_owned());
        }
        self.open.push(number);
        self.many_lines.push(inner_lines);
        Ok(Opened::Group)
    }

    fn open_capture(&mut self, name: Option<&str>) -> Result<usize, String> {
        self.groups += 1;
        if let Some(name) = name {
            if self.names.iter().any(|(known, _)| known == name) {
                return Err(format!("redefinition of group name '{name}'"));
            }
            self.names.push((name.to_owned(), self.groups));
        }
        self.closed.push(false);
        Ok(self.groups)
    }

    fn name(&mut self, end: char) -> Result<String, String> {
        let mut name = String::new();
        loop {
            match self.rest.next() {
                Some(c) if c == end => break,
                Some(c) if c == '_' || c.is_ascii_alphabetic() || (c.is_ascii_digit() && !name.is_empty()) => {
                    name.push(c);
                }
                _ => return Err("bad character in group name".to_owned()),
            }
        }
        if name.is_empty() { Err("missing group name".to_owned()) } else { Ok(name) }
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.rest.next() else { return Err("unterminated character set".to_owned()) };
            match c {
                ']' if !first => break,
                '\\' => self.escape(true)?,
                // A dash stands for itself at either end and behind a class; elsewhere it makes a range.
                '-' if first || self.rest.peek() == Some(&']') => self.out.push_str(r"\-"),
                '-' => {
                    let behind_class =
                        ["\\d", "\\D", "\\w", "\\W", "\\s", "\\S"].iter().any(|class| self.out.ends_with(class));
                    self.out.push_str(if behind_class { r"\-" } else { "-" });
                    // Its end cannot be mistaken for an operation on sets.
                    if !behind_class && let Some(end) = self.rest.next_if(|end| "[&~-^".contains(*end)) {
                        self.out.push('\\');
                        self.out.push(end);
                    }
                }
                '[' | ']' | '&' | '~' | '^' => {
                    self.out.push('\\');
                    self.out.push(c);
                }
                c => self.out.push(c),
            }
            first = false;
        }
        self.out.push(']');
        Ok(())
    }

    /// Behind a backslash.
    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.rest.next() else { return Err("bad escape (end of pattern)".to_owned()) };
        match c {
            'd' | 'D' | 'w' | 'W' | 's' | 'S' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'b' if in_class => self.out.push_str(r"\x08"),
            'b' | 'B' | 'A' if !in_class => {
                self.out.push('\\');
                self.out.push(c);
            }
            'Z' if !in_class => self.out.push_str(r"\z"),
            'a' => self.out.push_str(r"\x07"),
            'f' => self.out.push_str(r"\x0c"),
            'v' => self.out.push_str(r"\x0b"),
            'n' | 'r' | 't' => {
                self.out.push('\\');
                self.out.push(c);
            }
            'x' => self.code(2)?,
            'u' => self.code(4)?,
            'U' => self.code(8)?,
            '0' => {
                let mut code = 0;
                for _ in 0..2 {
                    match self.rest.next_if(|next| next.is_digit(8)).and_then(|next| next.to_digit(8)) {
                        Some(digit) => code = code * 8 + digit,
                        None => break,
                    }
                }
                self.push_code(code)?;
            }
            '1'..='9' => self.number(c, in_class)?,
            c if c.is_ascii_alphabetic() => return Err(format!("bad escape \\{c}")),
            c if c.is_ascii() => {
                let _written = write!(self.out, "\\x{:02x}", u32::from(c));
            }
            c => self.out.push(c),
        }
        Ok(())
    }

    /// A reference to a group, or three octal digits.
    fn number(&mut self, first: char, in_class: bool) -> Result<(), String> {
        let mut digits = first.to_string();
        while digits.len() < 3
            && let Some(digit) = self.rest.next_if(char::is_ascii_digit)
        {
            digits.push(digit);
        }
        if (in_class || digits.len() == 3)
            && let Ok(code) = u32::from_str_radix(&digits, 8)
            && code <= 0o377
        {
            return self.push_code(code);
        }
        if in_class || digits.len() == 3 {
            return Err(format!("bad escape \\{digits}"));
        }
        let number: usize = digits.parse().map_err(|_overflow| "invalid group reference".to_owned())?;
        if !self.closed.get(number).copied().unwrap_or(false) {
            return Err(format!("invalid group reference {number}"));
        }
        let _written = write!(self.out, "(?:\\{number})");
        Ok(())
    }

    fn code(&mut self, digits: u32) -> Result<(), String> {
        let mut code: u32 = 0;
        for _ in 0..digits {
            let digit = self.rest.next().and_then(|digit| digit.to_digit(16)).ok_or("incomplete escape")?;
            code = code.wrapping_mul(16).wrapping_add(digit);
        }
        self.push_code(code)
    }

    fn push_code(&mut self, code: u32) -> Result<(), String> {
        let c = char::from_u32(code).filter(|c| *c != END_MARK).ok_or("no character")?;
        let _written = write!(self.out, "\\x{{{:x}}}", u32::from(c));
        Ok(())
    }
}

enum Opened {
    Group,
    /// Nothing that could be repeated: a comment, flags.
    Nothing,
    Item,
}

/// A piece of a replacement.
pub(super) enum Part {
    Text(String),
    Group(usize),
    Named(String),
}

/// Reads the replacement of `re.sub`.
pub(super) fn replacement(text: &str) -> Result<Vec<Part>, EvalError> {
    let bad = |what: String| EvalError::Value(what.into());
    let mut parts = Vec::new();
    let mut plain = String::new();
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        let escaped = rest.next().ok_or_else(|| bad("bad escape (end of pattern)".to_owned()))?;
        let control = match escaped {
            'n' => Some('\n'),
            't' => Some('\t'),
            'r' => Some('\r'),
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'v' => Some('\u{b}'),
            '\\' => Some('\\'),
            _ => None,
        };
        if let Some(control) = control {
            plain.push(control);
            continue;
        }
        let part = match escaped {
            'g' => {
                let _open = rest.next_if_eq(&'<').ok_or_else(|| bad("missing <".to_owned()))?;
                let mut name = String::new();
                loop {
                    match rest.next() {
                        Some('>') => break,
                        Some(c) => name.push(c),
                        None => return Err(bad("missing >, unterminated name".to_owned())),
                    }
                }
                name.parse().map_or(Part::Named(name), Part::Group)
            }
            '1'..='9' => {
                let mut digits = escaped.to_string();
                if let Some(digit) = rest.next_if(char::is_ascii_digit) {
                    digits.push(digit);
                }
                Part::Group(digits.parse().unwrap_or(usize::MAX))
            }
            '0' => {
                plain.push('\0');
                continue;
            }
            c if c.is_ascii_alphabetic() => return Err(bad(format!("bad escape \\{c}"))),
            c => {
                plain.push('\\');
                plain.push(c);
                continue;
            }
        };
        if !plain.is_empty() {
            parts.push(Part::Text(std::mem::take(&mut plain)));
        }
        parts.push(part);
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Ok(parts)
}

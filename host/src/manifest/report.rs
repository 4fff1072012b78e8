//! What is gathered while one file is read: its problems, its secrets' places, the other files it took text from.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::DeTable;

use super::Source;
use super::problem::{Code, Problem};
use super::secret::{Lookup, VariableError, interpolate};
use super::section::Text;
use super::shapes::Shape;

/// One file while it is read. Shared by all of its tables, hence the cells: a table that reads one key must not keep
/// another from reading the next.
pub(super) struct Report<'a> {
    pub(super) source: &'a Source,
    pub(super) lookup: &'a dyn Lookup,
    /// All tables that this file may hold, to say where a misplaced key belongs.
    pub(super) shapes: Vec<&'static Shape>,
    problems: RefCell<Vec<Problem>>,
    secrets: RefCell<Vec<Range<usize>>>,
    files: RefCell<BTreeSet<PathBuf>>,
}

/// What reading one file left behind.
pub(super) struct Gathered {
    /// In the order of the file.
    pub(super) problems: Vec<Problem>,
    /// The file with its literal secrets blotted out.
    pub(super) shown: Source,
    /// Other files that text was taken from.
    pub(super) files: BTreeSet<PathBuf>,
}

impl<'a> Report<'a> {
    pub(super) fn new(source: &'a Source, lookup: &'a dyn Lookup, shapes: Vec<&'static Shape>) -> Self {
        Self {
            source,
            lookup,
            shapes,
            problems: RefCell::default(),
            secrets: RefCell::default(),
            files: RefCell::default(),
        }
    }

    /// The file's tables; with syntax errors reported, as far as they could be made out.
    pub(super) fn parse(&self) -> Spanned<DeTable<'a>> {
        let (table, errors) = DeTable::parse_recoverable(&self.source.text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            self.hide_lines(&span);
            // The parser's text may have several lines; a problem's has one.
            let message = error.message().lines().collect::<Vec<_>>().join(", ");
            self.problem(span, Code::Syntax, message);
        }
        table
    }

    pub(super) fn problem(&self, span: Range<usize>, code: Code, message: impl Into<String>) {
        self.push(self.make(span, code, message.into()));
    }

    pub(super) fn problem_with_help(&self, span: Range<usize>, code: Code, message: String, help: impl Into<String>) {
        self.push(self.make(span, code, message).with_help(help));
    }

    pub(super) fn is_clean(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// `text` with its variables replaced; an undefined one is reported at its place inside `span`.
    pub(super) fn resolve(&self, text: &str, span: Range<usize>) -> Option<String> {
        match interpolate(text, self.lookup) {
            Ok(resolved) => Some(resolved),
            Err(VariableError::Undefined(name)) => {
                let written = format!("${{{name}}}");
                let place = self.source.text.get(span.clone()).and_then(|slice| slice.find(&written));
                let span = place.map_or(span.clone(), |at| span.start + at..span.start + at + written.len());
                let message = format!("environment variable `{name}` is not set");
                self.problem_with_help(span, Code::Variable, message, "write `$${` for a literal `${`");
                None
            }
            Err(VariableError::Malformed) => {
                let help = "write `${NAME}`, or `$${` for a literal `${`";
                self.problem_with_help(span, Code::Variable, "`${` without a name and `}`".to_owned(), help);
                None
            }
        }
    }

    /// The text of another file.
    pub(super) fn read(&self, path: &Text) -> Option<String> {
        let file = self.beside(&path.value);
        let read = self.lookup.read(&file);
        self.files.borrow_mut().insert(file);
        let report = |error| {
            let message = format!("could not read {}: {error}", self.beside(&path.written).display());
            self.problem(path.span.clone(), Code::UnusableFile, message);
        };
        read.map_err(report).ok()
    }

    /// A path in this file is relative to the file itself.
    pub(super) fn beside(&self, path: &str) -> PathBuf {
        self.source.path.parent().unwrap_or(Path::new("")).join(path)
    }

    /// Keeps what stands at `span` from being shown.
    pub(super) fn hide(&self, span: Range<usize>) {
        self.secrets.borrow_mut().push(span);
    }

    pub(super) fn finish(self) -> Gathered {
        let mut problems = self.problems.into_inner();
        problems.sort_by_key(|problem| (problem.span.start, problem.span.end, problem.code));
        problems.dedup();
        let mut text = self.source.text.clone();
        for span in self.secrets.into_inner() {
            if let Some(hidden) = text.get(span.clone()).map(blot) {
                text.replace_range(span, &hidden);
            }
        }
        let shown = Source { path: self.source.path.clone(), text };
        Gathered { problems, shown, files: self.files.into_inner() }
    }

    fn push(&self, problem: Problem) {
        self.problems.borrow_mut().push(problem);
    }

    fn make(&self, span: Range<usize>, code: Code, message: String) -> Problem {
        Problem::new(&self.source.path, &self.source.text, span, code, message)
    }

    /// Where the syntax is broken nobody can say which text is a secret's: values whose key sounds like one are hidden
    /// on the lines that will be shown.
    fn hide_lines(&self, span: &Range<usize>) {
        let text = &self.source.text;
        let end = text.floor_char_boundary(span.end.max(span.start));
        let start = text[..text.floor_char_boundary(span.start)].rfind('\n').map_or(0, |at| at + 1);
        let end = text[end..].find('\n').map_or(text.len(), |at| end + at);
        let mut at = start;
        for line in text[start..end].split_inclusive('\n') {
            if let Some((key, _)) = line.split_once('=')
                && ["url", "password", "secret", "token", "options", "pem"].iter().any(|word| key.contains(word))
            {
                self.hide(at + key.len() + 1..at + line.len());
            }
            at += line.len();
        }
    }
}

/// The text with stars for letters, byte for byte; variables and quotes stay, they say nothing.
fn blot(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        let variable = rest.strip_prefix("${").and_then(|name| name.find('}')).map(|end| end + 3);
        let length = variable.unwrap_or(letter.len_utf8());
        if variable.is_some() || letter.is_whitespace() || matches!(letter, '"' | '\'') {
            out.push_str(&rest[..length]);
        } else {
            out.push_str(&"*".repeat(length));
        }
        rest = &rest[length..];
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blotted_out_byte_for_byte() {
        assert_eq!(blot("\"a:é b${PASSWORD}c\""), "\"**** *${PASSWORD}*\"");
        assert_eq!(blot("${A"), "***");
    }
}

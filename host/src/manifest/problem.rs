//! A problem: what is wrong in a file, and exactly where.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Serialize, Serializer};

/// Something wrong in one file. Its text quotes no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file, as it was given.
    pub file: PathBuf,
    /// The bytes that it is about.
    pub span: Range<usize>,
    /// The line of their beginning, from 1.
    pub line: usize,
    /// The column of their beginning in characters, from 1.
    pub column: usize,
    /// Which kind of problem.
    pub code: Code,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kinds of problems. Their texts are stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The stable text.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// Not TOML.
    Syntax = "syntax",
    /// A key that means nothing here.
    UnknownKey = "unknown-key",
    /// A key that belongs to another kind of entry, or that the host sets itself.
    ForbiddenKey = "forbidden-key",
    /// A key that must be there.
    MissingKey = "missing-key",
    /// Two keys of which only one may be given.
    ConflictingKeys = "conflicting-keys",
    /// Text where a number is due, and the like.
    WrongType = "wrong-type",
    /// A number, size or time beyond its bounds.
    OutOfRange = "out-of-range",
    /// Not one of the words that may stand here.
    UnknownValue = "unknown-value",
    /// Text that cannot be read as what it should be: a size, a time, a name, an address, a query.
    InvalidValue = "invalid-value",
    /// An empty list or text where something must be.
    Empty = "empty",
    /// The same name or value twice.
    Duplicate = "duplicate",
    /// A name that the settings do not define.
    UnknownReference = "unknown-reference",
    /// A name that the settings define, but as something that cannot do this.
    WrongKind = "wrong-kind",
    /// `${NAME}` without such a variable in the environment, or not closed.
    Variable = "variable",
    /// A secret or a configuration in a file that cannot be used.
    UnusableFile = "unusable-file",
}

impl Problem {
    /// A problem in `file`, which holds `text`.
    pub(super) fn new(file: &Path, text: &str, span: Range<usize>, code: Code, message: String) -> Self {
        let before = &text[..text.floor_char_boundary(span.start)];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        Self { file: file.to_owned(), span, line, column, code, message, help: None }
    }

    pub(super) fn with_help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

/// The one-line form, for logs.
impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, line, column, code, message, .. } = self;
        write!(formatter, "{}:{line}:{column}: {code}: {message}", file.display())?;
        match &self.help {
            Some(help) => write!(formatter, " ({help})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_one_line_with_its_place_in_characters() {
        let text = "a = 1\né = 2\n";
        let problem = Problem::new(Path::new("x.toml"), text, 9..10, Code::Empty, "it is empty".to_owned());
        assert_eq!(problem.to_string(), "x.toml:2:3: empty: it is empty");
        assert_eq!(problem.with_help("fill it").to_string(), "x.toml:2:3: empty: it is empty (fill it)");
    }

    #[test]
    fn codes_are_kebab_case_and_differ() {
        let texts: std::collections::BTreeSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), Code::ALL.len());
        assert!(texts.iter().all(|text| text.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-')));
    }
}

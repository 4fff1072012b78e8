//! Regular expressions in the dialect of Python.
//!
//! Patterns are translated and then run by `fancy-regex`, which takes everything that needs no memory (nearly all
//! patterns) to automata of linear time, and goes back over look-around and references to groups under a limit.
//!
//! Differences that are left:
//! - a pattern that goes back too often ends in [`EvalError::Limit`] where Python would go on for years;
//! - look-behind may have a variable length in some cases where Python refuses the pattern;
//! - `\w`, `\d` and `\s` follow another edition of Unicode, and `\w` includes combining marks;
//! - look-behind that is repeated (`(?<=a)*`, which says nothing) is refused;
//! - conditionals on groups (`(?(1)…)`) are refused, as are names of characters (`\N{…}`, which Python 3.8 added).

mod translate;

use fancy_regex::{Regex, RegexBuilder};

use crate::EvalError;

/// Steps back that one search may take: well below a second.
const MOST_STEPS_BACK: usize = 1_000_000;

/// Bytes that the automata of one pattern may take.
const MOST_BYTES: usize = 4 << 20;

/// Longer patterns are refused.
const MOST_CHARACTERS: usize = 10_000;

#[derive(Clone, Debug)]
pub struct Pattern {
    regex: Regex,
    /// Where `$` also stands before a last line break: for texts that end in one.
    before_last_break: Option<Regex>,
}

impl Pattern {
    /// # Errors
    ///
    /// What is wrong with the pattern.
    pub fn compile(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MOST_CHARACTERS {
            return Err(format!("a pattern of more than {MOST_CHARACTERS} characters"));
        }
        let translated = translate::translate(pattern)?;
        let build = |pattern: &str| {
            RegexBuilder::new(pattern)
                .backtrack_limit(MOST_STEPS_BACK)
                .delegate_size_limit(MOST_BYTES)
                .delegate_dfa_size_limit(MOST_BYTES)
                .build()
                .map_err(|problem| problem.to_string())
        };
        let regex = build(&translated.at_end)?;
        let before_last_break = translated.before_last_break.as_deref().map(build).transpose()?;
        Ok(Self { regex, before_last_break })
    }

    /// Whether the pattern is found anywhere in the text.
    ///
    /// # Errors
    ///
    /// [`EvalError::Limit`] when finding that out takes too long.
    pub fn is_match(&self, text: &str) -> Result<bool, EvalError> {
        self.regex_for(text).is_match(text).map_err(|_too_many| too_long())
    }

    /// The text with every match replaced. `\1` and `\g<name>` in the replacement stand for groups.
    ///
    /// # Errors
    ///
    /// [`EvalError::Limit`] when that takes too long or gives too long a text, and [`EvalError::Value`] for a
    /// replacement that names a group which does not exist.
    pub fn replace_all(&self, text: &str, replacement: &str) -> Result<String, EvalError> {
        let parts = translate::replacement(replacement)?;
        let mut out = String::with_capacity(text.len());
        let mut copied = 0;
        let mut last_end = None;
        for captures in self.regex_for(text).captures_iter(text) {
            let captures = captures.map_err(|_too_many| too_long())?;
            let Some(found) = captures.get(0) else { continue };
            // Before Python 3.7 an empty match directly behind another match does not count.
            if found.start() == found.end() && last_end == Some(found.start()) {
                continue;
            }
            last_end = Some(found.end());
            out.push_str(text.get(copied..found.start()).unwrap_or_default());
            copied = found.end();
            for part in &parts {
                match part {
                    translate::Part::Text(part) => out.push_str(part),
                    translate::Part::Group(number) if *number < captures.len() => {
                        out.push_str(captures.get(*number).map_or("", |group| group.as_str()));
                    }
                    translate::Part::Named(name) if self.regex.capture_names().flatten().any(|known| known == name) => {
                        out.push_str(captures.name(name).map_or("", |group| group.as_str()));
                    }
                    translate::Part::Group(_) | translate::Part::Named(_) => {
                        return Err(EvalError::Value("invalid group reference".into()));
                    }
                }
            }
            if out.len() > 1_000_000 {
                return Err(EvalError::limit("a replacement gives too long a text"));
            }
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        Ok(out)
    }

    fn regex_for(&self, text: &str) -> &Regex {
        match &self.before_last_break {
            Some(regex) if text.ends_with('\n') => regex,
            _ => &self.regex,
        }
    }
}

fn too_long() -> EvalError {
    EvalError::limit("a regular expression takes too long")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, expected: bool) {
        let pattern = Pattern::compile(pattern).unwrap_or_else(|problem| panic!("{pattern}: {problem}"));
        assert_eq!(pattern.is_match(text).unwrap(), expected, "{pattern:?} {text}");
    }

    #[test]
    fn patterns_are_pythons() {
        for (pattern, text, expected) in [
            ("b", "abc", true),
            ("^b", "abc", false),
            ("^a.*c$", "abc", true),
            ("^a.*c$", "abc\n", true),
            ("c$", "abc\n\n", false),
            (r"c\Z", "abc\n", false),
            ("(?m)^line2$", "line1\nline2\nline3", true),
            ("(?i)ABC", "xabcx", true),
            ("ABC(?i)", "xabcx", true),
            (r"\d+", "a٣b", true),
            (r"^\w+$", "été", true),
            ("a.c", "a\nc", false),
            ("(?s)a.c", "a\nc", true),
            ("", "", true),
            ("x{,2}y", "y", true),
            ("a{", "a{", true),
            ("a{x}", "a{x}", true),
            ("{", "{", true),
            ("[[]", "[", true),
            ("[]a]", "]", true),
            ("[a&&b]", "&", true),
            ("[a~~b]", "~", true),
            (r"[\w-]", "-", true),
            ("^[+--]$", ",", true),
            ("}", "}", true),
            ("]", "]", true),
            (r"(a)\1", "aa", true),
            (r"(?P<x>a)(?P=x)", "aa", true),
            ("(?=ab)a", "ab", true),
            ("(?<!a)b", "ab", false),
            (r"\x41\u0042\103\0", "ABC\0", true),
            ("(?#comment)a", "a", true),
            (r"\-\ \@", "- @", true),
            (r"[\b]", "\u{8}", true),
        ] {
            check(pattern, text, expected);
        }
    }

    #[test]
    fn what_python_refuses_is_refused() {
        for pattern in [
            "[",
            "(",
            ")",
            "*a",
            "^*",
            r"\b+",
            "(?P<x>(?P=x))",
            "a**",
            "a{2}{3}",
            "a++",
            "(?<x>a)",
            r"\q",
            r"\h",
            r"\K",
            r"\p{L}",
            "(?>a)",
            "a{3,2}",
            r"(a)\2",
            r"\",
            "[b-a]",
            "(?P<1>a)",
            "(?P<x>a)(?P<x>b)",
            "(?P=y)",
            r"\x4",
        ] {
            assert!(Pattern::compile(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_pathological_pattern_ends_within_the_limit() {
        let text = "a".repeat(10_000);
        check("(a+)+$", &format!("{text}b"), false);
        check("(a|aa)+$", &format!("{text}b"), false);
        let slow = Pattern::compile(r"(?=a)(a+)+\1b").unwrap();
        assert!(matches!(slow.is_match(&text), Err(EvalError::Limit(_))));
        assert!(Pattern::compile("((a{100}){100}){100}").is_err());
        assert!(Pattern::compile(&"(".repeat(5000)).is_err());
        assert!(Pattern::compile(&format!("{}a{}", "(".repeat(2000), ")".repeat(2000))).is_err());
        assert!(Pattern::compile(&"a".repeat(20_000)).is_err());
    }

    #[test]
    fn replacements_may_name_groups() {
        let replace = |pattern: &str, text: &str, replacement: &str| {
            Pattern::compile(pattern).unwrap().replace_all(text, replacement)
        };
        assert_eq!(replace("(a)(?P<x>b)", "xabx", r"\2\g<1>\g<x>-\n").unwrap(), "xbab-\nx");
        assert_eq!(replace("x*", "-", "+").unwrap(), "+-+");
        assert_eq!(replace("a", "banana", "o").unwrap(), "bonono");
        assert!(replace("a", "a", r"\1").is_err());
    }
}

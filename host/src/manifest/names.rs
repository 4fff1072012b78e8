//! Names: what may be one, which ones the settings define, and which one was meant.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::problem::Code;
use super::report::Report;
use super::section::{Section, Text};

/// A name is a checkpoint's identity, a label and a part of tables: longer ones fit nowhere.
const LONGEST: usize = 100;

/// The entries of one table of the settings, also those that have problems of their own.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// What one entry is called.
    pub(super) what: &'static str,
    /// The kind of each, where it is known.
    pub(super) kinds: BTreeMap<Arc<str>, Option<&'static str>>,
}

impl Group {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, kinds: BTreeMap::new() }
    }

    /// The entry that `text` names, which must be one of `kinds` (none given: any kind).
    pub(super) fn find(&self, report: &Report<'_>, text: &Text, kinds: &[&'static str]) -> Option<Arc<str>> {
        let what = self.what;
        let Some((name, kind)) = self.kinds.get_key_value(text.value.as_str()) else {
            let message = format!("the settings define no {what} `{}`", text.written);
            let help = match nearest(&text.value, self.kinds.keys().map(AsRef::as_ref)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if self.kinds.is_empty() => format!("they define no {what} at all"),
                None => format!("they define {}", listed(self.kinds.keys().map(AsRef::as_ref), "and")),
            };
            report.problem_with_help(text.span.clone(), Code::UnknownReference, message, help);
            return None;
        };
        if let Some(kind) = kind
            && !kinds.is_empty()
            && !kinds.contains(kind)
        {
            let message = format!("{what} `{}` is of kind `{kind}`, which cannot do this", text.written);
            let help = format!("it takes kind {}", one_of(kinds.iter().copied()));
            report.problem_with_help(text.span.clone(), Code::WrongKind, message, help);
            return None;
        }
        Some(Arc::clone(name))
    }
}

/// The text as a name, or a problem.
pub(super) fn name(section: &Section<'_>, text: &Text) -> Option<Arc<str>> {
    let starts_well = text.value.starts_with(|first: char| first.is_ascii_alphanumeric());
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.');
    if starts_well && text.value.chars().all(is_plain) && text.value.len() <= LONGEST {
        return Some(Arc::from(text.value.as_str()));
    }
    let message = format!("`{}` cannot be a name", text.written.escape_debug());
    let help = format!("a name is at most {LONGEST} of a-z, A-Z, 0-9, -, _ and ., beginning with a letter or digit");
    section.report.problem_with_help(text.span.clone(), Code::InvalidValue, message, help);
    None
}

/// The candidate that was probably meant.
pub(super) fn nearest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |text: &str| text.to_lowercase().replace('_', "-");
    let text = plain(text);
    // A third of the letters may be wrong: beyond that, suggestions are rather confusing than helpful.
    let bound = (text.chars().count() / 3).max(1);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(&text, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `` `a`, `b` or `c` ``.
pub(super) fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    listed(words, "or")
}

fn listed<'a>(words: impl IntoIterator<Item = &'a str>, last: &str) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("`{word}`")).collect();
    match quoted.split_last() {
        Some((word, [])) => word.clone(),
        Some((word, before)) => format!("{} {last} {word}", before.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let check = |text, expected| assert_eq!(nearest(text, ["in-flight", "count", "bytes"].into_iter()), expected);
        check("in_flight", Some("in-flight"));
        check("InFlight", Some("in-flight"));
        check("cuont", Some("count"));
        check("byte", Some("bytes"));
        check("workers", None);
        check("", None);
    }

    #[test]
    fn words_are_listed_as_people_do() {
        assert_eq!(one_of(["a"]), "`a`");
        assert_eq!(one_of(["a", "b", "c"]), "`a`, `b` or `c`");
    }
}

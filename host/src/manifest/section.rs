//! One table while it is read: typed access to its keys, each misuse reported at its place.
//!
//! A reader asks for every key and goes on after a problem with the default, so that one pass finds everything. The
//! values count only when the report is clean at the end.

use std::fmt::Display;
use std::num::NonZeroUsize;
use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::names::{nearest, one_of};
use super::problem::Code;
use super::report::Report;
use super::secret::Secret;
use super::shapes::Shape;
use super::units::{parse_duration, parse_size, show_duration, show_size};

/// A value in the file.
pub(super) type Value<'a> = Spanned<DeValue<'a>>;

/// One table of a file.
pub(super) struct Section<'a> {
    pub(super) report: &'a Report<'a>,
    shape: &'static Shape,
    table: &'a DeTable<'a>,
    /// The table's name in messages, such as `[feeds.cases]`.
    shown: String,
    /// What a missing key is reported at.
    pub(super) span: Range<usize>,
}

/// A text with its place.
#[derive(Debug, Clone)]
pub(super) struct Text {
    /// The text, its variables replaced.
    pub(super) value: String,
    /// The text as it is written: messages quote this one, for a variable may hold a secret.
    pub(super) written: String,
    pub(super) span: Range<usize>,
}

impl<'a> Section<'a> {
    /// The top level of the file.
    pub(super) fn root(report: &'a Report<'a>, table: &'a DeTable<'a>, shape: &'static Shape) -> Self {
        Self::open(report, table, shape, "the top level".to_owned(), 0..0)
    }

    /// Opens a table and reports the keys that it may not hold.
    fn open(
        report: &'a Report<'a>,
        table: &'a DeTable<'a>,
        shape: &'static Shape,
        shown: String,
        span: Range<usize>,
    ) -> Self {
        debug_assert!(report.shapes.contains(&shape), "{} is not listed", shape.path);
        let section = Self { report, shape, table, shown, span };
        for key in table.keys() {
            section.check_key(key.get_ref(), key.span());
        }
        section
    }

    fn check_key(&self, key: &str, span: Range<usize>) {
        let Some(keys) = self.shape.keys else { return };
        let is_file = |secret: &&str| key == format!("{secret}-file") || key == format!("{secret}_file");
        if keys.contains(&key) || self.shape.secrets.iter().any(is_file) {
            return;
        }
        let having: Vec<&Shape> = self
            .report
            .shapes
            .iter()
            .copied()
            .filter(|shape| shape.keys.is_some_and(|keys| keys.contains(&key)))
            .collect();
        let kinds: Vec<&str> =
            having.iter().filter(|shape| shape.path == self.shape.path).filter_map(|shape| shape.kind).collect();
        if let (Some(kind), false) = (self.shape.kind, kinds.is_empty()) {
            let message = format!("`{key}` is not for kind `{kind}`");
            let help = format!("only kind {} has it", one_of(kinds));
            self.report.problem_with_help(span, Code::ForbiddenKey, message, help);
            return;
        }
        let help = if let Some(near) = nearest(key, keys.iter().copied()) {
            format!("did you mean `{near}`?")
        } else if let Some(shape) = having.first() {
            if shape.path.is_empty() {
                format!("`{key}` belongs to the top level, before the first table")
            } else {
                format!("`{key}` belongs to `[{}]`", shape.path)
            }
        } else {
            format!("known here: {}", keys.join(", "))
        };
        let message = format!("unknown key `{key}` in {}", self.shown);
        self.report.problem_with_help(span, Code::UnknownKey, message, help);
    }

    /// The value of `key`, if it is there.
    pub(super) fn value(&self, key: &str) -> Option<&'a Value<'a>> {
        debug_assert!(self.shape.keys.is_none_or(|keys| keys.contains(&key)), "{key} is not listed");
        self.table.get(key)
    }

    /// Every key with its value, in the order of the file.
    pub(super) fn entries(&self) -> Vec<(Text, &'a Value<'a>)> {
        let text = |key: &Spanned<_>| {
            let key_text: &str = AsRef::<std::borrow::Cow<'_, str>>::as_ref(key);
            Text { value: key_text.to_owned(), written: key_text.to_owned(), span: key.span() }
        };
        let mut entries: Vec<(Text, &'a Value<'a>)> =
            self.table.iter().map(|(key, value)| (text(key), value)).collect();
        entries.sort_by_key(|(key, _)| key.span.start);
        entries
    }

    pub(super) fn missing(&self, key: &str) {
        let message = format!("{} lacks the key `{key}`", self.shown);
        self.report.problem(self.span.clone(), Code::MissingKey, message);
    }

    pub(super) fn text(&self, key: &str) -> Option<Text> {
        self.text_of(key, self.value(key)?)
    }

    pub(super) fn required_text(&self, key: &str) -> Option<Text> {
        if self.value(key).is_none() {
            self.missing(key);
        }
        self.text(key)
    }

    /// The value as text that is not empty.
    pub(super) fn text_of(&self, key: &str, value: &Value<'_>) -> Option<Text> {
        let DeValue::String(text) = value.get_ref() else { return self.wrong_type(key, value, "a text") };
        let resolved = self.report.resolve(text, value.span())?;
        if resolved.is_empty() {
            self.report.problem(value.span(), Code::Empty, format!("`{key}` is empty"));
            return None;
        }
        Some(Text { value: resolved, written: text.clone().into_owned(), span: value.span() })
    }

    /// A list of texts that names nothing twice; empty when the key is absent.
    pub(super) fn texts(&self, key: &str) -> Vec<Text> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type::<()>(key, value, "a list of texts");
            return Vec::new();
        };
        let mut texts: Vec<Text> = Vec::new();
        for text in items.iter().filter_map(|item| self.text_of(key, item)) {
            if texts.iter().any(|other| other.value == text.value) {
                let message = format!("`{}` stands in `{key}` twice", text.written);
                self.report.problem(text.span.clone(), Code::Duplicate, message);
            }
            texts.push(text);
        }
        texts
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> bool {
        let Some(value) = self.value(key) else { return default };
        match value.get_ref() {
            DeValue::Boolean(flag) => *flag,
            _ => self.wrong_type(key, value, "true or false").unwrap_or(default),
        }
    }

    /// A whole number within `range`, which does not begin at 0.
    pub(super) fn count(&self, key: &str, range: RangeInclusive<usize>, default: NonZeroUsize) -> NonZeroUsize {
        let Some(value) = self.value(key) else { return default };
        let DeValue::Integer(integer) = value.get_ref() else {
            return self.wrong_type(key, value, "a whole number").unwrap_or(default);
        };
        let count = usize::from_str_radix(integer.as_str(), integer.radix()).ok();
        self.within(key, value.span(), count, &range, usize::to_string).and_then(NonZeroUsize::new).unwrap_or(default)
    }

    /// A size within `range`, which does not begin at 0.
    pub(super) fn size(&self, key: &str, range: RangeInclusive<usize>, default: NonZeroUsize) -> NonZeroUsize {
        let read = || {
            let value = self.value(key)?;
            let DeValue::String(_) = value.get_ref() else {
                return self.wrong_type(key, value, "a size such as \"64 KiB\"");
            };
            let text = self.text(key)?;
            let bytes = self.parsed(key, &text, parse_size)?;
            let show = |bytes: &usize| show_size(*bytes as u64);
            self.within(key, text.span, usize::try_from(bytes).ok(), &range, show).and_then(NonZeroUsize::new)
        };
        read().unwrap_or(default)
    }

    pub(super) fn duration(&self, key: &str, range: RangeInclusive<Duration>, default: Duration) -> Duration {
        let read = || {
            let value = self.value(key)?;
            let DeValue::String(_) = value.get_ref() else {
                return self.wrong_type(key, value, "a time such as \"5 s\"");
            };
            let text = self.text(key)?;
            let duration = self.parsed(key, &text, parse_duration)?;
            self.within(key, text.span, Some(duration), &range, |duration| show_duration(*duration))
        };
        read().unwrap_or(default)
    }

    /// A number above 0, at most 1.
    pub(super) fn share(&self, key: &str, default: f64) -> f64 {
        let Some(value) = self.value(key) else { return default };
        let number: Option<f64> = match value.get_ref() {
            DeValue::Float(float) => float.as_str().parse().ok(),
            DeValue::Integer(integer) => integer.as_str().parse().ok(),
            _ => return self.wrong_type(key, value, "a number such as 0.5").unwrap_or(default),
        };
        match number.filter(|number| *number > 0.0 && *number <= 1.0) {
            Some(number) => number,
            None => {
                self.report.problem(value.span(), Code::OutOfRange, format!("`{key}` must be above 0 and at most 1"));
                default
            }
        }
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&self, key: &str, choices: &[(&'static str, T)], default: T) -> T {
        let Some(text) = self.text(key) else { return default };
        self.chosen(key, &text, choices).unwrap_or(default)
    }

    /// What `text` stands for.
    pub(super) fn chosen<T: Copy>(&self, key: &str, text: &Text, choices: &[(&'static str, T)]) -> Option<T> {
        let words = choices.iter().map(|(word, _)| *word);
        if let Some((_, choice)) = choices.iter().find(|(word, _)| *word == text.value) {
            return Some(*choice);
        }
        let help = match nearest(&text.value, words.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("it is {}", one_of(words)),
        };
        let message = format!("`{key}` cannot be `{}`", text.written);
        self.report.problem_with_help(text.span.clone(), Code::UnknownValue, message, help);
        None
    }

    /// A secret that may be there, in the file or in another one.
    pub(super) fn optional_secret(&self, key: &str) -> Option<(Secret, Range<usize>)> {
        let names = [key.to_owned(), format!("{key}-file"), format!("{key}_file")];
        if !names.iter().any(|name| self.holds(name)) {
            return None;
        }
        self.secret(key)
    }

    /// Whether the table has this key, also where a secret stands in a file.
    pub(super) fn holds(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// A secret that must be there, in the file or in another one.
    pub(super) fn secret(&self, key: &str) -> Option<(Secret, Range<usize>)> {
        debug_assert!(self.shape.secrets.contains(&key), "{key} is not listed as a secret");
        let names = [key.to_owned(), format!("{key}-file"), format!("{key}_file")];
        let given = |name: &String| self.table.get_key_value(name.as_str());
        let mut given: Vec<(&Spanned<_>, &Value<'_>)> = names.iter().filter_map(given).collect();
        given.sort_by_key(|(name, _)| name.span().start);
        if let [(first, _), (second, _), ..] = given.as_slice() {
            let message = format!("both `{}` and `{}` are given", first.get_ref(), second.get_ref());
            self.report.problem(second.span(), Code::ConflictingKeys, message);
        }
        let Some((name, value)) = given.first() else {
            self.missing(key);
            return None;
        };
        Some((self.secret_of(name.get_ref(), value)?, value.span()))
    }

    /// The value as a secret; that of a key that ends with `-file` or `_file` is a path to it.
    pub(super) fn secret_of(&self, key: &str, value: &Value<'_>) -> Option<Secret> {
        if !(key.ends_with("-file") || key.ends_with("_file")) {
            self.report.hide(value.span());
            return self.text_of(key, value).map(|text| Secret::new(text.value));
        }
        let path = self.text_of(key, value)?;
        let text = self.report.read(&path)?;
        // An editor's or `echo`'s final newline is not part of a secret.
        let text = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
        if text.is_empty() {
            self.report.problem(path.span, Code::UnusableFile, "this file holds no secret: it is empty");
            return None;
        }
        Some(Secret::new(text))
    }

    pub(super) fn section(&self, key: &str, shape: &'static Shape) -> Option<Self> {
        let value = self.value(key)?;
        self.section_of(key, value, shape)
    }

    pub(super) fn required_section(&self, key: &str, shape: &'static Shape) -> Option<Self> {
        if self.value(key).is_none() {
            let message = format!("{} lacks the table `[{key}]`", self.shown);
            self.report.problem(self.span.clone(), Code::MissingKey, message);
        }
        self.section(key, shape)
    }

    /// The value as a table of this shape; `path` is what it is called.
    pub(super) fn section_of(&self, path: &str, value: &'a Value<'a>, shape: &'static Shape) -> Option<Self> {
        let DeValue::Table(table) = value.get_ref() else { return self.wrong_type(path, value, "a table") };
        Some(Self::open(self.report, table, shape, format!("`[{path}]`"), value.span()))
    }

    /// The value as a table of whichever of `shapes` its `kind` names.
    pub(super) fn section_of_kind(
        &self,
        path: &str,
        value: &'a Value<'a>,
        shapes: &'static [Shape],
    ) -> Option<(&'static str, Self)> {
        let DeValue::Table(table) = value.get_ref() else { return self.wrong_type(path, value, "a table") };
        let kinds: Vec<(&'static str, &'static Shape)> =
            shapes.iter().filter_map(|shape| Some((shape.kind?, shape))).collect();
        let Some(kind) = table.get("kind") else {
            let message = format!("`[{path}]` lacks the key `kind`");
            let help = format!("it is {}", one_of(kinds.iter().map(|(kind, _)| *kind)));
            self.report.problem_with_help(value.span(), Code::MissingKey, message, help);
            return None;
        };
        let kind = self.text_of("kind", kind)?;
        let shape = self.chosen("kind", &kind, &kinds)?;
        Some((shape.kind?, Self::open(self.report, table, shape, format!("`[{path}]`"), value.span())))
    }

    /// The tables of a list of tables, `[[key]]`.
    pub(super) fn sections(&self, key: &str, shape: &'static Shape) -> Vec<Self> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let DeValue::Array(items) = value.get_ref() else {
            self.wrong_type::<()>(key, value, &format!("a list of tables, each begun with `[[{key}]]`"));
            return Vec::new();
        };
        let path = format!("[{key}]");
        items.iter().filter_map(|item| self.section_of(&path, item, shape)).collect()
    }

    /// Reports that `value` is not what is due.
    pub(super) fn wrong_type<T>(&self, key: &str, value: &Value<'_>, due: &str) -> Option<T> {
        let found = match value.get_ref() {
            DeValue::String(_) => "a text",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.report.problem(value.span(), Code::WrongType, format!("`{key}` must be {due}, not {found}"));
        None
    }

    fn parsed<T>(&self, key: &str, text: &Text, parse: fn(&str) -> Result<T, String>) -> Option<T> {
        let report = |help| {
            let message = format!("`{key}` cannot be read: \"{}\"", text.written);
            self.report.problem_with_help(text.span.clone(), Code::InvalidValue, message, help);
        };
        parse(&text.value).map_err(report).ok()
    }

    /// The number if it lies within `range`; none stands for one that fits into no number.
    fn within<T: PartialOrd, S: Display>(
        &self,
        key: &str,
        span: Range<usize>,
        number: Option<T>,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> S,
    ) -> Option<T> {
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let message = format!("`{key}` must be between {} and {}", show(range.start()), show(range.end()));
            self.report.problem(span, Code::OutOfRange, message);
        }
        number
    }
}

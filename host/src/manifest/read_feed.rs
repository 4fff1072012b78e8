//! The parts of `[feed]` that say where a pillow begins and how hosts share its partitions.

use std::sync::Arc;

use jiff::Timestamp;
use toml::de::DeValue;

use super::problem::Code;
use super::section::Section;
use crate::feed::Start;

/// Where a partition without a checkpoint begins: a word, or a time as a text or as TOML has it.
pub(super) fn start(section: &Section<'_>) -> Start {
    let Some(value) = section.value("start") else { return Start::default() };
    let time = match value.get_ref() {
        DeValue::Datetime(time) => Some(time.to_string()),
        DeValue::String(text) if text.starts_with(|first: char| first.is_ascii_digit()) => Some(text.to_string()),
        _ => None,
    };
    let Some(time) = time else {
        return section.choice("start", &[("earliest", Start::Earliest), ("latest", Start::Latest)], Start::default());
    };
    match time.parse::<Timestamp>() {
        Ok(time) => Start::At(time),
        Err(_) => {
            let message = format!("`start` cannot be read: \"{time}\"");
            let help = "write `earliest`, `latest`, or a time with its offset such as `2026-02-03T10:00:00Z`";
            section.report.problem_with_help(value.span(), Code::InvalidValue, message, help);
            Start::default()
        }
    }
}

/// The group that deals out the partitions, where one does; it has the pillow's name unless it is given another one.
pub(super) fn group(section: &Section<'_>, pillow: Option<&str>) -> Option<Arc<str>> {
    let is_group = section.choice("assignment", &[("static", false), ("group", true)], false);
    let name = section.text("group");
    if !is_group {
        if let Some(name) = name {
            let message = "`group` is only for `assignment = \"group\"`";
            section.report.problem(name.span, Code::ForbiddenKey, message);
        }
        return None;
    }
    Some(
        name.map_or_else(
            || Arc::from(format!("pillowtop-{}", pillow.unwrap_or_default())),
            |name| Arc::from(name.value),
        ),
    )
}

/// Reports what only a Kafka feed can do.
pub(super) fn check_kind(section: &Section<'_>, kind: Option<&'static str>, start: Start) {
    let Some(kind) = kind.filter(|kind| *kind != "kafka") else { return };
    for (key, is_kafka) in [("assignment", true), ("start", matches!(start, Start::At(_)))] {
        if let Some(value) = section.value(key).filter(|_| is_kafka) {
            let is_static = matches!(value.get_ref(), DeValue::String(text) if text == "static");
            if !is_static {
                let message = format!("`{key}` cannot be this for a feed of kind `{kind}`: only kind `kafka` has it");
                section.report.problem(value.span(), Code::WrongKind, message);
            }
        }
    }
}

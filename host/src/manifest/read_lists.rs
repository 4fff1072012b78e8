//! `[[processors.config-lists]]`: where lists of a configuration come from.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value as Json;
use toml::de::DeValue;

use super::lists::{ConfigList, ListSource, Times};
use super::pillow::Configuration;
use super::problem::Code;
use super::read_pillow::json;
use super::read_settings::Defined;
use super::section::{Section, Text};
use super::{MAIN, shapes};

/// As often as the original looks for changed data sources.
const REFRESH: Duration = Duration::from_secs(3 * 60 * 60);
const REFRESH_RANGE: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(30 * 24 * 60 * 60);
const POLL: Duration = Duration::from_secs(5);
const POLL_RANGE: RangeInclusive<Duration> = Duration::from_millis(100)..=Duration::from_secs(60 * 60);

/// What a list can come from, with the keys that go with each.
const SOURCES: [(&str, &[&str]); 3] =
    [("files", &[]), ("query", &["database", "changed", "refresh", "poll"]), ("store", &["where", "refresh", "poll"])];

/// The lists of a processor; those with problems are left out.
pub(super) fn lists(
    processor: &Section<'_>,
    defined: Option<&Defined>,
    config: Option<&Configuration>,
) -> Vec<ConfigList> {
    let sections = processor.sections("config-lists", &shapes::pillow::CONFIG_LISTS);
    sections.iter().filter_map(|section| list(section, defined, config)).collect()
}

fn list(section: &Section<'_>, defined: Option<&Defined>, config: Option<&Configuration>) -> Option<ConfigList> {
    let key = section.required_text("key");
    if let Some(key) = &key {
        check_key(section, key, config);
    }
    let from = source(section, defined);
    Some(ConfigList { key: Arc::from(key?.value), from: from? })
}

/// What the manifest itself has at the key must be a list, to which others can be added.
fn check_key(section: &Section<'_>, key: &Text, config: Option<&Configuration>) {
    let Some(config) = config.and_then(|config| serde_json::from_str::<Json>(config.json()).ok()) else { return };
    let message = match config.as_object().map(|config| config.get(&key.value)) {
        None => "the configuration is no object, so that no list can stand in it".to_owned(),
        Some(None | Some(Json::Array(_))) => return,
        Some(Some(_)) => format!("`{}` is no list in the configuration", key.written),
    };
    section.report.problem(key.span.clone(), Code::WrongType, message);
}

fn source(section: &Section<'_>, defined: Option<&Defined>) -> Option<ListSource> {
    let mut given = SOURCES.iter().filter(|(source, _)| section.holds(source));
    let Some((source, keys)) = given.next() else {
        let message = "`[[config-lists]]` lacks the key `files`, `query` or `store`".to_owned();
        let help = "it says where the list comes from";
        section.report.problem_with_help(section.span.clone(), Code::MissingKey, message, help);
        return None;
    };
    if let Some((other, _)) = given.next() {
        let value = section.value(other)?;
        let message = format!("both `{source}` and `{other}` are given");
        let help = "a list from two places is two `[[config-lists]]` with one `key`";
        section.report.problem_with_help(value.span(), Code::ConflictingKeys, message, help);
        return None;
    }
    for key in ["database", "changed", "where", "refresh", "poll"] {
        if let Some(value) = section.value(key).filter(|_| !keys.contains(&key)) {
            section.report.problem(value.span(), Code::ForbiddenKey, format!("`{key}` is not for `{source}`"));
        }
    }
    match *source {
        "files" => files(section),
        "query" => query(section, defined),
        _ => store(section, defined),
    }
}

fn files(section: &Section<'_>) -> Option<ListSource> {
    let texts = section.texts("files");
    if let Some(value) = section.value("files")
        && let DeValue::Array(items) = value.get_ref()
        && items.is_empty()
    {
        section.report.problem(value.span(), Code::Empty, "`files` is empty");
    }
    for text in &texts {
        if text.value.contains("**") {
            let message = format!("`files` cannot be read: \"{}\"", text.written);
            let help = "`*` stands for a part of one name; name each folder level, such as `sources/*/*.json`";
            section.report.problem_with_help(text.span.clone(), Code::InvalidValue, message, help);
        }
    }
    let patterns = texts.iter().map(|text| section.report.beside(&text.value)).collect::<Vec<_>>();
    (!patterns.is_empty()).then_some(ListSource::Files(patterns))
}

fn query(section: &Section<'_>, defined: Option<&Defined>) -> Option<ListSource> {
    let query = section.text("query");
    let changed = section.text("changed").map(|text| text.value);
    let database = match section.text("database") {
        Some(text) => defined.and_then(|defined| defined.databases.find(section.report, &text, &[])),
        None if section.holds("database") => None,
        None => Some(Arc::from(MAIN)),
    };
    let times = times(section);
    Some(ListSource::Query { database: database?, query: query?.value, changed, times })
}

fn store(section: &Section<'_>, defined: Option<&Defined>) -> Option<ListSource> {
    let kinds = ["sql", "couchdb"];
    let store = section.text("store").and_then(|text| defined?.documents.find(section.report, &text, &kinds));
    let mut wanted = BTreeMap::new();
    let table = section
        .value("where")
        .and_then(|value| section.section_of("processors.config-lists.where", value, &shapes::pillow::WHERE));
    for (field, value) in table.iter().flat_map(Section::entries) {
        match value.get_ref() {
            DeValue::Table(_) => drop(section.wrong_type::<()>(&field.value, value, "a value, or a list of some")),
            _ => wanted.extend(json(section, value).map(|json| (field.value, json))),
        }
    }
    let times = times(section);
    Some(ListSource::Store { store: store?, wanted, times })
}

fn times(section: &Section<'_>) -> Times {
    Times {
        refresh: section.duration("refresh", REFRESH_RANGE, REFRESH),
        poll: section.duration("poll", POLL_RANGE, POLL),
    }
}

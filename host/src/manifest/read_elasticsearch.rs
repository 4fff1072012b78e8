//! Reads `[sinks.NAME]` of kind `elasticsearch`.

use std::net::Ipv4Addr;
use std::num::NonZeroUsize;
use std::time::Duration;

use serde_json::{Map, Value as Json};

use super::problem::Code;
use super::read_pillow::json;
use super::section::{Section, Text};
use super::shapes;
use crate::sink::elasticsearch::{Credentials, Refresh, Settings};

const MOST_REQUESTS: usize = 64;
const MOST_BYTES: usize = 100 << 20;
const MOST_WRITES: usize = 100_000;

pub(super) fn read(path: &str, section: &Section<'_>) -> Option<Settings> {
    let urls = urls(section)?;
    let defaults = Settings::new("");
    let seconds = Duration::from_secs;
    let refresh = [("interval", Refresh::Interval), ("wait", Refresh::Wait), ("now", Refresh::Now)];
    let count = |key, most: usize, default: NonZeroUsize| section.count(key, 1..=most, default);
    Some(Settings {
        urls: urls.iter().map(|url| url.value.clone()).collect(),
        credentials: credentials(section, &urls),
        ca_file: section.text("ca-file").map(|file| section.report.beside(&file.value)),
        gzip: section.flag("gzip", defaults.gzip),
        request_bytes: section.size("request-bytes", 1 << 10..=MOST_BYTES, defaults.request_bytes),
        request_count: count("request-count", MOST_WRITES, defaults.request_count),
        requests_in_flight: count("requests-in-flight", MOST_REQUESTS, defaults.requests_in_flight),
        timeout: section.duration("timeout", seconds(1)..=seconds(600), defaults.timeout),
        refresh: section.choice("refresh", &refresh, defaults.refresh),
        gc_deletes: section.duration("gc-deletes", seconds(60)..=seconds(30 * 86_400), defaults.gc_deletes),
        index_settings: index_settings(path, section),
    })
}

fn urls(section: &Section<'_>) -> Option<Vec<Text>> {
    if section.value("urls").is_none() {
        section.missing("urls");
        return None;
    }
    let urls = section.texts("urls");
    for url in &urls {
        let rest = ["http://", "https://"].iter().find_map(|scheme| url.value.strip_prefix(scheme));
        let problem = match rest {
            None | Some("") => Some("an address begins with `http://` or `https://`"),
            // Addresses are said in logs.
            Some(rest) if rest.contains('@') => Some("give the user in `username` and `password`"),
            Some(rest) if rest.contains(['?', '#', ' ']) => {
                Some("write `https://host:port`, and a path where there is one")
            }
            Some(_) => None,
        };
        if let Some(help) = problem {
            section.report.hide(url.span.clone());
            let message = "`urls` holds what is no address of a search server".to_owned();
            section.report.problem_with_help(url.span.clone(), Code::InvalidValue, message, help);
        }
    }
    (!urls.is_empty()).then_some(urls)
}

fn credentials(section: &Section<'_>, urls: &[Text]) -> Option<Credentials> {
    let username = section.text("username");
    let password = section.optional_secret("password");
    let api_key = section.optional_secret("api-key");
    let credentials = match (username, password, api_key) {
        (None, None, None) => return None,
        (None, None, Some((key, _))) => Credentials::ApiKey(key.reveal().to_owned()),
        (Some(username), Some((password, _)), None) => {
            Credentials::Basic { username: username.value, password: password.reveal().to_owned() }
        }
        (username, password, api_key) => {
            let spans = [username.map(|text| text.span), password.map(|(_, span)| span), api_key.map(|(_, span)| span)];
            if let Some(span) = spans.into_iter().flatten().next() {
                let message = "these do not make credentials".to_owned();
                let help = "give `username` and `password`, or `api-key`";
                section.report.problem_with_help(span, Code::ConflictingKeys, message, help);
            }
            return None;
        }
    };
    let plain = urls.iter().find(|url| url.value.starts_with("http://") && !is_loopback(&url.value));
    if let Some(url) = plain {
        let message = "credentials would go over the network in the open".to_owned();
        section.report.problem_with_help(url.span.clone(), Code::InvalidValue, message, "write `https://`");
    }
    Some(credentials)
}

fn is_loopback(url: &str) -> bool {
    let rest = url.strip_prefix("http://").unwrap_or(url);
    let host = if rest.starts_with('[') { rest.split_inclusive(']').next() } else { rest.split([':', '/']).next() };
    let host = host.unwrap_or_default();
    host == "localhost" || host == "[::1]" || host.parse::<Ipv4Addr>().is_ok_and(|address| address.is_loopback())
}

fn index_settings(path: &str, section: &Section<'_>) -> Map<String, Json> {
    let shown = format!("{path}.index-settings");
    let given = section.value("index-settings");
    let given = given.and_then(|value| section.section_of(&shown, value, &shapes::settings::INDEX_SETTINGS));
    let entries = given.iter().flat_map(Section::entries);
    entries.filter_map(|(key, value)| Some((key.value, json(section, value)?))).collect()
}

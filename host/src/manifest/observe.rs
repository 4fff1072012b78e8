//! How a host is watched from outside: `[metrics]`, `[admin]` and `[traces]` of the settings.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::Secret;
use super::problem::Code;
use super::section::{Section, Text};
use super::shapes;

/// Where the admin endpoint listens when nothing else is said: the port of OpenTelemetry's Prometheus exporters.
const LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9464);
/// Shorter tokens are guessed.
const SHORTEST_TOKEN: usize = 16;

/// How the host is watched from outside.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observe {
    /// Where metrics go.
    pub metrics: MetricsUse,
    /// The admin endpoint; none: nothing listens.
    pub admin: Option<Admin>,
    /// Traces of batches; none: none are made.
    pub traces: Option<Traces>,
}

/// Where metrics go, beside the admin endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetricsUse {
    /// The file that they are written to once a second.
    pub file: Option<PathBuf>,
    /// The DogStatsD agent that they are sent to, `host:port`.
    pub statsd: Option<String>,
    /// Whether changes of cases are counted by the type of the case.
    pub case_types: bool,
}

/// The admin endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Where it listens; port 0 stands for any that is free.
    pub listen: SocketAddr,
    /// What a caller has to know. There always is one where others than this machine can call.
    pub token: Option<Secret>,
}

/// Where traces of batches go.
#[derive(Debug, Clone, PartialEq)]
pub struct Traces {
    /// The collector, without the path of the protocol.
    pub endpoint: String,
    /// The share of batches that are traced.
    pub sample: f64,
}

impl Observe {
    pub(super) fn read(root: &Section<'_>) -> Self {
        Self { metrics: metrics(root), admin: admin(root), traces: traces(root) }
    }
}

fn metrics(root: &Section<'_>) -> MetricsUse {
    let Some(section) = root.section("metrics", &shapes::settings::METRICS) else { return MetricsUse::default() };
    MetricsUse {
        file: section.text("file").map(|text| section.report.beside(&text.value)),
        statsd: section.text("statsd").map(|text| agent(&section, text)),
        case_types: section.flag("case-types", false),
    }
}

fn agent(section: &Section<'_>, text: Text) -> String {
    let is_agent = text.value.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && !host.contains(char::is_whitespace) && port.parse::<u16>().is_ok_and(|port| port != 0)
    });
    if !is_agent {
        let message = format!("`statsd` cannot be read: \"{}\"", text.written);
        let help = "write `host:port`, such as \"127.0.0.1:8125\"";
        section.report.problem_with_help(text.span, Code::InvalidValue, message, help);
    }
    text.value
}

fn admin(root: &Section<'_>) -> Option<Admin> {
    let section = root.section("admin", &shapes::settings::ADMIN)?;
    let token = section.optional_secret("token").map(|(token, span)| {
        if token.reveal().len() < SHORTEST_TOKEN {
            let message = format!("the token is shorter than {SHORTEST_TOKEN} letters");
            let help = "take the output of `openssl rand -hex 32`";
            section.report.problem_with_help(span, Code::InvalidValue, message, help);
        }
        token
    });
    let Some(text) = section.text("listen") else { return Some(Admin { listen: LISTEN, token }) };
    let Some(listen) = address(&text.value) else {
        let message = format!("`listen` cannot be read: \"{}\"", text.written);
        let help = "write an address and a port, such as \"127.0.0.1:9464\" or \"[::]:9464\"";
        section.report.problem_with_help(text.span, Code::InvalidValue, message, help);
        return None;
    };
    // Whether a token was given, not whether it could be read: that has a problem of its own.
    let has_token = ["token", "token-file", "token_file"].iter().any(|key| section.holds(key));
    if !listen.ip().is_loopback() && !has_token {
        let message = "other machines can call this address, so there must be a `token`".to_owned();
        let help = "add `token-file = \"…\"`, or listen on 127.0.0.1";
        section.report.problem_with_help(text.span, Code::MissingKey, message, help);
    }
    Some(Admin { listen, token })
}

/// Names are not looked up: an address says by itself who can call it.
fn address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => Some(SocketAddr::new(LISTEN.ip(), port.parse().ok()?)),
        None => text.parse().ok(),
    }
}

fn traces(root: &Section<'_>) -> Option<Traces> {
    let section = root.section("traces", &shapes::settings::TRACES)?;
    let sample = section.share("sample", 1.0);
    let text = section.required_text("endpoint")?;
    let host = ["http://", "https://"].iter().find_map(|scheme| text.value.strip_prefix(scheme));
    if host.is_none_or(|host| host.is_empty() || host.starts_with('/') || host.contains(char::is_whitespace)) {
        let message = format!("`endpoint` cannot be read: \"{}\"", text.written);
        let help = "write the address of an OTLP collector over HTTP, such as \"http://127.0.0.1:4318\"";
        section.report.problem_with_help(text.span, Code::InvalidValue, message, help);
    }
    Some(Traces { endpoint: text.value, sample })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port_and_no_name_but_localhost() {
        assert_eq!(address("localhost:0"), Some("127.0.0.1:0".parse().unwrap()));
        assert_eq!(address("[::1]:80"), Some("[::1]:80".parse().unwrap()));
        for text in ["localhost", "127.0.0.1", "example.org:80", ":80", "0.0.0.0:99999"] {
            assert_eq!(address(text), None, "{text}");
        }
    }
}

//! Who may call: whoever knows the token; where there is none, this machine's programs, but not the web pages that its
//! browser shows.

use std::net::IpAddr;

use axum::http::header::{AUTHORIZATION, HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest as _, Sha256};

use crate::manifest::Secret;

/// What every answer needs to know of its caller.
#[derive(Clone)]
pub(super) struct Guard {
    token: Option<Secret>,
}

impl Guard {
    pub(super) fn new(token: Option<Secret>) -> Self {
        Self { token }
    }

    /// Whether the caller may know and do everything.
    ///
    /// # Errors
    /// The status and the reason of the refusal.
    pub(super) fn admit(&self, method: &Method, headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match &self.token {
            Some(token) if !text(AUTHORIZATION.as_str()).is_some_and(|given| knows(given, token)) => {
                return Err((StatusCode::UNAUTHORIZED, "send the token: `Authorization: Bearer TOKEN`"));
            }
            // A name of somebody's own that leads to this machine makes a browser send requests for a foreign page.
            None if !text(HOST.as_str()).is_none_or(is_this_machine) => {
                return Err((StatusCode::FORBIDDEN, "without a token, call it by its address or as localhost"));
            }
            _ => {}
        }
        let is_foreign = match (text("sec-fetch-site"), text(ORIGIN.as_str())) {
            (Some(site), _) => !matches!(site, "same-origin" | "none"),
            (None, Some(origin)) => origin.split_once("://").map(|(_, host)| host) != text(HOST.as_str()),
            (None, None) => false,
        };
        if is_foreign && !matches!(*method, Method::GET | Method::HEAD) {
            return Err((StatusCode::FORBIDDEN, "a page of another site may not do this"));
        }
        Ok(())
    }
}

/// Whether the header has the token: as bearer, or as the password that a browser asks for.
fn knows(header: &str, token: &Secret) -> bool {
    let Some((scheme, rest)) = header.split_once(' ') else { return false };
    let rest = rest.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return is_same(rest.as_bytes(), token.reveal().as_bytes());
    }
    let password = || {
        let decoded = base64(rest)?;
        let colon = decoded.iter().position(|byte| *byte == b':')?;
        Some(is_same(&decoded[colon + 1..], token.reveal().as_bytes()))
    };
    scheme.eq_ignore_ascii_case("basic") && password().unwrap_or(false)
}

/// Digests are compared, so that the time it takes says nothing of how much of a guess was right.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    Sha256::digest(one) == Sha256::digest(other)
}

/// The bytes of standard base64 (RFC 4648, section 4); none when it is not.
fn base64(text: &str) -> Option<Vec<u8>> {
    // Programs that leave the padding out mean the same.
    const LENIENT: GeneralPurposeConfig =
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    GeneralPurpose::new(&STANDARD, LENIENT).decode(text).ok()
}

/// Whether a `Host` header names this machine, or an address by its numbers.
fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn check(token: Option<&str>, method: Method, given: &[(&'static str, &str)], expected: u16) {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.insert(*name, value.parse().unwrap());
        }
        let found = Guard::new(token.map(Secret::new)).admit(&method, &headers);
        assert_eq!(found.err().map_or(200, |(status, _)| status.as_u16()), expected, "{method} {given:?}");
    }

    #[test]
    fn the_token_opens_as_bearer_and_as_password() {
        let check = |header: &str, expected| {
            check(Some(TOKEN), Method::GET, &[("host", "example.org"), ("authorization", header)], expected);
        };
        check("Bearer 0123456789abcdef", 200);
        check("bearer  0123456789abcdef", 200);
        // operator:0123456789abcdef
        check("Basic b3BlcmF0b3I6MDEyMzQ1Njc4OWFiY2RlZg==", 200);
        check("Basic b3BlcmF0b3I6MDEyMzQ1Njc4OWFiY2RlZg", 200);
        check("Basic b3BlcmF0b3I6MDEyMzQ1Njc4OWFiY2Rl", 401);
        check("Basic ?", 401);
        check("Bearer 0123456789abcde", 401);
        check("Bearer 0123456789abcdef0", 401);
        check("0123456789abcdef", 401);
        check("Bearer", 401);
    }

    #[test]
    fn without_a_token_the_caller_names_this_machine() {
        let check = |host: &str, expected| check(None, Method::GET, &[("host", host)], expected);
        check("localhost:9464", 200);
        check("127.0.0.1:9464", 200);
        check("[::1]:9464", 200);
        check("10.0.0.7", 200);
        check("rebound.example.org:9464", 403);
        check("localhost.example.org", 403);
    }

    #[test]
    fn pages_of_other_sites_change_nothing() {
        let host = ("host", "localhost:9464");
        check(None, Method::POST, &[host], 200);
        check(None, Method::POST, &[host, ("origin", "http://localhost:9464")], 200);
        check(None, Method::POST, &[host, ("origin", "http://example.org")], 403);
        check(None, Method::POST, &[host, ("origin", "null")], 403);
        check(None, Method::POST, &[host, ("sec-fetch-site", "cross-site")], 403);
        check(None, Method::POST, &[host, ("sec-fetch-site", "none")], 200);
        check(None, Method::GET, &[host, ("sec-fetch-site", "cross-site")], 200);
    }

    #[test]
    fn base64_is_read() {
        for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmFy", "foobar")] {
            assert_eq!(base64(text).as_deref(), Some(bytes.as_bytes()), "{text}");
        }
        assert_eq!(base64("Zm 9"), None);
    }
}

//! The configuration, read strictly.

use jiff::SignedDuration;
use serde::Deserialize;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What documents there are.
    pub profile: Profile,
    /// How much later a submission with the same versions must be.
    pub frequency_minutes: u32,
    /// What the names of all tables begin with.
    pub table_prefix: String,
    /// The look-up for users by id.
    pub user_lookup: Option<String>,
    /// The look-up for builds of apps by id.
    pub build_lookup: Option<String>,
    /// Domains whose users are not tracked.
    pub skip_domains: Vec<String>,
    /// The index of users and what is known of them.
    pub user_index: Option<UserIndex>,
}

/// What kind of documents is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Forms: submissions.
    Form,
    /// Logs of syncs.
    Sync,
}

/// The shared index of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserIndex {
    /// Its name.
    pub index: String,
    /// The look-up for the stored rows of a user, by the user's id.
    pub entries_lookup: String,
}

/// Something wrong in the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The key; empty for the whole of it.
    pub path: &'static str,
    /// What is wrong.
    pub message: String,
}

/// The longest prefix: with the longest name of a table after it there is no database that cuts it.
const LONGEST_PREFIX: usize = 30;

/// A year; beyond it nothing would ever be written again.
const MOST_MINUTES: u32 = 366 * 24 * 60;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    profile: Profile,
    #[serde(default = "fifteen")]
    frequency_minutes: u32,
    #[serde(default)]
    table_prefix: String,
    user_lookup: Option<String>,
    build_lookup: Option<String>,
    #[serde(default)]
    skip_domains: Vec<String>,
    user_index: Option<String>,
    entries_lookup: Option<String>,
}

fn fifteen() -> u32 {
    15
}

impl Config {
    /// Reads a configuration from its JSON.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(json: &[u8]) -> Result<Self, Vec<Problem>> {
        let problem = |path, message: &str| Problem { path, message: message.to_owned() };
        let raw: Raw = serde_json::from_slice(json).map_err(|error| vec![problem("", &error.to_string())])?;
        let mut problems = Vec::new();
        if raw.frequency_minutes > MOST_MINUTES {
            problems.push(problem("frequency_minutes", "must be at most a year, 527040"));
        }
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if raw.table_prefix.len() > LONGEST_PREFIX || !raw.table_prefix.chars().all(is_name) {
            problems.push(problem("table_prefix", "must be at most 30 of a-z, 0-9 and _"));
        }
        let texts = [
            ("user_lookup", &raw.user_lookup),
            ("build_lookup", &raw.build_lookup),
            ("user_index", &raw.user_index),
            ("entries_lookup", &raw.entries_lookup),
        ];
        for (name, text) in texts {
            if text.as_deref() == Some("") {
                problems.push(problem(name, "must not be empty"));
            }
        }
        let user_index = match (raw.user_index, raw.entries_lookup) {
            (Some(index), Some(entries_lookup)) => Some(UserIndex { index, entries_lookup }),
            (None, None) => None,
            // A merge has no condition of its own: without the stored rows an old form would overwrite a newer one.
            (Some(_), None) => {
                problems.push(problem("entries_lookup", "is missing: `user_index` needs it to see what is newer"));
                None
            }
            (None, Some(_)) => {
                problems.push(problem("entries_lookup", "is for `user_index`, which is not given"));
                None
            }
        };
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            profile: raw.profile,
            frequency_minutes: raw.frequency_minutes,
            table_prefix: raw.table_prefix,
            user_lookup: raw.user_lookup,
            build_lookup: raw.build_lookup,
            skip_domains: raw.skip_domains,
            user_index,
        })
    }

    /// How much later a submission with the same versions must be.
    pub fn frequency(&self) -> SignedDuration {
        SignedDuration::from_mins(i64::from(self.frequency_minutes))
    }

    /// The look-ups that it asks for.
    pub fn lookups(&self) -> Vec<&str> {
        let entries = self.user_index.as_ref().map(|index| &index.entries_lookup);
        let all = [self.user_lookup.as_ref(), self.build_lookup.as_ref(), entries];
        let mut lookups: Vec<&str> = Vec::new();
        for name in all.into_iter().flatten() {
            if !lookups.contains(&name.as_str()) {
                lookups.push(name);
            }
        }
        lookups
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, expected: &[(&str, &str)]) {
        let problems = Config::parse(config.as_bytes()).map_or_else(|problems| problems, |_| Vec::new());
        let found: Vec<_> = problems.iter().map(|problem| (problem.path, problem.message.as_str())).collect();
        assert_eq!(found, expected, "{config}");
    }

    #[test]
    fn the_least_configuration_waits_for_fifteen_minutes() {
        let config = Config::parse(br#"{"profile": "form"}"#).unwrap();
        assert_eq!(config.frequency(), SignedDuration::from_mins(15));
        assert_eq!(config.lookups(), [] as [&str; 0]);
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        check(
            r#"{"profile": "form", "frequency_minutes": 600000, "table_prefix": "A-", "user_lookup": "", "user_index": "u"}"#,
            &[
                ("frequency_minutes", "must be at most a year, 527040"),
                ("table_prefix", "must be at most 30 of a-z, 0-9 and _"),
                ("user_lookup", "must not be empty"),
                ("entries_lookup", "is missing: `user_index` needs it to see what is newer"),
            ],
        );
        check(
            r#"{"profile": "sync", "entries_lookup": "e"}"#,
            &[("entries_lookup", "is for `user_index`, which is not given")],
        );
        let unknown = Config::parse(br#"{"profile": "form", "tabel": 1}"#).unwrap_err();
        assert!(unknown[0].message.starts_with("unknown field `tabel`"), "{unknown:?}");
    }

    #[test]
    fn each_look_up_is_named_once() {
        let config = br#"{"profile": "form", "user_lookup": "l", "build_lookup": "l", "user_index": "i", "entries_lookup": "e"}"#;
        assert_eq!(Config::parse(config).unwrap().lookups(), ["l", "e"]);
    }
}

//! Which topics a pillow reads: those that its manifest names, and those that its patterns match now.

use std::collections::BTreeMap;
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;

use super::client::{Client, ask_names, ask_topics};
use super::describe::Described;
use crate::feed::Error;
use crate::model::{Outage, Partition};

/// Names listed beside a topic that does not exist.
const MOST_NAMES: usize = 20;

/// What a manifest asks for. Names of topics are of letters, digits, `.`, `_` and `-`, so a `*` makes a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    names: Vec<Arc<str>>,
    patterns: Vec<Arc<str>>,
}

/// What there is of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// The topics by name.
    pub(super) topics: BTreeMap<Arc<str>, Described>,
    /// Topics that are named and do not exist.
    pub(super) missing: Vec<Arc<str>>,
}

impl Wanted {
    /// What the texts of a manifest ask for.
    ///
    /// # Errors
    /// When there are none.
    pub(super) fn new(topics: &[Arc<str>]) -> Result<Self, Error> {
        let mut topics = topics.to_vec();
        topics.sort();
        topics.dedup();
        if topics.is_empty() {
            return Err(Error::Refused("a kafka feed needs at least one topic".to_owned()));
        }
        let (patterns, names) = topics.into_iter().partition(|topic| topic.contains('*'));
        Ok(Self { names, patterns })
    }

    /// As librdkafka subscribes: a pattern is a regular expression that begins with `^`.
    pub(super) fn subscription(&self) -> Vec<String> {
        let pattern = |pattern: &Arc<str>| format!("^{}$", pattern.replace('.', "\\.").replace('*', ".*"));
        self.names.iter().map(ToString::to_string).chain(self.patterns.iter().map(pattern)).collect()
    }

    /// What there is now. A topic that is named and missing is no error as long as there is another one to read.
    ///
    /// # Errors
    /// When there is nothing to read, or a topic may not be read; an outage when the cluster cannot say.
    pub(super) async fn find(&self, client: &Arc<Client>) -> Result<Found, Error> {
        let mut names = self.names.clone();
        if !self.patterns.is_empty() {
            let matching = ask_names(client).await?.into_iter().filter(|name| self.is_matched(name));
            names.extend(matching.map(Arc::from));
            names.sort();
            names.dedup();
        }
        let found = describe(client, names).await?;
        if !found.topics.is_empty() || (found.missing.is_empty() && !self.patterns.is_empty()) {
            return Ok(found);
        }
        Err(Error::Refused(unknown_topics(&found.missing, &ask_names(client).await?)))
    }

    fn is_matched(&self, name: &str) -> bool {
        self.patterns.iter().any(|pattern| matches(pattern, name))
    }
}

impl Found {
    /// All partitions, in order.
    pub(super) fn partitions(&self) -> impl Iterator<Item = Partition> {
        self.topics.iter().flat_map(|(name, described)| {
            (0..described.partitions).map(|number| Partition { topic: Arc::clone(name), number })
        })
    }
}

/// These topics, as far as they exist.
///
/// # Errors
/// One that may not be read; an outage when the cluster cannot say.
pub(super) async fn describe(client: &Arc<Client>, names: Vec<Arc<str>>) -> Result<Found, Error> {
    let mut found = Found::default();
    if names.is_empty() {
        return Ok(found);
    }
    for (name, answer) in names.clone().into_iter().zip(ask_topics(client, names).await?) {
        match answer {
            Ok(described) => drop(found.topics.insert(name, described)),
            Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => found.missing.push(name),
            Err(RDKafkaErrorCode::TopicAuthorizationFailed) => {
                return Err(Error::Refused(format!("kafka does not let us read topic {name}")));
            }
            Err(error @ RDKafkaErrorCode::InvalidTopic) => {
                return Err(Error::Refused(format!("{name:?} is no name of a topic: {error}")));
            }
            Err(error) => return Err(Error::Outage(Outage::new(format!("could not ask for topic {name}"), error))),
        }
    }
    Ok(found)
}

/// That topics do not exist, beside those that do.
pub(super) async fn refuse(client: &Arc<Client>, missing: &[Arc<str>]) -> Error {
    match ask_names(client).await {
        Ok(names) => Error::Refused(unknown_topics(missing, &names)),
        Err(error) => error,
    }
}

fn unknown_topics(missing: &[Arc<str>], there: &[String]) -> String {
    let subject = match missing {
        [one] => format!("topic {one} does not exist"),
        several => format!("topics {} do not exist", several.join(", ")),
    };
    if there.is_empty() {
        return format!("{subject}; the cluster has no topics that we may see");
    }
    let shown = there[..there.len().min(MOST_NAMES)].join(", ");
    match there.len().saturating_sub(MOST_NAMES) {
        0 => format!("{subject}; there are: {shown}"),
        more => format!("{subject}; there are: {shown}, and {more} more"),
    }
}

/// Whether the name is the pattern with something, or nothing, in the place of each `*`.
fn matches(pattern: &str, name: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == name,
        Some((before, after)) => name
            .strip_prefix(before)
            .is_some_and(|rest| (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(after, &rest[at..]))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(missing: &[&str], there: &[&str], expected: &str) {
        let missing: Vec<Arc<str>> = missing.iter().map(|name| Arc::from(*name)).collect();
        let there: Vec<String> = there.iter().map(|name| (*name).to_owned()).collect();
        assert_eq!(unknown_topics(&missing, &there), expected);
    }

    #[test]
    fn an_unknown_topic_is_told_with_those_that_there_are() {
        check(&["forms"], &["case", "form"], "topic forms does not exist; there are: case, form");
        check(&["a", "b"], &[], "topics a, b do not exist; the cluster has no topics that we may see");
    }

    #[test]
    fn a_star_stands_for_anything_and_nothing_else_is_special() {
        for (pattern, name, expected) in [
            ("case-*", "case-sql", true),
            ("case-*", "case-", true),
            ("case-*", "cases", false),
            ("*-sql", "case-sql", true),
            ("*-sql", "case-sql-2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a.c*", "abc", false),
            ("*", "anything", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn a_group_subscribes_to_patterns_as_regular_expressions() {
        let wanted = Wanted::new(&["case-*.v1".into(), "form".into()]).unwrap();
        assert_eq!(wanted.subscription(), ["form", "^case-.*\\.v1$"]);
    }
}

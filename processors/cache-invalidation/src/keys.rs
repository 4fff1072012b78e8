//! Which keys a change makes stale.

use crate::config::Config;
use crate::template::Template;

/// What is known of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts<'a> {
    /// The document.
    pub id: &'a str,
    /// Where it lives.
    pub source: &'a str,
    /// Its type; none of a document that was deleted for good.
    pub document_type: Option<&'a str>,
    /// The project space.
    pub domain: Option<&'a str>,
}

/// The keys to drop: generations first, so that nobody caches the old document into a new generation's place; each
/// once.
///
/// # Errors
/// Why there are none.
pub fn stale(config: &Config, facts: &Facts<'_>) -> Result<Vec<String>, &'static str> {
    if config.skip_ids.iter().any(|prefix| facts.id.starts_with(prefix.as_str())) {
        return Err("an id to skip");
    }
    let mut keys: Vec<String> = Vec::new();
    for template in generations(config, facts).chain(&config.keys) {
        if let Some(key) = template.key(facts)
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    }
    if keys.is_empty() { Err("nothing is cached of it") } else { Ok(keys) }
}

/// Those of the document's type, also when it is a deleted one; without a type all of them, because too much is no harm
/// and too little is.
fn generations<'c>(config: &'c Config, facts: &Facts<'c>) -> impl Iterator<Item = &'c Template> + use<'c> {
    let document_type = facts.document_type.map(|name| name.strip_suffix("-Deleted").unwrap_or(name));
    let ended = config.generations.iter().filter(move |(name, _)| document_type.is_none_or(|of| of == *name));
    ended.flat_map(|(_, templates)| templates)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(id: &str, document_type: Option<&str>, expected: Result<&[&str], &str>) {
        let config = br#"{"cache": "c", "keys": ["doc:{id}", "doc:{id}"],
            "generations": {"Group": ["g", "shared"], "User": ["u", "shared"]}, "skip_ids": ["x-"]}"#;
        let facts = Facts { id, source: "s", document_type, domain: None };
        let found = stale(&Config::parse(config).unwrap(), &facts);
        let found = found.as_ref().map(|keys| keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.as_deref().map_err(|reason| **reason), expected, "{id} {document_type:?}");
    }

    #[test]
    fn a_type_ends_its_generations_also_when_it_is_a_deleted_one() {
        check("a", Some("Group"), Ok(&["g", "shared", "doc:a"]));
        check("a", Some("Group-Deleted"), Ok(&["g", "shared", "doc:a"]));
        check("a", Some("Other"), Ok(&["doc:a"]));
    }

    #[test]
    fn without_a_type_every_generation_ends() {
        check("a", None, Ok(&["g", "shared", "u", "doc:a"]));
    }

    #[test]
    fn ids_can_be_passed_over_and_there_may_be_nothing() {
        check("x-1", Some("Group"), Err("an id to skip"));
        let config = Config::parse(br#"{"cache": "c", "generations": {"Group": ["g"]}}"#).unwrap();
        let facts = Facts { id: "a", source: "s", document_type: Some("Other"), domain: None };
        assert_eq!(stale(&config, &facts), Err("nothing is cached of it"));
    }
}

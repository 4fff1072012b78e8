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

/// What is stale: keys of one cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stale<'c> {
    /// The cache.
    pub cache: &'c str,
    /// Its keys, each once.
    pub keys: Vec<String>,
}

/// The keys to drop, by cache: generations first, so that nobody finds an old generation beside a new document.
///
/// # Errors
/// Why there are none.
pub fn stale<'c>(config: &'c Config, facts: &Facts<'_>) -> Result<Vec<Stale<'c>>, &'static str> {
    if config.skip_ids.iter().any(|prefix| facts.id.starts_with(prefix.as_str())) {
        return Err("an id to skip");
    }
    let mut stale: Vec<Stale<'c>> = Vec::new();
    let ended = generations(config, facts.document_type).map(|template| (&config.generation_cache, template));
    for (cache, template) in ended.chain(config.keys.iter().map(|template| (&config.cache, template))) {
        let Some(key) = template.key(facts) else { continue };
        match stale.iter_mut().find(|known| known.cache == cache) {
            Some(known) if known.keys.contains(&key) => {}
            Some(known) => known.keys.push(key),
            None => stale.push(Stale { cache, keys: vec![key] }),
        }
    }
    if stale.is_empty() { Err("nothing is cached of it") } else { Ok(stale) }
}

/// Those of the document's type, also when it is a deleted one; without a type all of them, because too much is no harm
/// and too little is.
fn generations<'c, 't>(
    config: &'c Config,
    document_type: Option<&'t str>,
) -> impl Iterator<Item = &'c Template> + use<'c, 't> {
    let document_type = document_type.map(|name| name.strip_suffix("-Deleted").unwrap_or(name));
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
        let config = Config::parse(config).unwrap();
        let found = stale(&config, &facts);
        let found = found.as_ref().map(|stale| stale[0].keys.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(found.as_deref().map_err(|reason| **reason), expected, "{id} {document_type:?}");
    }

    #[test]
    fn a_type_ends_its_generations_also_when_it_is_a_deleted_one() {
        check("a", Some("Group"), Ok(&["g", "shared", "doc:a"]));
        check("a", Some("Group-Deleted"), Ok(&["g", "shared", "doc:a"]));
        check("a", Some("Other"), Ok(&["doc:a"]));
    }

    #[test]
    fn generations_may_have_a_cache_of_their_own() {
        let config = br#"{"cache": "c", "generation_cache": "g", "keys": ["{id}"], "generations": {"Group": ["all"]}}"#;
        let config = Config::parse(config).unwrap();
        let facts = Facts { id: "a", source: "s", document_type: Some("Group"), domain: None };
        let of = |cache, key: &str| Stale { cache, keys: vec![key.to_owned()] };
        assert_eq!(stale(&config, &facts), Ok(vec![of("g", "all"), of("c", "a")]));
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
